"""The database of a connection: opened lazily, read on read-only transactions, its errors put into the hub's words."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub import ConfigError, Conflict, HubError, Invalid, NotSent, Refused, Temporary, Unauthorized, Unknown
from hub_legacy.oddtimes import load_odd_times
from hub_legacy.values import sort_of

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, Engine, Table

_REFUSED = ("password", "access denied", "authentication", "login", "not authorized", "ora-01017")
_NO_RIGHT = ("42501", "1142", "SQLITE_READONLY")
_READ_ONLY_FIRST = ("mysql", "mariadb", "oracle")
_SERIALIZABLE = ("postgresql", "mysql", "mariadb", "mssql", "cockroachdb")
_LISTED = 20
_KNOWN_S = 300.0


@dataclass(frozen=True)
class Known:
    """A reflected table with the sort of each column, by name."""

    name: str
    table: "Table"
    sorts: dict[str, str]
    scales: dict[str, int | None]
    native: bool

    def column(self, name: str) -> "Column[Any] | None":
        """Find a column by its name, in any case where no name fits exactly."""
        found = self.table.columns.get(name)
        if found is None:
            alike = [column for column in self.table.columns if column.name.lower() == name.lower()]
            found = alike[0] if len(alike) == 1 else None
        return found

    def need(self, name: str, what: str) -> "Column[Any]":
        """Find a column. Raises Invalid naming the columns there are."""
        column = self.column(name)
        if column is None:
            raise Invalid(f'{what}: the table {self.name} has no column "{name}"; it has {listed(self.sorts)}')
        return column

    def sort(self, column: "Column[Any]") -> str:
        return self.sorts[column.name]


class Database:
    """One database; its engine is made at first use. Thread-safe."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: Engine | None = None
        self._known: dict[str, tuple[float, Known]] = {}
        self._lock = threading.Lock()

    def account(self) -> str:
        """Name the database without user and password."""
        url = self.engine().url
        where = f"{url.host}{f':{url.port}' if url.port else ''}/" if url.host else ""
        return f"{url.get_backend_name()}:{where}{Path(url.database or '').name}"

    def engine(self) -> "Engine":
        with self._lock:
            if self._engine is None:
                with translated("opening the database"):
                    self._engine = _engine(self._url)
            return self._engine

    @contextmanager
    def reading(self, doing: str) -> "Iterator[Connection]":
        """Give a connection in a read-only transaction that ends with the block."""
        engine = self.engine()
        name = engine.dialect.name
        with translated(doing), engine.connect() as connection:
            if name == "postgresql":
                connection = connection.execution_options(postgresql_readonly=True)
            with connection.begin():
                if name in _READ_ONLY_FIRST:
                    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                yield connection

    @contextmanager
    def writing(self, doing: str) -> "Iterator[Connection]":
        """
        Give a connection in a transaction that commits with the block.

        What fails before the commit did not happen: NotSent, Conflict or Invalid. A commit that breaks off is Unknown.
        """
        engine = self.engine()
        options: dict[str, Any] = {"hub_write": True}
        if engine.dialect.name in _SERIALIZABLE:
            options["isolation_level"] = "SERIALIZABLE"
        with translated(doing, write=True), engine.connect() as connection:
            connection = connection.execution_options(**options)
            transaction = connection.begin()
            try:
                yield connection
            except BaseException:
                transaction.rollback()
                raise
            _commit(transaction, doing)

    def known(self, name: str, *, anew: bool = False) -> Known:
        """
        Reflect a table or view; what was reflected up to five minutes ago is taken again unless `anew`.

        Raises Invalid naming those there are.
        """
        now = time.monotonic()
        with self._lock:
            at, found = self._known.get(name, (0.0, None))
        if found is None or anew or now - at > _KNOWN_S:
            with self.reading(f"reading the shape of {name}") as connection:
                found = _reflected(connection, name)
            with self._lock:
                self._known[name] = now, found
        return found

    def names(self) -> list[str]:
        with self.reading("listing tables") as connection:
            return _names(connection, None)

    def close(self) -> None:
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None
            self._known.clear()


