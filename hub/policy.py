"""
Pure verdicts: may this action run? Rules come from `policy.toml`; the first that matches decides.

Where no rule matches, reads and record changes (R0 to R2) are allowed, money and irreversible actions (R3, R4) denied.
"""

import fnmatch
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hub.actions import Action, Risk
from hub.config import did_you_mean
from hub.errors import ConfigError, Invalid
from hub.money import Money, parse

NO_RULE = "default"
DENIED_BY_DEFAULT = frozenset({Risk.R3, Risk.R4})


@dataclass(frozen=True)
class Facts:
    """What rules may look at. `live` is None where the vendor does not say; `principal` is the key's name."""

    connection: str
    amount: Money | None = None
    live: bool | None = None
    principal: str = ""

    def as_dict(self) -> dict[str, Any]:
        amount = None if self.amount is None else str(self.amount)
        return {"connection": self.connection, "amount": amount, "live": self.live, "principal": self.principal}


@dataclass(frozen=True)
class Verdict:
    """`needs` says what would pass where the verdict is deny; `rule` is the name of the rule, or "default"."""

    verdict: Literal["allow", "deny"]
    rule: str
    reason: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    next_actions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Predicate:
    """One condition of `when`, with its text as written."""

    key: str
    shown: str
    holds: Callable[[Facts], bool]


@dataclass(frozen=True)
class Rule:
    """`action` is a name or a glob (`ticket.*`); all predicates must hold."""

    name: str
    action: str
    verdict: Literal["allow", "deny"]
    when: tuple[Predicate, ...] = ()
    reason: str | None = None
    next_actions: tuple[str, ...] = ()

    def about(self, action: type[Action]) -> bool:
        return fnmatch.fnmatchcase(action.name, self.action)


@dataclass(frozen=True)
class Policy:
    """The rules in order. An empty one is the built-in default."""

    rules: tuple[Rule, ...] = ()


def decide(policy: Policy, action: type[Action], facts: Facts) -> Verdict:
    """Give the verdict of the first rule that matches, else the default of the action's risk class."""
    about = [rule for rule in policy.rules if rule.about(action)]
    for rule in about:
        if all(predicate.holds(facts) for predicate in rule.when):
            needs = () if rule.verdict == "allow" else _would_pass(about, facts)
            reason = rule.reason or (f'rule "{rule.name}" denies it' if rule.verdict == "deny" else None)
            return Verdict(rule.verdict, rule.name, reason, facts.as_dict(), needs, rule.next_actions)
    if action.risk not in DENIED_BY_DEFAULT:
        return Verdict("allow", NO_RULE, None, facts.as_dict())
    reason = f"no rule of the policy allows {action.name} here, and {action.risk.value} actions are denied by default"
    needs = _would_pass(about, facts) or (
        f'a [[rule]] with action = "{action.name}" and verdict = "allow" that matches',
    )
    return Verdict("deny", NO_RULE, reason, facts.as_dict(), needs)


def _would_pass(rules: list[Rule], facts: Facts) -> tuple[str, ...]:
    """Name each allowing rule with the conditions that did not hold."""
    failing = ((rule, [p.shown for p in rule.when if not p.holds(facts)]) for rule in rules if rule.verdict == "allow")
    return tuple(f'{" and ".join(shown)} (rule "{rule.name}")' for rule, shown in failing if shown)


def load_policy(path: Path | None) -> Policy:
    """Read a policy file; the default policy where there is none. Raises ConfigError naming file, rule and key."""
    if path is None or not path.exists():
        return Policy()
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: is not TOML: {exc}") from exc
    return parse_policy(raw, str(path))


def parse_policy(raw: Mapping[str, Any], where: str) -> Policy:
    """Check a policy as read from TOML; `where` begins every message. Raises ConfigError."""
    _known(raw, {"rule"}, where)
    tables = raw.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{where}: rule: expected tables written as [[rule]]")
    rules = tuple(_rule(table, index, where) for index, table in enumerate(tables, 1))
    seen: set[str] = set()
    for rule in rules:
        if rule.name in seen:
            raise ConfigError(f'{where}: rule "{rule.name}": the name is used twice; verdicts name their rule')
        seen.add(rule.name)
    return Policy(rules)


