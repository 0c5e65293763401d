"""Give records that were rejected to the mapping once more."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hub.ingest import Kept, reproject
from hub.ingest.rejects import Stored
from hub.remap import stored
from hub.store import Sources, Store
from hub.store.dialect import ANY, array

if TYPE_CHECKING:
    from hub.remap.applying import Mapped, Run, Tell

_LOT = 200
_REJECTS = f"""
SELECT id, source_id, remote_id, read_at, data FROM reject
WHERE source_id IN {ANY} AND id > ? AND length(data) > 0 ORDER BY id LIMIT ?
"""  # noqa: S608
_LEFT = f"SELECT count(*) FROM reject WHERE id IN {ANY}"  # noqa: S608


def replay(
    store: Store, connection: "Mapped", *, streams: Sequence[str] | None = None, progress: "Tell | None" = None
) -> dict[str, dict[str, Any]]:
    """Map the kept rejects of a connection with its present mapping; report by stream how many map now."""
    from hub.remap.applying import Run

    report = {}
    for stream in connection.mapping.streams():
        if streams is None or stream in streams:
            run = Run(store, connection, stream, progress or (lambda _: None))
            tried, settled = replay_stream(run)
            run.told(done=True)
            report[stream] = {"tried": tried, "settled": settled, "left": tried - settled}
    return report


def replay_stream(run: "Run") -> tuple[int, int]:
    """Map a stream's kept rejects anew; give how many were tried and how many are no rejects any more."""
    with run.store.read() as tx:
        ids = [source.id for source in stored.tables(Sources.load(tx), run.connection.name, run.stream)]
    tried = settled = last = 0
    while found := _page(run.store, ids, last):
        last = found[-1].id
        commit = run.commit(stored.Lot([one.data for one in found], [Kept(one.read_at) for one in found], 0))
        run.count(len(found), reproject(run.store, commit, replayed=found))
        tried, settled = tried + len(found), settled + len(found) - _left(run.store, found)
    return tried, settled


def _page(store: Store, sources: list[int], last: int) -> list[Stored]:
    with store.read() as tx:
        return [Stored(*row) for row in tx.execute(_REJECTS, (array(sources), last, _LOT))]


def _left(store: Store, found: Sequence[Stored]) -> int:
    with store.read() as tx:
        (count,) = tx.execute(_LEFT, (array(one.id for one in found),)).fetchone()
    return int(count)
