"""Rows that a changed mapping makes no more although no condition leaves them out: of another key, of no table."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from hub.ingest import Kept, retire
from hub.ingest.rows import Known
from hub.ingest.untaken import keyed
from hub.remap.stored import LOT, Lot, tables
from hub.store import Source, Sources, Store, Tx, raw

if TYPE_CHECKING:
    from hub.remap.applying import Run

_LIVE = "SELECT count(*) FROM state WHERE source_id = ? AND NOT deleted AND block IS NOT NULL"
_NO_RAW = "SELECT count(*) FROM state WHERE source_id = ? AND NOT deleted AND block IS NULL"
_ROWS = """
SELECT remote_id, rid, mapped_hash, raw_hash, version, read_at, deleted, block, idx FROM state
WHERE source_id = ? AND remote_id > ? AND NOT deleted AND block IS NOT NULL ORDER BY remote_id LIMIT ?
"""


def bury(run: "Run", *, whole: bool) -> None:
    """Turn them into tombstones. `whole` says that the run has walked over all raw records, and counted its rows."""
    met = {name: one.same + one.created + one.changed for name, one in run.tables.items()} if whole else {}
    for source, dead in found(run, met):
        run.check(len(dead))
        gone = retire(run.store, run.commit(Lot([], [], 0)), source, dead)
        run.report(source.name, source.kind).deleted += gone


def found(run: "Run", met: Mapping[str, int]) -> Iterator[tuple[Source, list[Known]]]:
    """Find them, some at a time, in each table that has other than as many living rows as were `met`."""
    with run.store.read() as tx:
        sources = tables(Sources.load(tx), run.connection.name, run.stream)
        living = {source.id: tx.execute(_LIVE, (source.id,)).fetchone()[0] for source in sources}
    for source in sources:
        if living[source.id] != met.get(source.name):
            yield from _of_table(run, source)


def without_raw(tx: Tx, source: Source) -> int:
    """Count the rows of a table whose raw record is not kept: no mapping changes them."""
    return int(tx.execute(_NO_RAW, (source.id,)).fetchone()[0])


def _of_table(run: "Run", source: Source) -> Iterator[tuple[Source, list[Known]]]:
    last = ""
    while rows := _page(run.store, source, last):
        last = rows[-1].remote_id
        if dead := _unmade(run, source, rows):
            yield source, dead


def _page(store: Store, source: Source, last: str) -> list[Known]:
    with store.read() as tx:
        return [Known(*row) for row in tx.execute(_ROWS, (source.id, last, LOT))]


def _unmade(run: "Run", source: Source, rows: list[Known]) -> list[Known]:
    """Give those rows of which their raw records say nothing, neither that they are nor that they are not taken."""
    if source.name not in run.connection.mapping.tables_of(run.stream):
        return rows
    places = {(row.block, row.idx): row.read_at for row in rows if row.block is not None and row.idx is not None}
    with run.store.read() as tx:
        raws = raw.at(tx, list(places), run.stream)
    there = list(raws)
    lot = Lot([raws[place] for place in there], [Kept(places[place], place) for place in there], 0)
    table = run.commit(lot).mapped.tables[source.name]
    made = {(remote_id, there[index]) for remote_id, index in keyed(table)}
    refused = {there[bad.index] for bad in table.rejects}
    return [
        row for row in rows if (place := (row.block, row.idx)) not in refused and (row.remote_id, place) not in made
    ]
