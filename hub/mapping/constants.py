"""What a field holds, and whether a constant in a mapping file fits it."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from hub.errors import Invalid
from hub.mapping import words
from hub.mapping.converters import decimal
from hub.mapping.times import time
from hub.mapping.words import Place
from hub.money import Money, currency_code
from hub.records import Field

ANYTHING = object
"""The type of a field that takes any JSON value (`custom`)."""
Shape = Literal["ref", "enum", "object", "money", "time", "decimal", "int", "bool", "text", "any"]
_SHAPES: dict[Any, Shape] = {
    Money: "money", datetime: "time", Decimal: "decimal", int: "int", bool: "bool", str: "text",
}  # fmt: skip


def shape_of(field: Field) -> Shape:
    """Name what a field (an element of it, if it is a list) holds."""
    if field.ref:
        return "ref"
    if field.enum is not None:
        return "enum"
    return "object" if field.fields else _SHAPES.get(field.type, "any")


def check_constant(place: Place, value: Any, field: Field) -> Any:
    """Give a constant as bodies hold it. Raises MappingError if the field cannot hold it."""
    if field.many:
        items = value if isinstance(value, list) else [value]
        return [_one(place, item, field) for item in items]
    return _one(place, value, field)


def _one(place: Place, value: Any, field: Field) -> Any:
    shape = shape_of(field)
    if shape == "enum":
        return _enum(place, value, field)
    if shape == "any":
        return str(value) if isinstance(value, (float, datetime)) else value
    if shape == "text" and isinstance(value, str):
        return value
    if (shape == "bool" and isinstance(value, bool)) or (shape == "int" and type(value) is int):
        return value
    if shape == "decimal" and type(value) in (int, str):
        return _tried(place, lambda: format(decimal(value) or Decimal(0), "f"), "a decimal number")
    if shape == "time" and isinstance(value, str):
        return _tried(place, lambda: time(value), "an ISO 8601 time")
    if shape == "money" and isinstance(value, dict):
        return _money(place, value)
    return place.fail(f"expected {_WANTED[shape]}, found {words.kind_of(value)}")


_WANTED = {
    "text": "a string", "bool": "true or false", "int": "a whole number", "decimal": 'a decimal in quotes ("1.5")',
    "time": 'an ISO 8601 time in quotes', "money": '{ amount = 1250, currency = "EUR" }',
    "ref": "a rule with `ref`", "object": "a table of its parts", "enum": "a string", "any": "a value",
}  # fmt: skip


def _enum(place: Place, value: Any, field: Field) -> str:
    allowed = [member.value for member in field.enum] if field.enum else []
    if value not in allowed or not isinstance(value, str):
        found = f'"{value}"' if isinstance(value, (str, int)) else words.kind_of(value)
        place.fail(f"{found} is no value of {field.name}; {words.hint(str(value), allowed)}")
    return value


def _money(place: Place, value: dict[str, Any]) -> dict[str, Any]:
    words.only(place, value, ("amount", "currency"))
    if type(value.get("amount")) is not int:
        found = words.kind_of(value.get("amount"))
        place.under("amount").fail(f"expected minor units as a whole number, found {found}")
    code = _tried(place, lambda: currency_code(value.get("currency", "")), "a currency such as EUR")
    return {"amount": value["amount"], "currency": code}


def _tried(place: Place, make: Any, wanted: str) -> Any:
    try:
        return make()
    except (ValueError, Invalid) as exc:
        words_ = exc.message if isinstance(exc, Invalid) else str(exc)
        place.fail(f"expected {wanted}: {words_}")
