"""Invert what a field reads: where its value is written, and how it is said there."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from hub.mapping.paths import Name, Path, Pick
from hub.mapping.spec import MISSING, Amount, Each, Entry, From, Object, Refer, Table, Value, When, WriteSpec
from hub.mapping.words import Place
from hub.records import KINDS, Field

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Plan:
    """
    How one field is written: to a path, by its `parts`, or not at all because the table's records all have `constant`.

    `values` is the vendor's word per unified one, None where values go as they are. `currency` is the only one that the
    field can have.
    """

    place: Place
    field: Field
    to: Path | None = None
    convert: tuple[Convert, ...] = ()
    values: Mapping[str, Any] | None = None
    otherwise: Any = MISSING
    null: Any = None
    fixed: Any = MISSING
    unit: str | None = None
    currency: str | None = None
    inputs: tuple[str, ...] = ()
    constant: Any = MISSING
    parts: "Mapping[str, Plan]" = dataclasses.field(default_factory=dict)


def plans(file: str, table: Table) -> dict[str, Plan]:
    """Plan every writable field of a table, and its constants. Raises MappingError for what cannot be inverted."""
    fields = KINDS[table.kind].fields
    found: dict[str, Plan] = {}
    for entry in table.entries:
        wanted = [name.partition(".")[2] for name in table.listed if name.partition(".")[0] == entry.name]
        place = Place(file).at(table.name).under(entry.name)
        spec = table.write.get(entry.name)
        plan = _planned(place, entry, wanted, spec)
        if plan is not None:
            found[entry.name] = plan
    for name, spec in table.write.items():
        if name not in found:
            found[name] = said(Place(file).at(f"{table.name}.write").under(name), fields[name], spec)
    return found


def _planned(place: Place, entry: Entry, wanted: list[str], spec: WriteSpec | None) -> Plan | None:
    if spec is not None and spec.parts is None:
        return said(place, entry.field, spec)
    if isinstance(entry.rule, Object) and (wanted or spec):
        return _object(place, entry, wanted, spec)
    if wanted:
        return inverted(place, entry)
    if isinstance(entry.rule, Value):
        return Plan(place, entry.field, constant=entry.rule.value)
    return None


def _object(place: Place, entry: Entry, wanted: list[str], spec: WriteSpec | None) -> Plan:
    assert isinstance(entry.rule, Object)
    explicit = dict(spec.parts or {}) if spec else {}
    covered = {name for part in explicit.values() for name in part.inputs}
    parts: dict[str, Plan] = {}
    for inner in entry.rule.entries:
        here = place.under(inner.name)
        below = [""] if "" in wanted else [n.partition(".")[2] for n in wanted if n.partition(".")[0] == inner.name]
        if inner.name in covered and inner.name not in explicit:
            continue
        plan = _planned(here, inner, below, explicit.get(inner.name))
        if plan is not None:
            parts[inner.name] = plan
    for name, part in explicit.items():
        if name not in parts:
            parts[name] = said(place.under(name), entry.field.fields.get(name, Field(name, object)), part)
    return Plan(place, entry.field, parts=parts)


def said(place: Place, field: Field, spec: WriteSpec) -> Plan:
    """Plan a field as a write table says it."""
    if spec.parts is not None:
        inside = {name: field.fields.get(name, Field(name, object)) for name in spec.parts}
        return Plan(place, field, parts={n: said(place.under(n), inside[n], part) for n, part in spec.parts.items()})
    assert spec.to is not None
    return Plan(
        place,
        field,
        to=_writable_path(place, spec.to),
        convert=tuple(_towards(step) for step in reversed(spec.chain)),
        values=spec.values,
        otherwise=spec.otherwise,
        null=None if spec.default is MISSING else spec.default,
        fixed=spec.value,
        unit=spec.unit,
        inputs=spec.inputs,
    )


def _towards(step: Any) -> Convert:
    """In a write rule a converter of several values runs forward, any other backward."""
    backward = None if step.converter.takes == "many" else step.backward()
    return backward or step.forward()  # type: ignore[no-any-return]


def inverted(place: Place, entry: Entry) -> Plan:
    """Plan a field as the inverse of what it reads. Raises MappingError."""
    rule = entry.rule
    if isinstance(rule, Value):
        return Plan(place, entry.field, constant=rule.value)
    if isinstance(rule, Refer):
        return Plan(place, entry.field, to=_path(place, rule.source), convert=_backward(place, rule.source))
    if isinstance(rule, Amount):
        return _amount(place, entry.field, rule)
    if isinstance(rule, (Each, When, Object)):
        word = {Each: "a list made with `each`", When: "`when`", Object: "a nested object"}[type(rule)]
        _not_invertible(place, word)
    return Plan(
        place,
        entry.field,
        to=_path(place, rule),
        convert=_backward(place, rule),
        values=_inverse_values(place, rule, entry.field),
    )


def _amount(place: Place, field: Field, rule: Amount) -> Plan:
    only = rule.currency.value if isinstance(rule.currency, Value) else None
    convert = _backward(place, rule.source)
    return Plan(place, field, to=_path(place, rule.source), convert=convert, unit=rule.unit, currency=only)


def _not_invertible(place: Place, what: str) -> NoReturn:
    place.fail(
        f"is listed in `writable`, but {what} cannot be inverted; say it under [{place.header}.write.{place.key}]"
    )


def _path(place: Place, rule: From) -> Path:
    if rule.inputs:
        _not_invertible(place, "several inputs")
    return _writable_path(place, rule.paths[0])


def _writable_path(place: Place, path: Path) -> Path:
    steps = path.steps
    good = bool(steps) and not path.ups and isinstance(steps[0], Name) and isinstance(steps[-1], Name)
    if not good or not all(isinstance(step, (Name, Pick)) for step in steps):
        place.fail(f'nothing can be written to "{path.text}"; expected names and [key=value] only')
    return path


def _backward(place: Place, rule: From) -> tuple[Convert, ...]:
    found = []
    for step in reversed(rule.chain):
        backward = step.backward()
        lossy = "index" in step.options
        if backward is None or lossy:
            _not_invertible(place, f'"{step.converter.name}"')
        found.append(backward)
    return tuple(found)


def _inverse_values(place: Place, rule: From, field: Field) -> dict[str, Any] | None:
    if rule.values is None:
        if field.enum is None:
            return None
        return {member.value: member.value for member in field.enum if member.value != "unknown"}
    found: dict[str, Any] = {}
    for word, meaning in rule.values.items():
        text = meaning if isinstance(meaning, str) else _text(meaning)
        if text in found:
            _not_invertible(place, f'"{text}", which has several vendor words,')
        found[text] = typed(word)
    if rule.default is not None:
        found.setdefault(rule.default if isinstance(rule.default, str) else _text(rule.default), None)
    return found


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def typed(word: str) -> Any:
    """Give a vendor's word, kept as JSON text in TOML keys, its type back: booleans and whole numbers."""
    if word in ("true", "false"):
        return word == "true"
    digits = word.removeprefix("-")
    return int(word) if digits.isascii() and digits.isdecimal() and str(int(word)) == word else word
