"""Turn a run, as the journal has it, into the answer that its caller gets."""

from collections.abc import Callable
from typing import Any

import msgspec

from hub.actions import Action, Undo
from hub.errors import HubError, Refused
from hub.ledger import Approval, Run, RunState, now
from hub.perform import envelope
from hub.perform.envelope import EffectSeen, MoneyMoved, On, PolicySaid, Preview, Result, Reversal, Way, told
from hub.perform.judging import CEILING, FREEZE
from hub.perform.plan import Kept, Plan, kept
from hub.perform.work import overdue
from hub.policy import Verdict

Made = Callable[[str, dict[str, Any], Any], str | None]
_CODES = {FREEZE: "money_frozen", CEILING: "daily_ceiling"}
CHECK_AFTER_MS = 5_000
"""When to ask again about a run whose answer was lost or that is being worked on."""
QUEUED_AFTER_MS = 1_000
"""When to ask again about a run that was only accepted."""


def state_of(run: Run) -> RunState:
    """Give the state that a run's steps make up; a step in doubt outweighs one that failed."""
    states = {step.state for step in run.steps}
    if states & {"sending", "unknown"}:
        return "needs_attention" if overdue(run) and "sending" not in states else "unknown"
    if "planned" in states:
        return "running"
    return "failed" if states & {"failed", "absent"} else "succeeded"


def answer(
    run: Run, plan: Kept, action: type[Action], *, connectors: dict[str, str], made: Made = lambda *_: None
) -> Result:
    """
    Build the answer of a run from its steps.

    `connectors` names the connector of each connection; `made` gives the hub id of what a step created. Effects of
    steps that went through are shown even where another failed.
    """
    state = state_of(run)
    result = opening(action, plan, status=state, run_id=run.id)
    for step in run.steps:
        outcome: dict[str, Any] = msgspec.json.decode(step.outcome) if step.outcome else {}
        for effect in outcome.get("effects", []):
            connector = connectors.get(step.connection, step.connection)
            id = made(step.connection, effect, outcome.get("touched", ()))
            result.effects.append(EffectSeen(connector=connector, connection=step.connection, id=id, **effect))
        _add_error(result, msgspec.json.decode(step.error) if step.error else None, step.connection)
    if state in ("running", "unknown"):
        result.check_after_ms = CHECK_AFTER_MS
    failed = sum(step.state in ("failed", "absent") for step in run.steps)
    if state == "failed" and failed < len(run.steps):
        result.warnings.append(f"{failed} of {len(run.steps)} systems failed; the others were changed")
    if state not in ("succeeded", "unknown", "needs_attention"):
        result.money = None
    if state in ("succeeded", "failed") and result.effects:
        result.reversal = undone(action, plan, made=next((e.id for e in result.effects if e.id), None))
    return result


def undone(action: type[Action], plan: Kept, *, made: str | None) -> Reversal:
    """Say how what a plan does is undone: the action and its input, and what stays in words."""
    did = action.model_validate(plan.action)
    before: dict[str, Any] = {}
    for change in plan.changes:
        if action.on is not None and change.kind == action.on.kind and change.before is not None:
            before = {**change.before, **before}
    way = did.undo(plan.target[1] if plan.target else None, before, made)
    if isinstance(way, Undo):
        also = [Way(action=name, input=given) for name, given in way.also]
        return Reversal(
            possible=True, action=way.action, input=way.input, also=also, until=way.until, residue=way.residue
        )
    return Reversal(possible=False, residue=way or action.residue)


def _add_error(result: Result, error: dict[str, Any] | None, connection: str) -> None:
    if error is None or result.status == "succeeded":
        return
    if error.pop("accepted", 0):
        result.warnings.append(f"{connection}: an earlier write of this action was accepted before it failed")
    if result.error is None or error["code"] == "unknown":
        result.error = error


def under_way(run: Run, plan: Kept, action: type[Action]) -> Result:
    """Say that a run was accepted and is still to be planned, or that somebody is working on it right now."""
    queued = run.state == "queued"
    result = opening(action, plan, status="queued" if queued else "running", run_id=run.id)
    result.check_after_ms, result.money = QUEUED_AFTER_MS if queued else CHECK_AFTER_MS, None
    return result


def ended(result: Result, error: HubError) -> Result:
    """Say that an accepted run came to nothing: what stood in the way, before anything was sent."""
    result.status, result.error, result.money = "failed", told(error), None
    return result


def waiting(run: Run, plan: Kept, action: type[Action], approval: Approval) -> Result:
    """Say that a person is asked first, who, and until when."""
    result = opening(action, plan, status="needs_approval", run_id=run.id)
    result.check_after_ms, result.approval, result.money = CHECK_AFTER_MS, asked(approval), None
    return result


def asked(approval: Approval) -> envelope.Approval:
    """Show an approval without who asked: the run tells that."""
    return envelope.Approval(
        id=approval.id,
        group=approval.group,
        state=approval.state,
        expires_at=approval.expires_at,
        four_eyes=approval.four_eyes,
        plan_hash=approval.plan_hash,
        decided_by=approval.decided_by,
    )


def stopped(result: Result, error: HubError, approval: Approval) -> Result:
    """Say that a run ended while it waited for a person; nothing was sent."""
    result.status = "failed" if error.error_code == "canceled" else "denied"
    result.error, result.approval, result.money, result.check_after_ms = told(error), asked(approval), None, None
    return result


def denied(plan: Plan, run_id: str | None) -> Result:
    """Say that policy forbids it, by which rule and why, and what would pass."""
    result = opening(type(plan.action), kept(plan), status="denied", run_id=run_id)
    result.error, result.money = told(refused(plan)), None
    return result


def refused(plan: Plan) -> Refused:
    """Put a denial into words: `reason` is the operator's, the rule's name stands in the verdict."""
    verdict = plan.verdict
    text = f"{plan.action.name}: {verdict.reason}"
    code = _CODES.get(verdict.rule, "policy_denied")
    return Refused(text, code=code, reason=verdict.reason, next_actions=verdict.next_actions)


def previewed(plan: Plan, preview: Preview, run_id: str) -> Result:
    """Show what would happen; nothing was sent."""
    result = opening(type(plan.action), kept(plan), status="previewed", run_id=run_id)
    result.preview = preview
    return result


def read(action: type[Action], found: Any) -> Result:
    """Answer an action that only reads."""
    return Result(run_id=None, action=action.name, status="succeeded", answer=found)


def opening(action: type[Action], plan: Kept, *, status: RunState, run_id: str | None) -> Result:
    """Begin an answer with what the plan knows."""
    money = plan.money
    return Result(
        run_id=run_id,
        action=action.name,
        status=status,
        target=On(kind=plan.target[0], id=plan.target[1]) if plan.target else None,
        money=MoneyMoved(amount=money.amount, currency=money.currency) if money else None,
        reversal=undone(action, plan, made=None) if status == "previewed" else Reversal(possible=False),
        policy=_said(plan.verdict) if plan.verdict else None,
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
        shadow=dict(verdict.shadow) if verdict.shadow else None,
    )
