"""Lists of entities: filters, and pages by keyset, so that a list stays whole while it changes."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from hub.errors import Invalid
from hub.ingest.promoted import email_key, entity_key, phone_key
from hub.reads.entities import render, stored
from hub.reads.finding import entity_of
from hub.records import KINDS
from hub.store import Sources, Store, Tx, clock
from hub.store.dialect import ANY, LOT, LOT_BITS, array, using

LIMIT = 200
_encode = msgspec.json.Encoder().encode
_VALUES: dict[str, Callable[[str], str | None]] = {
    "email": email_key,
    "phone": phone_key,
    "number": str.strip,
    "external_ref": str.strip,
}
_PARENTS = {
    "message": {"ticket": "ticket_ref"},
    "refund": {"payment": "payment_ref"},
    "payment": {"order": "order_ref"},
}


def filters(kind: str) -> frozenset[str]:
    """Name the filters that a list of this kind takes."""
    fields = KINDS[kind].fields
    named = {name for name in ("status", *_VALUES) if name in fields}
    named |= {"customer"} if "customer_ref" in fields else set()
    return frozenset(named | {"connection", "updated_since", *_PARENTS.get(kind, ())})


def list_(store: Store, kind: str, filters: Mapping[str, str], limit: int = 50, cursor: str | None = None) -> bytes:
    """
    Give a page of entities as JSON: `data`, and `next_cursor` (null at the end).

    Newest first; with `updated_since` oldest first, so that a reader who goes on from the last one misses nothing.
    Raises Invalid for an unknown filter, a value that cannot be, a bad limit or cursor.
    """
    if not 1 <= limit <= LIMIT:
        raise Invalid(f"limit: expected 1 to {LIMIT}", field_path="limit")
    with store.read() as tx:
        sources = store.sources(tx)
        query = _query(tx, sources, kind, filters)
        _keyset(query, cursor)
        rows = tx.execute(query.sql(), (*query.values, limit + 1)).fetchall()
        page = rows[:limit]
        records = stored(tx, [row[0] for row in page])
        data = render(tx, sources, kind, [records[row[0]] for row in page])
    return _encode({"data": data, "next_cursor": _cursor(query, page[-1]) if len(rows) > limit else None})


@dataclass
class Query:
    """A statement in the making. `narrow` says that a condition names few entities."""

    values: list[Any] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    ascending: bool = False
    narrow: bool = False

    def where(self, condition: str, *values: Any) -> None:
        self.conditions.append(condition)
        self.values += values

    def among(self, column: str, condition: str, *values: Any) -> None:
        """Keep entities one of whose records meets the condition, which an index on the column answers."""
        inner = f"SELECT entity_id FROM record {using(f'record_{column}')} WHERE {column} {condition}"  # noqa: S608
        self.where(f"entity_id IN ({inner} AND kind = ?)", *values)
        self.narrow = True

    def sql(self) -> str:
        # SQLite would walk the whole list in order rather than look up the few entities that are asked for.
        index, way = "record_entity" if self.narrow else "record_listed", "ASC" if self.ascending else "DESC"
        return f"""
        SELECT entity_id, updated_at, rid FROM record {using(index)}
        WHERE {" AND ".join(self.conditions)} ORDER BY updated_at {way}, rid {way} LIMIT ?
        """  # noqa: S608


def _query(tx: Tx, sources: Sources, kind: str, wanted: Mapping[str, str]) -> Query:
    query = Query(ascending="updated_since" in wanted)
    query.where("kind = ? AND head AND deleted_at IS NULL", kind)
    for name, value in wanted.items():
        if name not in filters(kind):
            raise Invalid(f"{name}: no filter of {kind}; there are {', '.join(sorted(filters(kind)))}", field_path=name)
        if name == "updated_since":
            query.where("updated_at >= ?", _time(name, value))
        elif name == "status":
            query.where("status = ?", _status(kind, value))
        elif name in _VALUES:
            query.among(name, "= ?", _VALUES[name](value), kind)
        elif name == "connection":
            ids = [source.id for source in sources.by_id.values() if source.connection == value]
            inner = f"SELECT 1 FROM record AS other WHERE other.entity_id = record.entity_id AND source_id IN {ANY}"  # noqa: S608
            query.where(f"EXISTS ({inner})", array(ids))
        else:
            keys = array(keys_of(tx, sources, name, value))
            if name == "customer":
                query.among("customer", f"IN {ANY} AND {LOT} IN {ANY}", keys, array(lots(tx)), kind)
            else:
                query.among("parent", f"IN {ANY}", keys, kind)
    return query


def keys_of(tx: Tx, sources: Sources, kind: str, reference: str) -> list[str]:
    """Give all forms in which records refer to an entity."""
    found = entity_of(tx, sources, reference, kind)
    if found is None:
        return []
    keys = []
    sql = "SELECT source_id, remote_id, email, phone, number, external_ref FROM record WHERE entity_id = ?"
    for source_id, remote_id, *values in tx.execute(sql, (found,)):
        keys += [f"{sibling.id}:{remote_id}" for sibling in sources.siblings(source_id)]
        named = zip(("email", "phone", "number", "external_ref"), values, strict=True)
        keys += [entity_key(kind, by, value) for by, value in named if value]
    return keys


def lots(tx: Tx) -> range:
    """Give the lots that the index by customer is in."""
    (last,) = tx.execute("SELECT coalesce(max(rid), 0) FROM record").fetchone()
    return range((last >> LOT_BITS) + 1)


def _keyset(query: Query, cursor: str | None) -> None:
    if cursor is None:
        return
    try:
        ascending, updated_at, rid = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if ascending is not query.ascending or not isinstance(updated_at, str) or not isinstance(rid, int):
            raise ValueError("of another list")
        updated_at.encode()
        rid.to_bytes(8, "big", signed=True)
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error) as exc:
        raise Invalid(
            "cursor: expected next_cursor of the page before, with the same filters", field_path="cursor"
        ) from exc
    query.where(f"(updated_at, rid) {'>' if ascending else '<'} (?, ?)", updated_at, rid)


def _cursor(query: Query, row: tuple[str, str, int]) -> str:
    return base64.urlsafe_b64encode(json.dumps([query.ascending, row[1], row[2]]).encode()).decode()


def _time(name: str, value: str) -> str:
    try:
        moment = datetime.fromisoformat(value.strip())
        return clock.text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as exc:  # the first and the last day have no time in UTC everywhere
        raise Invalid(f"{name}: expected a time such as 2026-01-31T08:00:00Z", field_path=name) from exc


def _status(kind: str, value: str) -> str:
    enum = KINDS[kind].fields["status"].enum
    if enum is not None and value not in {member.value for member in enum}:
        raise Invalid(f"status: expected one of {', '.join(member.value for member in enum)}", field_path="status")
    return value
