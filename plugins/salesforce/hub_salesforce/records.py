"""Write fields of one record, and look records up."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from hub import Absent, Call, CannotTell, Conflict, Effect, Found, Invalid, NotFound, Outcome, Target, Unsupported
from hub_salesforce.client import valid_id
from hub_salesforce.schema import Org
from hub_salesforce.soql import Select, active_values, id_list, literal, moment

_COUNTRY = "Country"


def update(org: Org, call: Call) -> Outcome:
    """Set `call.fields` on the target. Raises Conflict where it changed since the expected version."""
    target = target_of(call)
    body = writable(org, target.stream, _whole(org, target.stream, call.fields))
    now = current(org, target.stream, target.remote_id, columns=tuple(body))
    headers = unchanged_since(now, call.expected_version)
    org.client.write(
        "PATCH", f"sobjects/{target.stream}/{target.remote_id}", body, f"update {target.stream}", headers=headers
    )
    return updated(target.stream, target.remote_id, now, body)


def cancel(org: Org, call: Call) -> Outcome:
    """Cancel an order that is a draft still. Raises Conflict for any other, Unsupported for a word about stock."""
    target = target_of(call)
    if call.input.get("restock") is not None:
        raise Unsupported("Salesforce: an order knows no stock; leave restock out", field_path="input.restock")
    known = [name for name in ("Status", "StatusCode") if name in org.schema.get(target.stream).columns]
    now = current(org, target.stream, target.remote_id, columns=tuple(known))
    if "Draft" not in (now.get("StatusCode"), now.get("Status")):
        text = f"Salesforce: the order is {now.get('Status')}; only a draft is cancelled here"
        raise Conflict(text, code="order_not_changeable", reason=str(now.get("Status")))
    return update(org, call)


def assign(org: Org, call: Call) -> Outcome:
    """Give a case to a user or to a queue: it has one owner. Raises Invalid for both, and for what is no id."""
    if call.input.get("assignee") and call.input.get("group"):
        raise Invalid("Salesforce: a case has one owner, a user or a queue; give one", field_path="input.group")
    for value in call.fields.values():
        valid_id(str(value))
    return update(org, call)


def find_update(org: Org, call: Call) -> Found | Absent | CannotTell:
    """Compare the record with what was to be set. Setting it again is harmless, so a difference is Absent."""
    target = target_of(call)
    body = writable(org, target.stream, _whole(org, target.stream, call.fields))
    now = current(org, target.stream, target.remote_id, columns=tuple(body))
    if all(same(now.get(name), value) for name, value in body.items()):
        return Found(updated(target.stream, target.remote_id, {}, body))
    return Absent()


def updated(sobject: str, remote_id: str, before: Mapping[str, Any], body: Mapping[str, Any]) -> Outcome:
    """Tell of fields that were set; `before` holds what they were, as far as that is known."""
    was = {name: before[name] for name in body if name in before} or None
    return Outcome((Effect(sobject, remote_id, "update", was, dict(body)),), ((sobject, remote_id),))


def target_of(call: Call) -> Target:
    """Give the record to write. Raises Invalid unless its id has the form of one."""
    if call.target is None:
        raise Invalid("Salesforce: this action needs a record to work on")
    valid_id(call.target.remote_id)
    return call.target


def same(found: Any, wanted: Any) -> bool:
    """Compare as Salesforce stores: no blanks around texts, one sort of line ends, an empty text is null."""
    return bool(_stored(found) == _stored(wanted))


def _stored(value: Any) -> Any:
    return (value.replace("\r\n", "\n").strip() or None) if isinstance(value, str) else value


def current(org: Org, sobject: str, remote_id: str, *, columns: tuple[str, ...]) -> dict[str, Any]:
    """Read a record's columns as they are now. Raises NotFound."""
    found = org.schema.get(sobject)
    clock = found.clock()
    wanted = dict.fromkeys(["Id", *([clock] if clock else []), *columns])
    rows = org.client.query(Select(found, tuple(wanted)).text(f"Id = '{valid_id(remote_id)}'"), f"query {sobject}")
    if not rows:
        raise NotFound(f"Salesforce: there is no such {sobject}, or this user may not see it")
    return rows[0]


