"""The closed list of converters (`as = "…"`): what each takes, whether it can be inverted, and how."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

from hub.mapping import texts, times
from hub.mapping.times import shown

_encode = msgspec.json.encode


@dataclass(frozen=True)
class Converter:
    """
    A converter: `convert(value, **options)`, null never reaches it.

    `takes` says whether it works on one value (a list is converted element by element) or on a list. `inverse` has
    the same options; None means that it cannot be inverted.
    """

    name: str
    convert: Callable[..., Any]
    takes: Literal["one", "many"] = "one"
    options: tuple[str, ...] = ()
    inverse: Callable[..., Any] | None = None
    about: str = ""


@dataclass(frozen=True)
class Step:
    """A converter with its options, as a rule of a mapping uses it."""

    converter: Converter
    options: Mapping[str, Any] = field(default_factory=dict)

    def forward(self) -> Callable[[Any], Any]:
        """Bind the options; a list is converted element by element where the converter takes one value."""
        convert = _bound(self.converter.convert, self.options)
        if self.converter.takes == "many":
            return lambda value: convert(value if value.__class__ is list else [value])
        return lambda value: _each(convert, value) if value.__class__ is list else convert(value)

    def backward(self) -> Callable[[Any], Any] | None:
        """Bind the options of the inverse, or None."""
        return None if self.converter.inverse is None else _bound(self.converter.inverse, self.options)


def _bound(function: Callable[..., Any], options: Mapping[str, Any]) -> Callable[[Any], Any]:
    return (lambda value: function(value, **options)) if options else function


def _each(convert: Callable[[Any], Any], values: list[Any]) -> list[Any]:
    return [convert(value) for value in values if value is not None]


def text(value: Any) -> str | None:
    """Give a scalar's JSON text, a string as it is; None for null, lists and objects."""
    if value.__class__ is str or value is None:
        return value
    if value is True or value is False:
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, Decimal)) else None


def json_text(value: Any) -> str:
    """Give the JSON text by which values compare: strings bare, null as `null`."""
    scalar = text(value)
    if scalar is not None:
        return scalar
    return "null" if value is None else _encode(value).decode()


def _string(value: Any) -> str:
    scalar = text(value)
    if scalar is None:
        raise ValueError(f"a text is needed, found {shown(value)}")
    return scalar


_BOOLS = dict.fromkeys("true yes y t 1 on".split(), True) | dict.fromkeys("false no n f 0 off".split(), False)


def _bool(value: Any) -> bool | None:
    if value is True or value is False:
        return value is True
    word = _string(value).strip().lower()
    if not word:
        return None
    if word not in _BOOLS:
        raise ValueError(f"{shown(value)} is no boolean; known: {', '.join(_BOOLS)}")
    return _BOOLS[word]


def decimal(value: Any) -> Decimal | None:
    """Read a number exactly; text may have spaces around, an empty one is null. Raises ValueError."""
    if value is True or value is False or not isinstance(value, (int, str, Decimal)):
        raise ValueError(f"a number is needed, found {shown(value)}")
    if isinstance(value, str) and not value.strip():
        return None
    try:
        number = Decimal(value.strip() if isinstance(value, str) else value)
    except InvalidOperation as exc:
        raise ValueError(f"a number is needed, found {shown(value)}") from exc
    if not number.is_finite() or abs(number.adjusted()) > 40:
        raise ValueError(f"{shown(value)} is out of range")
    return number


def _int(value: Any) -> int | None:
    number = decimal(value)
    if number is None:
        return None
    if number != int(number):
        raise ValueError(f"a whole number is needed, found {shown(value)}")
    return int(number)


def _date(value: Any) -> str | None:
    raw = _string(value)
    return times.parse_iso(raw).date().isoformat() if raw.strip() else None


def _iso8601(value: Any, zone: str | None = None) -> str | None:
    raw = _string(value)
    return times.iso(times.parse_iso(raw, zone)) if raw.strip() else None


def _datetime(value: Any, format: str | None = None, zone: str | None = None) -> str | None:
    raw = _string(value)
    if not raw.strip():
        return None
    return times.iso(times.from_format(raw, format, zone) if format else times.parse_iso(raw, zone))


def _write_datetime(value: Any, format: str | None = None, zone: str | None = None) -> str:
    moment = times.as_datetime(value)
    local = moment.astimezone(times.zone_of(zone)) if zone else moment
    return local.strftime(format) if format else local.isoformat().replace("+00:00", "Z")


def _write_epoch(per_s: int) -> Callable[[Any], int]:
    def write(value: Any) -> int:
        delta = times.as_datetime(value) - times.EPOCH
        return (delta.days * 86_400 + delta.seconds) * per_s + delta.microseconds * per_s // 1_000_000

    return write


