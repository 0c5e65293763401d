"""Rules as `policy.toml` writes them; what cannot be read refuses the whole file."""

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hub.actions import Action
from hub.config import did_you_mean, duration_s
from hub.errors import ConfigError, HubError
from hub.policy.predicates import PREDICATES, Predicate, predicate

Word = Literal["allow", "needs_approval", "deny"]
_GROUP = re.compile(r"[a-z][a-z0-9_-]{0,62}")


@dataclass(frozen=True)
class Approval:
    """
    What a person must do first: someone with the scope `approve:<group>` says yes within `expires_s` seconds.

    With `four_eyes` it is not who asked. `on_expiry` is what silence means.
    """

    group: str
    expires_s: float = 14_400.0
    on_expiry: Literal["deny", "allow"] = "deny"
    four_eyes: bool = True


@dataclass(frozen=True)
class Rule:
    """`action` is a name or a glob (`ticket.*`); all predicates must hold. In `shadow` it is told, no more."""

    name: str
    action: str
    verdict: Word
    when: tuple[Predicate, ...] = ()
    reason: str | None = None
    next_actions: tuple[str, ...] = ()
    approval: Approval | None = None
    shadow: bool = False

    def about(self, action: type[Action]) -> bool:
        return fnmatch.fnmatchcase(action.name, self.action)


@dataclass(frozen=True)
class Policy:
    """The rules in order. An empty one is the built-in default."""

    rules: tuple[Rule, ...] = ()

    def current(self) -> "Policy":
        """Give the policy as it is now: itself. A file's may have changed."""
        return self

    def asks(self, action: type[Action], fact: str) -> bool:
        """Say whether a rule about this action looks at a fact."""
        return any(p.fact == fact for rule in self.rules if rule.about(action) for p in rule.when)


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


_RULE_KEYS = {"name", "action", "when", "verdict", "reason", "next_actions", "mode"}


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
    if table.get("mode", "enforce") not in ("enforce", "shadow"):
        raise ConfigError(f'{where}: mode: found {table["mode"]!r}, expected "enforce" or "shadow"')
    word, approval = _verdict(table, where)
    shadow = table.get("mode") == "shadow"
    return Rule(name, action, word, _when(table, where), table.get("reason"), tuple(steps), approval, shadow)


def _verdict(table: Mapping[str, Any], where: str) -> tuple[Word, Approval | None]:
    verdict = table.get("verdict")
    if verdict == "allow":
        return "allow", None
    if verdict == "deny":
        return "deny", None
    if isinstance(verdict, dict) and set(verdict) == {"needs_approval"} and isinstance(verdict["needs_approval"], dict):
        return "needs_approval", _approval(verdict["needs_approval"], f"{where}: needs_approval")
    found = "nothing" if verdict is None else repr(verdict)
    text = 'expected "allow", "deny" or { needs_approval = { group = "…" } }'
    raise ConfigError(f"{where}: verdict: found {found}, {text}")


def _approval(table: Mapping[str, Any], where: str) -> Approval:
    _known(table, {"group", "expires", "on_expiry", "four_eyes"}, where)
    group, expires = table.get("group"), table.get("expires", "4h")
    if not isinstance(group, str) or not _GROUP.fullmatch(group):
        raise ConfigError(f'{where}: group: expected a name such as "support_leads"; the scope is approve:<group>')
    if table.get("on_expiry", "deny") not in ("deny", "allow"):
        raise ConfigError(f'{where}: on_expiry: expected "deny" or "allow"')
    if not isinstance(table.get("four_eyes", True), bool):
        raise ConfigError(f"{where}: four_eyes: expected true or false")
    try:
        seconds = duration_s(expires)
    except (HubError, ValueError, TypeError) as exc:
        raise ConfigError(f'{where}: expires: found {expires!r}, expected a duration such as "4h"') from exc
    return Approval(group, seconds, table.get("on_expiry", "deny"), table.get("four_eyes", True))


def _when(table: Mapping[str, Any], where: str) -> tuple[Predicate, ...]:
    when = table.get("when", {})
    if not isinstance(when, dict):
        raise ConfigError(f'{where}: when: expected a table such as {{ amount_lte = "50.00 EUR" }}')
    _known(when, set(PREDICATES), f"{where}: when")
    return tuple(predicate(key, value, f"{where}: when: {key}") for key, value in when.items())


def _known(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: {key}: unknown key{did_you_mean(key, known)}")
