"""With `wait_ms` a run is accepted first: written down, answered, and only then planned, judged and worked."""

import threading
import time

import pytest

from hub.access import OPERATOR, Principal
from hub.errors import Invalid, NotFound, Refused
from hub.perform import Result
from hub.policy import parse_policy
from tests.perform.shop import PLENTY, Shop, ShopConnector, opened

AGENT = Principal("key_1", "agent", ("act:*",), (("EUR", 3000),))
ASKS = {"needs_approval": {"group": "leads", "four_eyes": False}}
HELD = {"rule": [{"name": "held", "action": "payment.refund", "verdict": ASKS}]}


def settled(shop: Shop, run_id: str | None) -> Result:
    """Wait until a run is no longer under way."""
    assert run_id is not None
    for _ in range(1000):
        found = shop.performer.result(run_id)
        if found.status not in ("queued", "running"):
            return found
        time.sleep(0.01)
    raise AssertionError(f"{run_id} is still {found.status}")


def test_a_run_is_accepted_before_any_vendor_is_asked(shop):
    shop.sandbox.fault("GET /payments", "slow:0.3s")
    begun = shop.refund(wait_ms=0)
    assert (begun.status, begun.check_after_ms, begun.policy, begun.effects) == ("queued", 1000, None, [])
    assert (begun.target.kind, shop.sandbox.ledger) == ("payment", [])
    assert shop.ledger.get(begun.run_id).state == "queued"
    done = settled(shop, begun.run_id)
    assert (done.status, done.policy.rule, shop.effects("refund")) == ("succeeded", "plenty", 1)
    again = shop.refund(wait_ms=0)
    assert (again.run_id, again.replayed, again.status) == (begun.run_id, True, "succeeded")


def test_who_waits_long_enough_gets_the_answer(shop):
    done = shop.refund(wait_ms=10_000)
    assert (done.status, done.replayed) == ("succeeded", False)
    assert done.effects[0].remote_id == "ref-1"


def test_who_asks_again_waits_for_the_one_who_works(shop):
    shop.sandbox.fault("POST /refunds", "slow:0.3s")
    begun = shop.refund(wait_ms=0)
    assert shop.refund(wait_ms=10_000).status == "succeeded"
    assert shop.effects("refund") == 1
    assert [run.id for run in shop.ledger.runs()] == [begun.run_id]


def test_what_can_never_be_meant_makes_no_run(shop):
    with pytest.raises(NotFound):
        shop.refund("pay-9", wait_ms=0)
    with pytest.raises(Invalid):
        shop.refund(amount="-1.00 EUR", wait_ms=0)
    with pytest.raises(Refused):
        shop.refund(who=Principal("p", "p", ("act:payment.refund@other",)), wait_ms=0)
    with pytest.raises(Invalid, match="Idempotency-Key"):
        shop.refund(key=None, wait_ms=0)
    assert shop.ledger.runs() == []


@pytest.mark.parametrize(
    ("payment", "more", "code"),
    [
        ("pay-1", {"amount": "50.01 EUR"}, "amount_exceeds_refundable"),
        ("pay-1", {"amount": "5.00 USD"}, "currency_mismatch"),
        ("pay-2", {}, "payment_disputed"),
        ("pay-3", {}, "nothing_refundable"),
    ],
)
def test_what_the_facts_forbid_ends_an_accepted_run(shop, payment, more, code):
    ended = settled(shop, shop.refund(payment, wait_ms=0, **more).run_id)
    assert (ended.status, ended.error["code"], ended.money) == ("failed", code, None)
    assert shop.sandbox.ledger == []
    assert shop.refund(payment, **more).replayed


def test_policy_denies_an_accepted_run_and_says_why(build):
    shop = build(policy=parse_policy({"rule": []}, "p"))
    denied = settled(shop, shop.refund(wait_ms=0).run_id)
    assert (denied.status, denied.policy.rule, denied.error["code"]) == ("denied", "default", "policy_denied")
    shop.ledger.audit.close()
    planned = next(row for row in shop.ledger.audit.rows() if row.kind == "run_planned")
    assert (planned.as_dict()["facts"]["verdict"], planned.as_dict()["facts"]["rule"]) == ("deny", "default")
    assert shop.sandbox.ledger == []


