"""A write was sent and its answer did not come: what is looked up, what is sent again, what stays unknown."""

import pytest

from tests.perform.shop import ShopConfig


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
    result = shop.reply()
    assert (result.status, result.error["code"], result.error["retryable"]) == ("failed", "temporary", True)
    assert len(shop.sandbox.ledger) == 2
    assert shop.effects("comments") == 0


def test_a_server_error_on_a_write_is_looked_up_before_anything_else(shop):
    shop.sandbox.fault("POST /comments", "status:500")
    assert shop.reply().status == "succeeded"
    assert shop.effects("comments") == 1


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
