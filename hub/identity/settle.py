"""Apply the rules to records that changed: links, aliases, heads and merged bodies follow, in the same transaction."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hub.identity import golden
from hub.identity.neighbours import Stored, gather
from hub.identity.rules import Group, partition
from hub.store import Sources, Tx, clock
from hub.store.dialect import ANY, array

AUTHOR = "rule"
_AT_ONCE = 4000
_HEAD = "UPDATE record SET entity_id = ?, head = ?, golden = ?, status = ?, updated_at = ? WHERE rid = ?"
_LINK = """
INSERT INTO link (rid, entity_id, reason, author, at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (rid) DO UPDATE SET entity_id = excluded.entity_id, reason = excluded.reason, author = excluded.author,
    at = excluded.at
"""
_ALIAS = """
INSERT INTO alias (id, entity_id, at) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET entity_id = excluded.entity_id, at = excluded.at
"""


@dataclass
class Plan:
    """What settling will write."""

    at: str
    heads: list[tuple[Any, ...]] = field(default_factory=list)
    links: list[tuple[Any, ...]] = field(default_factory=list)
    unlinked: list[int] = field(default_factory=list)
    aliases: list[tuple[str, str, str]] = field(default_factory=list)
    revived: list[str] = field(default_factory=list)
    changes: dict[str, list[Any]] = field(default_factory=dict)

    def note(self, change: str, what: Any) -> None:
        self.changes.setdefault(change, []).append(what)

    def write(self, tx: Tx) -> None:
        for sql, values in ((_HEAD, self.heads), (_LINK, self.links), (_ALIAS, self.aliases)):
            if values:
                tx.executemany(sql, values)
        if self.unlinked:
            tx.execute(f"DELETE FROM link WHERE rid IN {ANY}", (array(self.unlinked),))  # noqa: S608
        if self.revived:
            tx.execute(f"DELETE FROM alias WHERE id IN {ANY}", (array(self.revived),))  # noqa: S608


@dataclass
class Touched:
    """Records of a kind that were written, those among them that are new, and values that some had before."""

    rids: set[int] = field(default_factory=set)
    new: set[int] = field(default_factory=set)
    former: set[str] = field(default_factory=set)

    def parts(self) -> "Iterator[Touched]":
        """Give these records some thousand at a time, for a scan may bury a great many; an entity may be met twice."""
        if len(self.rids) <= _AT_ONCE:
            yield self
            return
        rids, former = sorted(self.rids), self.former
        for at in range(0, len(rids), _AT_ONCE):
            yield Touched(set(rids[at : at + _AT_ONCE]), self.new, former)
            former = set()


def settle(tx: Tx, sources: Sources, kind: str, touched: Touched) -> dict[str, list[Any]]:
    """
    Decide anew about these records and all that evidence joins them with; write what follows.

    Give the changes of entities, ready to be an event: created, updated, deleted (ids), merged ([from, into]), split
    ([from, new]). Where the rules say what is already written, nothing is.
    """
    found = gather(tx, sources, kind, touched.rids, former=touched.former)
    groups = partition(found.involved(), kind, common=frozenset(found.common))
    case = _Case(kind, touched)
    for group in groups:
        case.groups[group.id] = [found.stored[member.rid] for member in group.members]
    case.left = {one.entity_id for id_, records in case.groups.items() for one in records if one.entity_id != id_}
    changed = [group for group in groups if _changed(case, group)]
    bodies = _bodies(tx, [one for group in changed for one in _needing_bodies(case, group)])
    plan = Plan(clock.text(clock.now()))
    for one in found.lonely():
        if one.rid in touched.rids:
            plan.note(_change(one.rid not in touched.new, alive=one.deleted_at is None), one.entity_id)
    for group in changed:
        _tell(plan, case, group)
        _write_group(plan, case, group, bodies)
    for group in groups:
        _write_reasons(plan, case, group)
    plan.write(tx)
    return plan.changes


@dataclass
class _Case:
    """What is decided about: the records by entity, and what was before. `left` are entities that lose a record."""

    kind: str
    touched: Touched
    groups: dict[str, list[Stored]] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)


def _alone(records: list[Stored]) -> bool:
    """Tell whether an entity is one record and always was: nothing is kept about it but the record."""
    return len(records) == 1 and records[0].reason is None


def _changed(case: _Case, group: Group) -> bool:
    records = case.groups[group.id]
    return (
        group.id in case.left
        or any(one.rid in case.touched.rids or one.entity_id != group.id for one in records)
        or (len(records) > 1 and any(one.reason is None for one in records))
    )


def _needing_bodies(case: _Case, group: Group) -> list[Stored]:
    records = case.groups[group.id]
    return [] if _alone(records) else records


def _bodies(tx: Tx, records: list[Stored]) -> dict[int, dict[str, Any]]:
    if not records:
        return {}
    sql = f"SELECT rid, body FROM record WHERE rid IN {ANY}"  # noqa: S608
    return {rid: golden.read(body) for rid, body in tx.execute(sql, (array(one.rid for one in records),))}


def _change(known: bool, *, alive: bool) -> str:
    return "deleted" if not alive else "updated" if known else "created"


def _tell(plan: Plan, case: _Case, group: Group) -> None:
    records = case.groups[group.id]
    before = {one.entity_id for one in records if one.rid not in case.touched.new}
    alive = any(one.deleted_at is None for one in records)
    plan.note(_change(bool(before), alive=alive), group.id)
    for former in sorted(before - {group.id}):
        plan.note("split" if former in case.groups else "merged", [former, group.id])


def _write_group(plan: Plan, case: _Case, group: Group, bodies: dict[int, dict[str, Any]]) -> None:
    records = case.groups[group.id]
    if _alone(records) and records[0].entity_id == group.id:
        return
    live = [one for one in records if one.deleted_at is None]
    head = (live or records)[0]
    versions = [_version(one, bodies[one.rid]) for one in live]
    merged = golden.merge(case.kind, versions) if len(versions) > 1 else None
    for one in records:
        body = bodies[one.rid]
        times = [version.updated_at for version in versions] if one is head and merged else []
        updated_at = max([*times, _updated_at(body)]) or one.updated_at
        status = (merged if one is head and merged else body).get("status")
        written = golden.write(merged) if one is head and merged else None
        plan.heads.append((group.id, one is head, written, status, updated_at, one.rid))
    _write_aliases(plan, group, records)


def _write_aliases(plan: Plan, group: Group, records: list[Stored]) -> None:
    plan.aliases += [(one.birth, group.id, plan.at) for one in records if one.birth != group.id]
    plan.revived.append(group.id)
    if len(records) == 1:
        plan.unlinked.append(records[0].rid)


def _write_reasons(plan: Plan, case: _Case, group: Group) -> None:
    """Link the records of an entity, each with why it is there: that may change although the entity does not."""
    records = case.groups[group.id]
    for one in records if len(records) > 1 else ():
        reason = group.reasons[one.rid]
        if one.entity_id != group.id or one.reason != reason:
            plan.links.append((one.rid, group.id, reason, f"{AUTHOR}:{reason}", plan.at))


def _updated_at(body: dict[str, Any]) -> str:
    value = body.get("updated_at") or body.get("created_at")
    return clock.sortable(value) if value else ""


def _version(one: Stored, body: dict[str, Any]) -> golden.Version:
    return golden.Version(one.birth, one.connection, one.connector, one.remote_id, _updated_at(body), body)
