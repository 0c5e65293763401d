"""One page, one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from hub import identity
from hub.connector import Page
from hub.errors import Temporary
from hub.ingest import gone, merged, rejects, rows, untaken
from hub.store import Source, Sources, Store, Tx, clock, cursors
from hub.store.raw import Blocks

encode = msgspec.json.Encoder().encode

if TYPE_CHECKING:
    from hub.mapping import MappedPage, Row, TableRows


Places = tuple[Iterable[int | None], Iterable[int | None]]


HASH = 16
"""The bytes of a hash."""


@dataclass(frozen=True)
class Made:
    """
    The hashes of stored rows at one moment: by the id of their table and the block of their raw record, one behind the
    other by its place.

    `stamp` is that of the transaction that read them: under the same one they are what is stored.
    """

    stamp: object
    hashes: Mapping[int, Mapping[int, bytearray]]


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A raw record that the store had already: when it was read (ms since 1970), and where it is in `raw`, if there."""

    read_at: int
    place: tuple[int, int] | None = None


@dataclass(frozen=True)
class PageCommit:
    """
    What one page is committed with.

    `read_at` is when the request was sent. `scan` is the full pass this page belongs to, `fresh` if it is the first of
    one that begins anew. `advance=False` (webhooks, fetches) leaves the stream's cursor alone. `fuse` is the share of a
    table that a scan may delete at once. `elements` are tables made of what is inside the stream's records: ids that
    the page names as deleted are not theirs. `follows` is when the page before it in the same pull was asked for (ms):
    a database that does not know of that one has lost it. `projection` is the revision of the stream's share of the
    mapping. `keep_raw=False` keeps none of the raw records. `kept` says of a page made of stored raw records where each
    is from, `made` what the rows were when these were looked for.
    """

    connection: str
    stream: str
    mapped: "MappedPage"
    page: Page
    read_at: datetime
    revision: str
    cursor: str | None = None
    connector: str | None = None
    scan: cursors.Scan | None = None
    fresh: bool = False
    advance: bool = True
    fuse: float = 0.2
    elements: frozenset[str] = frozenset()
    follows: int | None = None
    projection: str | None = None
    keep_raw: bool = True
    kept: Sequence[Kept] | None = None
    made: Made | None = None

    @cached_property
    def gone(self) -> list[str]:
        """Name what the page itself says is gone, deleted or merged."""
        return [*self.page.deleted, *self.page.merged]

    @cached_property
    def read_ms(self) -> int:
        return clock.millis(self.read_at)

    @cached_property
    def read_text(self) -> str:
        return clock.text(self.read_at)


@dataclass
class TableCounts:
    """What one page did to one table. `read` counts raw records that came in, deleted and skipped ones included."""

    kind: str
    read: int = 0
    changed: int = 0
    deleted: int = 0
    skipped: int = 0
    rejected: int = 0


@dataclass
class Counts:
    """What one page did, by table; `fuse` says why a scan's deletions were not carried out."""

    tables: dict[str, TableCounts] = field(default_factory=dict)
    fuse: str | None = None

    def total(self, name: str) -> int:
        return sum(getattr(table, name) for table in self.tables.values())

    @property
    def read(self) -> int:
        return max((table.read for table in self.tables.values()), default=0)

    @property
    def changed(self) -> int:
        return self.total("changed")

    @property
    def deleted(self) -> int:
        return self.total("deleted")

    @property
    def rejected(self) -> int:
        return self.total("rejected")

    @property
    def skipped(self) -> int:
        return self.total("skipped")


class Look(NamedTuple):
    """
    What is there before a page is written: when the page before was asked for, the number of the next block of raw
    records, and whether anything is rejected or untaken at all.
    """

    read_at: int
    block: int
    rejects: bool
    untaken: bool


_LOOK = """
SELECT coalesce((SELECT read_at FROM cursor WHERE connection = ? AND stream = ?), 0),
    (SELECT coalesce(max(block), 0) + 1 FROM raw), EXISTS (SELECT 1 FROM reject),
    EXISTS (SELECT 1 FROM untaken WHERE connection = ? AND stream = ?)
"""


