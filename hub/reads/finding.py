"""Find what is meant: a customer by what they say of themselves, a record by a reference."""

import re

from hub.connector import Target
from hub.errors import Invalid
from hub.identity import golden
from hub.ingest.promoted import comparable, email_key, phone_key
from hub.reads.entities import stored, survivor
from hub.reads.refs import by_record, by_value
from hub.records import KINDS
from hub.store import Sources, Store, Tx

_HUB_ID = re.compile(r"[a-z]{3}_[a-z2-7]{24}")


def resolve_target(store: Store, reference: str, kind: str) -> list[Target]:
    """
    Give the records an action on this reference may work on, one Target for each; none if nothing is there.

    A reference is a hub id, or `connection/stream/remote_id` (a table's name does for the stream).
    """
    with store.read() as tx:
        sources = store.sources(tx)
        found = entity_of(tx, sources, reference, kind)
        targets = []
        for record in stored(tx, [found]).get(found, []) if found else []:
            source = sources.by_id[record.source_id]
            if record.deleted_at is None and source.stream:
                data = golden.read(record.body)
                where = (source.connection, source.name, source.stream, kind, record.remote_id)
                targets.append(Target(*where, id=record.entity_id, data=data))
    return targets


def entity_of(tx: Tx, sources: Sources, reference: str, kind: str) -> str | None:
    """Give the id of the entity that a reference means, or None."""
    if _HUB_ID.fullmatch(reference):
        meant = survivor(tx, reference) if reference.startswith(f"{KINDS[kind].prefix}_") else None
        row = tx.execute("SELECT 1 FROM record WHERE entity_id = ? LIMIT 1", (meant,)).fetchone()
        return meant if row else None
    connection, _, rest = reference.partition("/")
    stream, _, remote_id = rest.partition("/")
    found: list[tuple[str, str | None]] = []
    for source in sources.of_kind(kind):
        if source.connection == connection and stream in (source.stream, source.name):
            found += tx.execute(_ONE, (source.id, remote_id)).fetchall()
    # a record may have moved from one table of its stream to another: the living one is meant
    found.sort(key=lambda row: row[1] is not None)
    return str(found[0][0]) if found else None


_ONE = """
SELECT r.entity_id, r.deleted_at FROM state AS s CROSS JOIN record AS r ON r.rid = s.rid
WHERE s.source_id = ? AND s.remote_id = ?
"""


def find_customer(
    store: Store,
    *,
    email: str | None = None,
    phone: str | None = None,
    order_number: str | None = None,
    ticket: str | None = None,
    external_ref: str | None = None,
) -> list[str]:
    """
    Give the ids of the customers that exactly one of these belongs to: none, one, or several candidates.

    `ticket` is a hub id, a reference, a number or the vendor's id; `external_ref` a customer number of any system.
    """
    given = [value for value in (email, phone, order_number, ticket, external_ref) if value is not None]
    if len(given) != 1 or not given[0].strip():
        raise Invalid("give exactly one of email, phone, order_number, ticket, external_ref")
    with store.read() as tx:
        sources = store.sources(tx)
        if email is not None:
            return _by(tx, "email", email_key(email))
        if phone is not None:
            return _by(tx, "phone", phone_key(phone))
        if external_ref is not None:
            return _by_external_ref(tx, sources, external_ref.strip())
        if order_number is not None:
            orders = by_value(tx, "order", "number", [order_number.strip()]).get(order_number.strip(), set())
            return _customers_of(tx, sources, orders)
        return _customers_of(tx, sources, _tickets(tx, sources, given[0].strip()))


def _by(tx: Tx, column: str, value: str | None) -> list[str]:
    return sorted(by_value(tx, "customer", column, [value]).get(value, ())) if value else []


def _by_external_ref(tx: Tx, sources: Sources, value: str) -> list[str]:
    found = set(_by(tx, "external_ref", value)) | _by_remote_id(tx, sources, "customer", value)
    named = entity_of(tx, sources, value, "customer")
    return sorted(found | ({named} if named else set()))


def _by_remote_id(tx: Tx, sources: Sources, kind: str, remote_id: str) -> set[str]:
    sql = f"{_ONE} AND r.deleted_at IS NULL"
    return {row[0] for source in sources.of_kind(kind) for row in tx.execute(sql, (source.id, remote_id))}


def _tickets(tx: Tx, sources: Sources, value: str) -> set[str]:
    found = entity_of(tx, sources, value, "ticket")
    if found:
        return {found}
    numbered = by_value(tx, "ticket", "number", [value]).get(value, set())
    return numbered or _by_remote_id(tx, sources, "ticket", value)


def _customers_of(tx: Tx, sources: Sources, ids: set[str]) -> list[str]:
    """Give the customers that entities refer to."""
    found: set[str] = set()
    for records in stored(tx, sorted(ids)).values():
        for record in records:
            ref = golden.read(record.body).get("customer_ref")
            found |= _meant(tx, sources, sources.by_id[record.source_id].connection, ref) if ref else set()
    return sorted(one for one in found if one.startswith("cus_"))


def _meant(tx: Tx, sources: Sources, connection: str, ref: dict[str, str]) -> set[str]:
    if "table" in ref:
        return set(by_record(tx, sources, (connection, ref["table"]), [ref["remote_id"]]).values())
    value = comparable(ref["by"], ref["value"])
    return by_value(tx, ref["kind"], ref["by"], [value]).get(value, set())
