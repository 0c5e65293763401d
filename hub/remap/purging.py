"""Cut out of the records that are kept already what a mapping now says must never be."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hub.mapping.never import Steps, cut
from hub.remap.stored import tables
from hub.store import Sources, raw
from hub.store.dialect import ANY, array

if TYPE_CHECKING:
    from hub.remap.applying import Run

_BLOCKS = "SELECT block FROM raw WHERE stream = ? AND block > ? ORDER BY block LIMIT ?"
_OURS = f"SELECT block FROM raw WHERE block IN {ANY} AND source_id IN {ANY}"  # noqa: S608
_REJECTS = f"SELECT id, data FROM reject WHERE source_id IN {ANY} AND id > ? ORDER BY id LIMIT ?"  # noqa: S608
_AT_ONCE = 20


def purge(run: "Run") -> int:
    """
    Rewrite the blocks and rejects of a stream without what is never to be kept; give how many of them held some.

    A transaction of at most 20 blocks each. The file still has the bytes in its free pages until it is shrunk.
    """
    steps = [path.steps for path in run.connection.mapping.never(run.stream)]
    if not steps:
        return 0
    with run.store.read() as tx:
        sources = [source.id for source in tables(Sources.load(tx), run.connection.name, run.stream)]
    return _blocks(run, steps, sources) + _rejects(run, steps, sources)


def _blocks(run: "Run", steps: Sequence[Steps], sources: list[int]) -> int:
    count = last = 0
    while True:
        with run.store.write() as tx:
            found = [row[0] for row in tx.execute(_BLOCKS, (run.stream, last, _AT_ONCE)).fetchall()]
            if not found:
                return count
            ours = [row[0] for row in tx.execute(_OURS, (array(found), array(sources))).fetchall()]
            changed = {}
            for block, records in raw.blocks(tx, ours).items():
                for index, record in enumerate(records):
                    if record and (left := cut(record, steps)) != record:
                        changed[block, index] = left
            raw.replace(tx, changed)
        count, last = count + len(changed), found[-1]


def _rejects(run: "Run", steps: Sequence[Steps], sources: list[int]) -> int:
    count = last = 0
    while True:
        with run.store.write() as tx:
            found = tx.execute(_REJECTS, (array(sources), last, _AT_ONCE)).fetchall()
            if not found:
                return count
            changed = [(left, id) for id, data in found if data and (left := cut(data, steps)) != data]
            if changed:
                tx.executemany("UPDATE reject SET data = ? WHERE id = ?", changed)
        count, last = count + len(changed), found[-1][0]
