"""Try a mapping on raw records, as `hub map preview --json` shows it."""

from collections.abc import Iterable
from typing import Any

from hub.mapping.compiled import CompiledMapping
from hub.mapping.rows import Made


def preview(compiled: CompiledMapping, stream: str, records: Iterable[bytes | dict[str, Any]]) -> list[dict[str, Any]]:
    """
    Map raw records one by one; give one entry per record, in order.

    An entry has `ok`, and of `table, kind, key, data, reject, skipped, deleted, children` what applies. Where several
    tables take a record the first one that maps it is the entry, the others are among its children, as are the
    records of tables with `each`.
    """
    return [_entry(compiled, stream, raw) for raw in records]


_RANK = {"mapped": 0, "rejected": 1, "deleted": 2}


def _entry(compiled: CompiledMapping, stream: str, raw: bytes | dict[str, Any]) -> dict[str, Any]:
    record = compiled.map_record(stream, raw)
    made = sorted(record.made, key=lambda one: _RANK[one.status])
    entry = _shown(made[0]) if made else None
    children = [_shown(one) for one in (*made[1:], *record.children)]
    if entry is None:
        entry = {"ok": all(child["ok"] for child in children)}
        if not children:
            entry["skipped"] = True
    if children:
        entry["children"] = children
    return entry


def _shown(made: Made) -> dict[str, Any]:
    entry: dict[str, Any] = {"ok": made.status != "rejected", "table": made.table, "kind": made.kind}
    if made.key is not None:
        entry["key"] = made.key
    if made.data is not None:
        entry["data"] = made.data
    if made.status == "deleted":
        entry["deleted"] = True
    if made.reject is not None:
        entry["reject"] = {"table": made.reject.table, "field": made.reject.field, "reason": made.reject.reason}
    return entry
