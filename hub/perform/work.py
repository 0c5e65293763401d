"""
Work a run's steps under its lease, by the crash rule.

A step that is planned is sent. One that is found sending or unknown goes to the resolver; it is sent again only where
that is known to be harmless, with the same key, and at most once per call.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from hub.actions import Action
from hub.connections import Connection
from hub.connector import Absent, Call, Found, Outcome
from hub.errors import Conflict, HubError, Temporary, Unknown
from hub.ledger import Closing, Ledger, Move, Run, Step, frozen
from hub.perform.envelope import plain, told
from hub.perform.judging import MONEY
from hub.perform.send import Done, Doubtful, Failed, ask, attempt
from hub.perform.words import Planned, call_for, on_made, planned_of

NATIVE_WINDOW = timedelta(hours=1)
"""How long a vendor surely remembers a key: Zendesk two hours, Stripe at least 24."""
SEND_WITHIN = timedelta(seconds=30)
"""How long after the commit that says "sending" a write may leave; later it does not leave at all."""
IN_FLIGHT = timedelta(seconds=90)
"""How long after that commit a request may be under way; before that, not finding its effect proves nothing."""
SENDS = 2
"""How often a step is sent that is surely not there: what was lost twice, or gets a stored error again, has failed."""
SAFE = frozenset({"native", "upsert", "set", "version"})
"""Strategies under which the vendor itself keeps the same request, sent beside a lost one, from a second effect."""
ATTENTION_AFTER = timedelta(hours=24)
"""How long a run may stay unknown before a person is asked."""


@dataclass
class Work:
    """One step in hand, with all that is needed to send it or to look it up."""

    ledger: Ledger
    owner: str
    connection: Connection
    action: Action
    step: Step
    call: Call
    in_flight: timedelta
    look_up_only: bool = False
    closing: Closing | None = None
    finished: list[Outcome] = field(default_factory=list)

    def go(self) -> None:
        """Bring the step as far as it can come now."""
        if self.step.state == "planned" and not self.look_up_only:
            self._send()
        elif self.step.state in ("sending", "unknown"):
            error = Unknown(f"{self.connection.name}: {self.action.name}: sent, and its answer was lost")
            self._resolve(Doubtful(error, resend=not self._handed_over()), may_resend=not self.look_up_only)

    def _send(self, *, again: bool = False) -> None:
        self.step = self.ledger.begin(self.step, owner=self.owner, again=again)
        got = attempt(self.connection, self.action, self.call, within_s=SEND_WITHIN.total_seconds())
        self._take(got, may_resend=not again)

    def _take(self, got: Done | Failed | Doubtful, *, may_resend: bool) -> None:
        if isinstance(got, Done):
            self._done(got.outcome)
        elif isinstance(got, Doubtful):
            self._resolve(got, may_resend=may_resend, answered=self._strategy() in SAFE)
        elif got.accepted and isinstance(found := ask(self.connection, self.action, self.call), Found):
            self._done(found.outcome)
        else:
            self._settle(Move("failed", error=_failure(got)))

    def _resolve(self, doubt: Doubtful, *, may_resend: bool, answered: bool = False) -> None:
        """
        Look a doubtful write up; settle it, send it once more, or leave it unknown.

        Absent is believed once the write must have arrived. A sender that is here to see its answer get lost
        (`answered`) need not wait for that where the vendor keeps two of the same from acting twice.
        """
        answer = ask(self.connection, self.action, self.call)
        if isinstance(answer, Found):
            self._done(answer.outcome)
            return
        absent = isinstance(answer, Absent)
        if absent:
            again = (self._landed() or answered) and self.step.attempt < SENDS
        else:
            again = doubt.resend and self._key_still_known()
        if may_resend and again:
            self._send(again=True)
        elif absent and self._landed():
            text = f"{self.connection.name}: {self.action.name}: did not get through; nothing happened there"
            self._settle(Move("absent", error=_failure(Failed(Temporary(text)))))
        else:
            outcome = None if doubt.outcome is None else _json(doubt.outcome)
            self._settle(Move("unknown", outcome=outcome, error=_failure(Failed(doubt.error))))

    def _landed(self) -> bool:
        """Say whether what was sent must have reached the vendor by now, or never will."""
        return _age(self.step.sent_at) >= self.in_flight

    def _key_still_known(self) -> bool:
        """With a vendor's own key the same request again does no harm, as long as the vendor remembers the key."""
        return self._strategy() == "native" and _age(self.step.first_sent_at) < NATIVE_WINDOW

    def _strategy(self) -> str | None:
        mark = self.connection.can(self.action.name)
        return mark.idempotency if mark is not None else None

    def _handed_over(self) -> bool:
        return self.step.outcome is not None

    def _done(self, outcome: Outcome) -> None:
        if outcome.status == "unknown":
            error = Unknown(f"{self.connection.name}: {self.action.name}: whether it was carried out is not known yet")
            self._settle(Move("unknown", outcome=_json(outcome), error=_failure(Failed(error))))
            return
        self._settle(Move("done", outcome=_json(outcome)))
        self.finished.append(outcome)

    def _settle(self, move: Move) -> None:
        self.step = self.ledger.settle(self.step, move, closing=self.closing)


