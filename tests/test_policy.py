"""The room `policy`: rules, verdicts, and what a wrong policy file is told."""

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.actions import CATALOGUE, CustomerLookup, PaymentRefund, Risk, TicketReply
from hub.errors import ConfigError
from hub.money import Money
from hub.policy import (
    NO_RULE,
    PREDICATES,
    Facts,
    Policy,
    PolicyFile,
    decide,
    example,
    explain,
    load_policy,
    parse_policy,
    read_cases,
    run_cases,
)

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
        ({"action": "x", "verdict": "alow"}, ("'alow'", '"allow", "deny"')),
        ({"action": "x"}, ("nothing", '"allow", "deny"')),
        ({"verdict": "allow"}, ("action", "ticket.*")),
        ({"action": "x", "verdict": "allow", "when": {"amount_lte": 50}}, ("amount_lte", "50.00 EUR")),
        ({"action": "x", "verdict": "allow", "when": {"amount_lte": "50"}}, ("amount_lte", "50.00 EUR")),
        ({"action": "x", "verdict": "allow", "when": {"amount_lte": "50.001 EUR"}}, ("amount_lte", "minor digits")),
        ({"action": "x", "verdict": "allow", "when": {"live": "yes"}}, ("live", "true or false")),
        ({"action": "x", "verdict": "allow", "when": {"connection": []}}, ("connection", "a list of them")),
        ({"action": "x", "verdict": "allow", "when": []}, ("when", "table")),
        ({"action": "x", "verdict": "deny", "next_actions": "ticket.note"}, ("next_actions", "list")),
        ({"action": "x", "verdict": "deny", "reason": 5}, ("reason", "text")),
        ({"action": "x", "verdict": "needs_approval"}, ("'needs_approval'", "group")),
        ({"action": "x", "verdict": {"needs_approval": {}}}, ("group", "support_leads")),
        ({"action": "x", "verdict": {"needs_approval": {"group": "a", "expires": "soon"}}}, ("expires", "4h")),
        ({"action": "x", "verdict": {"needs_approval": {"group": "a", "on_expiry": "pay"}}}, ("on_expiry", "deny")),
        ({"action": "x", "verdict": {"needs_approval": {"group": "a", "four_eyes": 1}}}, ("four_eyes", "true")),
        ({"action": "x", "verdict": "allow", "mode": "dark"}, ("mode", "shadow")),
        ({"action": "x", "verdict": "allow", "when": {"verification_gte": "sure"}}, ("verification_gte", "otp")),
        ({"action": "x", "verdict": "allow", "when": {"refunds_90d_lt": "2"}}, ("refunds_90d_lt", "whole number")),
        ({"action": "x", "verdict": "allow", "when": {"hours": "8-18"}}, ("hours", "08:00-18:00 Europe/Berlin")),
        ({"action": "x", "verdict": "allow", "when": {"hours": "08:00-18:00 Mars/Olympus"}}, ("hours", "time zone")),
        ({"action": "x", "verdict": "allow", "when": {"weekdays": "mo-fr UTC"}}, ("weekdays", "mon-fri")),
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


def test_a_link_to_nowhere_is_no_missing_policy(tmp_path):
    file = tmp_path / "policy.toml"
    file.symlink_to(tmp_path / "gone.toml")
    with pytest.raises(ConfigError, match=r"policy\.toml: cannot be read"):
        load_policy(file)


ACTIONS = {action.name: action for action in CATALOGUE}


@pytest.mark.parametrize("action", ["ticket.replay", "Ticket.*", "refund"])
def test_a_rule_about_no_action_is_refused(tmp_path, action):
    file = tmp_path / "policy.toml"
    file.write_text(f'[[rule]]\nname = "no replies"\naction = "{action}"\nverdict = "deny"\n')
    with pytest.raises(ConfigError) as caught:
        load_policy(file, actions=ACTIONS)
    assert f'policy.toml: rule "no replies": action: no action is called {action}' in caught.value.message


def test_silence_cannot_allow_money(tmp_path):
    file = tmp_path / "policy.toml"
    rule = 'verdict = { needs_approval = { group = "leads", on_expiry = "allow" } }'
    file.write_text(f'[[rule]]\naction = "ticket.*"\n{rule}\n')
    assert load_policy(file, actions=ACTIONS).rules
    file.write_text(f'[[rule]]\naction = "payment.*"\n{rule}\n')
    with pytest.raises(ConfigError, match=r"payment\.refund is R3"):
        load_policy(file, actions=ACTIONS)


