"""Records that the mapping could not take: kept with their bytes and the reason, until they map."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import xxhash

from hub.ingest.rows import SEEN
from hub.store import Source, Tx
from hub.store.dialect import ANY, array

if TYPE_CHECKING:
    from hub.ingest.commit import PageCommit, PageWork
    from hub.mapping import Reject, TableRows


class Stored(NamedTuple):
    """A reject that is kept."""

    id: int
    source_id: int
    name: str
    read_at: int
    data: bytes


_PUT = """
INSERT INTO reject (source_id, remote_id, field, reason, revision, read_at, data) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (source_id, remote_id) DO UPDATE SET field = excluded.field, reason = excluded.reason,
    revision = excluded.revision, read_at = excluded.read_at, data = excluded.data
"""
_DROP = f"DELETE FROM reject WHERE source_id = ? AND remote_id IN {ANY}"  # noqa: S608
_STORED = f"SELECT remote_id, reason, revision, data, read_at FROM reject WHERE source_id = ? AND remote_id IN {ANY}"  # noqa: S608


def settle(work: "PageWork", source: Source, table: "TableRows", named: Sequence[str] = ()) -> None:
    """
    Drop the rejects of records that map now, or are gone.

    `named` are ids that the page itself names as deleted.
    """
    if work.look.rejects and _any(work.tx, source.id):
        settled = [*(row.remote_id for row in table.rows), *table.deleted, *table.untaken, *named]
        work.tx.execute(_DROP, (source.id, array(settled)))


def write(work: "PageWork", source: Source, table: "TableRows") -> int:
    """Store the rejects of a page that are not older than what is kept; give how many there are."""
    put(work, source, table.rejects)
    scan = work.commit.scan
    if table.rejects and scan and scan.sweeps:
        names = [name(reject, work.raws) for reject in table.rejects]
        work.tx.execute(SEEN, (scan.began_at, source.id, array(names)))
    return len(table.rejects)


def put(work: "PageWork", source: Source, found: Sequence["Reject"]) -> None:
    """Store rejects, but those of which a newer one is kept."""
    if not found:
        return
    tx, commit = work.tx, work.commit
    by_name = {name(reject, work.raws): reject for reject in found}
    stored = {row[0]: row[1:] for row in tx.execute(_STORED, (source.id, array(by_name)))}
    for known_as, reject in by_name.items():
        data, read_ms, old = work.raws[reject.index], work.read_ms(reject.index), stored.get(known_as)
        if old is not None and (old[:3] == (reject.reason, commit.revision, data) or old[3] > read_ms):
            continue
        tx.execute(_PUT, (source.id, known_as, reject.field, reject.reason, commit.revision, read_ms, data))


def unknown(tx: Tx, source: Source | None, commit: "PageCommit", table: "TableRows") -> list["Reject"]:
    """Give the rejects of stored records that are not kept yet, or for another reason."""
    if source is None or not table.rejects:
        return table.rejects
    raws = commit.mapped.raws()
    by_name = {name(reject, raws): reject for reject in table.rejects}
    stored = {row[0]: row[1] for row in tx.execute(_STORED, (source.id, array(by_name)))}
    return [reject for known_as, reject in by_name.items() if stored.get(known_as) != reject.reason]


def forget(work: "PageWork", replayed: Sequence[Stored], tables: Mapping[int, "TableRows"]) -> None:
    """Drop those of the stored rejects, whose records were mapped again, that are none any more."""
    if replayed:
        still = {(id, name(bad, work.raws)) for id, table in tables.items() for bad in table.rejects}
        settled = [one.id for one in replayed if (one.source_id, one.name) not in still]
        work.tx.execute(f"DELETE FROM reject WHERE id IN {ANY}", (array(settled),))  # noqa: S608


def _any(tx: Tx, source_id: int) -> bool:
    return tx.execute("SELECT 1 FROM reject WHERE source_id = ? LIMIT 1", (source_id,)).fetchone() is not None


def name(reject: "Reject", raws: Sequence[bytes]) -> str:
    """Name a reject by its record; one whose key is bad by its bytes."""
    return reject.remote_id or f"#{xxhash.xxh3_128_hexdigest(raws[reject.index])}"
