"""What the sandbox holds: objects by kind and id, lists as Stripe pages them, events of what changed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hub.sandbox import Payment, World
from hub_stripe.sandbox import shapes

KEPT_S = 30 * shapes.DAY_S
KINDS = (
    "customers", "payment_intents", "charges", "refunds", "disputes", "subscriptions", "payment_methods", "invoices",
    "subscription_schedules",
)  # fmt: skip
Thing = dict[str, Any]


class Refusal(Exception):
    """An answer in Stripe's error form."""

    def __init__(self, status: int, message: str, *, type: str = "invalid_request_error", **more: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": type, **more}
        if code := more.get("code"):
            self.error["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"


def missing(noun: str, one: str, param: str, status: int = 404) -> Refusal:
    return Refusal(status, f"No such {noun}: '{one}'", code="resource_missing", param=param)


@dataclass
class State:
    """All objects of the account. `clock` tells the time of what happens from now on."""

    world: World
    clock: Callable[[], float] = time.time
    kinds: dict[str, dict[str, Thing]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    gone: set[str] = field(default_factory=set)
    events: list[Thing] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        for person in self.world.known_to("stripe"):
            self.put("customers", shapes.customer(person))
            if person.twice_in_stripe:
                self.put("customers", shapes.customer(person, second=True))
        for payment in self.world.payments:
            if "stripe" in payment.order.person.systems:
                self._pay(payment)
        for one in self.world.subscriptions:
            self._subscribe(shapes.subscription(one))

    def put(self, kind: str, thing: Thing) -> Thing:
        self.kinds[kind][thing["id"]] = thing
        return thing

    def find(self, kind: str, one: str) -> Thing | None:
        return self.kinds[kind].get(one)

    def get(self, kind: str, one: str, *, param: str = "id", status: int = 404) -> Thing:
        """Give an object. Raises Refusal resource_missing."""
        thing = self.kinds[kind].get(one)
        if thing is None:
            raise missing(kind.removesuffix("s"), one, param, status)
        return thing

    def rows(self, kind: str) -> list[Thing]:
        """Give all of a kind, newest first; events only as long as they are kept."""
        if kind == "events":
            floor = self.clock() - KEPT_S
            return [event for event in reversed(self.events) if event["created"] >= floor]
        return sorted(self.kinds[kind].values(), key=lambda thing: -thing["created"])

    def happened(self, name: str, thing: Thing, *, key: str | None = None) -> Thing:
        """Note an event about an object as it is now."""
        self.count += 1
        event = {
            "id": shapes.make_id("event", self.count), "object": "event", "api_version": "2026-06-24.dahlia",
            "created": int(self.clock()), "data": {"object": {**thing}}, "livemode": False, "pending_webhooks": 1,
            "request": {"id": shapes.make_id("request", self.count), "idempotency_key": key}, "type": name,
        }  # fmt: skip
        self.events.append(event)
        return event

    def refund(self, intent: Thing, amount: int, *, reason: str | None, metadata: dict[str, str]) -> Thing:
        """Give money back; the charge knows. The caller has checked that it may be."""
        self.count += 1
        made = shapes.refund(("made", self.count), intent, amount, int(self.clock()))
        charge = self.kinds["charges"][intent["latest_charge"]]
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
        self.put("refunds", made | {"reason": reason, "metadata": metadata})
        self.happened("refund.created", self.kinds["refunds"][made["id"]])
        self.happened("charge.refunded", charge)
        return self.kinds["refunds"][made["id"]]

    def dispute(self, intent: str, status: str = "needs_response") -> Thing:
        """Let a payment be disputed, as a cardholder would; no request does this."""
        paid = self.kinds["payment_intents"][intent]
        charge = self.kinds["charges"][paid["latest_charge"]]
        self.count += 1
        made = shapes.opened_dispute(("made", self.count), paid, status=status, created=int(self.clock()))
        charge |= {"disputed": True, "dispute": made["id"]}
        self.happened("charge.dispute.created", self.put("disputes", made))
        return made

    def delete_customer(self, one: str) -> Thing:
        thing = self.get("customers", one)
        del self.kinds["customers"][one]
        self.gone.add(one)
        self.happened("customer.deleted", thing)
        return {"id": one, "object": "customer", "deleted": True}

    def _pay(self, payment: Payment) -> None:
        person = payment.order.person
        customer = shapes.customer_id(person, person.twice_in_stripe and payment.n % 2 == 0)
        intent = self.put("payment_intents", shapes.payment_intent(payment, customer))
        method = shapes.card(intent["payment_method"], payment.brand, payment.last4, customer, intent["created"])
        self.put("payment_methods", method)
        if intent["latest_charge"]:
            self.put("charges", shapes.charge(payment, customer))
        for refund in payment.refunds:
            self.put("refunds", shapes.world_refund(refund, intent))
        if payment.dispute:
            self.put("disputes", shapes.dispute(payment.dispute, intent))

    def _subscribe(self, thing: Thing) -> None:
        self.put("subscriptions", thing)
        method = thing["default_payment_method"]
        self.put("payment_methods", shapes.card(method, "visa", "4242", thing["customer"], thing["created"]))
        self.put("invoices", shapes.invoice(thing, thing["latest_invoice"]))
        settings = self.kinds["customers"][thing["customer"]]["invoice_settings"]
        settings["default_payment_method"] = method
