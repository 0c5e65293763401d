"""
Make a plan of a run: which records in which connections, with what words, and what policy says.

A plan is complete before the journal sees it; nothing has been sent by then but reads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from hub.access import Principal, require
from hub.actions import MADE_LATELY, Action, CustomerArchive, CustomerChangeEmail, CustomerCreate
from hub.connections import Connection, Connections, wall
from hub.connector import Target
from hub.errors import Conflict, MappingError, Unsupported
from hub.ledger import Reckoned
from hub.money import Money
from hub.perform import facts
from hub.perform.choosing import Choice, Chosen, Notes, Resolve, unknown
from hub.perform.composing import Composer
from hub.perform.envelope import Predicted, Request, Skipped
from hub.perform.judging import Judge
from hub.perform.refunding import Refunds
from hub.perform.steps import money_of, step_of
from hub.perform.words import Planned, words_for
from hub.policy import Verdict

Fetch = Callable[[Connection, str, list[str]], object]
Known = Callable[..., list[str]]
_NAMES = ("display_name", "given_name", "family_name")


@dataclass(frozen=True)
class Plan:
    """All that is decided of a run before anything is sent."""

    action: Action
    target: tuple[str, str] | None
    steps: tuple[Planned, ...]
    verdict: Verdict
    changes: tuple[Predicted, ...] = ()
    warnings: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    knows: Reckoned | None = None

    @property
    def money(self) -> Money | None:
        return money_of(self.action, self.steps)


class Planner:
    """
    Makes plans.

    `resolve` finds the records of a reference, `fetch` reads some anew, `known` finds customers by an e-mail or an
    external id.
    """

    def __init__(self, connections: Connections, judge: Judge, resolve: Resolve, fetch: Fetch, known: Known) -> None:
        self.connections = connections
        self.judge = judge
        self.resolve = resolve
        self.fetch = fetch
        self.known = known
        self.choice = Choice(connections, resolve)
        self.refunds = Refunds(self.choice, judge.history)

    def plan(self, action: Action, request: Request, principal: Principal) -> Plan:
        """
        Find the targets, read the facts fresh, put the input into the vendors' words, and decide.

        Raises NotFound, Invalid, Conflict, Refused, Unsupported as the facts demand; reads may raise Temporary.
        """
        notes = Notes()
        action = self.refunds.settled(action, notes)
        chosen = self.aim(action, principal, notes)
        self._nobody_elses(action, chosen)
        if isinstance(action, CustomerArchive):
            self._made_here(action, chosen)
        if isinstance(action, facts.NEEDS_FRESH) or request.expected_version:
            chosen = [(connection, self._fresh(action, connection, target)) for connection, target in chosen]
        for _, target in chosen:
            data = target.data if target else {}
            facts.same_version(action, data, request.expected_version)
            action = facts.completed(action, data)
        steps = self._steps(action, chosen, request, notes)
        steps += Composer(self.choice, self._fresh, self.judge.history, self.refunds).parts(action, chosen, notes)
        steps += self.refunds.told(action)
        self._may_do_parts(action, steps, principal)
        verdict = self.judge.verdict(action, steps, request, principal)
        first = next((t for _, t in chosen if t is not None), None)
        return Plan(
            action,
            (first.kind, first.id) if first else None,
            tuple(steps),
            verdict,
            tuple(change for step in steps for change in step.changes),
            tuple(notes.warnings),
            tuple(notes.skipped),
            notes.knows,
        )

    def aim(self, action: Action, principal: Principal, notes: Notes | None = None) -> Chosen:
        """
        Find the records that the action is about, and see that the principal may act there; no vendor is asked.

        Raises NotFound, Invalid, Unsupported, Refused.
        """
        chosen = self.choice.chosen(self.refunds.settled(action), Notes() if notes is None else notes)
        for connection, _ in chosen:
            require(principal, f"act:{action.name}", connection=connection.name)
        return chosen

    def _nobody_elses(self, action: Action, chosen: Chosen) -> None:
        """Raise Conflict where an e-mail or an external id is another customer's already."""
        own = {target.id for _, target in chosen if target is not None}
        asked: dict[str, str | None] = {}
        if isinstance(action, CustomerCreate):
            asked = {"email": action.email, "external_ref": action.external_ref}
        elif isinstance(action, CustomerChangeEmail):
            asked = {"new_email": action.new_email}
        for field, value in asked.items():
            others = set(self.known(**{field.removeprefix("new_"): value})) - own if value is not None else set()
            if others:
                text = f"{action.name}: a customer has this {field.removeprefix('new_')} already: {min(others)}"
                next_ = ["customer.update"] if isinstance(action, CustomerCreate) else ["agent.handoff"]
                code = "customer_exists"
                raise Conflict(text, code=code, reason=min(others), field_path=f"input.{field}", next_actions=next_)

    def _made_here(self, action: Action, chosen: Chosen) -> None:
        """Raise Conflict unless this hub made the customer lately, and nothing has come of it."""
        for connection, target in chosen:
            if target is None:
                continue
            made = self.judge.ledger.made("customer.create", connection.name, within_s=MADE_LATELY.total_seconds())
            if target.remote_id not in made:
                text = f"{action.name}: only a customer that was made here within 30 days is archived"
                raise Conflict(text, code="customer_not_ours", field_path="input.customer_ref")
            used = self.judge.history.in_use(target)
            if used is not None:
                text = f"{action.name}: the customer has a {used}"
                raise Conflict(text, code="customer_in_use", reason=used, field_path="input.customer_ref")

    def _may_do_parts(self, action: Action, steps: list[Planned], principal: Principal) -> None:
        """Require the scope of what follows from an action, as if it were asked for by itself."""
        for step in steps if action.needs is None else ():
            if step.part is not None:
                require(principal, f"act:{step.part.name}", connection=step.connection)

    def _fresh(self, action: Action, connection: Connection, target: Target | None) -> Target | None:
        if target is None or connection.connector.method("fetch", target.stream) is None:
            return target
        with wall(f"{connection.name}: reading {target.kind} anew"):
            self.fetch(connection, target.stream, [target.remote_id])
        found = self.resolve(f"{target.connection}/{target.stream}/{target.remote_id}", target.kind)
        same = (target.connection, target.stream, target.remote_id)
        for again in found:
            if (again.connection, again.stream, again.remote_id) == same:
                return again
        raise unknown(action)

    def _steps(self, action: Action, chosen: Chosen, request: Request, notes: Notes) -> list[Planned]:
        everywhere = action.fans_out and getattr(action, "targets", None) is None
        steps: list[Planned] = []
        if action.needs is not None:
            return steps
        for connection, target in chosen:
            try:
                words = words_for(connection, action, target, lenient=everywhere or isinstance(action, CustomerCreate))
            except (Unsupported, MappingError):
                if not everywhere or len(chosen) == 1:
                    raise
                text = "none of the changes can be written there; left as it is"
                notes.skip(connection.name, action.name, text)
                continue
            left_out = [n for n in words.left_out if not isinstance(action, CustomerCreate) or n not in _NAMES]
            notes.warnings += [f"{connection.name}: {name} cannot be written there" for name in left_out]
            steps.append(step_of(action, connection, target, words=words, version=request.expected_version))
        if not steps:
            raise Unsupported(f"{action.name}: no connection can write these changes")
        return steps


class Kept(msgspec.Struct, kw_only=True):
    """
    What the journal keeps of a plan, beside its steps; the verdict is null until there is one.

    `look_up_only` marks a run that a restored ledger has as not let go: what became of it is looked up, no more.
    """

    action: dict[str, Any]
    target: tuple[str, str] | None
    money: Money | None
    verdict: Verdict | None
    changes: list[Predicted] = []
    warnings: list[str] = []
    look_up_only: bool = False
    skipped: list[Skipped] = []


_KEPT = msgspec.json.Decoder(Kept)


def kept(plan: Plan) -> Kept:
    """Take from a plan what the journal keeps."""
    return Kept(
        action=plan.action.model_dump(mode="json", by_alias=True),
        target=plan.target,
        money=plan.money,
        verdict=plan.verdict,
        changes=list(plan.changes),
        warnings=list(plan.warnings),
        skipped=list(plan.skipped),
    )


def kept_of(data: bytes) -> Kept:
    return _KEPT.decode(data)
