"""Turn a run, as the journal has it, into the answer that its caller gets."""

from typing import Any

import msgspec

from hub.actions import Action
from hub.errors import Refused
from hub.ledger import Run, RunState, now
from hub.perform.envelope import EffectSeen, MoneyMoved, On, PolicySaid, Preview, Result, Reversal, told
from hub.perform.plan import Kept, Plan, kept
from hub.perform.work import overdue
from hub.policy import Verdict

CHECK_AFTER_MS = 5_000
"""When to ask again about a run whose answer was lost or that is being worked on."""


def state_of(run: Run) -> RunState:
    """Give the state that a run's steps make up; a step in doubt outweighs one that failed."""
    states = {step.state for step in run.steps}
    if states & {"sending", "unknown"}:
        return "needs_attention" if overdue(run) and "sending" not in states else "unknown"
    if "planned" in states:
        return "running"
    return "failed" if states & {"failed", "absent"} else "succeeded"


def answer(run: Run, plan: Kept, action: type[Action], *, connectors: dict[str, str]) -> Result:
    """
    Build the answer of a run from its steps.

    `connectors` names the connector of each connection. Effects of steps that went through are shown even where
    another failed.
    """
    state = state_of(run)
    result = _opening(action, plan, status=state, run_id=run.id)
    for step in run.steps:
        outcome: dict[str, Any] = msgspec.json.decode(step.outcome) if step.outcome else {}
        for effect in outcome.get("effects", []):
            connector = connectors.get(step.connection, step.connection)
            result.effects.append(EffectSeen(connector=connector, connection=step.connection, **effect))
        _add_error(result, msgspec.json.decode(step.error) if step.error else None, step.connection)
    if state in ("running", "unknown"):
        result.check_after_ms = CHECK_AFTER_MS
    failed = sum(step.state in ("failed", "absent") for step in run.steps)
    if state == "failed" and failed < len(run.steps):
        result.warnings.append(f"{failed} of {len(run.steps)} systems failed; the others were changed")
    if state not in ("succeeded", "unknown", "needs_attention"):
        result.money = None
    return result


def _add_error(result: Result, error: dict[str, Any] | None, connection: str) -> None:
    if error is None or result.status == "succeeded":
        return
    if error.pop("accepted", 0):
        result.warnings.append(f"{connection}: an earlier write of this action was accepted before it failed")
    if result.error is None or error["code"] == "unknown":
        result.error = error


def running(run: Run, plan: Kept, action: type[Action]) -> Result:
    """Say that somebody else is working on this run right now."""
    result = _opening(action, plan, status="running", run_id=run.id)
    result.check_after_ms, result.money = CHECK_AFTER_MS, None
    return result


def denied(plan: Plan, run_id: str | None) -> Result:
    """Say that policy forbids it, by which rule and why, and what would pass."""
    result = _opening(type(plan.action), kept(plan), status="denied", run_id=run_id)
    verdict = plan.verdict
    text = f"{plan.action.name}: {verdict.reason}"
    refused = Refused(text, code="policy_denied", reason=verdict.rule, next_actions=verdict.next_actions)
    result.error, result.money = told(refused), None
    return result


def previewed(plan: Plan, preview: Preview, run_id: str) -> Result:
    """Show what would happen; nothing was sent."""
    result = _opening(type(plan.action), kept(plan), status="previewed", run_id=run_id)
    result.preview = preview
    return result


def read(action: type[Action], found: Any) -> Result:
    """Answer an action that only reads."""
    return Result(run_id=None, action=action.name, status="succeeded", answer=found)


def _opening(action: type[Action], plan: Kept, *, status: RunState, run_id: str | None) -> Result:
    money = plan.money
    return Result(
        run_id=run_id,
        action=action.name,
        status=status,
        target=On(kind=plan.target[0], id=plan.target[1]) if plan.target else None,
        money=MoneyMoved(amount=money.amount, currency=money.currency) if money else None,
        reversal=Reversal(possible=action.reversal is not None, action=action.reversal),
        policy=_said(plan.verdict),
        warnings=list(plan.warnings),
        as_of=now(),
    )


def _said(verdict: Verdict) -> PolicySaid:
    return PolicySaid(
        verdict=verdict.verdict,
        rule=verdict.rule,
        reason=verdict.reason,
        facts=dict(verdict.facts),
        needs=list(verdict.needs),
    )
