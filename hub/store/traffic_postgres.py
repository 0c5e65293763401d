"""The traffic of processes on many machines: a schema of unlogged tables on Postgres, by the server's own clock."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg

from hub.store.dialect import for_postgres
from hub.store.postgres import Connection, connector, told
from hub.store.traffic import INDEX, TABLES

T = TypeVar("T")
_TURN = 7_237_013


class TrafficSchema:
    """The schema `traffic`; what a crashed server forgets of it is no loss."""

    skip = "FOR UPDATE SKIP LOCKED"

    def __init__(self, url: str) -> None:
        self._connect = connector(url, "traffic")
        self._lock = threading.Lock()
        with told():
            self._connection: Connection = self._connect()
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Run one statement; gives its rows."""
        said = for_postgres(sql)

        def once(connection: Connection) -> list[Any]:
            cursor = connection.execute(said, parameters)
            return cursor.fetchall() if cursor.description else []

        return self._done(once)

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each of these, in one transaction."""
        said = for_postgres(sql)

        def once(connection: Connection) -> None:
            with connection.transaction():
                connection.cursor().executemany(said, rows)

        self._done(once)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _done(self, once: Callable[[Connection], T]) -> T:
        """Do something, and where the server has dropped the connection, again on a new one."""
        with self._lock, told():
            try:
                return once(self._connection)
            except psycopg.OperationalError:
                if not self._connection.broken:
                    raise
            self._connection = self._connect()
            return once(self._connection)  # at worst a slot is taken twice

    def _prepare(self) -> None:
        """Make the schema where it is not there yet; two that come at once take turns."""
        if self._connection.execute("SELECT to_regclass('traffic.login')").fetchone() != (None,):
            return
        with self._connection.transaction():
            self._connection.execute(f"SELECT pg_advisory_xact_lock({_TURN})")
            self._connection.execute("CREATE SCHEMA IF NOT EXISTS traffic")
            for table in TABLES:
                made = table.format(text='TEXT COLLATE "C"', real="DOUBLE PRECISION")
                self._connection.execute("CREATE UNLOGGED TABLE IF NOT EXISTS " + made)
            self._connection.execute(INDEX)
