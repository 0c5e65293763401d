"""A mapping document becomes tables and verbs; every word of it is checked here."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hub.config import duration_s
from hub.mapping import rules, verbs, words
from hub.mapping.converters import catalogue
from hub.mapping.paths import Path, parse_path
from hub.mapping.rules import Known
from hub.mapping.spec import Entry, From, Table, VerbSpec, WriteSpec
from hub.mapping.words import Place
from hub.mapping.writespec import parse_write
from hub.records import KINDS, Field, Kind

_TABLE = (
    "stream", "kind", "key", "updated_at", "each", "where", "deleted", "writable", "fields", "write", "raw_retention",
    "never",
)  # fmt: skip


@dataclass(frozen=True)
class Allowed:
    """What the connector brings to the words of a mapping."""

    converters: Mapping[str, Callable[..., Any]]
    table_options: Collection[str]
    streams: Collection[str] | None


def parse_document(
    file: str, document: dict[str, Any], allowed: Allowed
) -> tuple[dict[str, Table], dict[str, VerbSpec]]:
    """Parse tables (in file order) and legacy verbs. Raises MappingError."""
    place = Place(file)
    bodies = {name: body for name, body in document.items() if name != "actions"}
    for name, body in bodies.items():
        if not isinstance(body, dict):
            found = words.kind_of(body)
            place.under(name).fail(f"expected a table [{name}], found {found}; top-level words are extends and actions")
    known = Known(catalogue(allowed.converters), frozenset(bodies))
    tables = {name: _table(place.at(name), name, body, known, allowed) for name, body in bodies.items()}
    actions = words.table(place.at("actions"), document.get("actions", {}))
    said = {name: verbs.parse_verb(place.at(f'actions."{name}"'), name, body) for name, body in actions.items()}
    if not tables and not said:
        place.fail("the mapping has no tables")
    return tables, said


def _table(place: Place, name: str, body: dict[str, Any], known: Known, allowed: Allowed) -> Table:
    words.only(place, body, {*_TABLE, *allowed.table_options})
    kind = _kind(place, body)
    stream = words.string(place.under("stream"), body.get("stream", name))
    streams = allowed.streams
    if streams is not None and "*" not in streams and stream not in streams:
        words.unknown(place if "stream" not in body else place.under("stream"), "stream", stream, streams)
    entries = _entries(place, body, kind, known)
    write = _writes(place.at(f"{name}.write"), body.get("write", {}), kind, known)
    listed = _listed(place.under("writable"), body.get("writable", []), entries, write)
    return Table(
        name=name,
        stream=stream,
        kind=kind.name,
        key=_key(place.under("key"), body),
        entries=entries,
        updated_at=_updated_at(place.under("updated_at"), body.get("updated_at"), known),
        each=parse_path(body["each"], place.under("each")) if "each" in body else None,
        where=rules.parse_where(place.under("where"), body.get("where")),
        deleted=rules.parse_where(place.under("deleted"), body.get("deleted")),
        writable=tuple(dict.fromkeys([*listed, *write])),
        listed=listed,
        write=write,
        options={option: body[option] for option in allowed.table_options if option in body},
        raw_retention=_retention(place.under("raw_retention"), body.get("raw_retention")),
        never=_never(place.under("never"), body.get("never", [])),
    )


def _kind(place: Place, body: dict[str, Any]) -> Kind:
    if "kind" not in body:
        place.fail(f"has no `kind`; expected one of {words.one_of(KINDS)}")
    name = words.string(place.under("kind"), body["kind"])
    if name not in KINDS:
        words.unknown(place.under("kind"), "kind", name, KINDS)
    return KINDS[name]


def _entries(place: Place, body: dict[str, Any], kind: Kind, known: Known) -> tuple[Entry, ...]:
    here = place.at(f"{place.header}.fields")
    fields = words.table(here, body.get("fields", {}))
    if "remote_id" in fields:
        here.under("remote_id").fail("is always filled from the table's `key`; take it out")
    for name in kind.required:
        if name not in fields:
            here.fail(f'a table of kind "{kind.name}" must map `{name}`; it is never guessed')
    return rules.parse_fields(here, fields, kind.fields, known)


def _key(place: Place, body: dict[str, Any]) -> tuple[Path, ...]:
    if "key" not in body:
        Place(place.file, place.header).fail('has no `key`; expected the path of the vendor\'s id, such as "id"')
    key = body["key"]
    if isinstance(key, dict):
        words.only(place, key, ("all",))
        parts = words.strings(place.under("all"), key.get("all"), "a list of paths")
        if not parts:
            place.under("all").fail("expected at least one path")
        return tuple(parse_path(part, place) for part in parts)
    return (parse_path(key, place),)


def _retention(place: Place, value: Any) -> str | None:
    if value is None or value == "none":
        return None if value is None else "none"
    try:
        duration_s(words.string(place, value))
    except ValueError:
        place.fail('expected how long raw records are kept, such as "90d", or "none"; without it they are for ever')
    return str(value)


def _never(place: Place, value: Any) -> tuple[Path, ...]:
    paths = tuple(parse_path(text, place) for text in words.strings(place, value, "a list of paths"))
    for path in paths:
        if path.ups or not path.steps:
            place.fail(f'"{path.text}" must start at the stream\'s record, and name a part of it')
    return paths


def _updated_at(place: Place, value: Any, known: Known) -> From | None:
    if value is None:
        return None
    rule = rules.parse_rule(place, value, Field("updated_at", datetime), known)
    if not isinstance(rule, From):
        place.fail("expected a path, or { from = …, as = … }")
    return rule


def _writes(place: Place, value: Any, kind: Kind, known: Known) -> dict[str, WriteSpec]:
    found = {}
    for name, right in words.table(place, value).items():
        if name not in kind.fields:
            words.unknown(place.under(name), "field", name, kind.fields)
        found[name] = parse_write(place.under(name), right, kind.fields[name], known)
    return found


def _listed(place: Place, value: Any, entries: tuple[Entry, ...], write: Mapping[str, WriteSpec]) -> tuple[str, ...]:
    names = words.strings(place, value, "a list of field names")
    mapped = {entry.name for entry in entries} | set(write)
    for name in names:
        if name.partition(".")[0] not in mapped:
            place.fail(f'"{name}" is no field of this table; {words.hint(name, mapped)}')
    return tuple(dict.fromkeys(names))