@dataclass
class PageWork:
    """What the tables of one page share while it is written."""

    tx: Tx
    commit: PageCommit
    sources: Sources
    at: str
    changes: "Changes" = field(default_factory=lambda: Changes())

    blocks: Blocks = field(init=False)

    @cached_property
    def look(self) -> Look:
        """Look at what is there, all at once, when it is asked for first."""
        here = self.commit.connection, self.commit.stream
        return Look(*self.tx.execute(_LOOK, (*here, *here)).fetchone())

    @property
    def observed(self) -> str | None:
        """The version of records that have none of their own."""
        at = self.commit.page.observed_at
        return clock.text(at) if at else None

    @property
    def raws(self) -> list[bytes]:
        return self.commit.mapped.raws()

    @property
    def raw_hashes(self) -> list[bytes]:
        return self.commit.mapped.raw_hashes

    def read_ms(self, index: int) -> int:
        """Say when the record at `index` of the page was read."""
        kept = self.commit.kept
        return self.commit.read_ms if kept is None else kept[index].read_at

    def read_times(self, rows: Iterable["Row"]) -> Iterable[int]:
        """Say when the records of these rows were read; endless where all were read at once."""
        kept = self.commit.kept
        return repeat(self.commit.read_ms) if kept is None else [kept[row.index].read_at for row in rows]

    def places(self, indexes: Sequence[int]) -> Places:
        """Keep raw records of the page, where raw records are kept; give their blocks, and their places in them."""
        kept = self.commit.kept
        if kept is not None:
            return _unzip([self._place(index) for index in indexes])
        if not self.commit.keep_raw:
            return repeat(None), repeat(None)
        return self.blocks.put(indexes, self.commit.mapped.parts())

    def _place(self, index: int) -> tuple[int | None, int | None]:
        kept = self.commit.kept
        if kept is not None and (place := kept[index].place) is not None:
            return place
        if not self.commit.keep_raw:
            return None, None
        (block,), (idx,) = self.blocks.put([index], self.commit.mapped.parts())
        return block, idx


def _unzip(places: Sequence[tuple[int | None, int | None]]) -> Places:
    return [block for block, _ in places], [idx for _, idx in places]


@dataclass
class Changes:
    """Entities that a page changed: kind → change → ids, ready to be an event; and records of linked kinds."""

    of: dict[str, dict[str, list[object]]] = field(default_factory=dict)
    linked: dict[str, identity.Touched] = field(default_factory=dict)

    def touched(self, kind: str) -> identity.Touched:
        """Give the records of a linked kind that were written, to add to them."""
        return self.linked.setdefault(kind, identity.Touched())

    def add(self, kind: str, change: str, ids: Iterable[object]) -> None:
        found = list(ids)
        if found:
            self.of.setdefault(kind, {}).setdefault(change, []).extend(found)


_REVISION = """
INSERT INTO mapping_revision (connection, revision, first_used_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
"""


def ingest(store: Store, commit: PageCommit) -> Counts:
    """
    Write a page: what changed and nothing else, with rejects, links, events and the cursor, in one transaction.

    An older vendor version, else an older `read_at`, never overwrites a newer one, so pages may come in any order.
    Raises Temporary where the database has lost the page before.
    """
    with store.write() as tx:
        work = PageWork(tx, commit, Sources.load(tx), clock.text(max(clock.now(), commit.read_at)))
        _goes_on(work)
        counts = Counts()
        sources = {name: register(work, table) for name, table in commit.mapped.tables.items()}
        if sources:
            work.blocks = Blocks(next(iter(sources.values())).id, work.look.block, commit.stream)
        for name, table in commit.mapped.tables.items():
            counts.tables[name] = _table(work, sources[name], table)
        counts.fuse = _sweep(work, list(sources.values()), counts)
        if sources:
            untaken.write(work)
            work.blocks.write(tx)
        tell(work)
        if commit.advance:
            _move_on(tx, commit)
    return counts


def register(work: PageWork, table: "TableRows") -> Source:
    """Put a table of the page into the registry, with the mapping that makes its rows."""
    commit = work.commit
    wanted = Source(0, commit.connection, table.table, commit.stream, table.kind, commit.connector, commit.revision)
    wanted = replace(wanted, whole=work.sources.made_by(wanted, commit.projection or commit.revision))
    known = work.sources.by_name.get((commit.connection, table.table))
    if known is None or known.revision != commit.revision:
        work.tx.execute(
            _REVISION,
            (commit.connection, commit.revision, work.at),
        )
    return work.sources.register(work.tx, wanted)


