"""
Records that their vendor joined into another: they are gone, and the other one answers for them.

Which one is a row of `match_key` (kind "merge", the survivor's key as `source:remote_id`) that identity reads for
linked kinds; an id of another kind becomes an alias at once.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hub.records import KINDS, birth_id
from hub.store import Source, Store, Tx
from hub.store.dialect import ANY, array

if TYPE_CHECKING:
    from hub.ingest.commit import PageWork
    from hub.ingest.rows import Known
    from hub.mapping import MappedPage, Row

_ARCHIVED = b'"status":"archived"'
_STOOD = f"""
SELECT s.remote_id, r.email FROM state AS s CROSS JOIN record AS r ON r.rid = s.rid
WHERE s.source_id = ? AND s.remote_id IN {ANY} AND r.email IS NOT NULL AND r.deleted_at IS NULL
"""  # noqa: S608
_NOTE = "INSERT INTO match_key (kind, value, rid) VALUES ('merge', ?, ?) ON CONFLICT DO NOTHING"
_FORGET = "DELETE FROM match_key WHERE kind = 'merge' AND rid = ?"
_NOTED = "SELECT value FROM match_key WHERE kind = 'merge' AND rid = ?"
_THERE = "SELECT 1 FROM state WHERE source_id = ? AND remote_id = ?"
_ALIAS = """
INSERT INTO alias (id, entity_id, at) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET entity_id = excluded.entity_id, at = excluded.at
"""


def archived(store: Store, connection: str, mapped: "MappedPage") -> dict[str, str]:
    """Name the customers that a page shows archived and that stood until now, with the e-mail address each had."""
    shown = {
        name: [row.remote_id for row in table.rows if _ARCHIVED in row.body]
        for name, table in mapped.tables.items()
        if table.kind == "customer"
    }
    found: dict[str, str] = {}
    for name, ids in shown.items():
        if ids:
            with store.read() as tx:
                source = store.sources(tx).by_name.get((connection, name))
                found |= dict(tx.execute(_STOOD, (source.id, array(ids))).fetchall()) if source else {}
    return found


def write(work: "PageWork", source: Source, known: Mapping[str, "Known"]) -> None:
    """Note which of a table's records the page names as merged, and into which; what was noted before is no news."""
    for loser, survivor in work.commit.page.merged.items():
        old = known.get(loser)
        if old is None or loser == survivor or (not old.deleted and old.read_at > work.commit.read_ms):
            continue
        value = f"{source.id}:{survivor}"
        if [row[0] for row in work.tx.execute(_NOTED, (old.rid,))] == [value]:
            continue
        work.tx.execute(_FORGET, (old.rid,))
        work.tx.execute(_NOTE, (value, old.rid))
        if KINDS[source.kind or ""].linked:
            work.changes.touched(source.kind or "").rids.add(old.rid)
        else:
            _answer(work, source, loser, survivor)


def away(work: "PageWork", source: Source, row: "Row", old: "Known") -> bool:
    """
    Say whether a record that comes again is still merged into another.

    A customer that only shows that it is archived is; whatever comes back otherwise stands for itself again.
    """
    tx = work.tx
    if tx.execute(_NOTED, (old.rid,)).fetchone() is None:
        return False
    if source.kind == "customer" and _ARCHIVED in row.body:
        return True
    tx.execute(_FORGET, (old.rid,))
    if not KINDS[source.kind or ""].linked:
        tx.execute("DELETE FROM alias WHERE id = ?", (_born(source, row.remote_id),))
    return False


def _answer(work: "PageWork", source: Source, loser: str, survivor: str) -> None:
    """Let the survivor answer for an entity of a kind that has one record each."""
    if not _is_there(work.tx, source, survivor):
        return
    born, into = _born(source, loser), _born(source, survivor)
    work.tx.execute(_ALIAS, (born, into, work.at))
    work.tx.execute("UPDATE alias SET entity_id = ? WHERE entity_id = ?", (into, born))
    work.changes.add(source.kind or "", "merged", [[born, into]])


def _is_there(tx: Tx, source: Source, remote_id: str) -> bool:
    return tx.execute(_THERE, (source.id, remote_id)).fetchone() is not None


def _born(source: Source, remote_id: str) -> str:
    return birth_id(source.kind or "", source.connection, source.name, remote_id)
