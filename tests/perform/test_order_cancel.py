"""An order is cancelled first, its money goes back after that, once, and only as far as the policy lets it."""

import pytest

from hub.access import Principal
from hub.actions import OrderCancel
from hub.connector import Effect, Outcome, act
from hub.errors import Conflict, Invalid, Refused, Unsupported
from hub.ledger import Approvals, freeze, unfreeze
from hub.policy import parse_policy
from tests.perform.shop import CANCELLING, ShopConnector
from tests.perform.test_refund_items import ROWS, WITH_LINES

BOT = Principal("key_bot", "bot", ("act:*",))


def cancel(shop, **more):
    return shop.ask("order.cancel", **{"order_ref": "shop/orders/ord-1", "reason": "too late", "refund": True, **more})


def things(shop, kind, one):
    return shop.sandbox.things[kind][one]


def test_an_order_is_cancelled_and_what_was_paid_is_refunded_once(bought):
    shop = bought()
    result = cancel(shop)
    assert (result.status, [e.object for e in result.effects]) == ("succeeded", ["orders", "refund"])
    assert (result.money.amount, result.money.currency) == (5000, "EUR")
    assert (things(shop, "orders", "ord-1")["state"], things(shop, "payments", "pay-1")["refunded"]) == ("gone", 5000)
    assert result.reversal.possible is False
    assert "place a new order" in result.reversal.residue
    assert cancel(shop).replayed is True
    assert [entry.path for entry in shop.sandbox.ledger] == ["/orders/ord-1", "/refunds"]


def test_only_what_is_left_is_refunded(bought):
    result = cancel(bought(pay1={"refunded": 1200}))
    assert (result.status, result.money.amount) == ("succeeded", 3800)


def test_without_refund_the_money_stays_and_that_is_told(bought):
    shop = bought()
    result = cancel(shop, refund=False)
    assert (result.status, len(result.effects), result.money) == ("succeeded", 1, None)
    assert "refund is false" in result.warnings[0]


def test_what_is_only_authorised_is_released(bought):
    shop = bought(pay1={"state": "held"})
    result = cancel(shop)
    assert (result.status, things(shop, "payments", "pay-1")["state"], result.money) == ("succeeded", "no", None)


def test_a_system_that_cannot_release_is_told_as_skipped(bought, monkeypatch):
    shop = bought(pay1={"state": "held"})
    connection = shop.connections.open("shop")
    can = connection.can
    monkeypatch.setattr(connection, "can", lambda name: None if name == "payment.void_authorization" else can(name))
    result = cancel(shop)
    assert (result.status, len(result.effects)) == ("succeeded", 1)
    assert [(one.action, "lapses by itself" in one.reason) for one in result.skipped] == [
        ("payment.void_authorization", True)
    ]


def test_a_payment_under_way_is_left_for_later_and_told(bought):
    result = cancel(bought(pay1={"state": "late"}))
    assert (result.status, len(result.effects)) == ("succeeded", 1)
    assert "pending" in result.skipped[0].reason


@pytest.mark.parametrize(
    ("more", "error", "code"),
    [
        ({"pay1": {"disputed": True}}, Refused, "payment_disputed"),
        ({"pay1": {"order": None}}, Conflict, "payment_not_known"),
        ({"ord1": {"state": "gone"}}, Conflict, "order_not_changeable"),
    ],
)
def test_nothing_is_sent_where_the_money_cannot_go_back(bought, more, error, code):
    shop = bought(**more)
    with pytest.raises(error) as caught:
        cancel(shop)
    assert (caught.value.error_code, shop.sandbox.ledger) == (code, [])


def test_an_order_that_was_shipped_is_denied_unless_the_policy_says_otherwise(bought):
    shop = bought(ord1={"sent": True})
    denied = cancel(shop)
    assert (denied.status, denied.error["reason"], denied.policy.facts["shipped"]) == (
        "denied",
        "it is on its way",
        True,
    )
    assert shop.sandbox.ledger == []


def test_the_refund_must_pass_by_its_own_rules(bought):
    shop = bought(pay1={"amount": 6001})
    result = cancel(shop)
    assert (result.status, result.policy.facts["amount"]) == ("denied", "60.01 EUR")
    assert shop.sandbox.ledger == []


def test_the_key_needs_the_scope_of_the_refund(bought):
    shop = bought()
    with pytest.raises(Refused, match=r"act:payment\.refund@shop"):
        cancel(shop, who=Principal("key_1", "bot", ("act:order.cancel", "read")))
    assert shop.sandbox.ledger == []


