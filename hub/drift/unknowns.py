"""Count the words of vendors that the mapping has no meaning for: enums that are `unknown`, by their raw word."""

from collections.abc import Iterator
from typing import Any

import msgspec

from hub.store import Sources, Store

_ROWS = 2000
_BODIES = "SELECT rid, source_id, body FROM record WHERE rid > ? AND deleted_at IS NULL ORDER BY rid LIMIT ?"
_MARK = b'"unknown"'
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def unknowns(store: Store, connection: str) -> list[dict[str, Any]]:
    """Give table, field, raw word and count of the stored rows, the most frequent first. Reads all rows."""
    with store.read() as tx:
        names = {one.id: one.name for one in Sources.load(tx).by_id.values() if one.connection == connection}
    counts: dict[tuple[str, str, str | None], int] = {}
    last = 0
    while True:
        with store.read() as tx:
            rows = tx.execute(_BODIES, (last, _ROWS)).fetchall()
        if not rows:
            break
        last = rows[-1][0]
        for _, source, body in rows:
            if source in names and _MARK in body:
                for field, word in _found(_decode(body), ""):
                    key = names[source], field, word
                    counts[key] = counts.get(key, 0) + 1
    found = [{"table": t, "field": f, "word": word, "count": count} for (t, f, word), count in counts.items()]
    return sorted(found, key=lambda one: (-one["count"], one["table"], one["field"], one["word"] or ""))


def _found(value: Any, prefix: str) -> Iterator[tuple[str, str | None]]:
    if isinstance(value, list):
        for item in value:
            yield from _found(item, prefix)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if inner == "unknown" and f"{name}_raw" in value:
                yield f"{prefix}{name}", value[f"{name}_raw"]
            elif isinstance(inner, dict | list):
                yield from _found(inner, f"{prefix}{name}.")
