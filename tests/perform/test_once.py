"""One key, one effect: replays, other bodies, possible duplicates, and callers at the same time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hub.access import Principal
from hub.errors import Conflict, Invalid


def test_same_key_refunds_once(shop):
    first = shop.refund()
    again = shop.refund()
    assert (again.run_id, again.replayed, first.replayed) == (first.run_id, True, False)
    assert again.effects == first.effects
    assert shop.effects("refund") == 1


def test_the_vendors_key_comes_from_the_run(shop):
    result = shop.refund()
    assert [entry.key for entry in shop.sandbox.ledger] == [f"hub-{result.run_id}"]


def test_same_key_with_another_body_names_the_first_run(shop):
    first = shop.refund(amount="1.00 EUR")
    with pytest.raises(Conflict) as caught:
        shop.refund(amount="2.00 EUR")
    assert (caught.value.error_code, caught.value.reason) == ("idempotency_key_reused", first.run_id)
    assert shop.effects("refund") == 1


def test_a_key_of_another_principal_is_another_key(shop):
    shop.refund(amount="1.00 EUR")
    other = shop.refund(amount="2.00 EUR", who=Principal("key_2", "other", ("act:*",)))
    assert other.replayed is False
    assert shop.effects("refund") == 2


def test_the_same_refund_under_a_new_key_is_a_possible_duplicate(shop):
    first = shop.refund(amount="1.00 EUR")
    with pytest.raises(Conflict) as caught:
        shop.refund(amount="1.00 EUR", key="k2")
    assert (caught.value.error_code, caught.value.reason) == ("possible_duplicate", first.run_id)
    assert shop.refund(amount="1.00 EUR", key="k3", repeat=True).status == "succeeded"
    assert shop.refund(amount="1.01 EUR", key="k4").status == "succeeded"


def test_setting_the_same_status_again_is_no_duplicate(shop):
    for key in ("k1", "k2"):
        given = {"ticket_ref": "shop/tickets/tic-1", "status": "solved"}
        assert shop.ask("ticket.set_status", key=key, **given).status == "succeeded"


def test_sixteen_threads_with_one_key_have_one_effect_and_one_answer(shop):
    shop.sandbox.fault("POST /refunds", "slow:0.2s")
    gate = threading.Barrier(16)

    def ask(_):
        gate.wait()
        return shop.refund(wait_ms=20_000)

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(ask, range(16)))
    assert shop.effects("refund") == 1
    assert len(shop.sandbox.ledger) == 1
    assert {result.status for result in found} == {"succeeded"}
    assert len({(result.run_id, result.effects[0].remote_id) for result in found}) == 1
    assert [result.replayed for result in found].count(False) == 1


def test_a_late_caller_is_told_that_it_runs(shop):
    shop.sandbox.fault("POST /refunds", "slow:0.6s")
    first = threading.Thread(target=shop.refund)
    first.start()
    while first.is_alive() and not shop.ledger.runs():
        time.sleep(0.01)
    late = shop.refund()
    assert (late.status, late.replayed) == ("running", True)
    assert late.check_after_ms
    first.join()
    assert shop.refund().status == "succeeded"


def test_a_refusal_before_the_run_leaves_the_key_free(shop):
    with pytest.raises(Invalid):
        shop.refund(amount="99.00 EUR")
    assert shop.refund(amount="9.00 EUR").status == "succeeded"
