"""What goes into Stripe's write requests, made of a call's fields in Stripe's own words."""

from collections.abc import Mapping
from typing import Any

import msgspec

from hub import Call, CustomerLookup, Invalid, PaymentRefund, Unsupported
from hub_stripe.client import Params
from hub_stripe.objects import Named

MARK = "hub_run"
NATIVE_REASONS = frozenset(("requested_by_customer", "duplicate", "fraudulent"))
# ISO 4217 gives ISK and UGX no minor digits and MGA two; Stripe means it the other way round
# (https://docs.stripe.com/currencies#special-cases): amounts would be a hundredth, or a hundredfold, of what is meant.
ODD_CURRENCIES = frozenset(("ISK", "MGA", "UGX"))


class Hits(msgspec.Struct):
    """A list or a search result."""

    data: list[Named]


class Refunds(msgspec.Struct):
    """A page of refunds."""

    data: list[dict[str, Any]]
    has_more: bool


def refund_params(intent: str, action: PaymentRefund, call: Call) -> Any:
    """
    Make the body of POST /v1/refunds.

    Stripe knows three reasons; the others go as requested_by_customer, with the real one in the metadata. Without an
    amount Stripe refunds what is left.
    """
    _check_currency(action, call)
    fields = dict(call.fields)
    marks = {**(fields.pop("metadata", None) or {}), MARK: call.run_id}
    if action.note:
        marks["hub_note"] = action.note
    reason = action.reason.value if action.reason.value in NATIVE_REASONS else "requested_by_customer"
    return {"reason": reason, **cleared(fields), "payment_intent": intent, "metadata": marks}


def customer_params(fields: Mapping[str, Any]) -> Any:
    """Make the body of POST /v1/customers/{id}: only what is to change."""
    if not fields:
        raise Invalid("stripe: nothing of this change can be written to a Stripe customer", code="nothing_to_write")
    params = cleared(fields)
    if isinstance(params.get("preferred_locales"), str):
        params["preferred_locales"] = [params["preferred_locales"]] if params["preferred_locales"] else ""
    return params


def cleared(value: Any) -> Any:
    """Say null as Stripe does: an empty string unsets (the SDK would leave a None out)."""
    if isinstance(value, Mapping):
        return {k: cleared(v) for k, v in value.items()}
    return "" if value is None else value


def same_keys(whole: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """Give of `whole` what `part` names, nested as there."""
    found: dict[str, Any] = {}
    for key, value in part.items():
        own = whole.get(key)
        found[key] = same_keys(own or {}, value) if isinstance(value, Mapping) else own
    return found


def holds(whole: Any, wanted: Any) -> bool:
    """Say whether an object has what a write's parameters ask for; unset is null there, an empty string here."""
    if isinstance(wanted, Mapping):
        own = whole if isinstance(whole, Mapping) else {}
        return all(holds(own.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return bool(whole == wanted)
    return ("" if whole is None or whole == [] else str(whole)) == str(wanted)


def lookup(action: CustomerLookup) -> tuple[str, Params]:
    """
    Say where to look a customer up.

    The list by e-mail is exact and current. Search is up to a minute behind, and not offered in India
    (https://docs.stripe.com/search). Raises Unsupported for what Stripe cannot look up by.
    """
    if action.email:
        return "/v1/customers", [("email", action.email), ("limit", "100")]
    if action.phone:
        return "/v1/customers/search", [("query", f"phone:'{_quoted(action.phone)}'"), ("limit", "100")]
    if action.external_ref:
        query = f"metadata['hub_customer_id']:'{_quoted(action.external_ref)}'"
        return "/v1/customers/search", [("query", query), ("limit", "100")]
    raise Unsupported("stripe: customers are looked up by email, phone or external_ref")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _check_currency(action: PaymentRefund, call: Call) -> None:
    asked = action.amount.currency if action.amount else None
    paid = (call.target.data.get("currency") if call.target else None) or asked
    if asked is not None and asked != paid:
        raise Invalid(
            f"stripe: the payment is in {paid}; a refund in {asked} is not possible",
            code="currency_mismatch",
            field_path="amount.currency",
        )
    if asked in ODD_CURRENCIES:
        raise Unsupported(f"stripe: amounts in {asked} have other minor units at Stripe; refund it in the dashboard")
