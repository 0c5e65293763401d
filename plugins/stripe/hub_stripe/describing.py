"""Which fields Stripe's objects have: those that the SDK declares, and what other API versions send."""

import typing
from typing import Any, Literal

from hub import Field, Invalid

_CLASSES = {
    "customers": "Customer",
    "payment_intents": "PaymentIntent",
    "refunds": "Refund",
    "subscriptions": "Subscription",
}
# Sent by older API versions, or put in by this connector (`disputes`).
_MORE: dict[str, tuple[tuple[str, str], ...]] = {
    "customers": (("account_balance", "integer"),),
    "payment_intents": (("charges", "object"), ("invoice", "string"), ("disputes", "object")),
    "refunds": (),
    "subscriptions": (
        ("current_period_start", "integer"),
        ("current_period_end", "integer"),
        ("discount", "object"),
        ("start", "integer"),
        ("plan", "object"),
        ("quantity", "integer"),
    ),
}
_VALUES = {("refunds", "status"): ("pending", "requires_action", "succeeded", "failed", "canceled")}
_NAMES = {str: "string", int: "integer", bool: "boolean", float: "number"}


def described(stream: str) -> list[Field]:
    """Name the fields of a stream. Raises Invalid for a stream that is not read."""
    if stream not in _CLASSES:
        raise Invalid(f'stripe: unknown stream "{stream}"; known: {", ".join(_CLASSES)}')
    import stripe

    hints: dict[str, Any] = getattr(stripe, _CLASSES[stream]).__annotations__
    fields = [_field(stream, name, hint) for name, hint in hints.items() if name.islower()]
    known = {field.name for field in fields}
    return fields + [Field(name, kind) for name, kind in _MORE[stream] if name not in known]


def _field(stream: str, name: str, hint: Any) -> Field:
    parts = _parts(hint)
    literals = [word for part in parts if typing.get_origin(part) is Literal for word in typing.get_args(part)]
    words = tuple(word for word in literals if isinstance(word, str) and name != "object")
    return Field(name, _type(parts), _VALUES.get((stream, name), words))


def _parts(hint: Any) -> list[Any]:
    if typing.get_origin(hint) is typing.Union:
        return [part for inner in typing.get_args(hint) for part in _parts(inner)]
    return [hint]


def _type(parts: list[Any]) -> str:
    for part in parts:
        if typing.get_origin(part) in (list, list):
            return "list"
        if part in _NAMES:
            return _NAMES[part]
        if typing.get_origin(part) is Literal:
            return _NAMES[type(typing.get_args(part)[0])]
    return "object"
