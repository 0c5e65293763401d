"""The store: databases, transactions, migrations, and what is kept in them."""

import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.exc import SAWarning

from hub.errors import ConfigError, HubError, Temporary
from hub.store import Database, Source, Sources, Store, clock, cursors, migrate, raw, sqlite, syncs
from hub.store.columns import Columns
from hub.store.tables import HubTable
from hub.store.tables_ledger import LedgerTable


def url(path: Path, name: str = "hub.db") -> str:
    return f"sqlite:///{path / name}"


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store on either database."""
    store = Store.open(database_url)
    yield store
    store.close()


@pytest.fixture
def file_store(tmp_path: Path) -> Iterator[Store]:
    """A store that is a file."""
    store = Store.open(url(tmp_path))
    yield store
    store.close()


def test_an_empty_folder_becomes_a_migrated_database(tmp_path: Path) -> None:
    store = Store.open(url(tmp_path / "not" / "there"))
    assert store.database.version() == migrate.newest("hub")
    store.close()


@pytest.mark.parametrize("branch", ["hub", "ledger"])
def test_migrations_make_exactly_the_declared_tables(tmp_path: Path, branch: Any) -> None:
    Database(url(tmp_path), branch).close()
    metadata = {"hub": HubTable, "ledger": LedgerTable}[branch].metadata
    engine = create_engine(url(tmp_path))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        with warnings.catch_warnings():  # SQLAlchemy cannot read an index on an expression; the next test does
            warnings.filterwarnings("ignore", "Skipped unsupported reflection", SAWarning)
            warnings.filterwarnings("ignore", "autogenerate skipping metadata-specified expression-based index")
            assert compare_metadata(context, metadata) == []
    engine.dispose()


@pytest.mark.parametrize("branch", ["hub", "ledger"])
def test_tables_without_rowid_and_partial_indexes_are_made_as_declared(tmp_path: Path, branch: Any) -> None:
    Database(url(tmp_path, "migrated.db"), branch).close()
    engine = create_engine(url(tmp_path, "declared.db"))
    {"hub": HubTable, "ledger": LedgerTable}[branch].metadata.create_all(engine)
    engine.dispose()
    assert schema(tmp_path / "migrated.db") == schema(tmp_path / "declared.db")


def schema(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'"
        )
        return {name: "".join(sql.split()) for name, sql in rows}


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    Store.open(url(tmp_path)).close()
    before = schema(tmp_path / "hub.db")
    Store.open(url(tmp_path)).close()
    assert schema(tmp_path / "hub.db") == before


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Database(url(tmp_path)).close()
    with closing(sqlite3.connect(tmp_path / "hub.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(ConfigError, match="written by a newer Deskhub"):
        Database(url(tmp_path))


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_text("order_no;amount\n" * 100)
    with pytest.raises(ConfigError, match=r"hub\.db: is no database"):
        Database(url(tmp_path))


@pytest.mark.parametrize("bad", ["mysql://root@db/x", "sqlite://", "hub.db", "sqlite:///:memory:"])
def test_a_url_it_cannot_serve_is_refused_without_its_secrets(bad: str) -> None:
    with pytest.raises(ConfigError, match="expected sqlite:///PATH") as caught:
        Database(bad)
    assert "root" not in caught.value.message


def test_readers_cannot_write(store: Store) -> None:
    with pytest.raises(Exception, match=r"read-?only"), store.read() as tx:
        tx.execute("DELETE FROM event")


def test_two_processes_may_create_one_database_at_once(tmp_path: Path) -> None:
    code = f"from hub.store import Store; s = Store.open({url(tmp_path)!r}); print(s.database.version()); s.close()"
    made = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in made] == [migrate.newest("hub")] * 2


def test_no_update_is_lost_among_threads(store: Store) -> None:
    key = ("acme", "tickets")
    with store.write() as tx:
        cursors.advance(tx, key, cursor="0", scan=None, read_at=0)

    def count() -> None:
        for _ in range(25):
            with store.write() as tx:
                at = cursors.position(tx, *key)
                cursors.advance(tx, key, cursor=str(int(at.cursor or 0) + 1), scan=None, read_at=0)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as tx:
        assert cursors.position(tx, *key).cursor == "100"


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    with pytest.raises(Exception, match=r"NOT NULL|not-null"), store.write() as tx:
        tx.executemany("INSERT INTO cursor (connection, stream) VALUES ('acme', ?)", [("tickets",), (None,)])
    with store.read() as tx:
        assert cursors.positions(tx) == {}


def test_after_a_commit_that_failed_the_database_goes_on(file_store: Store) -> None:
    with file_store.write() as tx:
        tx.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        tx.execute("CREATE TABLE child (of INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    file_store.database.kept._writing().execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError), file_store.write() as tx:
        tx.execute("INSERT INTO child VALUES (1)")
    with file_store.write() as tx:
        assert tx.execute("SELECT count(*) FROM child").fetchone() == (0,)


def test_a_full_disk_is_temporary_and_leaves_nothing(file_store: Store) -> None:
    (pages,) = file_store.database.kept._writing().execute("PRAGMA page_count").fetchone()
    file_store.database.kept._writing().execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Temporary, match="disk full"), file_store.write() as tx:
        tx.execute("INSERT INTO cursor (connection, stream, cursor) VALUES ('a', 'b', ?)", ("x" * 1_000_000,))
    with file_store.read() as tx:
        assert cursors.positions(tx) == {}


def test_a_fault_in_sql_is_a_fault_of_the_program(store: Store) -> None:
    with pytest.raises(Exception, match=r"no such table|does not exist") as caught, store.write() as tx:
        tx.execute("DELETE FROM no_such_table")
    assert not isinstance(caught.value, HubError)


def test_a_transaction_inside_another_is_a_fault_of_the_program(store: Store) -> None:
    with pytest.raises(RuntimeError, match="already open"), store.write(), store.write():
        pass


def test_a_reader_sees_one_state_while_others_write(store: Store) -> None:
    with store.read() as tx:
        assert cursors.positions(tx) == {}
        with store.write() as other:
            cursors.advance(other, ("acme", "tickets"), cursor="1", scan=None, read_at=0)
        assert cursors.positions(tx) == {}
    with store.read() as tx:
        assert cursors.positions(tx).keys() == {("acme", "tickets")}


def test_a_lock_that_is_never_given_back_is_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_MS", 50)
    ours = Database(url(tmp_path))
    with closing(sqlite3.connect(tmp_path / "hub.db", isolation_level=None)) as theirs:
        theirs.execute("BEGIN IMMEDIATE")
        with pytest.raises(Temporary, match="keeps the database locked"), ours.write():
            pass
    ours.close()


def test_the_ledger_waits_for_the_disk_and_the_hub_does_not(tmp_path: Path) -> None:
    for branch, synchronous in (("hub", 1), ("ledger", 2)):
        opened = Database(url(tmp_path, f"{branch}.db"), branch)  # type: ignore[arg-type]
        with opened.write() as tx:
            assert tx.execute("PRAGMA synchronous").fetchone() == (synchronous,)
            assert tx.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        opened.close()


def test_a_closed_database_says_so(database_url: str) -> None:
    closed = Database(database_url)
    closed.close()
    with pytest.raises(RuntimeError, match="closed"), closed.write():
        pass


def test_a_reader_that_outlives_the_store_gives_its_connection_back(store: Store) -> None:
    with store.read() as tx:
        store.close()
        assert tx.execute("SELECT 1").fetchone() == (1,)


def test_raw_records_come_back_byte_for_byte_however_many_blocks(store: Store) -> None:
    records = [b'{"n": %d, "text": "\xc3\xa4"}' % n for n in range(250)]
    with store.write() as tx:
        blocks = raw.Blocks.after(tx, 1)
        places = list(zip(*blocks.put(range(250), records), strict=True))
        assert blocks.put([3], records) == ([places[3][0]], [places[3][1]])
        blocks.write(tx)
    with store.read() as tx:
        assert tx.execute("SELECT count FROM raw ORDER BY block").fetchall() == [(100,), (100,), (50,)]
        assert raw.read(tx, places[::-1]) == records[::-1]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 499, 500, 1001])
def test_many_rows_go_in_as_they_are_and_in_order(store: Store, count: int) -> None:
    rows = [(n, "a\0b" if n % 2 else "ä", None if n % 3 else "s") for n in range(1, count + 1)]
    sql = "INSERT INTO source (id, connection, name, stream, kind) VALUES (?, 'c', ?, ?, 'ticket')"
    named = [(id, f"{id}{name.replace(chr(0), '')}", stream) for id, name, stream in rows]
    with store.write() as tx:
        tx.executemany("DELETE FROM source WHERE id = ?", [(0,)])
        tx.executemany(sql, iter(named))
        plain = "INSERT INTO raw (block, source_id, count, data) VALUES (?, ?, ?, ?)"
        tx.executemany(plain, [(id, 1, id, name.encode()) for id, name, _ in rows])
    with store.read() as tx:
        assert tx.execute("SELECT id, name, stream FROM source ORDER BY id").fetchall() == named
        found = tx.execute("SELECT block, data FROM raw ORDER BY block").fetchall()
        assert [(id, bytes(data)) for id, data in found] == [(id, name.encode()) for id, name, _ in rows]


_STATES = "SELECT remote_id, source_id, rid, mapped_hash, version, raw_hash, read_at, seen, deleted FROM state"


@pytest.mark.parametrize("count", [1, 2, 99, 100, 250])
def test_columns_go_in_and_change_as_rows_do(store: Store, count: int) -> None:
    ids, numbers = [f"t{n:03}" for n in range(count)], list(range(count))
    some = [None if n % 3 else f"v{n}" for n in numbers]
    held = [f"a{n}".encode() for n in numbers]
    columns = Columns([ids, repeat(7), numbers, held, some, repeat(b"raw"), iter(numbers), repeat(None)])
    rows = [(id, 7, n, h, s, b"raw", n, None) for id, n, h, s in zip(ids, numbers, held, some, strict=True)]
    assert (len(columns), list(columns)) == (count, rows)
    with store.write() as tx:
        insert = "INSERT INTO state (remote_id, source_id, rid, mapped_hash, version, raw_hash, read_at, seen, deleted)"
        tx.executemany(f"{insert} VALUES (?, ?, ?, ?, ?, ?, ?, ?, FALSE)", columns)
    with store.read() as tx:
        assert tx.execute(f"{_STATES} ORDER BY remote_id").fetchall() == [(*row, 0) for row in rows]
    with store.write() as tx:
        changed = Columns([held[::-1], some[::-1], repeat(7), ids])
        tx.executemany("UPDATE state SET mapped_hash = ?, version = ? WHERE source_id = ? AND remote_id = ?", changed)
    with store.read() as tx:
        found = [(row[3], row[4]) for row in tx.execute(f"{_STATES} ORDER BY remote_id")]
    assert found == list(zip(held[::-1], some[::-1], strict=True))


def test_a_state_has_one_stamp_until_something_is_committed(store: Store) -> None:
    def stamp() -> object:
        with store.read() as tx:
            return tx.stamp()

    first = stamp()
    assert stamp() == first
    with store.read() as tx:
        assert tx.stamp() == first
        with store.write() as other:
            other.execute("INSERT INTO alias (id, entity_id, at) VALUES ('a', 'b', 'now')")
        assert tx.stamp() == first, "what it sees stays as it is"
    assert stamp() != first


def test_one_question_needs_no_transaction(store: Store) -> None:
    with store.write() as tx:
        tx.executemany("INSERT INTO alias (id, entity_id, at) VALUES (?, ?, ?)", Columns([["a"], ["b"], ["now"]]))
    assert store.ask("SELECT entity_id FROM alias WHERE id = ?", ("a",)) == [("b",)]
    with pytest.raises(Exception, match="nothing_here"):
        store.ask("SELECT 1 FROM nothing_here")
    assert store.ask("SELECT count(*) FROM alias") == [(1,)]


def test_what_fails_behind_whole_lots_leaves_none_of_them(store: Store) -> None:
    sql = "INSERT INTO alias (id, entity_id, at) VALUES (?, ?, ?)"

    def put(ids: list[str], more: list[str]) -> None:
        with store.write() as tx:
            tx.executemany(sql, Columns([ids, repeat("cus_z"), repeat("now")]))
            tx.executemany(sql, Columns([more, repeat("cus_z"), repeat("now")]))

    fine = [f"cus_{n}" for n in range(500)]
    with pytest.raises(Exception, match=r"(?i)unique"):
        put(fine, [*(f"x{n}" for n in range(350)), fine[0], *(f"y{n}" for n in range(350))])
    with store.write() as tx:
        assert tx.execute("SELECT count(*) FROM alias").fetchone() == (0,)
        tx.executemany(sql, Columns([fine, repeat("cus_z"), repeat("now")]))
    with store.read() as tx:
        assert tx.execute("SELECT count(*), count(DISTINCT entity_id) FROM alias").fetchone() == (500, 1)


def test_blocks_go_on_behind_the_last_one(store: Store) -> None:
    for expected in (1, 2):
        with store.write() as tx:
            blocks = raw.Blocks.after(tx, 1)
            assert blocks.put([0], [b"{}"]) == ([expected], [0])
            blocks.write(tx)


def test_a_table_that_is_only_mentioned_is_completed_when_it_is_synced(store: Store) -> None:
    with store.write() as tx:
        sources = Sources.load(tx)
        mentioned = sources.mention(tx, "acme", "users")
        assert (mentioned.stream, sources.siblings(mentioned.id)) == (None, [])
        known = sources.register(tx, Source(0, "acme", "users", "people", "customer"))
        assert known.id == mentioned.id
        assert sources.siblings(known.id) == [known]
        assert sources.mention(tx, "acme", "users") == known
    with store.read() as tx:
        assert store.sources(tx).by_stream["acme", "people"] == [known]


def test_a_table_may_move_to_another_stream(store: Store) -> None:
    with store.write() as tx:
        sources = Sources.load(tx)
        sources.register(tx, Source(0, "acme", "users", "people", "customer"))
        moved = sources.register(tx, Source(0, "acme", "users", "persons", "customer"))
        assert sources.by_stream == {("acme", "people"): [], ("acme", "persons"): [moved]}
        assert sources.of_kind("customer") == [moved]


def test_the_registry_is_read_again_when_another_process_adds_a_table(database_url: str, store: Store) -> None:
    with store.read() as tx:
        assert store.sources(tx).by_id == {}
    other = Store.open(database_url)
    with other.write() as tx:
        Sources.load(tx).register(tx, Source(0, "acme", "users", "people", "customer"))
    other.close()
    with store.read() as tx:
        assert list(store.sources(tx).by_name) == [("acme", "users")]


def test_a_sync_is_logged_from_start_to_end(store: Store) -> None:
    made = syncs.start(store, "acme")
    assert syncs.one(store, made)["state"] == "running"  # type: ignore[index]
    syncs.finish(store, made, {"tickets": {"error": None}})
    broken = syncs.start(store, "other")
    syncs.finish(store, broken, {"tickets": {"error": "temporary: no answer"}})
    found = syncs.one(store, made)
    assert found is not None
    assert (found["state"], found["report"]) == ("succeeded", {"tickets": {"error": None}})
    assert {one["id"]: one["state"] for one in syncs.latest(store)} == {made: "succeeded", broken: "failed"}
    assert syncs.one(store, "syn_none") is None


def test_a_sync_that_broke_or_was_interrupted_says_so(store: Store) -> None:
    broken, cut = syncs.start(store, "acme"), syncs.start(store, "acme")
    syncs.broke(store, broken, "config_error: no such stream")
    with store.write() as tx:
        syncs.abandon(tx, clock.text(clock.now()))
    assert syncs.one(store, broken)["report"] == {"error": "config_error: no such stream"}  # type: ignore[index]
    assert syncs.one(store, cut)["state"] == "interrupted"  # type: ignore[index]


@given(st.datetimes(), st.datetimes())
def test_times_sort_as_text(one: Any, other: Any) -> None:
    one, other = (moment.replace(tzinfo=clock.UTC) for moment in (one, other))
    assert (clock.text(one) < clock.text(other)) == (one < other)
    assert clock.sortable(clock.text(one)) == clock.text(one)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02T03:04:05.25Z", "2026-01-02T03:04:05.250000Z"),
        ("2026-01-02T03:04:05.123456Z", "2026-01-02T03:04:05.123456Z"),
    ],
)
def test_times_of_bodies_get_the_form_that_sorts(given: str, expected: str) -> None:
    assert clock.sortable(given) == expected


def test_rows_that_are_updated_again_in_one_transaction_have_what_came_last(store: Store) -> None:
    rows, sql = range(1, 31), "UPDATE source SET stream = ? WHERE id = ?"
    with store.write() as tx:
        insert = "INSERT INTO source (id, connection, name) VALUES (?, ?, ?)"
        tx.executemany(insert, [(id, "desk", f"table {id}") for id in rows])
        for word in ("first", "second", "last"):
            tx.executemany(sql, [(word, id) for id in rows])
        tx.execute("UPDATE source SET stream = 'one' WHERE id = 1")
        tx.executemany(sql, [("other", id) for id in rows if id > 2])
    with store.read() as tx:
        found = [stream for (stream,) in tx.execute("SELECT stream FROM source ORDER BY id").fetchall()]
    assert found == ["one", "last", *["other"] * 28]
