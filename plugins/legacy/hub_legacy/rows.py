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
CHUNK_BYTES = 4 * 1024 * 1024
_TOLD = 20
_RUNAWAYS = 50
_TEXT = 4000
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

    @property
    def spot(self) -> tuple[int, int]:
        return self.offset, self.line


def complaint(name: str, line: int, reason: str, text: str) -> bytes:
    """Give what stands for a line that is no record: the mapping rejects it and keeps reason and text."""
    return encode([f"{name} line {line}: {reason}", text[:_TEXT]])


def chunks(file: IO[bytes], name: str, how: Format, start: Chunk, end: int, size: int) -> Iterator[Chunk]:
    """Read the file from where `start` ended up to byte `end`, `size` records or 4 MB at a time."""
    read = _CsvRows(file, name, how, start, end) if how.csv else _NdjsonLines(file, name, how, start, end)
    yield from read.chunks(size)


class Lines:
    """
    The lines of a file, decoded one by one; `taken` are the offsets after those handed out since it was cleared.

    A line that cannot be right is handed out as far as it can be shown, and `wrong` says what is wrong with it.
    """

    def __init__(self, file: IO[bytes], name: str, encoding: str, at: tuple[int, int], end: int) -> None:
        self.file, self.name, self.encoding, self.end = file, name, encoding, end
        self.offset, self.line = at
        self.taken: list[int] = []
        self.first = ""
        self.wrong: str | None = None
        file.seek(self.offset)

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        raw = self.raw()
        if not raw:
            raise StopIteration
        try:
            text = raw.decode(self.encoding)
        except UnicodeDecodeError:
            self.wrong = f"is not {self.encoding}"
            text = raw.decode(self.encoding, "backslashreplace")
        if "\0" in text:
            self.wrong = "holds a NUL byte"
            text = text.replace("\0", "\\x00")
        if not self.taken:
            self.first = text
        self.taken.append(self.offset)
        return text

    def clear(self) -> None:
        """Begin a new row."""
        self.taken.clear()
        self.wrong = None

    def raw(self) -> bytes:
        """Give the next line; of one that is too long, the beginning."""
        start = self.offset
        raw = self.file.readline(min(LINE_LIMIT, self.end - start))
        self.offset += len(raw)
        self.line += bool(raw)
        if len(raw) == LINE_LIMIT and not raw.endswith(b"\n"):
            self.wrong = f"longer than {LINE_LIMIT} bytes"
            raw = raw[:_TEXT]
            self._skip()
        return raw.removeprefix(_BOM) if start == 0 else raw

    def _skip(self) -> None:
        """Go to the end of the line."""
        while self.offset < self.end:
            more = self.file.readline(min(LINE_LIMIT, self.end - self.offset))
            self.offset += len(more)
            if not more or more.endswith(b"\n"):
                return

    def back_to(self, offset: int, line: int) -> None:
        self.file.seek(offset)
        self.offset, self.line = offset, line
        self.clear()


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
        warnings, lines = self._missing(), self.lines
        full = lines.offset + CHUNK_BYTES
        for row in self._rows():
            records.append(self._record(row) if isinstance(row, list) else row)
            read += 1
            if not isinstance(row, list):
                bad, told = bad + 1, told + 1
                if told <= _TOLD:
                    warnings.append(msgspec.json.decode(row)[0])
            if len(records) >= size or lines.offset >= full:
                yield Chunk(records, lines.offset, lines.line, read, bad, warnings)
                records, warnings, full = [], [], lines.offset + CHUNK_BYTES
        if told > _TOLD:
            warnings.append(f"{self.name}: {told - _TOLD} more lines that do not fit")
        if records or warnings or lines.offset != self.start.offset:
            yield Chunk(records, lines.offset, lines.line, read, bad, warnings)

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
            lines.clear()
            line = lines.line + 1
            row: list[str] | None
            reason = "no CSV: a stray quote, a stray carriage return, or a value that is too long"
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error:
                row = None
            if row is not None and lines.wrong is None:
                if len(row) == width:
                    yield row
                    continue
                if not row:
                    continue
                reason = f"{len(row)} values where the header has {width}"
            reason, text = lines.wrong or reason, lines.first.rstrip("\r\n")
            if len(lines.taken) > 1 and (row is None or len(row) != width):
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
    if csv.field_size_limit() < LINE_LIMIT:
        csv.field_size_limit(LINE_LIMIT)
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
        if lines.wrong is not None:
            hint = "it looks like UTF-16; have it written as UTF-8" if "NUL" in lines.wrong else "is this the header?"
            raise Invalid(f"{name} line 1: {lines.wrong}; {hint}", code="wrong_encoding")
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
            wrong: dict[int, str] = {}
            numbers: list[int] = []
            at, full = lines.line, lines.offset + CHUNK_BYTES
            while len(records) < size and lines.offset < full and (raw := lines.raw()):
                if not raw.endswith(b"\n") and lines.wrong is None and not _is_object(raw):
                    lines.back_to(lines.offset - len(raw), lines.line - 1)
                    lines.end = lines.offset
                    warnings.append(f"{self.name} line {lines.line + 1}: not finished; it waits for the next pull")
                    break
                text = raw.strip()
                if text:
                    records.append(self._as_utf8(text, wrong, len(records)))
                    numbers.append(lines.line)
                lines.clear()
            records, told = self._checked(records, numbers, wrong)
            read, bad = read + len(records), bad + len(told)
            if lines.line == at and not warnings:
                return  # the file ends before its size: it was cut while it was read
            yield Chunk(records, lines.offset, lines.line, read, bad, [*warnings, *told[:_TOLD]])

    def _as_utf8(self, text: bytes, wrong: dict[int, str], index: int) -> bytes:
        if self.lines.wrong is not None:
            wrong[index] = self.lines.wrong
        elif not text.isascii():
            try:
                decoded = text.decode(self.encoding)
                return text if self.utf8 else decoded.encode()
            except UnicodeDecodeError:
                wrong[index] = f"is not {self.encoding}"
        return text

    def _checked(
        self, records: list[bytes], numbers: Sequence[int], wrong: dict[int, str]
    ) -> tuple[list[bytes], list[str]]:
        """Put complaints in place of lines that are no JSON objects."""
        if not wrong and _are_objects(records):
            return records, []
        told: list[str] = []
        for i, record in enumerate(records):
            if i in wrong or not _is_object(record):
                reason = wrong.get(i, "not a JSON object")
                told.append(f"{self.name} line {numbers[i]}: {reason}")
                records[i] = complaint(self.name, numbers[i], reason, record.decode("utf-8", "backslashreplace"))
        return records, told


def _are_objects(records: Sequence[bytes]) -> bool:
    try:
        found = _Raws.decode(b"[" + b",".join(records) + b"]")
    except (msgspec.DecodeError, UnicodeError):
        return False
    return len(found) == len(records) and all(record[:1] == b"{" for record in records)


def _is_object(raw: bytes) -> bool:
    try:
        _Object.decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeError):
        return False
    return True
