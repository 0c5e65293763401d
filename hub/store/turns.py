"""
Whose turn it is to pull a connection: one process has it until it gives it back, or ends.

Nothing has to be cleared up after a kill: the operating system, or the Postgres server, takes the turn back.
"""

import fcntl
import os
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hub.errors import Temporary
from hub.store.database import Database, file_of, is_postgres

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[object, ...]]

_CLASS = 7_237_020 << 32
"""Where the numbers of the advisory locks begin; the rest is made of the connection's name."""


class Turns(Protocol):
    """Gives turns over all processes; the threads of one process have to settle among themselves."""

    def take(self, name: str) -> Callable[[], None] | None:
        """Take the turn of a connection; give what gives it back, or None where another process has it."""

    def close(self) -> None:
        """Let go of what the turns were held by."""


def turns_of(database: Database) -> Turns:
    """Give the turns of those that pull into a database."""
    if not is_postgres(database.url):
        return FileTurns(file_of(database.url))
    from hub.store import postgres  # its driver is loaded where it is needed only

    return PostgresTurns(postgres.connector(database.url, database.branch))


class FileTurns:
    """Turns beside a SQLite file: a lock on a file for each connection, in the folder `hub.db.turns`."""

    def __init__(self, path: Path) -> None:
        self._folder = path.with_name(path.name + ".turns")

    def take(self, name: str) -> Callable[[], None] | None:
        """Take a turn; see Turns.take. Raises Temporary where no file can be made or locked there."""
        try:
            self._folder.mkdir(exist_ok=True)
            descriptor = os.open(self._folder / name, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as exc:
            raise self._not_kept(exc) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(descriptor)
            if isinstance(exc, BlockingIOError):
                return None
            raise self._not_kept(exc) from exc
        return partial(os.close, descriptor)

    def _not_kept(self, exc: OSError) -> Temporary:
        return Temporary(f"{self._folder}: the turn of a sync cannot be kept there: {exc.strerror}")

    def close(self) -> None:
        """Keep nothing: each turn has a file of its own."""


class PostgresTurns:
    """Turns on a Postgres: advisory locks of one session, which is opened when the first is taken."""

    def __init__(self, connect: "Callable[[], Connection]") -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._session: Connection | None = None

    def take(self, name: str) -> Callable[[], None] | None:
        """Take a turn; see Turns.take. Raises Temporary where the server does not answer."""
        number = _CLASS + zlib.crc32(name.encode())
        with self._lock:
            session, got = self._tried(number)
        return partial(self._give, session, number) if got else None

    def close(self) -> None:
        """End the session."""
        with self._lock:
            if self._session is not None:
                self._session.close()
            self._session = None

    def _tried(self, number: int) -> "tuple[Connection, bool]":
        import psycopg

        if self._session is not None:
            try:
                return self._session, _locked(self._session, number)
            except psycopg.OperationalError:
                self._session.close()  # a server that was restarted has forgotten its turns
        self._session = self._connect()
        try:
            return self._session, _locked(self._session, number)
        except psycopg.OperationalError as exc:
            raise Temporary("the database does not say whose turn it is", retry_after_s=5.0) from exc

    def _give(self, session: "Connection", number: int) -> None:
        import psycopg

        with self._lock, suppress(psycopg.OperationalError):  # a session that broke has given back all it had
            session.execute("SELECT pg_advisory_unlock(%s)", (number,))


def _locked(session: "Connection", number: int) -> bool:
    found = session.execute("SELECT pg_try_advisory_lock(%s)", (number,)).fetchone()
    return found == (True,)
