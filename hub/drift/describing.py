"""What a system says of a stream's fields, held against what it said before."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from hub.connections import Connection, wall
from hub.connector import Field
from hub.errors import Invalid, NotFound, Unsupported
from hub.store import Store, clock, standings

DAY_S = 24 * 3600
_LAST = "SELECT fields FROM described WHERE connection = ? AND stream = ?"
_TIMES = "SELECT stream, at FROM described WHERE connection = ?"
_KEEP = """
INSERT INTO described (connection, stream, at, fields) VALUES (?, ?, ?, ?)
ON CONFLICT (connection, stream) DO UPDATE SET at = excluded.at, fields = excluded.fields
"""
_NOTE = "INSERT INTO drift (connection, stream, at, what, field, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)"
Told = dict[str, tuple[str, list[str]]]
"""A description: by field its type and, of an enum, the words."""


@dataclass(frozen=True)
class Change:
    """A difference of two descriptions. `what` is added, removed, retyped, new_value or gone_value."""

    what: str
    field: str
    before: str | None = None
    after: str | None = None


def due(store: Store, connection: str, streams: Sequence[str]) -> list[str]:
    """Name the streams that were not described within a day."""
    since = clock.text(clock.now() - timedelta(seconds=DAY_S))
    with store.read() as tx:
        times = dict(tx.execute(_TIMES, (connection,)).fetchall())
    return [stream for stream in streams if times.get(stream, "") < since]


def take(store: Store, connection: Connection, stream: str) -> list[Change]:
    """
    Ask the system for a stream's fields, keep the answer, and give what changed since the last one.

    What a system cannot describe has no fields; a stream that it has no more has lost all of them. Raises what
    `describe` raises.
    """
    try:
        with wall(f"{connection.name} {stream}: describe"):
            told = _told(connection.connector.describe(stream))
    except (Invalid, NotFound, Unsupported) as exc:
        if isinstance(exc, Invalid) and exc.error_code != "unknown_stream":
            raise
        told = {}
    key, at = (connection.name, stream), clock.text(clock.now())
    with store.write() as tx:
        row = tx.execute(_LAST, key).fetchone()
        changes = list(differences(json.loads(row[0]), told)) if row else []
        tx.execute(_KEEP, (*key, at, json.dumps(told)))
        if changes:
            tx.executemany(_NOTE, [(*key, at, one.what, one.field, one.before, one.after) for one in changes])
            standings.tell(tx, connection.name, "drifted", at)
    return changes


def differences(before: Told, after: Told) -> Iterator[Change]:
    """Give what changed from one description to the next, field by field."""
    for name in before.keys() - after.keys():
        yield Change("removed", name, before=before[name][0])
    for name in after.keys() - before.keys():
        yield Change("added", name, after=after[name][0])
    for name in [name for name in after if name in before]:
        (old_type, old_words), (new_type, new_words) = before[name], after[name]
        if old_type != new_type:
            yield Change("retyped", name, old_type, new_type)
        for word in new_words:
            if old_words and word not in old_words:
                yield Change("new_value", name, after=word)
        for word in old_words:
            if new_words and word not in new_words:
                yield Change("gone_value", name, before=word)


def _told(fields: Sequence[Field]) -> Told:
    return {field.name: (field.type, list(field.values)) for field in fields}
