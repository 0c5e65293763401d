"""
Changes of a subscription that wait for the end of its period: Stripe keeps them in a subscription schedule.

A schedule made of a subscription changes nothing by itself; the second request gives it the phase to come, and the run
as a mark (https://docs.stripe.com/billing/subscriptions/subscription-schedules).
"""

from collections.abc import Mapping
from typing import Any

from hub import (
    Absent,
    Call,
    Conflict,
    Effect,
    Found,
    HubError,
    NotSent,
    Outcome,
    SubscriptionChangePlan,
    SubscriptionChangeQuantity,
    Unknown,
    aside,
)
from hub_stripe import billing
from hub_stripe.actions import MARK
from hub_stripe.client import Client, decode

Change = SubscriptionChangePlan | SubscriptionChangeQuantity
Thing = Mapping[str, Any]
_ROOT = "/v1/subscription_schedules"
_SUFFIXES = ("schedule", "schedule-2", "schedule-3")
_TRIAL = (
    "stripe: the subscription has a trial, and the running phase would have to be written anew without it; "
    "change it when the trial has ended"
)
_KEPT = ("collection_method", "default_payment_method", "description")


def later(action: object) -> bool:
    """Say whether an action is to count from the end of the period only."""
    return isinstance(action, (SubscriptionChangePlan, SubscriptionChangeQuantity)) and action.effective != "now"


def change(client: Client, action: Change, call: Call, thing: Thing) -> Outcome:
    """Let a change wait for the end of the period. Raises Conflict where nothing follows, or while a trial runs."""
    item = billing.item_of(action, thing)
    if thing.get("cancel_at_period_end") or thing.get("cancel_at"):
        raise Conflict("stripe: the subscription is to end; take the cancellation back first")
    if thing.get("status") == "trialing":
        raise Conflict(_TRIAL, code="trial_runs")
    schedule = _own(client, thing)
    if schedule is not None and _marked(schedule, call):
        return _outcome(thing, schedule)
    schedule = schedule or _made(client, call, thing, item)
    try:
        if _running(schedule).get("trial_end"):
            raise Conflict(_TRIAL, code="trial_runs")
        params = _params(action, call, thing, item, schedule)
        options: Any = {"idempotency_key": f"{call.key}-{schedule['id']}"}
        with client.writing(f"POST {_ROOT}/{{id}}"):
            after = client.sdk.v1.subscription_schedules.update(schedule["id"], params, options=options).to_dict()
    except HubError as exc:
        # one that may have its phase, or gets it with the next attempt, stays: without a phase it changes nothing
        if not _has_mark(schedule) and not isinstance(exc, (Unknown, NotSent)):
            _let_go(client, schedule["id"], call, exc)
        raise
    return _outcome(thing, after)


def make_way(client: Client, call: Call, thing: Thing) -> None:
    """
    See that no schedule of an action would take back at the period's end what is changed now.

    One whose phase to come is as the one that runs (the change was undone) is released. Raises Conflict for another.
    """
    schedule = _own(client, thing)
    if schedule is None:
        return
    coming = [one for one in schedule.get("phases") or () if (one.get("start_date") or 0) > _since(schedule)]
    if any(_lines(one) != _lines(_running(schedule)) for one in coming):
        text = "stripe: a change for the end of the period waits on the subscription, and would replace this one then"
        raise Conflict(f"{text}; undo that change first", code="change_waits")
    if coming:
        _release(client, schedule["id"], call)


def find(client: Client, call: Call, thing: Thing) -> Found | Absent:
    """Look for the run's mark on the subscription's schedule."""
    schedule = _own(client, thing)
    return Found(_outcome(thing, schedule)) if schedule is not None and _marked(schedule, call) else Absent()


def _own(client: Client, thing: Thing) -> dict[str, Any] | None:
    """Give the schedule of a subscription, if it is one that an action made: marked, or left before it got its mark."""
    one = thing.get("schedule")
    if not one:
        return None
    found = _read(client, str(one))
    return found if found.get("status") == "active" and (_has_mark(found) or _is_bare(found, thing)) else None


def _read(client: Client, one: str) -> dict[str, Any]:
    path = f"{_ROOT}/{{id}}"
    found: dict[str, Any] = decode(client.get(f"{_ROOT}/{one}", what=path).body, dict, path)
    return found


def _has_mark(schedule: Thing) -> bool:
    return MARK in (schedule.get("metadata") or {})


def _is_bare(schedule: Thing, thing: Thing) -> bool:
    """Say whether a schedule holds nothing but the period that runs, as one does that was only just made."""
    phases = schedule.get("phases") or []
    if schedule.get("metadata") or len(phases) != 1 or schedule.get("end_behavior") != "release":
        return False
    return _lines(phases[0]) == _lines({"items": (thing.get("items") or {}).get("data")})


def _made(client: Client, call: Call, thing: Thing, item: Thing) -> dict[str, Any]:
    """
    Put a subscription under a schedule that changes nothing yet; with the same key it is made once.

    The answer to a key that was used before is the old one: the schedule is read again, and where it was released by
    now, a fresh one is made under another key.
    """
    with aside() as leaves:
        if not leaves:
            phase = {"start_date": item.get("current_period_start"), "end_date": item.get("current_period_end")}
            return {"id": "sub_sched_of_this_run", "current_phase": phase, "phases": []}
        for suffix in _SUFFIXES:
            found = _read(client, _create(client, str(thing["id"]), f"{call.key}-{suffix}"))
            if found.get("status") == "active":
                return found
    raise Conflict("stripe: the subscription's schedule was released each time; look at the subscription at Stripe")


