"""
What processes share at this moment about the accounts they send to: slots of limits, holds, quotas, pulls under way.

Nothing here is worth keeping: on SQLite it is a file of its own (`traffic.db`), so that an action never waits for a
sync's transaction; on Postgres a schema of unlogged tables. Every question is one statement, without a lock that
outlives it.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from hub.connector import Limit
from hub.errors import Temporary
from hub.store.database import file_of, is_postgres

log = logging.getLogger("hub.store")
_BUSY_S = 10.0
_SOONEST_S = 0.02
TABLES = (
    "slot (account {text} NOT NULL, name {text} NOT NULL, n INTEGER NOT NULL, until {real} NOT NULL,"
    " PRIMARY KEY (account, name, n))",
    "hold (account {text} NOT NULL, name {text} NOT NULL, syncs_only INTEGER NOT NULL, until {real} NOT NULL,"
    " PRIMARY KEY (account, name, syncs_only))",
    "quota (account {text} NOT NULL, name {text} NOT NULL, remaining INTEGER NOT NULL, total INTEGER, resets {real},"
    " at {real} NOT NULL, PRIMARY KEY (account, name))",
    "pull (connection {text} NOT NULL, stream {text} NOT NULL, since {real} NOT NULL, at {real} NOT NULL,"
    " pages INTEGER NOT NULL, read INTEGER NOT NULL, changed INTEGER NOT NULL, total INTEGER,"
    " PRIMARY KEY (connection, stream))",
    "login (connection {text} NOT NULL PRIMARY KEY, token {text}, lease {real} NOT NULL, refused {text},"
    " refused_by {text}, refused_at {real} NOT NULL)",
)
INDEX = "CREATE INDEX IF NOT EXISTS slot_free ON slot (account, name, until)"
_HELD = """
SELECT coalesce(max(until), 0) - epoch() FROM hold WHERE account = ? AND name IN (?, '*') AND syncs_only <= ?
"""
_TAKE = """
UPDATE slot SET until = epoch() + ? WHERE account = ? AND name = ? AND n = (
    SELECT n FROM slot WHERE account = ? AND name = ? AND n < ? AND until <= epoch()
    ORDER BY until LIMIT 1 OFFSET ? {skip}
) AND NOT EXISTS (
    SELECT 1 FROM hold WHERE account = ? AND name IN (?, '*') AND syncs_only <= ? AND until > epoch()
) RETURNING n
"""
_FREE_AT = "SELECT until - epoch() FROM slot WHERE account = ? AND name = ? AND n < ? ORDER BY until LIMIT 1 OFFSET ?"
_MEND = "UPDATE slot SET until = 0 WHERE account = ? AND name = ? AND until > epoch() + ?"
_SLOT = "INSERT INTO slot (account, name, n, until) VALUES (?, ?, ?, 0) ON CONFLICT (account, name, n) DO NOTHING"
_ANSWERED = "UPDATE slot SET until = epoch() + ? WHERE account = ? AND name = ? AND n = ?"
_HOLD = """
INSERT INTO hold (account, name, syncs_only, until) VALUES (?, ?, ?, epoch() + ?)
ON CONFLICT (account, name, syncs_only) DO UPDATE SET until = max(hold.until, excluded.until)
"""
_TELL = """
INSERT INTO quota (account, name, remaining, total, resets, at) VALUES (?, ?, ?, ?, epoch() + ?, epoch())
ON CONFLICT (account, name) DO UPDATE SET remaining = excluded.remaining, total = excluded.total,
    resets = excluded.resets, at = excluded.at
"""
_PULL = """
INSERT INTO pull (connection, stream, since, at, pages, read, changed, total)
VALUES (?, ?, epoch() - ?, epoch(), ?, ?, ?, ?)
ON CONFLICT (connection, stream) DO UPDATE SET since = excluded.since, at = excluded.at, pages = excluded.pages,
    read = excluded.read, changed = excluded.changed, total = excluded.total
