"""What only Postgres has: schemas, turns between processes, a server that goes away."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from hub.errors import ConfigError, Temporary
from hub.ledger import Ledger, NewRun
from hub.store import Database, Store, cursors, dialect, is_postgres, migrate, postgres, version
from hub.store.tables import HubTable
from hub.store.tables_ledger import LedgerTable

ROOT = Path(__file__).parents[1]
KEY = ("acme", "tickets")


@pytest.fixture
def url(postgres_databases: Any) -> Iterator[str]:
    with postgres_databases() as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store.open(url)
    yield store
    store.close()


def child(code: str, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", code, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_an_empty_database_gets_a_schema_for_each_branch(empty_postgres: Any) -> None:
    with empty_postgres() as url:
        assert version(url, "hub") is None
        for branch in ("hub", "ledger"):
            Database(url, branch).close()
            assert version(url, branch) == migrate.newest(branch)


def test_two_processes_may_create_one_database_at_once(empty_postgres: Any) -> None:
    code = (
        "import sys; from hub.store import Store; s = Store.open(sys.argv[1]); print(s.database.version()); s.close()"
    )
    with empty_postgres() as url:
        made = [child(code, url) for _ in range(2)]
        assert [process.communicate(timeout=60)[0].strip() for process in made] == [migrate.newest("hub")] * 2


@pytest.mark.parametrize("branch", ["hub", "ledger"])
def test_migrations_make_exactly_the_declared_tables(url: str, branch: Any) -> None:
    metadata = {"hub": HubTable, "ledger": LedgerTable}[branch].metadata
    engine = create_engine("postgresql+psycopg://", creator=postgres.connector(url, branch))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_texts_compare_by_their_bytes_whatever_the_language(store: Store) -> None:
    sql = """
    SELECT count(*), count(*) FILTER (WHERE collation_name IS DISTINCT FROM 'C') FROM information_schema.columns
    WHERE table_schema IN ('hub', 'ledger') AND data_type IN ('character varying', 'text')
        AND table_name <> 'alembic_version'
    """
    with store.read() as tx:
        texts, others = tx.execute(sql).fetchone()
    assert texts > 80
    assert others == 0


def test_a_database_of_a_newer_version_is_refused(store: Store, url: str) -> None:
    with store.write() as tx:
        tx.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="written by a newer Deskhub"):
        Database(url)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("postgresql://ada:secret@127.0.0.1:1/hub", "does not answer"),
        ("postgresql+psycopg://ada:secret@127.0.0.1:1/hub", "does not answer"),
        ("postgresql://ada:secret@127.0.0.1:port/hub", "does not answer|expected"),
        ("postgresql://ada:secret@host/hub?no_such_option=1", "expected postgresql://USER@HOST/NAME"),
    ],
)
def test_a_server_that_is_not_there_is_named_without_its_password(bad: str, why: str) -> None:
    assert is_postgres(bad)
    with pytest.raises((ConfigError, Temporary), match=why) as caught:
        Database(bad)
    assert "secret" not in caught.value.message


def test_the_ledger_needs_a_file_for_its_key(url: str) -> None:
    with pytest.raises(ConfigError, match="audit_key_file"):
        Ledger.open(url)


def test_no_update_is_lost_among_processes(store: Store, url: str) -> None:
    code = """
import sys
from hub.store import Store, cursors
store = Store.open(sys.argv[1])
for _ in range(40):
    with store.write() as tx:
        at = cursors.position(tx, "acme", "tickets")
        cursors.advance(tx, ("acme", "tickets"), cursor=str(int(at.cursor or 0) + 1), scan=None, read_at=0)
store.close()
"""
    with store.write() as tx:
        cursors.advance(tx, KEY, cursor="0", scan=None, read_at=0)
    assert [process.communicate(timeout=60)[0] for process in [child(code, url) for _ in range(3)]] == [""] * 3
    with store.read() as tx:
        assert cursors.position(tx, *KEY).cursor == "120"


def test_sixteen_claims_from_four_processes_make_one_run(url: str, tmp_path: Path) -> None:
    code = """
