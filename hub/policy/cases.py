"""
Cases: what a policy is meant to say, written down as facts and the verdict they should get.

A threshold that no case guards is found by moving it one step and asking all cases again.
"""

import copy
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.actions import Action
from hub.config import did_you_mean
from hub.errors import ConfigError
from hub.money import Money, parse
from hub.policy.facts import VERIFICATIONS, Facts, facts_of
from hub.policy.rules import Policy, parse_policy
from hub.policy.verdicts import Verdict, decide

Actions = Mapping[str, type[Action]]
_KEYS = {"name", "action", "facts", "verdict", "rule"}


@dataclass(frozen=True)
class Case:
    """`rule` is the rule that should decide, where the case says so."""

    name: str
    action: str
    facts: Facts
    verdict: str
    rule: str | None = None

    def holds(self, said: Verdict) -> bool:
        return said.verdict == self.verdict and self.rule in (None, said.rule)


@dataclass(frozen=True)
class Report:
    """`failed` cases with what was said instead; rules that no case hits; thresholds that may move unnoticed."""

    cases: int
    failed: tuple[dict[str, str], ...]
    unhit: tuple[str, ...]
    unguarded: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not (self.failed or self.unhit or self.unguarded)


def read_cases(path: Path, actions: Actions) -> list[Case]:
    """Read a file of [[case]] tables. Raises ConfigError naming file, case and key."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: is not TOML: {exc}") from exc
    tables = raw.get("case")
    if set(raw) != {"case"} or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path}: expected tables written as [[case]]")
    return [_case(table, n, str(path), actions) for n, table in enumerate(tables, 1)]


def _case(table: Mapping[str, Any], n: int, where: str, actions: Actions) -> Case:
    name = str(table.get("name", f"case {n}"))
    where = f'{where}: case "{name}"'
    for key in table:
        if key not in _KEYS:
            raise ConfigError(f"{where}: {key}: unknown key{did_you_mean(key, _KEYS)}")
    action, verdict = table.get("action"), table.get("verdict")
    if action not in actions:
        raise ConfigError(f"{where}: action: there is no action {action!r}{did_you_mean(str(action), actions)}")
    if verdict not in ("allow", "needs_approval", "deny"):
        raise ConfigError(f"{where}: verdict: found {verdict!r}, expected allow, needs_approval or deny")
    facts = table.get("facts", {})
    if not isinstance(facts, dict):
        raise ConfigError(f'{where}: facts: expected a table such as {{ amount = "50.00 EUR" }}')
    return Case(name, str(action), facts_of(facts, f"{where}: facts"), str(verdict), table.get("rule"))


def run_cases(raw: Mapping[str, Any], cases: list[Case], actions: Actions, where: str) -> Report:
    """Ask the policy (as read from TOML) every case, then ask again with each threshold moved."""
    policy = parse_policy(raw, where)
    said = [(case, decide(policy, actions[case.action], case.facts)) for case in cases]
    failed = [
        {"case": case.name, "expected": case.verdict, "said": told.verdict, "rule": told.rule}
        for case, told in said
        if not case.holds(told)
    ]
    hit = {told.rule for _, told in said} | {told.shadow["rule"] for _, told in said if told.shadow}
    unhit = [rule.name for rule in policy.rules if rule.name not in hit]
    unguarded = [text for text, moved in _mutants(raw) if _all_hold(parse_policy(moved, where), cases, actions)]
    return Report(len(cases), tuple(failed), tuple(unhit), tuple(unguarded))


def explain(policy: Policy, action: type[Action], facts: Facts) -> dict[str, Any]:
    """Say which rules are about an action, which of their conditions hold, and what follows."""
    rules = [
        {
            "rule": rule.name,
            "verdict": rule.verdict,
            "mode": "shadow" if rule.shadow else "enforce",
            "holds": [p.shown for p in rule.when if p.holds(facts)],
            "fails": [p.shown for p in rule.when if not p.holds(facts)],
        }
        for rule in policy.rules
        if rule.about(action)
    ]
    said = decide(policy, action, facts)
    verdict = {"verdict": said.verdict, "rule": said.rule, "reason": said.reason, "needs": list(said.needs)}
    return {"action": action.name, "risk": action.risk.value, **verdict, "facts": facts.as_dict(), "rules": rules}


def _all_hold(policy: Policy, cases: list[Case], actions: Actions) -> bool:
    return all(case.holds(decide(policy, actions[case.action], case.facts)) for case in cases)


def _mutants(raw: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the policy with each threshold moved a step up and a step down, and in words what was moved."""
    for n, rule in enumerate(raw.get("rule", ())):
        for key, value in (rule.get("when") or {}).items():
            for other in _moved(key, value):
                changed: dict[str, Any] = copy.deepcopy(dict(raw))
                changed["rule"][n]["when"][key] = other
                yield f'rule "{rule.get("name", f"rule {n + 1}")}": {key} {value} → {other}', changed


def _moved(key: str, value: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif key.startswith(("amount_", "order_total_")):
        texts = value if isinstance(value, list) else [value]
        for n, text in enumerate(texts):
            for other in _amounts(text):
                yield [*texts[:n], other, *texts[n + 1 :]]
    elif isinstance(value, int):
        yield from (other for other in (value - 1, value + 1) if other >= 0)
    elif key.startswith("verification_"):
        at = VERIFICATIONS.index(value)
        yield from (VERIFICATIONS[i] for i in (at - 1, at + 1) if 0 <= i < len(VERIFICATIONS))


def _amounts(text: str) -> Iterator[str]:
    money = parse(text)
    yield from (str(Money(money.amount + step, money.currency)) for step in (-1, 1) if money.amount + step > 0)
