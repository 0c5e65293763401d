"""Make and release: what goes into the requests that make a customer or release reserved money, and what they did."""

from collections.abc import Mapping
from typing import Any

from hub import Call, Conflict, Effect, Outcome
from hub_stripe.actions import MARK, customer_params

Thing = Mapping[str, Any]
_SHOWN = ("status", "amount", "currency", "cancellation_reason")


def new(call: Call) -> Any:
    """Make the body of POST /v1/customers, marked with the run so that a lost answer can be looked up."""
    params = dict(customer_params(call.fields))
    return {**params, "metadata": {**(params.get("metadata") or {}), MARK: call.run_id}}


def created(made: Thing, call: Call) -> Outcome:
    """Tell of a new customer, in the fields that it was made with."""
    effect = Effect("customer", str(made["id"]), "create", None, {name: made.get(name) for name in call.fields})
    return Outcome([effect], [("customers", str(made["id"]))])


def deleted(one: str) -> Outcome:
    """Tell of a customer that was deleted."""
    return Outcome([Effect("customer", one, "delete")], [("customers", one)])


def with_name(params: Any, customer: Thing) -> Any:
    """Name whom a shipping address is for where the caller does not: Stripe takes none without a name."""
    shipping = params.get("shipping")
    if not isinstance(shipping, Mapping) or shipping.get("name"):
        return params
    name = (customer.get("shipping") or {}).get("name") or customer.get("name") or customer.get("email")
    return {**params, "shipping": {**shipping, "name": name}}


def releasable(intent: Thing) -> None:
    """Raise Conflict for a payment that has taken its money, or that is over."""
    if intent.get("status") in ("succeeded", "canceled"):
        text = f"stripe: the payment intent is {intent['status']}; only one that has taken nothing is released"
        raise Conflict(text, code="payment_not_authorized", reason=str(intent["status"]))


def released(before: Thing | None, after: Thing) -> Outcome:
    """Tell of a payment whose reserved money was released."""
    was = {"status": before.get("status")} if before is not None else None
    effect = Effect("payment_intent", str(after["id"]), "update", was, {name: after.get(name) for name in _SHOWN})
    return Outcome([effect], [("payment_intents", str(after["id"]))])
