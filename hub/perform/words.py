"""Put an action into the words of one vendor, through the write side of that connection's mapping."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from hub.actions import CATALOGUE, Action, TicketSetStatus
from hub.connections import Connection
from hub.connector import Call, Target, Verb
from hub.errors import MappingError, Unsupported
from hub.money import Money
from hub.perform.envelope import Predicted
from hub.records import birth_id
from hub.transport import announce


@dataclass(frozen=True)
class Words:
    """
    What goes to the vendor: `fields` of the main kind, `parts` per kind, or the `context` of a legacy verb.

    `left_out` names the fields that cannot be written there, `said` is the action where it was put otherwise for that.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    context: dict[str, Any] | None = None
    left_out: tuple[str, ...] = ()
    said: Action | None = None


class Part(msgspec.Struct, kw_only=True):
    """
    What a step of a composite action does: an action of its own, by name and input.

    `after` is the number of the step that must be done first; with `made` the target is the record that it created.
    A `remark` goes with an action without being a part of it: where it fails, the action succeeded all the same.
    """

    name: str
    input: dict[str, Any]
    after: int | None = None
    made: str | None = None
    remark: bool = False


class Planned(msgspec.Struct, kw_only=True):
    """
    One step as the journal keeps it: all that a call needs, so that a restart sends the same again.

    `context` holds the values of a legacy verb, null where the mapping has none for this action. `part` is set where
    the step does another action than the run's.
    """

    connection: str
    target: Target | None
    fields: Mapping[str, Any]
    parts: Mapping[str, Mapping[str, Any]]
    input: dict[str, Any]
    expected_version: str | None
    context: dict[str, Any] | None
    changes: list[Predicted] = []
    part: Part | None = None

    @property
    def after(self) -> int | None:
        """The number of the step that must be done before this one begins."""
        return self.part.after if self.part is not None else None

    def acting(self, action: Action) -> Action:
        """Give the action of this step: the run's own, or the part of it that this step does."""
        return action if self.part is None else _PARTS[self.part.name].model_validate(self.part.input)


def on_made(step: Planned, remote_id: str) -> Planned:
    """Put what an earlier step made into a step that stands ready for it."""
    known = step.target
    assert known is not None
    id = birth_id(known.kind, known.connection, known.table, remote_id)
    target = Target(known.connection, known.table, known.stream, known.kind, remote_id, id)
    context = step.context
    if context is not None:
        context = {**context, target.kind: {**target.data, "remote_id": remote_id}}
    given = {name: remote_id if value == known.remote_id else value for name, value in step.input.items()}
    return msgspec.structs.replace(step, target=target, input=given, context=context)


_PARTS = {action.name: action for action in CATALOGUE}
_PLANNED = msgspec.json.Decoder(Planned)


def planned_json(step: Planned) -> bytes:
    return msgspec.json.encode(step, enc_hook=str)


def planned_of(data: bytes) -> Planned:
    return _PLANNED.decode(data)


def words_for(connection: Connection, action: Action, target: Target | None, *, lenient: bool = False) -> Words:
    """
    Write the action in the vendor's words.

    `lenient` leaves out fields that cannot be written there and names them; otherwise they raise Unsupported. Whom an
    address is for may always be left out, and told.
    Raises MappingError where the vendor has no word for a value, Unsupported where visibility cannot be said.
    """
    if action.name in connection.mapping.actions:
        _same_sort(connection, action, target)
        context = _context(action, target)
        _verb(connection, action, context, run={"id": "run_0", "key": "hub-run_0"})  # what cannot be filled fails here
        return Words(context=context)
    parts: dict[str, Mapping[str, Any]] = {}
    left_out: list[str] = []
    action = _as_told_there(connection, action, target)
    for kind, values in action.changes().items():
        table = _table(connection, kind, target)
        values = {name: value for name, value in values.items() if not _only_a_remark(connection, table, name)}
        for name, value in values.items():
            if isinstance(value, Mapping) and {"line1", "country_code"} <= set(value):
                values[name], missing = _address(connection, table, name, value)
                left_out += missing
        values, missing = _without(connection, table, values, action.optional)
        left_out += missing
        if lenient:
            values, missing = _writable(connection, table, values)
            left_out += missing
        parts[kind] = connection.mapping.write(table, values)
        if kind == "message":
            _must_say_visibility(connection, table, values)
    main = next(iter(parts), None)
    return Words(parts[main] if main else {}, parts, left_out=tuple(left_out), said=action)


def _as_told_there(connection: Connection, action: Action, target: Target | None) -> Action:
    """Say in the note how a ticket was settled, where a system has no field for that."""
    if not isinstance(action, TicketSetStatus) or action.resolution is None or target is None:
        return action
    try:
        connection.mapping.write(target.table, {"resolution": action.resolution})
    except Unsupported:
        return action.told()
    return action


