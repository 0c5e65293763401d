"""Make a step of a plan: what one connection will be asked to do, and how that would change what is known there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hub.actions import Action, File
from hub.connections import Connection
from hub.connector import Target
from hub.errors import Conflict
from hub.money import Money
from hub.perform import facts
from hub.perform.envelope import Predicted, plain
from hub.perform.words import Part, Planned, Words


def step_of(
    action: Action, connection: Connection, target: Target | None, *, words: Words, version: str | None = None
) -> Planned:
    """Make the step that does `action` in one connection."""
    given = action.model_dump(mode="json", by_alias=True, exclude_none=True)
    given |= {name: [file.told() for file in files] for name, files in _files(action)}
    on = action.works_on()
    if target is not None and on is not None:
        given[on.field] = target.remote_id
    return Planned(
        connection=connection.name,
        target=target,
        fields=words.fields,
        parts=words.parts,
        input=given,
        expected_version=version,
        context=words.context,
        changes=list(_changes(words.said or action, connection.name, target, words.left_out)),
    )


def _files(action: Action) -> Iterator[tuple[str, list[File]]]:
    """Give the inputs that hold files: the action itself has their bytes, once is enough."""
    for name, value in action:
        if isinstance(value, list) and value and isinstance(value[0], File):
            yield name, value


def part_of(
    part: Action,
    connection: Connection,
    target: Target | None,
    *,
    words: Words,
    after: int | None = None,
    made: str | None = None,
    remark: bool = False,
) -> Planned:
    """Make a step that does another action than its run's."""
    step = step_of(part, connection, target, words=words)
    given = part.model_dump(mode="json", by_alias=True, exclude_none=True)
    step.part = Part(name=part.name, input=given, after=after, made=made, remark=remark)
    return step


def money_of(action: Action, steps: Sequence[Planned]) -> Money | None:
    """Say what a run moves: the action's own money, or that of its parts together. Raises Conflict for a mixture."""
    if action.amount_of_money is not None:
        return action.amount_of_money
    moved = [step.acting(action).amount_of_money for step in steps if step.part is not None]
    sums = [money for money in moved if money is not None]
    if len({money.currency for money in sums}) > 1:
        text = f"{action.name}: it was paid in several currencies; refund each payment by itself"
        raise Conflict(text, code="currency_mismatch", next_actions=["payment.refund"])
    return Money(sum(money.amount for money in sums), sums[0].currency) if sums else None


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
    for kind, money in (
        ("payment", facts.predicted_refund(action, data)),
        ("subscription", facts.predicted_items(action, data)),
    ):
        if money is not None and target is not None:
            before, after = money
            found.append(
                Predicted(connection=connection, kind=kind, remote_id=target.remote_id, before=before, after=after)
            )
    return found
