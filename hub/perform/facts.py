"""What must be true, read fresh, before money moves or an order changes: pure checks on a mapped record."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hub.actions import (
    Action,
    Amount,
    CustomerChangeEmail,
    CustomerUpdateAddress,
    OrderCancel,
    OrderUpdateShippingAddress,
    PaymentRefund,
    PaymentVoidAuthorization,
    SubscriptionCancel,
    SubscriptionChangePlan,
    SubscriptionChangeQuantity,
    SubscriptionPause,
    SubscriptionResume,
    SubscriptionUncancel,
)
from hub.errors import Conflict, Invalid, Refused, Unsupported
from hub.money import Money
from hub.perform import lines

_SUBSCRIPTION: tuple[type[Action], ...] = (
    SubscriptionCancel,
    SubscriptionUncancel,
    SubscriptionPause,
    SubscriptionResume,
    SubscriptionChangePlan,
    SubscriptionChangeQuantity,
)
NEEDS_FRESH: tuple[type[Action], ...] = (
    PaymentRefund,
    PaymentVoidAuthorization,
    OrderCancel,
    OrderUpdateShippingAddress,
    CustomerUpdateAddress,
    CustomerChangeEmail,
    *_SUBSCRIPTION,
)
"""Actions whose target is read from the vendor before they are decided."""

_DISPUTE_SETTLED = frozenset({"won", "prevented"})


def completed(action: Action, data: Mapping[str, Any]) -> Action:
    """Fill in what the input left open, and refuse what the facts forbid. Raises Invalid, Conflict, Refused."""
    if isinstance(action, PaymentRefund):
        return _refund(action, data)
    _to_come(action)
    if isinstance(action, OrderUpdateShippingAddress):
        _not_shipped(data)
    if isinstance(action, OrderCancel):
        return _still_open(action, data)
    if isinstance(action, PaymentVoidAuthorization) and data.get("status") != "authorized":
        text = f"{action.name}: the payment is {data.get('status') or 'unknown'}; only an authorised one is released"
        raise Conflict(text, code="payment_not_authorized", reason=str(data.get("status")))
    if isinstance(action, _SUBSCRIPTION):
        _not_ended(action, data)
    if isinstance(action, (SubscriptionChangePlan, SubscriptionChangeQuantity)):
        _one_item(action, data)
    return action


def _to_come(action: Action) -> None:
    """
    Refuse a day that is past. Raises Invalid.

    Not when the input is read: a run may be worked, or looked up, after the day that it was asked for.
    """
    days = {"expires": getattr(action, "expires", None), "at": getattr(action, "at", None)}
    for name, day in days.items():
        if isinstance(day, datetime) and day <= datetime.now(UTC):
            raise Invalid(f"{action.name}: input.{name}: expected a time to come", field_path=f"input.{name}")


def same_version(action: Action, data: Mapping[str, Any], expected: str | None) -> None:
    """Raise Conflict where the record, read anew, is of another version than the caller has seen."""
    if expected is None:
        return
    known = {str(value) for value in (data.get("version"), data.get("updated_at")) if value is not None}
    if not known:
        text = f"{action.name}: expected_version: this record carries no version to compare with"
        raise Unsupported(text, field_path="expected_version")
    if expected not in known:
        text = f"{action.name}: the record has changed since; read it again and decide anew"
        raise Conflict(text, code="version_conflict", field_path="expected_version")


def refundable(data: Mapping[str, Any]) -> Money | None:
    """Give what may still be refunded of a payment; None where the record does not say."""
    said = _money(data.get("refundable_amount"))
    if said is not None:
        return said
    taken = _money(data.get("amount_captured"))
    if taken is None and data.get("status") == "succeeded":
        taken = _money(data.get("amount"))
    if taken is None:
        return None
    back = _money(data.get("amount_refunded"))
    return taken if back is None else Money(max(0, taken.amount - back.amount), taken.currency)


def disputed(data: Mapping[str, Any]) -> bool:
    """Say whether a dispute is open or was lost; one that was won or prevented no longer stands in the way."""
    disputes = data.get("disputes") or []
    if disputes:
        return any(dispute.get("status") not in _DISPUTE_SETTLED for dispute in disputes)
    return bool(data.get("disputed"))


def _refund(action: PaymentRefund, data: Mapping[str, Any]) -> PaymentRefund:
    if disputed(data):
        text = "payment.refund: the payment is disputed; the dispute decides who gets the money"
        raise Refused(text, code="payment_disputed", next_actions=["ticket.note"])
    left = refundable(data)
    if left is None:
        raise Conflict("payment.refund: nothing says what of this payment was taken", code="refundable_unknown")
    asked = action.amount.money() if action.amount else left
    if asked.currency != left.currency:
        text = f"payment.refund: the payment is in {left.currency}, the amount in {asked.currency}"
        raise Invalid(text, code="currency_mismatch", field_path="input.amount.currency")
    if left.amount <= 0:
        raise Conflict("payment.refund: nothing of this payment is left to refund", code="nothing_refundable")
    if asked.amount > left.amount:
        text = f"payment.refund: {asked} is more than the {left} that can be refunded"
        raise Invalid(text, code="amount_exceeds_refundable", field_path="input.amount.amount")
    return action.model_copy(update={"amount": Amount(amount=asked.amount, currency=asked.currency)})


def shipped(order: Mapping[str, Any]) -> bool | None:
    """Say whether an order, or a part of it, is on its way; None where nobody says. A draft is not."""
    state = order.get("fulfillment_status")
    if state in ("unfulfilled", "canceled") or (state in (None, "unknown") and order.get("status") == "draft"):
        return False
    return None if state in (None, "unknown") else True


def any_shipped(orders: Sequence[Mapping[str, Any]]) -> bool | None:
    """Say whether any system calls an order shipped; None where none of them says anything."""
    said = [shipped(order) for order in orders]
    return True if True in said else False if False in said else None


def is_open(order: Mapping[str, Any]) -> bool:
    """Say whether an order may still be sent somewhere else."""
    return not shipped(order) and order.get("status") not in ("canceled", "completed")


def country_change(before: Any, after: Any) -> bool | None:
    """Say whether an address goes to another country; None where the country before is not known."""
    was = before.get("country_code") if isinstance(before, Mapping) else None
    return None if was is None or not isinstance(after, Mapping) else was != after.get("country_code")


def _not_shipped(data: Mapping[str, Any]) -> None:
    if shipped(data):
        state = str(data.get("fulfillment_status"))
        text = f"order.update_shipping_address: the order is {state.replace('_', ' ')} already"
        raise Conflict(text, code="order_not_changeable", reason=state)
    if data.get("status") in ("canceled", "completed"):
        text = f"order.update_shipping_address: the order is {data['status']}"
        raise Conflict(text, code="order_not_changeable", reason=str(data["status"]))


def _still_open(action: OrderCancel, data: Mapping[str, Any]) -> OrderCancel:
    """Refuse what is over; whether an order that was shipped may be cancelled is for the policy to say."""
    state = data.get("status")
    if state in ("canceled", "completed"):
        raise Conflict(f"{action.name}: the order is {state}", code="order_not_changeable", reason=str(state))
    if not action.items:
        return action
    chosen = lines.taken(action.name, action.items, data, lines.shipped, word="shipped")
    if lines.whole(chosen, data):
        text = f"{action.name}: input.items: that is all of the order; leave items out to cancel it"
        raise Invalid(text, field_path="input.items")
    return action.model_copy(update={"items": [one.item for one in chosen]})


def _not_ended(action: Action, data: Mapping[str, Any]) -> None:
    if data.get("status") in ("canceled", "expired"):
        text = f"{action.name}: the subscription has ended; a new one is needed"
        raise Conflict(text, code="subscription_ended", reason=str(data["status"]))


def _one_item(action: SubscriptionChangePlan | SubscriptionChangeQuantity, data: Mapping[str, Any]) -> None:
    """Refuse to guess which item is meant. Raises Invalid that names them."""
    items = data.get("items") or []
    fits = _meant(action, items)
    if len(fits) == 1 or not items:
        return
    known = ", ".join(f"{item.get('remote_id')} ({item.get('price_ref')})" for item in items)
    if fits:
        text = f"{action.name}: the subscription has several such items; name one by its id: {known}"
        raise Invalid(text, code="several_items", field_path="input.item")
    text = f"{action.name}: the subscription has no such item; it has {known}"
    raise Invalid(text, code="unknown_item", field_path="input.item")


def _meant(
    action: SubscriptionChangePlan | SubscriptionChangeQuantity, items: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Give the items that an action could mean: by id before price."""
    if action.item is None:
        return list(items)
    by_id = [item for item in items if item.get("remote_id") == action.item]
    return by_id or [item for item in items if item.get("price_ref") == action.item]


