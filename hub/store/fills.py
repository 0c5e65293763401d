"""How often unified fields are filled, from samples of pages; and those that were filled once and are empty now."""

from dataclasses import dataclass, field
from typing import Any

from hub.store.database import Tx
from hub.store.sources import Sources

LOOK = 50
"""Rows that must have been looked at before anything follows from them."""
OFTEN = 0.05
"""A field that is filled in fewer rows than this share may well be null in all of a look."""
_LONG = 20_000
_STORED = "SELECT field, looked, filled, recent_looked, recent_filled, emptied_at FROM filled WHERE source_id = ?"
_PUT = """
INSERT INTO filled (looked, filled, recent_looked, recent_filled, emptied_at, source_id, field)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (source_id, field) DO UPDATE SET looked = excluded.looked, filled = excluded.filled,
    recent_looked = excluded.recent_looked, recent_filled = excluded.recent_filled, emptied_at = excluded.emptied_at
"""
_EMPTIED = """
SELECT s.name, s.stream, f.field, f.looked, f.filled, f.emptied_at FROM filled AS f
JOIN source AS s ON s.id = f.source_id WHERE s.connection = ? AND f.emptied_at IS NOT NULL ORDER BY 1, 3
"""


@dataclass
class Look:
    """Rows of a table that were looked at, and in how many of them each field was filled."""

    looked: int = 0
    filled: dict[str, int] = field(default_factory=dict)


def note(tx: Tx, connection: str, table: str, *, look: Look, at: str) -> list[str]:
    """Add a look at a table's rows; name the fields that used to be filled and were null in all rows of it."""
    source = Sources.load(tx).by_name.get((connection, table))
    if source is None or not look.looked:
        return []
    stored = {row[0]: tuple(row[1:]) for row in tx.execute(_STORED, (source.id,))}
    rows = {name: _added(stored.get(name, (0, 0, 0, 0, None)), look, name, at) for name in {**stored, **look.filled}}
    changed = [(*row, source.id, name) for name, row in rows.items() if row != stored.get(name)]
    if changed:
        tx.executemany(_PUT, changed)
    return [name for name, row in rows.items() if row[4] and not stored.get(name, (0, 0, 0, 0, None))[4]]


def emptied(tx: Tx, connection: str) -> list[dict[str, Any]]:
    """Give the fields of a connection that used to be filled and are empty now, with how often they were."""
    return [
        {"table": table, "stream": stream, "field": name, "filled_before": round(filled / looked, 3), "since": since}
        for table, stream, name, looked, filled, since in tx.execute(_EMPTIED, (connection,))
    ]


def _added(old: tuple[Any, ...], look: Look, name: str, at: str) -> tuple[Any, ...]:
    looked, filled, recent_looked, recent_filled, emptied_at = old
    recent_looked, recent_filled = recent_looked + look.looked, recent_filled + look.filled.get(name, 0)
    if recent_filled:
        emptied_at = None
    elif recent_looked >= LOOK and looked >= LOOK and filled >= OFTEN * looked:
        return looked, filled, 0, 0, emptied_at or at
    if recent_looked < LOOK:
        return looked, filled, recent_looked, recent_filled, emptied_at
    if looked > _LONG:
        looked, filled = looked // 2, filled // 2
    return looked + recent_looked, filled + recent_filled, 0, 0, emptied_at
