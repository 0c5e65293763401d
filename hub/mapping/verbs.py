"""Legacy verbs: how a system without an API does what a modern one has an endpoint for."""

import re
from collections.abc import Mapping
from typing import Any

from hub.actions import CATALOGUE
from hub.connector import Ack, Verb
from hub.errors import Invalid
from hub.mapping import words
from hub.mapping.spec import MISSING, AckSpec, Expression, VerbSpec
from hub.mapping.words import Place
from hub.money import Money, currency_code, to_major
from hub.records import KINDS

_VERBS = ("insert", "update", "file")
_AMOUNT = ("major", "minor", "currency")
_RUN = ("id", "key")
_WITHIN = re.compile(r"(\d{1,6})\s*(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_EXPRESSION = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._@+-]")


def parse_verb(place: Place, action: str, body: Any) -> VerbSpec:
    """Parse one legacy verb. Raises MappingError, also for expressions that no context can answer."""
    verb = words.table(place, body)
    words.only(place, verb, (*_VERBS, "set", "where", "ack"))
    named = [word for word in _VERBS if word in verb]
    if len(named) != 1:
        place.fail(f"expected exactly one of insert, update and file, found {words.one_of(named)}")
    word = named[0]
    name = words.string(place.under(word), verb[word])
    if word == "file":
        for inner in _PLACEHOLDER.findall(name):
            _expression(place.under(word), inner, action)
    if word == "update" and not verb.get("where"):
        place.fail("`update` needs `where`, or every row would change")
    if word != "update" and "where" in verb:
        place.under("where").fail("belongs to `update` only")
    if not verb.get("set"):
        place.fail("needs `set`: what is written")
    return VerbSpec(
        action,
        word,  # type: ignore[arg-type]
        name,
        _expressions(place.under("set"), verb["set"], action),
        _expressions(place.under("where"), verb.get("where", {}), action),
        _ack(place.under("ack"), verb["ack"], action) if "ack" in verb else None,
    )


def _ack(place: Place, value: Any, action: str) -> AckSpec:
    ack = words.table(place, value)
    words.only(place, ack, ("table", "where", "done", "failed", "within"))
    for key in ("table", "where", "done", "within"):
        if not ack.get(key):
            place.fail(f"needs `{key}`")
    within = _WITHIN.fullmatch(str(ack["within"]))
    if within is None:
        place.under("within").fail('expected a duration such as "30s", "10m" or "2h"')
    return AckSpec(
        words.string(place.under("table"), ack["table"]),
        _expressions(place.under("where"), ack["where"], action),
        words.table(place.under("done"), ack["done"]),
        words.table(place.under("failed"), ack.get("failed", {})),
        float(int(within[1]) * _SECONDS[within[2]]),
    )


def _expressions(place: Place, value: Any, action: str) -> dict[str, Any]:
    return {name: _right(place.under(name), item, action) for name, item in words.table(place, value).items()}


def _right(place: Place, value: Any, action: str) -> Any:
    if isinstance(value, str):
        return _expression(place, value, action)
    if isinstance(value, dict):
        words.only(place, value, ("value",))
        return value.get("value")
    if isinstance(value, (bool, int)):
        return value
    found = words.kind_of(value)
    return place.fail(f'expected an expression such as "payment.remote_id" or {{ value = … }}, found {found}')


def _expression(place: Place, text: str, action: str) -> Expression:
    if not _EXPRESSION.fullmatch(text):
        place.fail(f'"{text}" is no expression; expected one such as "payment.remote_id", or {{ value = "{text}" }}')
    parts = tuple(text.split("."))
    _check_root(place, parts, action)
    return Expression(text, parts)


