"""What a hub must hold after a sync: every raw record byte for byte, one event for each change, only changed rows."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import tickets

from hub.store import Store, Tx, raw

_LOT = 5000
_SIZE = """
SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'hub'::regnamespace
"""


class State(NamedTuple):
    """What is stored of a record: a row of `state` and of `record`, hashed."""

    remote_id: str
    raw: tuple[int, int]
    print: bytes


class _Page(msgspec.Struct):
    tickets: list[msgspec.Raw]


class _Id(msgspec.Struct):
    id: int


def states(store: Store) -> dict[str, State]:
    """Read what is stored of all tickets, by remote id."""
    with store.read() as tx:
        return {state.remote_id: state for state in _states(tx)}


def _states(tx: Tx) -> Iterator[State]:
    last = 0
    sql = f"""
    SELECT r.rid, s.remote_id, s.block, s.idx, s.mapped_hash, s.raw_hash, s.version, s.read_at, r.updated_at, r.read_at,
        r.status, r.customer, r.body FROM record AS r JOIN state AS s ON s.source_id = r.source_id
        AND s.remote_id = r.remote_id WHERE r.rid > ? ORDER BY r.rid LIMIT {_LOT}
    """
    while rows := tx.execute(sql, (last,)).fetchall():
        for row in rows:
            yield State(row[1], (row[2], row[3]), hashlib.blake2b(repr(row).encode(), digest_size=16).digest())
        last = rows[-1][0]


def raws_differ(store: Store, records: int, found: dict[str, State], *, changed: bool = False) -> int:
    """Count the records whose stored bytes are not those that the vendor sent."""
    wrong = abs(records - len(found))
    for body in tickets.pages(records, changed=changed):
        sent = [bytes(one) for one in msgspec.json.decode(body, type=_Page).tickets]
        ids = [str(msgspec.json.decode(one, type=_Id).id) for one in sent]
        with store.read() as tx:
            kept = raw.read(tx, [found[id].raw for id in ids])
        wrong += sum(one != other for one, other in zip(sent, kept, strict=True))
    return wrong


def events(store: Store, behind: int = 0) -> tuple[int, dict[str, int]]:
    """Give the last event, and how many changes of each sort those behind one tell."""
    counts: dict[str, int] = {}
    with store.read() as tx:
        for id, changes in tx.execute("SELECT id, changes FROM event WHERE id > ? ORDER BY id", (behind,)):
            behind = id
            for change, ids in msgspec.json.decode(changes).items():
                counts[change] = counts.get(change, 0) + len(ids)
    return behind, counts


def size(store: Store, folder: Path, url: str) -> int:
    """Give the bytes that the database takes on the disk."""
    if url.startswith("sqlite"):
        return sum(file.stat().st_size for file in folder.glob("hub.db*"))
    with store.read() as tx:
        return int(tx.execute(_SIZE).fetchone()[0])
