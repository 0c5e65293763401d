"""Resolve references when they are read: all that one answer holds, in a few statements."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hub.identity.golden import references
from hub.ingest.promoted import comparable
from hub.store import Sources, Tx
from hub.store.dialect import ANY, array, using

_BY_KEY = f"""
SELECT s.remote_id, r.entity_id, r.deleted_at FROM state AS s CROSS JOIN record AS r ON r.rid = s.rid
WHERE s.source_id = ? AND s.remote_id IN {ANY}
"""  # noqa: S608
_COLUMNS = frozenset(("number", "external_ref", "email", "phone"))


@dataclass
class Resolver:
    """Puts the hub's `id` into references of bodies; `add` the bodies first, then `resolve` them all at once."""

    tx: Tx
    sources: Sources
    records: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    entities: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, body: dict[str, Any], connection: str) -> None:
        """Note the references of a body of this connection; those of merged bodies name theirs."""
        for name, value in body.items():
            if name == "custom" or not isinstance(value, dict | list):
                continue
            for ref in references(value):
                if "table" in ref:
                    self.records.setdefault((ref.get("connection", connection), ref["table"]), []).append(ref)
                else:
                    self.entities.setdefault((ref["kind"], ref["by"]), []).append(ref)

    def resolve(self) -> None:
        """Put `id` into every reference that was noted and can be resolved."""
        for (connection, table), refs in self.records.items():
            found = by_record(self.tx, self.sources, (connection, table), {ref["remote_id"] for ref in refs})
            for ref in refs:
                if ref["remote_id"] in found:
                    ref["id"] = found[ref["remote_id"]]
        for (kind, by), refs in self.entities.items():
            ids = by_value(self.tx, kind, by, {comparable(by, ref["value"]) for ref in refs})
            for ref in refs:
                meant = ids.get(comparable(by, ref["value"]), set())
                if len(meant) == 1:
                    ref["id"] = next(iter(meant))


def by_record(tx: Tx, sources: Sources, table: tuple[str, str], remote_ids: Iterable[str]) -> dict[str, str]:
    """Find the entities of records of a table, or of any other table of its stream; living ones go first."""
    named = sources.by_name.get(table)
    wanted = array(remote_ids)
    found: dict[str, str] = {}
    dead: dict[str, str] = {}
    for source in sources.siblings(named.id) if named else ():
        for remote_id, entity_id, deleted_at in tx.execute(_BY_KEY, (source.id, wanted)):
            (found if deleted_at is None else dead).setdefault(remote_id, entity_id)
    return dead | found


def by_value(tx: Tx, kind: str, by: str, values: Iterable[str]) -> dict[str, set[str]]:
    """Find the living entities of a kind by the value of a unified field."""
    if by not in _COLUMNS:
        return {}
    sql = f"""
    SELECT {by}, entity_id FROM record {using(f"record_{by}")}
    WHERE {by} IN {ANY} AND kind = ? AND deleted_at IS NULL
    """  # noqa: S608
    found: dict[str, set[str]] = {}
    for value, entity_id in tx.execute(sql, (array(values), kind)):
        found.setdefault(value, set()).add(entity_id)
    return found
