"""How fresh the hub's knowledge is, stream by stream."""

from typing import Any

from hub.store import Store, clock, cursors

_COUNTS = """
SELECT source_id, count(*) FILTER (WHERE NOT deleted), min(version), max(version) FROM state GROUP BY source_id
"""
_REJECTS = "SELECT source_id, count(*) FROM reject GROUP BY source_id"


def freshness(store: Store) -> dict[str, dict[str, dict[str, Any]]]:
    """
    Say by connection and stream when it was last read, to its end or not, why not, and what is stored.

    `read_at` is when the last page was asked for, `synced_at` when the stream was last read to its end, `oldest_at` and
    `newest_at` are the vendor's own times of what is stored.
    """
    with store.read() as tx:
        sources = store.sources(tx)
        rows = {row[0]: row[1:] for row in tx.execute(_COUNTS)}
        rejects = dict(tx.execute(_REJECTS).fetchall())
        positions = cursors.positions(tx)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for (connection, stream), at in positions.items():
        tables = sources.by_stream.get((connection, stream), [])
        counted = [rows[source.id] for source in tables if source.id in rows]
        found.setdefault(connection, {})[stream] = {
            "read_at": clock.from_millis(at.read_at) if at.read_at else None,
            "synced_at": at.synced_at,
            "error": at.error,
            "error_at": at.error_at,
            "scanning": at.whole,
            "oldest_at": min((row[1] for row in counted if row[1]), default=None),
            "newest_at": max((row[2] for row in counted if row[2]), default=None),
            "records": sum(row[0] for row in counted),
            "rejects": sum(rejects.get(source.id, 0) for source in tables),
        }
    return found
