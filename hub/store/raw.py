"""The vendor's own bytes: append-only blocks of up to 100 records, compressed together."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import zstandard

from hub.store.database import Tx

BLOCK = 100
_LEVEL = 3
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[bytes]).decode


@dataclass
class Blocks:
    """Raw records on their way into the store; each distinct one of a page is put once."""

    source_id: int
    first: int
    pending: list[bytes] = field(default_factory=list)
    places: dict[int, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def after(cls, tx: Tx, source_id: int) -> "Blocks":
        """Continue behind the last block."""
        return cls(source_id, tx.execute("SELECT coalesce(max(block), 0) + 1 FROM raw").fetchone()[0])

    def put(self, index: int, raw: bytes) -> tuple[int, int]:
        """Add the record at `index` of the page; give its block and place in it."""
        place = self.places.get(index)
        if place is None:
            count = len(self.pending)
            place = self.places[index] = self.first + count // BLOCK, count % BLOCK
            self.pending.append(raw)
        return place

    def write(self, tx: Tx) -> None:
        """Compress and insert what was put."""
        compress = zstandard.ZstdCompressor(level=_LEVEL).compress
        tx.executemany(
            "INSERT INTO raw (block, source_id, count, data) VALUES (?, ?, ?, ?)",
            [
                (self.first + at // BLOCK, self.source_id, len(part), compress(_pack(part)))
                for at in range(0, len(self.pending), BLOCK)
                for part in (self.pending[at : at + BLOCK],)
            ],
        )


def read(tx: Tx, places: Sequence[tuple[int, int]]) -> list[bytes]:
    """Give the raw records at these places, in that order; each block is opened once."""
    opened: dict[int, list[bytes]] = {}
    found = []
    for block, index in places:
        if block not in opened:
            (data,) = tx.execute("SELECT data FROM raw WHERE block = ?", (block,)).fetchone()
            opened[block] = _unpack(zstandard.ZstdDecompressor().decompress(data))
        found.append(opened[block][index])
    return found
