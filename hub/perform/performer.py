"""The door to this room: take a request, plan it, write it down, work it, answer."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from hub.access import Principal, allows, require, somewhere
from hub.actions import Action, CustomerLookup, Risk
from hub.connections import Connection, Connections
from hub.connector import Outcome, Target
from hub.errors import HubError, Unsupported
from hub.ledger import Ledger, Lost, NewRun, NewStep, Run, RunState, Step, new_owner, new_run_id, same_body
from hub.perform import answers
from hub.perform.envelope import Preview, Request, Result, Upstream, stored, told, without_secrets
from hub.perform.intake import (
    action_class,
    body_hash,
    checked_mode,
    intent_of,
    needed_key,
    parsed,
    references,
)
from hub.perform.plan import Kept, Plan, Planner, kept, kept_of
from hub.perform.send import caught
from hub.perform.wall import wall
from hub.perform.words import call_for, planned_json
from hub.perform.work import IN_FLIGHT, Worker
from hub.plugins import Plugins
from hub.policy import Policy
from hub.store import Store

HARMLESS = frozenset({"set", "version", "upsert"})
"""Strategies under which the same action again changes nothing; only others are checked for duplicates."""
_PAUSE_S = 0.02
log = logging.getLogger("hub.perform")


@dataclass(frozen=True)
class Neighbours:
    """
    What this room asks of the rooms beside it, which it must not import: `reads` and `sync`.

    `app` hands them over: `reads.resolve_target`, `reads.find_customer`, `reads.get`, `sync.fetch`.
    """

    resolve_target: Callable[[Store, str, str], list[Target]]
    find_customer: Callable[..., list[str]]
    get: Callable[[Store, str, str], bytes | None]
    fetch: Callable[[Store, Connection, str, list[str]], object]


class Performer:
    """Runs actions. Thread-safe; the caller's thread does the work."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        connections: Connections,
        policy: Policy,
        plugins: Plugins,
        *,
        neighbours: Neighbours,
    ) -> None:
        self.store = store
        self.ledger = ledger
        self.connections = connections
        self.policy = policy
        self.plugins = plugins
        self.neighbours = neighbours
        self.in_flight = IN_FLIGHT
        self.sleep: Callable[[float], None] = time.sleep

    def run(self, request: Request, principal: Principal) -> Result:
        """
        Run an action, or preview it.

        What the vendor answered, and what policy said, is in the result's `status` and `error`. Raises Invalid,
        NotFound, Conflict, Refused, Unsupported or Temporary where it did not come to a run: nothing was sent then,
        and the same key may be used again.
        """
        cls = action_class(self.plugins.actions, request.action)
        checked_mode(request, cls)
        action = parsed(cls, request.input)
        self._may_ask(principal, cls)
        if cls.risk is Risk.R0:
            return self._read(action)
        references(action)
        if request.mode == "preview":
            return self._preview(self._planned(action, request, principal), request, principal)
        return self._execute(action, request, principal, needed_key(request, cls))

    def result(self, run_id: str) -> Result:
        """Give the answer of a run as it stands. Raises NotFound."""
        return self._as_it_stands(self.ledger.get(run_id))

    def runs(self, *, limit: int = 50, before: str | None = None, state: str | None = None) -> list[Result]:
        """List runs, newest first; `before` is the last run id of the page before."""
        return [self._as_it_stands(run) for run in self.ledger.runs(limit=limit, before=before, state=state)]

    def advance(self, run_id: str) -> Result:
        """
        Bring an open run further: the seam for background work, safe to call at any time from anywhere.

        A closed run, and one that somebody else is working on, is answered as it stands. What was sent before is
        looked up, never blindly repeated. Raises NotFound for an unknown run.
        """
        run = self.ledger.get(run_id)
        owner = new_owner()
        if run.closed or not self.ledger.take(run, owner=owner):
            return self._as_it_stands(self.ledger.get(run_id))
        return self._work(self.ledger.get(run_id), owner)

    def waiting(self) -> list[str]:
        """Name the runs that `advance` should be called for."""
        return self.ledger.waiting()

    def _may_ask(self, principal: Principal, cls: type[Action]) -> None:
        scope = f"act:{cls.name}"
        if cls.risk is Risk.R0 and allows(principal, "read:customer"):
            return
        if not somewhere(principal, scope):
            require(principal, scope)

    def _planned(self, action: Action, request: Request, principal: Principal) -> Plan:
        near = self.neighbours

        def resolve(reference: str, kind: str) -> list[Target]:
            return near.resolve_target(self.store, reference, kind)

        def fetch(connection: Connection, stream: str, ids: list[str]) -> object:
            return near.fetch(self.store, connection, stream, ids)

        return Planner(self.connections, self.policy, resolve, fetch).plan(action, request, principal)

    def _read(self, action: Action) -> Result:
        if not isinstance(action, CustomerLookup):
            raise Unsupported(f"{action.name}: nothing here can answer it")
        (how,) = [(name, value) for name, value in action if value is not None]
        ids = self.neighbours.find_customer(self.store, **{how[0].removesuffix("_id"): how[1]})
        bodies = (self.neighbours.get(self.store, "customer", found) for found in ids)
        customers = [_revealed(msgspec.json.decode(body), action.reveals) for body in bodies if body is not None]
        match = "none" if not customers else "one" if len(customers) == 1 else "several"
        return answers.read(type(action), {"match": match, "customers": customers})

    def _preview(self, plan: Plan, request: Request, principal: Principal) -> Result:
        """Show what would be sent; the journal keeps that somebody looked, under no key."""
        run_id, requests, errors = new_run_id(), [], []
        for step in plan.steps:
            connection = self.connections.open(step.connection)
            call = call_for(connection, plan.action, step, run_id=run_id, key=f"hub-{run_id}")
            request_seen, error = caught(connection, plan.action, call)
            note = error.message if error else "the first write; what follows depends on its answer"
            note = note if request_seen or error else "nothing would be sent"
            requests.append(Upstream(connection=connection.name, request=without_secrets(request_seen), note=note))
            errors += [error] if error else []
        result = answers.previewed(plan, Preview(requests=requests, changes=list(plan.changes)), run_id)
        if errors:
            result.error = told(errors[0])
        self._keep_closed(plan, request, principal, result)
        return result

    def _keep_closed(self, plan: Plan, request: Request, principal: Principal, result: Result) -> Result:
        """Journal a run that ends where it begins: a preview, or one that policy denies."""
        executed = request.mode == "execute"
        new = NewRun(
            id=result.run_id or new_run_id(),
            state=result.status,
            mode=request.mode,
            idempotency_key=request.key if executed else None,
            result=result.as_json(),
            **self._row(plan, request, principal),
        )
        run, is_new = self.ledger.claim(new, owner="")
        if is_new:
            return result
        found = self._as_it_stands(run)
        found.replayed = True
        return found

    def _execute(self, action: Action, request: Request, principal: Principal, key: str) -> Result:
        hashed = body_hash(request)
        earlier = self.ledger.find(principal.id, action.name, key)
        if earlier is not None:
            return self._replay(earlier, hashed, request)
        try:
            plan = self._planned(action, request, principal)
        except HubError:
            earlier = self.ledger.find(principal.id, action.name, key)
            if earlier is None:
                raise
            return self._replay(earlier, hashed, request)
        if plan.verdict.verdict == "deny":
            return self._keep_closed(plan, request, principal, answers.denied(plan, new_run_id()))
        owner = new_owner()
        run, is_new = self.ledger.claim(self._new_run(plan, request, principal), owner=owner)
        return self._work(run, owner) if is_new else self._replay(run, hashed, request)

    def _new_run(self, plan: Plan, request: Request, principal: Principal) -> NewRun:
        amount = (plan.money.amount, plan.money.currency) if plan.money else None
        marks = (self.connections.open(step.connection).can(plan.action.name) for step in plan.steps)
        harmless = all(mark is not None and mark.idempotency in HARMLESS for mark in marks)
        targets = [f"{s.connection}/{s.target.table}/{s.target.remote_id}" for s in plan.steps if s.target]
        return NewRun(
            idempotency_key=request.key,
            intent=None if harmless else intent_of(plan.action, targets, amount),
            repeat=request.repeat,
            steps=tuple(NewStep(step.connection, planned_json(step)) for step in plan.steps),
            **self._row(plan, request, principal),
        )

    def _row(self, plan: Plan, request: Request, principal: Principal) -> dict[str, Any]:
        return {
            "action": plan.action.name,
            "principal": principal.id,
            "body_hash": body_hash(request),
            "request": msgspec.json.encode(request, enc_hook=str),
            "plan": msgspec.json.encode(kept(plan), enc_hook=str),
            "connection": plan.steps[0].connection,
            "target_id": plan.target[1] if plan.target else None,
            "amount_minor": plan.money.amount if plan.money else None,
            "currency": plan.money.currency if plan.money else None,
        }

    def _work(self, run: Run, owner: str) -> Result:
        """Work a run whose lease is ours, settle it, and read anew what it touched."""
        try:
            result, done = self._settled(run, owner)
        except Lost:
            return self._as_it_stands(self.ledger.get(run.id))
        except BaseException:
            self.ledger.release(run.id, owner=owner)
            raise
        log.info("%s %s: %s", run.id, run.action, result.status)
        missed = [text for connection, outcome in done for text in self._read_back(connection, outcome)]
        if missed:
            result.warnings += missed
            self.ledger.amend(run.id, result.status, result.as_json())
        return result

    def _settled(self, run: Run, owner: str) -> tuple[Result, list[tuple[Connection, Outcome]]]:
        """Work the open steps; the last one closes the run in the same transaction."""
        plan = kept_of(run.plan)
        answered: list[Result] = []
        action = action_class(self.plugins.actions, run.action).model_validate(plan.action)

        def closing(step: Step) -> tuple[RunState, bytes]:
            run.steps[step.number] = step
            answered.append(self._answer(run, plan))
            return answered[-1].status, answered[-1].as_json()

        worker = Worker(self.ledger, owner, self.connections.open, self.in_flight)
        done = worker.work(run, action, closing)
        if not answered:
            answered.append(self._answer(run, plan))
            self.ledger.finish(run.id, answered[-1].status, answered[-1].as_json())
        return answered[-1], done

    def _answer(self, run: Run, plan: Kept) -> Result:
        settings = self.connections.settings.connections
        connectors = {name: found.connector for name, found in settings.items()}
        return answers.answer(run, plan, action_class(self.plugins.actions, run.action), connectors=connectors)

    def _read_back(self, connection: Connection, outcome: Outcome) -> list[str]:
        """Fetch what an action touched. The effect is there whatever happens here, so a failure is only told."""
        streams: dict[str, list[str]] = {}
        for stream, remote_id in outcome.touched:
            streams.setdefault(stream, []).append(remote_id)
        missed = []
        for stream, ids in streams.items():
            try:
                with wall(connection.name, f"reading {stream} anew"):
                    self.neighbours.fetch(self.store, connection, stream, ids)
            except HubError as exc:
                missed.append(f"done, but not read back yet: {exc.message}")
        return missed

    def _replay(self, run: Run, hashed: str, request: Request) -> Result:
        """Give the first answer again; bring a run that is unknown or abandoned further first."""
        same_body(run, hashed)
        deadline = time.monotonic() + (request.wait_ms or 0) / 1000
        result = self.advance(run.id)
        while result.status == "running" and time.monotonic() < deadline:
            self.sleep(_PAUSE_S)
            result = self.advance(run.id)
        result.replayed = True
        return result

    def _as_it_stands(self, run: Run) -> Result:
        if run.closed and run.result is not None:
            return stored(run.result)
        if run.state == "unknown" and run.result is not None and run.lease_owner is None:
            return stored(run.result)
        return answers.running(run, kept_of(run.plan), action_class(self.plugins.actions, run.action))


def _revealed(body: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """Keep what a lookup may show; of the connections only their names."""
    found = {name: body.get(name) for name in fields}
    if "connections" in found:
        records = found["connections"] or []
        found["connections"] = sorted({r["connection"] if isinstance(r, Mapping) else str(r) for r in records})
    return found
