"""The vendor's own bytes: blocks of up to 100 records, compressed together. Nothing moves inside a block."""

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec
import zstandard

from hub.store.database import Tx
from hub.store.dialect import ANY, array

BLOCK = 100
_LEVEL = 1  # level 3 takes a third longer for three bytes of a hundred
_BLOCKS = f"SELECT block, data FROM raw WHERE block IN {ANY} AND stream = ?"  # noqa: S608
_DATA = f"SELECT block, data FROM raw WHERE block IN {ANY} ORDER BY block"  # noqa: S608
_own = threading.local()
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[bytes]).decode


@dataclass
class Blocks:
    """Raw records on their way into the store; each distinct one of a page is put once."""

    source_id: int
    first: int
    stream: str | None = None
    pending: list[bytes] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    written: int = 0
    _packing: list[Future[list[bytes]]] = field(default_factory=list)
    _handed: int = 0

    @classmethod
    def after(cls, tx: Tx, source_id: int, stream: str | None = None) -> "Blocks":
        """Continue behind the last block."""
        return cls(source_id, tx.execute("SELECT coalesce(max(block), 0) + 1 FROM raw").fetchone()[0], stream)

    def put(self, indexes: Sequence[int], raws: Sequence[bytes | msgspec.Raw]) -> tuple[list[int], list[int]]:
        """Add the records at these places of a page; give their blocks, and their places in them."""
        places, pending = self.places, self.pending
        for index in indexes:
            if index not in places:
                places[index] = len(pending)
                pending.append(bytes(raws[index]))
        found = [places[index] for index in indexes]
        return [self.first + at // BLOCK for at in found], [at % BLOCK for at in found]

    def pack(self, *, beside: bool = False) -> None:
        """Compress the whole blocks of what was put: now, or `beside` what goes on, in a thread."""
        there = len(self.pending) - len(self.pending) % BLOCK
        if there > self._handed:
            lots = [self.pending[at : at + BLOCK] for at in range(self._handed, there, BLOCK)]
            self._packing.append(_beside(lots) if beside else _done(lots))
            self._handed = there

    def write(self, tx: Tx) -> None:
        """Compress and insert what was put; `written` says afterwards how much room it takes."""
        self.pack()
        rest = self.pending[self._handed :]
        blocks = [data for lot in self._packing for data in lot.result()] + ([packed(rest)] if rest else [])
        rows = [
            (self.first + at, self.source_id, self.stream, min(BLOCK, len(self.pending) - at * BLOCK), data)
            for at, data in enumerate(blocks)
        ]
        self.written = sum(map(len, blocks))
        tx.executemany("INSERT INTO raw (block, source_id, stream, count, data) VALUES (?, ?, ?, ?, ?)", rows)


class _Packers:
    """The threads that compress, begun when they are needed first, and anew in a process that was forked."""

    def __init__(self) -> None:
        self.submit = ThreadPoolExecutor(2, "hub-pack").submit


_packers = _Packers()
os.register_at_fork(after_in_child=_packers.__init__)  # type: ignore[misc]


def _beside(lots: Sequence[Sequence[bytes]]) -> Future[list[bytes]]:
    """Compress blocks in a thread, for zstd needs no lock of Python's; here, where no thread is to be had."""
    try:
        return _packers.submit(_packed_all, lots)
    except RuntimeError:
        return _done(lots)


def _done(lots: Sequence[Sequence[bytes]]) -> Future[list[bytes]]:
    done: Future[list[bytes]] = Future()
    done.set_result(_packed_all(lots))
    return done


def _packed_all(lots: Sequence[Sequence[bytes]]) -> list[bytes]:
    return [packed(lot) for lot in lots]


def _compressor() -> zstandard.ZstdCompressor:
    """Give this thread's own, whose tables are there already."""
    if not hasattr(_own, "compressor"):
        _own.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    found: zstandard.ZstdCompressor = _own.compressor
    return found


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_own, "decompressor"):
        _own.decompressor = zstandard.ZstdDecompressor()
    found: zstandard.ZstdDecompressor = _own.decompressor
    return found


def read(tx: Tx, places: Sequence[tuple[int, int]]) -> list[bytes]:
    """Give the raw records at these places, in that order; each block is opened once."""
    opened: dict[int, list[bytes]] = {}
    found = []
    for block, index in places:
        if block not in opened:
            (data,) = tx.execute("SELECT data FROM raw WHERE block = ?", (block,)).fetchone()
            opened[block] = unpacked(data)
        found.append(opened[block][index])
    return found


def at(tx: Tx, places: Iterable[tuple[int, int]], stream: str) -> dict[tuple[int, int], bytes]:
    """Give those raw records of a stream that are at these places, by place."""
    wanted: dict[int, list[int]] = {}
    for block, index in places:
        wanted.setdefault(block, []).append(index)
    found = {}
    for block, data in tx.execute(_BLOCKS, (array(wanted), stream)):
        records = unpacked(data)
        found.update({(block, index): records[index] for index in wanted[block] if records[index]})
    return found


def blocks(tx: Tx, numbers: Iterable[int]) -> dict[int, list[bytes]]:
    """Give the records of whole blocks, by their numbers; those taken out are empty."""
    return {block: unpacked(data) for block, data in tx.execute(_DATA, (array(numbers),))}


def without(tx: Tx, places: Iterable[tuple[int, int]]) -> int:
    """Take raw records out for good, where the caller made sure that no row needs them; give the bytes freed."""
    return replace(tx, dict.fromkeys(places, b""))


def replace(tx: Tx, records: Mapping[tuple[int, int], bytes]) -> int:
    """Write other bytes in the place of raw records; give by how many bytes the blocks shrink."""
    shrunk = 0
    for block, found in blocks(tx, {block for block, _ in records}).items():
        new = [records.get((block, index), record) for index, record in enumerate(found)]
        if new != found:
            data = packed(new)
            (before,) = tx.execute("SELECT length(data) FROM raw WHERE block = ?", (block,)).fetchone()
            tx.execute("UPDATE raw SET data = ?, count = ? WHERE block = ?", (data, sum(map(bool, new)), block))
            shrunk += before - len(data)
    return shrunk


def unpacked(data: bytes) -> list[bytes]:
    """Open a block."""
    return _unpack(_decompressor().decompress(data))


def packed(records: Sequence[bytes]) -> bytes:
    """Close a block."""
    return _compressor().compress(_pack(records))
