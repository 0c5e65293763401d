"""The write tables of a mapping file: parse `[<table>.write]` into specs, checked against the unified field."""

from typing import Any

from hub.mapping import words
from hub.mapping.constants import check_constant, shape_of
from hub.mapping.paths import parse_path
from hub.mapping.rules import Known, parse_chain
from hub.mapping.spec import MISSING, REJECT, WriteSpec
from hub.mapping.words import Place
from hub.records import Field, Visibility

_WORDS = ("to", "inputs", "values", "default", "otherwise", "value", "unit")


def parse_write(place: Place, right: Any, field: Field, known: Known) -> WriteSpec:
    """Parse one write rule: a vendor path, a rule with `to`, or a table of such for a nested object."""
    if isinstance(right, str):
        return WriteSpec(to=parse_path(right, place))
    rule = words.table(place, right, "a path or a table with `to`")
    if "to" not in rule:
        return _parts(place, rule, field, known)
    chain = parse_chain(place, rule, known, _WORDS)
    for step in chain:
        if step.converter.inverse is None and step.converter.takes == "one":
            place.under("as").fail(f'"{step.converter.name}" cannot be inverted')
    unit = rule.get("unit")
    if unit not in (None, "minor", "major"):
        place.under("unit").fail('expected "minor" or "major"')
    if shape_of(field) == "money" and unit is None and "value" not in rule:
        place.fail('money is written in a unit; add unit = "minor" or "major"')
    if field.type is Visibility and ("otherwise" in rule or "default" in rule):
        place.fail("visibility is written only for values that are listed under `values`")
    otherwise = rule.get("otherwise", MISSING)
    return WriteSpec(
        to=parse_path(rule["to"], place.under("to")),
        inputs=tuple(words.strings(place.under("inputs"), rule.get("inputs", []))),
        chain=chain,
        values=_values(place.under("values"), rule.get("values"), field),
        default=rule.get("default", MISSING),
        otherwise=REJECT if otherwise == "reject" else otherwise,
        value=rule.get("value", MISSING),
        unit=unit,
    )


def _values(place: Place, value: Any, field: Field) -> dict[str, Any] | None:
    if value is None:
        return None
    found = words.table(place, value)
    if field.enum is not None:
        for word in found:
            check_constant(place.under(word), word, field)
    return dict(found)


def _parts(place: Place, rule: dict[str, Any], field: Field, known: Known) -> WriteSpec:
    custom = field.name == "custom"
    if not custom and not (field.fields and not field.many):
        place.fail("a write rule needs `to`, the vendor's path")
    parts = {}
    for name, right in rule.items():
        if not custom and name not in field.fields:
            words.unknown(place.under(name), "field", name, field.fields)
        part = Field(name, object) if custom else field.fields[name]
        parts[name] = parse_write(place.under(name), right, part, known)
    return WriteSpec(parts=parts)