def unchanged_since(now: Mapping[str, Any], expected: str | None) -> dict[str, str]:
    """
    Give the header that makes Salesforce refuse a record changed after `expected`.

    The header knows whole seconds only, so the version is compared here as well. Raises Conflict, Invalid.
    """
    if expected is None:
        return {}
    try:
        wanted = moment(expected)
    except ValueError as exc:
        text = 'Salesforce: a version is the time of the last change, such as "2026-11-22T07:00:00.000+0000"'
        raise Invalid(text, code="bad_version") from exc
    found = next((now[c] for c in ("SystemModstamp", "LastModifiedDate") if now.get(c)), None)
    if found is None or moment(found) != wanted:
        raise Conflict("Salesforce: the record changed after the expected version", code="version_conflict")
    second = math.ceil(datetime.fromisoformat(wanted).timestamp())
    return {"If-Unmodified-Since": format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True)}


def writable(org: Org, sobject: str, fields: Mapping[str, Any], *, new: bool = False) -> dict[str, Any]:
    """
    Check a body against describe before it is sent.

    Raises Unsupported for a column that this user cannot write and for a value that a picklist does not have.
    """
    columns = org.schema.get(sobject).columns
    body = {}
    for given, value in fields.items():
        name = _country_code(given, value, columns)
        column = columns.get(name)
        if column is None or not (column.createable if new else column.updateable):
            raise Unsupported(f"Salesforce: {sobject}.{name} cannot be written by this user", field_path=name)
        if isinstance(value, (dict, list)):
            raise Unsupported(f"Salesforce: {sobject}.{name} takes a plain value", field_path=name)
        choices = active_values(column)
        if column.type == "picklist" and choices and value is not None and value not in choices:
            known = ", ".join(sorted(choices))
            text = f'Salesforce: {sobject}.{name} has no value "{value}" in this org; it has {known}'
            raise Unsupported(f"{text}; correct the mapping's [write] table", field_path=name)
        body[name] = value
    if not body:
        raise Unsupported(f"Salesforce: nothing of this can be written to {sobject}")
    return body


def _whole(org: Org, sobject: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Clear the region of an address that is replaced by one without: Berlin is not in Texas."""
    columns = org.schema.get(sobject).columns
    stale: dict[str, Any] = {}
    for name in fields:
        state = name.removesuffix("City") + "State"
        if name.endswith("City") and state in columns and not {state, f"{state}Code"} & set(fields):
            stale[state] = None
    return {**stale, **fields}


def _country_code(name: str, value: Any, columns: Mapping[str, Any]) -> str:
    """An org with country picklists takes codes in a column of their own, names in the plain one."""
    code = isinstance(value, str) and len(value) == 2 and value.isupper()
    return f"{name}Code" if code and name.endswith(_COUNTRY) and f"{name}Code" in columns else name


def lookup(org: Org, call: Call) -> Outcome:
    """Find contacts; nothing found is no error."""
    given = {name: str(value) for name, value in call.input.items() if value}
    ids: list[str] = []
    if email := given.get("email"):
        ids = _ids(org, "Contact", f"Email = {literal(email)}")
    elif phone := given.get("phone"):
        ids = _ids(org, "Contact", f"(Phone = {literal(phone)} OR MobilePhone = {literal(phone)})")
    elif ticket := given.get("ticket_id"):
        ids = _ids(org, "Case", f"CaseNumber = {literal(ticket)}", "ContactId")
    elif number := given.get("order_number"):
        ids = _ids(org, "Order", f"OrderNumber = {literal(number)}", "BillToContactId")
    found = _persons(org, ids)
    return Outcome(touched=found, answer={"found": [{"stream": stream, "remote_id": one} for stream, one in found]})


def _persons(org: Org, ids: list[str]) -> tuple[tuple[str, str], ...]:
    """Name where each contact is written: the contact of a person account is only its shadow."""
    contact = org.schema.find("Contact")
    if not ids or contact is None or "IsPersonAccount" not in contact.columns:
        return tuple(("Contact", one) for one in ids)
    where = f"Id IN {id_list(valid_id(one) for one in ids)}"
    rows = org.client.query(
        Select(contact, ("Id", "AccountId", "IsPersonAccount")).text(where, "Id"), "look up Contact"
    )
    return tuple(("Account", r["AccountId"]) if r["IsPersonAccount"] else ("Contact", r["Id"]) for r in rows)


def _ids(org: Org, sobject: str, where: str, column: str = "Id") -> list[str]:
    found = org.schema.find(sobject)
    if found is None or column not in found.columns:
        return []
    soql = f"{Select(found, tuple(dict.fromkeys(('Id', column)))).text(where, 'Id')} LIMIT 20"
    return [row[column] for row in org.client.query(soql, f"look up {sobject}") if row.get(column)]
