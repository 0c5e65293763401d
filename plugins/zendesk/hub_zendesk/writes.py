"""
What actions do at Zendesk, and how one finds out afterwards whether they did.

Every update of a ticket carries its run in the audit's custom metadata (`metadata.hub_run`), which no customer ever
sees, and is made under `safe_update`: a request that arrives late, or twice, meets a newer `updated_at` and is refused.
So the audits without the marker do mean that sending again cannot double a comment.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from hub import Absent, Call, CannotTell, Conflict, Effect, File, Found, Invalid, NotFound, Outcome
from hub_zendesk.client import Client, decode, ident
from hub_zendesk.uploads import with_files

MARKER = "hub_run"
_TRIES = 3


class Ticket(msgspec.Struct):
    id: int
    status: str | None = None
    updated_at: str | None = None
    subject: str | None = None
    requester_id: int | None = None
    tags: list[str] = []


class Audit(msgspec.Struct):
    class Metadata(msgspec.Struct):
        custom: Any = None

    id: int
    metadata: Metadata | None = None
    events: list[dict[str, Any]] = []


class _OneTicket(msgspec.Struct):
    ticket: Ticket


class _Tickets(msgspec.Struct):
    tickets: list[Ticket]


class _Audits(msgspec.Struct):
    audits: list[Audit]


class _OneUser(msgspec.Struct):
    user: dict[str, Any]


def target_id(call: Call) -> str:
    """Give the id of what the call works on. Raises Invalid if there is none, or if it is no Zendesk id."""
    if call.target is None:
        raise Invalid("zendesk: this action needs a record to work on", code="no_target")
    return ident(call.target.remote_id)


def comment(
    client: Client, call: Call, *, public: bool, force_close: bool, files: Sequence[File] | None = None
) -> Outcome:
    """Add a comment to a ticket, with its files and whatever else the call changes of the ticket."""
    message = dict(call.parts.get("message") or call.fields)
    assert_visibility(message, public=public)
    wanted = {**call.parts.get("ticket", {}), "comment": message}
    return _change(client, call, wanted, force_close=force_close, files=files or ())


def set_fields(client: Client, call: Call, *, force_close: bool) -> Outcome:
    """Set fields of a ticket."""
    return _change(client, call, dict(call.parts.get("ticket") or call.fields), force_close=force_close)


def _change(
    client: Client, call: Call, wanted: dict[str, Any], *, force_close: bool, files: Sequence[File] = ()
) -> Outcome:
    """Change a ticket, under the version the caller saw if it names one, else under the one just read."""
    refuse_closing(wanted, force_close)
    ticket_id = target_id(call)
    for last in (False,) * (_TRIES - 1) + (True,):
        ticket = _open_ticket(client, ticket_id, call.expected_version)
        done = _marked(client, ticket_id, call.key)
        if done is not None:
            return outcome(ticket_id, done)
        wanted, files = with_files(client, wanted, files), ()
        try:
            return _update(client, ticket_id, wanted, call.key, stamp=ticket.updated_at)
        except Conflict:
            # 409 says that nothing was written: look again, unless the caller insists on the version it saw
            if last or call.expected_version is not None:
                raise
    raise AssertionError


def assign(client: Client, call: Call, *, force_close: bool) -> Outcome:
    """Give a ticket to a member of staff or a group, whose ids are numbers at Zendesk."""
    wanted = dict(call.parts.get("ticket") or call.fields)
    for name in ("assignee_id", "group_id"):
        if name in wanted:
            wanted[name] = int(ident(str(wanted[name])))
    return _change(client, call, wanted, force_close=force_close)


def tag(client: Client, call: Call) -> Outcome:
    """Add and remove tags under the version just read, so that tags set meanwhile are not lost."""
    ticket_id = target_id(call)
    add, remove = list(call.input.get("add") or ()), set(call.input.get("remove") or ())
    for last in (False,) * (_TRIES - 1) + (True,):
        ticket = _open_ticket(client, ticket_id, call.expected_version)
        done = _marked(client, ticket_id, call.key)
        if done is not None:
            return outcome(ticket_id, done)
        kept = [tag for tag in ticket.tags if tag not in remove]
        tags = [*kept, *(tag for tag in dict.fromkeys(add) if tag not in kept)]
        if tags == ticket.tags:
            return Outcome((), [("tickets", ticket_id)])
        try:
            return _update(client, ticket_id, {"tags": tags}, call.key, stamp=ticket.updated_at)
        except Conflict:
            if last or call.expected_version is not None:
                raise
    raise AssertionError


def create(client: Client, call: Call) -> Outcome:
    """Open a ticket. The run's key is Zendesk's Idempotency-Key, which it keeps for two hours."""
    message = dict(call.parts.get("message", {}))
    assert_visibility(message, public=call.input.get("visibility", "public") == "public")
    wanted = dict(call.parts.get("ticket") or call.fields)
    ticket = {
        **wanted, "comment": message, "requester_id": int(target_id(call)), "metadata": {MARKER: call.key},
    }  # fmt: skip
    answer = client.write("POST", "/tickets.json", {"ticket": ticket}, headers={"Idempotency-Key": call.key})
    made = msgspec.convert(answer.get("ticket"), Ticket)
    return _created(made, answer.get("audit"))


def update_user(client: Client, call: Call) -> Outcome:
    """Set fields of a user; what changed is told from the user before and after."""
    user_id = target_id(call)
    before = read_user(client, user_id, call.expected_version)
    wanted = dict(call.parts.get("customer") or call.fields)
    answer = client.write("PUT", f"/users/{user_id}.json", {"user": wanted})
    return _user_outcome(user_id, wanted, before, answer.get("user", {}))


def read_user(client: Client, user_id: str, expected: str | None = None) -> dict[str, Any]:
    """Read a user as it is now. Raises Conflict where that is not the expected version."""
    found: dict[str, Any] = decode(client.get(f"/users/{user_id}.json"), _OneUser, "/api/v2/users/{id}").user
    if expected is not None and not _same_version(found.get("updated_at"), expected):
        raise Conflict("zendesk: the user changed since it was read", code="version_conflict")
    return found


def find_update(client: Client, call: Call) -> Found | Absent | CannotTell:
    """Look for the run's marker in the ticket's audits."""
    ticket_id = target_id(call)
    try:
        done = _marked(client, ticket_id, call.key)
    except NotFound:
        return CannotTell("the ticket is gone; its audits cannot be read")
    return Absent() if done is None else Found(outcome(ticket_id, done))


def find_user_update(client: Client, call: Call) -> Found | Absent:
    """Compare the user with what was to be set; setting it again would change nothing else."""
    user_id = target_id(call)
    now = read_user(client, user_id)
    wanted = dict(call.parts.get("customer") or call.fields)
    if any(not holds(now.get(name), value) for name, value in wanted.items()):
        return Absent()
    known = dict.fromkeys(wanted)
    return Found(_user_outcome(user_id, wanted, known, now))


def find_created(client: Client, call: Call) -> Found | CannotTell:
    """Look for the run's marker in the requester's tickets of this subject. Lists may lag: it is never Absent."""
    subject = dict(call.parts.get("ticket") or call.fields).get("subject")
    listing = client.pages(f"/users/{target_id(call)}/tickets/requested.json", {"sort": "-id"}, most=3)
    for body in listing:
        for ticket in decode(body, _Tickets, "/api/v2/users/{id}/tickets/requested").tickets:
            if ticket.subject == subject and (done := _marked(client, str(ticket.id), call.key)) is not None:
                return Found(_created(ticket, msgspec.to_builtins(done)))
    return CannotTell("no ticket of this run is listed; within two hours the same key answers for certain")


def assert_visibility(message: Mapping[str, Any], *, public: bool) -> None:
    """Let no comment out whose visibility is not said, and said right. Zendesk's own default is public."""
    if message.get("public") is not public:
        wanted = "true" if public else "false"
        raise Invalid(
            f"zendesk: the comment was not sent: the mapping must write visibility as public = {wanted}",
            code="visibility_not_assured",
        )