def call_for(connection: Connection, action: Action, step: Planned, *, run_id: str, key: str) -> Call:
    """Make the call that a connector gets, from a step as planned; the same for every attempt."""
    verb = None
    if step.context is not None:
        verb = _verb(connection, action, step.context, run={"id": run_id, "key": key})
    return Call(
        run_id=run_id,
        key=key,
        target=step.target,
        fields=step.fields,
        parts=step.parts,
        input=step.input,
        expected_version=step.expected_version,
        verb=verb,
        sending=announce,
    )


def _table(connection: Connection, kind: str, target: Target | None) -> str:
    """Choose the table to write: the target's own, else the one of this kind that the mapping lets write."""
    if target is not None and target.kind == kind:
        return target.table
    tables = [table for table in connection.mapping.tables.values() if table.kind == kind]
    writable = [table for table in tables if table.writable]
    chosen = (writable or tables)[:1]
    return chosen[0].name if chosen else kind


def _only_a_remark(connection: Connection, table: str, name: str) -> bool:
    """Say whether a field may be left out where a mapping does not write it: why money was given back."""
    known = connection.mapping.tables.get(table)
    return name == "reason" and known is not None and known.kind == "refund" and name not in known.writable


def _same_sort(connection: Connection, action: Action, target: Target | None) -> None:
    """Raise Unsupported where a verb would put an address in the place of one of another sort."""
    for name, value in action.changes().get(target.kind, {}).items() if target is not None else ():
        if target is None or not isinstance(value, Mapping) or "type" not in value:
            continue
        kept = (target.data.get(name) or {}).get("type")
        if connection.mapping.tables[target.table].entry(name) is None or kept not in (None, value["type"]):
            text = f"{connection.name}: keeps no {value['type']} address of a {target.kind}"
            raise Unsupported(text, field_path=name)


def _address(
    connection: Connection, table: str, name: str, value: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """
    Leave out of an address what this mapping does not keep: its sort, and whom it is for.

    A sort that the mapping names, and that is another, stays: then this is not where such an address belongs.
    """
    fine, missing = dict(value), list[str]()
    for part in ("type", "recipient_name", "phone"):
        try:
            connection.mapping.write(table, {name: fine})
        except Unsupported as exc:
            if exc.field_path != part or part not in fine:
                continue
            missing += [f"{name}.{part}"] if part != "type" and fine[part] is not None else []
            del fine[part]
        except MappingError:
            break
    return fine, missing


def _without(
    connection: Connection, table: str, values: Mapping[str, Any], optional: frozenset[str]
) -> tuple[dict[str, Any], list[str]]:
    """Leave out what need not be said, where this mapping does not write it."""
    missing = []
    for name in optional & set(values):
        try:
            connection.mapping.write(table, {name: values[name]})
        except Unsupported:
            missing.append(name)
    return {name: value for name, value in values.items() if name not in missing}, sorted(missing)


def _writable(connection: Connection, table: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    fine, missing, why = {}, [], ""
    for name, value in values.items():
        try:
            connection.mapping.write(table, {name: value})
            fine[name] = value
        except (Unsupported, MappingError) as exc:
            missing.append(name)
            why = exc.message
    if not fine:
        raise Unsupported(f"{connection.name}: {', '.join(missing)} cannot be written there: {why}")
    return fine, missing


def _must_say_visibility(connection: Connection, table: str, values: Mapping[str, Any]) -> None:
    """Fail closed: the words for an internal message must differ from those for a public one."""
    mapping, wanted = connection.mapping, values["visibility"]
    said = mapping.write(table, {"visibility": wanted})
    try:
        other = mapping.write(table, {"visibility": "public" if wanted == "internal" else "internal"})
    except (Unsupported, MappingError):
        other = {}
    if not said or said == other:
        text = f"{connection.name}: the mapping cannot say that a message is {wanted}; nothing was sent"
        raise Unsupported(text, code="visibility_not_writable")


def _context(action: Action, target: Target | None) -> dict[str, Any]:
    given = action.model_dump(mode="json", by_alias=True)
    context: dict[str, Any] = {**given, "input": given}
    money = action.amount_of_money
    context["amount"] = {"amount": money.amount, "currency": money.currency} if money else None
    if target is not None:
        context[target.kind] = {**target.data, "remote_id": target.remote_id}
    return context


def _verb(connection: Connection, action: Action, context: Mapping[str, Any], *, run: dict[str, str]) -> Verb:
    money = context.get("amount")
    amount = Money(money["amount"], money["currency"]) if money else None
    return connection.mapping.bind(action.name, {**context, "amount": amount, "run": run})
