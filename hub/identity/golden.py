"""
The merged body of an entity: field by field the first value in the order of authority.

Contact data: CRM before billing before helpdesk; the login e-mail and the address and state of an order: the system of
record before all; billing: the billing system first; opt-outs: the most restrictive; language: the latest choice.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

_ROLE = {
    "salesforce": "crm",
    "hubspot": "crm",
    "stripe": "billing",
    "zendesk": "helpdesk",
    "freshdesk": "helpdesk",
    "intercom": "helpdesk",
    "servicenow": "helpdesk",
    "legacy": "record",
}
_CONTACT = ("crm", "record", "billing", "helpdesk")
_RECORD_FIRST = ("record", "crm", "billing", "helpdesk")
_BILLING = ("billing", "record", "crm", "helpdesk")
_ORDERS: dict[str, tuple[str, ...]] = {
    "email": _RECORD_FIRST,
    "emails": _RECORD_FIRST,
    "verified_email": _RECORD_FIRST,
    "billing_address": _BILLING,
    "billing_balance": _BILLING,
    "billing_delinquent": _BILLING,
    "default_payment_method": _BILLING,
}
_RESTRICTIVE = frozenset(("opt_out_email", "do_not_call", "is_blocked"))
_LATEST = frozenset(("language",))
_SPECIAL = _RESTRICTIVE | _LATEST | {"created_at", "updated_at", "custom"}
_NOTHING: tuple[Any, ...] = (None, "", [], {})
_BIRTH, _UPDATED_AT = attrgetter("birth"), attrgetter("updated_at")
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class Version(NamedTuple):
    """What one connection says: the body of one live record, and what ranks it."""

    birth: str
    connection: str
    connector: str | None
    remote_id: str
    updated_at: str
    body: dict[str, Any]


class Choice(NamedTuple):
    """A value of the merged body: whose it is, and by which rule it won."""

    value: Any
    version: Version
    rule: str


def read(body: bytes) -> dict[str, Any]:
    """Read a stored body."""
    return _decode(body)


def write(body: dict[str, Any]) -> bytes:
    """Write a body as it is stored."""
    return _encode(body)


def merge(kind: str, versions: Sequence[Version]) -> dict[str, Any]:
    """Merge the bodies of an entity's live records, which come with the one that stands for it first."""
    merged: dict[str, Any] = {}
    for name, choice in choose(kind, versions).items():
        merged[name] = value = choice.value
        if value.__class__ is dict or value.__class__ is list:
            _name_connection(value, choice.version.connection)
    merged["remote_id"] = versions[0].remote_id
    return merged


def choose(kind: str, versions: Sequence[Version]) -> dict[str, Choice]:
    """Say for every field which record's value stands, and why."""
    fields = dict.fromkeys(name for version in versions for name in version.body)
    usual = _RECORD_FIRST if kind == "order" else _CONTACT
    ranked: dict[tuple[str, ...], list[Version]] = {}
    chosen: dict[str, Choice] = {}
    for name in fields:
        if name.endswith("_raw") and name[:-4] in fields:
            continue
        order = _ORDERS.get(name, usual)
        if order not in ranked:
            ranked[order] = rank(versions, order)
        choice = chosen[name] = _choice(name, ranked[order])
        raw = f"{name}_raw"
        if raw in fields:
            chosen[raw] = Choice(choice.version.body.get(raw), choice.version, choice.rule)
    return chosen


def rank(versions: Sequence[Version], order: tuple[str, ...]) -> list[Version]:
    """Order by authority; of equal ones the newest first."""
    ranked = sorted(versions, key=_BIRTH)
    ranked.sort(key=_UPDATED_AT, reverse=True)
    ranked.sort(key=lambda version: _place(version.connector, order))
    return ranked


def _place(connector: str | None, order: tuple[str, ...]) -> int:
    role = _ROLE.get(connector or "", "")
    return order.index(role) if role in order else len(order)


def _choice(name: str, ranked: list[Version]) -> Choice:
    if name not in _SPECIAL:
        for version in ranked:
            value = version.body.get(name)
            if value not in _NOTHING:
                return Choice(value, version, "authority")
        return Choice(ranked[0].body.get(name), ranked[0], "authority")
    return _special(name, ranked)


def _special(name: str, ranked: list[Version]) -> Choice:
    if name in ("created_at", "updated_at"):
        pick: Callable[..., Version] = min if name == "created_at" else max
        dated = [version for version in ranked if version.body.get(name)]
        best = pick(dated, key=lambda v: v.body[name]) if dated else ranked[0]
        return Choice(best.body.get(name), best, "earliest" if name == "created_at" else "latest")
    if name == "custom":
        return _custom(ranked)
    if name in _RESTRICTIVE:
        ranked, rule = sorted(ranked, key=lambda v: v.body.get(name) is not True), "most restrictive"
    else:
        ranked, rule = sorted(ranked, key=_UPDATED_AT, reverse=True), "latest"
    best = next((version for version in ranked if version.body.get(name) not in _NOTHING), ranked[0])
    return Choice(best.body.get(name), best, rule)


def _custom(ranked: list[Version]) -> Choice:
    value: dict[str, Any] = {}
    for version in reversed(ranked):
        value |= {k: v for k, v in (version.body.get("custom") or {}).items() if v is not None or k not in value}
    return Choice(value, ranked[0], "authority, name by name")


def _name_connection(value: Any, connection: str) -> None:
    """Say in references to records which connection they are of."""
    for ref in references(value):
        if "table" in ref:
            ref["connection"] = connection


def references(value: Any) -> Iterator[dict[str, Any]]:
    """Find the references inside a value, wherever they are."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        if value.keys() >= {"table", "remote_id"} or value.keys() >= {"kind", "by", "value"}:
            yield value
        else:
            for item in value.values():
                yield from references(item)
