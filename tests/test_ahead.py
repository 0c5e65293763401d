"""Pulls whose next page is taken while the one before is being written."""

import threading
from collections.abc import Generator, Iterator

import pytest

from hub.config import ConnectionSettings, SyncSettings
from hub.connections import Connection
from hub.connector import Connector, Page, Stream, pull
from hub.errors import Temporary
from hub.mapping import Source, compile_mapping
from hub.store import Store, cursors
from hub.store.ahead import ahead
from hub.sync import Progress, sync_connection
from hub.transport import Transport

MAPPING = """
[cases]
kind = "ticket"
key  = "id"
[cases.fields]
subject = "subject"
"""


def counted(made: list[int], until: int, fail_at: int | None = None) -> Generator[int, None, None]:
    try:
        for n in range(1, until + 1):
            if n == fail_at:
                raise Temporary(f"no page {n}")
            made.append(n)
            yield n
    finally:
        made.append(-1)


def test_all_come_in_order_and_never_more_than_one_is_ahead() -> None:
    made: list[int] = []
    for n in ahead(counted(made, 20)):
        assert max(made) <= n + 1
    assert made == [*range(1, 21), -1]


def test_what_fails_ahead_fails_in_its_own_turn() -> None:
    pages = ahead(counted([], 5, fail_at=3))
    assert [next(pages), next(pages)] == [1, 2]
    with pytest.raises(Temporary, match="no page 3"):
        next(pages)


def test_who_stops_early_leaves_nothing_running() -> None:
    made: list[int] = []
    before = threading.active_count()
    for n in ahead(counted(made, 1000)):
        if n == 2:
            break
    assert made[-1] == -1
    assert len(made) <= 4
    assert threading.active_count() == before


class Paged(Connector):
    """A connector of three pages that says in which thread each was made, and what was committed when it was."""

    name = "paged"

    def __init__(self, store: Store) -> None:
        self.store = store
        self.threads: set[int] = set()
        self.committed: list[str | None] = []

    @pull("cases", ahead=True)
    def cases(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        for n in range(int(cursor or 0), 3):
            self.threads.add(threading.get_ident())
            with self.store.read() as tx:
                self.committed.append(cursors.position(tx, "acme", "cases").cursor)
            yield Page(records=[{"id": n, "subject": f"case {n}"}], cursor=str(n + 1))


def test_a_pull_ahead_commits_page_after_page_and_goes_on_where_it_was_stopped(database_url: str) -> None:
    store = Store.open(database_url)
    connector = Paged(store)
    mapping = compile_mapping(Source(MAPPING, "mappings/paged.toml"))
    settings = ConnectionSettings(connector="paged", sync=SyncSettings(ahead=True))
    connection = Connection("acme", connector, mapping, Transport("acme"), settings)

    def stop(step: Progress) -> None:
        if not step.done and step.read == 2:
            raise Temporary("stopped")

    first = sync_connection(store, connection, progress=stop)["cases"]
    assert (first["read"], first["error"]) == (2, "temporary: stopped")
    assert connector.threads.isdisjoint({threading.get_ident()})
    second = sync_connection(store, connection)["cases"]
    assert (second["read"], second["changed"], second["error"]) == (1, 1, None)
    asked_for = [int(cursor or 0) for cursor in connector.committed]
    assert all(n - committed <= 1 for n, committed in zip([0, 1, 2, 2], asked_for, strict=False))
    with store.read() as tx:
        assert tx.execute("SELECT count(*) FROM record").fetchone() == (3,)
    store.close()


def test_without_the_setting_a_page_is_asked_for_when_the_one_before_is_committed(database_url: str) -> None:
    store = Store.open(database_url)
    connector = Paged(store)
    mapping = compile_mapping(Source(MAPPING, "mappings/paged.toml"))
    connection = Connection("acme", connector, mapping, Transport("acme"), ConnectionSettings(connector="paged"))
    assert sync_connection(store, connection)["cases"]["read"] == 3
    assert (connector.threads, connector.committed) == ({threading.get_ident()}, [None, "1", "2"])
    store.close()