"""
_PULLS = """
SELECT connection, stream, pages, read, changed, total, at - since, epoch() - at FROM pull
WHERE at > epoch() - ? ORDER BY connection, stream
"""
_LEASE = """
INSERT INTO login (connection, lease, refused_at) VALUES (?, epoch() + ?, 0)
ON CONFLICT (connection) DO UPDATE SET lease = excluded.lease WHERE login.lease <= epoch() RETURNING 1
"""
_SIGNED_IN = "UPDATE login SET token = ?, lease = 0, refused = NULL, refused_by = NULL WHERE connection = ?"
_NOT_SIGNED_IN = "UPDATE login SET lease = 0, refused = ?, refused_by = ?, refused_at = epoch() WHERE connection = ?"
_SILENT_S = 900.0
"""A pull that told nothing for so long has died, or is not worth showing."""


class Told(Protocol):
    """A quota as the transport reads it from an answer."""

    @property
    def name(self) -> str: ...
    @property
    def remaining(self) -> int: ...
    @property
    def total(self) -> int | None: ...
    @property
    def resets_s(self) -> float | None: ...


class Seen(NamedTuple):
    """A quota as it was told last, `age_s` ago."""

    name: str
    remaining: int
    total: int | None
    resets_s: float | None
    age_s: float


class Pull(NamedTuple):
    """A pull under way: what it had read `age_s` ago, `took_s` after it had begun. `total` is what the vendor says."""

    connection: str
    stream: str
    pages: int
    read: int
    changed: int
    total: int | None
    took_s: float
    age_s: float


class Login(NamedTuple):
    """The locked token of a connection that signs in; `refused` is what the vendor said where it did not let in."""

    token: str | None = None
    refused: str | None = None
    refused_by: str | None = None
    refused_age_s: float = 0.0


class Kept(Protocol):
    """What keeps it."""

    skip: str

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]: ...
    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None: ...
    def close(self) -> None: ...


class Traffic:
    """
    Slots, holds and quotas, shared by all processes that open the same URL. Thread-safe.

    Raises ConfigError where it cannot be opened, and Temporary where a slot cannot be asked for now.
    """

    def __init__(self, url: str, kept: Kept | None = None) -> None:
        self._kept = kept or _kept(url)
        self._take = _TAKE.format(skip=self._kept.skip)
        self._known: set[tuple[str, str, int]] = set()

    def take(self, account: str, limit: Limit, *, sync: bool, lasts_s: float) -> tuple[int | None, float]:
        """See transport.Traffic."""
        self._there(account, limit)
        key, spare = (account, limit.name), limit.spare if sync else 0
        lanes = (*key, int(sync))
        rows = self._kept.run(self._take, (lasts_s, *key, *key, limit.count, spare, *lanes))
        if rows:
            return int(rows[0][0]), 0.0
        self._kept.run(_MEND, (*key, 2.0 * max(lasts_s, limit.per_s)))  # where the clock went back
        free = self._kept.run(_FREE_AT, (*key, limit.count, spare))
        return None, max(_SOONEST_S, float(free[0][0]), self.held(account, limit.name, sync=sync))

    def answered(self, account: str, limit: Limit, slot: int) -> None:
        """See transport.Traffic."""
        self._told("a slot", _ANSWERED, (limit.per_s, account, limit.name, slot))

    def hold(self, account: str, name: str, seconds: float, *, syncs_only: bool = False) -> None:
        """See transport.Traffic."""
        self._told("a hold", _HOLD, (account, name, int(syncs_only), seconds))

    def held(self, account: str, name: str, *, sync: bool) -> float:
        """See transport.Traffic."""
        return max(0.0, float(self._kept.run(_HELD, (account, name, int(sync)))[0][0]))

    def tell(self, account: str, quota: Told) -> None:
        """See transport.Traffic."""
        self._told("a quota", _TELL, (account, quota.name, quota.remaining, quota.total, quota.resets_s))

    def free(self, account: str, limit: Limit) -> int:
        """Count the slots of a limit that are free now."""
        sql = "SELECT count(*) FROM slot WHERE account = ? AND name = ? AND n < ? AND until > epoch()"
        return limit.count - int(self._kept.run(sql, (account, limit.name, limit.count))[0][0])

    def quotas(self, account: str) -> list[Seen]:
        """Give what the vendor told last of an account's quotas."""
        sql = "SELECT name, remaining, total, resets - epoch(), epoch() - at FROM quota WHERE account = ? ORDER BY name"
        return [Seen(*row) for row in self._kept.run(sql, (account,))]

    def pulling(self, pull: Pull) -> None:
        """Note how far a pull is."""
        values = (pull.connection, pull.stream, pull.took_s, pull.pages, pull.read, pull.changed, pull.total)
        self._told("a pull", _PULL, values)

    def pulled(self, connection: str, stream: str) -> None:
        """Note that a pull has ended."""
        self._told("a pull", "DELETE FROM pull WHERE connection = ? AND stream = ?", (connection, stream))

    def pulls(self) -> list[Pull]:
        """Give the pulls under way, in any process."""
        return [Pull(*row) for row in self._kept.run(_PULLS, (_SILENT_S,))]

    def login(self, connection: str) -> Login:
        """Give the token of a connection, or what became of the last log-in."""
        sql = "SELECT token, refused, refused_by, epoch() - refused_at FROM login WHERE connection = ?"
        rows = self._kept.run(sql, (connection,))
        return Login(*rows[0]) if rows else Login()

    def lease(self, connection: str, seconds: float) -> bool:
        """Take the right to sign in, for so long at most; False where another process has it."""
        return bool(self._kept.run(_LEASE, (connection, seconds)))

    def signed_in(self, connection: str, token: str) -> None:
        """Keep the token, locked, and give back the right to sign in."""
        self._told("a log-in", _SIGNED_IN, (token, connection))

    def not_signed_in(self, connection: str, refused: str | None, *, by: str | None) -> None:
        """Give back the right to sign in; say what the vendor said, if it refused."""
        self._told("a log-in", _NOT_SIGNED_IN, (refused, by, connection))

    def close(self) -> None:
        """Close the connection."""
        self._kept.close()

    def _there(self, account: str, limit: Limit) -> None:
        key = (account, limit.name, limit.count)
        if key not in self._known:
            self._kept.many(_SLOT, [(account, limit.name, n) for n in range(limit.count)])
            self._known.add(key)

    def _told(self, what: str, sql: str, parameters: Sequence[Any]) -> None:
        """Write down what came of a request; that it was answered counts for more than this note of it."""
        try:
            self._kept.run(sql, parameters)
        except Temporary as exc:
            log.warning("%s could not be noted: %s", what, exc.message)


