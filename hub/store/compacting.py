"""
Give back the room of raw records that nothing is made of any more, in short transactions beside a hub that runs.

Blocks of which at most half is left are written anew together with others like them; in those with some gaps these are
emptied. The last block stays, so that no number comes twice. A stream that is being remapped waits for the next time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import islice

from hub.store import clock, raw
from hub.store.database import Database, Tx
from hub.store.dialect import ANY, array

_ROWS = 5000
_AT_ONCE = 20
_CHUNK = 2000
_GAPS = 0.8
_SPARSE = 0.5
_SOURCES = "SELECT id FROM source"
_STREAMS = "SELECT DISTINCT connection, stream FROM untaken"
_STATES = """
SELECT remote_id, block, idx FROM state
WHERE source_id = ? AND remote_id > ? AND block IS NOT NULL ORDER BY remote_id LIMIT ?
"""
_UNTAKEN = "SELECT key, block, idx FROM untaken WHERE connection = ? AND stream = ? AND key > ? ORDER BY key LIMIT ?"
_BLOCKS = "SELECT block, source_id, stream, count, length(data) FROM raw WHERE block > ? ORDER BY block LIMIT ?"
_MOVE = "UPDATE state SET block = ?, idx = ? WHERE source_id = ? AND remote_id = ? AND block = ? AND idx = ?"
_MOVE_UNTAKEN = """
UPDATE untaken SET block = ?, idx = ? WHERE connection = ? AND stream = ? AND key = ? AND block = ? AND idx = ?
"""
_DROP = f"DELETE FROM raw WHERE block IN {ANY} AND block < (SELECT max(block) FROM raw)"  # noqa: S608
_BUSY = """
SELECT s.id FROM remap AS r JOIN source AS s ON s.connection = r.connection AND s.stream = r.stream WHERE r.noted_at > ?
"""
_REMAP_LASTS = timedelta(hours=1)
Owner = tuple[int | str, ...]
"""What is made of a raw record: a row's (source_id, remote_id), or (connection, stream, key) of what no table takes."""


@dataclass(frozen=True)
class Block:
    """A block as it was when looked at; `mask` has a bit for each record that something is made of."""

    mask: int
    block: int
    source_id: int
    stream: str | None
    count: int
    size: int

    @property
    def live(self) -> int:
        return self.mask.bit_count()


@dataclass
class Room:
    """How many raw records are kept, of how many something is made, and what compaction did."""

    blocks: int = 0
    records: int = 0
    live: int = 0
    bytes: int = 0
    dropped_blocks: int = 0
    rewritten_blocks: int = 0
    freed_bytes: int = 0

    @property
    def superseded(self) -> float:
        """Give the share of raw records that nothing is made of any more."""
        return 1 - self.live / self.records if self.records else 0.0


Tell = Callable[[int, int], None]


def look(database: Database) -> tuple[Room, list[Block]]:
    """Look at all blocks, as of one moment: how much is kept, and of how much something is made."""
    masks: dict[int, int] = {}
    with database.read() as tx:
        for _, block, idx in _owners(tx):
            masks[block] = masks.get(block, 0) | 1 << idx
        last, found = 0, list[Block]()
        while rows := tx.execute(_BLOCKS, (last, _ROWS)).fetchall():
            last = rows[-1][0]
            found += [Block(masks.get(row[0], 0), *row) for row in rows]
    live, size = sum(one.live for one in found), sum(one.size for one in found)
    return Room(len(found), sum(one.count for one in found), live, size), found