def _check_root(place: Place, parts: tuple[str, ...], action: str) -> None:
    root, rest = parts[0], parts[1:]
    inputs = _inputs(action)
    closed = {"amount": _AMOUNT, "run": _RUN}
    if root in closed:
        if len(rest) != 1 or rest[0] not in closed[root]:
            words.unknown(place, "expression", ".".join(parts), [f"{root}.{word}" for word in closed[root]])
    elif root in KINDS:
        fields = KINDS[root].fields
        if not rest or rest[0] not in fields:
            words.unknown(place, f"field of {root}", ".".join(rest), fields)
        if fields[rest[0]].fields and len(rest) > 1 and rest[1] not in fields[rest[0]].fields:
            words.unknown(place, f"field of {root}.{rest[0]}", rest[1], fields[rest[0]].fields)
    elif inputs is not None and root not in ("input", "fields") and root not in inputs:
        roots = [*KINDS, *closed, "input", "fields", *inputs]
        place.fail(f'unknown root "{root}"; {words.hint(root, roots)}; a constant is written {{ value = "{root}" }}')
    elif inputs is not None and root == "input" and (not rest or rest[0] not in inputs):
        words.unknown(place, f"input of {action}", ".".join(rest), inputs)


def _inputs(action: str) -> list[str] | None:
    """Name the input fields of an action, None if it is not in the catalogue (a plugin's)."""
    for known in CATALOGUE:
        if known.name == action:
            return [field.alias or name for name, field in known.model_fields.items()]
    return None


def bind(spec: VerbSpec, context: Mapping[str, Any], where: str) -> Verb:
    """
    Fill a verb's expressions from the context of a run.

    Raises MappingError if the context lacks a root, or a value that finds the row; Invalid for a value that is
    unsafe in a file name.
    """
    place = Place(where).at(f'actions."{spec.action}"')
    name = spec.name
    if spec.verb == "file":
        name = _PLACEHOLDER.sub(lambda match: _file_part(place, match[1], context), name)
    ack = None
    if spec.ack is not None:
        where_ack = _bound(place.under("ack.where"), spec.ack.where, context, needed=True)
        ack = Ack(spec.ack.table, where_ack, spec.ack.done, spec.ack.failed, spec.ack.within_s)
    return Verb(
        **{spec.verb: name},
        set=_bound(place.under("set"), spec.set, context),
        where=_bound(place.under("where"), spec.where, context, needed=True),
        ack=ack,
    )


def _bound(
    place: Place, spec: Mapping[str, Any], context: Mapping[str, Any], *, needed: bool = False
) -> dict[str, Any]:
    found = {}
    for name, item in spec.items():
        value = evaluate(place.under(name), item, context) if isinstance(item, Expression) else item
        if needed and value in (None, ""):
            said = item.text if isinstance(item, Expression) else item
            place.under(name).fail(f'"{said}" has no value; a row cannot be found by nothing')
        found[name] = value
    return found


def evaluate(place: Place, expression: Expression, context: Mapping[str, Any]) -> Any:
    """Give the value of an expression; null inside is null. Raises MappingError for a root that is not there."""
    root, *rest = expression.parts
    if root == "amount":
        return _amount(place, context.get("amount"), rest[0])
    value: Any = context.get(root, MISSING)
    if value is MISSING and isinstance(context.get("input"), Mapping):
        value = context["input"].get(root, MISSING)
    if value is MISSING:
        place.fail(f'"{expression.text}": there is no `{root}` in this action\'s context')
    for part in rest:
        if value is None:
            return None
        value = value.get(part) if isinstance(value, Mapping) else getattr(value, part, None)
    return value


def _amount(place: Place, value: Any, part: str) -> Any:
    if value is None:
        place.fail("this action has no amount")
    money = value if isinstance(value, Money) else Money(int(value["amount"]), currency_code(value["currency"]))
    return {"major": to_major(money), "minor": money.amount, "currency": money.currency}[part]


def _file_part(place: Place, text: str, context: Mapping[str, Any]) -> str:
    value = evaluate(place.under("file"), Expression(text, tuple(text.split("."))), context)
    part = str(value if value is not None else "")
    if not part or _UNSAFE.search(part) or part.startswith("."):
        raise Invalid(f"{place}: the value of {{{text}}} cannot be part of a file name", field_path=text)
    return part
