"""Records that the mapping could not take: kept with their bytes and the reason, until they map."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hub.ingest.rows import SEEN
from hub.store import Source, Tx
from hub.store.dialect import ANY, array

if TYPE_CHECKING:
    from hub.ingest.commit import PageWork
    from hub.mapping import Reject, TableRows

_PUT = """
INSERT INTO reject (source_id, remote_id, field, reason, revision, read_at, data) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (source_id, remote_id) DO UPDATE SET field = excluded.field, reason = excluded.reason,
    revision = excluded.revision, read_at = excluded.read_at, data = excluded.data
"""
_DROP = f"DELETE FROM reject WHERE source_id = ? AND remote_id IN {ANY}"  # noqa: S608
_STORED = f"SELECT remote_id, reason, revision, data FROM reject WHERE source_id = ? AND remote_id IN {ANY}"  # noqa: S608


def write(work: "PageWork", source: Source, table: "TableRows", named: Sequence[str] = ()) -> int:
    """
    Store the rejects of a page; drop those of records that map now, or are gone; give how many there are.

    `named` are ids that the page itself names as deleted.
    """
    tx, commit = work.tx, work.commit
    if _any(tx, source.id):
        settled = [*(row.remote_id for row in table.rows), *table.deleted, *table.untaken, *named]
        tx.execute(_DROP, (source.id, array(settled)))
    if not table.rejects:
        return 0
    by_name = {_name(work, reject): reject for reject in table.rejects}
    stored = {row[0]: row[1:] for row in tx.execute(_STORED, (source.id, array(by_name)))}
    for name, reject in by_name.items():
        data = work.raws[reject.index]
        if stored.get(name) != (reject.reason, commit.revision, data):
            tx.execute(_PUT, (source.id, name, reject.field, reject.reason, commit.revision, commit.read_ms, data))
    if commit.scan and commit.scan.sweeps:
        tx.execute(SEEN, (commit.scan.began_at, source.id, array(by_name)))
    return len(table.rejects)


def _any(tx: Tx, source_id: int) -> bool:
    return tx.execute("SELECT 1 FROM reject WHERE source_id = ? LIMIT 1", (source_id,)).fetchone() is not None


def _name(work: "PageWork", reject: "Reject") -> str:
    """Name a reject by its record; one whose key is bad by its bytes."""
    return reject.remote_id or f"#{work.raw_hashes[reject.index].hex()}"