def _table(work: PageWork, source: Source, table: "TableRows") -> TableCounts:
    named = () if table.table in work.commit.elements else work.commit.gone
    there, lost = standing(table, named)
    absent = {*named, *table.deleted} & lost
    counts = TableCounts(table.kind, table.read + len(named), skipped=table.skipped)
    sifted = rows.sift(work, source, rows.newest(there))
    known = rows.known(work.tx, source.id, [*(row.remote_id for row in sifted.other), *lost])
    counts.changed = rows.write(work, source, table.promoted, sifted, known)
    left = {*table.untaken, *table.deleted}.difference(named)
    buried = gone.bury(work, source, [known[remote_id] for remote_id in lost if remote_id in known], left)
    if named:
        merged.write(work, source, known)
    counts.deleted = len(absent & (known.keys() | set(table.deleted))) + len(buried - absent)
    rejects.settle(work, source, table, named)
    counts.rejected = rejects.write(work, source, table)
    return counts


def standing(table: "TableRows", named: Sequence[str]) -> tuple[list["Row"], set[str]]:
    """
    Give the rows that stand, and the ids that are gone or belong to another table now.

    Of a record that the page tells of more than once the last word counts; an id that the page itself names as
    deleted is gone.
    """
    gone_at: dict[str, int] = dict(zip(table.untaken, table.untaken_index, strict=True))
    for remote_id, index in zip(table.deleted, table.deleted_at, strict=True):
        gone_at[remote_id] = max(index, gone_at.get(remote_id, -1))
    absent = set(named)
    if not gone_at and not absent:
        return table.rows, absent
    there = [row for row in table.rows if row.index >= gone_at.get(row.remote_id, -1) and row.remote_id not in absent]
    return there, absent | (gone_at.keys() - {row.remote_id for row in there})


def _sweep(work: PageWork, sources: list[Source], counts: Counts) -> str | None:
    scan = work.commit.scan
    if scan is None or not scan.sweeps or not work.commit.page.complete:
        return None
    blown = []
    for source in sources:
        swept, fuse = gone.sweep(work, source, scan)
        counts.tables[source.name].deleted += swept
        blown += [fuse] if fuse else []
    return "; ".join(blown) or None


def tell(work: PageWork) -> None:
    """Let identity settle what changed, and write the events."""
    for kind, touched in work.changes.linked.items():
        told: dict[str, set[str]] = {}
        for part in touched.parts():
            for change, ids in identity.settle(work.tx, work.sources, kind, part).items():
                before = told.setdefault(change, set())
                work.changes.add(kind, change, [one for one in ids if str(one) not in before] if before else ids)
                if part is not touched:
                    before.update(map(str, ids))
    work.tx.executemany(
        "INSERT INTO event (at, connection, kind, changes) VALUES (?, ?, ?, ?)",
        [(work.at, work.commit.connection, kind, encode(ids).decode()) for kind, ids in work.changes.of.items()],
    )


def _goes_on(work: PageWork) -> None:
    """
    See that the page before is still there: a server that crashed may have lost it, and the pull would not notice.

    Postgres writes what is synced behind the commit (`synchronous_commit = off`).
    """
    commit = work.commit
    if commit.follows is not None and work.look.read_at < commit.follows:
        text = "the database has lost a page that it had taken; the next pull reads it again"
        raise Temporary(f"{commit.connection} {commit.stream}: {text}")


def _move_on(tx: Tx, commit: PageCommit) -> None:
    """
    Write the cursor with the page.

    A scan that proved complete without naming a cursor to go on from begins anew the next time.
    """
    key = (commit.connection, commit.stream)
    closes = commit.page.complete and commit.scan is not None
    if commit.fresh or (closes and commit.scan and commit.scan.sweeps and commit.cursor is None):
        cursors.forget(tx, key)
    scan = None if closes else commit.scan
    cursors.advance(tx, key, cursor=commit.cursor, scan=scan, read_at=commit.read_ms)