def refuse_closing(wanted: Mapping[str, Any], force_close: bool) -> None:
    """Refuse `closed`, which Zendesk never takes back, unless the connection says force_close."""
    if wanted.get("status") == "closed" and not force_close:
        raise Invalid(
            "zendesk: closed is final and Zendesk's own automation sets it; write solved, "
            "or set force_close = true for this connection",
            code="closing_not_allowed",
            next_actions=("ticket.set_status solved",),
        )


def outcome(ticket_id: str, audit: Audit) -> Outcome:
    """Tell what an audit did: its comment, and the fields it changed. What triggers did after it is left out."""
    effects: list[Effect] = []
    touched = [("tickets", ticket_id)]
    for event in audit.events:
        if _by_rule(event):
            continue
        if event.get("type") == "Comment":
            effects.append(Effect("comment", str(event.get("id")), "create", after={"public": event.get("public")}))
            touched.append(("comments", f"{ticket_id}:{event.get('id')}"))
        elif event.get("type") == "Change" and event.get("field_name") != "custom_status_id":
            name = str(event.get("field_name"))
            before, after = {name: event.get("previous_value")}, {name: event.get("value")}
            effects.append(Effect("ticket", ticket_id, "update", before, after))
    return Outcome(effects, touched)


def _by_rule(event: Mapping[str, Any]) -> bool:
    via = event.get("via")
    return isinstance(via, dict) and via.get("channel") == "rule"


