"""
Webhooks that came in: each written down once, and the records that they say have changed.

Only the latest word about a record counts, so many deliveries about one make one fetch.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hub.store.database import Tx

Change = tuple[str, str]
"""Stream and remote id."""


@dataclass(frozen=True)
class Waiting:
    """A delivery whose changes were not all fetched yet; `attempts` counts the tries that failed."""

    connection: str
    id: str
    attempts: int
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Dirty:
    """A record to fetch, and the delivery that said so last."""

    stream: str
    remote_id: str
    delivery: str

    @property
    def change(self) -> Change:
        return self.stream, self.remote_id


def note(tx: Tx, connection: str, delivery: str, *, changes: Sequence[Change], at: int) -> bool:
    """Write a delivery down and mark what it names; False where it came before, and nothing is marked anew."""
    row = (connection, delivery, json.dumps(changes), at, at)
    if tx.execute(_NOTE, row).rowcount != 1:
        return False
    tx.executemany(_MARK, [(connection, stream, remote_id, delivery) for stream, remote_id in changes])
    return True


def waiting(tx: Tx, *, now: int, connection: str | None = None, limit: int = 1000) -> list[Waiting]:
    """Name the deliveries whose turn it is, the longest waiting first; all that wait of one connection, if named."""
    where, values = ("due_at <= ?", now) if connection is None else ("connection = ?", connection)
    sql = f"{_WAITING} AND {where} ORDER BY due_at, connection, id LIMIT ?"
    return [_waiting(*row) for row in tx.execute(sql, (values, limit))]


def dirty(tx: Tx, connection: str, *, limit: int = 1000) -> list[Dirty]:
    """Name the records of a connection that are to be fetched."""
    sql = "SELECT stream, remote_id, delivery FROM dirty WHERE connection = ? ORDER BY stream, remote_id LIMIT ?"
    return [Dirty(*row) for row in tx.execute(sql, (connection, limit))]


def fetched(tx: Tx, connection: str, records: Iterable[Dirty]) -> None:
    """Take the mark from records that were fetched, unless a delivery has marked them again in the meantime."""
    tx.executemany(_FETCHED, [(connection, one.stream, one.remote_id, one.delivery) for one in records])


def finish(tx: Tx, connection: str, ids: Iterable[str], *, at: int) -> None:
    """Note that all a delivery named was fetched, or was given up."""
    sql = "UPDATE delivery SET done_at = ? WHERE connection = ? AND id = ?"
    tx.executemany(sql, [(at, connection, id) for id in ids])


def postpone(tx: Tx, delivery: Waiting, *, until: int) -> None:
    """Note a try that failed; the next one is due at `until`."""
    sql = "UPDATE delivery SET attempts = attempts + 1, due_at = ? WHERE connection = ? AND id = ? AND attempts = ?"
    tx.execute(sql, (until, delivery.connection, delivery.id, delivery.attempts))


def give_up(tx: Tx, delivery: Waiting, *, at: int) -> None:
    """Close a delivery that cannot be fetched; records that no later one has marked are no longer waited for."""
    finish(tx, delivery.connection, [delivery.id], at=at)
    fetched(tx, delivery.connection, [Dirty(*change, delivery.id) for change in delivery.changes])


def forget(tx: Tx, *, before: int) -> int:
    """Forget finished deliveries that came before a time (ms since 1970); give how many."""
    forgotten: int = tx.execute(
        "DELETE FROM delivery WHERE done_at IS NOT NULL AND received_at < ?", (before,)
    ).rowcount
    return forgotten


def _waiting(connection: str, id: str, attempts: int, changes: str) -> Waiting:
    return Waiting(connection, id, attempts, tuple((stream, one) for stream, one in json.loads(changes)))


_WAITING = "SELECT connection, id, attempts, changes FROM delivery WHERE done_at IS NULL"
_NOTE = """
INSERT INTO delivery (connection, id, changes, received_at, due_at, attempts) VALUES (?, ?, ?, ?, ?, 0)
ON CONFLICT (connection, id) DO NOTHING
"""
_MARK = """
INSERT INTO dirty (connection, stream, remote_id, delivery) VALUES (?, ?, ?, ?)
ON CONFLICT (connection, stream, remote_id) DO UPDATE SET delivery = excluded.delivery
"""
_FETCHED = "DELETE FROM dirty WHERE connection = ? AND stream = ? AND remote_id = ? AND delivery = ?"
