"""The sandbox's subscription schedules: what a subscription turns into when its period ends."""

from itertools import pairwise
from typing import Any

from hub.sandbox import Request, Response, route
from hub_stripe.sandbox import billing, forms, shapes
from hub_stripe.sandbox.keyed import Keyed
from hub_stripe.sandbox.state import Refusal, State, Thing


class Schedules(Keyed):
    """Makes schedules of subscriptions, gives them phases, and lets go of them."""

    state: State

    @route("GET", r"/v1/subscription_schedules/(?P<id>[^/]+)")
    def schedule(self, request: Request) -> Any:
        return self._try(lambda: Response(self.state.get("subscription_schedules", request.args["id"])))

    @route("POST", r"/v1/subscription_schedules")
    def make_schedule(self, request: Request) -> Any:
        def run() -> Response:
            params = billing.params_of(request)
            forms.only(params, "from_subscription", "expand")
            thing = self.state.get("subscriptions", params.get("from_subscription", ""), param="from_subscription")
            if thing["schedule"]:
                words = "You cannot migrate a subscription that is already attached to a schedule"
                raise Refusal(400, words, param="from_subscription")
            return Response(self.state.put("subscription_schedules", _of(self.state, thing)))

        return self._once(request, run)

    @route("POST", r"/v1/subscription_schedules/(?P<id>[^/]+)")
    def change_schedule(self, request: Request) -> Any:
        def run() -> Response:
            one = self._active(request)
            params = billing.params_of(request)
            forms.only(params, "phases", "end_behavior", "proration_behavior", "metadata", "expand")
            phases = [_phase(self.state, one, params["phases"][n]) for n in sorted(params.get("phases") or {}, key=int)]
            if not phases or phases[0]["start_date"] != one["current_phase"]["start_date"]:
                raise Refusal(400, "The first phase must be the one that runs", param="phases[0][start_date]")
            for before, after in pairwise(phases):
                after["start_date"] = before["end_date"]
            one |= {"phases": phases, "metadata": one["metadata"] | forms.metadata(params.get("metadata"))}
            request.effect(f"subscription.schedule {one['subscription']}", id=one["id"])
            return Response(one)

        return self._once(request, run)

    @route("POST", r"/v1/subscription_schedules/(?P<id>[^/]+)/release")
    def release_schedule(self, request: Request) -> Any:
        def run() -> Response:
            one = self._active(request)
            self.state.get("subscriptions", one["subscription"])["schedule"] = None
            now = int(self.state.clock())
            released = {"released_at": now, "released_subscription": one["subscription"]}
            one |= {"status": "released", "subscription": None, "current_phase": None, **released}
            return Response(one)

        return self._once(request, run)

    def _active(self, request: Request) -> Thing:
        one = self.state.get("subscription_schedules", request.args["id"])
        if one["status"] != "active":
            raise Refusal(400, f"You cannot change a subscription schedule that is {one['status']}")
        return one


def _of(state: State, thing: Thing) -> Thing:
    """Make the schedule of a subscription as it is: one phase, the period that runs."""
    state.count += 1
    first = thing["items"]["data"][0]
    span = {"start_date": first["current_period_start"], "end_date": first["current_period_end"]}
    items = [
        {"price": item["price"]["id"], "plan": item["plan"]["id"], "quantity": item["quantity"], "discounts": [],
         "metadata": {}, "tax_rates": [], "billing_thresholds": None}
        for item in thing["items"]["data"]
    ]  # fmt: skip
    made = {
        "id": shapes.make_id("subscription_schedule", "made", state.count), "object": "subscription_schedule",
        "application": None, "canceled_at": None, "completed_at": None, "created": int(state.clock()),
        "current_phase": span, "customer": thing["customer"], "customer_account": None, "end_behavior": "release",
        "livemode": False, "metadata": {}, "phases": [_shown(span, items, thing["currency"])], "released_at": None,
        "released_subscription": None, "status": "active", "subscription": thing["id"], "test_clock": None,
        "billing_mode": {"type": "classic"},
    }  # fmt: skip
    thing["schedule"] = made["id"]
    return made


def _shown(span: dict[str, Any], items: list[dict[str, Any]], currency: str, proration: str = "none") -> dict[str, Any]:
    return {
        **span, "items": items, "add_invoice_items": [], "application_fee_percent": None, "billing_cycle_anchor": None,
        "collection_method": None, "currency": currency, "default_payment_method": None, "default_tax_rates": [],
        "description": None, "discounts": [], "metadata": {}, "on_behalf_of": None, "proration_behavior": proration,
        "transfer_data": None, "trial_end": None,
    }  # fmt: skip


def _phase(state: State, schedule: Thing, wanted: dict[str, Any]) -> dict[str, Any]:
    forms.only(
        wanted, "items", "start_date", "end_date", "duration", "proration_behavior", "collection_method",
        "default_payment_method", "description", "default_tax_rates", "discounts",
    )  # fmt: skip
    items = [_item(state, wanted["items"][n]) for n in sorted(wanted.get("items") or {}, key=int)]
    if not items:
        raise Refusal(400, "Missing required param: phases[0][items].", code="parameter_missing", param="items")
    end = schedule["current_phase"]["end_date"] + shapes.MONTH_S
    span = {
        "start_date": forms.whole(wanted["start_date"], "start_date") if "start_date" in wanted else 0,
        "end_date": forms.whole(wanted["end_date"], "end_date") if "end_date" in wanted else end,
    }
    proration = forms.one_of(
        wanted.get("proration_behavior", "create_prorations"), "proration_behavior", "always_invoice",
        "create_prorations", "none",
    )  # fmt: skip
    return _shown(span, items, schedule["phases"][0]["currency"], proration)


def _item(state: State, wanted: dict[str, Any]) -> dict[str, Any]:
    forms.only(wanted, "price", "quantity", "discounts", "tax_rates")
    price = billing.known_price(state, wanted.get("price", ""), "phases[1][items][0][price]")
    quantity = forms.whole(wanted["quantity"], "quantity") if "quantity" in wanted else 1
    return {
        "price": price, "plan": price, "quantity": quantity, "discounts": [], "metadata": {}, "tax_rates": [],
        "billing_thresholds": None,
    }  # fmt: skip
