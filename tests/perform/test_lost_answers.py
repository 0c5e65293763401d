"""A write was sent and its answer did not come: what is looked up, what is sent again, what stays unknown."""

import time
from datetime import timedelta

import pytest

from hub.perform import work
from tests.perform.shop import ShopConfig


def landed(shop):
    """Let time pass until what was sent must have arrived, or never will."""
    shop.performer.in_flight = timedelta(0)
    return shop


def test_a_lost_answer_is_looked_up_and_found(shop):
    shop.sandbox.fault("POST /refunds", "drop_after")
    result = shop.refund()
    assert (result.status, result.error) == ("succeeded", None)
    assert result.effects[0].remote_id == "ref-1"
    assert shop.effects("refund") == 1
    assert len(shop.sandbox.ledger) == 1


def test_a_request_that_got_lost_is_sent_again_with_the_same_key(shop):
    shop.sandbox.fault("POST /refunds", "drop_before")
    result = shop.refund()
    assert result.status == "succeeded"
    assert [entry.key for entry in shop.sandbox.ledger] == [f"hub-{result.run_id}"] * 2
    assert shop.effects("refund") == 1


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "status:500"])
def test_with_a_native_key_the_same_request_goes_out_again(build, fault):
    shop = build(looks_up=False)
    shop.sandbox.fault("POST /refunds", fault)
    assert shop.refund().status == "succeeded"
    assert len({entry.key for entry in shop.sandbox.ledger}) == 1
    assert shop.effects("refund") == 1


def test_without_a_native_key_a_lost_answer_stays_unknown(build):
    shop = build(looks_up=False)
    shop.sandbox.fault("POST /comments", "drop_after")
    result = shop.reply()
    assert (result.status, result.error["code"], result.effects) == ("unknown", "unknown", [])
    assert result.check_after_ms
    again = shop.reply()
    assert (again.status, again.run_id, again.replayed) == ("unknown", result.run_id, True)
    assert len(shop.sandbox.ledger) == 1
    assert shop.effects("comments") == 1


def test_an_action_without_look_up_stays_unknown(shop):
    shop.sandbox.fault("POST /comments", "drop_after")
    assert shop.note().status == "unknown"
    assert shop.note().status == "unknown"
    assert shop.effects("comments") == 1


def test_an_unknown_run_settles_once_it_can_be_looked_up(build):
    shop = build(looks_up=False)
    shop.sandbox.fault("POST /comments", "drop_after")
    run_id = shop.reply().run_id
    connector = shop.connections.open("shop").connector
    connector.config = ShopConfig(looks_up=True)
    assert shop.performer.result(run_id).status == "unknown"
    assert shop.performer.waiting() == [run_id]
    result = shop.reply()
    assert (result.status, result.run_id, result.replayed) == ("succeeded", run_id, True)
    assert shop.performer.advance(run_id).status == "succeeded"
    assert shop.effects("comments") == 1


def test_a_reply_that_got_lost_on_the_way_is_sent_again_once(shop):
    shop.sandbox.fault("POST /comments", "drop_before", times=5)
    result = landed(shop).reply()
    assert (result.status, result.error["code"], result.error["retryable"]) == ("failed", "temporary", True)
    assert len(shop.sandbox.ledger) == 2
    assert shop.effects("comments") == 0


@pytest.mark.parametrize("fault", ["status:500", "status:503", "drop_before"])
def test_a_reply_whose_answer_broke_off_is_not_sent_beside_one_that_may_still_arrive(shop, fault):
    shop.sandbox.fault("POST /comments", fault)
    assert shop.reply().status == "unknown"
    assert shop.reply().status == "unknown"
    assert len(shop.sandbox.ledger) == 1
    assert landed(shop).reply().status == "succeeded"
    assert shop.effects("comments") == 1


def test_a_reply_that_happens_after_its_connection_broke_happens_once(shop):
    """A proxy gives up, and the system behind it goes on: what is not there yet is still to come."""
    shop.sandbox.fault("POST /comments", "drop_late:0.3s")
    assert shop.reply().status == "unknown"
    for _ in range(1000):
        if shop.effects("comments"):
            break
        time.sleep(0.01)
    assert shop.reply().status == "succeeded"
    assert len(shop.sandbox.ledger) == 1


def test_a_refund_that_happens_after_its_connection_broke_is_kept_apart_by_its_key(shop):
    shop.sandbox.fault("POST /refunds", "drop_late:0.3s")
    assert shop.refund().status == "succeeded"
    assert len(shop.sandbox.ledger) == 1  # the first is not there yet; it carries the same key
    for _ in range(1000):
        if len(shop.sandbox.ledger) == 2:
            break
        time.sleep(0.01)
    assert len({entry.key for entry in shop.sandbox.ledger}) == 1
    assert shop.effects("refund") == 1


def test_what_was_lost_twice_fails_once_it_is_surely_not_there(shop):
    """A vendor that keeps its first answer to a key, a server error too, would be asked for ever."""
    shop.sandbox.fault("POST /refunds", "drop_before", times=2)
    assert shop.refund().status == "unknown"
    assert shop.refund().status == "unknown"
    ended = landed(shop).refund()
    assert (ended.status, ended.error["code"], ended.error["retryable"]) == ("failed", "temporary", True)
    assert (len(shop.sandbox.ledger), shop.effects("refund")) == (2, 0)
    assert shop.refund(key="k2").status == "succeeded"


def test_a_process_that_slept_sends_nothing(shop, monkeypatch):
    """Stopped between the commit and the request, for so long that others may have sent it in its place."""
    monkeypatch.setattr(work, "SEND_WITHIN", timedelta(seconds=-1))
    result = shop.reply()
    assert (result.status, result.error["code"], result.error["retryable"]) == ("failed", "too_late", True)
    assert shop.sandbox.ledger == []


@pytest.mark.parametrize("fault", ["drop_after", "status:503", "truncate", "html"])
def test_a_connector_that_lets_everything_through_changes_nothing(build, fault):
    shop = build(sloppy=True)
    shop.sandbox.fault("POST /refunds", fault)
    assert shop.refund().status == "succeeded"
    assert shop.effects("refund") == 1


def test_a_connector_that_breaks_after_the_write_is_looked_up(build):
    shop = build(breaks="after")
    assert shop.refund().status == "succeeded"
    assert len(shop.sandbox.ledger) == 1


def test_a_look_up_that_breaks_means_that_nobody_can_tell(build):
    shop = build(breaks="find")
    shop.sandbox.fault("POST /refunds", "drop_after", times=2)
    result = shop.refund()
    assert result.status == "unknown"
    assert len(shop.sandbox.ledger) == 2
    assert shop.effects("refund") == 1
    assert shop.refund().status == "succeeded"
    assert shop.effects("refund") == 1