def compact(database: Database, *, tell: Tell = lambda done, of: None) -> Room:
    """
    Give back the room of superseded raw records; `tell` is told how many blocks are done, of how many.

    Safe to stop and to repeat, and beside pulls and reads: each step is a transaction of at most 20 blocks.
    """
    room, blocks = look(database)
    dead = [one for one in blocks if not one.live]
    gaps = [one for one in blocks if one.count * _SPARSE < one.live < one.count * _GAPS and one.live > raw.BLOCK // 2]
    sparse = [one for one in blocks if 0 < one.live <= raw.BLOCK // 2]
    work, done = len(dead) + len(gaps) + len(sparse), 0
    for step, lot in _steps(database, dead, gaps, sparse):
        step(lot, room)
        done += len(lot)
        tell(done, work)
    return room


Step = Callable[[Sequence[Block], Room], None]


def _steps(
    database: Database, dead: Sequence[Block], gaps: Sequence[Block], sparse: Sequence[Block]
) -> Iterator[tuple[Step, Sequence[Block]]]:
    for lot in _lots(dead):
        yield partial(_drop, database), lot
    for lot in _lots(gaps):
        yield partial(_empty, database), lot
    for chunk in _lots(sparse, _CHUNK):
        owners = _owners_in(database, {one.block for one in chunk})
        for lot in _alike(chunk):
            yield partial(_join, database, owners), lot


def _lots(blocks: Sequence[Block], size: int = _AT_ONCE) -> Iterator[Sequence[Block]]:
    rest = iter(blocks)
    while lot := list(islice(rest, size)):
        yield lot


def _alike(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Group blocks of one stream, as many as fill a few new ones; one alone that is full of what it has stays."""
    groups: dict[tuple[int, str | None], list[Block]] = {}
    for one in blocks:
        group = groups.setdefault((one.source_id, one.stream), [])
        group.append(one)
        if len(group) == _AT_ONCE:
            yield groups.pop((one.source_id, one.stream))
    yield from (group for group in groups.values() if len(group) > 1 or group[0].live < group[0].count)


def _drop(database: Database, lot: Sequence[Block], room: Room) -> None:
    with database.write() as tx:
        free = _free(tx, lot)
        tx.execute(_DROP, (array(one.block for one in free),))
        room.dropped_blocks += len(free)
        room.freed_bytes += sum(one.size for one in free)


def _empty(database: Database, lot: Sequence[Block], room: Room) -> None:
    """Empty what is superseded in blocks that stay."""
    with database.write() as tx:
        for one in _free(tx, lot):
            dead = [(one.block, idx) for idx in range(raw.BLOCK) if not one.mask >> idx & 1]
            room.freed_bytes += raw.without(tx, dead)
            room.rewritten_blocks += 1


def _join(database: Database, owners: dict[tuple[int, int], list[Owner]], lot: Sequence[Block], room: Room) -> None:
    """Write what is left of some blocks of a stream into new ones."""
    with database.write() as tx:
        free = _free(tx, lot)
        if not free:
            return
        records = raw.blocks(tx, [one.block for one in free])
        new = raw.Blocks.after(tx, free[0].source_id, free[0].stream)
        places = [(one.block, idx) for one in free for idx in range(raw.BLOCK) if one.mask >> idx & 1]
        places = [(block, idx) for block, idx in places if block in records]
        moved = new.put(range(len(places)), [records[block][idx] for block, idx in places])
        new.write(tx)
        moves = [(*to, *owner, *place) for *to, place in zip(*moved, places, strict=True) for owner in owners[place]]
        for sql, width in ((_MOVE, 6), (_MOVE_UNTAKEN, 7)):
            if some := [move for move in moves if len(move) == width]:
                tx.executemany(sql, some)
        tx.execute(_DROP, (array(records),))
        room.rewritten_blocks += len(records)
        room.freed_bytes += sum(one.size for one in free) - new.written


def _free(tx: Tx, lot: Sequence[Block]) -> list[Block]:
    """Give those blocks whose stream is not being remapped: a remap may make rows of what nothing is made of now."""
    busy = {row[0] for row in tx.execute(_BUSY, (clock.text(clock.now() - _REMAP_LASTS),))}
    (last,) = tx.execute("SELECT coalesce(max(block), 0) FROM raw").fetchone()
    return [one for one in lot if one.source_id not in busy and one.block != last]


def _owners(tx: Tx) -> Iterator[tuple[Owner, int, int]]:
    """Give all that is made of raw records, with their places."""
    for (source_id,) in tx.execute(_SOURCES).fetchall():
        yield from _paged(tx, _STATES, (source_id,))
    for connection, stream in tx.execute(_STREAMS).fetchall():
        yield from _paged(tx, _UNTAKEN, (connection, stream))


def _paged(tx: Tx, sql: str, key: Owner) -> Iterator[tuple[Owner, int, int]]:
    last = ""
    while rows := tx.execute(sql, (*key, last, _ROWS)).fetchall():
        yield from (((*key, name), block, idx) for name, block, idx in rows)
        last = rows[-1][0]


def _owners_in(database: Database, blocks: set[int]) -> dict[tuple[int, int], list[Owner]]:
    found: dict[tuple[int, int], list[Owner]] = {}
    with database.read() as tx:
        for owner, block, idx in _owners(tx):
            if block in blocks:
                found.setdefault((block, idx), []).append(owner)
    return found
