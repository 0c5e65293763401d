"""Cut out of raw records what must never be stored; every other byte of them stays as it came."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from hub.connector import Page
from hub.mapping.converters import json_text
from hub.mapping.pages import mend, parts_of
from hub.mapping.paths import All, Name, Path, Pick, Step, dotted
from hub.mapping.spec import Table
from hub.mapping.words import Place

_Members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_Items = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode
_value = msgspec.json.Decoder().decode
_UNREADABLE = "the record cannot be read as JSON; its bytes are not kept, for `never` could not be cut out of them"
Steps = tuple[Step, ...]


def page(found: Page, stream: str, paths: Sequence[Path]) -> Page:
    """Give a page without what is at these paths."""
    steps = [path.steps for path in paths]
    return replace(found, body=None, records=[cut(bytes(raw), steps) for raw in parts_of(found, stream)])


def cut(raw: bytes, paths: Sequence[Steps]) -> bytes:
    """
    Give a raw record without what is at these paths, the record itself where it has nothing there.

    A name means the same in every element of a list that stands in its way. What cannot be read is not kept: a line
    `[reason, ""]` stands for it.
    """
    for readable in (raw, mend(raw)):
        try:
            if readable.lstrip()[:1] == b"{":
                return bytes(_without(msgspec.Raw(readable), paths))
        except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
            continue
    return _encode([_complaint(raw), ""])


def _complaint(raw: bytes) -> str:
    """Keep the reason that a connector gave for a line that is no record; see connector.Page."""
    try:
        reason = _value(raw)
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        return _UNREADABLE
    told = isinstance(reason, list) and len(reason) == 2 and all(isinstance(item, str) for item in reason)
    return str(reason[0]) if told else _UNREADABLE


def _without(raw: msgspec.Raw, paths: Sequence[Steps]) -> msgspec.Raw:
    start = bytes(raw).lstrip()[:1]
    if start == b"{":
        return _object(raw, [steps for steps in paths if isinstance(steps[0], Name)])
    return _list(raw, paths) if start == b"[" else raw


def _object(raw: msgspec.Raw, paths: Sequence[Steps]) -> msgspec.Raw:
    members = _Members.decode(raw)
    changed = False
    for name in {steps[0].name for steps in paths if isinstance(steps[0], Name)} & members.keys():
        below = [steps[1:] for steps in paths if isinstance(steps[0], Name) and steps[0].name == name]
        if () in below:
            del members[name]
            changed = True
            continue
        inner = _without(members[name], below)
        changed = changed or inner is not members[name]
        members[name] = inner
    return msgspec.Raw(_encode(members)) if changed else raw


def _list(raw: msgspec.Raw, paths: Sequence[Steps]) -> msgspec.Raw:
    items = _Items.decode(raw)
    kept, changed = [], False
    for at, item in enumerate(items):
        below = [_below(steps, item, at, len(items)) for steps in paths]
        if () in below:
            changed = True
            continue
        inner = _without(item, [steps for steps in below if steps])
        changed = changed or inner is not item
        kept.append(inner)
    return msgspec.Raw(_encode(kept)) if changed else raw


def _below(steps: Steps, item: msgspec.Raw, at: int, count: int) -> Steps | None:
    """Give what is left of a path inside an element of a list, None where it does not lead there."""
    step = steps[0]
    if isinstance(step, Name):
        return steps
    if isinstance(step, All):
        return steps[1:]
    if isinstance(step, Pick):
        return steps[1:] if _member(item, step.key) == step.value else None
    return steps[1:] if at == step.at or at == step.at + count else None


def _member(item: msgspec.Raw, key: str) -> str | None:
    found: Any = _value(item)
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, str) else None if value is None else json_text(value)


def of_stream(tables: Iterable[Table], used: Collection[str], file: str) -> tuple[Path, ...]:
    """Give the paths that a stream never keeps. Raises MappingError where a field reads one of them."""
    found: dict[Steps, Path] = {}
    for table in tables:
        for path in table.never:
            found[path.steps] = path
            here = dotted(path.steps)[-1]
            reads = next((text for text in used if text == here or text.startswith((f"{here}.", f"{here}["))), None)
            if reads is not None and not any(isinstance(step, Pick) for step in path.steps):
                said = f'"{path.text}" is cut out of all records, but the mapping reads "{reads}"; keep one of the two'
                Place(file).at(table.name).under("never").fail(said)
    return tuple(found.values())


def retention_of(tables: Iterable[Table], file: str) -> str | None:
    """Give how long a stream's raw records are kept. Raises MappingError where its tables say different things."""
    kept: str | None = None
    for table in tables:
        if table.raw_retention is not None and kept not in (None, table.raw_retention):
            place = Place(file).at(table.name).under("raw_retention")
            place.fail(f'another table of stream {table.stream} says "{kept}"; one stream keeps its records one time')
        kept = table.raw_retention or kept
    return kept
