"""Subscriptions and credit at Stripe: what is sent, that it happens once, and that a lost answer is found."""

import pytest

from hub import Absent, Conflict, Found, HubError, Invalid, Unknown
from hub.actions import (
    CreditGrant,
    SubscriptionCancel,
    SubscriptionChangePlan,
    SubscriptionChangeQuantity,
    SubscriptionPause,
    SubscriptionResume,
    SubscriptionUncancel,
)
from hub.connector import Call, Target
from hub.sandbox import World
from hub.testing import case_for
from hub.transport import Captured, capturing
from hub_stripe.connector import StripeConnector
from hub_stripe.sandbox import StripeSandbox


@pytest.fixture
def case():
    with case_for(StripeConnector, world=World(customers=40)) as made:
        yield made


@pytest.fixture
def one(case):
    sandbox: StripeSandbox = case.sandbox
    rows = sandbox.state.kinds["subscriptions"].values()
    return next(row for row in rows if row["status"] == "active" and not row["cancel_at_period_end"])


def call(kind, remote_id, key="hub-1"):
    table = {"subscription": "subscriptions", "customer": "customers"}[kind]
    return Call("run_" + key, key, Target("stripe", table, table, kind, remote_id, "x"))


def do(case, one, cls, key="hub-1", **given):
    action = cls.model_validate({"subscription_ref": one["id"], **given})
    return case.connector.change_subscription(action, call("subscription", one["id"], key))


def found(case, one, cls, **given):
    action = cls.model_validate({"subscription_ref": one["id"], **given})
    return case.connector.find_subscription_change(action, call("subscription", one["id"]))


def test_a_subscription_ends_with_its_period_and_is_taken_up_again(case, one):
    outcome = do(case, one, SubscriptionCancel, reason="moving", feedback="unused")
    assert one["cancel_at_period_end"] is True
    assert one["cancellation_details"]["comment"] == "moving"
    assert outcome.effects[0].after["cancel_at_period_end"] is True
    assert outcome.touched == [("subscriptions", one["id"])]
    do(case, one, SubscriptionUncancel, key="hub-2")
    assert (one["cancel_at_period_end"], one["cancel_at"]) == (False, None)


def test_a_day_of_the_end_is_taken_back_as_it_was_set(case, one):
    do(case, one, SubscriptionCancel, when="date", at="2099-01-01T00:00:00Z", reason="x")
    assert one["cancel_at"] == 4070908800
    do(case, one, SubscriptionUncancel, key="hub-2")
    assert one["cancel_at"] is None


def test_a_subscription_that_was_ended_now_cannot_be_changed(case, one):
    do(case, one, SubscriptionCancel, when="now", reason="x")
    assert one["status"] == "canceled"
    with pytest.raises(Conflict) as caught:
        do(case, one, SubscriptionUncancel, key="hub-2")
    assert caught.value.error_code == "subscription_ended"


def test_collecting_stops_and_goes_on(case, one):
    do(case, one, SubscriptionPause, until="2099-01-01T00:00:00Z", mode="keep_as_draft")
    assert one["pause_collection"] == {"behavior": "keep_as_draft", "resumes_at": 4070908800}
    do(case, one, SubscriptionResume, key="hub-2")
    assert one["pause_collection"] is None


def test_plan_and_quantity_change(case, one):
    outcome = do(case, one, SubscriptionChangePlan, price="price_other", proration="none")
    assert one["items"]["data"][0]["price"]["id"] == "price_other"
    assert outcome.effects[0].before["items"][0]["price"] != "price_other"
    do(case, one, SubscriptionChangeQuantity, key="hub-2", quantity=4, proration="create_prorations")
    assert one["items"]["data"][0]["quantity"] == 4


def test_a_price_that_is_not_there_is_refused(case, one):
    with pytest.raises(HubError):
        do(case, one, SubscriptionChangePlan, price="price_nowhere", proration="none")


def test_several_items_are_not_guessed_at(case, one):
    one["items"]["data"] = one["items"]["data"] * 2
    with pytest.raises(Invalid) as caught:
        do(case, one, SubscriptionChangeQuantity, quantity=4, proration="none")
    assert caught.value.error_code == "several_items"


@pytest.mark.parametrize(
    ("cls", "given"),
    [
        (SubscriptionCancel, {"reason": "x"}),
        (SubscriptionCancel, {"reason": "x", "when": "now"}),
        (SubscriptionCancel, {"reason": "x", "when": "date", "at": "2099-01-01T00:00:00Z"}),
        (SubscriptionPause, {}),
        (SubscriptionChangePlan, {"price": "price_other", "proration": "none"}),
        (SubscriptionChangeQuantity, {"quantity": 9, "proration": "none"}),
    ],
)
def test_what_was_done_is_found_and_what_was_not_is_absent(case, one, cls, given):
    assert isinstance(found(case, one, cls, **given), Absent)
    do(case, one, cls, **given)
    assert isinstance(found(case, one, cls, **given), Found)


