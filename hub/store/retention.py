"""Forget raw records that are older than their stream keeps them; the rows that were made of them stay."""

from hub.store.database import Database
from hub.store.sources import Sources

_ROWS = 2000
_OLD = """
SELECT remote_id FROM state
WHERE source_id = ? AND remote_id > ? AND block IS NOT NULL AND read_at < ? ORDER BY remote_id LIMIT ?
"""
_FORGET = "UPDATE state SET block = NULL, idx = NULL WHERE source_id = ? AND remote_id = ? AND read_at < ?"
_UNTAKEN = "DELETE FROM untaken WHERE connection = ? AND stream = ? AND read_at < ?"
_REJECTS = "UPDATE reject SET data = ? WHERE source_id = ? AND read_at < ? AND length(data) > 0"


def expire(database: Database, connection: str, stream: str, *, before: int) -> int:
    """
    Forget the raw records of a stream that were read before a time (ms since 1970); give how many rows had one.

    Their bytes are gone when the blocks are compacted. A reject keeps its reason.
    """
    with database.read() as tx:
        sources = Sources.load(tx).by_stream.get((connection, stream), [])
    count = 0
    for source in sources:
        last = ""
        while True:
            with database.write() as tx:
                found = [row[0] for row in tx.execute(_OLD, (source.id, last, before, _ROWS)).fetchall()]
                if not found:
                    tx.execute(_REJECTS, (b"", source.id, before))
                    break
                tx.executemany(_FORGET, [(source.id, remote_id, before) for remote_id in found])
            last, count = found[-1], count + len(found)
    with database.write() as tx:
        tx.execute(_UNTAKEN, (connection, stream, before))
    return count
