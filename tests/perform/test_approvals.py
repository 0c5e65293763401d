"""Runs that wait for a person: asked once, decided once, in time, by another, about the plan that was looked at."""

import threading
import time
from dataclasses import replace

import pytest

from hub.access import OPERATOR, Principal
from hub.errors import Conflict, NotFound, Refused
from hub.ledger import freeze
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
    shop.knows(BOT)
    asked = shop.note(who=BOT)
    time.sleep(1.1)
    assert shop.performer.advance(asked.run_id).status == "succeeded"
    assert shop.effects() == 1


@pytest.mark.parametrize("change", ["policy", "key"])
def test_silence_allows_nothing_that_policy_or_the_asker_may_not_by_now(build, change):
    shop = build(policy=held(expires="1s", on_expiry="allow", action="ticket.note"))
    shop.knows(BOT)
    asked = shop.note(who=BOT)
    if change == "policy":
        shop.performer.policy = parse_policy({"rule": [{"action": "ticket.note", "verdict": "deny"}]}, "p")
    else:
        shop.knows(Principal(BOT.id, "bot", ("read",)))
    time.sleep(1.1)
    done = shop.performer.advance(asked.run_id)
    assert (done.status, done.error["code"]) == (
        "denied",
        "policy_denied" if change == "policy" else "missing_scope",
    )
    assert shop.effects() == 0


def test_a_run_is_asked_about_anew_where_policy_wants_others_to_decide(shop):
    asked = shop.refund(who=BOT)
    rule = {"action": "payment.refund", "verdict": {"needs_approval": {"group": "directors"}}}
    shop.performer.policy = parse_policy({"rule": [rule]}, "p")
    with pytest.raises(Conflict) as caught:
        approve(shop, asked.run_id)
    assert caught.value.error_code == "plan_changed"
    again = shop.performer.result(asked.run_id).approval
    assert (again.group, again.plan_hash) == ("directors", asked.approval.plan_hash)
    with pytest.raises(Refused):
        approve(shop, asked.run_id)
    assert shop.effects() == 0


def test_what_is_asked_anew_shows_and_counts_the_new_amount(shop):
    asked = shop.refund(who=BOT)
    shop.sandbox.things["payments"]["pay-1"] |= {"refunded": 1000, "changed": "2026-11-03T10:00:00Z"}
    with pytest.raises(Conflict):
        approve(shop, asked.run_id)
    assert shop.ledger.get(asked.run_id).amount_minor == 4000
    assert shop.ledger.moved_today(BOT.id, "EUR") == 4000
    poor = replace(BOT, ceilings=(("EUR", 4500),))
    shop.sandbox.things["payments"]["pay-1"] |= {"refunded": 0, "changed": "2026-11-04T10:00:00Z"}
    with pytest.raises(Refused) as caught:
        approve(shop, asked.run_id, asker=poor)
    assert caught.value.error_code == "daily_ceiling"
    assert shop.ledger.get(asked.run_id).amount_minor == 4000
    assert shop.effects() == 0


def test_money_frozen_while_somebody_approves_stays_where_it_is(shop):
    asked = shop.refund(who=BOT)
    approving = shop.performer.approving

    def replan(run, principal):
        plan = approving.replan(run, principal)
        freeze(shop.ledger.database, shop.ledger.audit, by="op", reason=None)
        return plan

    with pytest.raises(Refused) as caught:
        replace(approving, replan=replan).approve(asked.run_id, LEAD, asker=BOT)
    assert caught.value.error_code == "money_frozen"
    assert (shop.performer.result(asked.run_id).status, shop.effects()) == ("needs_approval", 0)


def test_of_many_who_decide_at_once_one_is_heard(shop):
    asked = shop.refund(who=BOT)
    said: list[str] = []

    def decide(n):
        try:
            found = approve(shop, asked.run_id) if n % 2 else shop.performer.approving.deny(asked.run_id, LEAD)
            said.append(found.status)
        except Conflict as exc:
            said.append(exc.error_code)

    threads = [threading.Thread(target=decide, args=(n,)) for n in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    (heard,) = [word for word in said if word not in ("already_decided", "nothing_refundable")]
    assert heard in ("succeeded", "denied")
    assert shop.effects("refund") == (heard == "succeeded")
    assert len(shop.sandbox.ledger) == shop.effects("refund")


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
