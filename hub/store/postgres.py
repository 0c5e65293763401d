"""
A database that is a schema of a Postgres, one for each branch: its connections, its transactions, its errors.

Write transactions take turns over all processes, under an advisory lock that ends with them: what SQLite's
`BEGIN IMMEDIATE` does for a file. Readers see one state (`REPEATABLE READ`) and never wait for the writer.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice, repeat
from typing import Any, ClassVar

from hub.errors import ConfigError, Temporary
from hub.store import migrate
from hub.store.columns import Columns, is_empty
from hub.store.dialect import EACH_ROW, NOTHING, Array, Joined, copying, for_postgres, joined, plain_insert

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg.types.numeric import Int8Dumper
except ImportError as missing:
    raise ConfigError("database_url: Postgres needs its driver; pip install 'deskhub[postgres]'") from missing

Connection = psycopg.Connection[tuple[Any, ...]]
Cursor = psycopg.Cursor[tuple[Any, ...]]
READERS = 8
_COPY_ROWS = 20
_BUSY_S = 30
_SILENT_S = 120
_NOT_NOW = ("08", "25P03", "40", "53", "55", "57", "58")
TURNS = {"hub": 7_237_011, "ledger": 7_237_012}
"""The advisory lock that a write transaction of each schema takes first: one at a time, over all processes."""
_SYNCHRONOUS = {"hub": "off", "ledger": "on", "traffic": "off"}
_VACUUMED = ("raw", "state", "untaken", "reject")
_SIZE = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class AS c
WHERE c.relnamespace = CAST(? AS text)::regnamespace AND c.relkind = 'r'
"""
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class Postgres:
    """A schema, created and migrated when it is opened, with one connection that writes and a few that read."""

    def __init__(self, url: str, branch: str) -> None:
        self.branch = branch
        self._connect = connector(url, branch)
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._writer: Connection | None = None
        self._idle: list[Connection] = []
        self._room = threading.BoundedSemaphore(READERS)
        self._closed = False
        self._types: dict[str, list[int]] = {}
        with told():
            self._idle.append(self._connect())
            try:
                migrate.upgrade_schema(self._idle[0], self._connect, branch, turn=TURNS[branch])
            except BaseException:
                self._idle.pop().close()
                raise

    @contextmanager
    def write(self) -> Iterator["Transaction"]:
        """Open a write transaction when it is this one's turn; see Database.write."""
        me = threading.get_ident()
        if self._owner == me:
            raise RuntimeError("a write transaction is already open in this thread")
        with self._lock, told():
            self._owner = me
            try:
                self._writer = connection = self._begun(self._writer, self._begin)
                with _transaction(connection):
                    yield Transaction(connection, self._types)
            finally:
                self._owner = None

    @contextmanager
    def read(self) -> Iterator["Transaction"]:
        """Open a read transaction: all statements see one state of the database."""
        with self._reading(_start) as connection, _transaction(connection):
            yield Transaction(connection, self._types)

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Read the rows of one statement: one round trip."""
        rows: list[Any] = []

        def fetch(connection: Connection) -> None:
            try:
                rows[:] = Transaction(connection, self._types).execute(sql, parameters).fetchall()
            except BaseException:
                if not connection.broken:  # where the server dropped it, another one is asked
                    connection.close()
                raise

        with self._reading(fetch):
            return rows

    @contextmanager
    def _reading(self, begin: Callable[[Connection], None]) -> Iterator[Connection]:
        if not self._room.acquire(timeout=_BUSY_S):
            raise Temporary("all connections to the database are in use", retry_after_s=5.0)
        connection = None
        try:
            with told():
                connection = self._begun(self._taken(), begin)
                yield connection
        finally:
            self._room.release()
            self._give(connection)

    def version(self) -> str | None:
        """Name the migration the schema is at."""
        return _version(self._connect)

    def size(self) -> tuple[int, int]:
        """Give the bytes of the schema's tables; what of them is free only the server knows."""
        with self.read() as tx:
            (size,) = tx.execute(_SIZE, (self.branch,)).fetchone()
        return int(size), 0

    def shrink(self) -> None:
        """Let the server take back the room of rows that are gone."""
        with told():
            connection = self._connect()
            try:
                for table in _VACUUMED:
                    connection.execute(f"VACUUM {table}")
            finally:
                connection.close()

    def close(self) -> None:
        """Close all connections; a write transaction still open elsewhere ends first."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for connection in (*idle, *filter(None, [self._writer])):
                connection.close()
            self._writer = None

    def _begun(self, connection: Connection | None, begin: Callable[[Connection], None]) -> Connection:
        """Begin on a connection that is kept, or else, where the server has dropped it, on a new one."""
        if connection is not None:
            try:
                begin(connection)
                return connection
            except psycopg.OperationalError:
                if not connection.broken:
                    raise
        if self._closed:
            raise RuntimeError("the database is closed")
        connection = self._connect()
        try:
            begin(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin(self, connection: Connection) -> None:
        try:
            connection.execute(
                f"BEGIN; SET LOCAL idle_in_transaction_session_timeout = '{_SILENT_S}s';"
                f" SELECT pg_advisory_xact_lock({TURNS[self.branch]})"
            )
        except BaseException:
            _roll_back(connection)
            raise

    def _taken(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _give(self, connection: Connection | None) -> None:
        if connection is None:
            return
        if self._closed or connection.broken:
            connection.close()
        else:
            self._idle.append(connection)


class Transaction:
    """A transaction as rooms see it: statements in SQLite's words, values as Python has them."""

    __slots__ = ("_connection", "_types")
    inserts_beside: ClassVar[bool] = False

    def __init__(self, connection: Connection, types: dict[str, list[int]]) -> None:
        self._connection = connection
        self._types = types

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """Run a statement; gives what it answers."""
        said, values = for_postgres(sql), [_value(one) for one in parameters]
        try:
            return self._connection.execute(said, values, binary=True)
        except psycopg.DataError:
            if not _any_nul(values):
                raise
            return self._connection.execute(said, [_no_nul(one) for one in values], binary=True)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Any:
        """Run a statement for each of these; many plain inserts become one COPY."""
        given = parameters if isinstance(parameters, Columns) else Columns.of(parameters)
        given = given.mapped(_storable)
        cursor = self._connection.cursor()
        if len(given) >= _COPY_ROWS and plain_insert(sql):
            self._copy(cursor, sql, given)
        elif len(given) > 1 and (many := joined(sql)) is not None:
            cursor.execute(self._with_lists(many), given.lists(), binary=True)
        elif len(given):
            cursor.executemany(for_postgres(sql), given)
        return cursor

    def stamp(self) -> object:
        """Name what a read transaction sees; see Tx."""
        return self.execute("SELECT CAST(pg_current_snapshot() AS text)").fetchone()[0]

    def _copy(self, cursor: Cursor, sql: str, given: Columns) -> None:
        kinds = "".join(NOTHING if is_empty(column) else EACH_ROW for column in given.columns)
        told = [column for column, kind in zip(given.columns, kinds, strict=True) if kind != NOTHING]
        copied = copying(sql, kinds)
        types = self._typed(copied.shape)
        with cursor.copy(copied.copy) as lines:
            lines.set_types(types)
            for row in islice(zip(*told, *map(repeat, copied.constants), strict=False), len(given)):
                lines.write_row(row)

    def _with_lists(self, many: Joined) -> str:
        """Say the statement with its lists, each of the type of the column that it is for."""
        known = self._connection.adapters.types
        types = [info.regtype if (info := known.get(one)) else "text" for one in self._typed(many.shape)]
        return many.update.replace("{}", ", ".join(f"%b::{one}[]" for one in types))

    def _typed(self, shape: str) -> list[int]:
        """Give the types of columns: a binary COPY converts nothing, and so costs half."""
        if shape not in self._types:
            self._types[shape] = [column.type_code for column in self._connection.execute(shape).description or ()]
        return self._types[shape]


