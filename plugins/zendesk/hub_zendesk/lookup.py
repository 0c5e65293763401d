"""Find a customer at Zendesk itself, when the hub does not know them yet."""

from collections.abc import Iterator, Mapping

import msgspec

from hub import CustomerLookup, Invalid, NotFound, Outcome, Unauthorized, Unsupported
from hub_zendesk.client import Client, decode, ident


class _User(msgspec.Struct):
    id: int
    role: str | None = None
    active: bool | None = None


class _Identity(msgspec.Struct):
    type: str | None = None
    value: str | None = None


class _Identities(msgspec.Struct):
    identities: list[_Identity]


class _Users(msgspec.Struct):
    users: list[_User]


class _Requester(msgspec.Struct):
    requester_id: int | None = None


class _Ticket(msgspec.Struct):
    ticket: _Requester


def look_up(client: Client, action: CustomerLookup) -> Outcome:
    """
    Search users by e-mail, phone or external id, or take a ticket's requester.

    The answer lists streams and ids; the hub fetches them. Raises Unsupported for order numbers, which Zendesk lacks.
    """
    if action.order_number is not None:
        raise Unsupported("zendesk: orders are not kept there; look up by email, phone, ticket_id or external_ref")
    ids = _of_ticket(client, action.ticket_id) if action.ticket_id is not None else _searched(client, action)
    found = [("users", one) for one in ids]
    return Outcome(answer=[{"stream": stream, "remote_id": one} for stream, one in found], touched=found)


def _searched(client: Client, action: CustomerLookup) -> list[str]:
    """Search; the index answers loosely and may lag some minutes, so the hub compares what it fetches."""
    query = {"external_id": action.external_ref}
    if action.external_ref is None:
        field, value = ("email", action.email) if action.email is not None else ("phone", action.phone)
        query = {"query": f'{field}:"{_quoted(value or "")}"'}
    users = decode(client.get("/users/search.json", query), _Users, "/api/v2/users/search").users
    return [str(user.id) for user in users if user.role == "end-user"]


def _quoted(value: str) -> str:
    return value.replace("\\", "").replace('"', "")


def _of_ticket(client: Client, ticket: str) -> list[str]:
    body = client.get(f"/tickets/{ident(ticket.rpartition('/')[2])}.json")
    requester = decode(body, _Ticket, "/api/v2/tickets/{id}").ticket.requester_id
    return [] if requester is None else [str(requester)]


def survivors(client: Client, known: Mapping[str, str]) -> dict[str, str]:
    """
    Say which users live on in another one, and in which: `known` are their ids and the addresses that they had.

    A merge moves the addresses of the user that is given up to the other one
    (https://support.zendesk.com/hc/en-us/articles/4408887695898); a deleted user's are nobody's. The search finds by
    any address of a user, but loosely: the identities decide. Where they cannot be read, nobody is said to live on.
    """
    found = {}
    for one, email in known.items():
        holders = list(_holders(client, one, email))
        if len(holders) == 1:
            found[one] = holders[0]
    return found


def _holders(client: Client, one: str, email: str) -> Iterator[str]:
    """Name the other active users who have this address, as their first or as another one."""
    try:
        body = client.get("/users/search.json", {"query": f'email:"{_quoted(email)}"'})
        for user in decode(body, _Users, "/api/v2/users/search").users:
            if str(user.id) == one or user.active is False:
                continue
            body = client.get(f"/users/{user.id}/identities.json")
            identities = decode(body, _Identities, "/api/v2/users/{id}/identities").identities
            values = {(each.value or "").lower() for each in identities if each.type == "email"}
            if email.lower() in values:
                yield str(user.id)
    except (NotFound, Invalid):
        return
    except Unauthorized as exc:
        if exc.error_code != "forbidden":
            raise
