"""
Stored raw records, mapped anew: what would be different, and the change itself.

A record keeps when it was read and its place among the raw ones. What the store knows to be newer stays as it is.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hub.ingest import gone, rejects, rows, untaken
from hub.ingest.commit import HASH, Kept, PageCommit, PageWork, register, standing, tell
from hub.ingest.rows import Known
from hub.store import Source, Sources, Store, Tx, clock
from hub.store.dialect import ANY, array
from hub.store.raw import BLOCK, Blocks

if TYPE_CHECKING:
    from hub.mapping import Reject, Row, TableRows


@dataclass
class Again:
    """
    What mapping stored records anew means for one table.

    `same` counts rows that are as they were; `moved` are as they were, of another raw record. Of rejects there are
    those that were not kept before. The rows of `gone` are taken by the table no more. Of those `passed` the store
    knows something newer.
    """

    table: str
    kind: str
    new: list["Row"] = field(default_factory=list)
    changed: list[tuple["Row", Known]] = field(default_factory=list)
    moved: list[tuple["Row", Known]] = field(default_factory=list)
    gone: list[Known] = field(default_factory=list)
    rejected: list["Reject"] = field(default_factory=list)
    same: int = 0
    passed: int = 0

    @property
    def writes(self) -> bool:
        return bool(self.new or self.changed or self.moved or self.gone or self.rejected)


@dataclass(frozen=True)
class Compared:
    """All tables of a lot of records; `old` are the positions of those of which the store knows something newer."""

    tables: dict[str, Again]
    old: frozenset[int]

    @property
    def writes(self) -> bool:
        return any(table.writes for table in self.tables.values())


def compare(tx: Tx, sources: Sources, commit: PageCommit, *, likely: bool = False) -> Compared:
    """
    Say what mapping stored records anew would change; `commit.kept` says where each is from. Nothing is written.

    Unless changes are `likely`, rows that are stored just so, of the same raw record, are found first: little of each
    is read then, and nothing where nothing was committed since `commit.made`.
    """
    named = commit.mapped.tables
    known = {name: sources.by_name.get((commit.connection, name)) for name in named}
    alike = {name: set() if likely else _alike(tx, known[name], commit, table) for name, table in named.items()}
    stored = {name: _stored(tx, known[name], table, alike[name]) for name, table in named.items()}
    tables = {name: _compare(commit, table, stored[name], alike[name]) for name, table in named.items()}
    odd = any(
        tables[name].new or tables[name].passed or one.rejects or one.untaken or one.deleted
        for name, one in named.items()
    )
    old = _old(commit, stored) if odd else frozenset()
    for again in tables.values():
        again.new = [row for row in again.new if row.index not in old]
    for name, table in commit.mapped.tables.items():
        new = rejects.unknown(tx, known[name], commit, table)
        tables[name].rejected = [reject for reject in new if reject.index not in old]
    return Compared(tables, old)


def reproject(
    store: Store,
    commit: PageCommit,
    *,
    remapped: tuple[str, int] | None = None,
    replayed: Sequence[rejects.Stored] = (),
    agreed: Callable[[Compared], object] = lambda _: None,
) -> Compared:
    """
    Write what mapping stored records anew changes, in one transaction: rows, tombstones, rejects, links and events.

    `remapped` is the remap this belongs to and the last block of it, noted in the same transaction; `replayed` are the
    rejects that the records are from: those that are none any more go. `agreed` is told what is to be written; what it
    raises keeps all of it from being written.
    """
    with store.write() as tx:
        work = PageWork(tx, commit, Sources.load(tx), clock.text(clock.now()))
        sources = {name: register(work, table) for name, table in commit.mapped.tables.items()}
        work.blocks = Blocks(next(iter(sources.values())).id, work.look.block, commit.stream)
        found = compare(tx, work.sources, commit, likely=True)
        agreed(found)
        for name, table in found.tables.items():
            _write(work, sources[name], table, commit.mapped.tables[name].promoted)
        untaken.write(work, found.old)
        work.blocks.write(tx)
        rejects.forget(work, replayed, {sources[name].id: table for name, table in commit.mapped.tables.items()})
        tell(work)
        if remapped is not None:
            revision, block = remapped
            note(tx, commit.connection, commit.stream, revision=revision, block=block)
    return found


def retire(store: Store, commit: PageCommit, source: Source, dead: Sequence[Known]) -> int:
    """Turn rows that the mapping makes no more into tombstones, where nothing newer came; give how many."""
    with store.write() as tx:
        work = PageWork(tx, commit, Sources.load(tx), clock.text(clock.now()))
        now = rows.known(tx, source.id, [known.remote_id for known in dead])
        dying = [known for known in dead if now.get(known.remote_id) == known]
        _bury(work, source, dying)
        tell(work)
    return len(dying)


_NOTED = """
INSERT INTO remap (connection, stream, revision, block, noted_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (connection, stream) DO UPDATE SET revision = excluded.revision, block = excluded.block,
    noted_at = excluded.noted_at
"""


def note(tx: Tx, connection: str, stream: str, *, revision: str, block: int) -> None:
    """Note how far a remap is: to which mapping, and which block it has done."""
    tx.execute(_NOTED, (connection, stream, revision, block, clock.text(clock.now())))


def _kept(commit: PageCommit, index: int) -> Kept:
    assert commit.kept is not None
    return commit.kept[index]


_AS_MADE = f"""
SELECT remote_id, mapped_hash, block * {BLOCK} + idx FROM state
WHERE source_id = ? AND remote_id IN {ANY} AND NOT deleted
"""  # noqa: S608


def _alike(tx: Tx, source: Source | None, commit: PageCommit, table: "TableRows") -> set[int]:
    """Find the rows that are stored just so, of the same raw record; by their `id`."""
    if source is None or not table.rows:
        return set()
    found, kept = set(), commit.kept or ()
    if commit.made is not None and commit.made.stamp == tx.stamp():
        hashes = commit.made.hashes.get(source.id, {})
        for row in table.rows:
            place = kept[row.index].place
            if place is not None and (block := hashes.get(place[0])) is not None:
                at = HASH * place[1]
                if block[at : at + HASH] == row.hash:
                    found.add(id(row))
        return found
    stored = set(tx.execute(_AS_MADE, (source.id, array(row.remote_id for row in table.rows))))
    for row in table.rows:
        place = kept[row.index].place
        if place is not None and (row.remote_id, row.hash, place[0] * BLOCK + place[1]) in stored:
            found.add(id(row))
    return found


def _stored(tx: Tx, source: Source | None, table: "TableRows", alike: Collection[int]) -> dict[str, Known]:
    ids = [row.remote_id for row in table.rows if id(row) not in alike] if len(alike) < len(table.rows) else []
    ids += [*table.untaken, *table.deleted]
    return rows.known(tx, source.id, ids) if source is not None and ids else {}


def _old(commit: PageCommit, stored: Mapping[str, dict[str, Known]]) -> frozenset[int]:
    """Find the records that are no more what the store last heard: a newer one came, or the vendor says it is gone."""
    found = set()
    for name, table in commit.mapped.tables.items():
        if name in commit.elements:
            continue
        for remote_id, index in untaken.keyed(table):
            known = stored[name].get(remote_id)
            if known is not None and _newer(known, _kept(commit, index)):
                found.add(index)
    return frozenset(found)


def _newer(known: Known, kept: Kept) -> bool:
    """Tell whether a row is of something newer; a tombstone that has its raw record is the vendor's own word."""
    if known.deleted and known.block is not None:
        return known.read_at >= kept.read_at
    return (known.block, known.idx) != kept.place and known.read_at > kept.read_at


def _compare(commit: PageCommit, table: "TableRows", stored: dict[str, Known], alike: Collection[int]) -> Again:
    found = Again(table.table, table.kind)
    if len(alike) == len(table.rows) and not table.untaken and not table.deleted:
        found.same = len({row.remote_id for row in table.rows})
        return found
    there, lost = standing(table, ())
    where = commit.kept or ()
    for row in rows.newest(there):
        if id(row) in alike:
            found.same += 1
            continue
        kept, known = where[row.index], stored.get(row.remote_id)
        if known is None:
            found.new.append(row)
            continue
        here, equal = (known.block, known.idx) == kept.place, known.mapped_hash == row.hash and not known.deleted
        if here and equal:
            found.same += 1
        elif not _newer(known, kept):
            if not equal:
                found.changed.append((row, known))
            elif known.read_at < kept.read_at:
                found.moved.append((row, known))
        else:
            found.passed += 1
    at = dict(zip((*table.untaken, *table.deleted), (*table.untaken_index, *table.deleted_at), strict=True))
    for remote_id in lost:
        known = stored.get(remote_id)
        if known is not None and not known.deleted and known.read_at <= _kept(commit, at[remote_id]).read_at:
            found.gone.append(known)
    return found


def _write(work: PageWork, source: Source, table: Again, promoted: Sequence[str]) -> None:
    changed = rows.Changed(work, source, promoted)
    changed.insert(table.new)
    stored = [known for _, known in table.changed]
    changed.update([row for row, _ in table.changed], stored, _versions(table.changed))
    changed.keep([row for row, _ in table.moved], _versions(table.moved))
    changed.note()
    _bury(work, source, table.gone)
    rejects.put(work, source, table.rejected)


def _versions(pairs: Sequence[tuple["Row", Known]]) -> list[str | None]:
    return [row.updated_at or known.version for row, known in pairs]


def _bury(work: PageWork, source: Source, dead: Sequence[Known]) -> None:
    if dead:
        sql = "UPDATE state SET deleted = TRUE WHERE source_id = ? AND remote_id = ?"
        work.tx.executemany(sql, [(source.id, known.remote_id) for known in dead])
        gone.tombs(work, source, dead, at=work.at, left={known.remote_id for known in dead})
