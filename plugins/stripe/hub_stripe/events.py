"""
What Stripe's events name: which stream, which id. An event is a hint; the object itself is fetched by its id.

Events live 30 days and come in no promised order (https://docs.stripe.com/webhooks#event-ordering).
"""

from typing import Any

import msgspec

from hub import Change

# At most 20 types may be asked for at once (https://docs.stripe.com/api/events/list).
TYPES: dict[str, tuple[str, ...]] = {
    "customers": ("customer.created", "customer.updated", "customer.deleted"),
    "payment_intents": (
        "payment_intent.amount_capturable_updated",
        "payment_intent.canceled",
        "payment_intent.created",
        "payment_intent.partially_funded",
        "payment_intent.payment_failed",
        "payment_intent.processing",
        "payment_intent.requires_action",
        "payment_intent.succeeded",
        "charge.captured",
        "charge.expired",
        "charge.failed",
        "charge.refunded",
        "charge.refund.updated",
        "charge.succeeded",
        "charge.updated",
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_reinstated",
        "charge.dispute.funds_withdrawn",
    ),
    "refunds": ("refund.created", "refund.updated", "refund.failed", "charge.refund.updated", "charge.refunded"),
    "subscriptions": (
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.pending_update_applied",
        "customer.subscription.pending_update_expired",
    ),
}
DELETIONS = frozenset({"customer.deleted"})
_OWN = {
    "customers": "customer",
    "payment_intents": "payment_intent",
    "refunds": "refund",
    "subscriptions": "subscription",
}


class Thing(msgspec.Struct):
    """The object an event carries, as far as it names others; ids may come expanded."""

    id: str | None = None
    object: str = ""
    payment_intent: Any = None
    charge: Any = None


class Data(msgspec.Struct):
    object: Thing


class Envelope(msgspec.Struct):
    """What every webhook has, those of other sorts (v2.core.event) too."""

    object: str = ""
    type: str = ""


class Event(msgspec.Struct):
    """A snapshot event (https://docs.stripe.com/api/events/object)."""

    id: str
    type: str
    created: int
    data: Data


def changes(stream: str, event: Event) -> list[Change] | None:
    """
    Name what an event says has changed in a stream; nothing where it is not about it.

    None where the event does not say enough: a dispute of older API versions names the charge only, a refunded
    charge of newer ones does not carry its refunds.
    """
    if event.type not in TYPES[stream]:
        return []
    thing = event.data.object
    if thing.object == _OWN[stream]:
        return _change(stream, thing.id, event)
    if stream == "payment_intents":
        named = _id(thing.payment_intent)
        return _change(stream, named, event) if named or not _id(thing.charge) else None
    return None if stream == "refunds" and thing.object == "charge" else []


def charge_of(event: Event) -> str | None:
    """Give the id of the charge an event is about."""
    thing = event.data.object
    return thing.id if thing.object == "charge" else _id(thing.charge)


def _change(stream: str, one: str | None, event: Event) -> list[Change]:
    return [Change(stream, one, event.id, event.type == "customer.deleted")] if one else []


def _id(value: Any) -> str | None:
    found = value.get("id") if isinstance(value, dict) else value
    return found if isinstance(found, str) and found else None
