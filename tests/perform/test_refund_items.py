"""A refund of items is what the order's own lines come to, and no line is given back more than once."""

from threading import Barrier, Thread

import pytest

from hub.access import OPERATOR, Principal
from hub.actions import Item
from hub.errors import Conflict, Invalid, NotFound, Refused, Unsupported
from hub.perform import lines
from tests.perform.shop import MAPPING

WITH_LINES = (
    MAPPING
    + """
[orders.fields.lines]
each = "rows"
[orders.fields.lines.fields]
remote_id = "id"
line_no = "no"
sku = "sku"
quantity = { from = "qty", as = "decimal" }
unit_price = { money = "price", currency = { value = "EUR" }, unit = "minor" }
total = { money = "sum", currency = { value = "EUR" }, unit = "minor" }
"""
)
ROWS = [
    {"id": "L1", "no": "1", "sku": "LAMP", "qty": 3, "sum": 1000},
    {"id": "L2", "no": "2", "sku": "BULB", "qty": 2, "price": 250},
    {"id": "L3", "no": "3", "sku": "BULB", "qty": 1, "sum": 3000},
]


@pytest.fixture
def sold(bought):
    """Build a shop whose ord-1 has three lines."""

    def make(rows=ROWS, total=4500, **more):
        return bought(options={"mapping": WITH_LINES}, ord1={"rows": rows, "total": total}, **more)

    return make


def back(shop, *items, **more):
    given = {"order_ref": "shop/orders/ord-1", "reason": "damaged", "items": list(items), **more}
    return shop.ask("payment.refund", **given)


def test_items_come_to_what_the_orders_lines_say(sold):
    shop = sold()
    result = back(shop, {"sku": "LAMP", "quantity": 1}, {"line": "2"})
    assert (result.status, result.error, result.money.amount) == ("succeeded", None, 333 + 500)
    assert shop.sandbox.things["payments"]["pay-1"]["refunded"] == 833


def test_a_payment_knows_the_lines_of_its_order(sold):
    shop = sold()
    assert shop.refund(items=[{"line": "L3"}]).money.amount == 3000


def test_a_line_given_back_piece_by_piece_adds_up_to_its_total(sold):
    shop = sold()
    got = [back(shop, {"sku": "LAMP", "quantity": 1}, key=f"k{n}", repeat=True).money.amount for n in range(3)]
    assert (got, sum(got)) == ([333, 334, 333], 1000)


def test_no_line_is_given_back_beyond_what_was_ordered(sold):
    shop = sold()
    back(shop, {"sku": "LAMP", "quantity": 2})
    with pytest.raises(Invalid, match="3 ordered, 2 refunded already") as caught:
        back(shop, {"sku": "LAMP", "quantity": 2}, key="k2")
    assert (caught.value.error_code, caught.value.field_path) == ("quantity_exceeds", "input.items.0.quantity")
    assert back(shop, {"sku": "LAMP"}, key="k3", repeat=True).money.amount == 333
    assert shop.effects() == 2


def test_what_failed_leaves_the_lines_as_they_were(sold):
    shop = sold()
    shop.sandbox.fault("POST /refunds", "status:422", times=1)
    assert back(shop, {"line": "L3"}).status == "failed"
    assert back(shop, {"line": "L3"}, key="k2").status == "succeeded"


@pytest.mark.parametrize(
    ("items", "more", "code", "path"),
    [
        ([{"sku": "DOOR"}], {}, "unknown_item", "input.items.0"),
        ([{"sku": "LAMP", "line": "L2"}], {}, "unknown_item", "input.items.0"),
        ([{"sku": "BULB"}], {}, "ambiguous_item", "input.items.0.line"),
        ([{"line": "L1", "quantity": 1}, {"sku": "LAMP"}], {}, "ambiguous_item", "input.items.1"),
        ([{"line": "L1", "quantity": 4}], {}, "quantity_exceeds", "input.items.0.quantity"),
        ([{"line": "L3"}], {"amount": "29.99 EUR"}, "amount_mismatch", "input.amount"),
        ([{"line": "L3", "quantity": 0}], {}, "invalid", "input.items.0.quantity"),
        ([{"quantity": 1}], {}, "invalid", "input.items.0"),
        ([], {}, "invalid", "input.items"),
    ],
)
def test_items_that_cannot_be_are_refused_and_nothing_is_sent(sold, items, more, code, path):
    shop = sold()
    with pytest.raises(Invalid) as caught:
        back(shop, *items, **more)
    assert (caught.value.error_code, caught.value.field_path) == (code, path)
    assert shop.sandbox.ledger == []