def _create(client: Client, subscription: str, key: str) -> str:
    """Make a schedule, twice with the same key where the first answer is lost; give its id."""
    try:
        return _create_once(client, subscription, key)
    except Unknown:
        pass
    try:
        return _create_once(client, subscription, key)
    except Unknown as exc:
        raise NotSent("stripe: the subscription could not be put under a schedule; nothing of it changes") from exc


def _create_once(client: Client, subscription: str, key: str) -> str:
    with client.writing(f"POST {_ROOT}"):
        made = client.sdk.v1.subscription_schedules.create(
            {"from_subscription": subscription}, options={"idempotency_key": key}
        )
    return str(made.id)


def _let_go(client: Client, one: str, call: Call, refusal: HubError) -> None:
    """Take the schedule away again whose phase was refused; where that fails, the refusal says so beside its own."""
    try:
        _release(client, one, call)
    except HubError as exc:
        refusal.add_note(f"the schedule {one}, which changes nothing, stays: {exc}")


def _release(client: Client, one: str, call: Call) -> None:
    """Take a schedule away; the subscription goes on as it is. Nothing leaves in a preview."""
    with aside() as leaves:
        if leaves:
            with client.writing(f"POST {_ROOT}/{{id}}/release"):
                client.sdk.v1.subscription_schedules.release(one, options={"idempotency_key": f"{call.key}-off-{one}"})


def _params(action: Change, call: Call, thing: Thing, item: Thing, schedule: Thing) -> Any:
    """Make the body of the update: the phase that runs, as it is, and the one to come."""
    now, running = schedule.get("current_phase") or {}, _running(schedule)
    kept = {name: running[name] for name in _KEPT if running.get(name) is not None}
    if taxes := running.get("default_tax_rates"):
        kept["default_tax_rates"] = [tax if isinstance(tax, str) else tax["id"] for tax in taxes]
    if discounts := [_reduced(one) for one in running.get("discounts") or ()]:
        kept["discounts"] = discounts
    items = (thing.get("items") or {}).get("data") or []
    recurring = (item.get("price") or {}).get("recurring") or {}
    lasts = {"interval": recurring.get("interval", "month"), "interval_count": recurring.get("interval_count", 1)}
    return {
        "end_behavior": "release",
        "proration_behavior": "none",
        "metadata": {MARK: call.run_id},
        "phases": [
            {
                **kept,
                "items": [_line(one) for one in items],
                "start_date": now.get("start_date"),
                "end_date": now.get("end_date") or item.get("current_period_end"),
            },
            {
                **kept,
                "items": [_changed(action, one) if one["id"] == item["id"] else _line(one) for one in items],
                "proration_behavior": action.proration,
                "duration": lasts,
            },
        ],
    }


def _running(schedule: Thing) -> Thing:
    return next((one for one in schedule.get("phases") or () if one.get("start_date") == _since(schedule)), {})


def _since(schedule: Thing) -> int:
    """Give the second at which the phase began that runs; 0 where none does."""
    return (schedule.get("current_phase") or {}).get("start_date") or 0


def _lines(phase: Thing) -> list[tuple[Any, Any]]:
    return sorted(((_id(one.get("price")), one.get("quantity")) for one in phase.get("items") or ()), key=repr)


def _line(item: Thing) -> dict[str, Any]:
    """Give an item as a phase takes it; a metered one has no quantity."""
    line: dict[str, Any] = {"price": (item.get("price") or {}).get("id")}
    if item.get("quantity") is not None:
        line["quantity"] = item["quantity"]
    if discounts := [_reduced(one) for one in item.get("discounts") or ()]:
        line["discounts"] = discounts
    if taxes := item.get("tax_rates"):
        line["tax_rates"] = [tax if isinstance(tax, str) else tax["id"] for tax in taxes]
    return line


def _changed(action: Change, item: Thing) -> dict[str, Any]:
    wanted = {"price": getattr(action, "price", None), "quantity": action.quantity}
    return _line(item) | {name: value for name, value in wanted.items() if value is not None}


def _reduced(discount: Any) -> dict[str, str]:
    """Refer to a discount: an item names it by its id, a phase by what it was made of."""
    if isinstance(discount, str):
        return {"discount": discount}
    return {name: discount[name] for name in ("discount", "coupon", "promotion_code") if discount.get(name)}


def _marked(schedule: Thing, call: Call) -> bool:
    return (schedule.get("metadata") or {}).get(MARK) == call.run_id


def _outcome(thing: Thing, schedule: Thing) -> Outcome:
    last = (schedule.get("phases") or [{}])[-1]
    items = [{"price": _id(one.get("price")), "quantity": one.get("quantity")} for one in last.get("items") or ()]
    after = {"subscription": thing["id"], "from": last.get("start_date"), "items": items}
    effect = Effect("subscription_schedule", str(schedule["id"]), "update", None, after)
    return Outcome([effect], [("subscriptions", str(thing["id"]))])


def _id(value: Any) -> Any:
    return value.get("id") if isinstance(value, Mapping) else value
