"""How long a queue is, as far as it is known here."""

from datetime import UTC, datetime, timedelta

from hub.identity import golden
from hub.store import Store, clock
from hub.store.dialect import ANY, array, using

WITHIN = timedelta(days=90)
"""A ticket that nobody touched for longer is forgotten rather than waited for."""
MOST = 10_000
_OPEN = f"""
SELECT entity_id, body FROM record {using("record_listed")}
WHERE kind = 'ticket' AND head AND deleted_at IS NULL AND updated_at >= ? AND status IN ('new', 'open')
AND source_id IN {ANY} ORDER BY updated_at DESC LIMIT ?
"""  # noqa: S608


def waiting(store: Store, connection: str, queue: str, *, but: str | None = None) -> int | None:
    """
    Count the new and open tickets in a queue of a connection, those of the last 90 days; None where there are too many.

    `queue` is the id that tickets name as their group; `but` the hub id of a ticket that is not counted.
    """
    since = clock.text(datetime.now(UTC) - WITHIN)
    with store.read() as tx:
        ids = [source.id for source in store.sources(tx).by_id.values() if source.connection == connection]
        rows = tx.execute(_OPEN, (since, array(ids), MOST + 1)).fetchall()
    if len(rows) > MOST:
        return None
    return len([one for one, body in rows if one != but and _group(body) == queue])


def _group(body: bytes) -> str | None:
    found = golden.read(body).get("group_ref")
    return None if found is None else str(found)