def _split(value: Any, sep: str = ",", index: int | None = None, limit: int = -1) -> list[str] | str | None:
    parts = [part.strip() for part in _string(value).split(sep, limit)]
    if index is None:
        return [part for part in parts if part]
    return parts[index] or None if -len(parts) <= index < len(parts) else None


def _unsplit(value: Any, sep: str = ",", index: int | None = None, limit: int = -1) -> str:
    return sep.join(_string(item) for item in value)


def _join(values: list[Any], sep: str = ",") -> str | None:
    return sep.join(_string(value) for value in values if value not in (None, "")) or None


def _unjoin(value: str, sep: str = ",") -> list[str]:
    return [part for part in value.split(sep) if part]


def _first_text(values: list[Any]) -> str | None:
    return next((found for value in values if (found := text(value)) and found.strip()), None)


def _name_join(values: list[Any]) -> str | None:
    return " ".join(word.strip() for value in values if (word := text(value)) and word.strip()) or None


def _comparable(values: list[Any]) -> list[Any]:
    found = [value for value in values if value is not None]
    if any(isinstance(value, (bool, list, dict)) for value in found):
        raise ValueError("only numbers and texts have an order")
    return found if not any(isinstance(v, str) for v in found) else [_string(value) for value in found]


def _sum(values: list[Any]) -> Decimal | int | None:
    numbers = [number for value in values if value is not None and (number := decimal(value)) is not None]
    total = sum(numbers, Decimal(0))
    if not numbers:
        return None
    return int(total) if total == int(total) else total


def _same(value: Any, **_: Any) -> Any:
    return value


def _lower(value: Any) -> str:
    return _string(value).lower()


BUILTIN: dict[str, Converter] = {
    converter.name: converter
    for converter in (
        Converter("string", _string, inverse=_same, about="a scalar's JSON text"),
        Converter("strip", lambda v: _string(v).strip() or None, inverse=_same, about="trimmed; empty is null"),
        Converter("lower", _lower, inverse=_same, about="lower case"),
        Converter("upper", lambda v: _string(v).upper(), inverse=_same, about="upper case"),
        Converter("bool", _bool, inverse=_same, about="true/false, yes/no, 1/0, on/off, y/n, t/f"),
        Converter("int", _int, inverse=_same, about="a whole number; an empty text is null"),
        Converter("decimal", decimal, inverse=_same, about="an exact number; an empty text is null"),
        Converter("epoch_seconds", lambda v: times.epoch(v, 1), inverse=_write_epoch(1), about="seconds since 1970"),
        Converter("epoch_millis", lambda v: times.epoch(v, 1000), inverse=_write_epoch(1000), about="milliseconds"),
        Converter("iso8601", _iso8601, options=("zone",), inverse=_same, about="ISO 8601 as vendors vary it"),
        Converter("date", _date, inverse=_same, about="the date of a time"),
        Converter("datetime", _datetime, "one", ("format", "zone"), _write_datetime, "a strptime format in a zone"),
        Converter("split", _split, "one", ("sep", "index", "limit"), _unsplit, "a list out of a text, or one part"),
        Converter("join", _join, "many", ("sep",), _unjoin, "a text out of several"),
        Converter("email", lambda v: texts.email(_string(v)), inverse=_same, about="lower case; null if none"),
        Converter("phone", lambda v, region=None: texts.phone(_string(v), region), "one", ("region",), _same, "E.164"),
        Converter("country", lambda v: texts.country(_string(v)), inverse=_same, about="ISO 3166-1 alpha-2; else null"),
        Converter("language", lambda v: texts.language(_string(v)), inverse=_same, about="BCP 47; else null"),
        Converter("html_to_text", lambda v: texts.html_to_text(_string(v)), about="the text of HTML"),
        Converter("first_text", _first_text, "many", about="the first that is not blank"),
        Converter("name_join", _name_join, "many", about="the words that are there, with a space between"),
        Converter("min", lambda v: min(_comparable(v), default=None), "many", about="the smallest"),
        Converter("max", lambda v: max(_comparable(v), default=None), "many", about="the largest"),
        Converter("sum", _sum, "many", about="the sum"),
    )
}


def catalogue(plugins: Mapping[str, Callable[..., Any]]) -> dict[str, Converter]:
    """
    Give all converters by name, the plugins' among them.

    A plugin's function takes the value and its options as keywords; its attribute `inverse` makes it writable, and
    `takes = "many"` gives it a list whole, or several inputs.
    """
    return BUILTIN | {name: _plugin(name, function) for name, function in plugins.items() if name not in BUILTIN}


def _plugin(name: str, function: Callable[..., Any]) -> Converter:
    options = tuple(inspect.signature(function).parameters)[1:]
    about = re.sub(r"\s+", " ", (inspect.getdoc(function) or "").split("\n\n")[0])
    takes: Any = getattr(function, "takes", "one")
    return Converter(name, function, takes, options, getattr(function, "inverse", None), about)
