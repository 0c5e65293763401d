"""A disk that is full while the journal is written: nothing is sent, and what was sent is known again afterwards."""

import subprocess
from pathlib import Path

import pytest

from hub.errors import Temporary
from tests.perform.shop import Shop


@pytest.fixture
def databases(sqlite_databases):
    """A file that cannot grow is the matter of a database that is a file."""
    return sqlite_databases


@pytest.fixture
def tmp_path(tmp_path_factory):
    """A small disk of its own for the hub's files."""
    folder = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no byte of the disk free."""
    with (folder / "filler").open("ab", buffering=0) as filler:
        for size in (65536, 4096, 1):
            try:
                while filler.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


def filled_before(shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Let the disk be full when this method of the ledger begins."""
    real = getattr(shop.ledger, method)

    def later(*args, **more):
        fill(folder)
        return real(*args, **more)

    monkeypatch.setattr(shop.ledger, method, later)


def freed(shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make room, and let leases end."""
    monkeypatch.undo()
    (folder / "filler").unlink()
    with shop.ledger.database.write() as tx:
        tx.execute("UPDATE run SET lease_owner = NULL, lease_until = NULL")


@pytest.mark.parametrize("method", ["claim", "begin"])
def test_nothing_is_sent_while_the_journal_has_no_room(shop, tmp_path, monkeypatch, method):
    filled_before(shop, tmp_path, monkeypatch, method)
    with pytest.raises(Temporary, match="disk full"):
        shop.note()
    assert shop.sandbox.ledger == []
    assert len(shop.ledger.runs()) == (method == "begin")
    freed(shop, tmp_path, monkeypatch)
    assert shop.note().status == "succeeded"
    assert shop.effects() == 1


def test_what_was_sent_before_the_disk_was_full_is_looked_up_and_not_sent_again(shop, tmp_path, monkeypatch):
    filled_before(shop, tmp_path, monkeypatch, "settle")
    with pytest.raises(Temporary, match="disk full"):
        shop.reply()
    assert shop.effects() == 1
    (run,) = shop.ledger.runs()
    assert shop.ledger.get(run.id).steps[0].state == "sending"
    freed(shop, tmp_path, monkeypatch)
    assert shop.reply().status == "succeeded"
    assert len(shop.sandbox.ledger) == 1


def test_nothing_is_accepted_while_the_journal_has_no_room(shop, tmp_path, monkeypatch):
    filled_before(shop, tmp_path, monkeypatch, "claim")
    with pytest.raises(Temporary):
        shop.note(wait_ms=0)
    assert (shop.sandbox.ledger, shop.ledger.runs()) == ([], [])
    freed(shop, tmp_path, monkeypatch)
