"""Runs that wait for a person: asked once, decided once, in time, by another, about the plan that was looked at."""

import time

import pytest

from hub.access import OPERATOR, Principal
from hub.errors import Conflict, NotFound, Refused
from hub.policy import Policy, parse_policy
from tests.perform.shop import PLENTY, ShopConnector, opened

BOT = Principal("key_bot", "bot", ("act:*",))
LEAD = Principal("key_lead", "lead", ("approve:leads", "act:*"))
OTHER = Principal("key_other", "other", ("approve:others", "read"))


def held(expires="4h", on_expiry="deny", four_eyes=True, action="payment.refund", **when):
    asked = {"group": "leads", "expires": expires, "on_expiry": on_expiry, "four_eyes": four_eyes}
    rule = {"name": "held", "action": action, "when": when, "verdict": {"needs_approval": asked}}
    return parse_policy({"rule": [rule]}, "policy.toml")


@pytest.fixture
def shop(build):
    return build(policy=held())


def approve(shop, reference, by=LEAD, asker=BOT, **more):
    return shop.performer.approving.approve(reference, by, asker=asker, **more)


def test_a_held_run_waits_and_sends_nothing(shop):
    result = shop.refund(who=BOT)
    assert (result.status, result.policy.verdict, result.approval.group) == (
        "needs_approval",
        "needs_approval",
        "leads",
    )
    assert result.policy.needs == ["an approval by someone with the scope approve:leads"]
    assert shop.effects() == 0
    again = shop.refund(who=BOT)
    assert (again.run_id, again.replayed, again.status) == (result.run_id, True, "needs_approval")


def test_an_approval_does_it_once(shop):
    asked = shop.refund(who=BOT)
    done = approve(shop, asked.run_id, seen=asked.approval.plan_hash)
    assert (done.run_id, done.status, shop.effects("refund")) == (asked.run_id, "succeeded", 1)
    with pytest.raises(Conflict) as caught:
        approve(shop, asked.run_id)
    assert caught.value.error_code == "already_decided"
    assert shop.effects("refund") == 1


def test_the_scope_of_the_group_is_needed_and_named(shop):
    asked = shop.refund(who=BOT)
    with pytest.raises(Refused) as caught:
        approve(shop, asked.run_id, by=OTHER)
    assert (caught.value.error_code, caught.value.reason) == ("missing_scope", "approve:leads")


def test_under_four_eyes_nobody_approves_what_they_asked_for(shop):
    asked = shop.refund(who=LEAD)
    with pytest.raises(Refused) as caught:
        approve(shop, asked.run_id, asker=LEAD)
    assert caught.value.error_code == "own_run"
    assert shop.effects() == 0


def test_without_four_eyes_one_may_approve_ones_own(build):
    shop = build(policy=held(four_eyes=False))
    asked = shop.refund(who=LEAD)
    assert approve(shop, asked.run_id, asker=LEAD).status == "succeeded"


def test_after_expiry_it_is_too_late_and_silence_denies(build):
    shop = build(policy=held(expires="1s"))
    asked = shop.refund(who=BOT)
    time.sleep(1.1)
    with pytest.raises(Conflict) as caught:
        approve(shop, asked.run_id)
    assert caught.value.error_code == "approval_expired"
    result = shop.performer.result(asked.run_id)
    assert (result.status, result.error["code"], shop.effects()) == ("denied", "approval_expired", 0)


def test_the_worker_finds_what_nobody_answered(build):
    shop = build(policy=held(expires="1s"))
    asked = shop.refund(who=BOT)
    assert shop.performer.waiting() == []
    time.sleep(1.1)
    assert shop.performer.waiting() == [asked.run_id]
    assert shop.performer.advance(asked.run_id).status == "denied"
    assert shop.performer.waiting() == []


def test_silence_may_allow_what_is_harmless(build):
    shop = build(policy=held(expires="1s", on_expiry="allow", action="ticket.note"))
    asked = shop.note(who=BOT)
    time.sleep(1.1)
    assert shop.performer.advance(asked.run_id).status == "succeeded"
    assert shop.effects() == 1


def test_a_plan_that_changed_asks_again(shop):
    asked = shop.refund(who=BOT)
    shop.sandbox.things["payments"]["pay-1"] |= {"refunded": 1000, "changed": "2026-11-03T10:00:00Z"}
    with pytest.raises(Conflict) as caught:
        approve(shop, asked.run_id)
    assert caught.value.error_code == "plan_changed"
    again = shop.performer.result(asked.run_id).approval
    assert (again.state, again.plan_hash == asked.approval.plan_hash) == ("pending", False)
    with pytest.raises(Conflict) as caught:
        approve(shop, asked.approval.id)
    assert caught.value.error_code == "plan_changed"
    assert shop.effects() == 0
    done = approve(shop, asked.run_id, seen=again.plan_hash)
    assert (done.status, done.money.amount) == ("succeeded", 4000)


def test_an_approver_who_looked_at_another_plan_is_refused(shop):
    asked = shop.refund(who=BOT)
    with pytest.raises(Conflict) as caught:
        approve(shop, asked.run_id, seen="0" * 64)
    assert caught.value.error_code == "plan_changed"


def test_a_no_ends_it_with_the_reason(shop):
    asked = shop.refund(who=BOT)
    result = shop.performer.approving.deny(asked.run_id, LEAD, reason="not this one")
    assert (result.status, result.error["code"], result.error["reason"]) == (
        "denied",
        "approval_denied",
        "not this one",
    )
    assert shop.refund(who=BOT).status == "denied"
    assert shop.effects() == 0


def test_who_asked_may_take_it_back_and_nobody_else(shop):
    asked = shop.refund(who=BOT)
    with pytest.raises(Refused):
        shop.performer.approving.cancel(asked.run_id, OTHER)
    result = shop.performer.approving.cancel(asked.run_id, BOT)
    assert (result.status, result.error["code"]) == ("failed", "canceled")
    with pytest.raises(Conflict) as caught:
        shop.performer.approving.cancel(asked.run_id, BOT)
    assert caught.value.error_code == "not_cancelable"


def test_a_run_that_waits_for_nobody_has_no_approval(shop):
    with pytest.raises(NotFound):
        approve(shop, shop.note().run_id)


def test_an_approval_survives_a_restart(shop, tmp_path):
    asked = shop.refund(who=BOT)
    again = opened(
        tmp_path, shop.connections.settings.connections, held(), type(shop.connections.open("shop").connector)
    )
    try:
        done = again.approving.approve(asked.run_id, LEAD, asker=BOT)
        assert (done.status, shop.effects("refund")) == ("succeeded", 1)
    finally:
        again.connections.close()
        again.store.close()
        again.ledger.close()


def test_an_approval_that_policy_forbids_by_now_is_refused_and_still_waits(shop):
    asked = shop.refund(who=BOT)
    shop.performer.policy = Policy()
    with pytest.raises(Refused) as caught:
        approve(shop, asked.run_id)
    assert caught.value.error_code == "policy_denied"
    assert shop.performer.result(asked.run_id).status == "needs_approval"


def test_the_same_under_a_new_key_is_a_duplicate_while_it_waits(shop):
    shop.refund(who=BOT)
    with pytest.raises(Conflict) as caught:
        shop.refund(who=BOT, key="k2")
    assert caught.value.error_code == "possible_duplicate"


def test_plenty_needs_nobody(build):
    assert build(policy=PLENTY).refund(who=BOT).approval is None
    assert ShopConnector.name == "shop"
    assert OPERATOR.id == "local"
