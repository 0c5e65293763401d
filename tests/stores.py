"""What tests ask of a database in its own words, whichever keeps it."""

import sqlite3
from typing import Any

import pytest

ON_SQLITE = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
"""Marks a test that is about SQLite, or for which a second store would change nothing."""

CHANGES = ("INSERT", "UPDATE", "DELETE")
TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgres": "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()",
}

OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database() AND backend_type = 'client backend'
"""
MORE = """
SELECT (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal)
    + (SELECT count(*) FROM pg_tables WHERE tablename = 'touched')
    + (SELECT count(*) FROM hub.alembic_version WHERE version_num = '9999')
"""
FILLED = """
SELECT c.oid::regclass::text FROM pg_class AS c WHERE c.relkind = 'r'
    AND c.relname NOT IN ('alembic_version', 'dbos_migrations')
    AND c.relnamespace::regnamespace::text IN ('hub', 'ledger', 'traffic', 'dbos')
    ORDER BY (SELECT count(*) FROM pg_constraint WHERE confrelid = c.oid)
"""


def kind_of(tx: Any) -> str:
    """Name the store that a transaction is on."""
    return "sqlite" if isinstance(tx, sqlite3.Connection) else "postgres"


def watch(tx: Any) -> None:
    """From now on count every change of every row in the table `touched`, as the database sees it."""
    tables = {row[0] for row in tx.execute(TABLES[kind_of(tx)]).fetchall()} - {"touched", "alembic_version"}
    tx.execute("CREATE TABLE touched (what TEXT)")
    for table in sorted(tables):
        for change in CHANGES:
            _trigger(tx, f"watch_{table}_{change}", f'AFTER {change} ON "{table}"', f"'{change} {table}'")


def unwatch(tx: Any) -> None:
    """Count no more."""
    for table in {row[0] for row in tx.execute(TABLES[kind_of(tx)]).fetchall()} - {"touched", "alembic_version"}:
        for change in CHANGES:
            name = f"watch_{table}_{change}"
            tx.execute(f"DROP TRIGGER {name}" if kind_of(tx) == "sqlite" else f"DROP TRIGGER {name} ON {table}")
    tx.execute("DROP TABLE touched")


def refuse_events(tx: Any, why: str) -> None:
    """Let every insert of an event fail."""
    if kind_of(tx) == "sqlite":
        tx.execute(f"CREATE TRIGGER refused BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, '{why}'); END")
        return
    body = f"BEGIN RAISE EXCEPTION '{why}'; END"
    tx.execute(f"CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
    tx.execute("CREATE TRIGGER refused BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION refused()")


def dump(tx: Any) -> str:
    """Give all that the database keeps, as text."""
    names = sorted(row[0] for row in tx.execute(TABLES[kind_of(tx)]).fetchall())
    return "\n".join(repr(row) for name in names for row in tx.execute(f'SELECT * FROM "{name}"').fetchall())


def _trigger(tx: Any, name: str, when: str, what: str) -> None:
    insert = f"INSERT INTO touched VALUES ({what});"
    if kind_of(tx) == "sqlite":
        tx.execute(f"CREATE TRIGGER {name} {when} BEGIN {insert} END")
        return
    body = f"BEGIN {insert} RETURN NULL; END"
    tx.execute(f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
    tx.execute(f"CREATE TRIGGER {name} {when} FOR EACH ROW EXECUTE FUNCTION {name}()")


def wipe(tx: Any) -> None:
    """Forget all rows: sooner done than a new database, for properties that need many."""
    for table in {row[0] for row in tx.execute(TABLES[kind_of(tx)]).fetchall()} - {"alembic_version"}:
        tx.execute(f'DELETE FROM "{table}"')


def emptied(url: str) -> bool:
    """Empty a Postgres database for its next use; False where a test has left more in it than rows."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(OTHERS)
        if connection.execute(MORE).fetchone() != (0,):
            return False
        tables = [row[0] for row in connection.execute(FILLED).fetchall()]
        connection.execute("; ".join(f"DELETE FROM {table}" for table in tables))  # type: ignore[call-overload]
        connection.execute("SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'")
    return True
