"""What holds back money beside rules: a freeze, a key's ceiling, live accounts, plugins; and what counts as a fact."""

from datetime import UTC, datetime, timedelta

import pytest

from hub.access import ASSERTS, OPERATOR, Principal
from hub.errors import Conflict, Invalid, NotFound, Refused
from hub.ledger import freeze, frozen, unfreeze
from hub.policy import parse_policy
from tests.perform.shop import ADDRESS, MAPPING, PLENTY, opened

POOR = Principal("key_poor", "poor", ("act:*",), (("EUR", 3000),))


def rules(**when):
    return parse_policy({"rule": [{"name": "r", "action": "payment.*", "when": when, "verdict": "allow"}]}, "p")


def test_frozen_money_stands_still_and_says_who_froze_it(build):
    shop = build()
    on = freeze(shop.ledger.database, shop.ledger.audit, by="Berta", reason="audit")
    result = shop.refund()
    assert (result.status, result.error["code"], result.policy.rule) == ("denied", "money_frozen", "freeze")
    assert "Berta" in result.error["reason"]
    assert on.at in result.error["reason"]
    assert shop.note().status == "succeeded"
    with pytest.raises(Conflict):
        freeze(shop.ledger.database, shop.ledger.audit, by="Carl", reason=None)
    unfreeze(shop.ledger.database, shop.ledger.audit, by="Berta")
    with pytest.raises(Conflict):
        unfreeze(shop.ledger.database, shop.ledger.audit, by="Berta")
    assert shop.refund(key="k2").status == "succeeded"


def test_a_freeze_survives_a_restart(build, tmp_path):
    shop = build()
    freeze(shop.ledger.database, shop.ledger.audit, by="Berta", reason=None)
    again = opened(
        tmp_path, shop.connections.settings.connections, PLENTY, type(shop.connections.open("shop").connector)
    )
    try:
        assert frozen(again.ledger.database).by == "Berta"
    finally:
        again.connections.close()
        again.store.close()
        again.ledger.close()


def test_a_key_moves_no_more_a_day_than_its_ceiling(build):
    shop = build()
    assert shop.refund(who=POOR, amount="29.99 EUR").status == "succeeded"
    result = shop.refund(who=POOR, amount="0.02 EUR", key="k2")
    assert (result.status, result.error["code"], result.policy.rule) == ("denied", "daily_ceiling", "daily_ceiling")
    assert shop.refund(who=POOR, amount="0.01 EUR", key="k3").status == "succeeded"
    assert shop.refund(who=POOR, amount="0.01 EUR", key="k4").status == "denied"


def test_a_ceiling_is_looked_at_again_where_the_run_is_made(build, monkeypatch):
    shop = build()
    monkeypatch.setattr(type(shop.ledger), "moved_today", lambda *_: 0)
    assert shop.refund(who=POOR, amount="30.00 EUR").status == "succeeded"
    with pytest.raises(Refused) as caught:
        shop.refund(who=POOR, amount="0.01 EUR", key="k2")
    assert caught.value.error_code == "daily_ceiling"


@pytest.mark.parametrize(
    ("scopes", "level", "status"),
    [
        (("act:*",), "otp", "denied"),
        (("act:*",), "human", "denied"),
        (("act:*", ASSERTS), "otp", "succeeded"),
        (("act:*", ASSERTS), "claimed", "denied"),
        (("act:*", ASSERTS), None, "denied"),
    ],
)
def test_a_verification_counts_only_from_a_key_that_may_assert_it(build, scopes, level, status):
    shop = build(policy=rules(verification_gte="otp"))
    said = {"verification": level} if level else None
    assert shop.refund(who=Principal("key_x", "x", scopes), on_behalf_of=said).status == status


def test_a_channel_is_no_more_than_a_claim_either(build):
    shop = build(policy=rules(channel="chat"))
    said = {"channel": "chat"}
    assert shop.refund(who=Principal("a", "a", ("act:*",)), on_behalf_of=said).status == "denied"
    assert shop.refund(who=Principal("b", "b", ("act:*", ASSERTS)), on_behalf_of=said).status == "succeeded"


def test_an_unknown_verification_is_refused(build):
    with pytest.raises(Invalid) as caught:
        build().refund(on_behalf_of={"verification": "surely"})
    assert caught.value.field_path == "on_behalf_of.verification"


def test_the_reason_of_a_denial_is_the_operators_and_the_rule_stands_in_policy(build):
    deny = {"name": "never", "action": "payment.*", "verdict": "deny", "reason": "ask billing"}
    result = build(policy=parse_policy({"rule": [deny]}, "p")).refund()
    assert (result.error["reason"], result.policy.rule) == ("ask billing", "never")


@pytest.mark.parametrize("decides", [lambda action, call: "not on Sundays", lambda action, call: 1 / 0])
def test_a_plugin_may_refuse_and_its_error_refuses_too(build, decides):
    shop = build()
    shop.performer.plugins.deciders["sunday"] = decides
    result = shop.refund()
    assert (result.status, result.policy.rule, shop.effects()) == ("denied", "plugin sunday", 0)


