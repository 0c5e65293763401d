"""Raw records of which no table has a row: kept aside, so that a changed mapping can take them without the vendor."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import xxhash

from hub.store.dialect import ANY, array

if TYPE_CHECKING:
    from hub.ingest.commit import PageWork
    from hub.mapping import TableRows

_PUT = """
INSERT INTO untaken (connection, stream, key, raw_hash, read_at, block, idx) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (connection, stream, key) DO UPDATE SET raw_hash = excluded.raw_hash, read_at = excluded.read_at,
    block = excluded.block, idx = excluded.idx
"""
_HERE = "FROM untaken WHERE connection = ? AND stream = ?"
_STORED = f"SELECT key, raw_hash, read_at {_HERE} AND key IN {ANY}"
_DROP = f"DELETE {_HERE} AND key IN {ANY}"


def write(work: "PageWork", old: Collection[int] = ()) -> None:
    """
    Keep the records of a page that no table made something of; forget those that one has now, or that are gone.

    Those at `old` positions are not the newest that is known of their record: nothing follows from them.
    """
    commit, tables = work.commit, work.commit.mapped.tables
    here, plain = (commit.connection, commit.stream), [t for n, t in tables.items() if n not in commit.elements]
    taken = [row.remote_id for row in plain[0].rows] if len(plain) == 1 else None
    some = work.look.untaken
    if old or taken is None or len(taken) < commit.mapped.read:
        covered = indexes(tables.values()).difference(old)
        taken = [id for table in plain for id, index in keyed(table) if index in covered]
        left = [index for index in range(commit.mapped.read) if index not in covered and index not in old]
        if left:
            _keep(work, left, keys(plain))
            some = True
    gone = [*taken, *commit.gone]
    if gone and some:
        work.tx.execute(_DROP, (*here, array(gone)))


def indexes(tables: Iterable["TableRows"]) -> set[int]:
    """Give the records of a page that tables made rows or rejects of."""
    found: set[int] = set()
    for table in tables:
        found.update(row.index for row in table.rows)
        found.update(bad.index for bad in table.rejects)
    return found


def keys(plain: Iterable["TableRows"]) -> dict[int, str]:
    """Give the ids of a page's records, by position, as the first table that could read one has it."""
    found: dict[int, str] = {}
    for table in plain:
        for id, index in keyed(table):
            found.setdefault(index, id)
    return found


def keyed(table: "TableRows") -> Iterable[tuple[str, int]]:
    """Give the ids that a table read, each with its record's position in the page."""
    yield from ((row.remote_id, row.index) for row in table.rows)
    yield from zip(table.untaken, table.untaken_index, strict=True)
    yield from zip(table.deleted, table.deleted_at, strict=True)


def _keep(work: "PageWork", left: list[int], named: dict[int, str]) -> None:
    if not work.commit.keep_raw:
        return
    here = (work.commit.connection, work.commit.stream)
    digests = {index: xxhash.xxh3_128_digest(work.raws[index]) for index in left}
    by_key = {named.get(index) or f"#{digests[index].hex()}": index for index in left}
    stored = {row[0]: row[1:] for row in work.tx.execute(_STORED, (*here, array(by_key)))}
    new = []
    for key, index in by_key.items():
        raw_hash, read_at = stored.get(key, (None, -1))
        if raw_hash != digests[index] and read_at <= work.read_ms(index):
            new.append((*here, key, digests[index], work.read_ms(index), index))
    if new:
        places = zip(*work.places([line[-1] for line in new]), strict=False)
        work.tx.executemany(_PUT, [(*line[:-1], *place) for line, place in zip(new, places, strict=False)])