import sys, threading
from pathlib import Path
from hub.ledger import Ledger, NewRun
ledger = Ledger.open(sys.argv[1], audit_key=Path(sys.argv[2]))
wish = dict(action="a", principal="p", body_hash="h", request=b"{}", plan=b"{}", idempotency_key="k")
def claim():
    run, new = ledger.claim(NewRun(**wish), owner="me")
    sys.stdout.write(f"{run.id} {new}\\n")
threads = [threading.Thread(target=claim) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
ledger.close()
"""
    ledger = Ledger.open(url, audit_key=tmp_path / "audit.key")
    given = {"action": "b", "principal": "p", "body_hash": "h", "request": b"{}", "plan": b"{}"}
    ledger.claim(NewRun(**given), owner="me")  # the key is there before the others look for it
    said = [
        process.communicate(timeout=60)[0]
        for process in [child(code, url, str(tmp_path / "audit.key")) for _ in range(4)]
    ]
    told = [line.split() for text in said for line in text.splitlines()]
    assert len(told) == 16
    assert len({run_id for run_id, _ in told}) == 1
    assert [new for _, new in told].count("True") == 1
    assert len(list(ledger.audit.rows())) == 2
    ledger.close()


def test_the_turn_of_a_process_that_is_killed_ends_with_it(store: Store, url: str) -> None:
    code = """
import sys, time
from hub.store import Store, cursors
with Store.open(sys.argv[1]).write() as tx:
    cursors.advance(tx, ("acme", "tickets"), cursor="1", scan=None, read_at=0)
    print("writing", flush=True)
    time.sleep(60)
"""
    writer = child(code, url)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    threading.Timer(0.2, writer.send_signal, (signal.SIGKILL,)).start()
    with store.write() as tx:
        assert cursors.positions(tx) == {}
    assert writer.wait(10) == -9
    writer.stdout.close()


def test_a_turn_that_does_not_come_is_temporary(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_BUSY_S", 0.05)
    other = Store.open(url)
    with store.write(), pytest.raises(Temporary, match="keeps the database locked"), other.write():
        pass
    with other.write() as tx:
        cursors.advance(tx, KEY, cursor="1", scan=None, read_at=0)
    other.close()


def dropped(url: str) -> None:
    """Cut all connections to a database, as a server that is restarted does."""
    with postgres.connector(url, "hub")() as connection:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
    time.sleep(0.05)


def test_after_a_restart_of_the_server_both_sides_go_on(store: Store, url: str) -> None:
    with store.write() as tx:
        cursors.advance(tx, KEY, cursor="1", scan=None, read_at=0)
    with store.read() as tx:
        assert cursors.position(tx, *KEY).cursor == "1"
    dropped(url)
    with store.read() as tx:
        assert cursors.position(tx, *KEY).cursor == "1"
    with store.write() as tx:
        cursors.advance(tx, KEY, cursor="2", scan=None, read_at=0)
    with store.read() as tx:
        assert cursors.position(tx, *KEY).cursor == "2"


def test_a_server_that_goes_in_the_middle_is_temporary_and_leaves_nothing(store: Store, url: str) -> None:
    def half(tx: Any) -> None:
        cursors.advance(tx, KEY, cursor="1", scan=None, read_at=0)
        dropped(url)
        cursors.advance(tx, KEY, cursor="2", scan=None, read_at=0)

    with pytest.raises(Temporary, match="could not do this now"), store.write() as tx:
        half(tx)
    with store.read() as tx:
        assert cursors.positions(tx) == {}


def test_a_transaction_that_went_on_after_an_error_is_not_called_written(store: Store) -> None:
    def half(tx: Any) -> None:
        cursors.advance(tx, KEY, cursor="1", scan=None, read_at=0)
        with pytest.raises(Exception, match="does not exist"):
            tx.execute("DELETE FROM no_such_table")

    with pytest.raises(RuntimeError, match="nothing of this transaction was written"), store.write() as tx:
        half(tx)
    with store.read() as tx:
        assert cursors.positions(tx) == {}


def test_more_readers_than_connections_take_turns(store: Store) -> None:
    seen = []

    def read() -> None:
        with store.read() as tx:
            time.sleep(0.02)
            seen.append(tx.execute("SELECT 1").fetchone())

    threads = [threading.Thread(target=read) for _ in range(3 * postgres.READERS)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert seen == [(1,)] * 3 * postgres.READERS


def test_a_text_with_nul_is_looked_up_and_found_nowhere(store: Store) -> None:
    with store.read() as tx:
        assert tx.execute("SELECT 1 FROM record WHERE email = ?", ("a\0b",)).fetchone() is None
        wanted = dialect.array(["a\0b", "c"])
        assert tx.execute(f"SELECT 1 FROM record WHERE entity_id IN {dialect.ANY}", (wanted,)).fetchone() is None


@pytest.mark.parametrize("rows", [3, 300])
def test_many_rows_are_written_as_few_are(store: Store, rows: int) -> None:
    records = [(n, f"t{n}\t\\N", b"\x00\\x", n) for n in range(rows)]
    insert = (
        "INSERT INTO record (read_at, remote_id, body, rid, source_id, kind, entity_id, updated_at, head)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, TRUE)"
    )
    with store.write() as tx:
        tx.executemany(insert, [(*record, 1, "ticket", "e", "2026") for record in records])
        tx.executemany(
            "UPDATE record SET status = ?, golden = coalesce(?, golden) WHERE rid = ? AND source_id = ?",
            [("open", b"\xff" if n % 2 else None, n, 1) for n in range(rows)],
        )
    with store.read() as tx:
        sql = "SELECT read_at, remote_id, body, rid, status, golden, head FROM record ORDER BY rid"
        expected = [(*record, "open", b"\xff" if record[0] % 2 else None, True) for record in records]
        assert tx.execute(sql).fetchall() == expected


def test_statements_keep_their_meaning_in_the_other_words() -> None:
    said = dialect.for_postgres(
        f"SELECT x FROM {dialect.EACH} AS wanted {dialect.few('SELECT rid FROM record WHERE email = wanted.value', 5)}"
        f" WHERE a IN {dialect.ANY} AND b IS ? AND c LIKE '5%'"
    )
    assert said == (
        "SELECT x FROM unnest(%s::text[]) AS wanted(value)"
        " CROSS JOIN LATERAL (SELECT rid FROM record WHERE email = wanted.value LIMIT 5) AS few"
        " JOIN record AS r ON r.rid = few.rid WHERE a = ANY(%s) AND b IS NOT DISTINCT FROM %s AND c LIKE '5%%'"
    )


def test_only_plain_statements_go_in_bulk() -> None:
    assert not dialect.plain_insert("INSERT INTO a (b) VALUES (?) ON CONFLICT DO NOTHING")
    assert dialect.copying("INSERT INTO a (b, c, d) VALUES (?, ?, TRUE)", "en") == dialect.Copied(
        "SELECT b, d FROM a LIMIT 0", "COPY a (b, d) FROM STDIN (FORMAT BINARY)", (True,)
    )
    assert dialect.joined("UPDATE a SET b = ?, c = c + ? WHERE d > ?") is None
    assert dialect.joined("UPDATE a SET b = b || ? || ? WHERE d = ?") is None
    assert dialect.joined("DELETE FROM a WHERE b = ?") is None
    found = dialect.joined("UPDATE a SET b = ?, c = max(?, c) WHERE d = ?")
    assert isinstance(found, dialect.Joined)
    assert found.update == (
        "UPDATE a SET b = many.p0, c = greatest(many.p1, c) FROM unnest({}) AS many(p0, p1, p2) WHERE d = many.p2"
    )
    assert found.shape == "SELECT b AS p0, c AS p1, d AS p2 FROM a LIMIT 0"
