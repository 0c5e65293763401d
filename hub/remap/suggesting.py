"""Propose mapping lines for what a system tells and no table uses. Values of customers are looked at, never told."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from hub.connector import Field
from hub.mapping.paths import quote
from hub.remap import stored
from hub.remap.applying import Mapped
from hub.store import Store

SAMPLE = 2000
_DEPTH = 4
_NAME = re.compile(r"[A-Za-z_][\w -]{0,60}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?")
_decode = msgspec.json.Decoder().decode


@dataclass
class Seen:
    """How often a path was met in the raw records, how often it was not null, and with which types."""

    met: int = 0
    filled: int = 0
    types: dict[str, int] = field(default_factory=dict)

    def add(self, value: Any) -> None:
        self.met += 1
        if value is not None and value != "":
            self.filled += 1
            kind = _kind(value)
            self.types[kind] = self.types.get(kind, 0) + 1


def suggest(store: Store, connection: Mapped, stream: str, *, described: Sequence[Field] = ()) -> dict[str, Any]:
    """
    Propose a line for every path of a stream's kept raw records, and every described field, that no table reads.

    A path that only one in a hundred records has is no field but data, and is left out; so are names that look like it.
    """
    mapping = connection.mapping
    used, taken = _used(connection, stream), _custom(connection, stream)
    records, seen = _look(store, connection, stream)
    fields = {one.name: one for one in described}
    lines: list[dict[str, Any]] = []
    for path in {**dict.fromkeys(seen), **dict.fromkeys(fields)}:
        one, told = seen.get(path, Seen()), fields.get(path)
        rare = told is None and one.met < max(2, records / 100)
        if rare or _covered(path, used) or any(other.startswith((f"{path}.", f"{path}[")) for other in seen):
            continue
        kind = max(one.types, key=lambda name: one.types[name]) if one.types else (told.type if told else "null")
        share = round(one.filled / records, 3) if records else None
        lines.append({"path": path, "type": kind, "filled": share, "line": _line(path, kind, taken)})
    lines.sort(key=lambda line: (-(line["filled"] or 0), line["path"]))
    tables = [name for name in mapping.tables_of(stream) if mapping.tables[name].each is None]
    return {"stream": stream, "table": (tables or mapping.tables_of(stream))[0], "records": records, "fields": lines}


def _look(store: Store, connection: Mapped, stream: str) -> tuple[int, dict[str, Seen]]:
    """Look at the newest raw records."""
    places, seen, count = stored.live(store, connection.name, stream), dict[str, Seen](), 0
    newest = sorted(places.blocks)[-SAMPLE // 10 :]
    places.blocks = {block: places.blocks[block] for block in newest}
    lots = (record for lot in stored.lots(store, stream, places) for record in lot.raws)
    for record in islice(lots, SAMPLE):
        document = _decode(record)
        if isinstance(document, dict):
            count += 1
            for path, value in _paths(document, "", 0):
                seen.setdefault(path, Seen()).add(value)
    return count, seen


def _paths(value: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if not _NAME.fullmatch(name):
            continue
        path = f"{prefix}{quote(name)}"
        if isinstance(inner, dict) and inner and depth < _DEPTH:
            yield from _paths(inner, f"{path}.", depth + 1)
        elif isinstance(inner, list) and any(isinstance(item, dict) for item in inner):
            yield from _picks(inner, path)
        else:
            yield path, inner


def _picks(items: list[Any], path: str) -> Iterator[tuple[str, Any]]:
    """Read a list of {id, value}, as vendors keep their customers' own fields in; other lists need a table's `each`."""
    for item in items:
        name = item.get("id") if isinstance(item, dict) and "value" in item else None
        if isinstance(name, int) or (isinstance(name, str) and _NAME.fullmatch(name)):
            yield f"{path}[id={name}].value", item["value"]
    if not all(isinstance(item, dict) and "value" in item for item in items):
        yield f"{path}[]", items


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "time" if _TIME.fullmatch(value) else "text"
    names = {bool: "bool", int: "int", float: "number", list: "list", dict: "object"}
    return names.get(type(value), "text")


def _used(connection: Mapped, stream: str) -> set[str]:
    mapping = connection.mapping
    never = {path.text for path in mapping.never(stream)}
    return {*mapping.stream(stream).paths, *mapping.texts(stream), *never}


def _covered(path: str, used: set[str]) -> bool:
    """Say whether a table reads a path, or an object that it is in."""
    parents = {path[: match.start()] for match in re.finditer(r"\.", path) if "[" not in path}
    return bool({path, *parents} & used)


def _custom(connection: Mapped, stream: str) -> set[str]:
    tables = [connection.mapping.tables[name] for name in connection.mapping.tables_of(stream)]
    entries = [table.entry("custom") for table in tables]
    return {part.name for entry in entries if entry for part in getattr(entry.rule, "entries", ())}


def _line(path: str, kind: str, taken: set[str]) -> str | None:
    """Write a line under a name that no other line has; None for what a line cannot take."""
    if kind == "object" or path.endswith("[]"):
        return None
    words = re.sub(r"\.value$|\[id=|\]", "_", path).lower()
    base = name = re.sub(r"\W+|_+", "_", words).strip("_") or "field"
    number = 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    taken.add(name)
    how = {"bool": "bool", "time": "iso8601", "number": "decimal"}.get(kind)
    right = f'{{ from = "{path}", as = "{how}" }}' if how else f'"{path}"'
    return f"custom.{name} = {right}"
