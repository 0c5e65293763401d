"""
Stripe's sandbox: its API over one generated account, with idempotency keys, events and signed webhooks.

It imitates; what it answers is held against recordings and specifications, see the README's table.
"""

import re
from typing import Any

from hub.sandbox import Request, Response, route
from hub_stripe.sandbox import billing, forms, shapes
from hub_stripe.sandbox.hooks import Deliveries
from hub_stripe.sandbox.hooks import signature as signature
from hub_stripe.sandbox.keyed import print_of
from hub_stripe.sandbox.schedules import Schedules
from hub_stripe.sandbox.state import Refusal, State, Thing, missing
from hub_stripe.sandbox.versions import rendered

API_KEY = "sk_test_sandbox"
WEBHOOK_SECRET = "whsec_sandbox"  # noqa: S105
VERSION = "2026-06-24.dahlia"
ACCOUNT = "acct_1SandboxDeskhub0"
_LISTS = "customers|payment_intents|charges|refunds|disputes|subscriptions"
_FILTERS = ("customer", "payment_intent", "charge", "email")
_ENDED = frozenset(("canceled", "incomplete_expired"))


class StripeSandbox(Schedules):
    """
    One account in test mode.

    `state` may be changed by tests; `hooks.url` set to a receiver makes every change a signed webhook.
    """

    name = "stripe"
    state: State
    hooks: Deliveries = Deliveries(WEBHOOK_SECRET)

    def fill(self) -> None:
        self.state = State(self.world)
        self.hooks = Deliveries(WEBHOOK_SECRET, url=self.hooks.url)
        self.keys: dict[str, tuple[str, Response]] = {}
        self.balances: dict[str, list[Thing]] = {}

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "api_key": API_KEY, "webhook_secret": WEBHOOK_SECRET}

    def authorized(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "")
        if given == f"Bearer {API_KEY}":
            return None
        words = "You did not provide an API key." if not given else "Invalid API Key provided: sk_test_****"
        return Response({"error": {"message": words, "type": "invalid_request_error"}}, 401)

    def throttled(self, request: Request) -> Response:
        error = {"message": "Too many requests hit the API too quickly.", "type": "invalid_request_error"}
        return Response({"error": {**error, "code": "rate_limit"}}, 429, self._headers(request))

    def failed(self, request: Request, status: int) -> Response:
        """Fail; a server error is kept for the key and comes again, as Stripe says of its own."""
        if status == 429:
            return self.throttled(request)
        response = Response({"error": {"message": "Something failed at Stripe.", "type": "api_error"}}, status)
        key = request.headers.get("idempotency-key")
        if key and status >= 500:
            self.keys.setdefault(key, (print_of(request), response))
        response.headers |= self._headers(request)
        return response

    def not_found(self, request: Request) -> Response:
        words = f"Unrecognized request URL ({request.method}: {request.path})."
        return Response({"error": {"message": words, "type": "invalid_request_error"}}, 404)

    def answer(self, request: Request) -> Response:
        with self.lock:
            before = len(self.state.events)
            response = super().answer(request)
            response.headers |= self._headers(request)
            events = self.state.events[before:]
        if self.faulty("reorder_webhook", request):
            events = events[::-1]
        if self.faulty("duplicate_webhook", request):
            events = [event for event in events for _ in range(2)]
        self.hooks.send(events)
        return response

    @route("GET", "/v1/account")
    def account(self, request: Request) -> Any:
        return {"id": ACCOUNT, "object": "account", "country": "DE", "default_currency": "eur", "type": "standard"}

    @route("GET", "/v1/balance")
    def balance(self, request: Request) -> Any:
        return {"object": "balance", "available": [], "livemode": False, "pending": []}

    @route("GET", rf"/v1/(?P<kind>{_LISTS}|events)")
    def list_(self, request: Request) -> Any:
        def run() -> Response:
            kind = request.args["kind"]
            rows = [row for row in self.state.rows(kind) if _wanted(kind, row, request)]
            page, more = _page(rows, request)
            expand = [path.removeprefix("data.") for path in forms.expands(request)]
            data = [self._shown(row, request, expand) for row in page]
            return Response({"object": "list", "data": data, "has_more": more, "url": request.path})

        return self._try(run)

    @route("GET", r"/v1/customers/search")
    def search(self, request: Request) -> Any:
        asked = re.fullmatch(r"(phone|email|metadata\['(\w+)'\]):'((?:[^'\\]|\\.)*)'", request.arg("query"))
        if asked is None:
            return self._try(lambda: _refuse(Refusal(400, "We were unable to parse your search query.")))
        name, meta, value = asked.groups()
        value = re.sub(r"\\(.)", r"\1", value)
        found = [
            row for row in self.state.rows("customers") if (row["metadata"].get(meta) if meta else row[name]) == value
        ]
        data = [self._shown(row, request, []) for row in found]
        return {"object": "search_result", "data": data, "has_more": False, "next_page": None, "url": request.path}

    @route("GET", rf"/v1/(?P<kind>{_LISTS})/(?!search$)(?P<id>[^/]+)")
    def one(self, request: Request) -> Any:
        kind, one = request.args["kind"], request.args["id"]
        if one in self.state.gone:
            return {"id": one, "object": "customer", "deleted": True}
        return self._try(lambda: Response(self._shown(self.state.get(kind, one), request, forms.expands(request))))

    @route("POST", "/v1/refunds")
    def refund(self, request: Request) -> Any:
        return self._once(request, lambda: self._refund(request))

    @route("POST", "/v1/customers")
    def create_customer(self, request: Request) -> Any:
        return self._once(request, lambda: self._create(request))

    @route("POST", r"/v1/customers/(?P<id>[^/]+)")
    def update_customer(self, request: Request) -> Any:
        return self._once(request, lambda: self._update(request))

    @route("POST", r"/v1/payment_intents/(?P<id>[^/]+)/cancel")
    def release(self, request: Request) -> Any:
        def run() -> Response:
            params = billing.params_of(request)
            forms.only(params, "cancellation_reason", "expand")
            intent = self.state.get("payment_intents", request.args["id"], param="intent")
            billing.release(intent, str(params.get("cancellation_reason") or ""), int(self.state.clock()))
            self.state.happened("payment_intent.canceled", intent)
            request.effect(f"release {intent['id']}", id=intent["id"])
            return Response(self._shown(intent, request, []))

        return self._once(request, run)

    @route("DELETE", r"/v1/customers/(?P<id>[^/]+)")
    def delete_customer(self, request: Request) -> Any:
        def run() -> Response:
            stub = self.state.delete_customer(request.args["id"])
            request.effect(f"customer.delete {stub['id']}", id=stub["id"])
            return Response(stub)

        return self._try(run)

    @route("DELETE", r"/v1/subscriptions/(?P<id>[^/]+)")
    def cancel_subscription(self, request: Request) -> Any:
        def run() -> Response:
            thing, now = self.state.get("subscriptions", request.args["id"]), int(self.state.clock())
            thing |= {"status": "canceled", "canceled_at": now, "ended_at": now}
            self.state.happened("customer.subscription.deleted", thing)
            request.effect(f"subscription.cancel {thing['id']}", id=thing["id"])
            return Response(self._shown(thing, request, []))

        return self._try(run)

    @route("POST", r"/v1/subscriptions/(?P<id>[^/]+)")
    def change_subscription(self, request: Request) -> Any:
        def run() -> Response:
            thing = self.state.get("subscriptions", request.args["id"])
            params = billing.params_of(request)
            billing.change(self.state, thing, params)
            self.state.happened("customer.subscription.updated", thing)
            request.effect(f"subscription.update {thing['id']}", id=thing["id"], fields=sorted(params))
            return Response(self._shown(thing, request, []))

        return self._once(request, run)

    @route("POST", r"/v1/customers/(?P<id>[^/]+)/balance_transactions")
    def grant_credit(self, request: Request) -> Any:
        def run() -> Response:
            customer = self.state.get("customers", request.args["id"])
            made = billing.grant(self.state, customer, billing.params_of(request))
            self.balances.setdefault(customer["id"], []).insert(0, made)
            self.state.happened("customer.updated", customer)
            request.effect(f"credit {customer['id']} {-made['amount']} {made['currency']}", id=made["id"])
            return Response(made)

        return self._once(request, run)

    @route("GET", r"/v1/customers/(?P<id>[^/]+)/balance_transactions")
    def balance_transactions(self, request: Request) -> Any:
        request.args["kind"] = "balance_transactions"
        page, more = _page(self.balances.get(request.args["id"], []), request)
        return {"object": "list", "data": page, "has_more": more, "url": request.path}

    def _refund(self, request: Request) -> Response:
        params = forms.nested(request.form())
        forms.only(params, "payment_intent", "charge", "amount", "reason", "metadata", "expand")
        intent = self.state.get("payment_intents", params.get("payment_intent", ""), param="payment_intent")
        amount = self._refundable(intent, params.get("amount"))
        reason = params.get("reason")
        if reason is not None:
            forms.one_of(reason, "reason", "duplicate", "fraudulent", "requested_by_customer")
        made = self.state.refund(intent, amount, reason=reason, metadata=forms.metadata(params.get("metadata")))
        request.effect(
            f"refund {intent['id']} {amount} {intent['currency']}", id=made["id"], amount=amount, payment=intent["id"]
        )
        return Response(self._shown(made, request, []))

    def _refundable(self, intent: Thing, asked: str | None) -> int:
        """Give the amount to refund. Raises Refusal where Stripe would refuse."""
        charge = self.state.find("charges", intent["latest_charge"] or "")
        if charge is None or not charge["captured"]:
            raise Refusal(
                400, f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
                param="payment_intent",
            )  # fmt: skip
        dispute = self.state.find("disputes", charge["dispute"] or "")
        if dispute is not None and not dispute["is_charge_refundable"]:
            raise Refusal(
                400, f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed"
            )
        left = charge["amount_captured"] - charge["amount_refunded"]
        if left <= 0:
            raise Refusal(400, f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
        amount = left if asked is None else forms.whole(asked, "amount")
        if amount > left:
            raise Refusal(
                400, f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", param="amount"
            )
        return amount

    def _create(self, request: Request) -> Response:
        params = forms.nested(request.form())
        self.state.count += 1
        made = shapes.blank_customer(shapes.make_id("customer", "made", self.state.count), int(self.state.clock()))
        self.state.put("customers", _filled(made, params))
        self.state.happened("customer.created", made)
        request.effect(f"customer.create {made['id']}", id=made["id"])
        return Response(self._shown(made, request, []))

    def _update(self, request: Request) -> Response:
        params, one = forms.nested(request.form()), request.args["id"]
        if one in self.state.gone:
            raise missing("customer", one, "id")
        thing = _filled(self.state.get("customers", one), params)
        self.state.happened("customer.updated", thing)
        request.effect(f"customer.update {one}", id=one, fields=sorted(params))
        return Response(self._shown(thing, request, []))

    def _shown(self, thing: Thing, request: Request, expand: list[str]) -> Thing:
        try:
            return rendered(thing, request.headers.get("stripe-version", VERSION), expand, self.state.find)
        except KeyError as exc:
            raise Refusal(400, f"This property cannot be expanded ({exc.args[0]}).", param="expand") from exc

    def _headers(self, request: Request) -> dict[str, str]:
        key = request.headers.get("idempotency-key")
        return {
            "Request-Id": shapes.make_id("request", len(self.ledger), request.path),
            "Stripe-Version": request.headers.get("stripe-version", VERSION),
            **({"Idempotency-Key": key} if key else {}),
        }


def _refuse(refusal: Refusal) -> Response:
    raise refusal


def _filled(customer: Thing, params: dict[str, Any]) -> Thing:
    """Put a customer's parameters in; "" unsets, metadata is merged key by key."""
    forms.only(
        params, "name", "email", "phone", "description", "metadata", "preferred_locales", "address", "shipping",
        "individual_name", "business_name", "expand",
    )  # fmt: skip
    for name in ("name", "email", "phone", "description"):
        if name in params:
            customer[name] = params[name] or None
    if "preferred_locales" in params:
        customer["preferred_locales"] = forms.listed(params["preferred_locales"])
    for name in ("address", "shipping"):
        if name in params:
            customer[name] = {**(customer[name] or {}), **params[name]} if params[name] else None
    for key, value in forms.metadata(params.get("metadata")).items():
        customer["metadata"] = {k: v for k, v in {**customer["metadata"], key: value}.items() if v != ""}
    return customer


def _wanted(kind: str, row: Thing, request: Request) -> bool:
    if any(name in request.query and row.get(name) != request.arg(name) for name in _FILTERS):
        return False
    if "created[gte]" in request.query and row["created"] < int(request.arg("created[gte]")):
        return False
    types = request.query.get("types[]")
    if kind == "events":
        return types is None or row["type"] in types
    return kind != "subscriptions" or _in_status(row["status"], request.arg("status"))


def _in_status(status: str, asked: str) -> bool:
    if asked in ("", "ended"):
        return (status in _ENDED) == (asked == "ended")
    return asked in ("all", status)


def _page(rows: list[Thing], request: Request) -> tuple[list[Thing], bool]:
    limit = forms.whole(request.arg("limit", "10"), "limit")
    if limit > 100:
        raise Refusal(400, "The limit is at most 100", code="parameter_invalid_integer", param="limit")
    at = {row["id"]: i for i, row in enumerate(rows)}
    for name in ("starting_after", "ending_before"):
        one = request.arg(name)
        if one and one not in at:
            raise missing(request.args["kind"].removesuffix("s"), one, name, 400)
    if one := request.arg("ending_before"):
        return rows[max(0, at[one] - limit) : at[one]], at[one] > limit
    start = at[request.arg("starting_after")] + 1 if request.arg("starting_after") else 0
    return rows[start : start + limit], start + limit < len(rows)
