"""Stripe's objects, built from the world in the newest shape that was recorded (2026-03-25.dahlia)."""

import hashlib
from datetime import datetime
from typing import Any

from hub.sandbox import Dispute, Payment, Person, Refund, Subscription

DAY_S = 86_400
MONTH_S = 30 * DAY_S
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
NO_ADDRESS: dict[str, Any] = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
# Prefix, and how many characters follow, as recorded.
_ID_FORMS = {
    "customer": ("cus_", 14), "payment_intent": ("pi_3", 23), "charge": ("ch_3", 23), "refund": ("re_3", 23),
    "dispute": ("du_1", 23), "subscription": ("sub_1", 23), "subscription_item": ("si_", 14), "event": ("evt_1", 23),
    "subscription_schedule": ("sub_sched_1", 23),
    "payment_method": ("pm_1", 23), "invoice": ("in_1", 23), "balance_transaction": ("txn_3", 23),
    "request": ("req_", 14),
}  # fmt: skip
PLANS = {"care-basic": "Care Basic", "care-plus": "Care Plus"}


def make_id(kind: str, *seed: object) -> str:
    """Make an id of Stripe's form that follows from the seed alone."""
    prefix, length = _ID_FORMS[kind]
    number = int.from_bytes(hashlib.blake2b(repr((kind, *seed)).encode(), digest_size=20).digest())
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return prefix + "".join(digits)


def stamp(moment: datetime) -> int:
    """Give a moment as Stripe does, in seconds."""
    return int(moment.timestamp())


def customer_id(person: Person, second: bool = False) -> str:
    return make_id("customer", person.n, second)


def blank_customer(one: str, created: int) -> dict[str, Any]:
    """A customer with nothing filled in."""
    return {
        "id": one, "object": "customer", "address": None, "balance": 0, "created": created, "currency": None,
        "customer_account": None, "default_source": None, "delinquent": False, "description": None, "discount": None,
        "email": None, "invoice_prefix": one[4:12].upper(),
        "invoice_settings": {
            "custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None,
        },
        "livemode": False, "metadata": {}, "name": None, "next_invoice_sequence": 1, "phone": None,
        "preferred_locales": [], "shipping": None, "tax_exempt": "none", "test_clock": None,
    }  # fmt: skip


def customer(person: Person, *, second: bool = False) -> dict[str, Any]:
    """A person as Stripe knows them; the second one of a person is the bare account of a guest checkout."""
    made = blank_customer(customer_id(person, second), stamp(person.created) + (DAY_S if second else 0))
    made |= {"email": person.email_in("stripe"), "name": person.name_in("stripe")}
    if second:
        return made
    address = {
        "city": person.place[2], "country": person.place[0], "line1": person.street, "line2": None,
        "postal_code": person.place[3], "state": person.place[4],
    }  # fmt: skip
    return made | {
        "address": address,
        "phone": person.phone,
        "currency": person.currency.lower(),
        "balance": -500 if person.n % 11 == 0 else 0,
        "delinquent": person.n % 13 == 0,
        "preferred_locales": [person.place[6]] if person.n % 3 == 0 else [],
        "shipping": {"address": address, "name": person.name, "phone": person.phone} if person.n % 4 == 0 else None,
        "metadata": {"hub_customer_id": person.number} if person.n % 2 == 1 else {},
    }


def card(payment_method: str, brand: str, last4: str, customer: str, created: int) -> dict[str, Any]:
    """A payment method of type card."""
    return {
        "id": payment_method, "object": "payment_method", "allow_redisplay": "unspecified",
        "billing_details": {"address": NO_ADDRESS, "email": None, "name": None, "phone": None, "tax_id": None},
        "card": {
            "brand": brand, "checks": dict.fromkeys(("address_line1_check", "address_postal_code_check", "cvc_check")),
            "country": "DE", "display_brand": brand, "exp_month": 8, "exp_year": 2030,
            "fingerprint": "Sandbox0Fingerpr", "funding": "credit", "generated_from": None, "last4": last4,
            "networks": {"available": [brand], "preferred": None}, "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True}, "wallet": None,
        },
        "created": created, "customer": customer, "customer_account": None, "livemode": False, "metadata": {},
        "type": "card",
    }  # fmt: skip


