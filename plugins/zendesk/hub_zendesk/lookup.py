"""Find a customer at Zendesk itself, when the hub does not know them yet."""

import msgspec

from hub import CustomerLookup, Outcome, Unsupported
from hub_zendesk.client import Client, decode, ident


class _User(msgspec.Struct):
    id: int
    role: str | None = None


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
