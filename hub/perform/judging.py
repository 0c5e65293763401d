"""Judge a planned run: gather the facts that its rules ask for, and give the strictest verdict of all that apply."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from hub.access import ASSERTS, Principal, allows
from hub.actions import Action, Risk
from hub.connections import Connection, Connections
from hub.connector import Target
from hub.errors import Conflict
from hub.ledger import Ledger, frozen
from hub.money import Money
from hub.perform.envelope import Request
from hub.perform.history import History
from hub.perform.words import Planned, call_for
from hub.plugins import Plugins
from hub.policy import Facts, Policy, Verdict, decide, stricter

MONEY = (Risk.R3, Risk.R4)
FREEZE, CEILING, LIVE = "freeze", "daily_ceiling", "live_actions"


@dataclass(frozen=True)
class Judge:
    """Gives verdicts; the policy is the one of the moment the run was planned."""

    policy: Policy
    connections: Connections
    plugins: Plugins
    ledger: Ledger
    history: History

    def verdict(self, action: Action, steps: Sequence[Planned], request: Request, principal: Principal) -> Verdict:
        """Judge all that would be written. Raises Conflict where nothing would be; reads may raise Temporary."""
        names = list(dict.fromkeys(step.connection for step in steps))
        target = next((step.target for step in steps if step.target is not None), None)
        known = self._facts(action, target, request, principal)
        verdict: Verdict | None = None
        for name in names:
            verdict = stricter(verdict, self._in(self.connections.open(name), action, known))
        if verdict is None:
            raise Conflict(f"{action.name}: there is nothing to do")
        if len(names) > 1:
            verdict = replace(verdict, facts={**verdict.facts, "connections": names})
        for more in (self._frozen(action), self._ceiling(action, principal), self._plugins(action, steps)):
            if more is not None and verdict.verdict != "deny":
                verdict = replace(more, facts=verdict.facts, shadow=verdict.shadow)
        return verdict

    def _facts(self, action: Action, target: Target | None, request: Request, principal: Principal) -> Facts:
        asked = {name for name in ("order_age_days", "open_dispute", "refunds_90d") if self._asks(action, name)}
        known: dict[str, Any] = {name: getattr(self.history, name)(target) for name in sorted(asked)}
        level, channel = self._said(request.on_behalf_of, principal)
        return Facts(
            amount=action.amount_of_money,
            principal=principal.name,
            channel=channel,
            verification=level,
            at=datetime.now(UTC),
            **known,
        )

    def _asks(self, action: Action, fact: str) -> bool:
        return self.policy.asks(type(action), fact)

    def _said(self, on_behalf_of: Mapping[str, Any] | None, principal: Principal) -> tuple[str | None, str | None]:
        """Take what is said of the customer: only a key that may assert it is believed more than a claim."""
        said = on_behalf_of or {}
        level, channel = said.get("verification"), said.get("channel")
        if level is not None and level != "none" and not allows(principal, ASSERTS):
            level = "claimed"
        return level, channel if allows(principal, ASSERTS) else None

    def _in(self, connection: Connection, action: Action, known: Facts) -> Verdict:
        live = self._live(action, connection)
        verdict = decide(self.policy, type(action), replace(known, connection=connection.name, live=live))
        if verdict.verdict != "deny" and live and not connection.live_actions and action.risk in MONEY:
            return _denied(
                LIVE,
                f"{connection.name} is a live account, and live money is off there",
                f"live_actions = true under [connections.{connection.name}]",
                verdict,
            )
        return verdict

    def _live(self, action: Action, connection: Connection) -> bool | None:
        if action.risk not in MONEY and not self._asks(action, "live"):
            return None
        if connection.checked is None:
            return self.connections.check(connection.name).live
        return connection.checked.live

    def _frozen(self, action: Action) -> Verdict | None:
        on = frozen(self.ledger.database) if action.risk in MONEY else None
        if on is None:
            return None
        why = f": {on.reason}" if on.reason else ""
        return _denied(FREEZE, f"money is frozen since {on.at} by {on.by}{why}", "`hub unfreeze money`, by an operator")

    def _ceiling(self, action: Action, principal: Principal) -> Verdict | None:
        money, most = action.amount_of_money, dict(principal.ceilings)
        if money is None or not most:
            return None
        if money.currency not in most:
            return _denied(CEILING, f"the key may move no {money.currency}", f"a ceiling in {money.currency}")
        ceiling = Money(most[money.currency], money.currency)
        moved = Money(self.ledger.moved_today(principal.id, money.currency), money.currency)
        if moved.amount + money.amount <= ceiling.amount:
            return None
        text = f"the key may move {ceiling} a day; today it moved {moved}"
        return _denied(CEILING, text, "a smaller amount, tomorrow, or another key")

    def _plugins(self, action: Action, steps: Sequence[Planned]) -> Verdict | None:
        if not self.plugins.deciders:
            return None
        for step in steps:
            connection = self.connections.open(step.connection)
            call = call_for(connection, step.acting(action), step, run_id="run_0", key="hub-run_0")
            refused = self.plugins.decide(step.acting(action), call)
            if refused is not None:
                return _denied(f"plugin {refused[0]}", refused[1], None)
        return None


def _denied(rule: str, reason: str, needs: str | None, seen: Verdict | None = None) -> Verdict:
    shadow = seen.shadow if seen else None
    return Verdict("deny", rule, reason, seen.facts if seen else {}, (needs,) if needs else (), (), None, shadow)
