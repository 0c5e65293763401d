"""Check a compiled mapping: its laws, and its paths and words against what the vendor describes or was recorded."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from hub.connector import Field
from hub.mapping.compiled import CompiledMapping
from hub.mapping.emit import fallback
from hub.mapping.laws import LAWS, Problem, found
from hub.mapping.paths import Name, dotted, parse_path
from hub.mapping.spec import REJECT, Amount, Entry, From, Object, Refer, Rule, Table, When
from hub.mapping.words import Place


def check(
    compiled: CompiledMapping,
    *,
    fields: Mapping[str, Sequence[Field]] | None = None,
    samples: Mapping[str, Iterable[bytes | dict[str, Any]]] | None = None,
    usual: CompiledMapping | None = None,
) -> list[Problem]:
    """
    Find what is wrong with a mapping that compiles.

    `fields` are what `describe` tells per stream, `samples` recorded raw records; a stream without either is not held
    against the vendor. `usual` is the connector's own mapping, made for every account: that one account lacks a path of
    it is no problem.
    """
    problems = [problem for law in LAWS for problem in law(compiled)]
    for stream, known in (fields or {}).items():
        if known:
            optional = usual.stream(stream).paths if usual is not None and stream in usual.streams() else ()
            problems += _described(compiled, stream, known, optional)
    for stream, raws in (samples or {}).items():
        problems += _sampled(compiled, stream, raws)
    return problems


def _described(
    compiled: CompiledMapping, stream: str, known: Sequence[Field], optional: Collection[str]
) -> Iterator[Problem]:
    tables = [table for table in compiled.tables.values() if table.stream == stream]
    names = {field.name for field in known}
    for table in tables:  # a setting that is a table of names adds members of these names, as legacy's `nest` does
        names |= {name for setting in table.options.values() if isinstance(setting, Mapping) for name in setting}
    excused = {*optional, *(path for table in tables for path in _alternatives(table, names))}
    for path in compiled.stream(stream).paths if tables else ():
        if path not in names and _first(path) not in names and path not in excused:
            said = f'path "{path}": the vendor\'s stream {stream} has no such field'
            yield found(compiled, "warning", tables[0].name, "", said)
    for table in tables:
        for entry, rule in _enums(table):
            yield from _total(compiled, table, entry, rule, {field.name: field for field in known})


def _alternatives(table: Table, names: Collection[str]) -> Iterator[str]:
    """Name the paths of lists of which another path is known: one of them is enough."""
    for entry in table.entries:
        for rule in _sources(entry.rule):
            texts = [dotted(path.steps)[-1] for path in rule.paths if path.steps and not path.ups]
            if not rule.inputs and any(text in names or _first(text) in names for text in texts):
                yield from texts


def _first(path: str) -> str:
    return path.split(".")[0].replace("[]", "").strip("'")


def _enums(table: Table) -> Iterator[tuple[Entry, From]]:
    for entry in table.entries:
        if entry.field.enum is not None:
            yield from ((entry, rule) for rule in _sources(entry.rule))


def _sources(rule: Rule | None) -> Iterator[From]:
    if isinstance(rule, From):
        yield rule
    elif isinstance(rule, Refer | Amount):
        yield rule.source
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
    listed |= {text for test in table.deleted if dotted(test.path.steps) == here for text in test.texts}
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
