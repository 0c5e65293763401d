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
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, ClassVar
from weakref import finalize

from hub.errors import Temporary
from hub.store import held, migrate
from hub.store.checkpoints import LONG, Checkpoints
from hub.store.columns import Columns, is_empty
from hub.store.dialect import EACH_ROW, NOTHING, SAME, inserting, plain_insert

SCHEME = "sqlite:///"
_BUSY_MS = 30_000
_DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_SYNCHRONOUS = {"hub": "NORMAL", "ledger": "FULL"}
_SIZES = ("page_size", "page_count", "freelist_count")
_CACHE_KIB = 8_000
_LOG_BYTES = 200_000_000
LOT = 100
"""Rows that one statement inserts: more make it no faster, and a prepared statement takes room for each."""


class Connection(sqlite3.Connection):
    """
    A connection that puts many rows into a table by few statements, beside the thread that goes on.

    Plain inserts of many rows run in a thread of their own, one behind the other: SQLite is at work without Python's
    lock then, and what comes next is prepared meanwhile. Every other statement waits for them, and raises what they
    raised.
    """

    inserts_beside: ClassVar[bool] = True
    _beside: ThreadPoolExecutor | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._running: list[Future[None]] = []
        self._turn = object()
        self._inserting = threading.Lock()

    def executemany(self, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
        """Run a statement for each of these rows; plain inserts of many rows go in by the hundred."""
        values = rows if isinstance(rows, (list, Columns)) else list(rows)
        if len(values) >= LOT and plain_insert(sql):
            columns = values if isinstance(values, Columns) else Columns.of(values)
            self._go_in(sql, _Given(columns))
            return self.cursor()
        self.settle()
        return super().executemany(sql, values.mapped(_taken) if isinstance(values, Columns) else values)

    def _go_in(self, sql: str, given: "_Given") -> None:
        one, many, each = super().execute, inserting(sql, given.kinds, LOT), super().executemany
        steps: list[Callable[[], object]] = [partial(one, many, lot) for lot in given.lots()]
        if rest := given.rest():
            steps.append(partial(each, sql, rest))
        if any(one.done() and one.exception() for one in self._running):
            self.settle()
        if self._beside is None:
            self._beside = ThreadPoolExecutor(1, "hub-insert")
        try:
            self._running.append(self._beside.submit(self._insert, self._turn, steps))
        except RuntimeError:  # no thread is to be had, or Python ends; what was handed over may wait for a thread still
            self.settle()
            try:
                self._insert(self._turn, steps)
            finally:
                self._turn = object()

    def _insert(self, turn: object, steps: Sequence[Callable[[], object]]) -> None:
        for step in steps:
            with self._inserting:
                if self._turn is not turn:  # taken back meanwhile: what goes in now would be there for good
                    return
                try:
                    step()
                except BaseException:
                    self._turn = object()  # nor does anything go in behind what failed
                    raise

    def settle(self) -> None:
        """Wait for the rows that are still on their way into a table. Raises what was wrong with them."""
        if self._running:
            wait(self._running)  # who is interrupted here has rows on their way still, which a rollback waits for
            running, self._running = self._running, []
            for one in running:
                one.result()

    def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
        """Run a statement behind those before it."""
        if self._running:
            self.settle()
        return super().execute(sql, values)

    def stamp(self) -> object:
        """Name what a read transaction sees; see Tx."""
        return id(self), self.execute("PRAGMA data_version").fetchone()[0]

    def commit(self) -> None:
        """Commit what all statements did."""
        self.settle()
        super().commit()

    def rollback(self) -> None:
        """Take back what all statements did, those that are still at work too."""
        while True:
            with suppress(KeyboardInterrupt):  # which is under way already; rows that outlive this would be committed
                self._turn, self._running = object(), []
                with self._inserting:
                    return super().rollback()

    def close(self) -> None:
        """Close the connection, and end its thread."""
        if self._beside is not None:
            self._beside.shutdown()
        super().close()


class _Given:
    """
    Rows on their way into a table, column by column, as SQLite takes them fastest.

    `kinds` says what each column holds, in the words of `inserting`: one without values need not be told at all.
    """

    def __init__(self, given: Columns) -> None:
        self._given = given
        self._same: list[Any] = []
        self._each: list[Sequence[Any]] = []
        self.kinds = "".join(map(self._kind, given.columns))

    def _kind(self, column: "repeat[Any] | Sequence[Any]") -> str:
        if is_empty(column):
            return NOTHING
        if isinstance(column, repeat):
            self._same.append(next(column))
            return SAME
        self._each.append(_taken(column))
        return EACH_ROW

    def lots(self) -> Iterator[list[Any]]:
        """Give the values of each whole lot."""
        width, values = len(self._each), list(chain.from_iterable(zip(*self._each, strict=False)))
        for at in range(0, len(self._given) - len(self._given) % LOT, LOT):
            yield self._same + values[at * width : (at + LOT) * width]

    def rest(self) -> list[tuple[Any, ...]]:
        """Give the rows behind the last whole lot."""
        whole = len(self._given) - len(self._given) % LOT
        return list(islice(self._given, whole, None))


def _taken(column: Sequence[Any]) -> Sequence[Any]:
    """
    Give a column in the types that Python's driver takes as they are.

    For a bytes object it looks for an adapter each time, which takes longer than all that SQLite does with it.
    """
    if not column or bytes not in (column[0].__class__, column[-1].__class__):
        return column
    return [bytearray(value) if value.__class__ is bytes else value for value in column]


class SqliteFile:
    """A file, created and migrated when it is opened."""

    def __init__(self, path: Path, branch: str) -> None:
        self.path = path
        self.branch = branch
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._writer: Connection | None = None
        self._idle: list[Connection] = []
        self._closed = False
        self._connect = partial(_connected, path.absolute(), _SYNCHRONOUS[branch])
        self._checkpoints = Checkpoints(self._connect)
        finalize(self, self._checkpoints.stop)
        self._let_go = held.share(self.path, self)
        migrate.upgrade(self.path, self.branch)

    @contextmanager
    def write(self) -> Iterator[Connection]:
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
    def read(self) -> Iterator[Connection]:
        """Open a read transaction: all statements see one state of the database."""
        with self._told("read"):
            connection = self._take()
            try:
                with _transaction(connection):
                    connection.execute("BEGIN")
                    yield connection
            finally:
                self._give(connection)

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Read the rows of one statement."""
        with self._told("read"):
            connection = self._take()
            try:
                return connection.execute(sql, parameters).fetchall()
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

    def _writing(self) -> Connection:
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

    def _take(self) -> Connection:
        try:
            return self._idle.pop()
        except IndexError:
            connection = self._connect()
            connection.execute("PRAGMA query_only = 1")
            return connection

    def _give(self, connection: Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)


def _connected(path: Path, synchronous: str) -> Connection:
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