def payment_intent(payment: Payment, customer: str) -> dict[str, Any]:
    """One attempt to be paid for an order; the order's number stands where merchants put it."""
    amount, order, new_style = payment.amount_minor, payment.order, payment.n % 2 == 0
    succeeded, held = payment.status == "succeeded", payment.status == "requires_capture"
    one = make_id("payment_intent", payment.n)
    failed = payment.status == "requires_payment_method"
    return {
        "id": one, "object": "payment_intent", "amount": amount, "amount_capturable": amount if held else 0,
        "amount_details": {"tip": {}}, "amount_received": amount if succeeded else 0, "application": None,
        "application_fee_amount": None, "automatic_payment_methods": None,
        "canceled_at": stamp(payment.created) + 600 if payment.status == "canceled" else None,
        "cancellation_reason": "requested_by_customer" if payment.status == "canceled" else None,
        "capture_method": "manual" if held else "automatic", "client_secret": f"{one}_secret_sandbox",
        "confirmation_method": "automatic", "created": stamp(payment.created), "currency": order.currency.lower(),
        "customer": customer, "customer_account": None, "description": f"Order {order.number}",
        "excluded_payment_method_types": None, "last_payment_error": _declined(payment) if failed else None,
        "latest_charge": None if payment.status == "canceled" else make_id("charge", payment.n), "livemode": False,
        "metadata": {} if new_style else {"order_number": order.number}, "next_action": None, "on_behalf_of": None,
        "payment_details": {"customer_reference": None, "order_reference": order.number if new_style else None},
        "payment_method": make_id("payment_method", payment.n), "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {
                "installments": None, "mandate_options": None, "network": None, "request_three_d_secure": "automatic",
            },
        },
        "payment_method_types": ["card"], "processing": None, "receipt_email": None, "review": None,
        "setup_future_usage": None, "shipping": None, "source": None, "statement_descriptor": None,
        "statement_descriptor_suffix": None, "status": payment.status, "transfer_data": None, "transfer_group": None,
    }  # fmt: skip


def _declined(payment: Payment) -> dict[str, Any]:
    return {
        "charge": make_id("charge", payment.n), "code": "card_declined", "decline_code": "insufficient_funds",
        "doc_url": "https://stripe.com/docs/error-codes/card-declined", "message": "Your card has insufficient funds.",
        "type": "card_error",
    }  # fmt: skip


def charge(payment: Payment, customer: str) -> dict[str, Any]:
    """The charge of a payment, as its `latest_charge`."""
    one, amount = make_id("charge", payment.n), payment.amount_minor
    failed = payment.status == "requires_payment_method"
    captured = payment.status == "succeeded"
    status = "failed" if failed else "pending" if payment.status == "processing" else "succeeded"
    return {
        "id": one, "object": "charge", "amount": amount, "amount_captured": amount if captured else 0,
        "amount_refunded": payment.refunded_minor, "application": None, "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": make_id("balance_transaction", payment.n) if captured else None,
        "billing_details": {
            "address": NO_ADDRESS, "email": None, "name": payment.order.person.name, "phone": None, "tax_id": None,
        },
        "calculated_statement_descriptor": "DESKHUB SANDBOX", "captured": captured, "created": stamp(payment.created),
        "currency": payment.order.currency.lower(), "customer": customer,
        "description": f"Order {payment.order.number}",
        "destination": None, "dispute": make_id("dispute", payment.n) if payment.dispute else None,
        "disputed": payment.dispute is not None, "failure_balance_transaction": None,
        "failure_code": "card_declined" if failed else None,
        "failure_message": "Your card has insufficient funds." if failed else None, "fraud_details": {},
        "livemode": False, "metadata": {}, "on_behalf_of": None, "order": None, "outcome": _outcome(payment, failed),
        "paid": status == "succeeded", "payment_intent": make_id("payment_intent", payment.n),
        "payment_method": make_id("payment_method", payment.n), "payment_method_details": _paid_with(payment),
        "radar_options": {}, "receipt_email": None, "receipt_number": None,
        "receipt_url": f"https://pay.stripe.com/receipts/sandbox/{one}" if captured else None,
        "refunded": captured and payment.refunded_minor == amount, "review": None, "shipping": None, "source": None,
        "source_transfer": None, "statement_descriptor": None, "statement_descriptor_suffix": None, "status": status,
        "transfer_data": None, "transfer_group": None,
    }  # fmt: skip


