"""What this room asks of rooms that it must not import; `app` hands it over."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from hub.access import OPERATOR, Principal
from hub.connections import Connection
from hub.connector import Target
from hub.errors import Refused
from hub.policy import Policy
from hub.store import Store


def _nothing(store: Store, kind: str, filters: Mapping[str, str], limit: int, cursor: str | None) -> bytes:
    return b'{"data": [], "next_cursor": null}'


def _not_counted(store: Store, connection: str, queue: str, *, but: str | None = None) -> int | None:
    return None


def _only_operator(principal: str) -> Principal:
    if principal != OPERATOR.id:
        raise Refused("who asked for this is not known here", code="asker_gone")
    return OPERATOR


class PolicySource(Protocol):
    """Where the policy of the moment comes from."""

    def current(self) -> Policy: ...


@dataclass(frozen=True)
class Neighbours:
    """
    What this room asks of the rooms beside it, which it must not import: `reads` and `sync`.

    `app` hands them over: `reads.resolve_target`, `reads.find_customer`, `reads.get`, `sync.fetch`, `reads.list_`,
    `reads.waiting`. `who` gives the principal of an id as it may act now; it raises Refused where its key is no longer
    good.
    """

    resolve_target: Callable[[Store, str, str], list[Target]]
    find_customer: Callable[..., list[str]]
    get: Callable[[Store, str, str], bytes | None]
    fetch: Callable[[Store, Connection, str, list[str]], object]
    list_: Callable[[Store, str, Mapping[str, str], int, str | None], bytes] = _nothing
    who: Callable[[str], Principal] = _only_operator
    waiting: Callable[..., int | None] = _not_counted
