"""A process died, or nobody can tell: who finds the run goes on, and nothing is sent twice."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from hub.ledger import new_owner
from tests.perform.shop import Shop

ROOT = Path(__file__).parents[2]
CHILD = """
import sys
from pathlib import Path
from hub.access import OPERATOR
from hub.perform import Request
from tests.perform.shop import PLENTY, ShopConnector, opened, table
performer = opened(Path(sys.argv[1]), {"shop": table(sys.argv[2])}, PLENTY, ShopConnector)
given = {"payment_ref": "shop/payments/pay-1", "reason": "goodwill"}
performer.run(Request("payment.refund", given, key="k1"), OPERATOR)
"""


def crashed(shop: Shop, state: str, act: Callable[[], object] | None = None) -> str:
    """Leave a reply (or another act) behind as a process that died would: journaled, and sending or not."""
    real = shop.ledger.begin

    class Died(BaseException): ...

    def die(step, **more):
        if state == "sending":
            real(step, **more)
        raise Died

    shop.ledger.begin = die
    with pytest.raises(Died):
        (act or shop.reply)()
    shop.ledger.begin = real
    (run,) = shop.ledger.runs()
    assert shop.ledger.get(run.id).steps[0].state == state
    return run.id


def test_a_run_that_was_planned_only_is_sent_by_whoever_finds_it(shop):
    run_id = crashed(shop, "planned")
    assert shop.performer.waiting() == [run_id]
    assert shop.performer.advance(run_id).status == "succeeded"
    assert shop.effects("comments") == 1


def test_a_run_found_sending_is_looked_up_first(shop):
    run_id = crashed(shop, "sending")
    shop.sandbox.things["comments"]["com-7"] = {"ticket": "tic-1", "key": f"hub-{run_id}", "text": "x", "open": True}
    result = shop.reply()
    assert (result.status, result.run_id, result.effects[0].remote_id) == ("succeeded", run_id, "com-7")
    assert shop.sandbox.ledger == []


def test_a_run_found_sending_just_now_may_still_be_under_way(shop):
    run_id = crashed(shop, "sending")
    assert shop.performer.advance(run_id).status == "unknown"
    assert shop.performer.advance(run_id).status == "unknown"
    assert shop.sandbox.ledger == []


def test_a_run_found_sending_that_did_not_happen_is_sent_with_the_same_key(shop):
    run_id = crashed(shop, "sending")
    shop.performer.in_flight = timedelta(0)
    assert shop.performer.advance(run_id).status == "succeeded"
    assert shop.effects("comments") == 1
    assert shop.sandbox.things["comments"]["com-2"]["key"] == f"hub-{run_id}"


def test_a_run_found_sending_that_nobody_can_tell_is_never_sent(build):
    shop = build(looks_up=False)
    run_id = crashed(shop, "sending")
    assert shop.performer.advance(run_id).status == "unknown"
    assert shop.sandbox.ledger == []


def test_a_process_killed_while_sending_refunds_once(shop, tmp_path):
    shop.sandbox.fault("POST /refunds", "slow:0.5s")
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), shop.sandbox.url], cwd=ROOT)
    while child.poll() is None and not any(fault.times == 0 for fault in shop.sandbox.faults):
        time.sleep(0.01)
    child.kill()
    assert child.wait() == -9
    (run,) = shop.ledger.runs()
    assert shop.ledger.get(run.id).steps[0].state == "sending"
    result = shop.refund()
    assert (result.run_id, result.replayed, result.status) == (run.id, True, "unknown")
    while not shop.sandbox.ledger or shop.sandbox.ledger[0].effect is None:
        time.sleep(0.01)
    result = shop.refund()
    assert (result.run_id, result.replayed, result.status) == (run.id, True, "succeeded")
    assert [entry.key for entry in shop.sandbox.ledger] == [f"hub-{run.id}"]


def test_a_native_key_is_no_reason_to_send_beside_a_request_under_way(shop):
    """A vendor that forgets keys would do it twice: while `@find` sees nothing, what was sent may still arrive."""
    run_id = crashed(shop, "sending", shop.refund)
    assert shop.performer.advance(run_id).status == "unknown"
    assert shop.sandbox.ledger == []
    shop.performer.in_flight = timedelta(0)
    assert shop.performer.advance(run_id).status == "succeeded"
    assert shop.effects("refund") == 1


def test_the_runs_of_a_dead_process_wait_for_nobody(shop):
    run_id = crashed(shop, "sending")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    node = new_owner().rpartition(":")[0].rpartition(":")[0]
    with shop.ledger.database.write() as tx:
        values = (f"{node}:{dead.pid}:0", "2099-01-01T00:00:00.000Z", run_id)
        tx.execute("UPDATE run SET lease_owner = ?, lease_until = ? WHERE id = ?", values)
    assert shop.performer.waiting() == [run_id]


def test_a_run_that_somebody_works_on_is_left_alone(shop):
    run_id = crashed(shop, "sending")
    run = shop.ledger.get(run_id)
    assert shop.ledger.take(run, owner=new_owner())
    assert shop.performer.advance(run_id).status == "running"
    assert shop.sandbox.ledger == []


def test_many_who_advance_one_run_send_it_once(shop):
    run_id = crashed(shop, "planned")
    shop.sandbox.fault("POST /comments", "slow:0.1s")
    threads = [threading.Thread(target=shop.performer.advance, args=(run_id,)) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert shop.performer.result(run_id).status == "succeeded"
    assert len(shop.sandbox.ledger) == 1


def test_a_run_that_stays_unknown_for_a_day_needs_attention(build):
    shop = build(looks_up=False)
    shop.sandbox.fault("POST /comments", "drop_after")
    run_id = shop.reply().run_id
    with shop.ledger.database.write() as tx:
        tx.execute("UPDATE run SET created_at = '2020-01-01T00:00:00.000Z'")
    result = shop.performer.advance(run_id)
    assert (result.status, shop.performer.waiting()) == ("needs_attention", [])


def test_a_native_key_is_not_trusted_for_ever(build):
    shop = build(looks_up=False)
    shop.sandbox.fault("POST /refunds", "drop_after", times=2)
    run_id = shop.refund().run_id
    with shop.ledger.database.write() as tx:
        tx.execute("UPDATE step SET first_sent_at = '2020-01-01T00:00:00.000Z'")
    sent = len(shop.sandbox.ledger)
    assert shop.performer.advance(run_id).status == "unknown"
    assert len(shop.sandbox.ledger) == sent
