"""
What a hub must hold of a sandbox: worked out from the sandbox's own state, by id and content, without the mapping.

Each oracle gives {(kind, remote id): values}; `stored` gives the same of a store, so that the two can be compared.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from hub.store import Store

Rows = dict[tuple[str, str], dict[str, Any]]
_TICKET = {"hold": "on_hold"}
_LIVING = """
SELECT record.kind, record.remote_id, record.body FROM record JOIN source ON source.id = record.source_id
WHERE source.connection = ? AND record.deleted_at IS NULL
"""
_CREATED = "SELECT kind, changes FROM event"


def zendesk(sandbox: Any, *, merged: Iterable[int] = ()) -> Rows:
    """Say what is in a Zendesk account; `merged` are the users that lost a merge."""
    state, found, lost = sandbox.state, Rows(), set(merged)
    for one, user in state.users.items():
        if user.get("permanently_deleted") or one in lost:
            continue
        if user["role"] == "end-user":
            status = "archived" if not user["active"] else "suspended" if user["suspended"] else "active"
            found["customer", str(one)] = {"display_name": user["name"], "email": user["email"], "status": status}
        else:
            found["agent", str(one)] = {"display_name": user["name"], "is_active": user["active"]}
    for one, organization in state.organizations.items():
        if not organization.get("deleted_at"):
            found["account", str(one)] = {"name": organization["name"]}
    for one, ticket in state.tickets.items():
        if ticket["status"] != "deleted":
            status = _TICKET.get(ticket["status"], ticket["status"])
            values = {name: ticket[name] for name in ("subject", "description", "tags")} | {"status": status}
            requester = {"table": "users", "remote_id": str(ticket["requester_id"])}
            found["ticket", str(one)] = {**values, "customer_ref": requester, "updated_at": ticket["updated_at"]}
    for ticket_id, comments in state.comments.items():
        for one, comment in comments.items():
            found["message", str(one)] = {
                "body_text": comment["plain_body"],
                "visibility": "public" if comment["public"] else "internal",
                "ticket_ref": {"table": "tickets", "remote_id": str(ticket_id)},
            }
    return found


def salesforce(sandbox: Any) -> Rows:
    """Say what is in a Salesforce org of people, cases, comments and mails."""
    found = Rows()
    for one, row in sandbox.rows["Contact"].items():
        if not row["IsDeleted"] and not row["IsPersonAccount"]:
            found["customer", one] = {"family_name": row["LastName"], "job_title": row["Title"]}
    for one, row in sandbox.rows["Account"].items():
        if not row["IsDeleted"] and row["IsPersonAccount"]:
            found["customer", one] = {"family_name": row["LastName"], "job_title": row["PersonTitle"]}
    for one, row in sandbox.rows["Case"].items():
        if not row["IsDeleted"]:
            found["ticket", one] = {"subject": row["Subject"], "number": row["CaseNumber"]}
    for one, row in sandbox.rows["CaseComment"].items():
        if not row["IsDeleted"]:
            visibility = "public" if row["IsPublished"] else "internal"
            found["message", one] = {"body_text": row["CommentBody"], "visibility": visibility}
    for one, row in sandbox.rows["EmailMessage"].items():
        if not row["IsDeleted"]:
            visibility = "internal" if row["Status"] == "5" else "public"
            found["message", one] = {"body_text": row["TextBody"], "visibility": visibility}
    return found


def stripe(sandbox: Any) -> Rows:
    """Say what is in a Stripe account of customers, refunds and payments."""
    found = Rows()
    for one, customer in sandbox.state.kinds["customers"].items():
        found["customer", one] = {"display_name": customer["name"], "email": customer["email"]}
    for one, refund in sandbox.state.kinds["refunds"].items():
        amount = {"amount": refund["amount"], "currency": refund["currency"].upper()}
        found["refund", one] = {"amount": amount, "status": refund["status"]}
    for one, intent in sandbox.state.kinds["payment_intents"].items():
        found["payment", one] = {"amount": {"amount": intent["amount"], "currency": intent["currency"].upper()}}
    return found


def legacy(sandbox: Any) -> Rows:
    """Say what is in the legacy system's tables of customers and orders."""
    found, database = Rows(), sandbox.connect()
    try:
        for number, first, last in database.execute("SELECT customer_no, first_name, last_name FROM customers"):
            found["customer", str(number)] = {"given_name": first, "family_name": last}
        for one, number, total, currency in database.execute(
            "SELECT order_id, order_no, gross_total, currency FROM orders"
        ):
            minor = 1 if currency.upper() == "JPY" else 100
            amount = {"amount": round(float(total) * minor), "currency": currency.upper()}
            found["order", str(one)] = {"number": str(number), "total": amount}
    finally:
        database.close()
    return found


def stored(store: Store, connection: str, like: Rows) -> Rows:
    """Give the living records of a connection, of the kinds that an oracle knows, with the values that it names."""
    kinds = {kind: values.keys() for (kind, _), values in like.items()}
    with store.read() as tx:
        rows = tx.execute(_LIVING, (connection,)).fetchall()
    bodies = [(kind, remote_id, json.loads(body)) for kind, remote_id, body in rows if kind in kinds]
    return {(kind, remote_id): {name: body.get(name) for name in kinds[kind]} for kind, remote_id, body in bodies}


def agrees(store: Store, connection: str, wanted: Rows, *, besides: Iterable[tuple[str, str]] = ()) -> None:
    """Hold a store against an oracle; say what is lost, what is too much (but for `besides`) and what differs."""
    left_out = set(besides)
    found = {key: row for key, row in stored(store, connection, wanted).items() if key not in left_out}
    lost, more = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    assert not lost, f"{len(lost)} lost: {sorted(lost)[:5]}"
    assert not more, f"{len(more)} too many: {sorted(more)[:5]}"
    differ = {key: (found[key], values) for key, values in wanted.items() if found[key] != values}
    assert not differ, f"{len(differ)} differ (stored, true): {dict(list(differ.items())[:3])}"


def told_once(store: Store, change: str = "created") -> None:
    """See that no entity was told twice to have been created."""
    with store.read() as tx:
        told = [one for _, changes in tx.execute(_CREATED).fetchall() for one in json.loads(changes).get(change, [])]
    assert len(told) == len(set(told)), f"{len(told) - len(set(told))} told twice to be {change}"


OF: dict[str, Callable[..., Rows]] = {"zendesk": zendesk, "salesforce": salesforce, "stripe": stripe, "legacy": legacy}