def test_a_plugin_is_asked_with_the_call_as_it_would_be_made(build):
    shop, seen = build(), []
    shop.performer.plugins.deciders["look"] = lambda action, call: seen.append((action.name, dict(call.fields)))
    assert shop.refund(amount="1.00 EUR").status == "succeeded"
    assert seen == [("payment.refund", {"amount": 100})]


def test_an_unknown_connection_is_named(build):
    with pytest.raises(NotFound) as caught:
        build().ask("ticket.note", ticket_ref="shp/tickets/1", body="x")
    assert caught.value.error_code == "unknown_connection"
    assert 'did you mean "shop"' in caught.value.message


def test_the_facts_name_only_connections_that_are_written(build):
    def without(sandboxes):
        sandboxes["second"].things["customers"]["cus-1"] |= {"mail": "ada@mail.example.com"}

    shop = build(("first", "second"), tweak=without)
    result = shop.ask(
        "customer.update", customer_ref="first/customers/cus-1", changes={"job_title": "Boss"}, targets=["first"]
    )
    assert (result.policy.facts["connection"], "connections" in result.policy.facts) == ("first", False)


def test_refunds_of_nobody_known_are_not_few(build):
    assert build(policy=rules(refunds_90d_lt=1)).refund(amount="1.00 EUR").status == "denied"


def test_refunds_of_90_days_are_counted_though_only_the_journal_knows_them(build):
    mapping = MAPPING.replace(
        'disputed = "disputed"', 'disputed = "disputed"\ncustomer_ref = { ref = "customers", from = "customer" }'
    )

    def belongs(sandboxes):
        for payment in sandboxes["shop"].things["payments"].values():
            payment |= {"customer": "cus-1", "refunded": 0}

    shop = build(policy=rules(refunds_90d_lt=2), mapping=mapping, tweak=belongs)
    seen = [shop.refund(amount="1.00 EUR", key=f"k{n}", repeat=True) for n in range(3)]
    assert [result.status for result in seen] == ["succeeded", "succeeded", "denied"]
    assert [result.policy.facts["refunds_90d"] for result in seen] == [0, 1, 2]


def test_the_age_of_a_payment_stands_for_its_order(build):
    mapping = MAPPING.replace('disputed = "disputed"', 'disputed = "disputed"\ncreated_at = "made"')

    def made(sandboxes):
        payments = sandboxes["shop"].things["payments"]
        payments["pay-1"]["made"] = (datetime.now(UTC) - timedelta(days=60, hours=1)).isoformat()
        payments["pay-3"] |= {"refunded": 0, "made": (datetime.now(UTC) - timedelta(days=61, hours=1)).isoformat()}

    shop = build(policy=rules(order_age_days_lte=60), mapping=mapping, tweak=made)
    assert shop.refund().status == "succeeded"
    assert shop.refund("pay-3", key="k2").status == "denied"


def test_a_reversal_is_an_action_with_its_input(build):
    shop = build()
    done = shop.ask("customer.update", customer_ref="shop/customers/cus-1", changes={"display_name": "Ada B."})
    assert done.reversal.action == "customer.update"
    assert done.reversal.input["changes"] == {"display_name": "Ada Example"}
    undone = shop.performer.reversing.reverse(done.run_id, OPERATOR)
    assert undone.status == "succeeded"
    assert shop.sandbox.things["customers"]["cus-1"]["name"] == "Ada Example"
    assert shop.performer.result(done.run_id).status == "reversed"
    assert shop.performer.reversing.reverse(done.run_id, OPERATOR).run_id == undone.run_id


def test_nothing_undoes_what_was_denied_or_failed(build):
    shop = build(policy=parse_policy({"rule": [{"action": "order.*", "verdict": "deny"}]}, "p"))
    denied = shop.ask("order.update_shipping_address", order_ref="shop/orders/ord-1", address=ADDRESS)
    assert (denied.reversal.possible, denied.reversal.action) == (False, None)
    with pytest.raises(Conflict) as caught:
        shop.performer.reversing.reverse(denied.run_id, OPERATOR)
    assert caught.value.error_code == "not_reversible"


def test_a_new_ticket_is_named_and_its_reversal_solves_it(build):
    shop = build()
    done = shop.ask("ticket.create", customer_ref="shop/customers/cus-1", subject="Hi", body="Hello")
    (made,) = done.effects
    assert made.id.startswith("tkt_")
    assert done.reversal.input == {"ticket_ref": made.id, "status": "solved"}
    assert shop.performer.reversing.reverse(done.run_id, OPERATOR).status == "succeeded"


def test_money_that_was_given_back_stays_back(build):
    done = build().refund()
    assert (done.reversal.possible, done.reversal.action) == (False, None)
    assert "stays" in done.reversal.residue
