"""Bring a database to the newest version: alembic histories, one per branch, shipped inside the package."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from hub.errors import ConfigError, Temporary

HERE = Path(__file__).parent / "migrations"
_BUSY_MS = 30_000
_PAGE = 8192
_TEXTS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND NOT a.attisdropped AND a.attnum > 0
    AND a.attcollation NOT IN (0, 'pg_catalog."C"'::regcollation) ORDER BY 1, 2
"""


@cache
def newest(branch: str) -> str:
    """Name the newest migration of a branch; files are named after their revision."""
    return max(file.name.partition("_")[0] for file in (HERE / branch / "versions").glob("[0-9]*.py"))


def version(path: Path) -> str | None:
    """Name the migration the database file is at, None for an empty or missing one."""
    if not path.exists():
        return None
    with closing(sqlite3.connect(path, timeout=_BUSY_MS / 1000)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError as exc:
            if "no such table" in str(exc):
                return None
            raise Temporary(f"{path}: cannot be read: {exc}") from exc
        except sqlite3.DatabaseError as exc:
            raise ConfigError(f"{path}: is no database that Deskhub wrote: {exc}") from exc
    return str(row[0]) if row else None


def upgrade(path: Path, branch: str) -> None:
    """
    Run the migrations that are missing, all in one transaction.

    Two processes that open a new file at once take turns. Raises ConfigError when the file is of a newer version.
    """
    if _older(version(path), branch, where=str(path)):
        _upgrade(path, branch)


def upgrade_schema(connection: Any, connect: Callable[[], Any], branch: str, *, turn: int) -> None:
    """
    Do the same with the Postgres schema that a connection is in; `turn` is the number of its advisory lock.

    Its texts are made to compare byte by byte, as SQLite's do, whatever the database's language.
    """
    if not _older(schema_version(connection), branch, where=f'the schema "{branch}"'):
        return
    with connection.transaction():
        connection.execute(f"SELECT pg_advisory_xact_lock({turn})")
        if connection.execute(f"SELECT to_regnamespace('{branch}')").fetchone() == (None,):
            connection.execute(f"CREATE SCHEMA {branch}")
    _upgrade_schema(connect, branch, turn)


def schema_version(connection: Any) -> str | None:
    """Name the migration that the schema of a connection is at, None for an empty or missing one."""
    if connection.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def _older(found: str | None, branch: str, *, where: str) -> bool:
    if found is not None and found > newest(branch):
        raise ConfigError(f"{where}: written by a newer Deskhub (version {found}); this one knows {newest(branch)}")
    return found != newest(branch)


def _upgrade(path: Path, branch: str) -> None:
    from alembic import command  # imported here: half of a second start has nothing to migrate
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"timeout": _BUSY_MS / 1000})

    @event.listens_for(engine, "connect")
    def _plain(raw: Any, _record: Any) -> None:
        raw.isolation_level = None
        raw.execute(f"PRAGMA page_size = {_PAGE}")  # of a new file: records of 1 kB fill such pages better than 4 kB
        raw.execute("PRAGMA journal_mode = WAL")

    @event.listens_for(engine, "begin")
    def _immediate(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    with engine.begin() as connection:
        command.upgrade(alembic_config(branch, connection), "head")


def _upgrade_schema(connect: Callable[[], Any], branch: str, turn: int) -> None:
    from alembic import command
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    def plain() -> Any:
        made = connect()
        made.autocommit = False
        return made

    engine = create_engine("postgresql+psycopg://", creator=plain, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({turn})")
        command.upgrade(alembic_config(branch, connection), "head")
        columns = connection.exec_driver_sql(_TEXTS).all()
        for table in sorted({name for name, _, _ in columns}):
            wanted = [f'ALTER "{column}" TYPE {kind} COLLATE "C"' for name, column, kind in columns if name == table]
            connection.exec_driver_sql(f'ALTER TABLE "{table}" {", ".join(wanted)}')
        if branch == "hub":  # blocks are compressed already: Postgres need not try
            connection.exec_driver_sql("ALTER TABLE raw ALTER data SET STORAGE EXTERNAL")
    engine.dispose()


def alembic_config(branch: str, connection: Any) -> Any:
    """Give alembic's configuration for a branch on an open SQLAlchemy connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(HERE / branch).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
