"""What is derived from the nouns: KINDS, their fields, ids and JSON schemas."""

import hashlib
from collections.abc import Sequence
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
    return birth_ids(kind, connection, table, (remote_id,))[0]


def birth_ids(kind: str, connection: str, table: str, remote_ids: Sequence[str]) -> list[str]:
    """
    Derive the ids of many records of one table.

    Ids of records whose remote ids differ in the last three characters only begin alike: such records mostly come
    together, and so land together in the index by id, instead of one on every page of it.
    """
    key = f"{connection}\0{table}\0".encode()
    start = KINDS[kind].prefix.encode() + b"_"
    near: dict[str, bytes] = {}
    whole, born = hashlib.blake2b(key, digest_size=20), []
    for remote_id in remote_ids:
        area = remote_id[:-3]
        if area not in near:
            near[area] = start + hashlib.blake2b(key + area.encode(), digest_size=4).digest().translate(_LETTERS)
        own = whole.copy()
        own.update(remote_id.encode())
        born.append((near[area] + own.digest().translate(_LETTERS)).decode())
    return born


# base32 in lower case, five bits of each byte: ten times as fast as packing them, and every new record pays it
_LETTERS = b"abcdefghijklmnopqrstuvwxyz234567" * 8


def json_schema(kind: str) -> dict[str, Any]:
    """Give the JSON schema of a kind as reads answer with it."""
    return msgspec.json.schema(KINDS[kind].struct)
