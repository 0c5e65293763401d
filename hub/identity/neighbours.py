"""Find all records that evidence joins with some: a few statements a round, until no new ones come."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hub.identity.rules import Member, is_common, proves
from hub.records import birth_id
from hub.store import Sources, Tx
from hub.store.dialect import ANY, EACH, array, few

_MANY = 64
"""More holders of one value than this are not looked at one by one."""

_COLUMNS = """r.rid, r.source_id, r.remote_id, r.entity_id, r.email, r.number, r.external_ref, r.name, r.deleted_at,
    r.updated_at, l.reason"""
_FROM = "FROM record AS r LEFT JOIN link AS l ON l.rid = r.rid"
_BY_RID = f"SELECT {_COLUMNS} {_FROM} WHERE r.rid IN {ANY}"
_BY_ENTITY = f"SELECT {_COLUMNS} {_FROM} WHERE r.entity_id IN {ANY}"
_MERGED = f"SELECT rid, value FROM match_key WHERE kind = 'merge' AND rid IN {ANY}"  # noqa: S608
_MERGED_INTO = f"SELECT rid FROM match_key WHERE kind = 'merge' AND value IN {ANY}"  # noqa: S608
_BY_REMOTE = f"""
SELECT {_COLUMNS} FROM {EACH} AS wanted
CROSS JOIN state AS s ON s.source_id = ? AND s.remote_id = wanted.value
CROSS JOIN record AS r ON r.rid = s.rid LEFT JOIN link AS l ON l.rid = r.rid
"""  # noqa: S608


def _by_value(inner: str) -> str:
    return f"""