def grant(minor=500, currency="EUR"):
    amount = {"amount": minor, "currency": currency}
    return CreditGrant.model_validate({"customer_ref": "stripe/customers/x", "amount": amount, "reason": "late"})


def test_credit_is_granted_once_and_found_again(case):
    customer = next(iter(case.sandbox.state.kinds["customers"].values()))
    before = customer["balance"]
    currency = (customer.get("currency") or "eur").upper()
    made = call("customer", customer["id"])
    assert isinstance(case.connector.find_credit(grant(currency=currency), made), Absent)
    first = case.connector.change_credit(grant(currency=currency), made)
    again = case.connector.change_credit(grant(currency=currency), made)
    assert first.effects[0].remote_id == again.effects[0].remote_id
    assert customer["balance"] == before - 500
    assert len(case.sandbox.effects("credit")) == 1
    assert isinstance(case.connector.find_credit(grant(currency=currency), made), Found)


@pytest.mark.parametrize("given", [{"when": "date"}, {"at": "2099-01-01T00:00:00Z"}])
def test_a_day_belongs_to_the_date(given):
    with pytest.raises(ValueError, match="at"):
        SubscriptionCancel.model_validate({"subscription_ref": "sub_x", "reason": "x", **given})


def two_items(one):
    """Give a subscription a second item, as one with a surcharge has it."""
    first = one["items"]["data"][0]
    extra = {**first, "id": "si_SecondItem0001", "price": {**first["price"], "id": "price_other"}}
    one["items"]["data"] = [first, extra]
    return first, extra


@pytest.mark.parametrize("named", ["si_SecondItem0001", "price_other"])
def test_of_several_items_the_one_that_is_named_changes(case, one, named):
    two_items(one)
    given = {"item": named, "quantity": 4, "proration": "none"}
    assert isinstance(found(case, one, SubscriptionChangeQuantity, **given), Absent)
    do(case, one, SubscriptionChangeQuantity, **given)
    assert [item["quantity"] for item in one["items"]["data"]] == [1, 4]
    assert isinstance(found(case, one, SubscriptionChangeQuantity, **given), Found)


def test_an_item_that_is_not_there_is_refused(case, one):
    with pytest.raises(Invalid, match="0 could be meant") as caught:
        do(case, one, SubscriptionChangeQuantity, item="si_nowhere", quantity=4, proration="none")
    assert caught.value.field_path == "input.item"


LATER = {"price": "price_other", "quantity": 2, "proration": "none", "effective": "period_end"}


def schedule(case, one):
    return case.sandbox.state.kinds["subscription_schedules"][one["schedule"]]


def test_a_change_waits_for_the_end_of_the_period(case, one):
    first = one["items"]["data"][0]
    was = first["price"]["id"]
    outcome = do(case, one, SubscriptionChangePlan, **LATER)
    assert one["items"]["data"][0]["price"]["id"] == was
    now, then = schedule(case, one)["phases"]
    assert (now["items"][0]["price"], now["end_date"]) == (was, first["current_period_end"])
    assert (then["items"][0]["price"], then["items"][0]["quantity"]) == ("price_other", 2)
    assert then["start_date"] == first["current_period_end"]
    assert outcome.effects[0].after["from"] == first["current_period_end"]
    assert len(case.sandbox.effects()) == 1


def test_a_change_to_come_happens_once_and_is_found_again(case, one):
    assert isinstance(found(case, one, SubscriptionChangePlan, **LATER), Absent)
    first = do(case, one, SubscriptionChangePlan, **LATER)
    again = do(case, one, SubscriptionChangePlan, **LATER)
    assert first.effects[0].remote_id == again.effects[0].remote_id
    assert isinstance(found(case, one, SubscriptionChangePlan, **LATER), Found)
    assert len(case.sandbox.effects("subscription.schedule")) == 1


@pytest.mark.parametrize("path", ["POST /v1/subscription_schedules$", "POST /v1/subscription_schedules/"])
def test_a_change_to_come_whose_answer_was_lost_happens_once(case, one, path):
    case.sandbox.fault(path, "drop_after", times=1)
    try:
        do(case, one, SubscriptionChangePlan, **LATER)
    except Unknown:
        assert isinstance(found(case, one, SubscriptionChangePlan, **LATER), Found)
    do(case, one, SubscriptionChangePlan, **LATER)
    assert len(case.sandbox.effects("subscription.schedule")) == 1
    assert len(case.sandbox.state.kinds["subscription_schedules"]) == 1


