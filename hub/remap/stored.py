"""Walk over a stream's raw records in the order they were stored in, each as it was last heard of."""

from array import array as Numbers
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.ingest import HASH, Kept, Made
from hub.store import Source, Sources, Store, Tx, raw
from hub.store.dialect import ANY, array

LOT = 1000
"""Records that are mapped together, and written in one transaction."""
_BLOCKS = 200
_ROWS = 5000
_PLACES = """
SELECT remote_id, block, idx, read_at, mapped_hash FROM state
WHERE source_id = ? AND remote_id > ? AND NOT deleted AND block > ? ORDER BY remote_id LIMIT ?
"""
_UNTAKEN = """
SELECT key, block, idx, read_at FROM untaken
WHERE connection = ? AND stream = ? AND key > ? AND block > ? ORDER BY key LIMIT ?
"""
_DATA = f"SELECT block, data FROM raw WHERE block IN {ANY} AND stream = ? ORDER BY block"  # noqa: S608


@dataclass(frozen=True)
class Lot:
    """Raw records with where each is from, and what was made of them; `block` is the last block of them."""

    raws: list[bytes]
    kept: list[Kept]
    block: int
    made: Made | None = None


@dataclass
class Live:
    """
    Where a stream's raw records are, as last heard of: by block, when each was read (0: not the last word).

    `hashes` are those of the rows that were made of them (see Made), `stamp` says as of when.
    """

    stamp: object = None
    blocks: dict[int, "Numbers[int]"] = field(default_factory=dict)
    hashes: dict[int, dict[int, bytearray]] = field(default_factory=dict)
    count: int = 0

    def add(self, block: int, idx: int, read_at: int) -> None:
        times = self.blocks.get(block)
        if times is None:
            times = self.blocks[block] = Numbers("q", bytes(8 * raw.BLOCK))
        before = times[idx]
        if not before:
            self.count += 1
            times[idx] = read_at or 1
        elif read_at > before:
            times[idx] = read_at


def tables(sources: Sources, connection: str, stream: str) -> list[Source]:
    """Give all tables that were ever made of a stream."""
    return sources.by_stream.get((connection, stream), [])


def live(store: Store, connection: str, stream: str, *, after: int = 0) -> Live:
    """Find the raw records of a stream that rows, or what no table takes, are made of, behind a block."""
    with store.read() as tx:
        found = Live(tx.stamp())
        for source in tables(Sources.load(tx), connection, stream):
            hashes = found.hashes[source.id] = {}
            for _, block, idx, read_at, mapped_hash in _walked(tx, _PLACES, (source.id,), after):
                found.add(block, idx, read_at)
                if block not in hashes:
                    hashes[block] = bytearray(HASH * raw.BLOCK)
                hashes[block][HASH * idx : HASH * (idx + 1)] = mapped_hash
        for _, block, idx, read_at in _walked(tx, _UNTAKEN, (connection, stream), after):
            found.add(block, idx, read_at)
    return found


def _walked(tx: Tx, sql: str, key: tuple[int | str, ...], after: int) -> Iterator[Any]:
    last = ""
    while rows := tx.execute(sql, (*key, last, after, _ROWS)).fetchall():
        yield from rows
        last = rows[-1][0]


def lots(store: Store, stream: str, places: Live) -> Iterator[Lot]:
    """Give the raw records at these places, about 1,000 at a time; a block that is gone meanwhile is passed over."""
    blocks: list[int] = []
    count = 0
    for block in sorted(places.blocks):
        blocks.append(block)
        count += len(places.blocks[block]) - places.blocks[block].count(0)
        if count >= LOT or len(blocks) >= _BLOCKS:
            yield _read(store, stream, places, blocks)
            blocks, count = [], 0
    if blocks:
        yield _read(store, stream, places, blocks)


def _read(store: Store, stream: str, places: Live, blocks: Sequence[int]) -> Lot:
    raws: list[bytes] = []
    kept: list[Kept] = []
    with store.read() as tx:
        for block, data in tx.execute(_DATA, (array(blocks), stream)):
            for idx, (record, read_at) in enumerate(zip(raw.unpacked(data), places.blocks[block], strict=False)):
                if read_at and record:
                    raws.append(record)
                    kept.append(Kept(read_at, (block, idx)))
    return Lot(raws, kept, blocks[-1], Made(places.stamp, places.hashes))
