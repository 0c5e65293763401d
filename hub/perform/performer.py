"""The door to this room: take a request, plan it, write it down, work it, answer."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from hub.access import Principal, allows, require, somewhere
from hub.actions import Action, Risk
from hub.connections import Connection, Connections
from hub.connector import Outcome, Target
from hub.errors import HubError
from hub.ledger import OPEN, Ledger, Lost, NewRun, Run, RunState, Step, frozen, new_owner, new_run_id, same_body
from hub.perform import answers
from hub.perform.afterwards import Afterwards
from hub.perform.approving import Approving
from hub.perform.envelope import Preview, Request, Result, Upstream, stored, told, without_secrets
from hub.perform.history import History
from hub.perform.intake import action_class, body_hash, checked_envelope, needed_key, parsed, references
from hub.perform.judging import MONEY, Judge
from hub.perform.looking import Looking
from hub.perform.neighbours import Neighbours, PolicySource
from hub.perform.plan import Kept, Plan, Planner, kept_of
from hub.perform.reversing import Reversing
from hub.perform.send import caught
from hub.perform.words import call_for
from hub.perform.work import IN_FLIGHT, Worker
from hub.perform.written import asked_of, new_run, queued, row_of
from hub.plugins import Plugins
from hub.records import KINDS, birth_id
from hub.store import Store

_PAUSE_S = 0.02
AT_ONCE = 32
"""How many accepted runs this process works at once."""
READERS = 16
"""How many streams this process reads back at once, beside the one that each run's own thread reads."""
log = logging.getLogger("hub.perform")


