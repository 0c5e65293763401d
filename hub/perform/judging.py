"""Judge a planned run: gather the facts that its rules ask for, and give the strictest verdict of all that apply."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from hub.access import ASSERTS, Principal, allows
from hub.actions import Action, Risk
from hub.connections import Connection, Connections
from hub.errors import Conflict
from hub.ledger import Ledger, frozen
from hub.money import Money
from hub.perform import facts
from hub.perform.envelope import Request
from hub.perform.history import History
from hub.perform.steps import money_of
from hub.perform.words import Planned, call_for
from hub.plugins import Plugins
from hub.policy import Facts, Policy, Verdict, decide, stricter

MONEY = (Risk.R3, Risk.R4)
_HISTORIC = ("order_age_days", "open_dispute", "refunds_90d", "open_order")
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
        verdict: Verdict | None = None
        for acting, of_it in self._judged(action, steps):
            known = self._facts(acting, of_it, request, principal)
            for name in dict.fromkeys(step.connection for step in of_it):
                verdict = _stricter(verdict, self._in(self.connections.open(name), acting, known), acting is action)
        if verdict is None:
            raise Conflict(f"{action.name}: there is nothing to do")
        if len(names) > 1:
            verdict = replace(verdict, facts={**verdict.facts, "connections": names})
        ceiling = self._ceiling(money_of(action, steps), principal)
        for more in (self._frozen(action), ceiling, self._plugins(action, steps)):
            if more is not None and verdict.verdict != "deny":
                verdict = replace(more, facts=verdict.facts, shadow=verdict.shadow)
        return verdict

    def _judged(self, action: Action, steps: Sequence[Planned]) -> Iterator[tuple[Action, Sequence[Planned]]]:
        """Give the action with all its steps, then each that follows from it: it must pass by its own rules, too."""
        yield action, steps
        for step in steps if action.needs is None else ():
            if step.part is not None:
                yield step.acting(action), [step]

    def _facts(self, action: Action, steps: Sequence[Planned], request: Request, principal: Principal) -> Facts:
        target = next((step.target for step in steps if step.target is not None), None)
        asked = {name for name in _HISTORIC if self._asks(action, name)}
        known: dict[str, Any] = {name: getattr(self.history, name)(target) for name in sorted(asked)}
        level, channel = self._said(request.on_behalf_of, principal)
        amount = money_of(action, steps)
        orders = self.history.orders(target)
        total = next((order["total"] for order in orders if (order.get("total") or {}).get("currency")), None)
        return Facts(
            amount=amount,
            moves_money=amount is not None,
            principal=principal.name,
            channel=channel,
            verification=level,
            at=datetime.now(UTC),
            shipped=facts.any_shipped(orders),
            order_total=Money(total["amount"], total["currency"]) if total else None,
            country_change=_to_another_country(steps),
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

    def _ceiling(self, money: Money | None, principal: Principal) -> Verdict | None:
        most = dict(principal.ceilings)
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


def _stricter(one: Verdict | None, other: Verdict, own: bool) -> Verdict:
    """Give the stricter verdict; where both ask a person, what follows from an action is asked of its own group."""
    if one is not None and not own and one.verdict == other.verdict == "needs_approval":
        return other
    return stricter(one, other)


def _to_another_country(steps: Sequence[Planned]) -> bool | None:
    """Say whether any address of these steps goes to another country; None where one of those before is not known."""
    found = [
        facts.country_change((change.before or {}).get(name), change.after.get(name))
        for step in steps
        for change in step.changes
        for name in ("default_address", "shipping_address")
        if name in change.after
    ]
    if True in found:
        return True
    return None if not found or None in found else False


def _denied(rule: str, reason: str, needs: str | None, seen: Verdict | None = None) -> Verdict:
    shadow = seen.shadow if seen else None
    return Verdict("deny", rule, reason, seen.facts if seen else {}, (needs,) if needs else (), (), None, shadow)
