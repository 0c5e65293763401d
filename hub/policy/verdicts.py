"""The verdict on one action with these facts: pure, and the same every time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.actions import Action, Risk
from hub.policy.facts import Facts
from hub.policy.rules import Approval, Policy, Rule, Word

NO_RULE = "default"
DENIED_BY_DEFAULT = frozenset({Risk.R3, Risk.R4})
_STRICT: tuple[Word, ...] = ("allow", "needs_approval", "deny")


@dataclass(frozen=True)
class Verdict:
    """
    `rule` is the name of the rule, or "default"; `needs` says what would pass where the verdict is deny.

    `shadow` tells what a rule in shadow would have said: its name and its verdict.
    """

    verdict: Word
    rule: str
    reason: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    next_actions: tuple[str, ...] = ()
    approval: Approval | None = None
    shadow: Mapping[str, str] | None = None


def decide(policy: Policy, action: type[Action], facts: Facts) -> Verdict:
    """Give the verdict of the first rule that matches, else the default of the action's risk class."""
    about = [rule for rule in policy.rules if rule.about(action)]
    matching = [rule for rule in about if all(predicate.holds(facts) for predicate in rule.when)]
    shadow = {"rule": matching[0].name, "verdict": matching[0].verdict} if matching and matching[0].shadow else None
    rule = next((rule for rule in matching if not rule.shadow), None)
    if rule is not None:
        return _said(rule, about, facts, shadow)
    if action.risk not in DENIED_BY_DEFAULT:
        return Verdict("allow", NO_RULE, None, facts.as_dict(), shadow=shadow)
    reason = f"no rule of the policy allows {action.name} here, and {action.risk.value} actions are denied by default"
    needs = _would_pass(about, facts) or (
        f'a [[rule]] with action = "{action.name}" and verdict = "allow" that matches',
    )
    return Verdict("deny", NO_RULE, reason, facts.as_dict(), needs, shadow=shadow)


def stricter(one: Verdict | None, other: Verdict) -> Verdict:
    """Give the stricter of two verdicts, the first where they are alike."""
    if one is None:
        return other
    return other if _STRICT.index(other.verdict) > _STRICT.index(one.verdict) else one


def _said(rule: Rule, about: list[Rule], facts: Facts, shadow: Mapping[str, str] | None) -> Verdict:
    needs: tuple[str, ...] = ()
    reason = rule.reason
    if rule.verdict == "deny":
        needs, reason = _would_pass(about, facts), reason or f'rule "{rule.name}" denies it'
    elif rule.approval is not None:
        needs = (f"an approval by someone with the scope approve:{rule.approval.group}",)
        reason = reason or f'rule "{rule.name}" asks for an approval'
    return Verdict(rule.verdict, rule.name, reason, facts.as_dict(), needs, rule.next_actions, rule.approval, shadow)


def _would_pass(rules: list[Rule], facts: Facts) -> tuple[str, ...]:
    """Name each rule that lets it pass with the conditions that did not hold."""
    passing = [rule for rule in rules if rule.verdict != "deny" and not rule.shadow]
    failing = ((rule, [p.shown for p in rule.when if not p.holds(facts)]) for rule in passing)
    return tuple(f'{" and ".join(shown)} (rule "{rule.name}")' for rule, shown in failing if shown)