_RULE_KEYS = {"name", "action", "when", "verdict", "reason", "next_actions"}


def _rule(table: Mapping[str, Any], index: int, where: str) -> Rule:
    name = table.get("name", f"rule {index}")
    where = f'{where}: rule "{name}"'
    _known(table, _RULE_KEYS, where)
    action = table.get("action")
    if not isinstance(action, str) or not action:
        raise ConfigError(f'{where}: action: expected an action or a pattern such as "ticket.*"')
    if not isinstance(name, str) or not isinstance(table.get("reason", ""), str):
        raise ConfigError(f"{where}: name and reason: expected text")
    steps = table.get("next_actions", [])
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise ConfigError(f"{where}: next_actions: expected a list of actions")
    return Rule(name, action, _verdict(table, where), _when(table, where), table.get("reason"), tuple(steps))


def _verdict(table: Mapping[str, Any], where: str) -> Literal["allow", "deny"]:
    verdict = table.get("verdict")
    if verdict == "allow":
        return "allow"
    if verdict == "deny":
        return "deny"
    if verdict == "needs_approval" or (isinstance(verdict, dict) and "needs_approval" in verdict):
        raise ConfigError(f'{where}: verdict: needs_approval is not available in this release; write "allow" or "deny"')
    found = "nothing" if verdict is None else repr(verdict)
    raise ConfigError(f'{where}: verdict: found {found}, expected "allow" or "deny"')


def _when(table: Mapping[str, Any], where: str) -> tuple[Predicate, ...]:
    when = table.get("when", {})
    if not isinstance(when, dict):
        raise ConfigError(f'{where}: when: expected a table such as {{ amount_lte = "50.00 EUR" }}')
    _known(when, set(_PREDICATES), f"{where}: when")
    return tuple(_predicate(key, value, f"{where}: when: {key}") for key, value in when.items())


def _predicate(key: str, value: Any, where: str) -> Predicate:
    try:
        holds = _PREDICATES[key](value)
    except (ValueError, Invalid) as exc:
        raise ConfigError(f"{where}: found {value!r}, {exc}") from exc
    return Predicate(key, f"{key} {_shown(value)}", holds)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(value) if isinstance(value, list) else str(value)


def _amount(compare: Callable[[int, int], bool]) -> Callable[[Any], Callable[[Facts], bool]]:
    def build(value: Any) -> Callable[[Facts], bool]:
        if not isinstance(value, str):
            raise ValueError('expected an amount such as "50.00 EUR"')
        bound = parse(value)

        def holds(facts: Facts) -> bool:
            amount = facts.amount
            return amount is not None and amount.currency == bound.currency and compare(amount.amount, bound.amount)

        return holds

    return build


def _live(value: Any) -> Callable[[Facts], bool]:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return lambda facts: facts.live is value


def _names(read: Callable[[Facts], str]) -> Callable[[Any], Callable[[Facts], bool]]:
    def build(value: Any) -> Callable[[Facts], bool]:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            raise ValueError("expected a name, a pattern or a list of them")
        return lambda facts: any(fnmatch.fnmatchcase(read(facts), name) for name in names)

    return build


_PREDICATES: dict[str, Callable[[Any], Callable[[Facts], bool]]] = {
    "amount_lt": _amount(lambda amount, bound: amount < bound),
    "amount_lte": _amount(lambda amount, bound: amount <= bound),
    "amount_gt": _amount(lambda amount, bound: amount > bound),
    "amount_gte": _amount(lambda amount, bound: amount >= bound),
    "connection": _names(lambda facts: facts.connection),
    "live": _live,
    "principal": _names(lambda facts: facts.principal),
}
PREDICATES = tuple(_PREDICATES)


def _known(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: {key}: unknown key{did_you_mean(key, known)}")