def _engine(url: str) -> "Engine":
    from sqlalchemy import create_engine, event
    from sqlalchemy.engine import make_url
    from sqlalchemy.pool import NullPool

    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(parsed, hide_parameters=True, pool_pre_ping=True, pool_size=4, pool_recycle=1800)
        if engine.dialect.name == "postgresql" and engine.driver == "psycopg":
            event.listen(engine, "connect", load_odd_times)
        return engine
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigError("database_url: expected a SQLite file, such as sqlite:///erp.db")
    if not parsed.database.startswith("file:") and not Path(parsed.database).is_file():
        raise ConfigError(f"database_url: there is no SQLite file {Path(parsed.database).name} at that path")
    engine = create_engine(parsed, hide_parameters=True, poolclass=NullPool, connect_args={"timeout": 10})
    event.listen(engine, "connect", _hand_over_transactions)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _hand_over_transactions(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    connection.text_factory = _text


def _text(raw: bytes) -> str:
    """Read a text; what is no UTF-8 in it (SQLite does not check) is shown by its bytes and stops nothing."""
    return raw.decode("utf-8", "backslashreplace")


def _begin_sqlite(connection: "Connection") -> None:
    writes = bool(connection.get_execution_options().get("hub_write"))
    connection.exec_driver_sql(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _commit(transaction: Any, doing: str) -> None:
    from sqlalchemy.exc import DBAPIError

    try:
        transaction.commit()
    except DBAPIError as exc:
        transaction.rollback() if not exc.connection_invalidated else transaction.close()
        if _undone(exc):
            raise
        error = Unknown(f"{doing}: the connection broke while the database committed; whether it did is not known")
        error.hub_sent = True  # type: ignore[attr-defined]
        raise error from exc


def _undone(exc: Any) -> bool:
    """Say whether a failed commit certainly undid its transaction: busy, a constraint, or a serialization conflict."""
    from sqlalchemy.exc import IntegrityError

    code = _state(exc)
    return isinstance(exc, IntegrityError) or code.startswith("40") or code in ("SQLITE_BUSY", "SQLITE_FULL", "1213")


def _reflected(connection: "Connection", name: str) -> Known:
    from sqlalchemy import MetaData, Table, event
    from sqlalchemy.exc import NoSuchTableError
    from sqlalchemy.types import NullType

    schema, _, bare = name.rpartition(".")
    sorts: dict[str, str] = {}
    scales: dict[str, int | None] = {}
    native = connection.dialect.name != "sqlite"
    metadata = MetaData()

    def told(_: Any, __: Any, info: Any) -> None:
        sort = sort_of(info["type"])
        sort = "text" if sort == "padded" and not native else sort  # SQLite pads nothing, and compares blanks
        if type(info["type"]).__name__ == "SET":
            sort = "other"  # MySQL's: a set, in any order
        if sort == "float":
            info["type"].asdecimal = False  # MySQL's DOUBLE would be cut to ten decimals
        if sort == "time" and connection.dialect.name in ("mysql", "mariadb"):
            info["type"] = NullType()  # 30 hours would become 6 o'clock
        sorts[info["name"]], scales[info["name"]] = sort, getattr(info["type"], "scale", None)
        if not native and sort in ("datetime", "date", "time", "decimal", "boolean", "interval", "uuid"):
            info["type"] = NullType()  # SQLite keeps these as whatever was written; nothing may fail on that

    event.listen(metadata, "column_reflect", told)
    try:
        table = Table(bare, metadata, schema=schema or None, autoload_with=connection, resolve_fks=False)
    except NoSuchTableError as exc:
        there = listed(_names(connection, schema or None))
        raise Invalid(f'the database has no table or view "{name}"; it has {there}', code="unknown_stream") from exc
    return Known(name, table, sorts, scales, native)


def _names(connection: "Connection", schema: str | None) -> list[str]:
    from sqlalchemy import inspect

    inspector = inspect(connection)
    return sorted({*inspector.get_table_names(schema), *inspector.get_view_names(schema)})


def listed(names: Any) -> str:
    """Name things for a message, the first twenty."""
    found = list(names)
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return (", ".join(found[:_LISTED]) or "none") + more


@contextmanager
def translated(doing: str, *, write: bool = False) -> Iterator[None]:
    """Put the database's errors into the hub's words."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as exc:
        raise translate(exc, doing, write=write) from exc
    except ModuleNotFoundError as exc:
        raise ConfigError(f"database_url: the driver {exc.name} is not installed; install it beside the hub") from exc


def translate(exc: Exception, doing: str, *, write: bool = False) -> HubError:
    """Give the hub's error for one of the database's. Its text may hold data, so only class and code are told."""
    from sqlalchemy import exc as sql

    state = _state(exc)
    what = f"{doing}: {type(exc).__name__}{f' {state}' if state else ''}"
    text = str(getattr(exc, "orig", "")).lower()
    if isinstance(exc, (sql.ArgumentError, sql.NoSuchModuleError)):
        return ConfigError("database_url: is no URL that SQLAlchemy knows, such as postgresql+psycopg://user@host/name")
    refused = isinstance(exc, (sql.OperationalError, sql.InterfaceError)) and any(word in text for word in _REFUSED)
    if state in _NO_RIGHT or "command denied" in text:
        return Refused(f"{what}: the database user lacks a right on it; grant it", code="missing_right")
    if refused or state.startswith("28"):
        return Unauthorized(f"{what}: the database refused these credentials")
    if isinstance(exc, sql.IntegrityError):
        return Conflict(f"{what}: a constraint of the database refused it", code="constraint")
    if isinstance(exc, (sql.OperationalError, sql.InterfaceError, sql.TimeoutError, sql.InternalError)):
        if "no such" in text and isinstance(exc, sql.OperationalError):
            return Invalid(f"{what}: a table or column is not there any more; run `hub check`")
        if not write:
            return Temporary(f"{what}: the database cannot be used now")
        error = NotSent(f"{what}: nothing was written, the database cannot be used now")
        error.hub_sent = False  # type: ignore[attr-defined]
        return error
    if state.startswith("40"):
        return NotSent(f"{what}: another transaction was faster; nothing was written")
    return Invalid(f"{what}: the database does not accept this")


def _state(exc: Any) -> str:
    """Give the driver's own code of an error: SQLSTATE, SQLite's name, or a number."""
    own = getattr(exc, "orig", None)
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        if isinstance(getattr(own, name, None), str):
            return str(getattr(own, name))
    first = own.args[0] if isinstance(own, Exception) and own.args else None
    return str(first) if isinstance(first, int) else ""
