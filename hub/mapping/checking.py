"""Check a compiled mapping: its laws, and its paths and words against what the vendor describes or was recorded."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from hub.connector import Field
from hub.mapping.compiled import CompiledMapping
from hub.mapping.emit import fallback
from hub.mapping.laws import LAWS, Problem, found
from hub.mapping.paths import Name, dotted, parse_path
from hub.mapping.spec import REJECT, Entry, From, Object, Rule, Table, When
from hub.mapping.words import Place


def check(
    compiled: CompiledMapping,
    *,
    fields: Mapping[str, Sequence[Field]] | None = None,
    samples: Mapping[str, Iterable[bytes | dict[str, Any]]] | None = None,
) -> list[Problem]:
    """
    Find what is wrong with a mapping that compiles.

    `fields` are what `describe` tells per stream, `samples` recorded raw records; a stream without either is not held
    against the vendor.
    """
    problems = [problem for law in LAWS for problem in law(compiled)]
    for stream, known in (fields or {}).items():
        if known:
            problems += _described(compiled, stream, known)
    for stream, raws in (samples or {}).items():
        problems += _sampled(compiled, stream, raws)
    return problems


def _described(compiled: CompiledMapping, stream: str, known: Sequence[Field]) -> Iterator[Problem]:
    tables = [table for table in compiled.tables.values() if table.stream == stream]
    names = {field.name for field in known}
    for table in tables:  # a setting that is a table of names adds members of these names, as legacy's `nest` does
        names |= {name for setting in table.options.values() if isinstance(setting, Mapping) for name in setting}
    for path in compiled.stream(stream).paths if tables else ():
        if path not in names and _first(path) not in names:
            said = f'path "{path}": the vendor\'s stream {stream} has no such field'
            yield found(compiled, "warning", tables[0].name, "", said)
    for table in tables:
        for entry, rule in _enums(table):
            yield from _total(compiled, table, entry, rule, {field.name: field for field in known})


def _first(path: str) -> str:
    return path.split(".")[0].replace("[]", "").strip("'")


def _enums(table: Table) -> Iterator[tuple[Entry, From]]:
    for entry in table.entries:
        if entry.field.enum is not None:
            yield from ((entry, rule) for rule in _sources(entry.rule))


def _sources(rule: Rule | None) -> Iterator[From]:
    if isinstance(rule, From):
        yield rule
    elif isinstance(rule, When):
        yield from _sources(rule.otherwise)
    elif isinstance(rule, Object):
        for entry in rule.entries:
            yield from _sources(entry.rule)


def _total(
    compiled: CompiledMapping, table: Table, entry: Entry, rule: From, known: Mapping[str, Field]
) -> Iterator[Problem]:
    """Find the vendor's words that the mapping does not list."""
    here = dotted(rule.paths[0].steps)
    field = known.get(here[-1]) if here else None
    if field is None or not field.values or rule.chain:
        return
    listed = set(rule.values if rule.values is not None else (m.value for m in entry.field.enum or ()))
    if isinstance(entry.rule, When):
        listed |= {text for where, _ in entry.rule.cases for test in where for text in test.texts}
    missing = [word for word in field.values if word not in listed]
    if missing:
        becomes = fallback(rule, entry.field)
        then = "such records are rejected" if becomes is REJECT else f"they become {becomes}"
        said = f"no meaning for {', '.join(missing)}; {then}"
        yield found(compiled, "error" if becomes is REJECT else "warning", table.name, entry.name, said)


def _sampled(compiled: CompiledMapping, stream: str, raws: Iterable[bytes | dict[str, Any]]) -> Iterator[Problem]:
    unseen = dict.fromkeys(compiled.stream(stream).paths)
    count = 0
    for raw in raws:
        document = raw if isinstance(raw, dict) else msgspec.json.decode(raw)
        unseen = {path: None for path in unseen if not _shown(document, path)}
        count += 1
    if count:
        table = compiled.tables_of(stream)[0]
        for path in unseen:
            said = f'path "{path}" is in none of {count} recorded records of {stream}'
            yield found(compiled, "warning", table, "", said)


def _shown(document: Any, path: str) -> bool:
    """Say whether a record has a path, whatever its value."""
    here = [document]
    for step in parse_path(path, Place("stream")).steps:
        if isinstance(step, Name):
            here = [item[step.name] for item in here if isinstance(item, dict) and step.name in item]
        else:
            here = [inner for item in here if isinstance(item, list) for inner in item]
    return bool(here)
