"""Streams that are files of a drop folder: a checkpoint per file, half-written files left alone, nothing moved."""

import re
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import msgspec

from hub import ConfigError, Field, HubError, Invalid, Page, Stream, Temporary, Unauthorized
from hub_legacy.cells import Cells
from hub_legacy.handover import written
from hub_legacy.options import FileOptions, LegacyConfig, options_of, root, roots
from hub_legacy.rows import Chunk, Format, chunks, verify

UNFINISHED = (".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".swp", "~")
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


class Cursor(msgspec.Struct):
    """The marks of all files read, by name."""

    files: dict[str, Mark]
    v: int = 1


class Folder:
    """The drop folder of a connection."""

    def __init__(self, config: LegacyConfig) -> None:
        assert config.folder is not None
        self.config = config
        self.path = config.folder

    def count(self) -> int:
        """Count the files. Raises ConfigError where there is no folder, Unauthorized where it cannot be read."""
        return sum(1 for _ in self._files("**/*"))

    def pull(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        """
        Read what is new in the files of a pattern, file by file in the order of their names.

        A file that cannot be read stays unread and stops no other; its error comes when all others are done.
        """
        marks, how = self._marks(stream, cursor), self.format(stream)
        names = {self._name(path): path for path in self._files(stream.name)}
        marks = {name: mark for name, mark in marks.items() if name in names}
        failures: list[HubError] = []
        page = _Batch(marks, cursor)
        for name, path in names.items():
            try:
                for chunk, mark in self._new(name, path, how, marks.get(name)):
                    marks[name] = mark
                    page.add(chunk)
                    if len(page.records) >= self.config.page_size:
                        yield page.close()
                        self._acknowledge(marks)
            except HubError as exc:
                failures.append(exc)
            except OSError as exc:
                failures.append(_told(exc, name))
        if not names and not marks:
            page.warnings.append(f"{stream.name}: the folder has no such file")
        if page.records or page.warnings or marks != page.saved:
            yield page.close()
        self._acknowledge(marks)
        if failures:
            raise failures[0] if len(failures) == 1 else Invalid("; ".join(str(failure) for failure in failures))

    def fetch(self, stream: Stream, ids: Sequence[str]) -> Page:
        """Read these records from the files, the newest of each. A record no file holds is not called deleted."""
        how, wanted = self.format(stream), set(ids)
        names = [root(path) for path in stream.key]
        found: dict[str, bytes] = {}
        for path in self._files(stream.name):
            for chunk, _ in self._new(self._name(path), path, how, None):
                for raw in chunk.records:
                    record = msgspec.json.decode(raw)
                    if isinstance(record, dict):
                        key = ":".join(str(record.get(name)) for name in names)
                        if key in wanted:
                            found[key] = raw
        return Page(records=list(found.values()))

    def describe(self, pattern: str) -> list[Field]:
        """Name the members of the newest file's first record; nothing where a table's settings would be needed."""
        try:
            return self._described(Stream(pattern, key=()))
        except Invalid:
            return []

    def _described(self, stream: Stream) -> list[Field]:
        pattern = stream.name
        for path in sorted(self._files(pattern), key=lambda path: path.stat().st_mtime, reverse=True):
            for chunk, _ in self._new(self._name(path), path, self.format(stream), None):
                record = msgspec.json.decode(chunk.records[0]) if chunk.records else None
                if isinstance(record, dict) and len(record) > 1:
                    return [
                        Field(name, "text" if isinstance(v, str | None) else type(v).__name__)
                        for name, v in record.items()
                    ]
        return []

    def format(self, stream: Stream) -> Format:
        """Put the settings of table and connection together."""
        own, all_ = options_of(stream, FileOptions), self.config
        ndjson = own.format == "ndjson" or (
            own.format is None and stream.name.lower().endswith((".ndjson", ".jsonl", ".json"))
        )
        cells = Cells(
            comma=(own.decimal or all_.decimal) == ",",
            comma_columns=own.decimal_columns,
            dates=own.date_format,
            date_columns=own.date_columns,
            zone=own.zone or all_.zone,
        )
        return Format(
            csv=not ndjson,
            encoding=own.encoding or all_.encoding,
            delimiter=own.delimiter or all_.delimiter,
            quotechar=own.quotechar,
            header=None if own.header is True else own.header,
            cells=cells,
            keys=tuple(root(path) for path in stream.key),
            uses=roots(stream.paths) or (),
        )

    def rows(self, pattern: str) -> Iterator[tuple[Path, Iterator[dict[str, Any]]]]:
        """Give each file of a pattern with its records, the newest first: for acknowledgements."""
        how = self.format(Stream(pattern, key=()))
        for path in sorted(self._files(pattern), key=lambda path: path.stat().st_mtime, reverse=True):
            yield path, self._records(path, how)

    def _records(self, path: Path, how: Format) -> Iterator[dict[str, Any]]:
        for chunk, _ in self._new(self._name(path), path, how, None):
            for raw in chunk.records:
                record = msgspec.json.decode(raw)
                if isinstance(record, dict):
                    yield record

    def _marks(self, stream: Stream, cursor: str | None) -> dict[str, Mark]:
        if cursor is None:
            return {}
        try:
            return msgspec.json.decode(cursor, type=Cursor).files
        except msgspec.MsgspecError as exc:
            raise Invalid(f"{stream.name}: the stored cursor is not one of files; pull with --full") from exc

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _files(self, pattern: str) -> Iterator[Path]:
        """Give the finished files of a pattern, in the order of their names, numbers in them by value."""
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts or not pattern.strip():
            raise Invalid(f'stream "{pattern}": expected a pattern inside the folder, such as customers-*.csv')
        if not self.path.is_dir():
            raise ConfigError(f"folder: there is no folder {self.path.name} at that path")
        try:
            found = [path for path in self.path.glob(pattern) if self._counts(path)]
        except PermissionError as exc:
            raise Unauthorized("folder: this user may not read it") from exc
        return iter(sorted(found, key=lambda path: _natural(self._name(path))))

    def _counts(self, path: Path) -> bool:
        parts = path.relative_to(self.path).parts
        if any(part.startswith(".") for part in parts) or path.name.lower().endswith((*UNFINISHED, ".ack.json")):
            return False
        return path.is_file() and path.resolve().is_relative_to(self.path.resolve())

    def _new(self, name: str, path: Path, how: Format, mark: Mark | None) -> Iterator[tuple[Chunk, Mark]]:
        """Read what a file has beyond its mark. A file that changed a moment ago waits: it may still be written."""
        seen = path.stat()
        if mark is not None and mark.whole and (mark.size, mark.mtime) == (seen.st_size, seen.st_mtime_ns):
            return
        if not seen.st_size or not self.settled(seen):
            return
        with path.open("rb") as file:
            start = mark.place() if mark is not None and _continues(file, mark, seen) else Chunk([], 0, 0, 0, 0)
            verify(file, name, how.encoding, start, seen.st_size)
            place = start
            for chunk in chunks(file, name, how, start, seen.st_size, self.config.page_size):
                place = chunk
                yield chunk, _mark(file, seen, chunk)
            if place is start:
                yield Chunk([], start.offset, start.line, start.read, start.bad), _mark(file, seen, start)

    def settled(self, seen: Any) -> bool:
        """Say whether a file has rested long enough to be whole."""
        return abs(time.time() - float(seen.st_mtime)) >= self.config.settle_s

    def _acknowledge(self, marks: dict[str, Mark]) -> None:
        """Write an acknowledgement for each file read to its end; called once its last page is committed."""
        if self.config.acks is None:
            return
        for name, mark in marks.items():
            target = self.path / self.config.acks / f"{name.replace('/', '__')}.ack.json"
            told = {"file": name, "size": mark.size, "read": mark.read, "rejected": mark.bad, "digest": mark.print}
            content = msgspec.json.encode(told) + b"\n"
            if mark.whole and not (target.is_file() and target.read_bytes() == content):
                target.parent.mkdir(parents=True, exist_ok=True)
                written(target, content)


class _Batch:
    """A page in the making, over the chunks of one or several files."""

    def __init__(self, marks: dict[str, Mark], cursor: str | None) -> None:
        self.marks, self.cursor = marks, cursor
        self.saved = dict(marks)
        self.records: list[bytes] = []
        self.warnings: list[str] = []

    def add(self, chunk: Chunk) -> None:
        self.records += chunk.records
        self.warnings += chunk.warnings

    def close(self) -> Page:
        text = msgspec.json.encode(Cursor(self.marks)).decode()
        cursor, self.cursor = (text if text != self.cursor else None), text
        page = Page(records=self.records, cursor=cursor, warnings=self.warnings)
        self.records, self.warnings, self.saved = [], [], dict(self.marks)
        return page


def _mark(file: IO[bytes], seen: Any, chunk: Chunk) -> Mark:
    whole = chunk.offset >= seen.st_size
    edge = _print(file, chunk.offset)
    return Mark(seen.st_size, seen.st_mtime_ns, chunk.offset, chunk.line, chunk.read, chunk.bad, edge, whole)


def _print(file: IO[bytes], offset: int) -> str:
    """Hash the first and the last bytes of what was read."""
    at = file.tell()
    file.seek(0)
    hashed = blake2b(file.read(min(_EDGE, offset)), digest_size=8)
    file.seek(max(0, offset - _EDGE))
    hashed.update(file.read(min(_EDGE, offset)))
    file.seek(at)
    return hashed.hexdigest()


def _continues(file: IO[bytes], mark: Mark, seen: Any) -> bool:
    """Say whether a file is the one that was read, perhaps longer: same bytes at both edges, cut at a line's end."""
    same_size = seen.st_size == mark.size and seen.st_mtime_ns != mark.mtime
    if seen.st_size < mark.offset or (same_size and mark.whole) or _print(file, mark.offset) != mark.print:
        return False
    file.seek(max(0, mark.offset - 1))
    edge = file.read(2)
    return mark.offset == 0 or edge[:1] == b"\n" or edge[1:] in (b"", b"\r", b"\n")


def _natural(name: str) -> list[tuple[int, int, str]]:
    pieces = re.split(r"(\d+)", name)
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in pieces if piece]


def _told(exc: OSError, name: str) -> HubError:
    if isinstance(exc, PermissionError):
        return Unauthorized(f"{name}: this user may not read it")
    return Temporary(f"{name}: cannot be read now ({type(exc).__name__})")
