"""Look at a database without changing it: is it there, of this version, to be written, and does its clock agree?"""

import os
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.errors import Temporary
from hub.store import migrate
from hub.store.database import Branch, file_of, is_postgres

_WAIT_S = 2.0
_LATEST = "SELECT max(read_at) FROM cursor"


@dataclass(frozen=True)
class Health:
    """
    What was found. `version` is None where there is no database yet, `unwritable` says why nothing can be written.

    `clock_s` is how far the database server's clock is ahead of ours (0 for a file), `latest_s` how far the newest page
    that was synced is; `free_bytes` is the room on the disk of a file.
    """

    version: str | None
    newest: str
    unwritable: str | None = None
    busy: bool = False
    clock_s: float = 0.0
    latest_s: float | None = None
    free_bytes: int | None = None


def look(url: str, branch: Branch) -> Health:
    """Look at a database. Raises ConfigError and Temporary as opening it would."""
    return _postgres(url, branch) if is_postgres(url) else _file(file_of(url), branch)


def _file(path: Path, branch: Branch) -> Health:
    folder = next(one for one in path.absolute().parents if one.exists())
    free, newest = shutil.disk_usage(folder).free, migrate.newest(branch)
    if not path.exists():
        denied = None if os.access(folder, os.W_OK) else f"nothing may be created in {folder.name or folder}"
        return Health(None, newest, denied, free_bytes=free)
    version = migrate.version(path)
    denied, busy = None, False
    with closing(sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError as exc:
            busy = exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            denied = None if busy else str(exc)
        latest = _latest(connection) if branch == "hub" and version == newest else None
    return Health(version, newest, denied, busy, latest_s=latest, free_bytes=free)


def _postgres(url: str, branch: Branch) -> Health:
    import psycopg

    from hub.store import postgres

    newest = migrate.newest(branch)
    with closing(postgres.connector(url, branch)()) as connection:
        clock, recovering = _row(connection, "SELECT extract(epoch FROM clock_timestamp()), pg_is_in_recovery()")
        clock_s = float(clock) - time.time()
        version = migrate.schema_version(connection)
        denied = "the server is a standby" if recovering else None
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(f"SET LOCAL lock_timeout = '{_WAIT_S * 1000:.0f}ms'")
                connection.execute(f"SELECT pg_advisory_xact_lock({postgres.TURNS[branch]})")
                if version is None:
                    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {branch}")
                else:
                    connection.execute("LOCK TABLE alembic_version IN ROW EXCLUSIVE MODE")
        except psycopg.errors.LockNotAvailable:
            return Health(version, newest, denied, busy=True, clock_s=clock_s)
        except psycopg.Error as exc:
            denied = denied or str(exc).partition("\n")[0]
        latest = _latest(connection) if branch == "hub" and version == newest else None
    return Health(version, newest, denied, clock_s=clock_s, latest_s=latest)


def _row(connection: Any, sql: str) -> Any:
    row = connection.execute(sql).fetchone()
    if row is None:
        raise Temporary("the database gave no answer")
    return row


def _latest(connection: Any) -> float | None:
    """Say how far ahead of our clock the newest page is."""
    (found,) = _row(connection, _LATEST)
    return None if found is None else float(found) / 1000 - time.time()