def test_live_money_is_off_for_the_refund_of_an_order(bought):
    result = cancel(bought(options={"live": True}))
    assert (result.status, result.policy.rule) == ("denied", "live_actions")


def test_no_money_moves_where_the_order_was_not_cancelled(bought):
    shop = bought()
    shop.sandbox.fault("PATCH /orders", "status:422", times=1)
    result = cancel(shop)
    assert (result.status, result.effects, result.money) == ("failed", [], None)
    assert [step.state for step in shop.ledger.get(result.run_id).steps] == ["failed", "failed"]
    assert "/refunds" not in {entry.path for entry in shop.sandbox.ledger}


def test_a_refund_that_fails_leaves_the_cancelled_order_visible(bought):
    shop = bought()
    shop.sandbox.fault("POST /refunds", "status:422", times=1)
    result = cancel(shop)
    assert (result.status, [e.object for e in result.effects], result.money) == ("failed", ["orders"], None)
    assert result.error["code"] == "invalid"
    assert any("1 of 2 steps failed" in line for line in result.warnings)


def test_a_preview_shows_both_requests_and_sends_nothing(bought):
    shop = bought()
    result = cancel(shop, mode="preview", key=None)
    assert [seen.request["method"] for seen in result.preview.requests] == ["PATCH", "POST"]
    assert "only once step 0 is done" in result.preview.requests[1].note
    assert (result.money.amount, shop.sandbox.ledger) == (5000, [])


def test_the_one_payment_of_an_order_is_refunded_by_the_orders_number(bought):
    shop = bought()
    result = shop.ask("payment.refund", order_ref="shop/orders/ord-1", reason="goodwill")
    assert (result.status, things(shop, "payments", "pay-1")["refunded"]) == ("succeeded", 5000)


def test_an_order_that_another_system_calls_shipped_is_shipped(build):
    """Whoever names the system that knows nothing of parcels must not get round the rule."""

    def tweak(sandboxes):
        for sandbox in sandboxes.values():
            sandbox.things["orders"]["ord-1"] |= {"customer": "cus-1", "state": "open", "sent": None}
        sandboxes["shop-b"].things["orders"]["ord-1"]["sent"] = True

    shop = build(("shop", "shop-b"), policy=CANCELLING, tweak=tweak)
    denied = cancel(shop, refund=False)
    assert (denied.status, denied.policy.facts["shipped"]) == ("denied", True)
    assert [(one.connection, one.reason) for one in denied.skipped] == [
        ("shop-b", "holds the order, too; left as it is")
    ]


def held(**more):
    """Let everybody cancel, and ask the billing team about the refund."""
    asked = {"needs_approval": {"group": "billing", "four_eyes": True}}
    rules = [
        {"name": "cancel", "action": "order.cancel", "verdict": more.get("cancel", "allow")},
        {"name": "money", "action": "payment.refund", "verdict": asked},
    ]
    return parse_policy({"rule": rules}, "policy.toml")


def approve(shop, result, group="billing"):
    lead = Principal("key_lead", "lead", (f"approve:{group}", "act:*"))
    return shop.performer.approving.approve(result.run_id, lead, asker=BOT)


def test_a_person_is_asked_about_the_refund_before_anything_is_sent(bought):
    shop = bought(policy=held())
    asked = cancel(shop, who=BOT)
    assert (asked.status, asked.approval.group, shop.sandbox.ledger) == ("needs_approval", "billing", [])
    done = approve(shop, asked)
    assert (done.status, len(done.effects), done.money.amount) == ("succeeded", 2, 5000)


def test_of_two_groups_the_one_for_the_money_is_asked(bought):
    leads = {"needs_approval": {"group": "leads"}}
    assert cancel(bought(policy=held(cancel=leads)), who=BOT).approval.group == "billing"


def test_an_approval_is_for_the_amount_that_was_looked_at(bought):
    shop = bought(policy=held())
    asked = cancel(shop, who=BOT)
    things(shop, "payments", "pay-1")["refunded"] = 1200
    with pytest.raises(Conflict) as caught:
        approve(shop, asked)
    assert (caught.value.error_code, shop.sandbox.ledger) == ("plan_changed", [])
    assert approve(shop, asked).money.amount == 3800


def test_the_refund_counts_against_the_keys_ceiling(bought):
    who = Principal("key_1", "bot", ("act:*",), ceilings=(("EUR", 4999),))
    result = cancel(bought(), who=who)
    assert (result.status, result.error["code"]) == ("denied", "daily_ceiling")


