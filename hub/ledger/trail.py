"""What of a run goes into the audit: ids, states, names of fields, and keyed hashes of the rest."""

from typing import Any

import msgspec

from hub.ledger.audit import Audit
from hub.ledger.rows import Run, RunState, Step
from hub.store import Tx


class _Verdict(msgspec.Struct, frozen=True):
    verdict: str | None = None
    rule: str | None = None


class _Plan(msgspec.Struct, frozen=True):
    verdict: _Verdict | None = None


class _Request(msgspec.Struct, frozen=True):
    input: dict[str, msgspec.Raw] = {}
    reason: str | None = None


class _Effect(msgspec.Struct, frozen=True):
    object: str
    remote_id: str
    op: str
    before: dict[str, msgspec.Raw] | None = None
    after: dict[str, msgspec.Raw] | None = None


class _Outcome(msgspec.Struct, frozen=True):
    effects: list[_Effect] = []


class _Error(msgspec.Struct, frozen=True):
    code: str | None = None


_PLAN = msgspec.json.Decoder(_Plan)
_REQUEST = msgspec.json.Decoder(_Request)
_OUTCOME = msgspec.json.Decoder(_Outcome)
_ERROR = msgspec.json.Decoder(_Error)


def created(audit: Audit, tx: Tx, run: Run) -> None:
    """Tell of a run that was written, with what policy said of it."""
    asked = _read(_REQUEST, run.request, _Request())
    hashed = _of_plan(run) | {
        "request": run.request,
        "reason": asked.reason.encode() if asked.reason else None,
        "key": run.idempotency_key.encode() if run.idempotency_key else None,
        "result": run.result,
    }
    about = {"action": run.action, "mode": run.mode, "fields": sorted(asked.input)}
    audit.append(tx, "run_created", principal=run.principal, run_id=run.id, **about, **_decided(run), hashed=hashed)


def planned(audit: Audit, tx: Tx, run: Run) -> None:
    """Tell what was decided about a run that was written before it was planned."""
    hashed = _of_plan(run) | {"result": run.result}
    audit.append(tx, "run_planned", principal=run.principal, run_id=run.id, **_decided(run), hashed=hashed)


def _decided(run: Run) -> dict[str, Any]:
    verdict = _read(_PLAN, run.plan, _Plan()).verdict or _Verdict()
    connections = [step.connection for step in run.steps] or ([run.connection] if run.connection else None)
    told = {"state": run.state, "target": run.target_id, "connections": connections}
    return told | {"verdict": verdict.verdict, "rule": verdict.rule}


def _of_plan(run: Run) -> dict[str, bytes | None]:
    return {"plan": run.plan, "calls": b"\n".join(step.call for step in run.steps) or None}


def sending(audit: Audit, tx: Tx, step: Step) -> None:
    """Tell that a step is about to be sent."""
    facts: dict[str, Any] = {"step": step.number, "connection": step.connection, "attempt": step.attempt}
    audit.append(tx, "step_sending", run_id=step.run_id, **facts, hashed={"call": step.call})


def settled(audit: Audit, tx: Tx, step: Step) -> None:
    """Tell what became of a step: its effects by id, with the names of the fields that changed."""
    effects = [
        {
            "object": effect.object,
            "remote_id": effect.remote_id,
            "op": effect.op,
            "fields": sorted({*(effect.before or {}), *(effect.after or {})}),
        }
        for effect in _read(_OUTCOME, step.outcome, _Outcome()).effects
    ]
    audit.append(
        tx,
        "step_settled",
        run_id=step.run_id,
        step=step.number,
        connection=step.connection,
        attempt=step.attempt,
        state=step.state,
        effects=effects or None,
        error=_read(_ERROR, step.error, _Error()).code,
        hashed={"outcome": step.outcome, "error": step.error},
    )


def ended(audit: Audit, tx: Tx, run_id: str, state: RunState, result: bytes) -> None:
    """Tell the state that a run was left in, with its answer."""
    audit.append(tx, "run_state", run_id=run_id, state=state, hashed={"result": result})


def amended(audit: Audit, tx: Tx, run_id: str, state: RunState, result: bytes) -> None:
    """Tell that the answer of a run was added to."""
    audit.append(tx, "run_amended", run_id=run_id, state=state, hashed={"result": result})


def _read(decoder: Any, data: bytes | None, otherwise: Any) -> Any:
    """Read what can be read: a journal row of another make is told of all the same, by its hash."""
    try:
        return decoder.decode(data) if data else otherwise
    except msgspec.MsgspecError:
        return otherwise
