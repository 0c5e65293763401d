"""
Make a plan of a run: which records in which connections, with what words, and what policy says.

A plan is complete before the journal sees it; nothing has been sent by then but reads.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from hub.access import Principal, require
from hub.actions import Action, CreditGrant, CustomerUpdate, TicketCreate
from hub.config import did_you_mean
from hub.connections import Connection, Connections, wall
from hub.connector import Target
from hub.errors import ConfigError, HubError, Invalid, MappingError, NotFound, Unsupported
from hub.money import Money
from hub.perform import facts
from hub.perform.envelope import Predicted, Request, plain
from hub.perform.intake import references
from hub.perform.judging import Judge
from hub.perform.words import Part, Planned, Words, words_for
from hub.policy import Verdict

Resolve = Callable[[str, str], list[Target]]
Fetch = Callable[[Connection, str, list[str]], object]
Aim = Sequence[tuple[Connection, Target | None]]
"""Which records in which connections an action is about."""


@dataclass(frozen=True)
class Plan:
    """All that is decided of a run before anything is sent."""

    action: Action
    target: tuple[str, str] | None
    steps: tuple[Planned, ...]
    verdict: Verdict
    changes: tuple[Predicted, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def money(self) -> Money | None:
        return self.action.amount_of_money


class Planner:
    """Makes plans; `resolve` finds the records of a reference, `fetch` reads some anew."""

    def __init__(self, connections: Connections, judge: Judge, resolve: Resolve, fetch: Fetch) -> None:
        self.connections = connections
        self.judge = judge
        self.resolve = resolve
        self.fetch = fetch

    def plan(self, action: Action, request: Request, principal: Principal) -> Plan:
        """
        Find the targets, read the facts fresh, put the input into the vendors' words, and decide.

        Raises NotFound, Invalid, Conflict, Refused, Unsupported as the facts demand; reads may raise Temporary.
        """
        warnings: list[str] = []
        chosen = self.aim(action, principal, warnings)
        if isinstance(action, facts.NEEDS_FRESH) or request.expected_version:
            chosen = [(connection, self._fresh(action, connection, target)) for connection, target in chosen]
        for _, target in chosen:
            data = target.data if target else {}
            facts.same_version(action, data, request.expected_version)
            action = facts.completed(action, data)
        steps = self._steps(action, chosen, request, warnings)
        steps += self._parts(action, chosen, warnings)
        verdict = self.judge.verdict(action, steps, request, principal)
        first = next((t for _, t in chosen if t is not None), None)
        return Plan(
            action,
            (first.kind, first.id) if first else None,
            tuple(steps),
            verdict,
            tuple(change for step in steps for change in step.changes),
            tuple(warnings),
        )

    def aim(self, action: Action, principal: Principal, warnings: list[str] | None = None) -> Aim:
        """
        Find the records that the action is about, and see that the principal may act there; no vendor is asked.

        Raises NotFound, Invalid, Unsupported, Refused.
        """
        chosen = self._chosen(action, self._targets(action), [] if warnings is None else warnings)
        for connection, _ in chosen:
            require(principal, f"act:{action.name}", connection=connection.name)
        return chosen

    def _targets(self, action: Action) -> list[Target]:
        if action.on is None:
            return []
        reference = references(action)[action.on.field]
        found = self.resolve(reference, action.on.kind)
        if not found:
            self._known_connection(action, reference)
            raise _unknown(action)
        if "/" not in reference:
            return found
        meant = (reference.partition("/")[0], reference.rpartition("/")[2])
        named = [t for t in found if (t.connection, t.remote_id) == meant]
        others = [t for t in found if t not in named]
        return named + others if isinstance(action, (CustomerUpdate, TicketCreate)) else named or others

    def _known_connection(self, action: Action, reference: str) -> None:
        """Say so where a reference names a connection that is not configured."""
        name, slash, _ = reference.partition("/")
        if slash and name not in self.connections.names():
            text = f"{action.name}: there is no connection {name[:60]}{did_you_mean(name, self.connections.names())}"
            field = f"input.{action.on.field}" if action.on else "input"
            raise NotFound(text, code="unknown_connection", field_path=field)

    def _chosen(
        self, action: Action, targets: Sequence[Target], warnings: list[str]
    ) -> list[tuple[Connection, Target | None]]:
        if isinstance(action, TicketCreate):
            return [self._where_to_open(action, targets)]
        if isinstance(action, CreditGrant) and action.connection is not None:
            targets = [t for t in targets if t.connection == action.connection]
        able = [(self.connections.open(t.connection), t) for t in targets if self._can(t.connection, action)]
        if isinstance(action, CustomerUpdate):
            return self._customer_targets(action, able, targets, warnings)
        if not able:
            raise self._cannot(action, sorted({t.connection for t in targets}))
        if len(able) > 1:
            names = ", ".join(f"{t.connection}/{t.stream}/{t.remote_id}" for _, t in able)
            field = action.on.field if action.on else ""
            text = f"{action.name}: several systems hold it and can do this; say which: {names}"
            raise Invalid(text, code="ambiguous_target", field_path=f"input.{field}")
        return list(able)

    def _can(self, connection: str, action: Action) -> bool:
        name = action.needs or action.name
        return connection in self.connections.names() and self.connections.open(connection).can(name) is not None

    def _able(self, action: Action) -> list[str]:
        """Name the connections that can do it; one that does not even open can do nothing."""
        able = []
        for name in self.connections.names():
            with suppress(ConfigError, MappingError):
                able += [name] if self._can(name, action) else []
        return able

    def _cannot(self, action: Action, where: Sequence[str]) -> Unsupported:
        able = self._able(action)
        can = f"what can: {', '.join(able)}" if able else "no connection can"
        return Unsupported(f"{action.name}: {', '.join(where) or 'no connection'} cannot do that; {can}")

    def _customer_targets(
        self,
        action: CustomerUpdate,
        able: list[tuple[Connection, Target]],
        targets: Sequence[Target],
        warnings: list[str],
    ) -> list[tuple[Connection, Target | None]]:
        held = sorted({t.connection for t in targets})
        can = {connection.name for connection, _ in able}
        for name in action.targets or ():
            if name not in held:
                raise NotFound(f"{action.name}: {name} does not hold this customer", field_path="input.targets")
            if name not in can:
                raise self._cannot(action, [name])
        if not able:
            raise self._cannot(action, held)
        if action.targets is None:
            warnings += [f"{name}: cannot do {action.name}; left as it is" for name in held if name not in can]
        return [(c, t) for c, t in able if action.targets is None or c.name in action.targets]

    def _where_to_open(self, action: TicketCreate, targets: Sequence[Target]) -> tuple[Connection, Target | None]:
        able = [action.connection] if action.connection else self._able(action)
        held = {t.connection for t in targets}
        if action.connection is not None and not self._can(action.connection, action):
            raise self._cannot(action, [action.connection])
        here = [name for name in able if name in held]
        if len(here) > 1:
            text = f"{action.name}: several connections can; name one of {', '.join(here)}"
            raise Invalid(text, code="ambiguous_target", field_path="input.connection")
        if not able:
            raise self._cannot(action, sorted(held))
        if not here:
            text = f"{action.name}: {', '.join(able)} does not know this customer"
            raise NotFound(text, code="customer_not_there", field_path="input.customer_ref")
        return self.connections.open(here[0]), next(t for t in targets if t.connection == here[0])

    def _parts(
        self, action: Action, chosen: Sequence[tuple[Connection, Target | None]], warnings: list[str]
    ) -> list[Planned]:
        """Plan the steps of an action that is made of others; what a system cannot do is left out and told."""
        steps: list[Planned] = []
        for connection, target in chosen if action.needs is not None else ():
            for part in action.parts(target.id if target else ""):
                if connection.can(part.name) is None:
                    warnings.append(f"{connection.name}: cannot do {part.name}; left out")
                    continue
                try:
                    words = words_for(connection, part, target)
                except (Unsupported, MappingError):
                    if part.name == action.needs:
                        raise
                    warnings.append(f"{connection.name}: {part.name} cannot be written there; left out")
                    continue
                step = _planned(part, connection, target, words=words, version=None)
                step.part = Part(name=part.name, input=part.model_dump(mode="json", by_alias=True, exclude_none=True))
                steps.append(step)
        return steps

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
        raise _unknown(action)

    def _steps(
        self,
        action: Action,
        chosen: Sequence[tuple[Connection, Target | None]],
        request: Request,
        warnings: list[str],
    ) -> list[Planned]:
        lenient = isinstance(action, CustomerUpdate) and action.targets is None
        steps: list[Planned] = []
        if action.needs is not None:
            return steps
        for connection, target in chosen:
            try:
                words = words_for(connection, action, target, lenient=lenient)
            except (Unsupported, MappingError):
                if not lenient or len(chosen) == 1:
                    raise
                warnings.append(f"{connection.name}: none of the changes can be written there; left as it is")
                continue
            warnings += [f"{connection.name}: {name} cannot be written there" for name in words.left_out]
            steps.append(_planned(action, connection, target, words=words, version=request.expected_version))
        if not steps:
            raise Unsupported(f"{action.name}: no connection can write these changes")
        return steps


def _unknown(action: Action) -> HubError:
    kind, field = (action.on.kind, action.on.field) if action.on else ("record", "")
    return NotFound(f"{action.name}: there is no such {kind}", field_path=f"input.{field}")


def _planned(
    action: Action, connection: Connection, target: Target | None, *, words: Words, version: str | None
) -> Planned:
    given = action.model_dump(mode="json", by_alias=True, exclude_none=True)
    if target is not None and action.on is not None:
        given[action.on.field] = target.remote_id
    return Planned(
        connection=connection.name,
        target=target,
        fields=words.fields,
        parts=words.parts,
        input=given,
        expected_version=version,
        context=words.context,
        changes=list(_changes(action, connection.name, target, words.left_out)),
    )


def _changes(action: Action, connection: str, target: Target | None, left_out: Sequence[str]) -> list[Predicted]:
    data: Mapping[str, Any] = target.data if target else {}
    found = []
    for kind in action.changes():
        before, after = facts.predicted(action, kind, data)
        after = {name: value for name, value in after.items() if name not in left_out}
        remote_id = target.remote_id if target and before is not None else None
        if before is not None:
            before = {name: value for name, value in before.items() if name in after}
        found.append(
            Predicted(connection=connection, kind=kind, remote_id=remote_id, before=before, after=plain(after))
        )
    money = facts.predicted_refund(action, data)
    if money is not None and target is not None:
        before, after = money
        found.append(
            Predicted(connection=connection, kind="payment", remote_id=target.remote_id, before=before, after=after)
        )
    return found


class Kept(msgspec.Struct, kw_only=True):
    """What the journal keeps of a plan, beside its steps; the verdict is null until there is one."""

    action: dict[str, Any]
    target: tuple[str, str] | None
    money: Money | None
    verdict: Verdict | None
    changes: list[Predicted] = []
    warnings: list[str] = []


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
    )


def kept_of(data: bytes) -> Kept:
    return _KEPT.decode(data)
