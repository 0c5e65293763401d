"""Times of every vendor's spelling become RFC 3339 in UTC, without loss above a microsecond."""

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_ISO = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)"
    r"(?:[Tt ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?\s?([Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?)?)?"
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
exists = datetime.fromisoformat
"""Raises ValueError for a time that no clock shows."""


def iso(moment: datetime) -> str:
    """Write an aware time as RFC 3339 UTC: no fraction, milliseconds or microseconds, whichever is exact."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    if moment.microsecond:
        text = text[:-3] if text.endswith("000") else text
    return f"{text}Z"


def sortable(text: str) -> str:
    """Widen a time made by `iso` to microseconds, so that texts sort as times do."""
    if len(text) == 20:
        return f"{text[:19]}.000000Z"
    return f"{text[:-1]}000Z" if len(text) == 24 else text


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """Find a time zone by its IANA name. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ValueError(f'no time zone "{name}"') from exc


def _offset(text: str) -> timezone:
    if text[0] not in "+-":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    delta = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-delta if text[0] == "-" else delta)


def parse_iso(text: str, zone: str | None = None) -> datetime:
    """Read ISO 8601 as vendors write it; a time without a zone is in `zone`, else UTC. Raises ValueError."""
    match = _ISO.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{shown(text)} is no ISO 8601 time")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    micro = int(((fraction or "") + "000000")[:6])
    clock = (int(hour or 0), int(minute or 0), int(second or 0), micro)
    local = zone_of(zone) if zone and not offset else UTC
    try:
        moment = datetime(int(year), int(month), int(day), *clock, tzinfo=_offset(offset) if offset else local)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise ValueError(f"{shown(text)} is no time that exists") from exc


def time(value: Any) -> str | None:
    """Give RFC 3339 UTC for ISO 8601 text; blank is null. Raises ValueError, for numbers too."""
    if value.__class__ is str:
        # Salesforce ends every time in .000+0000
        text: str = f"{value[:19]}Z" if len(value) == 28 and value[19:] == ".000+0000" else value
        if len(text) == 20 and text[19] == "Z" and text[10] == "T" and text[13] == ":":
            try:
                exists(text)
            except ValueError as exc:
                raise ValueError(f"{shown(value)} is no time that exists") from exc
            return text
        return iso(parse_iso(value)) if value.strip() else None
    said = 'for numbers say as = "epoch_seconds" or "epoch_millis"'
    raise ValueError(f"a time is ISO 8601 text, found {shown(value)}; {said}")


def epoch(value: Any, per_s: int) -> str:
    """Give RFC 3339 UTC for seconds (or `per_s` parts of one) since 1970. Raises ValueError."""
    number = _number(value)
    try:
        micros = int(number * (1_000_000 // per_s))
        return iso(EPOCH + timedelta(microseconds=micros))
    except (OverflowError, ValueError, ArithmeticError) as exc:
        raise ValueError(f"{shown(value)} is out of the range of times") from exc


def _number(value: Any) -> Decimal | int:
    if value.__class__ is int:
        return value
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < 30:
        return value
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,20}(\.\d{1,12})?", value.strip()):
        return Decimal(value.strip())
    raise ValueError(f"{shown(value)} is no number of seconds")


def from_format(text: str, pattern: str, zone: str | None) -> datetime:
    """Read a time by a strptime pattern. Raises ValueError."""
    try:
        moment = datetime.strptime(text.strip(), pattern)
    except ValueError as exc:
        raise ValueError(f'{shown(text)} does not fit "{pattern}"') from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=zone_of(zone) if zone else UTC)


def as_datetime(value: Any) -> datetime:
    """Read a unified time: an aware datetime, or its RFC 3339 text. Raises ValueError."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, str):
        return parse_iso(value)
    raise ValueError(f"{shown(value)} is no time")


_PLAIN = re.compile(r"[0-9TtZz:.,+\-/ ]{1,40}")


def shown(value: Any) -> str:
    """Show a value in a reject's reason: numbers and dates as they are, of anything else only the type."""
    if value is True or value is False:
        return str(value).lower()
    if isinstance(value, (int, Decimal)):
        return str(value)[:40]
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return f'"{value}"'
    names = {str: "a text", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), f"a {type(value).__name__}") if value != "" else "an empty text"