def test_an_accepted_run_may_wait_for_a_person(build):
    shop = build(policy=parse_policy(HELD, "p"))
    held = settled(shop, shop.refund(wait_ms=0).run_id)
    assert (held.status, held.approval.group) == ("needs_approval", "leads")
    approved = shop.performer.approving.approve(held.run_id, OPERATOR, asker=OPERATOR)
    assert (approved.status, shop.effects("refund")) == ("succeeded", 1)


def died(shop: Shop) -> str:
    """Accept a run as a process that dies before it gets further."""

    class Nobody:
        def submit(self, work, *args):
            raise KeyboardInterrupt

    shop.performer._pool, real = Nobody(), shop.performer._pool
    with pytest.raises(KeyboardInterrupt):
        shop.refund(wait_ms=0)
    shop.performer._pool = real
    (run,) = shop.ledger.runs()
    shop.ledger.release(run.id, owner=run.lease_owner)
    return run.id


def test_a_run_whose_process_died_before_it_was_planned_is_done_once(shop):
    run_id = died(shop)
    assert shop.performer.waiting() == [run_id]
    threads = [threading.Thread(target=shop.performer.advance, args=(run_id,)) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert (shop.performer.result(run_id).status, shop.effects("refund")) == ("succeeded", 1)
    assert len(shop.sandbox.ledger) == 1


def test_a_run_whose_key_is_no_longer_good_is_not_done(shop):
    run_id = died(shop)
    with shop.ledger.database.write() as tx:
        tx.execute("UPDATE run SET principal = 'key_gone'")
    ended = shop.performer.advance(run_id)
    assert (ended.status, ended.error["code"]) == ("failed", "asker_gone")
    assert shop.sandbox.ledger == []


def test_frozen_money_denies_what_was_accepted(shop):
    from hub.ledger import freeze

    run_id = died(shop)
    freeze(shop.ledger.database, shop.ledger.audit, by="op", reason="audit")
    denied = shop.performer.advance(run_id)
    assert (denied.status, denied.error["code"], shop.sandbox.ledger) == ("denied", "money_frozen", [])


def test_the_same_twice_at_once_is_done_once(shop):
    begun = [shop.refund(amount="5.00 EUR", key=f"k{n}", wait_ms=0).run_id for n in range(6)]
    found = [settled(shop, run_id) for run_id in begun]
    assert sorted(one.status for one in found) == ["failed"] * 5 + ["succeeded"]
    assert {one.error["code"] for one in found if one.error} == {"possible_duplicate"}
    assert shop.effects("refund") == 1


def test_no_ceiling_is_passed_by_many_at_once(shop):
    shop.knows(AGENT)
    begun = [shop.refund(amount=f"{9 + n / 100:.2f} EUR", key=f"k{n}", wait_ms=0, who=AGENT).run_id for n in range(8)]
    found = [settled(shop, run_id) for run_id in begun]
    assert sum(one.status == "succeeded" for one in found) == 3
    assert {one.error["code"] for one in found if one.status != "succeeded"} == {"daily_ceiling"}
    assert shop.effects("refund") == 3


def test_what_had_not_begun_when_a_server_ends_is_left_to_others(shop, tmp_path):
    performer = shop.performer
    performer._pool.shutdown()
    performer._pool = type(performer._pool)(1)
    shop.sandbox.fault("POST /refunds", "slow:0.3s")
    runs = [shop.refund(amount=f"{n}.00 EUR", key=f"k{n}", wait_ms=0).run_id for n in (1, 2, 3)]
    performer.close()
    assert shop.performer.result(runs[0]).status == "succeeded"
    assert shop.performer.waiting() == runs[1:]
    tables = dict(shop.connections.settings.connections)
    other = opened(tmp_path, tables, PLENTY, ShopConnector)
    assert [other.advance(run_id).status for run_id in runs[1:]] == ["succeeded", "succeeded"]
    assert shop.effects("refund") == 3
    other.close()
    other.connections.close()
    other.store.close()
    other.ledger.close()
