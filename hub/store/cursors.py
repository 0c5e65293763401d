"""How far each stream has been read, and which full pass is under way."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hub.store.database import Tx


@dataclass(frozen=True)
class Scan:
    """
    A pass over a stream, named by when it began (ms since 1970). `sweeps`: what it does not meet is deleted.

    One that is not `whole` goes on from a cursor: it only watches, for the connector may fall back to a full list.
    """

    began_at: int
    sweeps: bool = False
    whole: bool = True


@dataclass(frozen=True)
class Position:
    """Where a stream is: the committed cursor; `scan` is when the unfinished pass began, `whole` says if it is full."""

    cursor: str | None = None
    scan: int | None = None
    read_at: int | None = None
    synced_at: str | None = None
    error: str | None = None
    error_at: str | None = None
    whole: bool = False


_COLUMNS = "cursor, scan, read_at, synced_at, error, error_at"


def position(tx: Tx, connection: str, stream: str) -> Position:
    """Read where a stream is."""
    sql = f"SELECT {_COLUMNS} FROM cursor WHERE connection = ? AND stream = ?"  # noqa: S608
    row = tx.execute(sql, (connection, stream)).fetchone()
    return _position(row) if row else Position()


def positions(tx: Tx) -> dict[tuple[str, str], Position]:
    """Read where all streams are, by (connection, stream)."""
    sql = f"SELECT connection, stream, {_COLUMNS} FROM cursor ORDER BY connection, stream"  # noqa: S608
    return {(row[0], row[1]): _position(row[2:]) for row in tx.execute(sql)}


def _position(row: Sequence[Any]) -> Position:
    """Read a row; a pass that is not whole is stored with a minus sign."""
    cursor, scan, read_at, synced_at, error, error_at = row
    began_at = None if scan is None else abs(scan)
    return Position(cursor, began_at, read_at, synced_at, error, error_at, whole=began_at is not None and scan > 0)


def latest(tx: Tx) -> datetime:
    """
    Give the latest time that the database knows of.

    What is asked for now is no older: a clock that goes back, or one behind that of another machine, must not make
    news look stale.
    """
    (asked,) = tx.execute("SELECT coalesce(max(read_at), 0) FROM cursor").fetchone()
    told = tx.execute("SELECT at FROM event ORDER BY id DESC LIMIT 1").fetchone()
    moment = datetime.fromtimestamp(asked / 1000, UTC)
    return max(moment, datetime.fromisoformat(told[0])) if told else moment


def advance(tx: Tx, key: tuple[str, str], *, cursor: str | None, scan: Scan | None, read_at: int) -> None:
    """Move a stream on, with the page that carried the cursor. A cursor of None keeps the stored one."""
    tx.execute(_ADVANCE, (*key, cursor, _signed(scan), read_at))


def _signed(scan: Scan | None) -> int | None:
    if scan is None:
        return None
    return scan.began_at if scan.whole else -scan.began_at


def forget(tx: Tx, key: tuple[str, str]) -> None:
    """Forget the cursor of a stream: the next page, or the next pull, begins anew."""
    tx.execute("UPDATE cursor SET cursor = NULL WHERE connection = ? AND stream = ?", key)


def finished(tx: Tx, key: tuple[str, str], at: str) -> None:
    """Note that a stream was read to its end; the full pass, if any, is over."""
    tx.execute(_FINISHED, (*key, at))


def failed(tx: Tx, key: tuple[str, str], *, error: str, at: str) -> None:
    """Note why a stream was not read to its end; the cursor stays."""
    tx.execute(_FAILED, (*key, error, at))


_ADVANCE = """
INSERT INTO cursor (connection, stream, cursor, scan, read_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (connection, stream) DO UPDATE SET cursor = coalesce(excluded.cursor, cursor.cursor), scan = excluded.scan,
    read_at = excluded.read_at
"""
_FINISHED = """
INSERT INTO cursor (connection, stream, synced_at) VALUES (?, ?, ?)
ON CONFLICT (connection, stream) DO UPDATE SET synced_at = excluded.synced_at, scan = NULL, error = NULL,
    error_at = NULL
"""
_FAILED = """
INSERT INTO cursor (connection, stream, error, error_at) VALUES (?, ?, ?, ?)
ON CONFLICT (connection, stream) DO UPDATE SET error = excluded.error, error_at = excluded.error_at
"""