def version(url: str, branch: str) -> str | None:
    """Name the migration that a branch is at, None where there is none yet. Raises ConfigError, Temporary."""
    return _version(connector(url, branch))


def connector(url: str, branch: str) -> Callable[[], Connection]:
    """Give what makes connections to the schema of a branch. Raises ConfigError."""
    try:
        given = conninfo_to_dict("postgresql" + url[url.index("://") :])
    except psycopg.ProgrammingError as exc:
        raise ConfigError("database_url: expected postgresql://USER@HOST/NAME") from exc
    where = f"Postgres {given.get('dbname', '')} on {given.get('host', 'this host')}"
    settings = {
        "search_path": branch,
        "synchronous_commit": _SYNCHRONOUS[branch],
        "lock_timeout": f"{_BUSY_S}s",
        "enable_seqscan": "off",  # statistics of a first load lag behind: index by index, as written
        "jit": "off",
        "client_min_messages": "warning",
    }
    options = " ".join([str(given.pop("options", "")), *(f"-c {name}={value}" for name, value in settings.items())])
    kept: dict[str, Any] = {"connect_timeout": 10, "application_name": f"deskhub {branch}", "keepalives_idle": 30}
    address = make_conninfo(**(kept | given | {"options": options}))

    def connect() -> Connection:
        try:
            made = psycopg.connect(address, autocommit=True)
        except psycopg.OperationalError as exc:
            raise Temporary(f"{where} does not answer: {_short(exc)}", retry_after_s=5.0) from exc
        made.adapters.register_dumper(int, Int8Dumper)  # one type, so that a statement is prepared once
        return made

    return connect


