"""Stripe as a connector: customers, payments with their charges and disputes, refunds, subscriptions."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from hub import (
    Absent,
    Action,
    Call,
    CannotTell,
    Change,
    Checked,
    Connector,
    CreditGrant,
    CreditTakeBack,
    CustomerArchive,
    CustomerChangeEmail,
    CustomerCreate,
    CustomerLookup,
    CustomerUpdate,
    CustomerUpdateAddress,
    Effect,
    Field,
    Found,
    Invalid,
    Limit,
    NotFound,
    Outcome,
    Page,
    PaymentRefund,
    PaymentVoidAuthorization,
    Stream,
    SubscriptionCancel,
    SubscriptionChangePlan,
    SubscriptionChangeQuantity,
    SubscriptionPause,
    SubscriptionResume,
    SubscriptionUncancel,
    Unauthorized,
    Unsupported,
    act,
    fetch,
    find,
    pull,
    webhook,
)
from hub_stripe import actions, billing, customers, events, schedules
from hub_stripe.client import HOST, Client, StripeConfig, decode
from hub_stripe.describing import described
from hub_stripe.objects import Objects, checked
from hub_stripe.pulling import Pull

TOLERANCE_S = 300
_LIVE = {"sk_live_": True, "rk_live_": True, "sk_test_": False, "rk_test_": False}


class _Account(msgspec.Struct):
    id: str


class _Balance(msgspec.Struct):
    livemode: bool | None = None


class StripeConnector(Connector):
    """One Stripe account, reached with a secret or restricted API key."""

    name = "stripe"
    Config = StripeConfig
    sandbox = "hub_stripe.sandbox:StripeSandbox"
    # Live mode; test mode allows 25 a second of each (https://docs.stripe.com/rate-limits), which 429s then tell.
    limits = (Limit("read", 100, 1, match="^GET"), Limit("write", 100, 1, match="^(POST|DELETE)"))
    config: StripeConfig

    @classmethod
    def hosts(cls, config: StripeConfig) -> tuple[str, ...]:
        return (HOST,)

    @cached_property
    def client(self) -> Client:
        """The way to Stripe; the SDK is imported with the first write."""
        return Client(self.config, self.transport)

    def check(self) -> Checked:
        """Read the account (or, with a restricted key, something smaller) and say whether its money is real."""
        live = next((v for k, v in _LIVE.items() if self.config.api_key.get_secret_value().startswith(k)), None)
        notes: tuple[str, ...] = ()
        try:
            account = decode(self.client.get("/v1/account").body, _Account, "/v1/account").id
        except Unauthorized as exc:
            if exc.reason != "permission":
                raise
            account = f"key:{_digest(self.config.api_key.get_secret_value())}"
            notes = ("the key may not read the account; limits are kept per key",)
        if live is None:
            live = decode(self.client.get("/v1/balance").body, _Balance, "/v1/balance").livemode
        return Checked(account, live, api_version=self.config.stripe_version, notes=notes)

    def describe(self, stream: str) -> list[Field]:
        return described(stream)

    @pull("customers", deletes="feed")
    @pull("payment_intents")
    @pull("refunds")
    @pull("subscriptions")
    def read(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        """Full lists first, then what the events name. Only customers are ever deleted; the events say so."""
        return Pull(self.client, stream).pages(cursor)

    @fetch("customers")
    @fetch("payment_intents")
    @fetch("refunds")
    @fetch("subscriptions")
    def fetch(self, stream: Stream, ids: Sequence[str]) -> Page:
        return Objects(self.client, stream).fetch(ids)

    @act(CustomerLookup, idempotency="set")
    def lookup(self, action: CustomerLookup, call: Call) -> Outcome:
        """Ask Stripe for the customers with this e-mail, phone or external reference; they are touched."""
        path, params = actions.lookup(action)
        found = decode(self.client.get(path, params).body, actions.Hits, path).data
        return Outcome(
            touched=[("customers", one.id) for one in found],
            answer=[{"stream": "customers", "remote_id": one.id} for one in found],
        )

    @act(CustomerCreate, idempotency="native")
    def create_customer(self, action: Action, call: Call) -> Outcome:
        """Make a customer, marked with the run."""
        params = customers.new(call)
        with self.client.writing("POST /v1/customers"):
            made = self.client.sdk.v1.customers.create(params, options={"idempotency_key": call.key}).to_dict()
        return customers.created(made, call)

    @find(CustomerCreate)
    def find_created(self, action: Action, call: Call) -> Found | Absent | CannotTell:
        """Look for the run's mark among the customers with this e-mail: that list is exact and current."""
        email = call.fields.get("email")
        if not isinstance(email, str):
            return CannotTell(
                "only customers with an e-mail are listed without delay; the same key answers for certain"
            )
        for one in self._listed("/v1/customers", [("email", email)]):
            if (one.get("metadata") or {}).get(actions.MARK) == call.run_id:
                return Found(customers.created(one, call))
        return Absent()

    @act(CustomerArchive, idempotency="set")
    def archive(self, action: Action, call: Call) -> Outcome:
        """Delete a customer: a v1 DELETE takes no key and needs none."""
        one = _target(call, "customer_ref", "cus")
        self._customer(one)
        with self.client.writing("DELETE /v1/customers/{id}"):
            self.client.sdk.v1.customers.delete(one)
        return customers.deleted(one)

    @find(CustomerArchive)
    def find_archived(self, action: Action, call: Call) -> Found | Absent:
        """Look whether the customer is deleted."""
        one = _target(call, "customer_ref", "cus")
        try:
            self._customer(one)
        except NotFound:
            return Found(customers.deleted(one))
        return Absent()

    @act(CustomerUpdate, idempotency="native")
    @act(CustomerUpdateAddress, idempotency="native")
    @act(CustomerChangeEmail, idempotency="native")
    def update_customer(self, action: Action, call: Call) -> Outcome:
        """Change a customer; the values before are read first, so that the change can be undone."""
        one = _target(call, "customer_ref", "cus")
        wanted, before = actions.customer_params(call.fields), self._customer(one)
        params = customers.with_name(wanted, before)
        with self.client.writing("POST /v1/customers/{id}"):
            after = self.client.sdk.v1.customers.update(one, params, options={"idempotency_key": call.key}).to_dict()
        effect = Effect(
            "customer", one, "update", actions.same_keys(before, call.fields), actions.same_keys(after, call.fields)
        )
        return Outcome([effect], [("customers", one)])

    @find(CustomerUpdate)
    @find(CustomerUpdateAddress)
    @find(CustomerChangeEmail)
    def find_update(self, action: Action, call: Call) -> Found | Absent:
        """Compare the customer with what was to be set: a stored server error would be answered for a day."""
        one = _target(call, "customer_ref", "cus")
        now = self._customer(one)
        if not actions.holds(now, actions.customer_params(call.fields)):
            return Absent()
        effect = Effect("customer", one, "update", None, actions.same_keys(now, call.fields))
        return Found(Outcome([effect], [("customers", one)]))

    def _customer(self, one: str) -> dict[str, Any]:
        path = "/v1/customers/{id}"
        found: dict[str, Any] = decode(self.client.get(f"/v1/customers/{one}", what=path).body, dict[str, Any], path)
        if found.get("deleted"):
            raise NotFound("stripe: this customer was deleted")
        return found

    @act(PaymentRefund, idempotency="native")
    def refund(self, action: PaymentRefund, call: Call) -> Outcome:
        """Refund a payment intent, marked with the run, so that a lost answer can be looked up."""
        intent = _target(call, "payment_ref", "pi")
        params = actions.refund_params(intent, action, call)
        with self.client.writing("POST /v1/refunds"):
            made = self.client.sdk.v1.refunds.create(params, options={"idempotency_key": call.key}).to_dict()
        return _refunded(intent, made)

    @find(PaymentRefund)
    def find_refund(self, action: PaymentRefund, call: Call) -> Found | Absent:
        """Look for the run's refund among the payment's; lists of one payment's refunds are strongly consistent."""
        intent = _target(call, "payment_ref", "pi")
        for one in self._listed("/v1/refunds", [("payment_intent", intent)]):
            if (one.get("metadata") or {}).get(actions.MARK) == call.run_id:
                return Found(_refunded(intent, one))
        return Absent()

    @act(PaymentVoidAuthorization, idempotency="native")
    def release(self, action: Action, call: Call) -> Outcome:
        """Cancel a payment intent that holds money it has not taken."""
        intent = _target(call, "payment_ref", "pi")
        before = self._intent(intent)
        customers.releasable(before)
        with self.client.writing("POST /v1/payment_intents/{id}/cancel"):
            after = self.client.sdk.v1.payment_intents.cancel(
                intent, {"cancellation_reason": "requested_by_customer"}, options={"idempotency_key": call.key}
            ).to_dict()
        return customers.released(before, after)

    @find(PaymentVoidAuthorization)
    def find_release(self, action: Action, call: Call) -> Found | Absent:
        """Look whether the payment intent is canceled: it can be so only once."""
        now = self._intent(_target(call, "payment_ref", "pi"))
        return Found(customers.released(None, now)) if now.get("status") == "canceled" else Absent()

    def _intent(self, one: str) -> dict[str, Any]:
        path = "/v1/payment_intents/{id}"
        found: dict[str, Any] = decode(self.client.get(f"/v1/payment_intents/{one}", what=path).body, dict, path)
        return found

    @act(SubscriptionCancel, idempotency="native")
    @act(SubscriptionUncancel, idempotency="native")
    @act(SubscriptionPause, idempotency="native")
    @act(SubscriptionResume, idempotency="native")
    @act(SubscriptionChangePlan, idempotency="native", takes=("item", "effective"))
    @act(SubscriptionChangeQuantity, idempotency="native", takes=("item", "effective"))
    def change_subscription(self, action: Action, call: Call) -> Outcome:
        """Change or end a subscription; it is read first, so that what changed is told."""
        one = _target(call, "subscription_ref", "sub")
        before = self._subscription(one)
        if isinstance(action, (SubscriptionChangePlan, SubscriptionChangeQuantity)) and schedules.later(action):
            return schedules.change(self.client, action, call, before)
        params = billing.params(action, before)
        if isinstance(action, (SubscriptionChangePlan, SubscriptionChangeQuantity)):
            schedules.make_way(self.client, call, before)
        if billing.now(action):  # a v1 DELETE takes no key and needs none: it can happen only once
            with self.client.writing("DELETE /v1/subscriptions/{id}"):
                after = self.client.sdk.v1.subscriptions.cancel(one, params).to_dict()
        else:
            with self.client.writing("POST /v1/subscriptions/{id}"):
                after = self.client.sdk.v1.subscriptions.update(
                    one, params, options={"idempotency_key": call.key}
                ).to_dict()
        return billing.changed(one, before, after)

    @find(SubscriptionCancel)
    @find(SubscriptionUncancel)
    @find(SubscriptionPause)
    @find(SubscriptionResume)
    @find(SubscriptionChangePlan)
    @find(SubscriptionChangeQuantity)
    def find_subscription_change(self, action: Action, call: Call) -> Found | Absent:
        """Compare the subscription with what was to be set: setting it again would change nothing else."""
        one = _target(call, "subscription_ref", "sub")
        thing = self._subscription(one)
        if schedules.later(action):
            return schedules.find(self.client, call, thing)
        return Found(billing.changed(one, None, thing)) if billing.done(action, thing) else Absent()

    def _subscription(self, one: str) -> dict[str, Any]:
        path = "/v1/subscriptions/{id}"
        found: dict[str, Any] = decode(self.client.get(f"/v1/subscriptions/{one}", what=path).body, dict, path)
        return found

    @act(CreditGrant, idempotency="native")
    @act(CreditTakeBack, idempotency="native")
    def change_credit(self, action: CreditGrant | CreditTakeBack, call: Call) -> Outcome:
        """Put credit on a customer's balance, or take it off again, marked with the run."""
        one = _target(call, "customer_ref", "cus")
        params = billing.credit(action, call.run_id, actions.MARK)
        with self.client.writing("POST /v1/customers/{id}/balance_transactions"):
            made = self.client.sdk.v1.customers.balance_transactions.create(
                one, params, options={"idempotency_key": call.key}
            ).to_dict()
        return billing.granted(one, made)

    @find(CreditGrant)
    @find(CreditTakeBack)
    def find_credit(self, action: Action, call: Call) -> Found | Absent:
        """Look for the run's entry among the customer's; the list is strongly consistent."""
        one = _target(call, "customer_ref", "cus")
        for entry in self._listed(f"/v1/customers/{one}/balance_transactions", []):
            if (entry.get("metadata") or {}).get(actions.MARK) == call.run_id:
                return Found(billing.granted(one, entry))
        return Absent()

    def _listed(self, path: str, params: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        after: list[tuple[str, str]] = []
        while True:
            asked = [*params, ("limit", "100"), *after]
            page = decode(self.client.get(path, asked, what="a list").body, actions.Refunds, path)
            yield from page.data
            if not page.has_more or not page.data:
                return
            after = [("starting_after", page.data[-1]["id"])]

    @webhook
    def receive(self, body: bytes, headers: Mapping[str, str]) -> list[Change]:
        """Verify Stripe-Signature (at most 300 s old) and name what changed; other events name nothing."""
        self._verify(body, headers)
        event = decode(body, events.Envelope, "a webhook")
        if event.object != "event" or not any(event.type in types for types in events.TYPES.values()):
            return []
        whole = decode(body, events.Event, "a webhook")
        return [change for stream in events.TYPES for change in events.changes(stream, whole) or ()]

    def _verify(self, body: bytes, headers: Mapping[str, str]) -> None:
        if self.config.webhook_secret is None:
            raise Unsupported("stripe: webhook_secret is not configured; set the endpoint's whsec_… secret")
        import stripe

        signature = next((v for k, v in headers.items() if k.lower() == "stripe-signature"), None)
        secret = self.config.webhook_secret.get_secret_value()
        try:
            stripe.WebhookSignature.verify_header(body, signature, secret, TOLERANCE_S)
        except (stripe.SignatureVerificationError, UnicodeDecodeError) as exc:
            raise Unauthorized(
                "stripe: a webhook without a valid signature was refused; is webhook_secret this endpoint's?"
            ) from exc


def _target(call: Call, field: str, prefix: str) -> str:
    one = checked(call.target.remote_id if call.target else str(call.input.get(field, "")))
    if prefix == "pi" and not one.startswith("pi_"):
        raise Invalid("stripe: a payment is refunded by its payment intent (pi_…)", field_path=field)
    return one


def _refunded(intent: str, made: Mapping[str, Any]) -> Outcome:
    shown = {k: made.get(k) for k in ("payment_intent", "amount", "currency", "status", "reason")}
    effect = Effect("refund", made["id"], "create", None, shown)
    return Outcome([effect], [("refunds", made["id"]), ("payment_intents", intent)])


def _digest(secret: str) -> str:
    return hashlib.blake2b(secret.encode(), digest_size=6).hexdigest()
