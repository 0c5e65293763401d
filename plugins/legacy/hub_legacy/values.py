"""Values of columns: what they are, how they become JSON, how a cursor keeps them, how text becomes one again."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import msgspec

encode = msgspec.json.Encoder(enc_hook=str).encode
_NO_TIMES = ("infinity", "-infinity", "0000-00-00")
"""How Postgres and MySQL write times that are none; they go back to the database as they came."""
_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "uuid": UUID,
}


def sort_of(column_type: Any) -> str:
    """Name the sort of a reflected column type, `padded` for text of one length, `other` for what nobody else knows."""
    from sqlalchemy import types

    known: tuple[tuple[Any, str], ...] = (
        (types.LargeBinary, "binary"),
        (types.BINARY, "binary"),
        (types.VARBINARY, "binary"),
        (types.Boolean, "boolean"),
        (types.DateTime, "datetime"),
        (types.Date, "date"),
        (types.Time, "time"),
        (types.Interval, "interval"),
        (types.Float, "float"),
        (types.Numeric, "decimal"),
        (types.Integer, "integer"),
        (types.JSON, "json"),
        (types.Uuid, "uuid"),
        (types.CHAR, "padded"),
        (types.NCHAR, "padded"),
        (types.String, "text"),
    )
    found = next((sort for cls, sort in known if isinstance(column_type, cls)), "other")
    return "binary" if found == "other" and _is_bytes(column_type) else found


def _is_bytes(column_type: Any) -> bool:
    """Say whether a database's own type holds bytes, as SQL Server's rowversion does."""
    try:
        return bool(column_type.python_type is bytes)
    except NotImplementedError:
        return False


def reader(sort: str, scale: int | None, zone: tzinfo) -> Callable[[Any], Any] | None:
    """Give the function that makes a column's values fit for JSON, or None where they are so already."""
    if sort == "datetime":
        return lambda value: utc_text(value, zone)
    if sort == "decimal":
        return lambda value: exact(value, whole=scale == 0)
    if sort == "time":
        return _clock
    if sort == "padded":
        return lambda value: value.rstrip(" ") if isinstance(value, str) else value
    if sort == "boolean":
        return lambda value: bool(value) if value in (0, 1) else value
    if sort in ("integer", "text", "uuid", "date", "float", "json"):
        return None
    return plain


def plain(value: Any) -> Any:
    """Leave out bytes; give times and intervals as text, and sets in an order that does not change."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return None
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if isinstance(value, timedelta):
        return str(value.total_seconds())
    return value.isoformat() if isinstance(value, time) else value


def _clock(value: Any) -> Any:
    """Give a time of day; MySQL's, which may be a span of days or negative, in its own notation."""
    if not isinstance(value, timedelta):
        return plain(value)
    minutes, seconds = divmod(abs(int(value.total_seconds())), 60)
    sign = "-" if value < timedelta(0) else ""
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"


def utc_text(value: Any, zone: tzinfo) -> Any:
    """Give a time as RFC 3339 in UTC; a time without a zone is one of `zone`. What is no time stays as it is."""
    moment = as_time(value, zone)
    return value if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def as_time(value: Any, zone: tzinfo) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=zone)


def turned_back(value: Any, zone: tzinfo) -> timedelta:
    """Say by how much the clocks of a zone were put back at a time that they showed twice; nothing for all others."""
    try:
        naive = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return timedelta(0)
    if not isinstance(naive, datetime) or naive.tzinfo is not None:
        return timedelta(0)
    first, second = (naive.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta(0) for fold in (0, 1))
    return max(first - second, timedelta(0))


def exact(value: Any, *, whole: bool = False) -> Any:
    """Give a decimal as text, digit by digit; one of a column without decimals as an integer."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if whole else str(value)
    if isinstance(value, float):  # SQLite has no decimals: the shortest text of its double is what was written
        value = Decimal(repr(value))
    if not isinstance(value, Decimal):
        return value
    if whole and value.is_finite() and abs(value) < 2**63:
        return int(value)
    return format(value, "f")


def shown(value: Any) -> Any:
    """Give a column's value as JSON may hold it, as an effect tells it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return exact(value) if isinstance(value, Decimal) else freeze(value)


def freeze(value: Any) -> Any:
    """Make a column's value fit for a cursor."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return str(value) if isinstance(value, (Decimal, UUID)) else value


def thaw(value: Any, sort: str, *, native: bool) -> Any:
    """
    Turn text of a cursor, an id or a mapping into a value for a column of this sort.

    `native` is False where the database keeps times and decimals as it likes (SQLite). Raises ValueError.
    """
    if value is None or isinstance(value, bool):
        return value
    if sort == "integer":
        return _whole(value)
    if sort == "binary":
        return bytes.fromhex(value)
    if sort == "float":
        return float(value)
    if sort in ("text", "padded"):
        return value if isinstance(value, str) else str(value)
    return _native(value, sort) if native else value


def _whole(value: Any) -> int:
    whole = int(value)
    if not isinstance(value, str) and whole != value:
        raise ValueError("not a whole number")
    return whole


def _native(value: Any, sort: str) -> Any:
    try:
        if sort == "decimal":
            return Decimal(str(value))
    except InvalidOperation as exc:
        raise ValueError("no number") from exc
    if isinstance(value, str) and not value.startswith(_NO_TIMES):
        return _FROM_TEXT[sort](value) if sort in _FROM_TEXT else value
    return value


def in_zone(value: Any, zone: tzinfo, *, aware: bool, native: bool) -> Any:
    """Give a time as a column keeps it: with its zone, or (`aware` is False) as the clock of `zone` shows it."""
    moment = as_time(value, zone)
    if moment is None:
        return value
    if not native:
        return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    return moment if aware else moment.astimezone(zone).replace(tzinfo=None)


def same(stored: Any, wanted: Any) -> bool:
    """
    Say whether a stored value is the wanted one, whatever form the database gave it.

    Two texts are the same letter by letter ("007" is not "7"), but for blanks at the end, which fill CHAR columns up;
    a number and a text by what they count.
    """
    if stored is None or wanted is None:
        return stored is wanted
    if isinstance(stored, str) and isinstance(wanted, str):
        return stored.rstrip(" ") == wanted.rstrip(" ")
    if isinstance(stored, bool) or isinstance(wanted, bool):
        return str(int(stored)) == str(int(wanted)) if isinstance(stored, int) and isinstance(wanted, int) else False
    left, right = str(exact(stored)), str(exact(wanted))
    if left == right or stored == wanted:
        return True
    try:
        return Decimal(left) == Decimal(right)
    except InvalidOperation:
        return False
