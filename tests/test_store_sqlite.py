"""A SQLite file under load: rows that go in beside the writer, the log that is copied, interrupts and ends."""

import gc
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from hub.errors import Temporary
from hub.store import Database, checkpoints, held, sqlite

ALIAS = "INSERT INTO alias (id, entity_id, at) VALUES (?, ?, ?)"


def url(path: Path) -> str:
    return f"sqlite:///{path / 'hub.db'}"


def test_the_log_is_copied_into_the_file_beside_the_writer(tmp_path: Path) -> None:
    database = Database(url(tmp_path), "hub")
    before = (tmp_path / "hub.db").stat().st_size
    for lot in range(3):
        with database.write() as tx:
            rows = [(f"cus_{lot}_{n}", "cus_z", "2026-01-01T00:00:00Z") for n in range(checkpoints.ROWS)]
            tx.executemany(ALIAS, rows)
    deadline = time.monotonic() + 30
    while (tmp_path / "hub.db").stat().st_size <= before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (tmp_path / "hub.db").stat().st_size > before
    database.close()
    assert not [thread for thread in threading.enumerate() if thread.name in ("hub-checkpoint", "hub-insert_0")]


def test_rows_that_cannot_be_inserted_say_so_and_leave_nothing(tmp_path: Path) -> None:
    database = Database(url(tmp_path), "hub")
    rows = [("cus_same", "cus_z", "2026-01-01T00:00:00Z")] * 2000
    with pytest.raises(sqlite3.IntegrityError), database.write() as tx:
        tx.executemany(ALIAS, rows)
    with database.write() as tx:
        assert tx.execute("SELECT count(*) FROM alias").fetchone() == (0,)
        tx.executemany(ALIAS, rows[:1])
    with database.read() as tx:
        assert tx.execute("SELECT count(*) FROM alias").fetchone() == (1,)
    database.close()


def test_rows_on_their_way_are_seen_by_the_next_statement(tmp_path: Path) -> None:
    database = Database(url(tmp_path), "hub")
    with database.write() as tx:
        rows = [(f"cus_{n}", "cus_z", "2026-01-01T00:00:00Z") for n in range(5000)]
        tx.executemany(ALIAS, rows)
        assert tx.execute("SELECT count(*) FROM alias").fetchone() == (5000,)
    more = [(f"x{id}", *others) for id, *others in rows]

    def break_off() -> None:
        with database.write() as tx:
            tx.executemany(ALIAS, more)
            raise KeyError("the page was bad")

    with pytest.raises(KeyError):
        break_off()
    with database.read() as tx:
        assert tx.execute("SELECT count(*) FROM alias").fetchone() == (5000,)
    database.close()


@pytest.mark.parametrize("failure", [RuntimeError("can't start new thread"), KeyboardInterrupt()])
def test_rows_that_found_no_thread_never_go_into_a_later_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    database, start = Database(url(tmp_path), "hub"), threading.Thread.start

    def break_off() -> None:
        with database.write() as tx:
            tx.executemany(ALIAS, [(f"cus_bad_{n}", "cus_z", "now") for n in range(2000)])
            assert tx.execute("SELECT count(*) FROM alias").fetchone() == (2000,), "they go in without a thread"
            raise KeyError("the page was bad")

    def fail(thread: threading.Thread) -> None:
        if thread.name.startswith("hub-insert"):
            raise failure
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises((KeyError, KeyboardInterrupt)):
        break_off()
    monkeypatch.undo()
    with database.write() as tx:
        tx.executemany(ALIAS, [(f"cus_{n}", "cus_z", "now") for n in range(1000)])
    with database.read() as tx:
        assert tx.execute("SELECT count(*), min(id) FROM alias").fetchone() == (1000, "cus_0")
    database.close()


def test_many_rows_go_in_while_python_ends(tmp_path: Path) -> None:
    code = f"""
import threading
from hub.store import Database

def work():
    threading.main_thread().join()
    with database.write() as tx:
        tx.executemany({ALIAS!r}, rows)

database = Database({url(tmp_path)!r}, "hub")
rows = [(f"cus_{{n}}", "cus_z", "now") for n in range(2001)]
threading.Thread(target=work).start()
"""
    subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    with closing(sqlite3.connect(tmp_path / "hub.db")) as connection:
        assert connection.execute("SELECT count(*) FROM alias").fetchone() == (2001,)


