"""
A database and its transactions, whichever keeps it: a SQLite file (`sqlite`) or Postgres (`postgres`).

Rooms write SQL once, in SQLite's words and those of `dialect`. One write transaction at a time, over all processes, so
that no update is lost and what is read in it holds until it ends.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from hub.errors import ConfigError
from hub.store import migrate, sqlite

Branch = Literal["hub", "ledger"]


class Cursor(Protocol):
    """What a statement answers."""

    rowcount: int

    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Tx(Protocol):
    """
    What rooms write SQL against: `?` placeholders, rows as tuples.

    `inserts_beside` says that many rows go in while who gave them goes on; else it is waited for them.
    """

    inserts_beside: ClassVar[bool]

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Any: ...
    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Any: ...
    def stamp(self) -> object:
        """Name the state that a read transaction sees: one of the same name sees the same, nothing was committed."""


class Kept(Protocol):
    """What keeps a database."""

    def write(self) -> AbstractContextManager[Tx]: ...
    def read(self) -> AbstractContextManager[Tx]: ...
    def ask(self, sql: str, parameters: Sequence[Any] = ...) -> list[Any]: ...
    def version(self) -> str | None: ...
    def shrink(self) -> None: ...
    def size(self) -> tuple[int, int]: ...
    def close(self) -> None: ...


class Database:
    """
    One database, of the branch `hub` (synced data) or `ledger` (runs and keys, every commit on the disk).

    Created and migrated when it is opened. Safe to use from many threads. Raises ConfigError for a URL it cannot serve.
    """

    def __init__(self, url: str, branch: Branch = "hub") -> None:
        self.url = url
        self.branch: Branch = branch
        self.kept = _kept(url, branch)

    @property
    def path(self) -> Path:
        """The file of a SQLite database. Raises ConfigError for one that is not a file."""
        return file_of(self.url)

    def write(self) -> AbstractContextManager[Tx]:
        """
        Open a write transaction; commit at the end, roll back on any exception.

        One at a time; another process's transaction is waited for. Raises Temporary when that takes over 30 s, and
        where the database cannot be written.
        """
        return self.kept.write()

    def read(self) -> AbstractContextManager[Tx]:
        """Open a read transaction: all statements see one state of the database."""
        return self.kept.read()

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Give the rows of one statement that reads; cheaper than a transaction."""
        return self.kept.ask(sql, parameters)

    def version(self) -> str | None:
        """Name the migration the database is at."""
        return self.kept.version()

    def size(self) -> tuple[int, int]:
        """Give the bytes that the database takes, and those of them that are free for what comes next."""
        return self.kept.size()

    def shrink(self) -> None:
        """
        Give free room back: on SQLite the whole file is written anew, writers wait meanwhile and the disk needs room
        for a second one; on Postgres a plain VACUUM, which disturbs nobody.
        """
        self.kept.shrink()

    def close(self) -> None:
        """Close all connections; a transaction still open elsewhere ends first."""
        self.kept.close()


def is_postgres(url: str) -> bool:
    """Tell whether a URL names a Postgres."""
    return url.partition("://")[0].partition("+")[0] == "postgresql"


def version(url: str, branch: Branch) -> str | None:
    """Name the migration a database is at, None where there is none yet."""
    if is_postgres(url):
        from hub.store import postgres

        return postgres.version(url, branch)
    return migrate.version(file_of(url))


def file_of(url: str) -> Path:
    """Give the file that a URL names. Raises ConfigError where it names none."""
    if not url.startswith(sqlite.SCHEME) or url.removeprefix(sqlite.SCHEME) in ("", ":memory:"):
        text = "expected sqlite:///PATH or postgresql://USER@HOST/NAME"
        raise ConfigError(f'database_url "{url.partition(":")[0][:20]}:…": {text}')
    return Path(url.removeprefix(sqlite.SCHEME))


def _kept(url: str, branch: Branch) -> Kept:
    if is_postgres(url):
        from hub.store import postgres  # its driver is loaded where it is needed only

        return postgres.Postgres(url, branch)
    return sqlite.SqliteFile(file_of(url), branch)
