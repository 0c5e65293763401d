"""What the policy says of an action, and what a preview shows of it without sending anything."""

import pytest

from hub.policy import Policy, parse_policy


def test_money_without_a_rule_is_denied_and_the_denial_is_kept(build):
    shop = build(policy=Policy())
    first = shop.refund()
    assert (first.status, first.error["code"], first.policy.verdict) == ("denied", "policy_denied", "deny")
    assert first.policy.needs
    assert shop.performer.result(first.run_id).status == "denied"
    again = shop.refund()
    assert (again.run_id, again.replayed, again.status) == (first.run_id, True, "denied")
    assert shop.sandbox.ledger == []


def test_a_denied_preview_still_shows_what_would_be_sent(build):
    result = build(policy=Policy()).refund(mode="preview", key=None)
    assert (result.status, result.policy.verdict) == ("previewed", "deny")
    assert result.preview.requests[0].request["body"] == {"payment": "pay-1", "amount": 5000}


@pytest.mark.parametrize(
    ("live", "live_actions", "status"),
    [(True, False, "denied"), (True, True, "succeeded"), (False, False, "succeeded")],
)
def test_live_money_is_off_until_the_connection_says_otherwise(build, live, live_actions, status):
    result = build(live=live, live_actions=live_actions).refund()
    assert result.status == status
    if status == "denied":
        assert result.policy.rule == "live_actions"
        assert result.policy.needs == ["live_actions = true under [connections.shop]"]


def test_only_money_is_held_back_in_a_live_account(build):
    assert build(live=True).note().status == "succeeded"


def test_a_rule_may_look_at_live(build):
    rules = parse_policy({"rule": [{"action": "ticket.note", "when": {"live": True}, "verdict": "deny"}]}, "p")
    assert build(policy=rules, live=True).note().status == "denied"


def test_a_preview_sends_nothing_and_shows_the_request(shop):
    result = shop.refund(mode="preview", key=None, amount="12.34 EUR")
    assert shop.sandbox.ledger == []
    (seen,) = result.preview.requests
    assert (seen.request["method"], seen.request["url"]) == ("POST", "https://shop.example.com/refunds")
    assert seen.request["body"] == {"payment": "pay-1", "amount": 1234}
    assert seen.request["headers"]["Idempotency-Key"] == f"hub-{result.run_id}"
    assert result.money.amount == 1234
    change = next(c for c in result.preview.changes if c.kind == "payment")
    assert change.before["refundable_amount"] == {"amount": 5000, "currency": "EUR"}
    assert change.after["refundable_amount"] == {"amount": 3766, "currency": "EUR"}
    assert shop.performer.result(result.run_id).status == "previewed"


def test_a_preview_shows_before_and_after(shop):
    result = shop.ask("ticket.set_status", ticket_ref="shop/tickets/tic-1", status="solved", mode="preview", key=None)
    (change,) = result.preview.changes
    assert (change.before, change.after) == ({"status": "open"}, {"status": "solved"})
    assert result.preview.requests[0].request["body"] == {"state": "s"}
    assert result.reversal.possible


def test_a_preview_does_not_use_up_the_key(shop):
    shop.refund(mode="preview", key="k1")
    assert shop.refund(key="k1").replayed is False
