"""Compare the rows of a page with what is stored, and write those that changed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hub import identity
from hub.ingest import merged
from hub.ingest.promoted import Keys, Promoted, decode, email_key, full_name, phone_key
from hub.records import KINDS, birth_id
from hub.store import Source, Tx, clock
from hub.store.dialect import ANY, array

if TYPE_CHECKING:
    from hub.ingest.commit import PageWork
    from hub.mapping import Row


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
SEEN = f"UPDATE state SET seen = max(?, coalesce(seen, 0)) WHERE source_id = ? AND remote_id IN {ANY}"  # noqa: S608
"""What a scan meets. Another process's later scan may have met it already."""


def known(tx: Tx, source_id: int, remote_ids: Sequence[str]) -> dict[str, Known]:
    """Read what is stored of these records, by remote id."""
    return {row[0]: Known(*row) for row in tx.execute(_KNOWN, (source_id, array(remote_ids)))}


def write(work: "PageWork", source: Source, rows: Sequence["Row"], stored: dict[str, Known]) -> int:
    """Write the rows that are new or changed; give how many mapped forms changed."""
    commit = work.commit
    observed = clock.text(commit.page.observed_at) if commit.page.observed_at else None
    hashes = work.raw_hashes if rows else []
    table = Changed(work, source)
    for row in newest(rows):
        old = stored.get(row.remote_id)
        version = row.updated_at or observed
        if old is None:
            table.add(row, version, hashes[row.index])
        elif _stale(version, work.read_ms(row.index), old) or (old.deleted and merged.away(work, source, row, old)):
            table.met.append(row.remote_id)
        elif old.mapped_hash != row.hash or old.deleted:
            table.change(row, version, hashes[row.index], old)
        elif old.raw_hash != hashes[row.index]:
            table.keep(row, version, hashes[row.index])
        else:
            table.met.append(row.remote_id)
    table.write()
    return len(table.new_records) + len(table.records)


def promoted_columns(found: Promoted, keys: Keys) -> tuple[Any, ...]:
    """Give the values that reads filter by, in the order of the statements."""
    return (
        found.status,
        full_name(found),
        email_key(found.email),
        phone_key(found.phone),
        found.number,
        found.external_ref or None,
        keys.of(found.customer_ref),
        keys.of(found.ticket_ref or found.payment_ref or found.order_ref),
        found.url,
    )


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
    """The rows of one table that will be written, gathered for as few statements as possible."""

    def __init__(self, work: "PageWork", source: Source) -> None:
        self.work, self.source = work, source
        self.kind = KINDS[source.kind or ""]
        self.keys = Keys(work.tx, work.sources, source.connection)
        self.seen = work.commit.scan.began_at if work.commit.scan and work.commit.scan.sweeps else None
        self.new_records: list[tuple[Any, ...]] = []
        self.new_states: list[tuple[Any, ...]] = []
        self.records: list[tuple[Any, ...]] = []
        self.states: list[tuple[Any, ...]] = []
        self.domains: list[tuple[int, list[str]]] = []
        self.met: list[str] = []
        self.next_rid = work.tx.execute("SELECT coalesce(max(rid), 0) + 1 FROM record").fetchone()[0]

    def add(self, row: "Row", version: str | None, raw_hash: bytes) -> None:
        rid, source = self.next_rid, self.source
        self.next_rid += 1
        birth = birth_id(self.kind.name, source.connection, source.name, row.remote_id)
        values = self._values(rid, row, version)
        self.new_records.append((*values, rid, source.id, row.remote_id, self.kind.name, birth))
        self.new_states.append((*self._state(row, version, raw_hash), rid))

    def change(self, row: "Row", version: str | None, raw_hash: bytes, old: Known) -> None:
        self.records.append((*self._values(old.rid, row, version), old.rid))
        self.states.append(self._state(row, version, raw_hash))

    def keep(self, row: "Row", version: str | None, raw_hash: bytes) -> None:
        """Only the raw record is another one: what it maps to stays."""
        self.states.append(self._state(row, version, raw_hash))

    def write(self) -> None:
        tx = self.work.tx
        if self.kind.linked and self.records:
            former = identity.values_of(tx, self.kind.name, [row[-1] for row in self.records])
            self.work.changes.touched(self.kind.name).former.update(former)
        for sql, values in (
            (_NEW_RECORD, self.new_records),
            (_NEW_STATE, self.new_states),
            (_RECORD, self.records),
            (_STATE, self.states),
        ):
            if values:
                tx.executemany(sql, values)
        if self.seen and self.met:
            tx.execute(SEEN, (self.seen, self.source.id, array(self.met)))
        if self.domains:
            self._write_domains()
        self._note()

    def _values(self, rid: int, row: "Row", version: str | None) -> tuple[Any, ...]:
        found, read_ms = decode(row.body), self.work.read_ms(row.index)
        if self.kind.name == "account":
            self.domains.append((rid, [domain.strip().lower() for domain in found.domains or ()]))
        updated_at = version or clock.sortable(found.updated_at or found.created_at or clock.from_millis(read_ms))
        return updated_at, read_ms, *promoted_columns(found, self.keys), row.body

    def _state(self, row: "Row", version: str | None, raw_hash: bytes) -> tuple[Any, ...]:
        read_ms, place = self.work.read_ms(row.index), self.work.place(row.index)
        return row.hash, raw_hash, version, read_ms, self.seen, *place, self.source.id, row.remote_id

    def _write_domains(self) -> None:
        tx = self.work.tx
        tx.executemany("DELETE FROM match_key WHERE rid = ?", [(rid,) for rid, _ in self.domains])
        tx.executemany(
            "INSERT INTO match_key (kind, value, rid) VALUES ('account', ?, ?) ON CONFLICT DO NOTHING",
            [(value, rid) for rid, values in self.domains for value in values if value],
        )

    def _note(self) -> None:
        """Tell what changed: entities of their own at once, linked ones by record, for identity to settle."""
        changes, kind = self.work.changes, self.kind.name
        if not self.kind.linked:
            changes.add(kind, "created", [row[-1] for row in self.new_records])
            changes.add(kind, "updated", entities(self.work.tx, [row[-1] for row in self.records]))
            return
        new = {row[-5] for row in self.new_records}
        rids = new | {row[-1] for row in self.records}
        if rids:
            touched = changes.touched(kind)
            touched.rids |= rids
            touched.new |= new


def entities(tx: Tx, rids: Sequence[int]) -> list[str]:
    """Give the entity ids of records."""
    if not rids:
        return []
    return [row[0] for row in tx.execute(f"SELECT entity_id FROM record WHERE rid IN {ANY}", (array(rids),))]  # noqa: S608
