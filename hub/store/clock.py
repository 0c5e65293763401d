"""Times as the store keeps them: RFC 3339 UTC text, or milliseconds since 1970 where they are compared often."""

from datetime import UTC, datetime


def now() -> datetime:
    """Give the time, aware and UTC."""
    return datetime.now(UTC)


def text(moment: datetime) -> str:
    """Write a time as RFC 3339 UTC with microseconds; texts sort as times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def millis(moment: datetime) -> int:
    """Write a time as milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def from_millis(value: int) -> str:
    """Write milliseconds since 1970 as RFC 3339 UTC."""
    return text(datetime.fromtimestamp(value / 1000, UTC))


def sortable(value: str) -> str:
    """Give an RFC 3339 UTC time of a body with microseconds, so that texts sort as times do."""
    if len(value) == len("2026-01-01T00:00:00.000000Z"):
        return value
    head, _, fraction = value.removesuffix("Z").partition(".")
    return f"{head}.{fraction:0<6}Z"
