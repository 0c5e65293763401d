"""Compare the rows of a page with what is stored, and write those that changed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

from hub import identity
from hub.ingest import merged
from hub.ingest.promoted import Column, Keys, Values
from hub.records import KINDS, birth_ids
from hub.store import Source, Tx
from hub.store.dialect import ANY, array

if TYPE_CHECKING:
    from hub.ingest.commit import PageWork
    from hub.mapping import Row, TableRows


class Known(NamedTuple):
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
_STATE = """
UPDATE state SET mapped_hash = ?, raw_hash = ?, version = ?, read_at = ?,
    seen = coalesce(max(?, coalesce(seen, 0)), seen), block = ?, idx = ?, deleted = FALSE
WHERE source_id = ? AND remote_id = ?
"""
Versions = Sequence[str | None]
SEEN = f"UPDATE state SET seen = max(?, coalesce(seen, 0)) WHERE source_id = ? AND remote_id IN {ANY}"  # noqa: S608
"""What a scan meets. Another process's later scan may have met it already."""


def known(tx: Tx, source_id: int, remote_ids: Sequence[str]) -> dict[str, Known]:
    """Read what is stored of these records, by remote id."""
    return {row[0]: row for row in map(Known._make, tx.execute(_KNOWN, (source_id, array(remote_ids))))}


def write(work: "PageWork", source: Source, table: "TableRows", rows: Sequence["Row"], stored: dict[str, Known]) -> int:
    """Write those of the table's `rows` that are new or changed; give how many mapped forms changed."""
    sorted_ = _sorted(work, source, newest(rows), stored)
    changed = Changed(work, source, table.promoted)
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

    new: list["Row"] = field(default_factory=list)
    changed: list["Row"] = field(default_factory=list)
    kept: list["Row"] = field(default_factory=list)
    met: list[str] = field(default_factory=list)


def _sorted(work: "PageWork", source: Source, rows: Sequence["Row"], stored: dict[str, Known]) -> _Sorted:
    """Compare rows with what is stored."""
    if not rows or not stored:
        return _Sorted(new=list(rows))
    found, hashes, observed = _Sorted(), work.raw_hashes, work.observed
    for row in rows:
        old = stored.get(row.remote_id)
        if old is None:
            found.new.append(row)
        elif (
            _same(row, hashes, old)
            or _stale(row.updated_at or observed, work.read_ms(row.index), old)
            or (old.deleted and merged.away(work, source, row, old))
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


def _same(row: "Row", hashes: list[bytes], old: Known) -> bool:
    return old.mapped_hash == row.hash and old.raw_hash == hashes[row.index] and not old.deleted


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
        tx.executemany(_NEW_RECORD, list(zip(*self._values(rows, self.new, versions), *named, strict=False)))
        tx.executemany(_NEW_STATE, list(zip(*self._states(rows, versions), self.new, strict=False)))
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
        tx.executemany(_RECORD, list(zip(*self._values(rows, self.updated, versions), self.updated, strict=False)))
        tx.executemany(_STATE, list(zip(*self._states(rows, versions), strict=False)))

    def keep(self, rows: Sequence["Row"], versions: Versions | None = None) -> None:
        """Write rows of which only the raw records are others: what they map to stays."""
        if rows:
            states = self._states(rows, versions or self._versions(rows))
            self.work.tx.executemany(_STATE, list(zip(*states, strict=False)))

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
            changes.add(kind, "updated", entities(self.work.tx, self.updated))
        elif self.new or self.updated:
            touched = changes.touched(kind)
            touched.rids.update(self.new, self.updated)
            touched.new.update(self.new)


def entities(tx: Tx, rids: Sequence[int]) -> list[str]:
    """Give the entity ids of records."""
    if not rids:
        return []
    return [row[0] for row in tx.execute(f"SELECT entity_id FROM record WHERE rid IN {ANY}", (array(rids),))]  # noqa: S608
