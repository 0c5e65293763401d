"""Turn a run, as the journal has it, into the answer that its caller gets."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from hub.actions import Action, Undo
from hub.errors import HubError, Refused, Unknown
from hub.ledger import Approval, Run, RunState, Step, now
from hub.perform import envelope
from hub.perform.choosing import place_of
from hub.perform.envelope import EffectSeen, MoneyMoved, On, PolicySaid, Preview, Result, Reversal, Way, told
from hub.perform.judging import CEILING, FREEZE
from hub.perform.plan import Kept, Plan, kept
from hub.perform.steps import money_of
from hub.perform.words import Planned, planned_of
from hub.perform.work import overdue
from hub.policy import Verdict
from hub.records import KINDS

Made = Callable[[str, dict[str, Any], Any], str | None]
_CODES = {FREEZE: "money_frozen", CEILING: "daily_ceiling"}
CHECK_AFTER_MS = 5_000
"""When to ask again about a run whose answer was lost or that is being worked on."""
QUEUED_AFTER_MS = 1_000
"""When to ask again about a run that was only accepted."""


def state_of(run: Run) -> RunState:
    """Give the state that a run's steps make up; a step in doubt outweighs one that failed."""
    states = {step.state for step in run.steps}
    if not states:
        return "needs_attention"  # of a restored ledger: it was accepted, and what it would do is not known
    if states & {"sending", "unknown"}:
        return "needs_attention" if overdue(run) and "sending" not in states else "unknown"
    if "planned" in states:
        return "running"
    return "failed" if any(_came_to_nothing(step) for step in run.steps) else "succeeded"


def _came_to_nothing(step: Step) -> bool:
    """Say whether a step failed that the action cannot do without."""
    return step.state in ("failed", "absent") and not _is_remark(planned_of(step.call))


def _is_remark(step: Planned) -> bool:
    return step.part is not None and step.part.remark


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
    done: list[tuple[Planned, str | None]] = []
    for step in run.steps:
        outcome: dict[str, Any] = msgspec.json.decode(step.outcome) if step.outcome else {}
        ids = []
        for effect in outcome.get("effects", []):
            connector = connectors.get(step.connection, step.connection)
            ids.append(made(step.connection, effect, outcome.get("touched", ())))
            result.effects.append(EffectSeen(connector=connector, connection=step.connection, id=ids[-1], **effect))
        if step.state == "done":
            done.append((planned_of(step.call), next((id for id in ids if id), None) or _made_at(step, outcome)))
        error = msgspec.json.decode(step.error) if step.error else None
        if state == "succeeded" and error is not None and step.state != "done":
            _add_missed(result, planned_of(step.call), error)
        _add_error(result, error, step.connection)
    if not run.steps:
        result.error = told(Unknown(f"{action.name}: accepted before the ledger was put back; see whether it was done"))
    if state in ("running", "unknown"):
        result.check_after_ms = CHECK_AFTER_MS
    failed = sum(step.state in ("failed", "absent") for step in run.steps)
    if state == "failed" and failed < len(run.steps):
        result.warnings.append(f"{failed} of {len(run.steps)} steps failed; the others were done")
    if state not in ("succeeded", "unknown", "needs_attention"):
        result.money = _moved(done, action.model_validate(plan.action))
    if state in ("succeeded", "failed") and result.effects:
        result.reversal = undone(action, plan, done, since=run.created_at)
    return result


def _made_at(step: Step, outcome: Mapping[str, Any]) -> str | None:
    """Refer to what a step made, where only reading it says which hub id it has."""
    made = {effect["remote_id"] for effect in outcome.get("effects", ()) if effect["op"] == "create"}
    places = (f"{step.connection}/{stream}/{one}" for stream, one in outcome.get("touched", ()) if one in made)
    return next(places, None)


def _moved(done: Sequence[tuple[Planned, str | None]], action: Action) -> MoneyMoved | None:
    """Say what the parts of a run that failed elsewhere have moved all the same."""
    money = money_of(action, [step for step, _ in done]) if any(step.part for step, _ in done) else None
    return MoneyMoved(amount=money.amount, currency=money.currency) if money else None


