"""Make contacts, by upsert on a number that is theirs alone."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from hub import Absent, Call, Conflict, Effect, Found, NotFound, Outcome, Temporary, Unsupported
from hub_salesforce.client import valid_id
from hub_salesforce.records import current, same, target_of, unchanged_since, writable
from hub_salesforce.schema import Org
from hub_salesforce.soql import Select, literal

_CONTACT = "Contact"


def create(org: Org, call: Call) -> Outcome:
    """
    Make a contact, known by the caller's own number or else by the run's key.

    Whoever has that number or the e-mail already is not changed. Raises Conflict, unless it is the contact that this
    very run has made; Unsupported where the org has no field for the number.
    """
    column, value, body = _new(org, call)
    if isinstance(found := find_created(org, call), Found):
        return found.outcome
    _nobody_elses(org, body)
    path = f"sobjects/{_CONTACT}/{column}/{quote(value, safe='')}"
    answer = org.client.write("PATCH", path, body, f"create {_CONTACT}").json()
    made = answer.get("id") if isinstance(answer, dict) else None
    if not isinstance(made, str):
        raise Temporary("Salesforce: the answer to a write does not name the record")
    return _made(valid_id(made), {**body, column: value})


def find_created(org: Org, call: Call) -> Found | Absent:
    """Look for the contact by its number. Raises Conflict where another one has it."""
    column, value, body = _new(org, call)
    select = Select(org.schema.get(_CONTACT), tuple(dict.fromkeys(("Id", *body))))
    rows = org.client.query(select.text(f"{column} = {literal(value)}"), f"query {_CONTACT}")
    if not rows:
        return Absent()
    if value != call.key and not all(same(rows[0].get(name), wanted) for name, wanted in body.items()):
        raise _taken(rows[0], "external id")
    return Found(_made(rows[0]["Id"], {**body, column: value}))


def archive(org: Org, call: Call) -> Outcome:
    """Put a contact (or a person account) into the recycle bin. Raises NotFound where it is gone already."""
    target = target_of(call)
    unchanged_since(current(org, target.stream, target.remote_id, columns=()), call.expected_version)
    org.client.write("DELETE", f"sobjects/{target.stream}/{target.remote_id}", {}, f"delete {target.stream}")
    return _deleted(target.stream, target.remote_id)


def find_archived(org: Org, call: Call) -> Found | Absent:
    """Look whether the record is gone."""
    target = target_of(call)
    try:
        current(org, target.stream, target.remote_id, columns=())
    except NotFound:
        return Found(_deleted(target.stream, target.remote_id))
    return Absent()


def _deleted(sobject: str, remote_id: str) -> Outcome:
    return Outcome((Effect(sobject, remote_id, "delete"),), ((sobject, remote_id),))


def _new(org: Org, call: Call) -> tuple[str, str, dict[str, Any]]:
    """Give the column of the number, the number, and the other fields of a new contact."""
    column = org.client.config.contact_external_id_field
    known = org.schema.get(_CONTACT).columns.get(column)
    if known is None or not (known.externalId and known.unique):
        raise Unsupported(
            f"Salesforce: Contact has no unique external id {column}; create a Text(255) field of that name on Contact "
            "with External ID and Unique set, and let this user edit it",
            code="external_id_missing",
        )
    fields = dict(call.parts.get("customer") or call.fields)
    value = str(fields.pop(column, None) or call.key)
    return column, value, writable(org, _CONTACT, fields, new=True)


def _nobody_elses(org: Org, body: Mapping[str, Any]) -> None:
    if not body.get("Email"):
        return
    select = Select(org.schema.get(_CONTACT), ("Id",))
    where = f"Email = {literal(str(body['Email']))}"
    rows = org.client.query(f"{select.text(where)} LIMIT 1", f"query {_CONTACT}")
    if rows:
        raise _taken(rows[0], "e-mail")


def _taken(row: Mapping[str, Any], what: str) -> Conflict:
    text = f"Salesforce: contact {row['Id']} has this {what} already"
    return Conflict(text, code="customer_exists", reason=row["Id"])


def _made(contact: str, body: Mapping[str, Any]) -> Outcome:
    return Outcome((Effect(_CONTACT, contact, "create", None, dict(body)),), ((_CONTACT, contact),))
