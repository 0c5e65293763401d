"""
A database file: its connections, its transactions, its migrations.

Every write transaction is `BEGIN IMMEDIATE`, one at a time per process, so that no update is lost. Readers have
connections of their own and never wait for the writer. What only SQLite understands lives here and in `dialect`.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from hub.errors import ConfigError, Temporary
from hub.store import migrate

Branch = Literal["hub", "ledger"]
_SCHEME = "sqlite:///"
_BUSY_MS = 30_000
_SYNCHRONOUS = {"hub": "NORMAL", "ledger": "FULL"}
_CACHE_KIB = 16_000
_CHECKPOINT_PAGES = 4000


class Cursor(Protocol):
    """What a statement answers."""

    rowcount: int

    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Tx(Protocol):
    """What rooms write SQL against: `?` placeholders, rows as tuples."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Any: ...
    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Any: ...


class Database:
    """
    One database, of the branch `hub` (synced data) or `ledger` (runs and keys, every commit on the disk).

    Created and migrated when it is opened. Safe to use from many threads.
    """

    def __init__(self, url: str, branch: Branch = "hub", *, read_only: bool = False) -> None:
        self.url = url
        self.branch: Branch = branch
        self.path = _path(url)
        self.read_only = read_only
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._writer: sqlite3.Connection | None = None
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        if not read_only:
            self.upgrade()
        elif not self.path.exists():
            raise ConfigError(f"{self.path}: there is no such database; run a sync first")

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """
        Open a write transaction; commit at the end, roll back on any exception.

        One at a time; another process's transaction is waited for. Raises Temporary when that takes over 30 s.
        """
        me = threading.get_ident()
        if self._owner == me:
            raise RuntimeError("a write transaction is already open in this thread")
        with self._lock:
            connection = self._writing()
            self._owner = me
            try:
                self._begin(connection)
                with _transaction(connection):
                    yield connection
            finally:
                self._owner = None

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """Open a read transaction: all statements see one state of the database."""
        connection = self._take()
        try:
            connection.execute("BEGIN")
            with _transaction(connection):
                yield connection
        finally:
            self._give(connection)

    def upgrade(self) -> None:
        """Create the database, or bring it to the newest version. Raises ConfigError if a newer Deskhub wrote it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        migrate.upgrade(self.path, self.branch)

    def version(self) -> str | None:
        """Name the migration the database is at."""
        return migrate.version(self.path)

    def close(self) -> None:
        """Close all connections; a transaction still open elsewhere ends first."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for connection in (*idle, *filter(None, [self._writer])):
                connection.close()
            self._writer = None

    def _writing(self) -> sqlite3.Connection:
        if self._closed:
            raise RuntimeError(f"{self.path}: the database is closed")
        if self.read_only:
            raise RuntimeError(f"{self.path}: the database is open for reading only")
        if self._writer is None:
            self._writer = self._connect()
        return self._writer

    def _begin(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            raise Temporary(f"{self.path}: another process keeps the database locked", retry_after_s=5.0) from exc

    def _take(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            connection = self._connect()
            connection.execute("PRAGMA query_only = 1")
            return connection

    def _give(self, connection: sqlite3.Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)

    def _connect(self) -> sqlite3.Connection:
        mode = "ro" if self.read_only else "rwc"
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_MS / 1000,
            cached_statements=256,
        )
        connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[self.branch]}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _path(url: str) -> Path:
    if not url.startswith(_SCHEME) or url.removeprefix(_SCHEME) in ("", ":memory:"):
        raise ConfigError(f'database_url "{url.partition(":")[0][:20]}:…": expected sqlite:///PATH')
    return Path(url.removeprefix(_SCHEME))


def open_database(url: str, branch: Branch = "hub", *, read_only: bool = False) -> Database:
    """Open a database, creating and migrating it on first use. Raises ConfigError for a URL it cannot serve."""
    return Database(url, branch, read_only=read_only)