def test_a_file_that_is_no_toml_names_itself(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text("[[rule]\n")
    with pytest.raises(ConfigError, match=r"policy\.toml: is not TOML"):
        load_policy(file)


def test_a_folder_in_place_of_the_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_policy(tmp_path)


CASES = ROOT / "policy.cases.example.toml"


def report(text):
    return run_cases(tomllib.loads(text), read_cases(CASES, ACTIONS), ACTIONS, "policy.toml")


def test_the_example_is_what_ships():
    assert (ROOT / "policy.example.toml").read_text() == example()


def test_the_cases_of_the_example_hit_every_rule_and_guard_every_threshold():
    found = report(example())
    assert (found.failed, found.unhit, found.unguarded) == ((), (), ())


THRESHOLDS = [
    ("50.00 EUR", "50.01 EUR"), ("50.00 EUR", "49.99 EUR"), ("50.00 USD", "50.01 USD"), ("50.00 GBP", "49.99 GBP"),
    ("200.00 EUR", "200.01 EUR"), ("200.00 USD", "199.99 USD"), ("200.00 GBP", "200.01 GBP"),
    ("order_age_days_lte = 60", "order_age_days_lte = 61"), ("order_age_days_lte = 60", "order_age_days_lte = 59"),
    ("refunds_90d_lt     = 2", "refunds_90d_lt = 3"), ("refunds_90d_lt     = 2", "refunds_90d_lt = 1"),
    ('verification_gte   = "otp"', 'verification_gte = "claimed"'), ("open_dispute = true", "open_dispute = false"),
]  # fmt: skip


@pytest.mark.parametrize(("was", "becomes"), THRESHOLDS)
def test_moving_a_threshold_of_the_example_fails_a_case(was, becomes):
    head, mark, rules = example().partition("[[rule]]")
    assert was in rules
    assert report(head + mark + rules.replace(was, becomes)).failed


def test_a_threshold_that_no_case_guards_is_told():
    text = example().replace("order_age_days_lte = 60", "order_age_days_lte = 60\nrefunds_90d_lte = 90")
    assert any("refunds_90d_lte 90" in line for line in report(text).unguarded)


def test_a_rule_that_no_case_hits_is_told():
    text = example() + '\n[[rule]]\nname = "idle"\naction = "ticket.note"\nverdict = "deny"\n'
    assert report(text).unhit == ("idle",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[case]\n", "[[case]]"),
        ('[[case]]\naction = "x"\nverdict = "allow"', "no action 'x'"),
        ('[[case]]\naction = "payment.refund"\nverdict = "yes"', "needs_approval or deny"),
        ('[[case]]\naction = "payment.refund"\nverdict = "deny"\nfacts = { moon = 1 }', "moon: unknown fact"),
        ('[[case]]\naction = "payment.refund"\nverdict = "deny"\nfacts = { amount = 5 }', "50.00 EUR"),
        ('[[case]]\naction = "payment.refund"\nverdict = "deny"\nfact = { }', "fact: unknown key"),
    ],
)
def test_a_wrong_case_is_told(tmp_path, text, words):
    file = tmp_path / "cases.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_cases(file, ACTIONS)
    assert words in caught.value.message


def test_the_example_policy_names_every_condition():
    text = example()
    assert all(key in text or f"{key.rsplit('_', 1)[0]}_lt" in text for key in PREDICATES if key != "principal")


NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday


