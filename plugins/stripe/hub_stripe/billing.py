"""Subscriptions and credit: what goes into Stripe's requests, and whether an object shows that it was done."""

from collections.abc import Mapping, Sequence
from typing import Any

from hub import (
    Action,
    Conflict,
    CreditGrant,
    CreditTakeBack,
    Effect,
    Invalid,
    Outcome,
    SubscriptionCancel,
    SubscriptionChangePlan,
    SubscriptionChangeQuantity,
    SubscriptionPause,
    SubscriptionResume,
    SubscriptionUncancel,
    Unsupported,
)
from hub_stripe.actions import ODD_CURRENCIES

_SHOWN = (
    "status", "cancel_at_period_end", "cancel_at", "canceled_at", "cancellation_details", "pause_collection",
)  # fmt: skip
Thing = Mapping[str, Any]


def now(action: Action) -> bool:
    """Say whether this ends the subscription at once, which is another request than all the rest."""
    return isinstance(action, SubscriptionCancel) and action.when == "now"


def params(action: Action, thing: Thing) -> Any:
    """
    Make the body of POST /v1/subscriptions/{id} (of DELETE, to end it now), given the subscription as it is.

    Stripe takes no cancel_at beside cancel_at_period_end, so a cancellation is taken back the way it was made
    (https://docs.stripe.com/billing/subscriptions/cancel).
    """
    if thing.get("status") in ("canceled", "incomplete_expired"):
        raise Conflict("stripe: the subscription has ended", code="subscription_ended")
    if isinstance(action, SubscriptionCancel):
        return _cancel(action)
    if isinstance(action, SubscriptionUncancel):
        by_day = thing.get("cancel_at") is not None and not thing.get("cancel_at_period_end")
        return {"cancel_at": ""} if by_day else {"cancel_at_period_end": False}
    if isinstance(action, SubscriptionPause):
        until = {"resumes_at": int(action.until.timestamp())} if action.until else {}
        return {"pause_collection": {"behavior": action.mode, **until}}
    if isinstance(action, SubscriptionResume):
        return {"pause_collection": ""}
    if isinstance(action, (SubscriptionChangePlan, SubscriptionChangeQuantity)):
        return {"items": [_changed(action, thing)], "proration_behavior": action.proration}
    raise Unsupported(f"stripe: cannot do {action.name}")


def done(action: Action, thing: Thing) -> bool:
    """Say whether a subscription is as the action would leave it: setting it again would change nothing else."""
    if isinstance(action, SubscriptionCancel):
        if action.when == "now":
            return thing.get("status") == "canceled"
        wanted = int(action.at.timestamp()) if action.at else None
        return thing.get("cancel_at") == wanted if wanted else bool(thing.get("cancel_at_period_end"))
    if isinstance(action, SubscriptionUncancel):
        return not thing.get("cancel_at_period_end") and thing.get("cancel_at") is None
    pause = thing.get("pause_collection") or {}
    if isinstance(action, SubscriptionPause):
        until = int(action.until.timestamp()) if action.until else None
        return pause.get("behavior") == action.mode and pause.get("resumes_at") == until
    if isinstance(action, SubscriptionResume):
        return not pause
    if not isinstance(action, (SubscriptionChangePlan, SubscriptionChangeQuantity)):
        return False
    items = (thing.get("items") or {}).get("data") or []
    return any(_is_so(action, item) for item in (items if len(items) == 1 else _by_now(action, items)))


def _is_so(action: SubscriptionChangePlan | SubscriptionChangeQuantity, item: Thing) -> bool:
    price = (item.get("price") or {}).get("id")
    return getattr(action, "price", price) == price and action.quantity in (None, item.get("quantity"))


def _by_now(action: SubscriptionChangePlan | SubscriptionChangeQuantity, items: Sequence[Thing]) -> list[Thing]:
    """Give the items that may be the one that was meant: named by its old price, it has the new one by now."""
    by_id = [item for item in items if item["id"] == action.item]
    named = {action.item, getattr(action, "price", None)}
    return by_id or [item for item in items if (item.get("price") or {}).get("id") in named]


def changed(one: str, before: Thing | None, after: Thing) -> Outcome:
    """Tell what became of a subscription."""
    was, now_ = _shown(before) if before is not None else None, _shown(after)
    if was is not None:
        names = [name for name in now_ if was.get(name) != now_[name]]
        was, now_ = {name: was.get(name) for name in names}, {name: now_[name] for name in names}
    return Outcome([Effect("subscription", one, "update", was, now_)], [("subscriptions", one)])


def credit(action: CreditGrant | CreditTakeBack, run_id: str, mark: str) -> Any:
    """Make the body of POST /v1/customers/{id}/balance_transactions; what Stripe owes the customer is negative."""
    amount = action.amount.money()
    if amount.currency in ODD_CURRENCIES:
        raise Unsupported(f"stripe: amounts in {amount.currency} have other minor units at Stripe; grant it there")
    return {
        "amount": -amount.amount if isinstance(action, CreditGrant) else amount.amount,
        "currency": amount.currency.lower(),
        "description": action.reason,
        "metadata": {mark: run_id},
    }


def granted(customer: str, made: Thing) -> Outcome:
    """Tell what credit was granted."""
    shown = {name: made.get(name) for name in ("amount", "currency", "ending_balance", "description")}
    effect = Effect("customer_balance_transaction", str(made.get("id")), "create", None, shown)
    return Outcome([effect], [("customers", customer)])


def _cancel(action: SubscriptionCancel) -> dict[str, Any]:
    details = {"comment": action.reason, **({"feedback": action.feedback} if action.feedback else {})}
    if action.when == "now":
        unused = {"prorate": True, "invoice_now": True} if action.refund_unused else {}
        return {**unused, "cancellation_details": details}
    when: dict[str, Any] = {"cancel_at_period_end": True}
    if action.at is not None:
        when = {"cancel_at": int(action.at.timestamp())}
    return {**when, "cancellation_details": details}


def item_of(action: SubscriptionChangePlan | SubscriptionChangeQuantity, thing: Thing) -> Thing:
    """Give the item that an action means. Raises Invalid unless it is exactly one."""
    items = (thing.get("items") or {}).get("data") or []
    fits = items
    if action.item is not None:
        fits = [item for item in items if item["id"] == action.item]
        fits = fits or [item for item in items if (item.get("price") or {}).get("id") == action.item]
    if len(fits) != 1:
        text = f"stripe: {action.name}: of the {len(items)} items {len(fits)} could be meant; name one by its id"
        raise Invalid(text, code="several_items", field_path="input.item")
    found: Thing = fits[0]
    return found


def _changed(action: SubscriptionChangePlan | SubscriptionChangeQuantity, thing: Thing) -> dict[str, Any]:
    wanted: dict[str, Any] = {"id": item_of(action, thing)["id"]}
    if isinstance(action, SubscriptionChangePlan):
        wanted["price"] = action.price
    if action.quantity is not None:
        wanted["quantity"] = action.quantity
    return wanted


def _shown(thing: Thing) -> dict[str, Any]:
    items = (thing.get("items") or {}).get("data") or []
    lines = [{"price": (item.get("price") or {}).get("id"), "quantity": item.get("quantity")} for item in items]
    return {**{name: thing.get(name) for name in _SHOWN}, "items": lines}
