"""One entity as it is answered: merged body, connections, references with ids, and on request raw and provenance."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from hub.identity import golden
from hub.reads.refs import Resolver
from hub.records import KINDS
from hub.store import Sources, Store, Tx, clock, raw
from hub.store.dialect import ANY, array, using

_encode = msgspec.json.Encoder().encode
_RECORDS = f"""
SELECT rid, entity_id, source_id, remote_id, head, deleted_at, read_at, url, body, golden
FROM record {using("record_entity")} WHERE entity_id IN {ANY} ORDER BY entity_id, head DESC, source_id, remote_id
"""  # noqa: S608
_READ_AT = "SELECT connection, stream, read_at FROM cursor"


class Stored(NamedTuple):
    """A record as it is stored."""

    rid: int
    entity_id: str
    source_id: int
    remote_id: str
    head: int
    deleted_at: str | None
    read_at: int
    url: str | None
    body: bytes
    golden: bytes | None


def get(store: Store, kind: str, id: str, include: Collection[str] = ()) -> bytes | None:
    """
    Give an entity as JSON, or None if there is none of this kind and id.

    An id that was merged away answers with the survivor and `merged_from`. What is gone at the vendor's carries
    `deleted_at`. `include` may name raw and provenance.
    """
    if id.partition("_")[0] != KINDS[kind].prefix:
        return None
    with store.read() as tx:
        found = survivor(tx, id)
        records = stored(tx, [found]).get(found)
        if not records:
            return None
        (shown,) = render(tx, store.sources(tx), kind, [records])
        if found != id:
            shown["merged_from"] = id
        if "provenance" in include:
            shown["provenance"] = _provenance(store.sources(tx), kind, records)
        if "raw" in include:
            shown["raw"] = _raw(tx, store.sources(tx), records)
    return _encode(shown)


def survivor(tx: Tx, id: str) -> str:
    """Follow an id that was merged away."""
    row = tx.execute("SELECT entity_id FROM alias WHERE id = ?", (id,)).fetchone()
    return row[0] if row else id


def stored(tx: Tx, ids: Sequence[str]) -> dict[str, list[Stored]]:
    """Read the records of entities, the one that stands for each first."""
    found: dict[str, list[Stored]] = {}
    for row in tx.execute(_RECORDS, (array(ids),)):
        found.setdefault(row[1], []).append(Stored(*row))
    return found


def render(tx: Tx, sources: Sources, kind: str, entities: Iterable[list[Stored]]) -> list[dict[str, Any]]:
    """Make the answers for entities, given by their records."""
    resolver = Resolver(tx, sources)
    fresh = {(connection, stream): read_at for connection, stream, read_at in tx.execute(_READ_AT)}
    made = []
    for records in entities:
        head = records[0]
        body = golden.read(head.golden or head.body)
        resolver.add(body, sources.by_id[head.source_id].connection)
        living = [record for record in records if record.deleted_at is None]
        opening = {
            "id": head.entity_id,
            "kind": kind,
            "connections": [_where(sources, one) for one in living or records],
        }
        made.append({**opening, **body, "as_of": _as_of(sources, fresh, living or records)})
        if head.deleted_at is not None:
            made[-1]["deleted_at"] = head.deleted_at
    resolver.resolve()
    return made


def _where(sources: Sources, record: Stored) -> dict[str, Any]:
    source = sources.by_id[record.source_id]
    found = {"connection": source.connection, "table": source.name, "stream": source.stream}
    return {**found, "remote_id": record.remote_id, "url": record.url}


def _as_of(sources: Sources, fresh: dict[tuple[str, str], int | None], records: list[Stored]) -> str:
    """Say for which time the answer holds: of several records, for that of the one looked at longest ago."""
    times = []
    for record in records:
        source = sources.by_id[record.source_id]
        times.append(max(record.read_at, fresh.get((source.connection, source.stream or "")) or 0))
    return clock.from_millis(min(times))


def _provenance(sources: Sources, kind: str, records: list[Stored]) -> dict[str, Any]:
    living = [record for record in records if record.deleted_at is None] or records[:1]
    versions = []
    for record in living:
        source, body = sources.by_id[record.source_id], golden.read(record.body)
        time = body.get("updated_at") or body.get("created_at") or clock.from_millis(record.read_at)
        version = golden.Version(record.entity_id, source.connection, source.connector, record.remote_id, time, body)
        versions.append(version)
    alone = len(versions) == 1
    return {
        name: {
            "connection": choice.version.connection,
            "remote_id": choice.version.remote_id,
            "time": choice.version.updated_at,
            "rule": "only source" if alone else choice.rule,
        }
        for name, choice in golden.choose(kind, versions).items()
        if not isinstance(choice.value, dict | list) and choice.value is not None
    }


def _raw(tx: Tx, sources: Sources, records: list[Stored]) -> list[dict[str, Any]]:
    found = []
    for record in records:
        sql = "SELECT block, idx FROM state WHERE source_id = ? AND remote_id = ? AND block IS NOT NULL"
        place = tx.execute(sql, (record.source_id, record.remote_id)).fetchone()
        if place:
            (data,) = raw.read(tx, [place])
            if data:  # one that was taken out is empty
                found.append({**_where(sources, record), "data": msgspec.Raw(data)})
    return found