class TrafficFile:
    """The SQLite file, which is never waited for on the disk."""

    skip = ""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._lock = threading.Lock()
        with _temporary(path):
            self._connection = sqlite3.connect(
                path.absolute(), isolation_level=None, check_same_thread=False, timeout=_BUSY_S
            )
            self._connection.create_function("epoch", 0, now)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = OFF")
            for table in TABLES:
                self._connection.execute("CREATE TABLE IF NOT EXISTS " + table.format(text="TEXT", real="REAL"))
            self._connection.execute(INDEX)

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Run one statement; gives its rows."""
        with self._lock, _temporary(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each of these, in one transaction."""
        with self._lock, _temporary(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(sql, rows)
                self._connection.commit()
            except BaseException:
                self._connection.rollback()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


@contextmanager
def _temporary(path: Path) -> Iterator[None]:
    """Turn what the file cannot do now into Temporary."""
    try:
        yield
    except sqlite3.DatabaseError as exc:
        text = f"{path}: cannot be used ({exc}); it may be deleted while no hub runs"
        raise Temporary(text, retry_after_s=5.0) from exc


def _kept(url: str) -> Kept:
    if is_postgres(url):
        from hub.store.traffic_postgres import TrafficSchema

        return TrafficSchema(url)
    return TrafficFile(file_of(url))


def beside(url: str) -> str:
    """Name where the traffic of a hub is kept, given its database."""
    return url if is_postgres(url) else f"sqlite:///{file_of(url).with_name('traffic.db')}"