def test_an_amount_that_is_what_the_items_come_to_is_fine(sold):
    assert back(sold(), {"line": "L3"}, amount="30.00 EUR").status == "succeeded"


def test_items_of_an_order_without_lines_need_an_amount(bought):
    shop = bought()
    with pytest.raises(Conflict) as caught:
        back(shop, {"sku": "LAMP"})
    assert (caught.value.error_code, shop.sandbox.ledger) == ("lines_not_known", [])


def test_a_discount_on_the_whole_order_is_not_given_back_with_a_line(sold):
    with pytest.raises(Conflict) as caught:
        back(sold(total=4400), {"line": "L3"})
    assert caught.value.error_code == "lines_not_whole"


def test_what_an_order_costs_beside_its_lines_is_told(sold):
    result = back(sold(total=5000), {"line": "L3"})
    assert "5.00 EUR beside its lines" in result.warnings[0]


def test_items_count_against_what_is_left_of_the_payment(sold):
    shop = sold(pay1={"refunded": 2500})
    with pytest.raises(Invalid) as caught:
        back(shop, {"line": "L3"})
    assert caught.value.error_code == "amount_exceeds_refundable"


def test_the_policy_sees_what_items_come_to(sold):
    shop = sold(rows=[{"id": "L1", "no": "1", "sku": "SOFA", "qty": 1, "sum": 6001}], total=6001, pay1={"amount": 7000})
    result = back(shop, {"sku": "SOFA"})
    assert (result.status, result.policy.facts["amount"]) == ("denied", "60.01 EUR")


def test_credit_in_place_of_money_is_refused_where_no_system_can(sold):
    shop = sold()
    with pytest.raises(Unsupported, match=r"shop cannot do destination; no connection can; .*credit\.grant") as caught:
        back(shop, {"line": "L3"}, destination="store_credit")
    assert (caught.value.field_path, shop.sandbox.ledger) == ("input.destination", [])


TICKET = {"ticket_ref": "shop/tickets/tic-1", "note": "Arrived in pieces."}


def test_the_ticket_is_told_once_the_money_is_on_its_way(sold):
    shop = sold()
    result = back(shop, {"line": "L3"}, **TICKET)
    assert (result.status, [e.object for e in result.effects]) == ("succeeded", ["refund", "comment"])
    note = shop.sandbox.things["comments"]["com-2"]
    assert note["text"] == "Refund of 30.00 EUR (damaged)\n- 1 x BULB\n\nArrived in pieces."
    assert note["open"] in ("internal", False)
    assert back(shop, {"line": "L3"}, **TICKET).replayed is True
    assert [entry.path for entry in shop.sandbox.ledger] == ["/refunds", "/comments"]


def test_a_note_that_fails_leaves_the_refund_done_and_is_told(sold):
    shop = sold()
    shop.sandbox.fault("POST /comments", "status:422", times=1)
    result = back(shop, {"line": "L3"}, **TICKET)
    assert (result.status, result.money.amount, [e.object for e in result.effects]) == ("succeeded", 3000, ["refund"])
    assert [(one.connection, one.action) for one in result.skipped] == [("shop", "ticket.note")]
    assert "the rest is done" in result.warnings[0]
    again = back(shop, {"line": "L3"}, **TICKET)
    assert (again.replayed, shop.effects("refund")) == (True, 1)


def test_a_note_whose_answer_is_lost_never_repeats_the_refund(sold):
    shop = sold()
    shop.sandbox.fault("POST /comments", "drop_after", times=1)
    first = back(shop, {"line": "L3"}, **TICKET)
    again = back(shop, {"line": "L3"}, **TICKET)
    assert {first.status, again.status} == {"unknown"}
    assert (shop.effects("refund"), shop.effects("comments")) == (1, 1)


def test_no_note_is_left_where_the_refund_failed(sold):
    shop = sold()
    shop.sandbox.fault("POST /refunds", "status:422", times=1)
    result = back(shop, {"line": "L3"}, **TICKET)
    assert (result.status, result.effects, result.money) == ("failed", [], None)
    assert "/comments" not in {entry.path for entry in shop.sandbox.ledger}


