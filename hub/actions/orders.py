"""Verbs about orders."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import Field, model_validator

from hub.actions.declare import Action, Address, Items, On, Reference, Risk, Short, Undo, address_of


class OrderUpdateShippingAddress(Action):
    """Send an order that has not shipped to another address."""

    name = "order.update_shipping_address"
    title = "Change an order's shipping address"
    risk = Risk.R2
    on = On("order", "order_ref")
    reversal = "order.update_shipping_address"
    residue = "only until the order is picked"

    order_ref: Reference
    address: Address

    def changes(self) -> dict[str, dict[str, Any]]:
        return {"order": {"shipping_address": self.address.model_dump(exclude_none=True)}}

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        was = address_of(before.get("shipping_address"))
        if target is None or was is None:
            return "the address before is not known in full"
        return Undo("order.update_shipping_address", {"order_ref": target, "address": was}, self.residue)


class OrderCancel(Action):
    """
    Cancel an order, or some items of it, and give back what was paid for that where it is asked for.

    Several steps, one after the other: first the order, then each payment of it. What was taken is refunded, what is
    only authorised is released. A payment is left alone unless the order was cancelled. With items only these are
    cancelled, and only what their lines come to is given back.
    """

    name = "order.cancel"
    title = "Cancel an order"
    risk = Risk.R3
    on = On("order", "order_ref")
    residue = "a cancelled order is not taken up again and money stays given back; place a new order"
    special = MappingProxyType({"items": "cancel the whole order, or give the items back with payment.refund"})

    order_ref: Reference
    items: Items | None = Field(None, description="only these, where a system can; what has shipped stays")
    reason: Short
    refund: bool = Field(False, description="give back what was paid, and release what is only authorised")
    restock: bool | None = Field(
        None, description="whether the goods go back into stock; the system decides by default"
    )

    def changes(self) -> dict[str, dict[str, Any]]:
        return {"order": {} if self.items else {"status": "canceled"}}


class _Order(Action):
    """An order by its id, or by the number that the customer knows."""

    risk = Risk.R0

    order_ref: Reference | None = None
    number: Short | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "_Order":
        if (self.order_ref is None) == (self.number is None):
            raise ValueError("give exactly one of order_ref, number")
        return self


class OrderGet(_Order):
    """Tell an order: status, lines, totals, addresses."""

    name = "order.get"
    title = "Get an order"
    reveals = (
        "id", "number", "placed_at", "status", "payment_status", "fulfillment_status", "currency", "total",
        "refunded_total", "shipping_address", "lines", "shipments", "connections",
    )  # fmt: skip


class OrderTrack(_Order):
    """Tell where an order is: its shipments with carrier and tracking."""

    name = "order.track"
    title = "Track an order"
    reveals = ("id", "number", "status", "fulfillment_status", "shipments")
