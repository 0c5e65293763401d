"""The right-hand sides of fields: parse them into rules, checked against the field they fill."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hub.mapping import words
from hub.mapping.constants import ANYTHING, check_constant, shape_of
from hub.mapping.converters import Converter, Step
from hub.mapping.paths import Path, parse_path
from hub.mapping.spec import (
    MISSING,
    REJECT,
    Amount,
    Each,
    Entry,
    From,
    Object,
    Refer,
    Rule,
    Test,
    Value,
    When,
    Where,
)
from hub.mapping.times import zone_of
from hub.mapping.words import Place
from hub.records import KINDS, Field, Visibility

RESERVED = ("when", "each", "ref", "money", "value", "inputs", "from", "to")
_FROM = ("from", "inputs", "as", "values", "default", "otherwise")


@dataclass(frozen=True)
class Known:
    """The words that a mapping file may use: converters, and its own tables."""

    converters: Mapping[str, Converter]
    tables: frozenset[str] = frozenset()


def parse_fields(
    place: Place, value: Any, fields: Mapping[str, Field] | None, known: Known, prefix: str = ""
) -> tuple[Entry, ...]:
    """Parse a table of fields. `fields` None takes any name (`custom`)."""
    entries = []
    for name, right in words.table(place, value).items():
        if fields is not None and name not in fields:
            words.unknown(place.under(name), "field", name, fields)
        field = _anything(name) if fields is None else fields[name]
        here = place.under(name)
        if name == "custom" and fields is not None:
            rule: Rule = Object(parse_fields(here, right, None, known, f"{prefix}custom."))
        else:
            rule = parse_rule(here, right, field, known)
        entries.append(Entry(name, f"{prefix}{name}", field, rule))
    return tuple(entries)


def _anything(name: str) -> Field:
    return Field(name, ANYTHING)


def parse_rule(place: Place, value: Any, field: Field, known: Known) -> Rule:
    """Parse one right-hand side for `field`. Raises MappingError."""
    if isinstance(value, (str, list)):
        return _plain(place, value, field)
    rule = words.table(place, value, "a path, a list of paths or a table")
    word = next((word for word in RESERVED if word in rule), None)
    if word is None or (word in field.fields and not field.many):  # such as `ref` of an author
        return _object(place, rule, field, known)
    if word == "to":
        place.fail("`to` belongs to a write table ([<table>.write])")
    return _PARSERS[word](place, rule, field, known)


def _plain(place: Place, value: str | list[Any], field: Field) -> From:
    _scalar_target(place, field)
    return From(parse_paths(place, value))


def parse_paths(place: Place, value: Any) -> tuple[Path, ...]:
    """Parse a path or a list of paths."""
    if isinstance(value, list):
        if not value:
            place.fail("expected at least one path")
        return tuple(parse_path(item, place) for item in value)
    return (parse_path(value, place),)


def _scalar_target(place: Place, field: Field) -> None:
    wanted = {
        "ref": '{ ref = "<table>", from = "<path>" } or { ref = { kind = "order", by = "number" }, from = "<path>" }',
        "money": '{ money = "<path>", currency = "<path>", unit = "minor" }',
        "object": '{ each = "<path>", fields = { … } }' if field.many else "a table of its parts",
    }.get(shape_of(field))
    if wanted:
        place.fail(f"a path alone cannot fill this field; expected {wanted}")


def parse_chain(place: Place, rule: dict[str, Any], known: Known, others: tuple[str, ...]) -> tuple[Step, ...]:
    """Parse `as` with its options, and refuse every other key that is not in `others`."""
    named = rule.get("as", [])
    names = (
        [named] if isinstance(named, str) else words.strings(place.under("as"), named, "a converter's name or a list")
    )
    chain, options = [], set()
    for name in names:
        if name not in known.converters:
            words.unknown(place.under("as"), "converter", name, known.converters)
        converter = known.converters[name]
        own = {key: rule[key] for key in converter.options if key in rule}
        options |= set(own)
        _check_options(place, own)
        chain.append(Step(converter, own))
    allowed = {option for name in names for option in known.converters[name].options}
    words.only(place, rule, {*others, "as", *allowed})
    return tuple(chain)


def _check_options(place: Place, options: dict[str, Any]) -> None:
    types = {"sep": str, "region": str, "format": str, "zone": str, "index": int, "limit": int}
    for name, value in options.items():
        if name in types and (type(value) is not types[name] or value == ""):
            wanted = "a string" if types[name] is str else "a whole number"
            place.under(name).fail(f"expected {wanted}, found {words.kind_of(value)}")
    if "zone" in options:
        try:
            zone_of(options["zone"])
        except ValueError as exc:
            place.under("zone").fail(f'{exc}; expected an IANA name such as "Europe/Berlin"')


def _from(place: Place, rule: dict[str, Any], field: Field, known: Known) -> From:
    _scalar_target(place, field)
    return _source(place, rule, field, known, _FROM)


def _source(place: Place, rule: dict[str, Any], field: Field, known: Known, allowed: tuple[str, ...]) -> From:
    chain = parse_chain(place, rule, known, allowed)
    many = "inputs" in rule
    if many and "from" in rule:
        place.fail("`from` and `inputs` exclude each other")
    if many and (not chain or chain[0].converter.takes != "many"):
        several = [c.name for c in known.converters.values() if c.takes == "many"]
        place.fail(f"`inputs` needs a converter of several inputs in `as`: {words.one_of(several)}")
    paths = parse_paths(place.under("inputs" if many else "from"), rule["inputs" if many else "from"])
    return From(
        paths,
        many,
        chain,
        _values(place.under("values"), rule.get("values"), field),
        _default(place.under("default"), rule, field),
        _otherwise(place.under("otherwise"), rule, field),
    )


def _values(place: Place, value: Any, field: Field) -> dict[str, Any] | None:
    if value is None:
        return None
    found = words.table(place, value)
    return {word: check_constant(place.under(word), meaning, field) for word, meaning in found.items()}


def _default(place: Place, rule: dict[str, Any], field: Field) -> Any:
    return _closed(place, check_constant(place, rule["default"], field), field) if "default" in rule else None


def _otherwise(place: Place, rule: dict[str, Any], field: Field) -> Any:
    if "otherwise" not in rule:
        return MISSING
    value = rule["otherwise"]
    return REJECT if value == "reject" else _closed(place, check_constant(place, value, field), field)


def _closed(place: Place, value: Any, field: Field) -> Any:
    if field.type is Visibility and value == Visibility.public:
        place.fail('what is not listed must not become public; expected "internal" or "reject"')
    return value


def _value(place: Place, rule: dict[str, Any], field: Field, known: Known) -> Value:
    words.only(place, rule, ("value",))
    return Value(check_constant(place.under("value"), rule["value"], field))


def _ref(place: Place, rule: dict[str, Any], field: Field, known: Known) -> Refer:
    if shape_of(field) not in ("ref", "any"):
        place.fail("this field is no reference; expected a path or a rule with `from`")
    if "from" not in rule and "inputs" not in rule:
        place.fail("a reference needs `from`")
    rest = {k: v for k, v in rule.items() if k != "ref"}
    source = _source(place, rest, _anything(field.name), known, ("from", "inputs", "as"))
    target, here = rule["ref"], place.under("ref")
    if isinstance(target, dict):
        words.only(here, target, ("kind", "by"))
        kind = words.string(here.under("kind"), target.get("kind"))
        by = words.string(here.under("by"), target.get("by"))
        if kind not in KINDS:
            words.unknown(here, "kind", kind, KINDS)
        if by not in KINDS[kind].fields:
            words.unknown(here, f"field of {kind}", by, KINDS[kind].fields)
        return Refer(source, kind=kind, by=by)
    table = words.string(here, target, "a table's name or { kind = …, by = … }")
    if table not in known.tables:
        words.unknown(here, "table", table, known.tables)
    return Refer(source, table=table)


def _money(place: Place, rule: dict[str, Any], field: Field, known: Known) -> Amount:
    if shape_of(field) not in ("money", "any"):
        place.fail("this field holds no money; expected a path or a rule with `from`")
    unit = rule.get("unit")
    if unit not in ("minor", "major"):
        found = f'"{unit}"' if isinstance(unit, str) else words.kind_of(unit)
        place.under("unit").fail(f'expected "minor" (cents) or "major" (euros), found {found}')
    if "currency" not in rule:
        place.fail('money needs `currency`: a path, or { value = "EUR" }')
    text, number = Field("currency", str), _anything(field.name)
    chain = parse_chain(place, rule, known, ("money", "currency", "unit", "default"))
    right = rule["currency"]
    currency = parse_rule(place.under("currency"), right, text, known)
    if not isinstance(currency, (From, Value)):
        place.under("currency").fail('expected a path, a list of paths, { from = … } or { value = "EUR" }')
    amount = parse_rule(place.under("money"), rule["money"], number, known)
    if not isinstance(amount, From):
        place.under("money").fail("expected a path, a list of paths or { from = … }")
    fallback = rule.get("default")
    for code in (fallback, currency.value if isinstance(currency, Value) else None):
        if code is not None:
            check_constant(place.under("currency"), {"amount": 0, "currency": code}, Field("", _MONEY))
    return Amount(replace(amount, chain=amount.chain + chain), currency, unit, fallback)


def _each(place: Place, rule: dict[str, Any], field: Field, known: Known) -> Each:
    path = parse_path(rule["each"], place.under("each"))
    where = parse_where(place.under("where"), rule.get("where"))
    rest = {k: v for k, v in rule.items() if k not in ("each", "where")}
    shape = shape_of(field)
    if "fields" in rest:
        words.only(place, rest, ("fields",))
        if shape not in ("object", "any") or (shape == "object" and not field.many):
            place.fail("this field is no list of objects; expected a rule with `from`")
        inside = field.fields if shape == "object" else None
        return Each(path, Object(parse_fields(place, rest["fields"], inside, known)), where)
    if not any(word in rest for word in RESERVED):
        place.fail("`each` needs `fields`, or `from` for a list of plain values")
    item = parse_rule(place, rest, replace(field, many=False), known)
    if not isinstance(item, From):
        if not field.many and shape != "any":
            place.fail("this field is no list")
        return Each(path, item, where)
    cut = next((i for i, step in enumerate(item.chain) if step.converter.takes == "many"), len(item.chain))
    if cut == len(item.chain) and not field.many and shape != "any":
        place.fail('this field is no list; make one value of it: as = "max"')
    return Each(path, replace(item, chain=item.chain[:cut]), where, item.chain[cut:])


def _when(place: Place, rule: dict[str, Any], field: Field, known: Known) -> When:
    words.only(place, rule, ("when", "otherwise"))
    cases, here = [], place.under("when")
    if not isinstance(rule["when"], list) or not rule["when"]:
        here.fail("expected a list of { if = { … }, value = … }")
    for case in rule["when"]:
        if not isinstance(case, dict) or not isinstance(case.get("if"), dict):
            here.fail("every case needs `if = { path = value }`")
        then = {k: v for k, v in case.items() if k != "if"}
        if not then:
            here.fail("every case needs a `value`, or another rule, beside `if`")
        cases.append((parse_where(here.under("if"), case["if"]), parse_rule(here, then, field, known)))
    otherwise = rule.get("otherwise")
    return When(tuple(cases), None if otherwise is None else _last(place.under("otherwise"), otherwise, field, known))


def _last(place: Place, value: Any, field: Field, known: Known) -> Rule:
    if value == "reject":
        return Value(REJECT)
    if not isinstance(value, dict) or (shape_of(field) == "money" and "currency" in value and "amount" in value):
        return Value(_closed(place, check_constant(place, value, field), field))
    rule = parse_rule(place, value, field, known)
    if isinstance(rule, Value):
        _closed(place, rule.value, field)
    return rule


def _object(place: Place, rule: dict[str, Any], field: Field, known: Known) -> Object:
    shape = shape_of(field)
    if shape not in ("object", "any") or field.many:
        place.fail(f"expected a rule with one of {words.one_of(RESERVED[:-1])}; this field is no nested object")
    return Object(parse_fields(place, rule, field.fields if shape == "object" else None, known, f"{place.key}."))


def parse_where(place: Place, value: Any) -> Where:
    """Parse conditions: path = value, a list of values, or { not = … }; all must hold."""
    if value is None:
        return ()
    tests: list[Test] = []
    for path, wanted in words.table(place, value, "a table of path = value").items():
        here = place.under(path)
        if isinstance(wanted, dict) and set(wanted) != {"not"}:
            tests += parse_where(place, {f"{path}.{inner}": item for inner, item in wanted.items()})
            continue
        negate = isinstance(wanted, dict)
        texts = _texts(here, wanted["not"] if isinstance(wanted, dict) else wanted)
        tests.append(Test(parse_path(path, place), texts, negate))
    return tuple(tests)


def _texts(place: Place, wanted: Any) -> frozenset[str]:
    items = wanted if isinstance(wanted, list) else [wanted]
    found = set()
    for item in items:
        if isinstance(item, bool):
            found.add("true" if item else "false")
        elif isinstance(item, (str, int)):
            found.add(str(item))
        else:
            place.fail(f"expected a string, a whole number, a boolean or a list of them, found {words.kind_of(item)}")
    return frozenset(found)


_MONEY = next(field.type for field in KINDS["order"].fields.values() if field.name == "total")
_PARSERS: dict[str, Callable[..., Rule]] = {
    "when": _when,
    "each": _each,
    "ref": _ref,
    "money": _money,
    "value": _value,
    "inputs": _from,
    "from": _from,
}