def predicted(action: Action, kind: str, data: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Say how the fields of one kind would change: (before, after); `before` is None for what is made anew."""
    after = action.changes()[kind]
    if action.on is None or action.on.kind != kind:
        return None, after
    return {name: data.get(name) for name in after}, after


def predicted_refund(action: Action, data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Say how a refund would change its payment; None for other actions."""
    left, asked = refundable(data), action.amount_of_money
    if not isinstance(action, PaymentRefund) or left is None or asked is None:
        return None
    back = _money(data.get("amount_refunded")) or Money(0, left.currency)
    before = {"amount_refunded": _plain(back), "refundable_amount": _plain(left)}
    new_back, new_left = back.amount + asked.amount, left.amount - asked.amount
    after = {
        "amount_refunded": {"amount": new_back, "currency": left.currency},
        "refundable_amount": {"amount": new_left, "currency": left.currency},
    }
    return before, after


def predicted_items(action: Action, data: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]] | None:
    """Say how an item of a subscription would change; None for other actions."""
    if not isinstance(action, (SubscriptionChangePlan, SubscriptionChangeQuantity)):
        return None
    items = _meant(action, data.get("items") or [{}])
    was = {"price": None, "quantity": None, "item": None}
    if len(items) == 1:
        (one,) = items
        was = {"price": one.get("price_ref"), "quantity": one.get("quantity")}
        was |= {"item": one.get("remote_id")} if action.item is not None else {}
    wanted = {"price": getattr(action, "price", None), "quantity": action.quantity}
    after = {name: value for name, value in wanted.items() if value is not None}
    return ({name: was[name] for name in was} if len(items) == 1 else None), after


def _plain(money: Money) -> dict[str, Any]:
    return {"amount": money.amount, "currency": money.currency}


def _money(value: Any) -> Money | None:
    if not isinstance(value, Mapping) or value.get("amount") is None:
        return None
    return Money(int(value["amount"]), str(value.get("currency") or ""))
