"""Compare the rows of a page with what is stored, and write those that changed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any

import msgspec

from hub import identity
from hub.ingest import merged
from hub.ingest.promoted import Keys, Values
from hub.records import KINDS, birth_ids
from hub.store import Source, Tx
from hub.store.columns import Column, Columns
from hub.store.dialect import ANY, array

if TYPE_CHECKING:
    from hub.ingest.commit import PageWork
    from hub.mapping import Row


class Known(msgspec.Struct, frozen=True, gc=False):
    """What the store has of a record."""

    remote_id: str
    rid: int
    mapped_hash: bytes
    raw_hash: bytes
    version: str | None
    read_at: int
    deleted: int
    block: int | None = None
    idx: int | None = None


_KNOWN = f"""
SELECT remote_id, rid, mapped_hash, raw_hash, version, read_at, deleted, block, idx FROM state
WHERE source_id = ? AND remote_id IN {ANY}
"""  # noqa: S608
_ALIKE = f"""
SELECT remote_id, mapped_hash, raw_hash, deleted FROM state WHERE source_id = ? AND remote_id IN {ANY}
"""  # noqa: S608
_NEW_RECORD = """
INSERT INTO record (updated_at, read_at, status, name, email, phone, number, external_ref, customer, parent, url,
    body, rid, source_id, remote_id, kind, entity_id, head)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, TRUE)
"""
_NEW_STATE = """
INSERT INTO state (mapped_hash, raw_hash, version, read_at, seen, block, idx, source_id, remote_id, rid, deleted)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, FALSE)
"""
_RECORD = """
UPDATE record SET updated_at = ?, read_at = ?, status = ?, name = ?, email = ?, phone = ?, number = ?, external_ref = ?,
    customer = ?, parent = ?, url = ?, body = ?, deleted_at = NULL WHERE rid = ?
"""
_FILTERED = f"""
SELECT rid, entity_id, deleted_at, updated_at, status, name, email, phone, number, external_ref, customer, parent, url
FROM record WHERE rid IN {ANY}
"""  # noqa: S608
_BODY = "UPDATE record SET read_at = ?, body = ? WHERE rid = ?"
"""For records whose values that reads filter by stay: SQLite writes every index that an update names anew."""
_STATE = """
UPDATE state SET mapped_hash = ?, raw_hash = ?, version = ?, read_at = ?,
    seen = coalesce(max(?, coalesce(seen, 0)), seen), block = ?, idx = ?, deleted = FALSE
WHERE source_id = ? AND remote_id = ?
"""
_MAPPED_ANEW = "UPDATE state SET mapped_hash = ?, version = ? WHERE source_id = ? AND remote_id = ?"
"""For records of which only the mapping is another."""
Versions = Sequence[str | None]
SEEN = f"UPDATE state SET seen = max(?, coalesce(seen, 0)) WHERE source_id = ? AND remote_id IN {ANY}"  # noqa: S608
"""What a scan meets. Another process's later scan may have met it already."""

_FETCHED = f"UPDATE state SET read_at = ? WHERE source_id = ? AND remote_id IN {ANY} AND read_at < ?"  # noqa: S608
"""For records fetched by id that are as they were: a scan or an older answer that comes later must know of it."""


def known(tx: Tx, source_id: int, remote_ids: Sequence[str]) -> dict[str, Known]:
    """Read what is stored of these records, by remote id."""
    if not remote_ids:
        return {}
    return {row[0]: Known(*row) for row in tx.execute(_KNOWN, (source_id, array(remote_ids)))}


@dataclass
class Sifted:
    """
    The rows of a page by what is stored of their records: nothing, something else, or just the same.

    `met` are the ids of those that are the same.
    """

    new: list["Row"] = field(default_factory=list)
    other: list["Row"] = field(default_factory=list)
    met: list[str] = field(default_factory=list)


def sift(work: "PageWork", source: Source, rows: Sequence["Row"]) -> Sifted:
    """Tell rows that are stored just so from the others; most pages have no others, so that little of each is read."""
    if not rows:
        return Sifted()
    ids = [row.remote_id for row in rows]
    stored = set(work.tx.execute(_ALIKE, (source.id, array(ids))))
    if not stored:
        return Sifted(new=list(rows))
    hashes = work.raw_hashes
    others = [row for row in rows if (row.remote_id, row.hash, hashes[row.index], False) not in stored]
    if not others:
        return Sifted(met=ids)
    there, odd = {one[0] for one in stored}, {row.remote_id for row in others}
    return Sifted(
        new=[row for row in others if row.remote_id not in there],
        other=[row for row in others if row.remote_id in there],
        met=[id for id in ids if id not in odd],
    )


