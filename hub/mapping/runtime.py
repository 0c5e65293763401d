"""What generated code calls: coercions to the unified types, and the two faults of a record."""

from decimal import Decimal
from typing import Any

from hub.errors import HubError, Invalid
from hub.mapping.converters import decimal, json_text, text
from hub.mapping.times import exists, shown, sortable, time
from hub.money import currency_code, from_major

ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError, HubError)
"""What bad input raises, in the hub's code or in a plugin's converter: the record is rejected, the page goes on."""


class Bad(ValueError):
    """A record's fault, told by generated code."""


def reason(exc: Exception) -> str:
    """Say why a record was rejected."""
    if isinstance(exc, HubError):
        return exc.message
    if isinstance(exc, ValueError):
        return str(exc)
    return f"the converter failed: {type(exc).__name__}"


def key_text(value: Any) -> str | None:
    """
    Give an id as text; None for what can be no id.

    Strings are as they are, numbers plain digits: 1000, 1000.0 and 1e3 are one id. SQLite's JSON ends at a NUL, so that
    an id with one could be written but never found again.
    """
    if value.__class__ is str:
        return value if value and "\0" not in value else None
    if value.__class__ is int:
        return str(value)
    if not isinstance(value, Decimal) or not value.is_finite() or abs(value.adjusted()) > 40:
        return None
    return str(int(value)) if value == int(value) else format(value, "f")


def no_key(value: Any) -> Bad:
    """Say what is wrong with a key."""
    if isinstance(value, str) and "\0" in value:
        return Bad("the key holds a NUL character")
    return Bad(f"the key is {shown(value)}; expected a text or a whole number")


def no_meaning(raw: Any) -> Bad:
    """Say that a vendor's word is not mapped."""
    word = json_text(raw)
    said = f'"{word}"' if len(word) <= 60 else "a long text"
    return Bad(f"no meaning for {said}; add it under values")


def whole(value: Any) -> int | None:
    """Give an integer; numbers with a fraction and texts that are none are null."""
    if value.__class__ is int:
        return value
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < 40:
        return int(value) if value == int(value) else None
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal() and len(value) < 40:
        return int(value)
    return None


def truth(value: Any) -> bool | None:
    """Give a boolean as it is; anything else is null."""
    return value if value is True or value is False else None


def number(value: Any) -> str | None:
    """Give a decimal's plain text. Raises ValueError."""
    found = decimal(value)
    return None if found is None else format(found, "f")


def several(convert: Any, value: Any) -> list[Any] | None:
    """Coerce a list's elements; a single value becomes a list of one, nulls fall out."""
    if value is None:
        return None
    values = value if value.__class__ is list else [value]
    return [found for item in values if item is not None and (found := convert(item)) is not None]


def texts(value: Any) -> list[Any] | None:
    """Coerce to a list of texts; a list of nothing else is kept as it is."""
    if value.__class__ is list:
        for item in value:
            if item.__class__ is not str:
                break
        else:
            return value
    return several(text, value)


def meanings(value: Any, table: dict[str, list[Any]], other: list[Any] | None) -> list[Any] | None:
    """Look the words of a list (or one word) up; all that they mean together, null where no word means anything."""
    words = value if value.__class__ is list else [value]
    found = [table.get(json_text(word), other) for word in words if word is not None]
    return [item for meaning in found for item in meaning or ()] if any(m is not None for m in found) else None


def refs(value: Any, names: tuple[str, ...], fixed: tuple[str, ...]) -> list[dict[str, str]] | None:
    """Give references out of a list, or of one value: `fixed` for all names but the last, which is the value."""
    found = several(key_text if names[-1] == "remote_id" else text, value)
    return None if found is None else [dict(zip(names, (*fixed, item), strict=True)) for item in found if item]


def _currency(value: Any) -> str:
    if value is None or value == "":
        raise Bad("there is an amount but no currency; map `currency`, or give a default")
    try:
        return currency_code(value)
    except Invalid as exc:
        raise Bad(f"{exc.message}; found {shown(value)}") from exc


def minor(value: Any, currency: Any) -> dict[str, Any] | None:
    """Give money whose number already is in minor units. Raises ValueError."""
    if value.__class__ is not int:
        found = decimal(value)
        if found is None:
            return None
        if found != int(found):
            raise Bad(f"minor units are a whole number, found {shown(value)}")
        value = int(found)
    return {"amount": value, "currency": _currency(currency)}


def major(value: Any, currency: Any) -> dict[str, Any] | None:
    """Give money whose number is in major units (12.50). Raises ValueError."""
    found = decimal(value)
    if found is None:
        return None
    try:
        money = from_major(found, _currency(currency))
    except Invalid as exc:
        raise Bad(f"{exc.message}; found {shown(value)}") from exc
    return {"amount": money.amount, "currency": money.currency}


def stamp(value: Any) -> str | None:
    """Give a version time that sorts as text."""
    return None if value is None else sortable(value)


__all__ = [
    "ERRORS",
    "Bad",
    "exists",
    "json_text",
    "key_text",
    "major",
    "meanings",
    "minor",
    "no_key",
    "no_meaning",
    "number",
    "reason",
    "refs",
    "several",
    "stamp",
    "text",
    "texts",
    "time",
    "truth",
    "whole",
]  # fmt: skip