SELECT wanted.value, {_COLUMNS} FROM {EACH} AS wanted
{few(inner, _MANY + 1)} LEFT JOIN link AS l ON l.rid = r.rid
"""  # noqa: S608


_BY_EXTERNAL_REF = _by_value("SELECT rid FROM record WHERE external_ref = wanted.value AND kind = ?")
_BY_SHARED = {
    "customer": _by_value("SELECT rid FROM record WHERE email = wanted.value AND kind = ?"),
    "order": _by_value("SELECT rid FROM record WHERE number = wanted.value AND kind = ?"),
    "account": _by_value("SELECT rid FROM match_key WHERE value = wanted.value AND kind = ?"),
}


@dataclass(slots=True)
class Stored:
    """A record as it is stored; `reason` is that of its link, None if it has none."""

    rid: int
    source_id: int
    remote_id: str
    entity_id: str
    email: str | None
    number: str | None
    external_ref: str | None
    name: str | None
    deleted_at: str | None
    updated_at: str
    reason: str | None
    birth: str = ""
    connection: str = ""
    connector: str | None = None
    shared: tuple[str, ...] = ()
    merged: str | None = None
    """The key (`source:remote_id`) of the record that its vendor merged it into."""

    def member(self, into: int | None) -> Member:
        return Member(
            self.rid, self.connection, self.remote_id, self.birth, self.external_ref, self.shared, self.name, into
        )


@dataclass
class Neighbourhood:
    """All records that must be looked at together, and the values that too many carry."""

    tx: Tx
    sources: Sources
    kind: str
    stored: dict[int, Stored] = field(default_factory=dict)
    common: set[str] = field(default_factory=set)
    asked: dict[str, set[str]] = field(default_factory=dict)
    met: set[int] = field(default_factory=set)
    claimed: set[str] = field(default_factory=set)
    survivors: dict[str, int] = field(default_factory=dict)
    merges: bool | None = None

    def involved(self) -> list[Member]:
        """Give the records that have anything to do with another; the rules need not look at the rest."""
        found = (one for one in self.stored.values() if not self._alone(one))
        return [one.member(self.survivors.get(one.merged) if one.merged else None) for one in found]

    def lonely(self) -> list[Stored]:
        """Give the records that share nothing with any other and never did."""
        return [one for one in self.stored.values() if self._alone(one)]

    def _alone(self, one: Stored) -> bool:
        return (
            one.reason is None
            and one.merged is None
            and one.external_ref is None
            and one.rid not in self.met
            and one.remote_id not in self.claimed
            and one.birth not in self.claimed
        )


def values_of(tx: Tx, kind: str, rids: Iterable[int]) -> set[str]:
    """Give the values by which records may be joined with others as they are stored now."""
    wanted = array(rids)
    rows = tx.execute(f"SELECT email, number, external_ref FROM record WHERE rid IN {ANY}", (wanted,))  # noqa: S608
    found = {value for row in rows for value in row if value}
    if kind == "account":
        sql = f"SELECT value FROM match_key WHERE kind = 'account' AND rid IN {ANY}"  # noqa: S608
        found |= {row[0] for row in tx.execute(sql, (wanted,))}
    return found


def gather(tx: Tx, sources: Sources, kind: str, rids: Iterable[int], *, former: Iterable[str] = ()) -> Neighbourhood:
    """Find everything that is joined with these records, or was by the `former` values some of them had."""
    hood = Neighbourhood(tx, sources, kind)
    frontier = _take(hood, tx.execute(_BY_RID, (array(rids),)))
    former = set(former)
    frontier += _shared(hood, former) + _claims(hood, former) + _named(hood, former)
    while frontier:
        claimed = {one.external_ref for one in frontier if one.external_ref}
        names = claimed | {one.remote_id for one in frontier} | {one.birth for one in frontier}
        linked = {one.entity_id for one in frontier if one.reason is not None}
        values = {value for one in frontier for value in one.shared if proves(kind, value)}
        found = _shared(hood, values) + _claims(hood, names) + _named(hood, claimed) + _entities(hood, linked)
        frontier = found + _survivors(hood, frontier) + _losers(hood, frontier)
    return hood


def _ask(hood: Neighbourhood, what: str, values: set[str]) -> str | None:
    """Give the values not asked for before, as one parameter."""
    asked = hood.asked.setdefault(what, set())
    fresh = values - asked
    asked |= fresh
    return array(fresh) if fresh else None


def _take(hood: Neighbourhood, rows: Iterable[Any]) -> list[Stored]:
    """Put rows into the neighbourhood; give those that are new in it."""
    made = [Stored(*row) for row in rows if row[0] not in hood.stored]
    fresh = {one.rid: one for one in made}
    hood.stored |= fresh
    _note_merged(hood, fresh)
    domains: dict[int, list[str]] = {}
    if hood.kind == "account" and fresh:
        sql = f"SELECT rid, value FROM match_key WHERE kind = 'account' AND rid IN {ANY} ORDER BY value"  # noqa: S608
        for rid, value in hood.tx.execute(sql, (array(fresh),)):
            domains.setdefault(rid, []).append(value)
    for one in fresh.values():
        source = hood.sources.by_id[one.source_id]
        one.connection, one.connector = source.connection, source.connector
        if one.reason is None:
            one.birth = one.entity_id  # what was never joined has its own entity
        else:
            one.birth = birth_id(hood.kind, source.connection, source.name, one.remote_id)
        value = one.email if hood.kind == "customer" else one.number if hood.kind == "order" else None
        one.shared = (value,) if value else tuple(domains.get(one.rid, ()))
    return list(fresh.values())


def _by(hood: Neighbourhood, what: str, sql: str, values: set[str]) -> list[Stored]:
    wanted = _ask(hood, what, values)
    if wanted is None:
        return []
    rows: dict[str, list[Any]] = {}
    for value, *row in hood.tx.execute(sql, (wanted, hood.kind)):
        rows.setdefault(value, []).append(row)
    found = []
    for value, holders in rows.items():
        if what == "external_ref":
            hood.claimed.add(value)
        elif len(holders) > 1:
            hood.met.update(row[0] for row in holders)
        if _too_many(hood, holders):
            hood.common.add(value)
            holders = [row for row in holders if row[-1] is not None]
        found += _take(hood, holders)
    return found


def _too_many(hood: Neighbourhood, rows: list[Any]) -> bool:
    if len(rows) <= 1:
        return False
    members = [Member(row[0], hood.sources.by_id[row[1]].connection, row[2], "") for row in rows]
    return len(rows) > _MANY or is_common(members)


def _shared(hood: Neighbourhood, values: set[str]) -> list[Stored]:
    return _by(hood, "shared", _BY_SHARED[hood.kind], values)


def _claims(hood: Neighbourhood, values: set[str]) -> list[Stored]:
    """Find records whose explicit id is one of these values."""
    return _by(hood, "external_ref", _BY_EXTERNAL_REF, values)


def _named(hood: Neighbourhood, values: set[str]) -> list[Stored]:
    """Find records that these explicit ids name: by the vendor's id, or by the hub's."""
    wanted = _ask(hood, "named", values)
    if wanted is None:
        return []
    found = []
    for source in hood.sources.of_kind(hood.kind):
        rows = hood.tx.execute(_BY_REMOTE, (wanted, source.id)).fetchall()
        hood.met.update(row[0] for row in rows)
        found += _take(hood, rows)
    aliases = hood.tx.execute(f"SELECT entity_id FROM alias WHERE id IN {ANY}", (wanted,))  # noqa: S608
    return found + _entities(hood, values | {row[0] for row in aliases})


def _entities(hood: Neighbourhood, ids: set[str]) -> list[Stored]:
    wanted = _ask(hood, "entity", ids)
    return [] if wanted is None else _take(hood, hood.tx.execute(_BY_ENTITY, (wanted,)))


def _note_merged(hood: Neighbourhood, fresh: dict[int, Stored]) -> None:
    """Say of records that are gone which ones their vendor merged into another."""
    gone = [rid for rid, one in fresh.items() if one.deleted_at is not None]
    if gone:
        for rid, value in hood.tx.execute(_MERGED, (array(gone),)):
            fresh[rid].merged = value


def _survivors(hood: Neighbourhood, frontier: Iterable[Stored]) -> list[Stored]:
    """Find the records that these were merged into: of the table, or of another of its stream."""
    found: list[Stored] = []
    for value in {one.merged for one in frontier if one.merged} - hood.survivors.keys():
        source_id, _, remote_id = value.partition(":")
        for source in hood.sources.siblings(int(source_id)):
            rows = hood.tx.execute(_BY_REMOTE, (array([remote_id]), source.id)).fetchall()
            for row in rows if source.kind == hood.kind else ():
                hood.survivors.setdefault(value, row[0])
                hood.met.add(row[0])
                found += _take(hood, [row])
    return found


def _losers(hood: Neighbourhood, frontier: Iterable[Stored]) -> list[Stored]:
    """Find the records that were merged into these."""
    if hood.merges is None:
        hood.merges = hood.tx.execute("SELECT 1 FROM match_key WHERE kind = 'merge' LIMIT 1").fetchone() is not None
    if not hood.merges:
        return []
    keys = [f"{source.id}:{one.remote_id}" for one in frontier for source in hood.sources.siblings(one.source_id)]
    rids = [row[0] for row in hood.tx.execute(_MERGED_INTO, (array(keys),))] if keys else []
    return _take(hood, hood.tx.execute(_BY_RID, (array(rids),))) if rids else []
