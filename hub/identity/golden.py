"""
The merged body of an entity: field by field the first value in the order of authority.

Contact data: CRM before billing before helpdesk; the login e-mail and the address and state of an order: the system of
record before all; billing: the billing system first; opt-outs: the most restrictive; language: the latest choice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Version:
    """What one connection says: the body of one live record, and what ranks it."""

    birth: str
    connection: str
    connector: str | None
    remote_id: str
    updated_at: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """A value of the merged body: whose it is, and by which rule it won."""

    value: Any
    version: Version
    rule: str


def read(body: bytes) -> dict[str, Any]:
    """Read a stored body."""
    return _decode(body)


def merge(kind: str, versions: Sequence[Version]) -> bytes:
    """Merge the bodies of an entity's live records, which come with the one that stands for it first."""
    merged: dict[str, Any] = {}
    for name, choice in choose(kind, versions).items():
        merged[name] = _with_connection(choice.value, choice.version.connection)
    merged["remote_id"] = versions[0].remote_id
    return _encode(merged)


def choose(kind: str, versions: Sequence[Version]) -> dict[str, Choice]:
    """Say for every field which record's value stands, and why."""
    fields = dict.fromkeys(name for version in versions for name in version.body)
    ranked: dict[tuple[str, ...], list[Version]] = {}
    chosen: dict[str, Choice] = {}
    for name in fields:
        if name.endswith("_raw") and name[:-4] in fields:
            continue
        order = _ORDERS.get(name, _RECORD_FIRST if kind == "order" else _CONTACT)
        if order not in ranked:
            ranked[order] = rank(versions, order)
        chosen[name] = _choice(name, ranked[order])
        if f"{name}_raw" in fields:
            version = chosen[name].version
            chosen[f"{name}_raw"] = Choice(version.body.get(f"{name}_raw"), version, chosen[name].rule)
    return chosen


def rank(versions: Sequence[Version], order: tuple[str, ...]) -> list[Version]:
    """Order by authority; of equal ones the newest first."""
    newest = sorted(sorted(versions, key=lambda v: v.birth), key=lambda v: v.updated_at, reverse=True)
    return sorted(newest, key=lambda v: _place(v.connector, order))


def _place(connector: str | None, order: tuple[str, ...]) -> int:
    role = _ROLE.get(connector or "", "")
    return order.index(role) if role in order else len(order)


def _choice(name: str, ranked: list[Version]) -> Choice:
    if name in ("created_at", "updated_at"):
        pick: Callable[..., Version] = min if name == "created_at" else max
        dated = [version for version in ranked if version.body.get(name)]
        best = pick(dated, key=lambda v: v.body[name]) if dated else ranked[0]
        return Choice(best.body.get(name), best, "earliest" if name == "created_at" else "latest")
    if name == "custom":
        return _custom(ranked)
    if name in _RESTRICTIVE:
        ranked, rule = sorted(ranked, key=lambda v: v.body.get(name) is not True), "most restrictive"
    elif name in _LATEST:
        ranked, rule = sorted(ranked, key=lambda v: v.updated_at, reverse=True), "latest"
    else:
        rule = "authority"
    for version in ranked:
        if version.body.get(name) not in (None, "", [], {}):
            return Choice(version.body[name], version, rule)
    return Choice(ranked[0].body.get(name), ranked[0], rule)


def _custom(ranked: list[Version]) -> Choice:
    value: dict[str, Any] = {}
    for version in reversed(ranked):
        value |= {k: v for k, v in (version.body.get("custom") or {}).items() if v is not None or k not in value}
    return Choice(value, ranked[0], "authority, name by name")


def _with_connection(value: Any, connection: str) -> Any:
    """Say in references to records which connection they are of."""
    for ref in references(value):
        if "table" in ref:
            ref["connection"] = connection
    return value


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