def _version(connect: Callable[[], Connection]) -> str | None:
    with told(), connect() as connection:
        return migrate.schema_version(connection)


@contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    try:
        yield
        failed = connection.info.transaction_status.name == "INERROR"
        connection.execute("COMMIT")
        if failed:
            raise RuntimeError("a statement had failed, so nothing of this transaction was written")
    except BaseException:
        _roll_back(connection)
        raise


def _start(connection: Connection) -> None:
    connection.execute(_READ)


def _roll_back(connection: Connection) -> None:
    with suppress(psycopg.OperationalError):  # what is broken has rolled back
        connection.rollback()


@contextmanager
def told() -> Iterator[None]:
    """Turn what the server could not do now into Temporary; faults of the program stay what they are."""
    try:
        yield
    except psycopg.Error as exc:
        if isinstance(exc, psycopg.errors.LockNotAvailable):
            raise Temporary("another process keeps the database locked", retry_after_s=5.0) from exc
        if isinstance(exc, psycopg.OperationalError) or (exc.sqlstate or "").startswith(_NOT_NOW):
            raise Temporary(f"Postgres could not do this now: {_short(exc)}", retry_after_s=5.0) from exc
        raise


def _short(exc: psycopg.Error) -> str:
    """Name an error without the statement and its values."""
    return (exc.diag.message_primary or str(exc) or type(exc).__name__).splitlines()[0]


def _value(one: Any) -> Any:
    return one.values if type(one) is Array else one


def _any_nul(values: Sequence[Any]) -> bool:
    return any((isinstance(one, str) and "\0" in one) or (isinstance(one, list) and _any_nul(one)) for one in values)


def _storable(column: Sequence[Any]) -> Sequence[Any]:
    """Give a column without NULs: a server that meets one gives up the whole transaction."""
    kind = next((one.__class__ for one in column if one is not None), None)
    if kind is not str or "\0" not in "".join(filter(None, column)):
        return column
    return [_no_nul(one) for one in column]


def _no_nul(one: Any) -> Any:
    """Postgres's texts hold no NUL, so no text of its own is like this one."""
    if isinstance(one, list):
        return [_no_nul(inner) for inner in one]
    return one.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(one, str) else one