def test_frozen_money_stops_the_refund_of_an_order_that_was_cancelled(bought):
    """Whoever freezes money between the two steps finds the second one waiting."""
    shop = bought(options={"looks_up": False})
    shop.sandbox.fault("PATCH /orders", "drop_after", times=1)
    asked = cancel(shop)
    freeze(shop.ledger.database, shop.ledger.audit, by="lead", reason=None)
    connector = shop.connections.open("shop").connector
    connector.config = connector.config.model_copy(update={"looks_up": True})
    assert shop.performer.advance(asked.run_id).status == "running"
    assert [entry.path for entry in shop.sandbox.ledger] == ["/orders/ord-1"]
    unfreeze(shop.ledger.database, shop.ledger.audit, by="lead")
    assert shop.performer.advance(asked.run_id).status == "succeeded"


def test_items_are_refused_where_no_system_can_cancel_a_part(bought):
    shop = bought()
    with pytest.raises(Unsupported, match=r"shop cannot do items; no connection can; cancel the whole order") as caught:
        cancel(shop, items=[{"sku": "LAMP"}])
    assert (caught.value.field_path, shop.sandbox.ledger) == ("input.items", [])


class Partial(ShopConnector):
    """A shop that can cancel a part of an order."""

    @act(OrderCancel, idempotency="set", takes=("items",))
    def cancel(self, action, call):
        key = call.target.remote_id
        self.http("PATCH", f"/orders/{key}", json={"canceled": call.input["items"]})
        return Outcome([Effect("orders", key, "update", after={"items": call.input["items"]})], [("orders", key)])


def part_of(bought, items, **more):
    shop = bought(options={"mapping": WITH_LINES}, **{"ord1": {"rows": ROWS, "total": 4500}, **more})
    shop.connections.open("shop").connector.__class__ = Partial
    return shop, cancel(shop, items=items)


def test_a_part_is_cancelled_and_only_its_lines_are_given_back(bought):
    shop, result = part_of(bought, [{"sku": "LAMP", "quantity": 2}])
    assert (result.status, result.money.amount) == ("succeeded", 667)
    wanted = [{"line": "L1", "sku": "LAMP", "quantity": 2}]
    assert (things(shop, "orders", "ord-1")["canceled"], things(shop, "orders", "ord-1")["state"]) == (wanted, "open")


def test_what_was_given_back_before_is_not_given_back_again_with_a_part(bought):
    with pytest.raises(Invalid) as caught:
        part_of(bought, [{"line": "L3"}], pay1={"refunded": 2500})
    assert caught.value.error_code == "amount_exceeds_refundable"


def test_an_authorised_payment_is_not_released_for_a_part(bought):
    shop, result = part_of(bought, [{"line": "L3"}], pay1={"state": "held"})
    assert (result.status, len(result.effects), result.money) == ("succeeded", 1, None)
    assert "capture less" in result.skipped[0].reason
    assert things(shop, "payments", "pay-1")["state"] == "held"


def test_which_of_several_payments_a_part_was_paid_with_is_not_guessed(bought):
    with pytest.raises(Invalid, match="several payments") as caught:
        part_of(bought, [{"line": "L3"}], pay2={"order": "ord-1"})
    assert caught.value.field_path == "input.refund"


def test_a_part_that_was_cancelled_and_given_back_is_not_refunded_again(bought):
    shop, result = part_of(bought, [{"line": "L1", "quantity": 3}], pay1={"amount": 5000})
    assert (result.status, result.money.amount) == ("succeeded", 1000)
    with pytest.raises(Invalid, match="3 refunded already"):
        shop.ask("payment.refund", order_ref="shop/orders/ord-1", reason="damaged", items=[{"line": "L1"}], key="k9")
    assert things(shop, "payments", "pay-1")["refunded"] == 1000


def test_a_refund_that_came_while_another_waited_for_its_grant_is_counted(bought, monkeypatch):
    shop = bought(policy=held(), options={"mapping": WITH_LINES}, ord1={"rows": ROWS, "total": 4500})
    given = {"order_ref": "shop/orders/ord-1", "reason": "damaged", "who": BOT}
    first = shop.ask("payment.refund", items=[{"line": "L1", "quantity": 2}], key="a", **given)
    other = shop.ask("payment.refund", items=[{"line": "L1", "quantity": 3}], key="b", **given)
    granting, came = Approvals.grant, list[str]()

    def beaten(self, *args, **more):
        if not came:
            came.append("other")
            assert approve(shop, other).status == "succeeded"
        return granting(self, *args, **more)

    monkeypatch.setattr(Approvals, "grant", beaten)
    with pytest.raises(Conflict, match="came first"):
        approve(shop, first)
    assert things(shop, "payments", "pay-1")["refunded"] == 1000
