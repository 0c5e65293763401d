"""Books that are empty, and copies of such as have a chain; on both stores in turn."""

import pytest

from hub.access import Keys
from tests.audit.books import LENGTH, Books, act, checked


@pytest.fixture
def books(tmp_path, database_url):
    return Books(tmp_path, database_url)


@pytest.fixture
def ledger(books):
    ledger = books.open()
    yield ledger
    ledger.close()


@pytest.fixture(scope="module")
def chain(tmp_path_factory, databases):
    """The closed books of LENGTH rows, signed."""
    with databases() as url:
        books = Books(tmp_path_factory.mktemp("chain"), url)
        ledger = books.open()
        for number in range(3):
            act(ledger, f"k{number}")
        Keys(ledger.database, audit=ledger.audit).create("bot", ["read"])
        Keys(ledger.database, audit=ledger.audit).revoke("bot")
        ledger.close()
        found = checked(books)
        assert (found.ok, found.rows, found.head.count, found.unsigned) == (True, LENGTH, LENGTH, 0)
        yield books


@pytest.fixture
def anew(chain):
    """Makes any books a copy of the chain, again and again."""
    rows, files = chain.rows(), [chain.folder / name for name in ("audit.key", "audit.head")]
    return lambda books: books.take(rows, *files)


@pytest.fixture
def copied(books, anew):
    anew(books)
    return books
