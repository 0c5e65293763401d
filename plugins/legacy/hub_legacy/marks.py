"""The checkpoint of a file: how far it was read, and how it is known again when it grew, was replaced or renamed."""

from hashlib import blake2b
from typing import IO

import msgspec

from hub_legacy.places import Entry
from hub_legacy.rows import Chunk

_EDGE = 4096


class Mark(msgspec.Struct, array_like=True):
    """How far a file was read, and what it looked like: a file that only grew is read on, any other anew."""

    size: int
    mtime: int
    offset: int
    line: int
    read: int
    bad: int
    print: str
    whole: bool = False

    def place(self) -> Chunk:
        return Chunk([], self.offset, self.line, self.read, self.bad)

    def knows(self, entry: Entry) -> bool:
        """Say whether there is nothing new in a file."""
        return self.whole and (self.size, self.mtime) == (entry.size, entry.mtime_ns)


class Cursor(msgspec.Struct):
    """The marks of all files read, by name."""

    files: dict[str, Mark]
    v: int = 1


class Orphans:
    """Marks of files that are not there any more: one that was only renamed is not read again."""

    def __init__(self, marks: dict[str, Mark], there: set[str]) -> None:
        self._marks = {(mark.size, mark.mtime): mark for name, mark in marks.items() if name not in there}

    def adopted(self, entry: Entry, file: IO[bytes], end: int) -> Mark | None:
        """Give the mark of the file that this one was, once."""
        mark = self._marks.get((entry.size, entry.mtime_ns))
        if mark is None or not continues(file, mark, entry, end):
            return None
        return self._marks.pop((entry.size, entry.mtime_ns))


def marked(file: IO[bytes], entry: Entry, chunk: Chunk, end: int) -> Mark:
    """Give the mark after a chunk of a file that has `end` bytes (unpacked)."""
    edge = _print(file, chunk.offset)
    whole = chunk.offset >= end
    return Mark(entry.size, entry.mtime_ns, chunk.offset, chunk.line, chunk.read, chunk.bad, edge, whole)


def continues(file: IO[bytes], mark: Mark, entry: Entry, end: int) -> bool:
    """Say whether a file is the one that was read, perhaps longer: same bytes at both edges, cut at a line's end."""
    rewritten = entry.size == mark.size and entry.mtime_ns != mark.mtime
    if end < mark.offset or (rewritten and mark.whole) or _print(file, mark.offset) != mark.print:
        return False
    file.seek(max(0, mark.offset - 1))
    edge = file.read(2)
    return mark.offset == 0 or edge[:1] == b"\n" or edge[1:] in (b"", b"\r", b"\n")


def _print(file: IO[bytes], offset: int) -> str:
    """Hash the first and the last bytes of what was read."""
    at = file.tell()
    file.seek(0)
    hashed = blake2b(file.read(min(_EDGE, offset)), digest_size=8)
    file.seek(max(0, offset - _EDGE))
    hashed.update(file.read(min(_EDGE, offset)))
    file.seek(at)
    return hashed.hexdigest()
