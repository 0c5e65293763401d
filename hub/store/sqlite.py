"""
A database that is a SQLite file: its connections, its transactions, its migrations.

Every write transaction is `BEGIN IMMEDIATE`, one at a time per process, so that no update is lost. Readers have
connections of their own and never wait for the writer.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from weakref import finalize

from hub.errors import Temporary
from hub.store import held, migrate
from hub.store.checkpoints import LONG, Checkpoints
from hub.store.dialect import inserting

SCHEME = "sqlite:///"
_BUSY_MS = 30_000
_DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_SYNCHRONOUS = {"hub": "NORMAL", "ledger": "FULL"}
_SIZES = ("page_size", "page_count", "freelist_count")
_CACHE_KIB = 8_000
_LOG_BYTES = 200_000_000
_AT_ONCE = 1000


class Connection(sqlite3.Connection):
    """
    A connection that puts many rows into a table by few statements, beside the thread that goes on.

    Plain inserts of many rows run in a thread of their own: SQLite is at work without Python's lock then, and what
    comes next is prepared meanwhile. Every other statement waits for them, and raises what they raised.
    """

    _beside: ThreadPoolExecutor | None = None
    _running: "Future[Any] | None" = None
    _turn: object = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._inserting = threading.Lock()

    def executemany(self, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
        """Run a statement for each of these rows; plain inserts of many rows go in by the thousand."""
        values = rows if isinstance(rows, list) else list(rows)
        columns = len(values[0]) if values else 0
        at_once = min(_AT_ONCE, self.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // max(columns, 1))
        many = inserting(sql, at_once) if len(values) >= at_once > 1 else None
        self.settle()
        if many is None:
            return super().executemany(sql, values)
        whole = len(values) - len(values) % at_once
        lots = [tuple(chain.from_iterable(values[at : at + at_once])) for at in range(0, whole, at_once)]
        insert, each = super().execute, super().executemany
        steps: list[Callable[[], object]] = [partial(insert, many, lot) for lot in lots]
        self._go_in([*steps, partial(each, sql, values[whole:])] if values[whole:] else steps)
        return self.cursor()

    def _go_in(self, steps: Sequence[Callable[[], object]]) -> None:
        self._turn = turn = object()
        if self._beside is None:
            self._beside = ThreadPoolExecutor(1, "hub-insert")
        try:
            self._running = self._beside.submit(self._insert, turn, steps)
        except RuntimeError:  # no thread is to be had, or Python ends; what was handed over may wait for a thread still
            try:
                self._insert(turn, steps)
            finally:
                self._turn = None

    def _insert(self, turn: object, steps: Sequence[Callable[[], object]]) -> None:
        for step in steps:
            with self._inserting:
                if self._turn is not turn:  # taken back meanwhile: what goes in now would be there for good
                    return
                step()

    def settle(self) -> None:
        """Wait for the rows that are still on their way into a table. Raises what was wrong with them."""
        if self._running is not None:
            wait([self._running])  # who is interrupted here has rows on their way still, which a rollback waits for
            running, self._running = self._running, None
            running.result()

    def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
        """Run a statement behind those before it."""
        if self._running is not None:
            self.settle()
        return super().execute(sql, values)

    def commit(self) -> None:
        """Commit what all statements did."""
        self.settle()
        super().commit()

    def rollback(self) -> None:
        """Take back what all statements did, those that are still at work too."""
        while True:
            with suppress(KeyboardInterrupt):  # which is under way already; rows that outlive this would be committed
                self._turn = self._running = None
                with self._inserting:
                    return super().rollback()

    def close(self) -> None:
        """Close the connection, and end its thread."""
        if self._beside is not None:
            self._beside.shutdown()
        super().close()


class SqliteFile:
    """A file, created and migrated when it is opened."""

    def __init__(self, path: Path, branch: str) -> None:
        self.path = path
        self.branch = branch
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._writer: sqlite3.Connection | None = None
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._connect = partial(_connected, path.absolute(), _SYNCHRONOUS[branch])
        self._checkpoints = Checkpoints(self._connect)
        finalize(self, self._checkpoints.stop)
        self._let_go = held.share(self.path, self)
        migrate.upgrade(self.path, self.branch)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """
        Open a write transaction; commit at the end, roll back on any exception.

        One at a time; another process's transaction is waited for. Raises Temporary when that takes over 30 s, and
        where the disk is full or fails.
        """
        me = threading.get_ident()
        if self._owner == me:
            raise RuntimeError("a write transaction is already open in this thread")
        with self._lock, self._told("written"):
            connection = self._writing()
            self._owner = me
            try:
                with _transaction(connection):
                    self._begin(connection)
                    yield connection
                self._checkpoints.written(connection.total_changes)
            finally:
                self._owner = None

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Open a read transaction: all statements see one state of the database."""
        with self._told("read"):
            connection = self._take()
            try:
                with _transaction(connection):
                    connection.execute("BEGIN")
                    yield connection
            finally:
                self._give(connection)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn what the disk does not do now into Temporary; a reader needs some of it too."""
        try:
            yield
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF not in _DISK:
                raise
            raise Temporary(f"{self.path}: cannot be {what} ({exc}); is the disk full or read-only?") from exc

    def version(self) -> str | None:
        """Name the migration the database is at."""
        return migrate.version(self.path)

    def size(self) -> tuple[int, int]:
        """Give the bytes of the file, and those of them that are free."""
        with self.read() as tx:
            page, pages, free = (tx.execute(f"PRAGMA {name}").fetchone()[0] for name in _SIZES)
        return page * pages, page * free

    def shrink(self) -> None:
        """Write the file anew without its free pages. Raises Temporary while others keep it busy."""
        with self._lock:
            try:
                self._writing().execute("VACUUM")
                emptied = _emptied(self._writing())
            except sqlite3.OperationalError as exc:
                raise Temporary(f"{self.path}: could not be written anew ({exc})", retry_after_s=60.0) from exc
        if not emptied:
            text = "was written anew, but somebody reads the old pages still; try again when that ends"
            raise Temporary(f"{self.path}: {text}", retry_after_s=60.0)

    def close(self) -> None:
        """Close all connections; a transaction still open elsewhere ends first."""
        with self._lock:
            self._closed = True
            self._checkpoints.close()
            idle, self._idle = self._idle, []
            for connection in (*idle, *filter(None, [self._writer])):
                connection.close()
            self._writer = None
            self._let_go()

    def _writing(self) -> sqlite3.Connection:
        if self._closed:
            raise RuntimeError(f"{self.path}: the database is closed")
        if self._writer is None:
            self._writer = self._connect()
        return self._writer

    def _begin(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF in _DISK:
                raise
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


def _connected(path: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_MS / 1000,
        cached_statements=256,
        factory=Connection,
    )
    try:
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA wal_autocheckpoint = {LONG}")
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _emptied(connection: sqlite3.Connection) -> bool:
    """Copy all of the log into the file and cut it off; False where somebody who reads it does not end."""
    until = time.monotonic() + _BUSY_MS / 1000
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)  # for SQLite itself does not wait for another one who is copying the log
    return True


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()  # a commit that fails (a full disk) leaves the transaction open
        raise
