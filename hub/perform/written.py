"""What the journal is told of a run: what was asked, what was planned, and what a person is asked about it."""

import hashlib
from typing import Any

import msgspec

from hub.access import Principal
from hub.actions import Action, TicketCreate
from hub.connections import Connections
from hub.ledger import DUPLICATE_WINDOW_S, NewRun, NewStep, Question, Run
from hub.perform.choosing import Chosen
from hub.perform.envelope import Request
from hub.perform.intake import body_hash, intent_of
from hub.perform.judging import MONEY
from hub.perform.plan import Kept, Plan, kept
from hub.perform.words import planned_json

HARMLESS = frozenset({"set", "version"})
"""
Strategies under which the same action again changes nothing; only others are checked for duplicates.

An upsert is keyed by the run, so that under another key it makes a second one.
"""
_REQUEST = msgspec.json.Decoder(Request)


def plan_hash(plan: Plan) -> str:
    """Hash what a plan would do: where, to what, in which words, and what that changes."""
    steps = [
        {
            "connection": step.connection,
            "target": [step.target.table, step.target.remote_id] if step.target else None,
            "fields": step.fields,
            "parts": step.parts,
            "input": step.input,
            "version": step.expected_version,
            "part": step.part,
            "changes": step.changes,
        }
        for step in plan.steps
    ]
    said = [plan.action.name, plan.action.model_dump(mode="json", by_alias=True), steps]
    return hashlib.sha256(msgspec.json.encode(said, order="deterministic", enc_hook=str)).hexdigest()


def question_of(plan: Plan) -> Question | None:
    """Say what is to be asked about a plan, None where policy holds nothing back."""
    asked = plan.verdict.approval
    if plan.verdict.verdict != "needs_approval" or asked is None:
        return None
    return Question(
        plan_hash=plan_hash(plan),
        group=asked.group,
        expires_s=asked.expires_s,
        on_expiry=asked.on_expiry,
        four_eyes=asked.four_eyes,
    )


def steps_of(plan: Plan) -> tuple[NewStep, ...]:
    return tuple(NewStep(step.connection, planned_json(step)) for step in plan.steps)


def kept_json(plan: Plan) -> bytes:
    return msgspec.json.encode(kept(plan), enc_hook=str)


def asked_of(run: Run) -> Request:
    """Give what was asked, as the journal kept it."""
    return _REQUEST.decode(run.request)


def new_run(plan: Plan, request: Request, principal: Principal, connections: Connections) -> NewRun:
    """Give the run that a plan makes: one that acts, or one that asks a person first."""
    amount = (plan.money.amount, plan.money.currency) if plan.money else None
    marks = (connections.open(s.connection).can(s.acting(plan.action).name) for s in plan.steps)
    harmless = all(mark is not None and mark.idempotency in HARMLESS for mark in marks)
    says = any(getattr(plan.action, name, None) for name in ("note", "resolution"))  # which would be there twice
    targets = [f"{s.connection}/{s.target.table}/{s.target.remote_id}" for s in plan.steps if s.target]
    question = question_of(plan)
    return NewRun(
        state="needs_approval" if question else "running",
        question=question,
        idempotency_key=request.key,
        intent=None if harmless and not says else intent_of(plan.action, targets, amount),
        repeat=request.repeat,
        window_s=_window_s(plan.action),
        guarded=plan.action.risk in MONEY,
        knows=plan.knows,
        ceiling_minor=dict(principal.ceilings).get(plan.money.currency) if plan.money else None,
        steps=steps_of(plan),
        **row_of(plan, request, principal),
    )


def _window_s(action: Action) -> float:
    hours = action.dedupe_window_h if isinstance(action, TicketCreate) else None
    return DUPLICATE_WINDOW_S if hours is None else hours * 3600.0


def row_of(plan: Plan, request: Request, principal: Principal) -> dict[str, Any]:
    """Give what every run has that was planned, whatever became of it."""
    return {
        "action": plan.action.name,
        "principal": principal.id,
        "body_hash": body_hash(request),
        "request": msgspec.json.encode(request, enc_hook=str),
        "plan": kept_json(plan),
        "connection": plan.steps[0].connection,
        "target_id": plan.target[1] if plan.target else None,
        "amount_minor": plan.money.amount if plan.money else None,
        "currency": plan.money.currency if plan.money else None,
    }


def queued(action: Action, aim: Chosen, request: Request, principal: Principal) -> NewRun:
    """Give a run that is written before it is planned: it has a target, but no verdict, no steps and no amount."""
    said = action.model_dump(mode="json", by_alias=True)
    first = next((target for _, target in aim if target is not None), None)
    target = (first.kind, first.id) if first else None
    return NewRun(
        action=action.name,
        principal=principal.id,
        body_hash=body_hash(request),
        request=msgspec.json.encode(request, enc_hook=str),
        plan=msgspec.json.encode(Kept(action=said, target=target, money=None, verdict=None), enc_hook=str),
        state="queued",
        idempotency_key=request.key,
        connection=aim[0][0].name if aim else None,
        target_id=first.id if first else None,
    )