def write(work: "PageWork", source: Source, promoted: Sequence[str], sifted: Sifted, stored: dict[str, Known]) -> int:
    """Write those rows that are new or changed; `stored` is known of the others. Give how many mapped forms changed."""
    if sifted.met and not work.commit.advance:
        at = work.commit.read_ms
        work.tx.execute(_FETCHED, (at, source.id, array(sifted.met), at))
    sorted_ = _sorted(work, source, sifted, stored)
    changed = Changed(work, source, promoted)
    changed.insert(sorted_.new)
    changed.update(sorted_.changed, [stored[row.remote_id] for row in sorted_.changed])
    changed.keep(sorted_.kept)
    if changed.seen and sorted_.met:
        work.tx.execute(SEEN, (changed.seen, source.id, array(sorted_.met)))
    changed.note()
    return len(sorted_.new) + len(sorted_.changed)


@dataclass
class _Sorted:
    """The rows of a page by what is to be done with them; `kept` are those of which only the raw record is another."""

    new: list["Row"]
    met: list[str]
    changed: list["Row"] = field(default_factory=list)
    kept: list["Row"] = field(default_factory=list)


def _sorted(work: "PageWork", source: Source, sifted: Sifted, stored: dict[str, Known]) -> _Sorted:
    """Say of the rows that are not as they are stored which of both is newer."""
    found = _Sorted(sifted.new, sifted.met)
    for row in sifted.other:
        old = stored[row.remote_id]
        if _stale(row.updated_at or work.observed, work.read_ms(row.index), old) or (
            old.deleted and merged.away(work, source, row, old)
        ):
            found.met.append(row.remote_id)
        elif old.mapped_hash != row.hash or old.deleted:
            found.changed.append(row)
        else:
            found.kept.append(row)
    return found


def newest(rows: Sequence["Row"]) -> Sequence["Row"]:
    """Of several rows with one id keep the newest version, the later one where versions do not tell."""
    by_id: dict[str, Row] = {}
    for row in rows:
        other = by_id.get(row.remote_id)
        if other is None or (row.updated_at or "") >= (other.updated_at or ""):
            by_id[row.remote_id] = row
    return rows if len(by_id) == len(rows) else list(by_id.values())


def _stale(version: str | None, read_at: int, old: Known) -> bool:
    """Tell whether what is stored is newer: by the vendor's version, else by when it was read."""
    if version and old.version and version != old.version and not old.deleted:
        return version < old.version
    return read_at < old.read_at