def test_what_is_to_come_is_replaced_by_the_next_change(case, one):
    was = one["items"]["data"][0]["price"]["id"]
    do(case, one, SubscriptionChangePlan, **LATER)
    do(case, one, SubscriptionChangePlan, key="hub-2", **{**LATER, "price": was, "quantity": 1})
    assert [phase["items"][0]["price"] for phase in schedule(case, one)["phases"]] == [was, was]
    assert len(case.sandbox.state.kinds["subscription_schedules"]) == 1


def test_a_price_that_is_not_there_leaves_no_schedule_behind(case, one):
    with pytest.raises(HubError):
        do(case, one, SubscriptionChangePlan, **{**LATER, "price": "price_nowhere"})
    assert (one["schedule"], case.sandbox.effects()) == (None, [])


def test_a_schedule_that_somebody_else_made_is_left_alone(case, one):
    case.connector.client.sdk.v1.subscription_schedules.create({"from_subscription": one["id"]})
    schedule(case, one)["metadata"]["theirs"] = "1"
    with pytest.raises(HubError, match="refused"):
        do(case, one, SubscriptionChangePlan, **LATER)
    assert len(schedule(case, one)["phases"]) == 1


def test_nothing_is_to_come_of_a_subscription_that_ends(case, one):
    do(case, one, SubscriptionCancel, reason="x")
    with pytest.raises(Conflict, match="take the cancellation back"):
        do(case, one, SubscriptionChangePlan, key="hub-2", **LATER)


def test_a_preview_of_a_change_to_come_shows_the_phase_and_sends_nothing(case, one):
    with capturing(), pytest.raises(Captured) as caught:
        do(case, one, SubscriptionChangePlan, **LATER)
    assert caught.value.request["body"]["phases[1][items][0][price]"] == "price_other"
    assert one["schedule"] is None


def test_a_change_to_come_is_refused_while_a_trial_runs_and_nothing_is_sent(case, one):
    one["status"] = "trialing"
    with pytest.raises(Conflict, match="when the trial has ended"):
        do(case, one, SubscriptionChangePlan, **LATER)
    assert (one["schedule"], case.sandbox.keys) == (None, {})


def test_a_running_phase_with_a_trial_is_not_written_anew(case, one):
    do(case, one, SubscriptionChangePlan, **LATER)
    schedule(case, one)["phases"][0]["trial_end"] = 1
    with pytest.raises(Conflict, match="when the trial has ended"):
        do(case, one, SubscriptionChangePlan, key="hub-2", **{**LATER, "quantity": 3})
    assert schedule(case, one)["phases"][1]["items"][0]["quantity"] == 2


def test_a_change_now_is_refused_while_another_waits_and_goes_through_once_that_is_undone(case, one):
    item = one["items"]["data"][0]
    was = {"price": item["price"]["id"], "quantity": item["quantity"]}
    do(case, one, SubscriptionChangePlan, **LATER)
    with pytest.raises(Conflict, match="undo that change first"):
        do(case, one, SubscriptionChangeQuantity, key="hub-2", quantity=7, proration="none")
    assert one["items"]["data"][0]["quantity"] == was["quantity"]
    do(case, one, SubscriptionChangePlan, key="hub-3", **{**LATER, **was})
    do(case, one, SubscriptionChangeQuantity, key="hub-4", quantity=7, proration="none")
    assert (one["items"]["data"][0]["quantity"], one["schedule"]) == (7, None)


@pytest.mark.parametrize("path", ["POST /v1/subscription_schedules$", "POST /v1/subscription_schedules/"])
def test_a_schedule_that_a_lost_answer_left_without_a_phase_is_taken_over_by_the_next_change(case, one, path):
    case.sandbox.fault(path, "drop_after" if path.endswith("$") else "drop_before", times=2)
    with pytest.raises(HubError):
        do(case, one, SubscriptionChangePlan, **LATER)
    case.sandbox.faults.clear()
    assert len(schedule(case, one)["phases"]) == 1
    do(case, one, SubscriptionChangePlan, key="hub-2", **LATER)
    assert len(schedule(case, one)["phases"]) == 2
    assert len(case.sandbox.state.kinds["subscription_schedules"]) == 1


def test_a_refusal_is_told_even_if_the_schedule_cannot_be_taken_away(case, one):
    case.sandbox.fault("POST /v1/subscription_schedules/.*/release", "drop_after", times=1)
    with pytest.raises(HubError, match="no such") as caught:
        do(case, one, SubscriptionChangePlan, **{**LATER, "price": "price_nowhere"})
    assert "which changes nothing" in caught.value.__notes__[0]


def test_a_schedule_that_was_released_is_made_anew(case, one):
    with pytest.raises(HubError):
        do(case, one, SubscriptionChangePlan, **{**LATER, "price": "price_nowhere"})
    do(case, one, SubscriptionChangePlan, **LATER)
    assert len(schedule(case, one)["phases"]) == 2
    assert len(case.sandbox.state.kinds["subscription_schedules"]) == 2