def _outcome(payment: Payment, failed: bool) -> dict[str, Any]:
    return {
        "advice_code": "try_again_later" if failed else None, "network_advice_code": None,
        "network_decline_code": "51" if failed else None,
        "network_status": "declined_by_network" if failed else "approved_by_network",
        "reason": "insufficient_funds" if failed else None, "risk_level": "normal", "risk_score": payment.n % 60,
        "seller_message": "Payment complete." if not failed else "The bank returned the decline code.",
        "type": "issuer_declined" if failed else "authorized",
    }  # fmt: skip


def _paid_with(payment: Payment) -> dict[str, Any]:
    return {
        "card": {
            "amount_authorized": payment.amount_minor, "authorization_code": None, "brand": payment.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": payment.order.person.place[0], "exp_month": 8, "exp_year": 2030,
            "fingerprint": "Sandbox0Fingerpr", "funding": "credit", "installments": None, "last4": payment.last4,
            "mandate": None, "network": payment.brand, "three_d_secure": None, "wallet": None,
        },
        "type": "card",
    }  # fmt: skip


def refund(seed: tuple[object, ...], intent: dict[str, Any], amount: int, created: int) -> dict[str, Any]:
    """A refund of part of a payment."""
    return {
        "id": make_id("refund", *seed), "object": "refund", "amount": amount,
        "balance_transaction": make_id("balance_transaction", "refund", *seed), "charge": intent["latest_charge"],
        "created": created, "currency": intent["currency"],
        "destination_details": {
            "card": {
                "reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund",
            },
            "type": "card",
        },
        "metadata": {}, "payment_intent": intent["id"], "reason": None, "receipt_number": None,
        "source_transfer_reversal": None, "status": "succeeded", "transfer_reversal": None,
    }  # fmt: skip


def world_refund(one: Refund, intent: dict[str, Any]) -> dict[str, Any]:
    return refund((one.n,), intent, one.amount_minor, stamp(one.created)) | {"reason": one.reason}


def dispute(one: Dispute, intent: dict[str, Any]) -> dict[str, Any]:
    return opened_dispute((one.n,), intent, status=one.status, created=stamp(one.created), reason=one.reason)


def opened_dispute(
    seed: tuple[object, ...], intent: dict[str, Any], *, status: str, created: int, reason: str = "fraudulent"
) -> dict[str, Any]:
    """A dispute of a payment's charge."""
    return {
        "id": make_id("dispute", *seed), "object": "dispute", "amount": intent["amount"], "balance_transactions": [],
        "charge": intent["latest_charge"], "created": created, "currency": intent["currency"], "evidence": {},
        "evidence_details": {
            "due_by": created + 14 * DAY_S, "has_evidence": False, "past_due": False, "submission_count": 0,
        },
        "is_charge_refundable": status == "won", "livemode": False, "metadata": {}, "payment_intent": intent["id"],
        "reason": reason, "status": status,
    }  # fmt: skip


