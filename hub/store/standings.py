"""How connections stand, as all processes know it: the rows, and the events that tell of a change."""

import json
from dataclasses import dataclass

from hub.store.database import Database, Tx


@dataclass(frozen=True)
class Standing:
    """
    How one connection stands; times are ms since 1970.

    `failures` are calls in a row that got no proper answer, `opened` how often in a row it was cut off, `retry_at` when
    the next call may try again, `probing` until when one does. `sealed` tells whether the credentials that were refused
    are still the configured ones.
    """

    account: str | None = None
    failures: int = 0
    opened: int = 0
    retry_at: int | None = None
    probing: int | None = None
    degraded_at: int | None = None
    reauth_at: int | None = None
    sealed: str | None = None
    error: str | None = None
    error_at: int | None = None

    @property
    def state(self) -> str:
        """Say it in one word: ok, degraded or reauth_needed."""
        return "reauth_needed" if self.reauth_at else "degraded" if self.degraded_at else "ok"


_COLUMNS = "account, failures, opened, retry_at, probing, degraded_at, reauth_at, sealed, error, error_at"
_ONE = f"SELECT {_COLUMNS} FROM connection_state WHERE connection = ?"  # noqa: S608
_WRITE = """
INSERT INTO connection_state (connection, account, failures, opened, retry_at, probing, degraded_at, reauth_at, sealed,
    error, error_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (connection) DO UPDATE SET account = excluded.account, failures = excluded.failures,
    opened = excluded.opened, retry_at = excluded.retry_at, probing = excluded.probing,
    degraded_at = excluded.degraded_at, reauth_at = excluded.reauth_at, sealed = excluded.sealed,
    error = excluded.error, error_at = excluded.error_at
"""


def read(tx: Tx, connection: str) -> Standing:
    """Read how a connection stands."""
    row = tx.execute(_ONE, (connection,)).fetchone()
    return Standing(*row) if row else Standing()


def ask(database: Database, connection: str) -> Standing:
    """Read how a connection stands, by itself."""
    rows = database.ask(_ONE, (connection,))
    return Standing(*rows[0]) if rows else Standing()


def read_all(tx: Tx) -> dict[str, Standing]:
    """Read how all connections stand, by name."""
    sql = f"SELECT connection, {_COLUMNS} FROM connection_state"  # noqa: S608
    return {row[0]: Standing(*row[1:]) for row in tx.execute(sql)}


def write(tx: Tx, connection: str, standing: Standing) -> None:
    """Write how a connection stands."""
    values = (getattr(standing, column) for column in _COLUMNS.split(", "))
    tx.execute(_WRITE, (connection, *values))


def probe(tx: Tx, connection: str, *, now: int, until: int) -> bool:
    """Take the right to be the one call that tries a cut off connection; False where another has it."""
    sql = """
    UPDATE connection_state SET probing = ? WHERE connection = ? AND coalesce(retry_at, 0) <= ?
        AND coalesce(probing, 0) <= ?
    """
    return bool(tx.execute(sql, (until, connection, now, now)).rowcount)


def tell(tx: Tx, connection: str, change: str, at: str) -> None:
    """Write the event `connection.<change>`."""
    sql = "INSERT INTO event (at, connection, kind, changes) VALUES (?, ?, 'connection', ?)"
    tx.execute(sql, (at, connection, json.dumps({change: [connection]})))
