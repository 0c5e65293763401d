"""The values of mapped records that reads filter by and that identity compares, a page at a time, column by column."""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from hub.store import Sources, Tx, clock
from hub.store.columns import Column

if TYPE_CHECKING:
    from hub.mapping import Row


_NO_DIGIT = re.compile(r"\D+")


def email_key(value: str | None) -> str | None:
    """Give an e-mail address in the form it is compared in."""
    return value.strip().lower() or None if value else None


def phone_key(value: str | None) -> str | None:
    """Give a phone number in the form it is compared in: digits with the country's first, no prefix."""
    return _NO_DIGIT.sub("", value).removeprefix("00") or None if value else None


def entity_key(kind: str, by: str, value: str) -> str:
    """Give a reference to an entity in the form it is filtered by."""
    return f"{kind}.{by}={comparable(by, value)}"


def comparable(by: str, value: str) -> str:
    """Give the value of a unified field in the form its column has."""
    normal = {"email": email_key, "phone": phone_key}.get(by)
    return (normal(value) if normal else value) or value


class Keys:
    """Turns references into the form they are filtered by: `source:remote_id`."""

    def __init__(self, tx: Tx, sources: Sources, connection: str) -> None:
        self._tx, self._sources, self._connection = tx, sources, connection
        self._places: dict[str, str] = {}

    def of(self, ref: dict[str, Any] | None) -> str | None:
        if ref is None:
            return None
        table = ref.get("table")
        if table is None:
            return entity_key(ref["kind"], ref["by"], ref["value"])
        return f"{self._places.get(table) or self._place(table)}{ref['remote_id']}"

    def _place(self, table: str) -> str:
        self._places[table] = place = f"{self._sources.mention(self._tx, self._connection, table).id}:"
        return place


_NOTHING: Column = repeat(None)


class Values:
    """What the rows of a table hand out, by field."""

    def __init__(self, names: Sequence[str], rows: Sequence["Row"]) -> None:
        self._by_name = dict(zip(names, zip(*[row.promoted for row in rows], strict=True), strict=bool(rows)))

    def of(self, name: str) -> Column | None:
        """Give a field's values, None where the table does not fill it."""
        return self._by_name.get(name)

    def columns(self, keys: Keys) -> tuple[Column, ...]:
        """Give what reads filter by, in the order of the statements; a column may be endless."""
        plain = self._by_name.get
        return (
            plain("status", _NOTHING),
            self._names(),
            self._made("email", email_key),
            self._made("phone", phone_key),
            plain("number", _NOTHING),
            self._made("external_ref", _or_none),
            self._made("customer_ref", keys.of),
            self._parents(keys),
            plain("url", _NOTHING),
        )

    def times(self, versions: Sequence[str | None], read_at: Iterable[int]) -> Column:
        """Give when each record changed: its version, else what it says itself, else when it was read."""
        if None not in versions:
            return versions
        told = _first(self.of("updated_at"), self.of("created_at"))
        return [
            version or clock.sortable(said or clock.from_millis(read_ms))
            for version, said, read_ms in zip(versions, told, read_at, strict=False)
        ]

    def _made(self, name: str, make: Callable[[Any], Any]) -> Column:
        column = self.of(name)
        return _NOTHING if column is None else map(make, column)

    def _names(self) -> Column:
        """Give the name of a person or an organisation, put together where only parts are there."""
        whole = _first(self.of("display_name"), self.of("name"))
        given, family = self.of("given_name"), self.of("family_name")
        if given is None and family is None:
            return whole
        parts = zip(given or _NOTHING, family or _NOTHING, strict=False)
        return [name or " ".join(filter(None, part)) or None for part, name in zip(parts, whole, strict=False)]

    def _parents(self, keys: Keys) -> Column:
        parents = _first(*map(self.of, ("ticket_ref", "payment_ref", "order_ref")))
        return parents if parents is _NOTHING else map(keys.of, parents)


def _or_none(value: str | None) -> str | None:
    return value or None


def _first(*columns: Column | None) -> Column:
    """Give, row by row, the first value that there is; endless if no column is there."""
    there = [column for column in columns if column is not None]
    if not there:
        return _NOTHING
    return map(_or_none, there[0]) if len(there) == 1 else [_any(values) for values in zip(*there, strict=True)]


def _any(values: Iterable[Any]) -> Any:
    return next(filter(None, values), None)
