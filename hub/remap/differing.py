"""Say what a changed mapping would change in the rows that are stored, without writing anything."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from hub.ingest import Again, compare
from hub.ingest.rows import Known
from hub.remap import orphans, stored
from hub.remap.applying import Mapped, Run, Tell
from hub.store import Sources, Store, Tx
from hub.store.dialect import ANY, array

if TYPE_CHECKING:
    from hub.mapping import Row

SAMPLES = 5
_BODIES = f"SELECT rid, entity_id, body FROM record WHERE rid IN {ANY}"  # noqa: S608
_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass
class TableDiff:
    """
    What would become of one table's rows.

    `fields` counts the rows that a field changes in, `samples` shows some: (id, {field: [before, after]}). `reasons`
    counts new rejects, by reason. `revived` are those among the changed that were taken before and are again.
    `without_raw` rows stay as they are, whatever the mapping says.
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
    fields: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    created_ids: list[str] = field(default_factory=list)
    deleted_ids: list[str] = field(default_factory=list)


def diff(
    store: Store,
    connection: Mapped,
    *,
    tables: Sequence[str] | None = None,
    progress: Tell | None = None,
) -> dict[str, dict[str, Any]]:
    """Compare what the mapping makes of the kept raw records with the rows that are stored; report by table."""
    report: dict[str, TableDiff] = {}
    for stream in connection.mapping.streams():
        if tables is None or any(table in tables for table in _names(store, connection, stream)):
            _stream(Run(store, connection, stream, progress or (lambda _: None), fuse=False), report)
    return {name: asdict(table) for name, table in report.items() if tables is None or name in tables}


def _names(store: Store, connection: Mapped, stream: str) -> set[str]:
    with store.read() as tx:
        before = {source.name for source in stored.tables(Sources.load(tx), connection.name, stream)}
    return before | set(connection.mapping.tables_of(stream))


def _stream(run: Run, report: dict[str, TableDiff]) -> None:
    places = stored.live(run.store, run.connection.name, run.stream)
    run.total = places.count
    for lot in stored.lots(run.store, run.stream, places):
        commit = run.commit(lot)
        with run.store.read() as tx:
            found = compare(tx, Sources.load(tx), commit)
            for name, again in found.tables.items():
                _add(tx, report.setdefault(name, TableDiff(run.stream, again.kind)), again)
        run.count(len(lot.raws), found)
    met = {name: one.same + one.deleted + one.changed - one.revived for name, one in report.items()}
    for source, dead in orphans.found(run, met):
        _bury(report.setdefault(source.name, TableDiff(run.stream, source.kind)), dead)
    with run.store.read() as tx:
        for source in stored.tables(Sources.load(tx), run.connection.name, run.stream):
            table = report.setdefault(source.name, TableDiff(run.stream, source.kind))
            table.without_raw = orphans.without_raw(tx, source)
    run.told(done=True)


def _add(tx: Tx, table: TableDiff, again: Again) -> None:
    table.same += again.same + len(again.moved)
    table.created += len(again.new)
    table.created_ids += [row.remote_id for row in again.new[: SAMPLES - len(table.created_ids)]]
    table.changed += len(again.changed)
    table.revived += sum(bool(known.deleted) for _, known in again.changed)
    table.rejected += len(again.rejected)
    for reject in again.rejected:
        reason = f"{reject.field}: {reject.reason}" if reject.field else reject.reason
        table.reasons[reason] = table.reasons.get(reason, 0) + 1
    _bury(table, again.gone)
    for row, entity, before in _with_bodies(tx, again.changed):
        fields = _changed(before, _decode(row.body))
        for name in fields:
            table.fields[name] = table.fields.get(name, 0) + 1
        if len(table.samples) < SAMPLES:
            table.samples.append({"id": entity, "remote_id": row.remote_id, "fields": fields})


def _bury(table: TableDiff, dead: Sequence[Known]) -> None:
    table.deleted += len(dead)
    table.deleted_ids += [known.remote_id for known in dead[: SAMPLES - len(table.deleted_ids)]]


def _with_bodies(tx: Tx, changed: list[tuple["Row", Known]]) -> Iterator[tuple["Row", str, dict[str, Any]]]:
    if not changed:
        return
    rids = array(known.rid for _, known in changed)
    stored_ = {rid: (entity, body) for rid, entity, body in tx.execute(_BODIES, (rids,))}
    for row, known in changed:
        entity, body = stored_[known.rid]
        yield row, entity, {} if known.deleted else _decode(body)


def _changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, list[Any]]:
    """Give the fields that differ, each with both values; those of `custom` one by one."""
    old, new = _flat(before), _flat(after)
    return {name: [old.get(name), new.get(name)] for name in {**old, **new} if old.get(name) != new.get(name)}


def _flat(body: dict[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in body.items() if name != "custom"}
    return flat | {f"custom.{name}": value for name, value in (body.get("custom") or {}).items()}
