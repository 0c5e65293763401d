"""Put together what has drifted, and which fields of the mapping it hits."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from hub.connector import Field
from hub.drift.unknowns import unknowns
from hub.mapping import CompiledMapping, check
from hub.mapping.paths import dotted
from hub.mapping.reads import inner_of, paths_of
from hub.mapping.spec import Table
from hub.store import Store, Tx, clock, fills

_CHANGES = """
SELECT stream, at, what, field, before, after FROM drift WHERE connection = ? AND at >= ? ORDER BY id
"""
_DESCRIBED = "SELECT stream, at, fields FROM described WHERE connection = ?"


class Mapped(Protocol):
    """What drift needs to know of a connection."""

    @property
    def name(self) -> str: ...
    @property
    def mapping(self) -> CompiledMapping: ...


def report(
    store: Store, connection: Mapped, *, since: datetime, usual: CompiledMapping | None = None
) -> dict[str, Any]:
    """
    Say what changed since a time and what it hits, what the mapping names that the system has not, words without a
    meaning and how many rows have them, and fields that used to be filled and are empty now.

    `usual` is the connector's own mapping, which names fields that not every account has.
    """
    with store.read() as tx:
        changes = _changes(tx, connection, since)
        described = {
            stream: (at, json.loads(fields)) for stream, at, fields in tx.execute(_DESCRIBED, (connection.name,))
        }
        emptied = fills.emptied(tx, connection.name)
    streams = connection.mapping.streams()
    told = {
        stream: [Field(name, kind, tuple(words)) for name, (kind, words) in fields.items()]
        for stream, (_, fields) in described.items()
        if stream in streams
    }
    laws = check(connection.mapping)
    problems = [one for one in check(connection.mapping, fields=told, usual=usual) if one not in laws]
    return {
        "described": {stream: at for stream, (at, _) in described.items()},
        "changes": changes,
        "problems": [{"where": one.where, "message": one.message} for one in problems],
        "emptied": emptied,
        "unknown": unknowns(store, connection.name),
    }


def brief(store: Store, connection: Mapped, *, since: datetime) -> dict[str, int]:
    """Count, for a status, the changes since a time that hit the mapping, and the fields that are empty now."""
    with store.read() as tx:
        hits = sum(bool(one["hits"]) for one in _changes(tx, connection, since))
        return {"changes": hits, "emptied": len(fills.emptied(tx, connection.name))}


def _changes(tx: Tx, connection: Mapped, since: datetime) -> list[dict[str, Any]]:
    names = ("stream", "at", "what", "field", "before", "after")
    rows = tx.execute(_CHANGES, (connection.name, clock.text(since))).fetchall()
    used = {stream: _used(connection.mapping, stream) for stream in connection.mapping.streams()} if rows else {}
    found = [dict(zip(names, row, strict=True)) for row in rows]
    for one in found:
        one["hits"] = [] if one["what"] == "added" else _hits(used.get(one["stream"], {}), one["field"])
    return found


def _hits(used: Mapping[str, list[str]], field: str) -> list[str]:
    return [
        name
        for name, paths in used.items()
        if any(path == field or path.startswith((f"{field}.", f"{field}[")) for path in paths)
    ]


def _used(mapping: CompiledMapping, stream: str) -> dict[str, list[str]]:
    """Name the fields of a stream's tables, each with the paths from the record that it reads."""
    found: dict[str, list[str]] = {}
    for name in mapping.tables_of(stream):
        found |= {f"{name}.{what}": paths for what, paths in _of_table(mapping.tables[name])}
    return found


def _of_table(table: Table) -> list[tuple[str, list[str]]]:
    base = f"{dotted(table.each.steps)[-1]}[]." if table.each is not None and table.each.steps else ""
    found = [("key", list(table.key)), ("updated_at", list(paths_of(table.updated_at)))]
    found += [("where", [test.path for test in table.where]), ("deleted", [test.path for test in table.deleted])]
    for entry in table.entries:
        lists = [each.path for each in inner_of(entry.rule)]
        parts = getattr(entry.rule, "entries", None) if entry.name == "custom" else None
        if parts is not None:
            found += [(f"custom.{part.name}", list(paths_of(part.rule))) for part in parts]
        else:
            found.append((entry.name, [*paths_of(entry.rule), *lists]))
    return [
        (what, [f"{'' if path.ups else base}{text}" for path in paths for text in {*dotted(path.steps), path.text}])
        for what, paths in found
        if paths
    ]
