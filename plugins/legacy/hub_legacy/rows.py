"""Read one file from an offset: chunks of records as bytes of JSON, and how far it was read after each."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import msgspec

from hub import Invalid
from hub_legacy.cells import Cells
from hub_legacy.values import encode

LINE_LIMIT = 8 * 1024 * 1024
_TOLD = 20
_RUNAWAYS = 50
_BOM = b"\xef\xbb\xbf"
_Raws = msgspec.json.Decoder(list[msgspec.Raw])
_Object = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass
class Format:
    """How a file is to be read, settings of connection and table put together."""

    csv: bool
    encoding: str
    delimiter: str
    quotechar: str
    header: tuple[str, ...] | None
    cells: Cells
    keys: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


@dataclass
class Chunk:
    """Records, and the place after them: byte offset, lines, records and bad ones so far."""

    records: list[bytes]
    offset: int
    line: int
    read: int
    bad: int
    warnings: list[str] = field(default_factory=list)


def complaint(name: str, line: int, reason: str, text: str) -> bytes:
    """Give what stands for a line that is no record: the mapping rejects it and keeps reason and text."""
    return encode([f"{name} line {line}: {reason}", text[:4000]])


def chunks(file: IO[bytes], name: str, how: Format, start: Chunk, end: int, size: int) -> Iterator[Chunk]:
    """Read the file from where `start` ended up to byte `end`."""
    read = _CsvRows(file, name, how, start, end) if how.csv else _NdjsonLines(file, name, how, start, end)
    yield from read.chunks(size)


class Lines:
    """The lines of a file, decoded one by one; `taken` are the offsets after those handed out since it was cleared."""

    def __init__(self, file: IO[bytes], name: str, encoding: str, at: tuple[int, int], end: int) -> None:
        self.file, self.name, self.encoding, self.end = file, name, encoding, end
        self.offset, self.line = at
        self.taken: list[int] = []
        self.first = ""
        file.seek(self.offset)

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        raw = self.raw()
        if not raw:
            raise StopIteration
        try:
            text = raw.decode(self.encoding)
        except UnicodeDecodeError as exc:
            raise Invalid(f"{self.name} line {self.line}: is not {self.encoding}", code="wrong_encoding") from exc
        if not self.taken:
            self.first = text
        self.taken.append(self.offset)
        return text

    def raw(self) -> bytes:
        raw = self.file.readline(min(LINE_LIMIT, self.end - self.offset))
        if len(raw) == LINE_LIMIT:
            raise Invalid(f"{self.name} line {self.line + 1}: longer than {LINE_LIMIT} bytes; is this the right file?")
        start, self.offset = self.offset, self.offset + len(raw)
        self.line += bool(raw)
        return raw.removeprefix(_BOM) if start == 0 else raw

    def back_to(self, offset: int, line: int) -> None:
        self.file.seek(offset)
        self.offset, self.line = offset, line
        self.taken.clear()


class _CsvRows:
    """
    Rows of a CSV file. A row that does not fit the header is a complaint.

    A row over several lines that does not fit comes of a stray quote: only its first line is given up, reading goes
    on with its second, so that good lines are not swallowed.
    """

    def __init__(self, file: IO[bytes], name: str, how: Format, start: Chunk, end: int) -> None:
        self.name, self.how, self.start = name, how, start
        self.names, first = _header(file, name, how, end)
        at = (start.offset, start.line) if start.offset > first[0] else first
        self.lines = Lines(file, name, how.encoding, at, end)
        self.convert = how.cells.of(self.names)
        self.runaways = 0

    def chunks(self, size: int) -> Iterator[Chunk]:
        read, bad, told = self.start.read, self.start.bad, 0
        records: list[bytes] = []
        warnings = self._missing()
        for row in self._rows():
            records.append(self._record(row) if isinstance(row, list) else row)
            read += 1
            if not isinstance(row, list):
                bad, told = bad + 1, told + 1
                if told <= _TOLD:
                    warnings.append(msgspec.json.decode(row)[0])
            if len(records) >= size:
                yield Chunk(records, self.lines.offset, self.lines.line, read, bad, warnings)
                records, warnings = [], []
        if told > _TOLD:
            warnings.append(f"{self.name}: {told - _TOLD} more lines that do not fit")
        if records or warnings or self.lines.offset != self.start.offset:
            yield Chunk(records, self.lines.offset, self.lines.line, read, bad, warnings)

    def _missing(self) -> list[str]:
        """Name the columns that the mapping uses and the file lacks, once a file."""
        lacks = [name for name in self.how.uses if name not in self.names] if self.start.offset == 0 else []
        return [f'{self.name}: there is no column "{name}"; the fields that use it stay empty' for name in lacks]

    def _record(self, row: list[str]) -> bytes:
        return encode(self.convert(row))

    def _rows(self) -> Iterator[list[str] | bytes]:
        lines, width = self.lines, len(self.names)
        reader = parser(lines, self.how)
        while True:
            lines.taken.clear()
            line = lines.line + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error:
                row, reason = None, "no CSV: a stray quote, a stray carriage return, or a value that is too long"
            if row is not None and len(row) == width:
                yield row
                continue
            if row is not None:
                if not row:
                    continue
                reason = f"{len(row)} values where the header has {width}"
            text = lines.first.rstrip("\r\n")
            if len(lines.taken) > 1:
                self._runaway(line)
                lines.back_to(lines.taken[0], line)
                reader = parser(lines, self.how)
            yield complaint(self.name, line, reason, text)

    def _runaway(self, line: int) -> None:
        self.runaways += 1
        if self.runaways > _RUNAWAYS:
            raise Invalid(
                f'{self.name} line {line}: too many quotes that are not closed; set quotechar, or "" for none'
            )


def parser(lines: Iterator[str], how: Format) -> Any:
    if not how.quotechar:
        return csv.reader(lines, delimiter=how.delimiter, quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(lines, delimiter=how.delimiter, quotechar=how.quotechar, strict=True)


def _header(file: IO[bytes], name: str, how: Format, end: int) -> tuple[list[str], tuple[int, int]]:
    """Give the names of the columns, and (offset, line) after the header. Raises Invalid if it cannot be right."""
    first = (0, 0)
    if how.header is not None:
        names = list(how.header)
    else:
        lines = Lines(file, name, how.encoding, first, end)
        try:
            names = [cell.strip() for cell in next(parser(lines, how), [])]
        except csv.Error as exc:
            raise Invalid(f"{name} line 1: the header cannot be read; check quotechar and line ends") from exc
        first = (lines.offset, lines.line)
    names = [cell or f"column_{i}" for i, cell in enumerate(names, 1)]
    twice = [i for i, cell in enumerate(names, 1) if cell in names[: i - 1]]
    if twice:  # the words themselves are not told: without a header they would be somebody's data
        raise Invalid(f"{name} line 1: column {twice[0]} has the name of one before it; is this the header?")
    missing = [key for key in how.keys if key not in names]
    if missing:
        more = f'the first line has {len(names)} values at delimiter "{how.delimiter}"'
        hint = "set delimiter, or header = [names] for files without one"
        raise Invalid(f'{name} line 1: there is no column "{missing[0]}", which is the key: {more}; {hint}')
    return names, first


class _NdjsonLines:
    """Lines of NDJSON, handed on as they are. The last line without a newline counts once it is a whole object."""

    def __init__(self, file: IO[bytes], name: str, how: Format, start: Chunk, end: int) -> None:
        self.name, self.start, self.utf8 = name, start, how.encoding == "utf-8"
        self.encoding = how.encoding
        self.lines = Lines(file, name, how.encoding, (start.offset, start.line), end)

    def chunks(self, size: int) -> Iterator[Chunk]:
        read, bad, lines = self.start.read, self.start.bad, self.lines
        while lines.offset < lines.end:
            records: list[bytes] = []
            warnings: list[str] = []
            at = lines.line
            numbers: list[int] = []
            while len(records) < size and (raw := lines.raw()):
                if not raw.endswith(b"\n") and not _is_object(raw):
                    lines.back_to(lines.offset - len(raw), lines.line - 1)
                    lines.end = lines.offset
                    warnings.append(f"{self.name} line {lines.line + 1}: not finished; it waits for the next pull")
                    break
                text = raw.strip()
                if text:
                    records.append(text if self.utf8 else text.decode(self.encoding).encode())
                    numbers.append(lines.line)
            records, wrong = self._checked(records, numbers)
            read, bad = read + len(records), bad + len(wrong)
            if lines.line != at or warnings:
                yield Chunk(records, lines.offset, lines.line, read, bad, [*warnings, *wrong[:_TOLD]])

    def _checked(self, records: list[bytes], numbers: Sequence[int]) -> tuple[list[bytes], list[str]]:
        """Put complaints in place of lines that are no JSON objects."""
        try:
            found = _Raws.decode(b"[" + b",".join(records) + b"]")
            if len(found) == len(records) and all(record[:1] == b"{" for record in records):
                return records, []
        except (msgspec.DecodeError, UnicodeError):
            pass
        wrong: list[str] = []
        for i, record in enumerate(records):
            if not _is_object(record):
                reason = "not a JSON object"
                wrong.append(f"{self.name} line {numbers[i]}: {reason}")
                records[i] = complaint(self.name, numbers[i], reason, record.decode("utf-8", "replace"))
        return records, wrong


def _is_object(raw: bytes) -> bool:
    try:
        _Object.decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeError):
        return False
    return True


def verify(file: IO[bytes], name: str, encoding: str, start: Chunk, end: int) -> None:
    """
    Read the bytes once to see that they are in the encoding, before any row is handed on.

    Raises Invalid naming file, line, byte and what to set. Text in UTF-8 that is to be read as latin-1 or cp1252
    would not fail by itself; it is told by its form.
    """
    own, utf8 = _Checker(encoding), _Checker("utf-8")
    at, line = start.offset, start.line + 1
    file.seek(at)
    while True:
        block = file.read(min(end - at, 1 << 20))
        wrong = own.feed(block)
        if wrong is not None:
            spot = line + block[: max(wrong, 0)].count(b"\n")
            raise Invalid(
                f"{name} line {spot}, byte {at + wrong + 1}: is not {encoding}; {_suggested(file, encoding)}",
                code="wrong_encoding",
            )
        utf8.feed(block)
        if not block:
            break
        at, line = at + len(block), line + block.count(b"\n")
    if encoding != "utf-8" and utf8.fine and utf8.beyond_ascii:
        raise Invalid(f'{name}: its text is UTF-8, not {encoding}; set encoding = "utf-8"', code="wrong_encoding")


def _suggested(file: IO[bytes], encoding: str) -> str:
    file.seek(0)
    if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
        return "it looks like UTF-16; have it written as UTF-8"
    if encoding != "utf-8":
        return 'set encoding = "latin-1", or "utf-8"'
    return 'set encoding = "cp1252" (Windows) or "latin-1"'


class _Checker:
    """Says whether bytes that come block by block are in an encoding."""

    def __init__(self, encoding: str) -> None:
        import codecs

        self.decode = codecs.getincrementaldecoder(encoding)().decode
        self.fine, self.beyond_ascii = True, False

    def feed(self, block: bytes) -> int | None:
        """Give the place of the first wrong byte in the block (below 0: in the one before), or None; b"" ends it."""
        if not self.fine:
            return None
        self.beyond_ascii = self.beyond_ascii or not block.isascii()
        try:
            self.decode(block, not block)
        except UnicodeDecodeError as exc:
            self.fine = False
            return exc.start - (len(exc.object) - len(block))
        return None