@pytest.mark.parametrize(
    ("when", "good", "bad"),
    [
        ({"order_age_days_lt": 2}, {"order_age_days": 1}, {"order_age_days": 2}),
        ({"order_age_days_lte": 2}, {"order_age_days": 2}, {"order_age_days": 3}),
        ({"order_age_days_gt": 2}, {"order_age_days": 3}, {"order_age_days": 2}),
        ({"order_age_days_gte": 2}, {"order_age_days": 2}, {"order_age_days": 1}),
        ({"order_age_days_gte": 0}, {"order_age_days": 0}, {}),
        ({"refunds_90d_lt": 2}, {"refunds_90d": 1}, {"refunds_90d": 2}),
        ({"refunds_90d_lt": 2}, {"refunds_90d": 0}, {}),
        ({"verification_gte": "otp"}, {"verification": "otp"}, {"verification": "claimed"}),
        ({"verification_gte": "otp"}, {"verification": "human"}, {}),
        ({"verification_lt": "otp"}, {"verification": "claimed"}, {"verification": "otp"}),
        ({"open_dispute": True}, {"open_dispute": True}, {"open_dispute": False}),
        ({"open_dispute": False}, {"open_dispute": False}, {}),
        ({"agent": "bot-*"}, {"principal": "bot-1"}, {"principal": "ada"}),
        ({"channel": ["chat", "mail"]}, {"channel": "mail"}, {"channel": None}),
        ({"amount_lte": ["5.00 EUR", "6.00 USD"]}, {"amount": Money(600, "USD")}, {"amount": Money(600, "EUR")}),
        ({"amount_lte": ["5.00 EUR", "6.00 USD"]}, {"amount": Money(500, "EUR")}, {"amount": Money(1, "GBP")}),
        ({"hours": "12:00-13:00 UTC"}, {"at": NOON}, {"at": NOON + timedelta(hours=1)}),
        ({"hours": "13:00-14:00 Europe/Berlin"}, {"at": NOON}, {"at": NOON - timedelta(minutes=1)}),
        ({"hours": "22:00-06:00 UTC"}, {"at": NOON + timedelta(hours=17)}, {"at": NOON}),
        ({"weekdays": "mon-fri UTC"}, {"at": NOON}, {"at": NOON - timedelta(days=1)}),
        ({"weekdays": "sat,mon UTC"}, {"at": NOON}, {"at": NOON + timedelta(days=1)}),
        ({"weekdays": "tue Pacific/Auckland"}, {"at": NOON}, {"at": NOON - timedelta(hours=2)}),
        ({"weekdays": "sat-mon UTC"}, {"at": NOON}, {}),
    ],
)
def test_a_condition_holds_on_one_side_only_and_never_without_its_fact(when, good, bad):
    rules = policy({"action": "payment.refund", "when": when, "verdict": "allow"})
    assert decide(rules, PaymentRefund, Facts("pay", **good)).verdict == "allow"
    assert decide(rules, PaymentRefund, Facts("pay", **bad)).verdict == "deny"


def test_a_rule_in_shadow_is_told_and_decides_nothing():
    shadow = {"name": "new", "action": "payment.refund", "verdict": "deny", "mode": "shadow"}
    verdict = decide(policy(shadow, SMALL), PaymentRefund, euros(1))
    assert (verdict.verdict, verdict.rule, verdict.shadow) == ("allow", "small", {"rule": "new", "verdict": "deny"})
    verdict = decide(policy(SMALL, shadow), PaymentRefund, euros(1))
    assert verdict.shadow is None


def test_the_file_is_read_again_when_it_changes_and_a_broken_one_leaves_the_policy(tmp_path, caplog):
    file = tmp_path / "policy.toml"
    file.write_text('[[rule]]\nname = "one"\naction = "payment.*"\nverdict = "deny"\n')
    live = PolicyFile(file, actions=ACTIONS)
    told = []
    live.tell(lambda found, text: told.append([rule.name for rule in found.rules]))
    file.write_text('[[rule]]\nname = "second"\naction = "payment.*"\nverdict = "deny"\n')
    assert [rule.name for rule in live.current().rules] == ["second"]
    file.write_text('[[rule]]\nname = "third"\naction = "payment.*"\nwhen = { moon = 1 }\nverdict = "deny"\n')
    assert [rule.name for rule in live.current().rules] == ["second"]
    assert live.current() is live.current()
    assert "moon: unknown key" in live.trouble
    assert caplog.text.count("the policy before stays") == 1
    file.unlink()
    assert [rule.name for rule in live.current().rules] == ["second"]
    assert "is gone" in live.trouble
    file.write_text("")
    assert (live.current().rules, live.trouble) == ((), None)
    assert told == [["one"], ["second"], []]


def test_a_policy_with_an_unknown_condition_does_not_start(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text('[[rule]]\naction = "payment.*"\nwhen = { moon = 1 }\nverdict = "deny"\n')
    with pytest.raises(ConfigError, match="moon: unknown key"):
        PolicyFile(file, actions=ACTIONS)


def test_explaining_names_what_holds_and_what_does_not():
    told = explain(policy(SMALL), PaymentRefund, euros(5001))
    assert (told["verdict"], told["rule"]) == ("deny", "default")
    assert told["rules"][0] | {"holds": []} == {
        "rule": "small", "verdict": "allow", "mode": "enforce", "holds": [], "fails": ["amount_lte 50.00 EUR"],
    }  # fmt: skip
