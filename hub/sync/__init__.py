"""
Run one pull: read the cursor, take page after page from the connector, map and ingest each, until the stream ends.

The cursor is the truth: whatever stops a pull, the next one goes on behind the last page that was committed.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

import xxhash

from hub.config import since_time
from hub.connections import Connection, wall
from hub.connector import Mark, Page, Stream
from hub.errors import ConfigError, HubError, Invalid, NotFound, Temporary, Unauthorized, Unsupported
from hub.ingest import Counts, PageCommit, archived, ingest
from hub.mapping import MappedPage
from hub.store import Store, Tx, clock, cursors, fills, sources
from hub.store.ahead import ahead
from hub.sync.sampling import Sample

log = logging.getLogger("hub.sync")
TableReport = dict[str, Any]
RESUME_WITHIN_MS = 24 * 3600 * 1000
"""An unfinished full pass older than this is begun anew by the next one."""


@dataclass(frozen=True)
class Progress:
    """
    How far the pull of a stream is; `warnings` are those of the page just read. One that `failed` is done too.

    `total` is how many records it has in all, where the vendor says so.
    """

    connection: str
    stream: str
    read: int = 0
    changed: int = 0
    warnings: tuple[str, ...] = ()
    done: bool = False
    failed: bool = False
    total: int | None = None


def sync_connection(
    store: Store,
    connection: Connection,
    *,
    streams: Sequence[str] | None = None,
    full: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, TableReport]:
    """
    Pull the streams of a connection (all that its mapping names) and report by table.

    An error of one stream is in its tables' `error`, the others go on; where the credentials are refused, none is tried
    any more. `full` reads from the beginning; one that was interrupted goes on. Raises ConfigError for an unknown
    stream.
    """
    connection = replace(connection)  # another mapping that it is given meanwhile counts from the next pull
    known = connection.mapping.streams()
    for name in streams or ():
        if name not in known:
            raise ConfigError(f'{connection.name}: the mapping has no stream "{name}"; it has {", ".join(known)}')
    report: dict[str, TableReport] = {}
    refused: str | None = None
    for name in known:
        if streams is not None and name not in streams:
            continue
        pull = _Pull(store, connection, name, progress or (lambda _: None))
        if refused is None:
            error = pull.run(full=full)
            refused = pull.refused
        else:
            error = refused
        report |= pull.report(error)
    return report


def not_begun(
    store: Store, connection: Connection, streams: Sequence[str] | None, why: HubError
) -> dict[str, TableReport]:
    """Report a pull that could not begin: every table with the same error, nothing read."""
    wanted = [name for name in connection.mapping.streams() if streams is None or name in streams]
    pulls = [_Pull(store, connection, name, lambda _: None) for name in wanted]
    error = f"{why.error_code}: {why.message}"
    return {name: line for pull in pulls for name, line in pull.report(error).items()}


def fetch(store: Store, connection: Connection, stream: str, ids: Sequence[str]) -> Counts:
    """
    Read these records of a stream anew, now, and ingest them: after a write, for a webhook, before a decision.

    Raises Unsupported where the connector cannot fetch, else what it raises.
    """
    method = connection.connector.method("fetch", stream)
    if method is None:
        raise Unsupported(f"{connection.name}: {stream} cannot be fetched by id")
    with store.read() as tx:
        read_at = max(clock.now(), cursors.latest(tx))
    with wall(f"{connection.name} {stream}"), connection.call():
        page = _whole(method(_stream(connection, stream), list(ids)))
        if page is None:
            raise TypeError("a fetch answers a Page")
    return _commit(store, connection, _read(connection, stream, page, read_at))


@dataclass(frozen=True)
class _Read:
    """A page as it came and mapped, and when it was asked for."""

    stream: str
    page: Page
    read_at: datetime
    mapped: MappedPage


class _Place(NamedTuple):
    """The place of a page in its pull: full pass, whether it begins that, and when the page before was asked for."""

    scan: cursors.Scan | None
    fresh: bool
    follows: int | None


@dataclass
class _Pull:
    """The pull of one stream; `anew` where it goes over all there is, so that all rows are of the present mapping."""

    store: Store
    connection: Connection
    stream: str
    tell: Callable[[Progress], None]
    tables: dict[str, TableReport] = field(default_factory=dict)
    read: int = 0
    refused: str | None = None
    anew: bool = False
    sample: Sample = field(default_factory=Sample)
    total: int | None = None
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        mapping = self.connection.mapping
        for name in mapping.tables_of(self.stream):
            self.tables[name] = {
                "stream": self.stream,
                "kind": mapping.tables[name].kind,
                **dict.fromkeys(("read", "changed", "deleted", "skipped", "rejected"), 0),
            }

    def report(self, error: str | None) -> dict[str, TableReport]:
        seconds = round(time.monotonic() - self.started, 3)
        return {name: {**counted, "seconds": seconds, "error": error} for name, counted in self.tables.items()}

    def run(self, *, full: bool) -> str | None:
        """Pull to the end; give the error that stopped it, or None."""
        error: str | None = None
        try:
            error = self._pages(full)
        except Unsupported as exc:
            self._warn((exc.message,))
        except HubError as exc:
            error = f"{exc.error_code}: {exc.message}"
            self.refused = error if isinstance(exc, Unauthorized) else None
        with self.store.write() as tx:
            key, at = (self.connection.name, self.stream), clock.text(clock.now())
            if error is None:
                cursors.finished(tx, key, at)
                if self.anew:
                    sources.settled(tx, *key, mapping=self.connection.mapping.projection(self.stream))
            else:
                cursors.failed(tx, key, error=error, at=at)
            self._note_filled(tx, at)
        changed = self._sum("changed")
        self.tell(Progress(self.connection.name, self.stream, self.read, changed, done=True, failed=error is not None))
        return error

    def _note_filled(self, tx: Tx, at: str) -> None:
        for table, look in self.sample.looks.items():
            emptied = fills.note(tx, self.connection.name, table, look=look, at=at)
            if emptied:
                named = self.connection.name, table, ", ".join(sorted(emptied))
                log.warning("%s %s: %s used to be filled and is null in all rows looked at; see `hub drift`", *named)

    def _pages(self, full: bool) -> str | None:
        mark = type(self.connection.connector).mark("pull", self.stream)
        if mark is None:
            raise NotFound(f"{self.connection.name}: the connector has no stream {self.stream}; see its README")
        try:
            return self._passed(mark, self._start(mark, full))
        except Invalid as exc:
            if exc.error_code != "bad_cursor":
                raise
            self._warn((f"{exc.message}; the stream is read from its beginning",))
        return self._passed(mark, (None, self._anew(mark, self._position()), True))

    def _passed(self, mark: Mark, start: tuple[str | None, cursors.Scan | None, bool]) -> str | None:
        """Read pages from where it was decided to begin; give the fuse that blew, or None."""
        cursor, scan, fresh = start
        self.anew = fresh and self.connection.settings.sync.since is None
        if self.anew:
            with self.store.write() as tx:
                made = self.connection.mapping.projection(self.stream)
                sources.begin(tx, self.connection.name, self.stream, mapping=made)
        guard, fuse, follows = _Guard(cursor), None, None
        reads = self._reads(mark, cursor)
        early = mark.ahead and self.connection.settings.sync.ahead
        with closing(ahead(reads) if early else reads) as pages:
            for read in pages:
                page = read.page
                guard.check(self.connection.name, self.stream, page)
                counts = _commit(self.store, self.connection, read, _Place(scan, fresh, follows))
                self._count(counts, page)
                follows = clock.millis(read.read_at)
                if counts.changed:
                    self.sample.add(read.mapped)
                fuse = counts.fuse or fuse
                scan, fresh = (None if page.complete else scan), False
        return f"fuse: {fuse}" if fuse else None

    def _start(self, mark: Mark, full: bool) -> tuple[str | None, cursors.Scan | None, bool]:
        """
        Decide where to begin: give the cursor, the full pass, and whether it begins now.

        A stream whose deletions show in a scan is watched from the start of every pull, for the connector may fall
        back to a full list by itself.
        """
        at = self._position()
        anew = self._anew(mark, at)
        if at.scan is not None and (not full or (at.whole and anew.began_at - at.scan < RESUME_WITHIN_MS)):
            return at.cursor, cursors.Scan(at.scan, anew.sweeps, at.whole), False
        if full:
            return None, anew, True
        return at.cursor or None, replace(anew, whole=not at.cursor) if anew.sweeps else None, False

    def _position(self) -> cursors.Position:
        with self.store.read() as tx:
            return cursors.position(tx, self.connection.name, self.stream)

    def _anew(self, mark: Mark, at: cursors.Position) -> cursors.Scan:
        """Name a full pass: later than any page before, even within a millisecond or when the clock went back."""
        return cursors.Scan(max(clock.millis(clock.now()), (at.read_at or 0) + 1), mark.deletes == "scan")

    def _reads(self, mark: Mark, cursor: str | None) -> Generator[_Read, None, None]:
        method = getattr(self.connection.connector, mark.method)
        pages: Iterator[Page] = iter(())
        begun = False
        with self.store.read() as tx:
            since = cursors.latest(tx)
        while True:
            read_at = max(clock.now(), since)
            with wall(f"{self.connection.name} {self.stream}"), self.connection.call():
                if not begun:
                    pages, begun = iter(method(_stream(self.connection, self.stream), cursor)), True
                page = _whole(next(pages, None))
            if page is None:
                return
            yield _read(self.connection, self.stream, page, read_at)

    def _count(self, counts: Counts, page: Page) -> None:
        for name, table in counts.tables.items():
            for what in ("read", "changed", "deleted", "skipped", "rejected"):
                self.tables[name][what] += getattr(table, what)
        self.read += counts.read
        if page.warnings:
            self._warn(tuple(page.warnings))
        self.total = self.total if page.total is None else page.total
        self.tell(Progress(self.connection.name, self.stream, self.read, self._sum("changed"), total=self.total))

    def _warn(self, warnings: tuple[str, ...]) -> None:
        for warning in warnings:
            log.warning("%s %s: %s", self.connection.name, self.stream, warning)
        self.tell(Progress(self.connection.name, self.stream, self.read, self._sum("changed"), warnings))

    def _sum(self, what: str) -> int:
        return sum(table[what] for table in self.tables.values())


class _Guard:
    """Stops a pull that goes round in circles: a cursor that came before may only be the empty end of a stream."""

    def __init__(self, start: str | None) -> None:
        self._start = _digest(start)
        self._seen: set[bytes] = set()
        self._repeated = False

    def check(self, connection: str, stream: str, page: Page) -> None:
        cursor = _digest(page.cursor)
        if self._repeated or (cursor in self._seen and _has_records(page)):
            raise Temporary(f"{connection} {stream}: the vendor repeated a cursor; the pull was stopped")
        if cursor is not None:
            self._repeated = cursor in self._seen or cursor == self._start
            self._seen.add(cursor)


def _digest(cursor: str | None) -> bytes | None:
    """Give what is remembered of a cursor: that of a folder names every file in it, and each page brings another."""
    return None if cursor is None else xxhash.xxh3_128_digest(cursor.encode())


def _whole(page: Any) -> Page | None:
    """Refuse what is no page, before any of it is written."""
    if page is None:
        return None
    if not isinstance(page, Page) or not isinstance(page.cursor, str | None):
        raise TypeError("expected a Page with a cursor of str or None")
    named = [*page.deleted, *page.merged, *page.merged.values()]
    if not all(isinstance(id, str) for id in named):
        raise TypeError("expected Page.deleted and Page.merged of str")
    "".join([*named, page.cursor or ""]).encode()  # half a surrogate pair could not be stored
    return page


def _has_records(page: Page) -> bool:
    return page.body is not None or bool(page.records) or bool(page.deleted) or bool(page.merged)


def _stream(connection: Connection, name: str) -> Stream:
    since = connection.settings.sync.since
    return connection.mapping.stream(name, since=since_time(since, clock.now()) if since else None)


def _followed(store: Store, connection: Connection, stream: str, page: Page, mapped: MappedPage) -> Page:
    """Ask the connector which of the customers that a page shows archived live on in another record."""
    method = connection.connector.method("follow", stream)
    known = archived(store, connection.name, mapped) if method else {}
    if method is None or not known:
        return page
    with wall(f"{connection.name} {stream}"), connection.call():
        followed = replace(page, merged={**page.merged, **method(_stream(connection, stream), known)})
        _whole(followed)
    return followed


def _read(connection: Connection, stream: str, page: Page, read_at: datetime) -> _Read:
    """Map a page, and hash what it brought: all that needs no database."""
    read = _Read(stream, page, read_at, connection.mapping.map_page(stream, page))
    _ = read.mapped.raw_hashes
    return read


def _commit(store: Store, connection: Connection, read: _Read, place: _Place | None = None) -> Counts:
    """Ingest what was read: at its place in a pull, or by itself."""
    mapping, stream = connection.mapping, read.stream
    return ingest(
        store,
        PageCommit(
            connection=connection.name,
            stream=stream,
            mapped=read.mapped,
            page=_followed(store, connection, stream, read.page, read.mapped),
            read_at=read.read_at,
            revision=mapping.revision,
            cursor=read.page.cursor,
            connector=connection.settings.connector,
            scan=place.scan if place else None,
            fresh=place.fresh if place else False,
            advance=place is not None,
            follows=place.follows if place else None,
            fuse=connection.settings.sync.fuse,
            elements=mapping.elements(stream),
            projection=mapping.projection(stream),
            keep_raw=mapping.raw_retention(stream) != "none",
        ),
    )
