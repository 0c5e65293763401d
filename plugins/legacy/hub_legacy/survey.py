"""Look through a file before it is read: is its text in the encoding that was set, but for single lines?"""

from collections.abc import Iterator
from typing import IO

from hub import Invalid

_BLOCK = 1 << 20
_LONGEST = 16 * _BLOCK
_FEW = 1000


def verify(file: IO[bytes], name: str, encoding: str, start: tuple[int, int], ends: tuple[int, int]) -> None:
    """
    Read the bytes from `start` (offset, line) once to see that they are in the encoding, before any row is handed on.

    `ends` are how far to look, and where the file ends.
    A few lines that are not become rejects later: no more than there are lines which prove the encoding, or one in a
    thousand. Else the setting is wrong: raises Invalid naming file, line, byte and what to set. Text in UTF-8 that
    is to be read as latin-1 or cp1252 would not fail by itself; it is told by its form.
    """
    found = _Survey(encoding, start)
    end, last = ends
    for block in _blocks(file, start[0], end):
        is_cut = end < last and found.offset + len(block) == end
        found.look(block[: block.rfind(b"\n") + 1] if is_cut else block)
    if found.wrong > found.line // _FEW and found.wrong > _proving(file, encoding, start[0], end):
        line, byte = found.first
        raise Invalid(
            f"{name} line {line}, byte {byte}: is not {encoding}; {_suggested(file, encoding)}", code="wrong_encoding"
        )
    if encoding != "utf-8" and found.utf8 and found.beyond_ascii:
        raise Invalid(f'{name}: its text is UTF-8, not {encoding}; set encoding = "utf-8"', code="wrong_encoding")


class _Survey:
    """What was seen: lines, lines that are not in the encoding and where the first is, and whether all is UTF-8."""

    def __init__(self, encoding: str, start: tuple[int, int]) -> None:
        self.encoding = encoding
        self.offset, self.line = start
        self.wrong = 0
        self.first = (0, 0)
        self.utf8, self.beyond_ascii = True, False

    def look(self, block: bytes) -> None:
        if not block.isascii():
            self.beyond_ascii = True
            self.utf8 = self.utf8 and _fits(block, "utf-8")
            if not _fits(block, self.encoding):
                self._count(block)
        self.offset, self.line = self.offset + len(block), self.line + block.count(b"\n")

    def _count(self, block: bytes) -> None:
        at = self.offset
        for number, line in enumerate(block.split(b"\n"), self.line + 1):
            try:
                line.decode(self.encoding)
            except UnicodeDecodeError as exc:
                self.wrong += 1
                if self.wrong == 1:
                    self.first = (number, at + exc.start + 1)
            at += len(line) + 1


def _blocks(file: IO[bytes], at: int, end: int) -> Iterator[bytes]:
    """Give the bytes in blocks that end with a line; all three encodings have line ends of one byte."""
    file.seek(at)
    while at < end:
        block = file.read(min(_BLOCK, end - at))
        if not block:
            return
        while not block.endswith(b"\n") and at + len(block) < end and len(block) < _LONGEST:
            more = file.readline(min(_BLOCK, end - at - len(block)))
            if not more:
                break
            block += more
        at += len(block)
        yield block


def _proving(file: IO[bytes], encoding: str, at: int, end: int) -> int:
    """Count the lines beyond ASCII that are in the encoding."""
    found = 0
    for block in _blocks(file, at, end):
        if not block.isascii():
            found += sum(not line.isascii() and _fits(line, encoding) for line in block.split(b"\n"))
    return found


def _fits(text: bytes, encoding: str) -> bool:
    try:
        text.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _suggested(file: IO[bytes], encoding: str) -> str:
    file.seek(0)
    if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
        return "it looks like UTF-16; have it written as UTF-8"
    if encoding != "utf-8":
        return 'set encoding = "latin-1", or "utf-8"'
    return 'set encoding = "cp1252" (Windows) or "latin-1"'
