"""The facts an action rests on are read fresh, and what they forbid is not done."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub import reads
from hub.actions import OrderUpdateShippingAddress, PaymentRefund
from hub.errors import Conflict, Invalid, NotFound, Refused
from hub.perform import facts
from tests.perform.shop import ADDRESS


def test_a_refund_is_all_that_is_refundable_unless_an_amount_is_named(shop):
    result = shop.refund()
    assert (result.status, result.error) == ("succeeded", None)
    assert (result.money.amount, result.money.currency, result.money.direction) == (5000, "EUR", "out")
    assert [(e.connector, e.connection, e.object, e.remote_id, e.op) for e in result.effects] == [
        ("shop", "shop", "refund", "ref-1", "create")
    ]
    assert result.policy.rule == "plenty"
    assert result.reversal.possible is False
    assert shop.effects() == 1


def test_facts_are_read_fresh(shop):
    shop.sandbox.things["payments"]["pay-1"] |= {"refunded": 4000, "changed": "2026-11-03T10:00:00Z"}
    assert shop.refund().money.amount == 1000


@pytest.mark.parametrize(("minor", "allowed"), [(4999, True), (5000, True), (5001, False)])
def test_a_refund_is_never_more_than_refundable(shop, minor, allowed):
    if allowed:
        assert shop.refund(amount={"amount": minor, "currency": "EUR"}).money.amount == minor
        return
    with pytest.raises(Invalid) as caught:
        shop.refund(amount={"amount": minor, "currency": "EUR"})
    assert (caught.value.error_code, caught.value.field_path) == ("amount_exceeds_refundable", "input.amount.amount")
    assert shop.effects() == 0


@pytest.mark.parametrize(
    ("payment", "more", "error", "code"),
    [
        ("pay-2", {}, Refused, "payment_disputed"),
        ("pay-3", {}, Conflict, "nothing_refundable"),
        ("pay-9", {}, NotFound, "not_found"),
        ("pay-1", {"amount": "10.00 USD"}, Invalid, "currency_mismatch"),
    ],
)
def test_a_refund_that_the_facts_forbid(shop, payment, more, error, code):
    for mode in ("preview", "execute"):
        with pytest.raises(error) as caught:
            shop.refund(payment, mode=mode, **more)
        assert caught.value.error_code == code
    assert shop.effects() == 0
    assert shop.sandbox.ledger == []


def test_a_payment_that_is_gone_at_the_vendor_is_not_found(shop):
    del shop.sandbox.things["payments"]["pay-1"]
    with pytest.raises(NotFound) as caught:
        shop.refund()
    assert caught.value.field_path == "input.payment_ref"


def test_an_order_that_was_sent_keeps_its_address(shop):
    with pytest.raises(Conflict) as caught:
        shop.ask("order.update_shipping_address", order_ref="shop/orders/ord-2", address=ADDRESS)
    assert caught.value.error_code == "order_not_changeable"


def test_an_address_goes_out_in_the_vendors_words_nested(shop):
    result = shop.ask("order.update_shipping_address", order_ref="shop/orders/ord-1", address=ADDRESS)
    assert result.status == "succeeded"
    ship = shop.sandbox.things["orders"]["ord-1"]["ship"]
    assert ship == {"street": "Neue Str. 5", "city": "Berlin", "zip": "10117", "country": "DE"}


def test_a_hub_id_names_the_target_as_well(shop):
    hub_id = reads.resolve_target(shop.store, "shop/tickets/tic-1", "ticket")[0].id
    result = shop.note(ticket_ref=hub_id)
    assert (result.status, result.target.id, result.target.kind) == ("succeeded", hub_id, "ticket")


@pytest.mark.parametrize(
    ("data", "left"),
    [
        (
            {
                "refundable_amount": {"amount": 7, "currency": "EUR"},
                "amount_captured": {"amount": 9, "currency": "EUR"},
            },
            7,
        ),
        ({"amount_captured": {"amount": 9, "currency": "EUR"}, "amount_refunded": {"amount": 4, "currency": "EUR"}}, 5),
        ({"amount_captured": {"amount": 9, "currency": "EUR"}, "amount_refunded": None}, 9),
        ({"amount": {"amount": 9, "currency": "EUR"}, "status": "succeeded"}, 9),
        ({"amount": {"amount": 9, "currency": "EUR"}, "status": "failed"}, None),
        ({"amount_captured": {"amount": 1, "currency": "EUR"}, "amount_refunded": {"amount": 4, "currency": "EUR"}}, 0),
        ({}, None),
    ],
)
def test_what_is_refundable(data, left):
    found = facts.refundable(data)
    assert (found.amount if found else None) == left


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, False),
        ({"disputed": True}, True),
        ({"disputed": True, "disputes": [{"status": "won"}]}, False),
        ({"disputed": False, "disputes": [{"status": "won"}, {"status": "needs_response"}]}, True),
        ({"disputes": [{"status": "lost"}]}, True),
        ({"disputes": [{"status": "warning"}]}, True),
        ({"disputes": [{"status": None}]}, True),
    ],
)
def test_a_dispute_stands_in_the_way_until_it_is_won(data, expected):
    assert facts.disputed(data) is expected


@settings(max_examples=200)
@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 10**9))
def test_no_facts_let_more_out_than_is_left(captured, refunded, asked):
    euro = {"currency": "EUR"}
    data = {"amount_captured": {"amount": captured, **euro}, "amount_refunded": {"amount": refunded, **euro}}
    refund = PaymentRefund(payment_ref="a/b/c", reason="other", amount={"amount": asked, **euro})
    try:
        done = facts.completed(refund, data)
    except (Invalid, Conflict):
        assert asked > captured - refunded
    else:
        assert done.amount_of_money.amount == asked <= captured - refunded


@pytest.mark.parametrize("status", ["canceled", "completed"])
def test_an_order_that_is_over_keeps_its_address(status):
    action = OrderUpdateShippingAddress(order_ref="a/b/c", address=ADDRESS)
    with pytest.raises(Conflict):
        facts.completed(action, {"status": status})