def test_a_preview_shows_the_refund_and_the_note(sold):
    shop = sold()
    result = back(shop, {"line": "L3"}, mode="preview", key=None, **TICKET)
    assert [seen.request["url"].rpartition("/")[2] for seen in result.preview.requests] == ["refunds", "comments"]
    assert (result.money.amount, shop.sandbox.ledger) == (3000, [])


@pytest.mark.parametrize(
    ("ticket", "who", "error"),
    [
        ("shop/tickets/tic-9", OPERATOR, NotFound),
        ("shop/tickets/tic-1", Principal("key_1", "bot", ("act:payment.refund", "read")), Refused),
    ],
)
def test_nothing_is_refunded_where_the_ticket_cannot_be_told(sold, ticket, who, error):
    shop = sold()
    with pytest.raises(error, match=r"ticket"):
        back(shop, {"line": "L3"}, ticket_ref=ticket, who=who)
    assert shop.sandbox.ledger == []


def test_what_a_system_pads_with_blanks_is_found_and_counted(sold):
    rows = [
        {"id": "L1 ", "no": "1", "sku": "LAMP  ", "qty": 2, "sum": 1000},
        {"id": "L2", "sku": " ", "qty": 1, "sum": 5},
    ]
    shop = sold(rows=rows, total=1005)
    assert back(shop, {"sku": "LAMP", "quantity": 1}, {"line": "L2"}).money.amount == 505
    with pytest.raises(Invalid, match="2 ordered, 1 refunded already"):
        back(shop, {"line": "L1", "quantity": 2}, key="k2")


def test_of_refunds_of_one_line_at_the_same_moment_one_is_done(sold):
    """Each asks for another number of the line, so that none is a duplicate; together they are more than there are."""
    shop, gate, got = (
        sold(rows=[{"id": "L1", "no": "1", "sku": "LAMP", "qty": 5, "sum": 5000}], total=5000),
        Barrier(4),
        [],
    )

    def ask(quantity):
        gate.wait()
        try:
            got.append(back(shop, {"sku": "LAMP", "quantity": quantity}, key=f"k{quantity}").money.amount)
        except (Conflict, Invalid):
            pass

    threads = [Thread(target=ask, args=(quantity,)) for quantity in (2, 3, 4, 5)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert 2000 <= sum(got) <= 5000
    assert shop.sandbox.things["payments"]["pay-1"]["refunded"] == sum(got)


def test_a_refund_that_another_came_before_is_reckoned_anew(sold):
    """The other one comes between the reckoning and the journal."""
    shop = sold()
    plans, calls = shop.ledger.plans, []

    def slow(action, targets):
        found = plans(action, targets)
        calls.append(action)
        if len(calls) == 2:  # the second look of the first refund
            assert back(shop, {"sku": "LAMP", "quantity": 2}, key="k-other").status == "succeeded"
        return found

    shop.ledger.plans = slow
    with pytest.raises(Conflict, match="reckoned anew"):
        back(shop, {"sku": "LAMP", "quantity": 3}, key="k1")
    assert shop.effects("refund") == 1
    assert back(shop, {"sku": "LAMP", "quantity": 1}, key="k1").status == "succeeded"


@pytest.mark.parametrize(
    ("rows", "totals"),
    [
        (ROWS, {"discount_total": 500, "shipping_total": 500, "total": 4500}),
        (ROWS, {"discount_total": 700, "tax_total": 700, "total": 4500}),
        (ROWS, {"shipping_total": 500, "total": 4600}),
    ],
)
def test_a_discount_on_the_whole_order_hides_behind_nothing(rows, totals):
    amounts = {name: {"amount": value, "currency": "EUR"} for name, value in totals.items()}
    order = {"lines": [line(row) for row in rows], **amounts}
    chosen = lines.taken("payment.refund", [Item(line="L1")], order, lambda _: 0)
    with pytest.raises(Conflict, match="discount on the whole"):
        lines.worth("payment.refund", chosen, order)


def line(row):
    worth = row.get("sum", row["qty"] * row.get("price", 0))
    return {"remote_id": row["id"], "quantity": str(row["qty"]), "total": {"amount": worth, "currency": "EUR"}}


@pytest.mark.parametrize("worth", [0, -100])
def test_lines_that_come_to_nothing_are_refused(sold, worth):
    shop = sold(rows=[{"id": "G", "no": "1", "sku": "GIFT", "qty": 1, "sum": worth}, *ROWS])
    with pytest.raises(Conflict, match="come to nothing") as caught:
        back(shop, {"line": "G"})
    assert (caught.value.error_code, shop.effects()) == ("lines_not_known", 0)
