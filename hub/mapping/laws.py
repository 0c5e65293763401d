"""
What must hold for every mapping, tried out on the compiled mapping itself.

Each law takes a CompiledMapping and gives the Problems it found; `ConnectorSuite` and `hub map check` use the same.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from hub.connector import Page
from hub.errors import HubError, MappingError
from hub.mapping.compiled import CompiledMapping, StreamMap
from hub.mapping.constants import shape_of
from hub.mapping.inverse import Plan
from hub.mapping.paths import Name, Path, Pick
from hub.mapping.reads import paths_of
from hub.mapping.spec import MISSING, Amount, Entry, From, Object, Refer, Table, Value, When
from hub.mapping.writing import place, write_field
from hub.money import exponent
from hub.records import Visibility


@dataclass(frozen=True)
class Problem:
    """A fault of a mapping: an error breaks a law, a warning is worth a look."""

    severity: Literal["error", "warning"]
    where: str
    message: str
    table: str | None = None
    field: str | None = None


Law = Callable[[CompiledMapping], list[Problem]]
_ODD: tuple[Any, ...] = (None, "", "PUBLIC", "Public", "odd", 0, 1, 2, -1, [], {}, ["public"], {"a": "public"}, 1.5)
_OPEN = frozenset(("open", "closed"))


Severity = Literal["error", "warning"]


def found(compiled: CompiledMapping, severity: Severity, table: str, field: str, message: str) -> Problem:
    """Make a Problem that says where it is."""
    where = f"{compiled.source.where}: [{table}] {field}".rstrip()
    return Problem(severity, where, message, table, field or None)


def alone(compiled: CompiledMapping, table: Table, entry: Entry) -> Callable[[dict[str, Any]], Any]:
    """Make a function that reads one field of a record, whatever else the table asks for. It raises MappingError."""
    small = replace(
        table, stream="law", key=(Path("hub_law_key", (Name("hub_law_key"),)),), entries=(entry,), updated_at=None,
        each=None, where=(), deleted=(),
    )  # fmt: skip
    mapped = StreamMap("law", [small], compiled.source.where)

    def read(raw: dict[str, Any]) -> Any:
        rows = mapped.map(Page(records=[{**raw, "hub_law_key": "1"}])).tables[table.name]
        if rows.rejects:
            raise MappingError(rows.rejects[0].reason)
        return msgspec.json.decode(rows.rows[0].body)[entry.name]

    return read


def _climbs(entry: Entry) -> bool:
    return any(path.ups for path in paths_of(entry.rule))


def visibility_never_widens(compiled: CompiledMapping) -> list[Problem]:
    """A message is public only where the mapping says so in so many words; anything odd is internal."""
    problems = []
    for table in compiled.tables.values():
        entry = table.entry("visibility") if table.kind == "message" else None
        if entry is None or _climbs(entry) or not isinstance(entry.rule, From):
            continue
        values = entry.rule.values or {"public": "public"}
        listed = {word for word, meaning in values.items() if meaning == Visibility.public}
        read = alone(compiled, table, entry)
        for value in _ODD:
            if isinstance(value, int) and str(value) in listed:
                continue
            if _seen(read, entry.rule.paths[0], value) == Visibility.public:
                said = f"{value!r} becomes public, but is not listed as public"
                problems.append(found(compiled, "error", table.name, "visibility", said))
    return problems


def _seen(read: Callable[[dict[str, Any]], Any], path: Path, value: Any) -> Any:
    try:
        return read(raw_with(path, value))
    except MappingError:
        return None


def raw_with(path: Path, value: Any) -> dict[str, Any]:
    """Make a raw record that has `value` at `path` (positions become lists of one)."""
    made: Any = value
    for step in reversed(path.steps):
        if isinstance(step, Name):
            made = {step.name: made}
        elif isinstance(step, Pick):
            made = [{step.key: step.value, **(made if isinstance(made, dict) else {})}]
        else:
            made = [made]
    return made if isinstance(made, dict) else {}


def unknown_stays_unknown(compiled: CompiledMapping) -> list[Problem]:
    """A word that nobody listed never becomes open or closed, and `unknown` is never written."""
    problems = []
    for table in compiled.tables.values():
        for entry in table.entries:
            if entry.field.enum is None or not _OPEN & set(entry.field.enum.__members__):
                continue
            last = entry.rule.otherwise if isinstance(entry.rule, When) else entry.rule
            if isinstance(last, From) and last.otherwise in _OPEN:
                said = f'an unlisted word becomes "{last.otherwise}"; expected otherwise = "unknown"'
                problems.append(found(compiled, "error", table.name, entry.name, said))
            if isinstance(entry.rule, When) and isinstance(last, Value) and last.value in _OPEN:
                said = f'whatever no case takes becomes "{last.value}"; see that this cannot be an unknown word'
                problems.append(found(compiled, "warning", table.name, entry.name, said))
        for name, plan in compiled.writing.plans[table.name].items():
            if plan.field.enum is not None and plan.values and "unknown" in plan.values:
                problems.append(
                    found(compiled, "error", table.name, name, 'writes "unknown"; leave the raw word as it is')
                )
    return problems


def numbers_stay_exact(compiled: CompiledMapping) -> list[Problem]:
    """Keys and money never pass through a float."""
    problems: list[Problem] = []
    for table in compiled.tables.values():
        for entry in table.entries:
            if isinstance(entry.rule, Amount) and not _climbs(entry) and not entry.rule.source.chain:
                problems += _inexact(compiled, table, entry, entry.rule)
        mapped = compiled.map_record(table.stream, b'{"id": 9007199254740993}')
        keys = [made.key for made in mapped.made if made.key]
        if any(key != "9007199254740993" for key in keys):
            problems.append(found(compiled, "error", table.name, "key", "a large id is not kept exactly"))
    return problems


def _inexact(compiled: CompiledMapping, table: Table, entry: Entry, rule: Amount) -> Iterator[Problem]:
    read = alone(compiled, table, entry)
    raw = raw_with(rule.source.paths[0], 9007199254740993)
    if isinstance(rule.currency, From):
        _merge(raw, raw_with(rule.currency.paths[0], "EUR"))
    try:
        money = read(raw)
    except MappingError as exc:
        yield found(compiled, "warning", table.name, entry.name, f"could not be tried: {exc.message}")
        return
    wanted = 9007199254740993 * (1 if rule.unit == "minor" else 10 ** exponent(money["currency"]))
    if money["amount"] != wanted:
        yield found(compiled, "error", table.name, entry.name, "a large amount is not kept exactly")


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for name, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        elif isinstance(value, list) and isinstance(into.get(name), list):
            into[name] = [*into[name], *value]
        else:
            into[name] = value


_SAMPLES: dict[str, tuple[Any, ...]] = {
    "text": ("A text", "ü ✓"),
    "bool": (True, False),
    "int": (0, 12),
    "decimal": ("1.50",),
    "time": ("2026-11-22T07:00:00Z",),
    "money": ({"amount": 1250, "currency": "EUR"},),
    "any": ("x",),
}
_MEANT = {
    "email": ("ada@example.com",),
    "phone": ("+4930123456",),
    "mobile": ("+4915123456789",),
    "language": ("de-AT",),
    "country_code": ("DE",),
    "currency": ("EUR",),
}


def samples_of(table: Table, entry: Entry, plan: Plan) -> tuple[Any, ...]:
    """Give values of a field worth trying: every member of an enum, a few of anything else."""
    field = entry.field
    if field.enum is not None:
        return tuple(member.value for member in field.enum)
    if isinstance(entry.rule, Refer):
        rule = entry.rule
        one = (
            {"table": rule.table, "remote_id": "12"}
            if rule.table
            else {"kind": rule.kind, "by": rule.by, "value": "12"}
        )
        return ([one],) if field.many else (one,)
    if shape_of(field) == "any":
        return _loose(entry, plan)
    if isinstance(entry.rule, Amount):
        return ({"amount": 1250, "currency": plan.currency or "EUR"},)
    values = _MEANT.get(field.name) or _SAMPLES.get(shape_of(field), ())
    return tuple([value] for value in values) if field.many else values


def _loose(entry: Entry, plan: Plan) -> tuple[Any, ...]:
    if plan.values is not None:
        return tuple(plan.values)
    names = [step.converter.name for step in entry.rule.chain] if isinstance(entry.rule, From) else []
    known = {"bool": (True, False), "int": (0, 12), "split": (["a", "b"],)}
    return known.get(names[-1], ()) if names else ("x", True, 12)


def written_reads_back(compiled: CompiledMapping) -> list[Problem]:
    """What is written and read again is the same, for every value that can be written."""
    problems: list[Problem] = []
    for table in compiled.tables.values():
        for name, plan in compiled.writing.plans[table.name].items():
            entry = table.entry(name)
            if entry is not None and plan.constant is MISSING and not _climbs(entry):
                problems += _round_trip(compiled, table, entry, plan)
    return problems


def _round_trip(compiled: CompiledMapping, table: Table, entry: Entry, plan: Plan) -> Iterator[Problem]:
    if plan.parts and isinstance(entry.rule, Object):
        for part in entry.rule.entries:
            inner = plan.parts.get(part.name)
            if inner is not None and inner.constant is MISSING and not inner.inputs and not inner.parts:
                whole = replace(entry, rule=Object((part,)))
                yield from _tries(compiled, table, (part, whole), inner)
    elif not plan.inputs and not plan.parts:
        yield from _tries(compiled, table, (entry, entry), plan)


def _tries(compiled: CompiledMapping, table: Table, entries: tuple[Entry, Entry], plan: Plan) -> Iterator[Problem]:
    entry, whole = entries
    read = alone(compiled, table, whole)
    for value in samples_of(table, entry, plan):
        out: dict[str, Any] = {}
        try:
            write_field(plan, value, out)
        except HubError:
            continue
        again = _again(read, entry, plan, out)
        if whole is not entry and isinstance(again, dict):
            again = again.get(entry.name)
        if again != value:
            listed = plan.values is None or str(value) in plan.values
            said = f"{value!r} is written, and read back as {again!r}"
            yield found(compiled, "error" if listed else "warning", table.name, entry.path, said)


def _again(read: Callable[[dict[str, Any]], Any], entry: Entry, plan: Plan, out: dict[str, Any]) -> Any:
    """Read what was written, from where the field is read (a ticket's comment is written elsewhere)."""
    rule = entry.rule
    source = rule.source if isinstance(rule, (Refer, Amount)) else rule
    assert plan.to is not None
    if isinstance(source, From):
        value = _at(out, plan.to)
        out = {} if isinstance(source.paths[0].steps[-1], (Name, Pick)) else out
        place_read(out, source.paths[0], value)
    if isinstance(rule, Amount) and isinstance(rule.currency, From):
        _merge(out, raw_with(rule.currency.paths[0], "EUR"))
    try:
        return read(out)
    except MappingError as exc:
        return f"reject: {exc.message}"


def place_read(out: dict[str, Any], path: Path, value: Any) -> None:
    if path.steps and isinstance(path.steps[0], Name) and all(isinstance(s, (Name, Pick)) for s in path.steps):
        place(out, path, value)
    else:
        _merge(out, raw_with(path, value))


def _at(out: Any, path: Path) -> Any:
    for step in path.steps:
        out = out[step.name] if isinstance(step, Name) else out[0]
    return out


def leaves(out: Any, prefix: str = "") -> Iterator[str]:
    """Name every place that a written document sets."""
    if isinstance(out, dict) and out:
        for name, value in out.items():
            yield from leaves(value, f"{prefix}.{name}" if prefix else name)
    elif isinstance(out, list) and out and all(isinstance(item, dict) for item in out):
        for item in out:
            yield from leaves(item, f"{prefix}[]")
    else:
        yield prefix


def patches_only_what_changed(compiled: CompiledMapping) -> list[Problem]:
    """Writing one field sets that field's places and no other."""
    problems: list[Problem] = []
    for table in compiled.tables.values():
        for name, plan in compiled.writing.plans[table.name].items():
            entry = table.entry(name)
            if entry is None or plan.parts or plan.inputs or plan.constant is not MISSING or name.startswith("body_"):
                continue
            problems += _stray(compiled, table, entry, plan)
    return problems


def _stray(compiled: CompiledMapping, table: Table, entry: Entry, plan: Plan) -> Iterator[Problem]:
    for value in samples_of(table, entry, plan)[:1]:
        try:
            out = compiled.write(table.name, {entry.name: value})
        except HubError:
            continue
        alone_: dict[str, Any] = {}
        write_field(plan, value, alone_)
        stray = set(leaves(out)) - set(leaves(alone_))
        if stray:
            yield found(compiled, "error", table.name, entry.name, f"writing it also sets {', '.join(sorted(stray))}")


LAWS: tuple[Law, ...] = (
    visibility_never_widens,
    unknown_stays_unknown,
    numbers_stay_exact,
    written_reads_back,
    patches_only_what_changed,
)