class Changed:
    """Writes the rows of one table that are new or changed, each sort of them in as few statements as possible."""

    def __init__(self, work: "PageWork", source: Source, promoted: Sequence[str]) -> None:
        self.work, self.source, self.promoted = work, source, promoted
        self.kind = KINDS[source.kind or ""]
        self.keys = Keys(work.tx, work.sources, source.connection)
        self.seen = work.commit.scan.began_at if work.commit.scan and work.commit.scan.sweeps else None
        self.born: list[str] = []
        self.new: list[int] = []
        self.updated: list[int] = []
        self.entities: list[str] = []

    def insert(self, rows: Sequence["Row"]) -> None:
        """Write rows of which nothing is stored."""
        if not rows:
            return
        tx, source, kind = self.work.tx, self.source, self.kind.name
        (first,) = tx.execute("SELECT coalesce(max(rid), 0) + 1 FROM record").fetchone()
        self.new = list(range(first, first + len(rows)))
        ids = [row.remote_id for row in rows]
        self.born = birth_ids(kind, source.connection, source.name, ids)
        versions = self._versions(rows)
        named = self.new, repeat(source.id), ids, repeat(kind), self.born
        records = Columns([*self._values(rows, self.new, versions), *named])
        if not tx.inserts_beside:  # what is waited for goes last, what goes on beside first
            states = self._states(rows, versions)
            self.work.blocks.pack(beside=True)
        tx.executemany(_NEW_RECORD, records)
        if tx.inserts_beside:
            states = self._states(rows, versions)
        tx.executemany(_NEW_STATE, Columns([*states, self.new]))
        self.work.blocks.pack()

    def update(self, rows: Sequence["Row"], stored: Sequence[Known], versions: Versions | None = None) -> None:
        """Write rows that map to something else than is `stored` of them."""
        if not rows:
            return
        tx, kind = self.work.tx, self.kind
        self.updated = [known.rid for known in stored]
        versions = versions or self._versions(rows)
        if kind.linked:
            self.work.changes.touched(kind.name).former |= identity.values_of(tx, kind.name, self.updated)
        self._write_records(list(zip(*self._values(rows, self.updated, versions), self.updated, strict=False)))
        if self.work.commit.kept is not None and all(map(self._made_again, rows, stored)):
            named = repeat(self.source.id), [row.remote_id for row in rows]
            tx.executemany(_MAPPED_ANEW, Columns([[row.hash for row in rows], versions, *named]))
        else:
            tx.executemany(_STATE, Columns(self._states(rows, versions)))

    def _made_again(self, row: "Row", known: Known) -> bool:
        """Tell whether a row is of the raw record that the stored one is of, which nothing was cut out of since."""
        kept = self.work.commit.kept
        assert kept is not None
        here = kept[row.index]
        same = here.place == (known.block, known.idx) and here.read_at == known.read_at and not known.deleted
        return same and self.work.raw_hashes[row.index] == known.raw_hash

    def keep(self, rows: Sequence["Row"], versions: Versions | None = None) -> None:
        """Write rows of which only the raw records are others: what they map to stays."""
        if rows:
            self.work.tx.executemany(_STATE, Columns(self._states(rows, versions or self._versions(rows))))

    def _write_records(self, lines: list[tuple[Any, ...]]) -> None:
        tx = self.work.tx
        found = tx.execute(_FILTERED, (array(self.updated),)).fetchall()
        stored = {row[0]: row[2:] for row in found}
        self.entities = [row[1] for row in found]
        bodies, whole = [], []
        for line in lines:
            at, read_at, *filtered, body, rid = line
            if stored.get(rid) == (None, at, *filtered):
                bodies.append((read_at, body, rid))
            else:
                whole.append(line)
        tx.executemany(_BODY, bodies)
        tx.executemany(_RECORD, whole)

    def _values(self, rows: Sequence["Row"], rids: list[int], versions: Versions) -> tuple[Column, ...]:
        values, read_at = Values(self.promoted, rows), self.work.read_times(rows)
        if self.kind.name == "account":
            self._write_domains(rids, values.of("domains") or repeat(None))
        bodies = [row.body for row in rows]
        return values.times(versions, read_at), read_at, *values.columns(self.keys), bodies

    def _states(self, rows: Sequence["Row"], versions: Versions) -> tuple[Column, ...]:
        work, hashes = self.work, self.work.raw_hashes
        blocks, places = work.places([row.index for row in rows])
        raw_hashes = [hashes[row.index] for row in rows]
        mapped = [row.hash for row in rows]
        ids = [row.remote_id for row in rows]
        seen, source = repeat(self.seen), repeat(self.source.id)
        return mapped, raw_hashes, versions, work.read_times(rows), seen, blocks, places, source, ids

    def _versions(self, rows: Sequence["Row"]) -> Versions:
        observed = self.work.observed
        return [row.updated_at or observed for row in rows]

    def _write_domains(self, rids: list[int], domains: Column) -> None:
        tx = self.work.tx
        told = {rid: [one.strip().lower() for one in values or ()] for rid, values in zip(rids, domains, strict=False)}
        tx.executemany("DELETE FROM match_key WHERE rid = ?", [(rid,) for rid in told])
        tx.executemany(
            "INSERT INTO match_key (kind, value, rid) VALUES ('account', ?, ?) ON CONFLICT DO NOTHING",
            [(value, rid) for rid, values in told.items() for value in values if value],
        )

    def note(self) -> None:
        """Tell what changed: entities of their own at once, linked ones by record, for identity to settle."""
        changes, kind = self.work.changes, self.kind.name
        if not self.kind.linked:
            changes.add(kind, "created", self.born)
            changes.add(kind, "updated", self.entities)
        elif self.new or self.updated:
            touched = changes.touched(kind)
            touched.rids.update(self.new, self.updated)
            touched.new.update(self.new)


def entities(tx: Tx, rids: Sequence[int]) -> list[str]:
    """Give the entity ids of records."""
    if not rids:
        return []
    return [row[0] for row in tx.execute(f"SELECT entity_id FROM record WHERE rid IN {ANY}", (array(rids),))]  # noqa: S608
