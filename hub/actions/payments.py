"""Verbs that move money once."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from hub.actions.declare import Action, Amount, Items, On, Reference, Risk, Short, Undo
from hub.money import Money
from hub.records import RefundReason


class PaymentRefund(Action):
    """
    Give money of a payment back to the customer, all that is refundable unless an amount or items are named.

    Items are lines of the order that was paid; what they come to is reckoned from the order's own lines. A ticket that
    is named gets a note for staff once the money is on its way. Where that note fails, the refund stays done, and the
    answer tells so in `skipped`.
    """

    name = "payment.refund"
    title = "Refund a payment"
    risk = Risk.R3
    on = On("payment", "payment_ref")
    reveals = ("amount", "status", "reference")
    residue = "money that was given back stays with the customer"
    special = MappingProxyType({"destination": "leave it out, or grant the customer credit with credit.grant"})

    payment_ref: Reference | None = None
    order_ref: Reference | None = Field(None, description="instead of the payment: the one payment of this order")
    amount: Amount | None = None
    items: Items | None = Field(None, description="lines of the order to give back, in place of an amount")
    reason: RefundReason
    destination: Literal["original", "store_credit"] = Field(
        "original", description="the way it was paid, or credit for the customer where a system can do that"
    )
    note: Short | None = Field(None, description="why, for staff only")
    ticket_ref: Reference | None = Field(None, description="the ticket that is told of the refund in an internal note")

    @model_validator(mode="after")
    def _exactly_one(self) -> "PaymentRefund":
        if (self.payment_ref is None) == (self.order_ref is None):
            raise ValueError("give exactly one of payment_ref, order_ref")
        return self

    def changes(self) -> dict[str, dict[str, Any]]:
        refund: dict[str, Any] = {"reason": self.reason.value}
        if self.amount:
            money = self.amount.money()
            refund["amount"] = {"amount": money.amount, "currency": money.currency}
        return {"refund": refund}

    @property
    def amount_of_money(self) -> Money | None:
        return self.amount.money() if self.amount else None


class PaymentVoidAuthorization(Action):
    """Release money that a payment has reserved and not taken."""

    name = "payment.void_authorization"
    title = "Release an authorised payment"
    risk = Risk.R3
    on = On("payment", "payment_ref")
    residue = "a released authorisation cannot be taken up again; the customer pays anew"

    payment_ref: Reference


class CreditGrant(Action):
    """Grant a customer credit on the next invoice, for good or until a day where a system keeps one."""

    name = "credit.grant"
    title = "Grant credit"
    risk = Risk.R3
    on = On("customer", "customer_ref")
    reversal = "credit.take_back"
    residue = "what was used of it meanwhile is owed"
    special = MappingProxyType({"expires": "leave it out: the credit stays until it is used"})

    customer_ref: Reference
    amount: Amount
    reason: Short
    expires: AwareDatetime | None = Field(None, description="until when it can be used, where a system keeps that")
    connection: Short | None = Field(None, description="where to grant it; needed only when several systems could")

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        given = {"customer_ref": target, "amount": self.amount.model_dump(), "reason": "undone"}
        return Undo("credit.take_back", given, self.residue)

    @property
    def amount_of_money(self) -> Money | None:
        return self.amount.money()


class CreditTakeBack(Action):
    """Take credit back that was granted by mistake: an opposite entry on the customer's balance."""

    name = "credit.take_back"
    title = "Take credit back"
    risk = Risk.R3
    on = On("customer", "customer_ref")
    reversal = "credit.grant"
    money_goes = "in"

    customer_ref: Reference
    amount: Amount
    reason: Short
    connection: Short | None = Field(None, description="where to take it; needed only when several systems could")

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        given = {"customer_ref": target, "amount": self.amount.model_dump(), "reason": "undone"}
        return Undo("credit.grant", given)

    @property
    def amount_of_money(self) -> Money | None:
        return self.amount.money()
