"""The values of a mapped body that reads filter by and that identity compares, read from the body itself."""

import re

import msgspec

from hub.store import Sources, Tx


class Ref(msgspec.Struct):
    """A reference as bodies hold it: to a record (table, remote_id), or to an entity (kind, by, value)."""

    table: str | None = None
    remote_id: str | None = None
    kind: str | None = None
    by: str | None = None
    value: str | None = None


class Promoted(msgspec.Struct):
    """What is read of a body; whatever kind it is of, what it does not have is None."""

    updated_at: str | None = None
    created_at: str | None = None
    status: str | None = None
    display_name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    name: str | None = None
    email: str | None = None
    phone: str | None = None
    number: str | None = None
    external_ref: str | None = None
    url: str | None = None
    domains: list[str] | None = None
    customer_ref: Ref | None = None
    ticket_ref: Ref | None = None
    payment_ref: Ref | None = None
    order_ref: Ref | None = None


decode = msgspec.json.Decoder(Promoted).decode
_NO_DIGIT = re.compile(r"\D+")


def email_key(value: str | None) -> str | None:
    """Give an e-mail address in the form it is compared in."""
    return value.strip().lower() or None if value else None


def phone_key(value: str | None) -> str | None:
    """Give a phone number in the form it is compared in: digits with the country's first, no prefix."""
    return _NO_DIGIT.sub("", value).removeprefix("00") or None if value else None


def full_name(found: Promoted) -> str | None:
    """Give the name of a person or an organisation, put together where only parts are there."""
    if found.display_name or found.name:
        return found.display_name or found.name
    return " ".join(filter(None, (found.given_name, found.family_name))) or None


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
        self._ids: dict[str, int] = {}

    def of(self, ref: Ref | None) -> str | None:
        if ref is None:
            return None
        if ref.table is not None:
            return f"{self._ids.get(ref.table) or self._find(ref.table)}:{ref.remote_id}"
        return entity_key(ref.kind or "", ref.by or "", ref.value or "")

    def _find(self, table: str) -> int:
        self._ids[table] = found = self._sources.mention(self._tx, self._connection, table).id
        return found