def undone(action: type[Action], plan: Kept, steps: Sequence[tuple[Planned, str | None]], *, since: str) -> Reversal:
    """
    Say how steps are undone, the last first: the actions with their input, until when, and what stays in words.

    Each step comes with the hub id of what it made, where that is known. What was done to a record that the run itself
    made is undone with that record.
    """
    did = action.model_validate(plan.action)
    several = Counter(step.connection for step, _ in steps if step.part is None)
    ways: list[Way] = []
    said: list[str] = []
    until: list[str] = []
    for step, made in reversed(steps):
        if step.part is not None and step.part.made is not None:
            continue
        acting = step.acting(did)
        way = acting.undo(_reference(acting, step), _before(acting, step), made)
        if isinstance(way, Undo):
            exactly = step.target is not None and several[step.connection] > 1
            where = place_of(step.target) if exactly and step.target is not None else step.connection
            _add_way(ways, Way(action=way.action, input=way.input), where if acting.fans_out else None)
            until += [_after(since, way.within)] if way.within is not None else []
            said += [way.residue] if way.residue else []
        else:
            said += [way or acting.residue or ""]
    residue = "; ".join(dict.fromkeys(text for text in said if text)) or None
    if not ways:
        return Reversal(possible=False, residue=residue or action.residue)
    first, *also = ways
    return Reversal(
        possible=True,
        action=first.action,
        input=first.input,
        also=also,
        until=min(until, default=None),
        residue=residue,
    )


def _reference(acting: Action, step: Planned) -> str | None:
    """Refer to what a step worked on: to that very record, where the same in another system was left alone."""
    if step.target is None:
        return None
    alone = KINDS[step.target.kind].linked and not acting.fans_out
    return place_of(step.target) if alone else step.target.id


def _before(acting: Action, step: Planned) -> dict[str, Any]:
    """Give the fields of what an action works on as they were in that system."""
    on, before = acting.works_on(), dict[str, Any]()
    for change in step.changes:
        if on is not None and change.kind == on.kind and change.before is not None:
            before = {**change.before, **before}
    return before


def _add_way(ways: list[Way], way: Way, where: str | None) -> None:
    """Add a way back; one that is the same in several systems is one way for all of them."""
    if where is None:
        ways.append(way)
        return
    for n, other in enumerate(ways):
        if other.action == way.action and {**other.input, "targets": None} == {**way.input, "targets": None}:
            ways[n] = Way(action=way.action, input={**way.input, "targets": sorted([where, *other.input["targets"]])})
            return
    ways.append(Way(action=way.action, input={**way.input, "targets": [where]}))


def _after(since: str, within: timedelta) -> str:
    return (datetime.fromisoformat(since) + within).isoformat(timespec="seconds").replace("+00:00", "Z")


def _add_error(result: Result, error: dict[str, Any] | None, connection: str) -> None:
    if error is None or result.status == "succeeded":
        return
    if error.pop("accepted", 0):
        result.warnings.append(f"{connection}: an earlier write of this action was accepted before it failed")
    if result.error is None or error["code"] == "unknown":
        result.error = error


def _add_missed(result: Result, step: Planned, error: Mapping[str, Any]) -> None:
    """Tell of a remark that did not get through, beside an action that did."""
    name = step.part.name if step.part is not None else result.action
    text = f"{name} failed, the rest is done: {error['human_message']}"
    result.skipped.append(envelope.Skipped(connection=step.connection, action=name, reason=text))
    result.warnings.append(f"{step.connection}: {text}")


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
    action = type(plan.action)
    result = opening(action, kept(plan), status="previewed", run_id=run_id)
    result.preview = preview
    result.reversal = undone(action, kept(plan), [(step, None) for step in plan.steps], since=now())
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
        money=MoneyMoved(amount=money.amount, currency=money.currency, direction=action.money_goes) if money else None,
        reversal=Reversal(possible=False),
        policy=_said(plan.verdict) if plan.verdict else None,
        skipped=list(plan.skipped),
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
