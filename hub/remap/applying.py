"""Map a stream's kept raw records anew and write what changes: lot by lot, to be resumed where it was stopped."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from hub.config import ConnectionSettings
from hub.connector import Page
from hub.errors import Conflict
from hub.ingest import Compared, PageCommit, compare, note, reproject
from hub.mapping import CompiledMapping
from hub.remap import orphans, purging, stored
from hub.remap.replaying import replay_stream
from hub.store import Sources, Store, clock, is_postgres, sources
from hub.store.ahead import ahead

_FUSE_ROWS = 10
_ROUNDS = 5
_POSITION = "SELECT revision, block FROM remap WHERE connection = ? AND stream = ?"
_DONE = "DELETE FROM remap WHERE connection = ? AND stream = ?"


class Mapped(Protocol):
    """What a remap needs of a connection: its name, its mapping and its settings; no vendor."""

    @property
    def name(self) -> str: ...
    @property
    def mapping(self) -> CompiledMapping: ...
    @property
    def settings(self) -> ConnectionSettings: ...


@dataclass(frozen=True)
class Progress:
    """How far a remap is: records of a stream that are done, of how many, and rows changed."""

    connection: str
    stream: str
    read: int = 0
    total: int = 0
    changed: int = 0
    done: bool = False


Tell = Callable[[Progress], None]


@dataclass
class TableReport:
    """
    What a remap did to one table.

    `revived` are those among the changed that were taken before and are again; `without_raw` counts rows whose raw
    record is not kept: they stay as they are.
    """

    stream: str
    kind: str | None
    same: int = 0
    created: int = 0
    changed: int = 0
    revived: int = 0
    deleted: int = 0
    rejected: int = 0
    without_raw: int = 0


@dataclass
class Run:
    """The remap of one stream."""

    store: Store
    connection: Mapped
    stream: str
    tell: Tell = lambda _: None
    tables: dict[str, TableReport] = field(default_factory=dict)
    read: int = 0
    total: int = 0
    fuse: bool = True

    @property
    def revision(self) -> str:
        return self.connection.mapping.projection(self.stream)

    def commit(self, lot: stored.Lot) -> PageCommit:
        """Say what a lot is to be committed with."""
        mapping, page = self.connection.mapping, Page(records=lot.raws)
        return PageCommit(
            connection=self.connection.name,
            stream=self.stream,
            mapped=mapping.map_page(self.stream, page),
            page=page,
            read_at=clock.now(),
            revision=mapping.revision,
            connector=self.connection.settings.connector,
            advance=False,
            elements=mapping.elements(self.stream),
            projection=self.revision,
            keep_raw=mapping.raw_retention(self.stream) != "none",
            kept=lot.kept,
            made=lot.made,
        )

    def report(self, name: str, kind: str | None) -> TableReport:
        """Give the report of a table, to add to it."""
        return self.tables.setdefault(name, TableReport(self.stream, kind))

    def count(self, records: int, found: Compared) -> None:
        """Add up what mapping records anew means."""
        for name, again in found.tables.items():
            table = self.report(name, again.kind)
            table.same += again.same + len(again.moved)
            table.created += len(again.new)
            table.changed += len(again.changed)
            table.revived += sum(bool(known.deleted) for _, known in again.changed)
            table.deleted += len(again.gone)
            table.rejected += len(again.rejected)
        self.read += records
        self.told()

    def told(self, *, done: bool = False) -> None:
        """Tell how far this is."""
        changed = sum(one.created + one.changed + one.deleted for one in self.tables.values())
        self.tell(Progress(self.connection.name, self.stream, self.read, self.total, changed, done))

    def agreed(self, found: Compared) -> None:
        """Check what a lot would take away."""
        self.check(sum(len(table.gone) for table in found.tables.values()))

    def check(self, dying: int) -> None:
        """Raise Conflict where more rows would go than a mapping should take away unasked."""
        gone = dying + sum(one.deleted for one in self.tables.values())
        fuse = self.connection.settings.sync.fuse
        if self.fuse and gone > _FUSE_ROWS and gone > fuse * max(self.total, 1):
            raise Conflict(
                f"{self.connection.name} {self.stream}: the mapping would take away {gone} or more of {self.total} "
                f"records, more than {fuse:.0%}; look at `hub map diff`, then say `hub map apply --yes`",
                code="fuse",
            )


def apply(
    store: Store,
    connection: Mapped,
    *,
    streams: Sequence[str] | None = None,
    fuse: bool = True,
    progress: Tell | None = None,
) -> dict[str, dict[str, Any]]:
    """
    Make all rows of a connection what its mapping makes of the kept raw records; report by table.

    Only what changes is written, one transaction for about 1,000 records together with the position, so that a remap
    that was stopped goes on from there. Pulls may run meanwhile: what is newer stays. Raises Conflict where more than
    `sync.fuse` of a stream's records would go, unless `fuse` is off, and where an other mapping writes all the while.
    """
    report: dict[str, dict[str, Any]] = {}
    for stream in connection.mapping.streams():
        if streams is None or stream in streams:
            run = Run(store, connection, stream, progress or (lambda _: None), fuse=fuse)
            _apply(run)
            report |= {name: asdict(table) for name, table in run.tables.items()}
    return report


def _apply(run: Run) -> None:
    key, revision = (run.connection.name, run.stream), run.revision
    with run.store.write() as tx:
        known = tx.execute(_POSITION, key).fetchone()
        after = known[1] if known and known[0] == revision else 0
        sources.begin(tx, *key, mapping=revision)
        note(tx, *key, revision=revision, block=after)
    purging.purge(run)
    for _ in range(_ROUNDS):
        last = _walk(run, after)
        orphans.bury(run, whole=after == 0)
        replay_stream(run)
        with run.store.write() as tx:
            if sources.settled(tx, *key, mapping=revision):
                tx.execute(_DONE, key)
                break
            sources.begin(tx, *key, mapping=revision)
        after = last
    else:
        raise Conflict(
            f"{run.connection.name} {run.stream}: another process keeps writing with another mapping; restart it "
            "(`hub serve`, `hub worker`), then say `hub map apply` again",
            code="mapping_changed",
        )
    _finish(run)


def _walk(run: Run, after: int) -> int:
    """Map anew what is behind a block; give the last one."""
    places = stored.live(run.store, run.connection.name, run.stream, after=after)
    run.total += places.count
    writing, last = False, after
    mapped = ((lot, run.commit(lot)) for lot in stored.lots(run.store, run.stream, places))
    # a server of its own writes while the next lot is mapped; SQLite does both in this process, and gains nothing
    with closing(ahead(mapped) if is_postgres(run.store.database.url) else mapped) as lots:
        for lot, commit in lots:
            writing = _lot(run, lot, commit, writing)
            last = lot.block
    return last


def _lot(run: Run, lot: stored.Lot, commit: PageCommit, writing: bool) -> bool:
    """Write a lot where anything of it changes; say whether anything did. What follows a change often changes too."""
    if not writing:
        with run.store.read() as tx:
            found = compare(tx, Sources.load(tx), commit)
        if not found.writes:
            run.count(len(lot.raws), found)
            return False
    found = reproject(run.store, commit, remapped=(run.revision, lot.block), agreed=run.agreed)
    run.count(len(lot.raws), found)
    return found.writes


def _finish(run: Run) -> None:
    with run.store.read() as tx:
        for source in stored.tables(Sources.load(tx), run.connection.name, run.stream):
            run.report(source.name, source.kind).without_raw = orphans.without_raw(tx, source)
    run.told(done=True)
