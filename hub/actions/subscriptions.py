"""Verbs about subscriptions."""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from hub.actions.declare import Action, On, Reference, Risk, Short, Undo

Feedback = Literal[
    "customer_service", "low_quality", "missing_features", "other", "switched_service", "too_complex", "too_expensive",
    "unused",
]  # fmt: skip
Quantity = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Effective = Literal["now", "period_end"]
ITEM = "which of several items: its id, or its price's"
EFFECTIVE = "from when; a change for the end of a period replaces one set for it before"
ONLY_NOW = MappingProxyType(
    {
        "item": "change a subscription of one item, or this one in the billing system",
        "effective": "leave it out and change it when the period ends",
    }
)
Proration = Literal["create_prorations", "none", "always_invoice"]


class SubscriptionCancel(Action):
    """End a subscription: with its period, on a day, or now."""

    name = "subscription.cancel"
    title = "Cancel a subscription"
    risk = Risk.R3
    on = On("subscription", "subscription_ref")
    reversal = "subscription.uncancel"
    residue = "only until it has ended; one that was ended now stays ended"

    subscription_ref: Reference
    when: Literal["period_end", "date", "now"] = "period_end"
    at: AwareDatetime | None = Field(None, description="the day it ends, with when = date")
    reason: Short
    feedback: Feedback | None = None
    refund_unused: bool = Field(False, description="with when = now: credit what was paid for the rest of the period")

    @model_validator(mode="after")
    def _unused(self) -> "SubscriptionCancel":
        if self.refund_unused and self.when != "now":
            raise ValueError("refund_unused: only with when = now is a part of the period left")
        return self

    @model_validator(mode="after")
    def _day(self) -> "SubscriptionCancel":
        if (self.when == "date") != (self.at is not None):
            raise ValueError("give at with when = date, and only then")
        return self

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        if self.when == "now":
            return "a subscription that has ended cannot be taken up again"
        return Undo("subscription.uncancel", {"subscription_ref": target}, self.residue)


class SubscriptionUncancel(Action):
    """Let a subscription go on that was to end."""

    name = "subscription.uncancel"
    title = "Take a cancellation back"
    risk = Risk.R3
    on = On("subscription", "subscription_ref")
    reversal = "subscription.cancel"

    subscription_ref: Reference

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        return Undo("subscription.cancel", {"subscription_ref": target, "reason": "undone"})


class SubscriptionPause(Action):
    """Stop collecting a subscription's money for a while."""

    name = "subscription.pause"
    title = "Pause a subscription"
    risk = Risk.R3
    on = On("subscription", "subscription_ref")
    reversal = "subscription.resume"

    subscription_ref: Reference
    until: AwareDatetime | None = None
    mode: Literal["void", "keep_as_draft", "mark_uncollectible"] = "void"

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        return Undo("subscription.resume", {"subscription_ref": target})


class SubscriptionResume(Action):
    """Collect a paused subscription's money again."""

    name = "subscription.resume"
    title = "Resume a subscription"
    risk = Risk.R3
    on = On("subscription", "subscription_ref")
    reversal = "subscription.pause"

    subscription_ref: Reference

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        return Undo("subscription.pause", {"subscription_ref": target})


class SubscriptionChangePlan(Action):
    """
    Put an item of a subscription on another price, and another quantity if one is given.

    Now, or from the end of the period that is paid for. Of several items one must be named.
    """

    name = "subscription.change_plan"
    title = "Change a subscription's plan"
    risk = Risk.R3
    on = On("subscription", "subscription_ref")
    reversal = "subscription.change_plan"
    residue = "what was prorated stays on the invoices"
    special = ONLY_NOW

    subscription_ref: Reference
    item: Short | None = Field(None, description=ITEM)
    price: Short = Field(description="the price's id in the billing system")
    quantity: Quantity | None = None
    proration: Proration
    effective: Effective = Field("now", description=EFFECTIVE)

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        price, quantity = before.get("price"), _count(before.get("quantity"))
        if target is None or price is None:
            return "what it was on before is not known"
        given = {"price": price, "quantity": quantity, **_same(self, target, before)}
        return Undo("subscription.change_plan", given, self.residue)


class SubscriptionChangeQuantity(Action):
    """Change how many of an item a subscription has, now or from the end of the period that is paid for."""

    name = "subscription.change_quantity"
    title = "Change a subscription's quantity"
    risk = Risk.R3
    on = On("subscription", "subscription_ref")
    reversal = "subscription.change_quantity"
    residue = "what was prorated stays on the invoices"
    special = ONLY_NOW

    subscription_ref: Reference
    item: Short | None = Field(None, description=ITEM)
    quantity: Quantity
    proration: Proration
    effective: Effective = Field("now", description=EFFECTIVE)

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        quantity = _count(before.get("quantity"))
        if target is None or quantity is None:
            return "how many it had before is not known"
        return Undo("subscription.change_quantity", {"quantity": quantity, **_same(self, target, before)}, self.residue)


def _same(
    action: SubscriptionChangePlan | SubscriptionChangeQuantity, target: str, before: Mapping[str, Any]
) -> dict[str, Any]:
    """Give what a change and the one that undoes it have in common; the item by its id, for the price changes."""
    item = {"item": before.get("item") or action.item} if action.item is not None else {}
    later = {"effective": action.effective} if action.effective != "now" else {}
    return {"subscription_ref": target, "proration": action.proration, **item, **later}


def _count(quantity: Any) -> int | None:
    """Give a quantity as records hold it (a decimal, as text) as a whole number; None for another."""
    try:
        exact = Decimal(str(quantity))
    except ArithmeticError:
        return None
    return int(exact) if exact >= 1 and exact == exact.to_integral_value() else None
