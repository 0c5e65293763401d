"""The sandbox's subscriptions and customers' balances, as far as writes change them."""

from typing import Any

from hub.sandbox import Request
from hub_stripe.sandbox import forms, shapes
from hub_stripe.sandbox.state import Refusal, State, Thing, missing

OTHER_PRICE = "price_other"


def change(state: State, thing: Thing, params: dict[str, Any]) -> Thing:
    """Put an update's parameters into a subscription. Raises Refusal where Stripe would refuse."""
    forms.only(
        params, "cancel_at_period_end", "cancel_at", "cancellation_details", "pause_collection", "items",
        "proration_behavior", "metadata", "expand",
    )  # fmt: skip
    if thing["status"] == "canceled":
        words = "A canceled subscription can only update its cancellation_details and metadata."
        raise Refusal(400, words)
    if "cancel_at" in params and "cancel_at_period_end" in params:
        raise Refusal(400, "You cannot pass both cancel_at and cancel_at_period_end", param="cancel_at")
    changed = {**thing, **_ending(state, thing, params), **_pausing(params)}
    if details := params.get("cancellation_details"):
        changed["cancellation_details"] = {**thing["cancellation_details"], **details}
    for wanted in (params.get("items") or {}).values():
        changed |= _item(state, changed, wanted)
    thing |= changed
    return thing


def grant(state: State, customer: Thing, params: dict[str, Any]) -> Thing:
    """Write a balance transaction (https://docs.stripe.com/api/customer_balance_transactions)."""
    forms.only(params, "amount", "currency", "description", "metadata", "expand")
    amount = forms.whole(params.get("amount", ""), "amount", least=-(10**12))
    known = customer.get("currency")
    if known and known != params.get("currency"):
        raise Refusal(400, f"The currency of this customer is {known}", param="currency")
    customer["balance"] = (customer.get("balance") or 0) + amount
    state.count += 1
    return {
        "id": "cb" + shapes.make_id("balance_transaction", "credit", state.count),
        "object": "customer_balance_transaction", "amount": amount,
        "created": int(state.clock()), "credit_note": None, "currency": params.get("currency"),
        "customer": customer["id"], "description": params.get("description"), "ending_balance": customer["balance"],
        "invoice": None, "livemode": False, "metadata": forms.metadata(params.get("metadata")), "type": "adjustment",
    }  # fmt: skip


def params_of(request: Request) -> dict[str, Any]:
    """Give a form's parameters, nested."""
    return forms.nested(request.form())


def _ending(state: State, thing: Thing, params: dict[str, Any]) -> dict[str, Any]:
    now = int(state.clock())
    if "cancel_at_period_end" in params:
        ends = params["cancel_at_period_end"] == "true"
        end = max(item["current_period_end"] for item in thing["items"]["data"])
        reason = {"reason": "cancellation_requested" if ends else None}
        return {
            "cancel_at_period_end": ends, "cancel_at": end if ends else None, "canceled_at": now if ends else None,
            "cancellation_details": {**thing["cancellation_details"], **reason},
        }  # fmt: skip
    if "cancel_at" in params:
        at = forms.whole(params["cancel_at"], "cancel_at") if params["cancel_at"] else None
        return {"cancel_at": at, "cancel_at_period_end": False, "canceled_at": now if at else None}
    return {}


def _pausing(params: dict[str, Any]) -> dict[str, Any]:
    if "pause_collection" not in params:
        return {}
    wanted = params["pause_collection"]
    if not wanted:
        return {"pause_collection": None}
    forms.one_of(
        wanted.get("behavior", ""), "pause_collection[behavior]", "keep_as_draft", "mark_uncollectible", "void"
    )
    until = wanted.get("resumes_at")
    at = forms.whole(until, "pause_collection[resumes_at]") if until else None
    return {"pause_collection": {"behavior": wanted["behavior"], "resumes_at": at}}


def _item(state: State, thing: Thing, wanted: dict[str, Any]) -> dict[str, Any]:
    items = thing["items"]["data"]
    found = next((item for item in items if item["id"] == wanted.get("id")), None)
    if found is None:
        raise missing("subscription_item", str(wanted.get("id")), "items[0][id]", 400)
    item = {**found}
    if price := wanted.get("price"):
        item |= {"price": {**item["price"], "id": known_price(state, price)}, "plan": {**item["plan"], "id": price}}
    if quantity := wanted.get("quantity"):
        item["quantity"] = forms.whole(quantity, "items[0][quantity]")
    data = [item if one["id"] == item["id"] else one for one in items]
    return {"items": {**thing["items"], "data": data}, "plan": item["plan"], "quantity": item["quantity"]}


def known_price(state: State, asked: str, param: str = "items[0][price]") -> str:
    """Give the id of a price that there is. Raises Refusal."""
    known = {item["price"]["id"] for one in state.kinds["subscriptions"].values() for item in one["items"]["data"]}
    if asked not in known | {OTHER_PRICE}:
        raise missing("price", asked, param, 400)
    return asked


def release(intent: Thing, reason: str, now: int) -> None:
    """Cancel a payment intent that has not taken its money. Raises Refusal for one that has, or that is over."""
    if intent["status"] in ("succeeded", "canceled"):
        words = f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
        raise Refusal(400, words, code="payment_intent_unexpected_state")
    if reason:
        forms.one_of(reason, "cancellation_reason", "abandoned", "duplicate", "fraudulent", "requested_by_customer")
    intent |= {"status": "canceled", "canceled_at": now, "cancellation_reason": reason or None, "amount_capturable": 0}