@dataclass
class Worker:
    """Works the steps of one run, as `owner` of its lease."""

    ledger: Ledger
    owner: str
    opener: Callable[[str], Connection]
    in_flight: timedelta
    look_up_only: bool = False

    def work(self, run: Run, action: Action, closing: Closing) -> list[tuple[Connection, Outcome]]:
        """
        Work all steps in order; one that fails does not stop the next, unless that is to come after it.

        What comes after a step that is not settled waits for it, and for money that is frozen meanwhile; what comes
        after one that failed is not begun.
        `closing` closes the run together with its last step. Gives what was done just now.
        """
        done: list[tuple[Connection, Outcome]] = []
        open_steps = [step for step in run.steps if step.state not in ("done", "failed", "absent")]
        for step in open_steps:
            close = closing if step is open_steps[-1] else None
            planned = planned_of(step.call)
            first = run.steps[planned.after] if planned.after is not None else None
            if first is not None and first.state in ("failed", "absent"):
                run.steps[step.number] = self._not_begun(step, planned.acting(action), close)
            elif first is None or (first.state == "done" and not self._frozen(planned.acting(action))):
                planned = planned if first is None else following(planned, first)
                work = self._work(run, planned.acting(action), step, planned)
                work.closing = close
                work.go()
                run.steps[step.number] = work.step
                done += [(work.connection, outcome) for outcome in work.finished]
        return done

    def _frozen(self, acting: Action) -> bool:
        """Say whether money was frozen since the run began, and this step would move some."""
        return acting.risk in MONEY and frozen(self.ledger.database) is not None

    def _work(self, run: Run, acting: Action, step: Step, planned: Planned) -> Work:
        connection = self.opener(step.connection)
        call = call_for(connection, acting, planned, run_id=run.id, key=step.vendor_key)
        return Work(self.ledger, self.owner, connection, acting, step, call, self.in_flight, self.look_up_only)

    def _not_begun(self, step: Step, acting: Action, closing: Closing | None) -> Step:
        text = f"{step.connection}: {acting.name}: not begun, for the step before it did not succeed"
        error = Conflict(text, code="step_not_begun", next_actions=[acting.name])
        return self.ledger.settle(step, Move("failed", error=_failure(Failed(error))), closing=closing)


def following(planned: Planned, first: Step) -> Planned:
    """Give a step that works on what the step before it made, with that as its target."""
    if planned.part is None or planned.part.made is None or planned.target is None or first.outcome is None:
        return planned
    effects = msgspec.json.decode(first.outcome)["effects"]
    remote_id = next(effect["remote_id"] for effect in effects if effect["op"] == "create")
    return on_made(planned, remote_id)


def overdue(run: Run) -> bool:
    """Say whether an unknown run has been so for so long that a person must look."""
    return _age(run.created_at) > ATTENTION_AFTER


def _failure(failed: Failed) -> bytes:
    error: HubError = failed.error
    return msgspec.json.encode(told(error) | {"accepted": failed.accepted})


def _json(outcome: Outcome) -> bytes:
    return msgspec.json.encode(plain(outcome))


def _age(at: str | None) -> timedelta:
    if at is None:
        return timedelta(0)
    return datetime.now(UTC) - datetime.fromisoformat(at)