def _open_ticket(client: Client, ticket_id: str, expected: str | None) -> Ticket:
    ticket: Ticket = decode(client.get(f"/tickets/{ticket_id}.json"), _OneTicket, "/api/v2/tickets/{id}").ticket
    if expected is not None and not _same_version(ticket.updated_at, expected):
        raise Conflict("zendesk: the ticket changed since it was read; read it again", code="version_conflict")
    if ticket.status in ("closed", "deleted"):
        raise Invalid(
            f"zendesk: the ticket is {ticket.status}, which is final; open a new one",
            code="ticket_closed",
            next_actions=("ticket.create",),
        )
    return ticket


def _same_version(now: str | None, expected: str) -> bool:
    """Compare times as Zendesk and the hub write them (the hub may have added a fraction)."""
    return (now or "").removesuffix("Z") == expected.removesuffix("Z").partition(".")[0]


def _update(client: Client, ticket_id: str, wanted: Mapping[str, Any], key: str, *, stamp: str | None) -> Outcome:
    ticket = {**wanted, "metadata": {MARKER: key}}
    if stamp is not None:
        ticket |= {"safe_update": True, "updated_stamp": stamp}
    answer = client.write("PUT", f"/tickets/{ticket_id}.json", {"ticket": ticket})
    audit = answer.get("audit")
    if not isinstance(audit, dict):
        return Outcome((), [("tickets", ticket_id), ("comments", ticket_id)])
    return outcome(ticket_id, msgspec.convert(audit, Audit))


def _marked(client: Client, ticket_id: str, key: str) -> Audit | None:
    """Give the audit of a run, if the ticket has one."""
    return next((audit for audit in _audits(client, ticket_id) if _key(audit) == key), None)


def _audits(client: Client, ticket_id: str) -> Iterator[Audit]:
    for body in client.pages(f"/tickets/{ticket_id}/audits.json"):
        yield from decode(body, _Audits, "/api/v2/tickets/{id}/audits").audits


def _key(audit: Audit) -> Any:
    custom = audit.metadata.custom if audit.metadata else None
    return custom.get(MARKER) if isinstance(custom, dict) else None


def _created(ticket: Ticket, audit: Any) -> Outcome:
    ticket_id = str(ticket.id)
    events = audit.get("events", []) if isinstance(audit, dict) else []
    ids = [event["id"] for event in events if event.get("type") == "Comment" and "id" in event]
    touched = [("tickets", ticket_id), *(("comments", f"{ticket_id}:{one}") for one in ids)]
    return Outcome([Effect("ticket", ticket_id, "create", after={"status": ticket.status})], touched)


def _user_outcome(
    user_id: str, wanted: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> Outcome:
    effect = Effect(
        "user", user_id, "update",
        {name: before.get(name) for name in wanted}, {name: after.get(name) for name in wanted},
    )  # fmt: skip
    return Outcome([effect], [("users", user_id)])


def holds(now: Any, wanted: Any) -> bool:
    """Say whether a field has what was to be written; of an object what is not named does not matter."""
    if isinstance(wanted, dict) and isinstance(now, dict):
        return all(holds(now.get(name), value) for name, value in wanted.items())
    return bool(now == wanted)
