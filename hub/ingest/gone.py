"""Records that are there no more: named by the vendor, or not met by a full scan that proved complete."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from hub.ingest.rows import Known, entities
from hub.records import KINDS
from hub.store import Source
from hub.store.cursors import Scan

if TYPE_CHECKING:
    from hub.ingest.commit import PageWork

_FUSE_ROWS = 10
_AT_ONCE = 1000
_UNMET = "source_id = ? AND NOT deleted AND coalesce(seen, 0) < ? AND read_at < ?"
_COUNT = f"SELECT count(*) FROM state WHERE {_UNMET}"  # noqa: S608
_SOME = f"""
SELECT remote_id, rid, mapped_hash, raw_hash, version, read_at, deleted FROM state
WHERE {_UNMET} AND remote_id > ? ORDER BY remote_id LIMIT ?
"""  # noqa: S608
_LIVE = "SELECT count(*) FROM state WHERE source_id = ? AND NOT deleted"


def bury(work: "PageWork", source: Source, stored: Sequence[Known], left: Collection[str] = ()) -> set[str]:
    """
    Turn records into tombstones, unless they were read later than this page; give the remote ids.

    Those `left` are there at the vendor's but the mapping does not take them: another one may, from what `untaken` or
    another table keeps. Their tombstones have no raw record, which is what tells them from those of the vendor.
    """
    commit = work.commit
    dead = [old for old in stored if not old.deleted and old.read_at <= commit.read_ms]
    if not dead:
        return set()
    work.tx.executemany(
        "UPDATE state SET deleted = TRUE, read_at = ? WHERE source_id = ? AND remote_id = ?",
        [(commit.read_ms, source.id, old.remote_id) for old in dead],
    )
    tombs(work, source, dead, at=commit.read_text, left=left)
    return {old.remote_id for old in dead}


def tombs(work: "PageWork", source: Source, dead: Sequence[Known], *, at: str, left: Collection[str]) -> None:
    """Mark the records of tombstones, and say so; see `bury`."""
    lost = [(source.id, old.remote_id) for old in dead if old.remote_id in left]
    if lost:
        work.tx.executemany("UPDATE state SET block = NULL, idx = NULL WHERE source_id = ? AND remote_id = ?", lost)
    work.tx.executemany("UPDATE record SET deleted_at = ? WHERE rid = ?", [(at, old.rid) for old in dead])
    _note(work, source.kind or "", [old.rid for old in dead])


def sweep(work: "PageWork", source: Source, scan: Scan) -> tuple[int, str | None]:
    """
    Bury what a complete scan has not met.

    Give how many, or why none: more than 10 rows and more than the fuse allows at once is left to a person. The rows
    come a thousand at a time, so that a large table's do not pile up.
    """
    unmet = (source.id, scan.began_at, scan.began_at)
    (gone,) = work.tx.execute(_COUNT, unmet).fetchone()
    (count,) = work.tx.execute(_LIVE, (source.id,)).fetchone()
    if gone > _FUSE_ROWS and gone > work.commit.fuse * count:
        return 0, (
            f"{source.connection} {source.name}: a full scan did not meet {gone} of {count} records, more than "
            f"{work.commit.fuse:.0%} at once; nothing was deleted, see that the source is whole, or raise sync.fuse"
        )
    buried, last = 0, ""
    while gone and (rows := work.tx.execute(_SOME, (*unmet, last, _AT_ONCE)).fetchall()):
        buried, last = buried + len(bury(work, source, [Known(*row) for row in rows])), rows[-1][0]
    return buried, None


def _note(work: "PageWork", kind: str, rids: list[int]) -> None:
    if KINDS[kind].linked:
        work.changes.touched(kind).rids.update(rids)
    else:
        work.changes.add(kind, "deleted", entities(work.tx, rids))
