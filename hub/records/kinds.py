"""What is derived from the nouns: KINDS, their fields, ids and JSON schemas."""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from hub.records import nouns
from hub.records.declare import Noun, is_enum, strip


@dataclass(frozen=True)
class Field:
    """
    One field of a kind, as derived from its declaration.

    `type` is the bare type (str, int, bool, Decimal, datetime, Money, a StrEnum, or a Noun for an object); `many` says
    that the field is a list of it.
    """

    name: str
    type: Any
    many: bool = False
    ref: bool = False
    personal: bool = False
    fields: "dict[str, Field]" = field(default_factory=dict)

    @property
    def enum(self) -> type[StrEnum] | None:
        return self.type if is_enum(self.type) else None


@dataclass(frozen=True)
class Kind:
    """A noun of the unified model. `linked` kinds may have records in several connections."""

    name: str
    plural: str
    prefix: str
    struct: type[nouns.Record]
    linked: bool = False
    required: tuple[str, ...] = ()
    fields: dict[str, Field] = field(default_factory=dict)


def _fields(struct: type[Any]) -> dict[str, Field]:
    found = {}
    for name, hint in get_type_hints(struct, include_extras=True).items():
        bare, marks = strip(hint)
        ref, many = bool(marks.get("ref")), False
        if ref:
            many, bare = get_origin(bare) is list, dict
        elif get_origin(bare) is list:
            many, (bare, inner) = True, strip(get_args(bare)[0])
            marks |= inner
        inside = _fields(bare) if isinstance(bare, type) and issubclass(bare, Noun) else {}
        found[name] = Field(name, bare, many, ref, bool(marks.get("personal")), inside)
    return found


def _kind(
    struct: type[nouns.Record], plural: str, prefix: str, *, linked: bool = False, required: tuple[str, ...] = ()
) -> Kind:
    return Kind(struct.__name__.lower(), plural, prefix, struct, linked, required, _fields(struct))


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind(nouns.Customer, "customers", "cus", linked=True),
        _kind(nouns.Account, "accounts", "acc", linked=True),
        _kind(nouns.Order, "orders", "ord", linked=True),
        _kind(nouns.Payment, "payments", "pay"),
        _kind(nouns.Refund, "refunds", "ref"),
        _kind(nouns.Subscription, "subscriptions", "sub"),
        _kind(nouns.Ticket, "tickets", "tkt"),
        _kind(nouns.Message, "messages", "msg", required=("visibility",)),
        _kind(nouns.Agent, "agents", "agt"),
    )
}
KindName = Literal["customer", "account", "order", "payment", "refund", "subscription", "ticket", "message", "agent"]
PREFIXES = {kind.prefix: kind for kind in KINDS.values()}


def birth_id(kind: str, connection: str, table: str, remote_id: str) -> str:
    """Derive the hub id that a record's entity is born with; the same key gives the same id for ever."""
    digest = hashlib.blake2b(f"{connection}\0{table}\0{remote_id}".encode(), digest_size=15).digest()
    bits, pairs = int.from_bytes(digest, "big"), _PAIRS
    text = "".join([pairs[bits >> shift & 1023] for shift in _SHIFTS])
    return f"{KINDS[kind].prefix}_{text}"


# base32 in lower case, ten bits at a time: base64.b32encode costs three times as much, and every new record pays it
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [one + two for one in _ALPHABET for two in _ALPHABET]
_SHIFTS = range(110, -1, -10)


def json_schema(kind: str) -> dict[str, Any]:
    """Give the JSON schema of a kind as reads answer with it."""
    return msgspec.json.schema(KINDS[kind].struct)
