"""Streams that are files of a drop folder: a checkpoint per file, half-written files left alone, nothing moved."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from hub import Field, HubError, Invalid, Page, Stream, Temporary, Unauthorized
from hub_legacy.acknowledging import Acknowledgements
from hub_legacy.cells import Cells
from hub_legacy.marks import Cursor, Mark, Orphans, continues, marked
from hub_legacy.options import JSON_LINES, FileOptions, LegacyConfig, options_of, root, roots
from hub_legacy.places import Entry, Local, Place
from hub_legacy.rows import CHUNK_BYTES, Chunk, Format, chunks
from hub_legacy.survey import verify
from hub_legacy.unpacking import unpacked

_SURVEYED = CHUNK_BYTES // 2


class Folder:
    """The drop folder of a connection."""

    def __init__(self, config: LegacyConfig) -> None:
        self.config = config
        self.place = _place(config)

    def count(self) -> int:
        """Count the files. Raises ConfigError where there is no folder, Unauthorized where it cannot be read."""
        return len(self.place.entries("*" if self.place.remote else "**/*"))

    def pull(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        """
        Read what is new in the files of a pattern, file by file in the order of their names.

        A file that cannot be read stays unread and stops no other; its error comes when all others are done. Where
        the connection to the files broke, the pull ends there.
        """
        known, how = self._marks(stream, cursor), self.format(stream)
        entries = self.place.entries(stream.name)
        work = _Work(self, how, known, {entry.name for entry in entries})
        page = _Batch(work.marks, cursor, self.config.page_size)
        for chunk in work.chunks(self._settled(entries, known)):
            page.add(chunk)
            if page.is_full:
                yield page.close()
                work.acknowledge()
        if not entries and not work.marks:
            page.warnings.append(f"{stream.name}: the folder has no such file")
        if page.records or page.warnings or work.marks != page.saved:
            yield page.close()
        work.end()

    def fetch(self, stream: Stream, ids: Sequence[str]) -> Page:
        """Read these records from the files, the newest of each. A record no file holds is not called deleted."""
        how, wanted = self.format(stream), set(ids)
        names = [root(path) for path in stream.key]
        found: dict[str, bytes] = {}
        for entry in self.place.entries(stream.name):
            for raw, record in self._records(entry, how):
                key = ":".join(str(record.get(name)) for name in names)
                if key in wanted:
                    found[key] = raw
        return Page(records=list(found.values()))

    def describe(self, pattern: str) -> list[Field]:
        """Name the members of the newest file's first record; nothing where a table's settings would be needed."""
        try:
            how = self.format(Stream(pattern, key=()))
            for entry in self._newest(pattern):
                record = next((record for _, record in self._records(entry, how)), {})
                if len(record) > 1:
                    return [
                        Field(name, "text" if isinstance(v, str | None) else type(v).__name__)
                        for name, v in record.items()
                    ]
        except Invalid:
            return []
        return []

    def format(self, stream: Stream) -> Format:
        """Put the settings of table and connection together."""
        own, all_ = options_of(stream, FileOptions), self.config
        ndjson = own.format == "ndjson" or (
            own.format is None and stream.name.lower().removesuffix(".gz").endswith(JSON_LINES)
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

    def rows(self, pattern: str) -> Iterator[tuple[Entry, Iterator[dict[str, Any]]]]:
        """Give each file of a pattern with its records, the newest first: for acknowledgements."""
        how = self.format(Stream(pattern, key=()))
        for entry in self._newest(pattern):
            yield entry, (record for _, record in self._records(entry, how))

    def is_settled(self, entry: Entry) -> bool:
        """Say whether a file has rested long enough to be whole."""
        return abs(time.time() - entry.mtime_ns / 1e9) >= self.config.settle_s

    def close(self) -> None:
        self.place.close()

    def _newest(self, pattern: str) -> list[Entry]:
        return sorted(self.place.entries(pattern), key=lambda entry: entry.mtime_ns, reverse=True)

    def _records(self, entry: Entry, how: Format) -> Iterator[tuple[bytes, dict[str, Any]]]:
        if not self.is_settled(entry):
            return
        for chunk, _ in self.read(entry, how):
            for raw in chunk.records:
                record = msgspec.json.decode(raw)
                if isinstance(record, dict):
                    yield raw, record

    def _settled(self, entries: list[Entry], marks: dict[str, Mark]) -> list[Entry]:
        """
        Leave out files that have nothing new, and those that may still be written.

        The clock of another machine may be wrong: there a file that is new here has to look the same twice.
        """
        new = [entry for entry in entries if (mark := marks.get(entry.name)) is None or not mark.knows(entry)]
        if not self.place.remote:
            return [entry for entry in new if self.is_settled(entry)]
        if new and self.config.settle_s:
            time.sleep(self.config.settle_s)
            again = {one for entry in new for one in self.place.entries(_quoted(entry.name))}
            new = [entry for entry in new if entry in again]
        return new

    def _marks(self, stream: Stream, cursor: str | None) -> dict[str, Mark]:
        if cursor is None:
            return {}
        try:
            return msgspec.json.decode(cursor, type=Cursor).files
        except msgspec.MsgspecError as exc:
            raise Invalid(f"{stream.name}: the stored cursor is not one of files", code="bad_cursor") from exc

    def read(
        self, entry: Entry, how: Format, mark: Mark | None = None, orphans: Orphans | None = None
    ) -> Iterator[tuple[Chunk, Mark]]:
        """Read what a file has beyond its mark; nothing of one that was read before under another name."""
        if not entry.size:
            return
        with self._opened(entry) as (file, end):
            if mark is None and orphans is not None:
                mark = orphans.adopted(entry, file, end)
            start = mark.place() if mark is not None and continues(file, mark, entry, end) else Chunk([], 0, 0, 0, 0)
            far = min(end, start.offset + _SURVEYED) if self.place.remote else end
            verify(file, entry.name, how.encoding, start.spot, (far, end))
            place = start
            for chunk in chunks(file, entry.name, how, start, end, self.config.page_size):
                place = chunk
                yield chunk, marked(file, entry, chunk, end)
            if place is start:
                yield Chunk([], start.offset, start.line, start.read, start.bad), marked(file, entry, start, end)

    @contextmanager
    def _opened(self, entry: Entry) -> Iterator[tuple[BinaryIO, int]]:
        """Open a file as it was listed: its bytes, unpacked where it is packed, and how many there are."""
        with self.place.open(entry.name) as file:
            if not entry.name.lower().endswith(".gz"):
                yield file, entry.size
                return
            with unpacked(file, entry.name) as (whole, size):
                yield whole, size


class _Work:
    """What one pull does to the files: their marks, the errors on the way, and the acknowledgements."""

    def __init__(self, folder: Folder, how: Format, marks: dict[str, Mark], there: set[str]) -> None:
        self.folder, self.how = folder, how
        self.orphans = Orphans(marks, there)
        self.marks = {name: mark for name, mark in marks.items() if name in there}
        self.acks = Acknowledgements(folder.place, folder.config.acks, self.marks) if folder.config.acks else None
        self.failures: list[HubError] = []
        self.broken = False

    def chunks(self, entries: Sequence[Entry]) -> Iterator[Chunk]:
        for entry in entries:
            try:
                for chunk, mark in self.folder.read(entry, self.how, self.marks.get(entry.name), self.orphans):
                    self.marks[entry.name] = mark
                    yield chunk
            except HubError as exc:
                self.failures.append(exc)
            except OSError as exc:
                self.failures.append(_told(exc, entry.name))
                self.broken = isinstance(exc, (ConnectionError, TimeoutError))
            if self.broken:
                return

    def acknowledge(self) -> None:
        """Acknowledge the files read to their end; called once their last page is committed."""
        if self.acks is None or self.broken:
            return
        try:
            self.acks.write(self.marks)
        except PermissionError as exc:
            raise Unauthorized(f"acks: this user may not write to {self.folder.config.acks}") from exc
        except OSError as exc:
            raise Temporary(f"acks: cannot be written now ({type(exc).__name__})") from exc

    def end(self) -> None:
        """Acknowledge the rest. Raises what went wrong on the way."""
        self.acknowledge()
        if self.failures:
            several = Invalid("; ".join(str(failure) for failure in self.failures))
            raise self.failures[0] if len(self.failures) == 1 else several


class _Batch:
    """A page in the making, over the chunks of one or several files."""

    def __init__(self, marks: dict[str, Mark], cursor: str | None, size: int) -> None:
        self.marks, self.cursor, self.size = marks, cursor, size
        self.saved = dict(marks)
        self.records: list[bytes] = []
        self.warnings: list[str] = []
        self.bytes = 0

    @property
    def is_full(self) -> bool:
        return len(self.records) >= self.size or self.bytes >= CHUNK_BYTES

    def add(self, chunk: Chunk) -> None:
        self.records += chunk.records
        self.warnings += chunk.warnings
        self.bytes += sum(map(len, chunk.records))

    def close(self) -> Page:
        text = msgspec.json.encode(Cursor(self.marks)).decode()
        cursor, self.cursor = (text if text != self.cursor else None), text
        page = Page(records=self.records, cursor=cursor, warnings=self.warnings)
        self.records, self.warnings, self.saved, self.bytes = [], [], dict(self.marks), 0
        return page


def _place(config: LegacyConfig) -> Place:
    if isinstance(config.folder, Path):
        return Local(config.folder)
    from hub_legacy.sftp import Sftp

    return Sftp(config)


def _quoted(name: str) -> str:
    """Give the pattern that means one file."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def _told(exc: OSError, name: str) -> HubError:
    if isinstance(exc, PermissionError):
        return Unauthorized(f"{name}: this user may not read it")
    return Temporary(f"{name}: cannot be read now ({type(exc).__name__})")