def test_an_interrupt_while_rows_go_in_leaves_none_of_them(tmp_path: Path) -> None:
    code = f"""
import os, signal, threading, time
from hub.store import Database

def interrupt(tx):
    while not tx._running:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # where it was started in the background it is ignored
database = Database({url(tmp_path)!r}, "hub")
rows = [(f"cus_{{n}}", "cus_z", "2026-01-01T00:00:00Z") for n in range(300_000)]
try:
    with database.write() as tx:
        threading.Thread(target=interrupt, args=(tx,)).start()
        tx.executemany({ALIAS!r}, rows)
        tx.execute("SELECT 1")
except KeyboardInterrupt:
    with database.read() as tx:
        print(tx.execute("SELECT count(*) FROM alias").fetchone()[0])
database.close()
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.strip() == "0", told.stderr


@pytest.mark.parametrize(("long", "copies"), [(1, 3), (checkpoints.LONG, 6)])
def test_where_the_log_is_long_every_other_turn_is_the_writers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: int, copies: int
) -> None:
    monkeypatch.setattr(checkpoints, "LONG", long)
    database, made = Database(url(tmp_path), "hub"), list[int]()
    connect = database.kept._connect  # type: ignore[attr-defined]

    def counted() -> sqlite3.Connection:
        made.append(1)
        return connect()  # type: ignore[no-any-return]

    copier = checkpoints.Checkpoints(counted)
    with database.write() as tx:
        tx.execute(ALIAS, ("cus_a", "cus_z", "now"))
    for turn in range(1, 7):
        copier.written(turn * checkpoints.ROWS)
        while copier._wanted or not copier._told._waiters:  # type: ignore[attr-defined]
            time.sleep(0.001)
    copier.close()
    assert len(made) == copies
    database.close()


def test_a_log_that_grew_long_under_a_reader_gives_its_room_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_LOG_BYTES", 100_000)
    monkeypatch.setattr(sqlite, "LONG", 10)
    database, log = Database(url(tmp_path), "hub"), tmp_path / "hub.db-wal"

    def write(prefix: str) -> None:
        with database.write() as tx:
            tx.executemany(ALIAS, [(f"{prefix}{n}", "cus_z", "now") for n in range(3000)])

    write("a")
    with database.read() as tx:
        assert tx.execute("SELECT count(*) FROM alias").fetchone() == (3000,)
        write("b")
        write("c")
        assert tx.execute("SELECT count(*) FROM alias").fetchone() == (3000,)
        grown = log.stat().st_size
    for prefix in "def":
        with database.write() as tx:
            tx.execute(ALIAS, (prefix, "cus_z", "now"))
    assert log.stat().st_size <= 100_000 < grown
    database.close()


def test_a_database_that_nobody_closes_lets_go_of_its_threads_and_its_lock(tmp_path: Path) -> None:
    def use() -> None:
        with Database(url(tmp_path), "hub").write() as tx:
            tx.executemany(ALIAS, [(f"cus_{n}", "cus_z", "now") for n in range(checkpoints.ROWS)])

    before = set(threading.enumerate())
    use()
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive(), thread.name
    with held.alone([tmp_path / "hub.db"]):
        pass


def emptied(database: Database) -> None:
    """Let a file have far more pages than it needs, and its log be copied at this moment."""
    plain = "INSERT INTO raw (block, source_id, count, data) VALUES (?, ?, ?, ?)"
    with database.write() as tx:
        tx.executemany(plain, [(block, 1, 1, bytes(2000)) for block in range(1, 15_000)])
    with database.write() as tx:
        tx.execute("DELETE FROM raw WHERE block > 10")


def test_a_file_is_shrunk_while_its_log_is_copied(tmp_path: Path) -> None:
    database = Database(url(tmp_path), "hub")
    emptied(database)
    database.shrink()
    assert (tmp_path / "hub.db").stat().st_size == sum(database.size()) < 1_000_000
    assert (tmp_path / "hub.db-wal").stat().st_size == 0
    database.close()


def test_a_file_that_somebody_reads_says_that_it_is_not_shrunk_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_MS", 50)
    database = Database(url(tmp_path), "hub")
    emptied(database)
    with database.read() as tx:
        assert tx.execute("SELECT count(*) FROM raw").fetchone() == (10,)
        with pytest.raises(Temporary, match="somebody reads the old pages"):
            database.shrink()
        assert tx.execute("SELECT count(*) FROM raw").fetchone() == (10,)
    database.shrink()
    assert (tmp_path / "hub.db").stat().st_size < 1_000_000
    database.close()
