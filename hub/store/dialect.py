"""What SQLite says in its own way. Another database brings its own words for the same."""

from collections.abc import Iterable

import msgspec

ANY = "(SELECT value FROM json_each(?))"
"""Membership of a list given as one parameter: `id IN {ANY}` with `array(ids)`."""

EACH = "json_each(?)"
"""The same list as rows with a column `value`: `FROM {EACH} AS wanted`."""

_encode = msgspec.json.Encoder().encode


def using(index: str) -> str:
    """Name the index that a statement must take: `FROM record {using("record_email")}`."""
    return f"INDEXED BY {index}"


def array(values: Iterable[str | int]) -> str:
    """Give a list as one parameter for ANY."""
    return _encode(list(values)).decode()
