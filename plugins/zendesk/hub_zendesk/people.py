"""Make users, and change the address they are known by: Zendesk keeps addresses as identities of a user."""

from collections.abc import Mapping
from typing import Any

import msgspec

from hub import Absent, Call, Conflict, Effect, Found, NotFound, Outcome
from hub_zendesk.client import Client, decode, ident
from hub_zendesk.writes import find_user_update, holds, read_user, target_id, update_user

_EMAIL = "email"


class _Identity(msgspec.Struct):
    id: int
    type: str | None = None
    value: str | None = None
    primary: bool | None = None


class _Identities(msgspec.Struct):
    identities: list[_Identity]


class _Users(msgspec.Struct):
    users: list[dict[str, Any]]


def create(client: Client, call: Call) -> Outcome:
    """
    Make an end-user, known by the caller's own number or else by the run's key.

    Whoever has that number or the e-mail already is not changed: Raises Conflict, unless it is the user that this very
    run has made. The request updates where it finds somebody, so that it does no harm when it comes twice.
    """
    wanted = _new(call)
    known = _known(client, wanted)
    if known is not None:
        return _made(known, wanted)
    answer = client.write("POST", "/users/create_or_update.json", {"user": {**wanted, "skip_verify_email": True}})
    return _made(dict(answer.get("user") or {}), wanted)


def find_created(client: Client, call: Call) -> Found | Absent:
    """Look for the user by number; the request itself finds what the search does not show yet, and makes no second."""
    wanted = _new(call)
    known = _by(client, {"external_id": wanted["external_id"]})
    return Absent() if known is None else Found(_made(known, wanted))


def archive(client: Client, call: Call) -> Outcome:
    """Delete a user: it stays in the lists of deleted ones until somebody deletes it for good."""
    user_id = target_id(call)
    if read_user(client, user_id, call.expected_version).get("active") is False:
        raise NotFound("zendesk: the user is deleted already")
    client.write("DELETE", f"/users/{user_id}.json", {})
    return _deleted(user_id)


def find_archived(client: Client, call: Call) -> Found | Absent:
    """Look whether the user is deleted."""
    user_id = target_id(call)
    try:
        there = read_user(client, user_id).get("active") is not False
    except NotFound:
        there = False
    return Absent() if there else Found(_deleted(user_id))


def _deleted(user_id: str) -> Outcome:
    return Outcome([Effect("user", user_id, "delete")], [("users", user_id)])


def change_email(client: Client, call: Call) -> Outcome:
    """
    Make an address the first of a user; it is added where the user does not have it. The old one stays, as another.

    A mapping that keeps the address elsewhere has it written there.
    """
    wanted = dict(call.parts.get("customer") or call.fields)
    if set(wanted) != {_EMAIL}:
        return update_user(client, call)
    user_id, address = target_id(call), str(wanted[_EMAIL])
    before = read_user(client, user_id, call.expected_version)
    one = _identity(client, user_id, address)
    if one is None:
        asked = {"identity": {"type": "email", "value": address}}
        answer = client.write("POST", f"/users/{user_id}/identities.json", asked)
        one = msgspec.convert(answer.get("identity"), _Identity)
    client.write("PUT", f"/users/{user_id}/identities/{one.id}/make_primary.json", {})
    return _renamed(user_id, before.get(_EMAIL), address)


def find_email(client: Client, call: Call) -> Found | Absent:
    """Look whether the address is the user's first by now."""
    wanted = dict(call.parts.get("customer") or call.fields)
    if set(wanted) != {_EMAIL}:
        return find_user_update(client, call)
    user_id, address = target_id(call), str(wanted[_EMAIL])
    one = _identity(client, user_id, address)
    return Found(_renamed(user_id, None, address)) if one is not None and one.primary else Absent()


def _new(call: Call) -> dict[str, Any]:
    wanted = dict(call.parts.get("customer") or call.fields)
    return {"external_id": call.key, **wanted}


def _known(client: Client, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the user that this run has made before. Raises Conflict where the number or the address is another's."""
    found = _by(client, {"external_id": wanted["external_id"]})
    if found is None and wanted.get(_EMAIL):
        quoted = str(wanted[_EMAIL]).replace("\\", "").replace('"', "")
        found = _by(client, {"query": f'email:"{quoted}"'}, email=str(wanted[_EMAIL]))
    if found is None or all(holds(found.get(name), value) for name, value in wanted.items()):
        return found
    text = f"zendesk: user {found['id']} has this e-mail or external id already"
    raise Conflict(text, code="customer_exists", reason=str(found["id"]))


def _by(client: Client, query: Mapping[str, Any], *, email: str | None = None) -> dict[str, Any] | None:
    """Give the one user that a search finds; it searches loosely, so what it says is compared."""
    users: list[dict[str, Any]] = decode(client.get("/users/search.json", query), _Users, "/api/v2/users/search").users
    for user in users:
        number = str(user.get("external_id") or "").lower()
        if email is not None and str(user.get(_EMAIL) or "").lower() == email.lower():
            return user
        if email is None and number == str(query["external_id"]).lower():
            return user
    return None


def _identity(client: Client, user_id: str, address: str) -> _Identity | None:
    try:
        pages = list(client.pages(f"/users/{user_id}/identities.json"))
    except NotFound as exc:
        raise NotFound("zendesk: there is no such user") from exc
    for body in pages:
        identities: list[_Identity] = decode(body, _Identities, "/api/v2/users/{id}/identities").identities
        for one in identities:
            if one.type == "email" and (one.value or "").lower() == address.lower():
                return one
    return None


def _made(user: Mapping[str, Any], wanted: Mapping[str, Any]) -> Outcome:
    user_id = ident(str(user.get("id")))
    after = {name: user.get(name) for name in wanted}
    return Outcome([Effect("user", user_id, "create", after=after)], [("users", user_id)])


def _renamed(user_id: str, before: Any, address: str) -> Outcome:
    was = None if before is None else {_EMAIL: before}
    return Outcome([Effect("user", user_id, "update", was, {_EMAIL: address})], [("users", user_id)])