def subscription(one: Subscription) -> dict[str, Any]:
    """A standing payment; a paused one is active with its collection paused, as Stripe has it."""
    own, began = make_id("subscription", one.n), stamp(one.started)
    trial_end = began + 14 * DAY_S if one.status == "trialing" else None
    ended = began + MONTH_S if one.status == "canceled" else None
    return {
        "id": own, "object": "subscription", "application": None, "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": trial_end or began, "billing_cycle_anchor_config": None,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible", "updated_at": began},
        "billing_thresholds": None, "cancel_at": began + MONTH_S if one.cancel_at_period_end else None,
        "cancel_at_period_end": one.cancel_at_period_end, "canceled_at": ended,
        "cancellation_details": {
            "comment": None, "feedback": "too_expensive" if ended else None,
            "reason": "cancellation_requested" if ended else None,
        },
        "collection_method": "charge_automatically", "created": began, "currency": one.person.currency.lower(),
        "customer": customer_id(one.person), "customer_account": None, "days_until_due": None,
        "default_payment_method": make_id("payment_method", "subscription", one.n), "default_source": None,
        "default_tax_rates": [], "description": None, "discounts": [], "ended_at": ended,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": {
            "object": "list", "data": [_item(one, own, began, trial_end or began + MONTH_S)], "has_more": False,
            "total_count": 1, "url": f"/v1/subscription_items?subscription={own}",
        },
        "latest_invoice": make_id("invoice", one.n), "livemode": False, "metadata": {},
        "next_pending_invoice_item_invoice": None, "on_behalf_of": None,
        "pause_collection": {"behavior": "void", "resumes_at": None} if one.status == "paused" else None,
        "payment_settings": {
            "payment_method_options": None, "payment_method_types": None, "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None, "pending_setup_intent": None, "pending_update": None,
        "plan": _plan(one, began), "quantity": 1, "schedule": None, "start_date": began,
        "status": "active" if one.status == "paused" else one.status, "test_clock": None, "transfer_data": None,
        "trial_end": trial_end,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": began if trial_end else None,
    }  # fmt: skip


def _item(one: Subscription, own: str, began: int, end: int) -> dict[str, Any]:
    return {
        "id": make_id("subscription_item", one.n), "object": "subscription_item", "billing_thresholds": None,
        "created": began, "current_period_end": end, "current_period_start": began, "discounts": [], "metadata": {},
        "plan": _plan(one, began), "price": _price(one, began), "quantity": 1, "subscription": own, "tax_rates": [],
    }  # fmt: skip


def _plan(one: Subscription, created: int) -> dict[str, Any]:
    return {
        "id": _price_id(one), "object": "plan", "active": True, "amount": one.unit_minor,
        "amount_decimal": str(one.unit_minor), "billing_scheme": "per_unit", "created": created,
        "currency": one.person.currency.lower(), "interval": "month", "interval_count": 1, "livemode": False,
        "metadata": {}, "meter": None, "nickname": PLANS[one.plan], "product": "prod_SandboxCare01",
        "tiers_mode": None, "transform_usage": None, "trial_period_days": None, "usage_type": "licensed",
    }  # fmt: skip


def _price(one: Subscription, created: int) -> dict[str, Any]:
    return {
        "id": _price_id(one), "object": "price", "active": True, "billing_scheme": "per_unit", "created": created,
        "currency": one.person.currency.lower(), "custom_unit_amount": None, "livemode": False, "lookup_key": None,
        "metadata": {}, "nickname": PLANS[one.plan], "product": "prod_SandboxCare01",
        "recurring": {
            "interval": "month", "interval_count": 1, "meter": None, "trial_period_days": None,
            "usage_type": "licensed",
        },
        "tax_behavior": "exclusive", "tiers_mode": None, "transform_quantity": None, "type": "recurring",
        "unit_amount": one.unit_minor, "unit_amount_decimal": str(one.unit_minor),
    }  # fmt: skip


def _price_id(one: Subscription) -> str:
    return f"price_{one.plan.replace('-', '_')}_{one.person.currency.lower()}"


def invoice(sub: dict[str, Any], one: str) -> dict[str, Any]:
    """The latest invoice of a subscription, as far as it is looked at."""
    amount, late = sub["items"]["data"][0]["price"]["unit_amount"], sub["status"] == "past_due"
    return {
        "id": one, "object": "invoice", "amount_due": amount, "amount_paid": 0 if late else amount,
        "amount_remaining": amount if late else 0, "attempt_count": 2 if late else 1, "attempted": True,
        "billing_reason": "subscription_cycle", "created": sub["created"], "currency": sub["currency"],
        "customer": sub["customer"], "livemode": False, "metadata": {}, "number": f"{one[4:12].upper()}-0001",
        "parent": {
            "quote_details": None, "subscription_details": {"metadata": {}, "subscription": sub["id"]},
            "type": "subscription_details",
        },
        "status": "open" if late else "paid", "total": amount,
    }  # fmt: skip
