"""The room `policy`: rules, verdicts, and what a wrong policy file is told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.actions import CATALOGUE, CustomerLookup, PaymentRefund, Risk, TicketReply
from hub.errors import ConfigError
from hub.money import Money
from hub.policy import NO_RULE, PREDICATES, Facts, Policy, decide, load_policy, parse_policy

ROOT = Path(__file__).parent.parent


def euros(minor: int, currency: str = "EUR", **more: object) -> Facts:
    return Facts("pay", Money(minor, currency), **more)  # type: ignore[arg-type]


def policy(*rules: dict) -> Policy:
    return parse_policy({"rule": list(rules)}, "policy.toml")


SMALL = {"name": "small", "action": "payment.refund", "when": {"amount_lte": "50.00 EUR"}, "verdict": "allow"}


@pytest.mark.parametrize("action", CATALOGUE, ids=lambda a: a.name)
def test_without_rules_only_money_and_irreversible_actions_are_denied(action):
    verdict = decide(Policy(), action, Facts("x"))
    assert verdict.verdict == ("deny" if action.risk in (Risk.R3, Risk.R4) else "allow")
    assert verdict.rule == NO_RULE


def test_a_denial_by_default_says_what_would_pass():
    verdict = decide(Policy(), PaymentRefund, euros(100))
    assert verdict.reason is not None
    assert "R3" in verdict.reason
    assert verdict.needs == ('a [[rule]] with action = "payment.refund" and verdict = "allow" that matches',)


@pytest.mark.parametrize(("minor", "expected"), [(4999, "allow"), (5000, "allow"), (5001, "deny")])
def test_an_amount_band_ends_at_its_last_minor_unit(minor, expected):
    assert decide(policy(SMALL), PaymentRefund, euros(minor)).verdict == expected


@pytest.mark.parametrize(
    ("key", "below", "at", "above"),
    [
        ("amount_lt", True, False, False),
        ("amount_lte", True, True, False),
        ("amount_gt", False, False, True),
        ("amount_gte", False, True, True),
    ],
)
def test_each_amount_predicate_on_both_sides_of_its_bound(key, below, at, above):
    rules = policy({"action": "payment.refund", "when": {key: "10.00 EUR"}, "verdict": "allow"})
    seen = [decide(rules, PaymentRefund, euros(minor)).verdict == "allow" for minor in (999, 1000, 1001)]
    assert seen == [below, at, above]


def test_an_amount_in_another_currency_does_not_match():
    verdict = decide(policy(SMALL), PaymentRefund, euros(1, "USD"))
    assert verdict.verdict == "deny"
    assert verdict.needs == ('amount_lte 50.00 EUR (rule "small")',)


def test_an_amount_predicate_does_not_match_an_action_without_an_amount():
    rules = policy({"action": "*", "when": {"amount_gte": "0.00 EUR"}, "verdict": "deny"})
    assert decide(rules, TicketReply, Facts("desk")).verdict == "allow"


def test_the_first_matching_rule_wins():
    deny = {
        "name": "never",
        "action": "payment.*",
        "verdict": "deny",
        "reason": "not here",
        "next_actions": ["ticket.note"],
    }
    verdict = decide(policy(SMALL, deny), PaymentRefund, euros(1))
    assert (verdict.verdict, verdict.rule) == ("allow", "small")
    verdict = decide(policy(deny, SMALL), PaymentRefund, euros(1))
    assert (verdict.verdict, verdict.rule, verdict.reason) == ("deny", "never", "not here")
    assert verdict.next_actions == ("ticket.note",)


def test_all_conditions_of_a_rule_must_hold():
    when = {"amount_lte": "50.00 EUR", "connection": ["pay-*", "till"], "live": False, "principal": "bot"}
    rules = policy({"name": "narrow", "action": "payment.refund", "when": when, "verdict": "allow"})
    good = Facts("pay-eu", Money(1, "EUR"), live=False, principal="bot")
    assert decide(rules, PaymentRefund, good).verdict == "allow"
    for bad in (
        Facts("erp", Money(1, "EUR"), live=False, principal="bot"),
        Facts("till", Money(1, "EUR"), live=True, principal="bot"),
        Facts("till", Money(1, "EUR"), live=None, principal="bot"),
        Facts("till", Money(1, "EUR"), live=False, principal="other"),
    ):
        assert decide(rules, PaymentRefund, bad).verdict == "deny"


def test_a_rule_may_deny_what_is_allowed_by_default():
    rules = policy({"action": "ticket.*", "verdict": "deny"})
    verdict = decide(rules, TicketReply, Facts("desk"))
    assert (verdict.verdict, verdict.rule, verdict.reason) == ("deny", "rule 1", 'rule "rule 1" denies it')
    assert decide(rules, CustomerLookup, Facts("desk")).verdict == "allow"


def test_a_verdict_carries_the_facts_it_saw():
    facts = decide(policy(SMALL), PaymentRefund, euros(1234, live=True, principal="bot")).facts
    assert facts == {"connection": "pay", "amount": "12.34 EUR", "live": True, "principal": "bot"}


@given(st.integers(1, 10**12), st.sampled_from(["EUR", "USD", "JPY", "KWD"]), st.sampled_from([None, True, False]))
def test_no_facts_let_money_through_an_empty_policy(minor, currency, live):
    assert decide(Policy(), PaymentRefund, Facts("pay", Money(minor, currency), live)).verdict == "deny"


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_a_band_allows_exactly_the_amounts_up_to_its_bound(bound, amount):
    text = f"{bound // 100}.{bound % 100:02d} EUR"
    rules = policy({"action": "payment.refund", "when": {"amount_lte": text}, "verdict": "allow"})
    assert (decide(rules, PaymentRefund, euros(amount)).verdict == "allow") == (amount <= bound)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"action": "x", "verdict": "allow", "wen": {}}, ("wen", "unknown key", "when")),
        ({"action": "x", "verdict": "allow", "when": {"amount_le": "1 EUR"}}, ("amount_le", "amount_lte")),
        ({"action": "x", "verdict": "allow", "when": {"moon": "full"}}, ("moon", "unknown key")),
        ({"action": "x", "verdict": "alow"}, ("'alow'", '"allow" or "deny"')),
        ({"action": "x"}, ("nothing", '"allow" or "deny"')),
        ({"verdict": "allow"}, ("action", "ticket.*")),
        ({"action": "x", "verdict": "allow", "when": {"amount_lte": 50}}, ("amount_lte", "50.00 EUR")),
        ({"action": "x", "verdict": "allow", "when": {"amount_lte": "50"}}, ("amount_lte", "50.00 EUR")),
        ({"action": "x", "verdict": "allow", "when": {"amount_lte": "50.001 EUR"}}, ("amount_lte", "minor digits")),
        ({"action": "x", "verdict": "allow", "when": {"live": "yes"}}, ("live", "true or false")),
        ({"action": "x", "verdict": "allow", "when": {"connection": []}}, ("connection", "a list of them")),
        ({"action": "x", "verdict": "allow", "when": []}, ("when", "table")),
        ({"action": "x", "verdict": "deny", "next_actions": "ticket.note"}, ("next_actions", "list")),
        ({"action": "x", "verdict": "deny", "reason": 5}, ("reason", "text")),
        ({"action": "x", "verdict": {"needs_approval": {"group": "leads"}}}, ("needs_approval", "not available")),
        ({"action": "x", "verdict": "needs_approval"}, ("needs_approval", "not available")),
    ],
)
def test_a_wrong_rule_is_told_in_one_line_with_file_and_rule(rule, words):
    with pytest.raises(ConfigError) as caught:
        policy({"name": "mine"} | rule)
    message = caught.value.message
    assert message.startswith('policy.toml: rule "mine"')
    assert "\n" not in message
    for word in words:
        assert word in message


def test_two_rules_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="used twice"):
        policy(SMALL, SMALL)


def test_an_unknown_table_is_refused():
    with pytest.raises(ConfigError, match="rules: unknown key"):
        parse_policy({"rules": []}, "policy.toml")


def test_rule_must_be_an_array_of_tables():
    with pytest.raises(ConfigError, match=r"\[\[rule\]\]"):
        parse_policy({"rule": {"action": "x"}}, "policy.toml")


def test_no_file_is_the_default_policy(tmp_path):
    assert load_policy(tmp_path / "policy.toml") == Policy()
    assert load_policy(None) == Policy()


def test_a_file_that_is_no_toml_names_itself(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text("[[rule]\n")
    with pytest.raises(ConfigError, match=r"policy\.toml: is not TOML"):
        load_policy(file)


def test_a_folder_in_place_of_the_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_policy(tmp_path)


def test_the_example_policy_loads_and_keeps_its_bands():
    example = load_policy(ROOT / "policy.example.toml")
    seen = {
        (minor, currency): decide(example, PaymentRefund, euros(minor, currency)).rule
        for currency in ("EUR", "USD", "GBP")
        for minor in (5000, 5001)
    }
    assert seen == {
        (5000, "EUR"): "small refunds",
        (5001, "EUR"): "larger refunds",
        (5000, "USD"): "small refunds in dollars",
        (5001, "USD"): "larger refunds",
        (5000, "GBP"): "larger refunds",
        (5001, "GBP"): "larger refunds",
    }


def test_the_example_policy_names_every_condition():
    text = (ROOT / "policy.example.toml").read_text()
    assert all(key in text for key in PREDICATES)