class Performer:
    """Runs actions. Thread-safe; the caller's thread does the work."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        connections: Connections,
        policy: PolicySource,
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
        self._pool = ThreadPoolExecutor(AT_ONCE, "run")
        self._readers = ThreadPoolExecutor(READERS, "read")

    def run(self, request: Request, principal: Principal) -> Result:
        """
        Run an action, or preview it.

        What the vendor answered, and what policy said, is in the result's `status` and `error`. Raises Invalid,
        NotFound, Conflict, Refused, Unsupported or Temporary where it did not come to a run: nothing was sent then,
        and the same key may be used again.
        """
        cls = action_class(self.plugins.actions, request.action)
        checked_envelope(request, cls)
        action = parsed(cls, request.input)
        self._may_ask(principal, cls)
        if cls.risk is Risk.R0:
            return self._looking.read(action, principal)
        references(action)
        if request.mode == "preview":
            return self._preview(self._planned(action, request, principal), request, principal)
        needed_key(request, cls)
        if request.wait_ms is not None:
            return self._accept(action, request, principal, request.wait_ms)
        return self._execute(action, request, principal)

    def result(self, run_id: str) -> Result:
        """Give the answer of a run as it stands. Raises NotFound."""
        return self._as_it_stands(self.ledger.get(run_id))

    def advance(self, run_id: str) -> Result:
        """
        Bring an open run further: the seam for background work, safe to call at any time from anywhere.

        A closed run, and one that somebody else is working on, is answered as it stands. What was sent before is
        looked up, never blindly repeated. Raises NotFound for an unknown run.
        """
        run = self.ledger.get(run_id)
        if run.state == "needs_approval":
            return self.approving.expire(run)
        owner = new_owner()
        if run.closed or self._stands_still(run) or not self.ledger.take(run, owner=owner):
            return self._as_it_stands(self.ledger.get(run_id))
        return self._work(self.ledger.get(run_id), owner)

    def waiting(self) -> list[str]:
        """Name the runs that `advance` should be called for."""
        return [*self.ledger.waiting(), *self.approving.approvals.overdue()]

    @property
    def approving(self) -> Approving:
        """The way to decide a run that waits for a person."""

        def written(run: Run, plan: Plan, asker: Principal) -> NewRun:
            return replace(new_run(plan, asked_of(run), asker, self.connections), id=run.id)

        return Approving(
            self.ledger,
            replan=self._replanned,
            written=written,
            who=self.neighbours.who,
            work=self._work,
            show=self._as_it_stands,
            opening=self._opening,
        )

    @property
    def reversing(self) -> Reversing:
        """The way to undo a run."""
        return Reversing(self.ledger, self.run)

    def close(self) -> None:
        """Wait for the runs that are under way here; those that had not begun are left to others."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._readers.shutdown()

    def _replanned(self, run: Run, principal: Principal) -> Plan:
        request = asked_of(run)
        action = parsed(action_class(self.plugins.actions, run.action), request.input)
        return self._planned(action, request, principal)

    def _stands_still(self, run: Run) -> bool:
        """Say whether money is frozen for a run that has not been sent yet."""
        risk = action_class(self.plugins.actions, run.action).risk
        fresh = all(step.state in ("planned", "done", "failed", "absent") for step in run.steps)
        held = run.state != "queued" and risk in MONEY and fresh
        return held and frozen(self.ledger.database) is not None

    def _may_ask(self, principal: Principal, cls: type[Action]) -> None:
        scope = f"act:{cls.name}"
        if cls.risk is Risk.R0 and allows(principal, f"read:{cls.name.partition('.')[0]}"):
            return
        if not somewhere(principal, scope):
            require(principal, scope)

    def _planned(self, action: Action, request: Request, principal: Principal) -> Plan:
        return self._planner().plan(action, request, principal)

    def _planner(self) -> Planner:
        return Planner(self.connections, self._judge(), self._resolve, self._fetch, self._customer)

    def _resolve(self, reference: str, kind: str) -> list[Target]:
        return self.neighbours.resolve_target(self.store, reference, kind)

    def _fetch(self, connection: Connection, stream: str, ids: list[str]) -> object:
        return self.neighbours.fetch(self.store, connection, stream, ids)

    def _customer(self, **by: str) -> list[str]:
        return self.neighbours.find_customer(self.store, **by)

    def _get(self, kind: str, id: str) -> bytes | None:
        return self.neighbours.get(self.store, kind, id)

    def _waiting(self, connection: str, queue: str, but: str) -> int | None:
        return self.neighbours.waiting(self.store, connection, queue, but=but)

    def _list(self, kind: str, filters: dict[str, str], cursor: str | None) -> bytes:
        return self.neighbours.list_(self.store, kind, filters, 200, cursor)

    @property
    def _looking(self) -> Looking:
        return Looking(self.connections, self._resolve, self._customer, self._get, self._list, self._fetch)

    def _judge(self) -> Judge:
        history = History(self._get, self._list, self.ledger)
        return Judge(self.policy.current(), self.connections, self.plugins, self.ledger, history)

    def _preview(self, plan: Plan, request: Request, principal: Principal) -> Result:
        """Show what would be sent; the journal keeps that somebody looked, under no key."""
        run_id, requests, errors = new_run_id(), [], []
        for step in plan.steps:
            connection = self.connections.open(step.connection)
            action = step.acting(plan.action)
            if step.part is not None and step.part.made is not None:
                note = f"{action.name}: on the {step.part.made} that is made first"
                requests.append(Upstream(connection=connection.name, note=note))
                continue
            call = call_for(connection, action, step, run_id=run_id, key=f"hub-{run_id}")
            request_seen, error = caught(connection, action, call)
            note = error.message if error else "the first write; what follows depends on its answer"
            note = note if step.after is None or error else f"only once step {step.after} is done"
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
            **row_of(plan, request, principal),
        )
        run, is_new = self.ledger.claim(new, owner="")
        if is_new:
            return result
        found = self._as_it_stands(run)
        found.replayed = True
        return found

    def _execute(self, action: Action, request: Request, principal: Principal) -> Result:
        hashed, key = body_hash(request), request.key or ""
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
        run, is_new = self.ledger.claim(new_run(plan, request, principal, self.connections), owner=owner)
        if not is_new:
            return self._replay(run, hashed, request)
        return self._as_it_stands(run) if run.state == "needs_approval" else self._work(run, owner)

    def _accept(self, action: Action, request: Request, principal: Principal, wait_ms: int) -> Result:
        """Write a run down before it is planned, work it in another thread, and answer when patience ends."""
        owner, hashed = new_owner(), body_hash(request)
        earlier = self.ledger.find(principal.id, action.name, request.key or "")
        if earlier is not None:
            return self._replay(earlier, hashed, request)
        aim = self._planner().aim(action, principal)
        run, is_new = self.ledger.claim(queued(action, aim, request, principal), owner=owner)
        if not is_new:
            return self._replay(run, hashed, request)
        working = self._pool.submit(self._work, run, owner)
        working.add_done_callback(partial(self._told, run, owner))
        return self._patiently(working, run.id, wait_ms)

    def _told(self, run: Run, owner: str, working: Future[Result]) -> None:
        """Say so where a run was left open by its thread, which nobody may be waiting for."""
        if working.cancelled():
            self.ledger.release(run.id, owner=owner)
        elif (broken := working.exception()) is not None:
            log.warning("%s %s was left open: %s", run.id, run.action, type(broken).__name__)

    def _patiently(self, working: Future[Result], run_id: str, wait_ms: int) -> Result:
        """Wait for a run that is worked here, or else by somebody else, as long as the caller wants to."""
        deadline = time.monotonic() + wait_ms / 1000
        done, _ = wait([working], timeout=wait_ms / 1000)
        result = working.result() if done and not working.cancelled() else self.result(run_id)
        while result.status in ("queued", "running") and time.monotonic() < deadline:
            self.sleep(_PAUSE_S)
            result = self.result(run_id)
        return result

    def _plan_now(self, run: Run, owner: str) -> Run:
        """
        Plan a run that was only accepted, as its principal may by now.

        What stands in the way ends it, since its key is used up: nothing was sent.
        """
        request, cls = asked_of(run), action_class(self.plugins.actions, run.action)
        try:
            principal = self.neighbours.who(run.principal)
            plan = self._replanned(run, principal)
            denied = answers.denied(plan, run.id) if plan.verdict.verdict == "deny" else None
            new = new_run(plan, request, principal, self.connections)
            if denied is not None:
                new = replace(new, state="denied", question=None, steps=(), result=denied.as_json())
            return self.ledger.plan(replace(new, id=run.id), owner=owner)
        except HubError as exc:
            ended = answers.ended(answers.opening(cls, kept_of(run.plan), status="failed", run_id=run.id), exc)
            self.ledger.finish(run.id, ended.status, ended.as_json())
        return self.ledger.get(run.id)

    def _work(self, run: Run, owner: str) -> Result:
        """Work a run whose lease is ours, settle it, and read anew what it touched."""
        try:
            with self.ledger.keeper.holding(run.id, owner):
                if run.state == "queued":
                    run = self._plan_now(run, owner)
                if run.state not in OPEN:
                    return self._as_it_stands(run)
                result, done = self._settled(run, owner)
        except Lost:
            return self._as_it_stands(self.ledger.get(run.id))
        except BaseException:
            with suppress(HubError):  # the ledger may be what failed; its lease ends by itself
                self.ledger.release(run.id, owner=owner)
            raise
        log.info("%s %s: %s", run.id, run.action, result.status)
        after = Afterwards(self._fetch, self._resolve, self._get, self._readers, self._waiting)
        if done and after.complete(result, done, self._kind):
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

        worker = Worker(self.ledger, owner, self.connections.open, self.in_flight, plan.look_up_only)
        done = worker.work(run, action, closing)
        if not answered:
            answered.append(self._answer(run, plan))
            self.ledger.finish(run.id, answered[-1].status, answered[-1].as_json())
        return answered[-1], done

    def _answer(self, run: Run, plan: Kept) -> Result:
        settings = self.connections.settings.connections
        connectors = {name: found.connector for name, found in settings.items()}
        action = action_class(self.plugins.actions, run.action)
        return answers.answer(run, plan, action, connectors=connectors, made=self._made)

    def _kind(self, connection: str, stream: str) -> str | None:
        """Name the kind that actions write in a stream: that of its first table."""
        tables = self.connections.open(connection).mapping.tables.values()
        return next((table.kind for table in tables if table.stream == stream), None)

    def _made(self, connection: str, effect: Mapping[str, Any], touched: Sequence[Sequence[str]]) -> str | None:
        """Give the hub id of what was created, as it will be when it is read; linked kinds may be joined instead."""
        tables = self.connections.open(connection).mapping.tables.values()
        for stream, remote_id in touched if effect["op"] == "create" else ():
            found = [table for table in tables if table.stream == stream]
            if remote_id == effect["remote_id"] and len(found) == 1 and not KINDS[found[0].kind].linked:
                return birth_id(found[0].kind, connection, found[0].name, remote_id)
        return None

    def _replay(self, run: Run, hashed: str, request: Request) -> Result:
        """Give the first answer again; bring a run that is unknown or abandoned further first."""
        same_body(run, hashed)
        if request.wait_ms is None:
            result = self.advance(run.id)
        else:
            result = self._patiently(self._pool.submit(self.advance, run.id), run.id, request.wait_ms)
        result.replayed = True
        return result

    def _opening(self, run: Run) -> Result:
        action = action_class(self.plugins.actions, run.action)
        return answers.opening(action, kept_of(run.plan), status=run.state, run_id=run.id)

    def _as_it_stands(self, run: Run) -> Result:
        if run.state == "needs_approval":
            action, approval = action_class(self.plugins.actions, run.action), self.approving.approvals.of(run.id)
            return answers.waiting(run, kept_of(run.plan), action, approval)
        if run.closed and run.result is not None:
            return stored(run.result)
        if run.state == "unknown" and run.result is not None and run.lease_owner is None:
            return stored(run.result)
        return answers.under_way(run, kept_of(run.plan), action_class(self.plugins.actions, run.action))
