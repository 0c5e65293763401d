"""What SQLite says in its own way. Another database brings its own words for the same."""

from collections.abc import Iterable

import msgspec

ANY = "(SELECT value FROM json_each(?))"
"""Membership of a list given as one parameter: `id IN {ANY}` with `array(ids)`."""

_encode = msgspec.json.Encoder().encode


def array(values: Iterable[str | int]) -> str:
    """Give a list as one parameter for ANY."""
    return _encode(list(values)).decode()
