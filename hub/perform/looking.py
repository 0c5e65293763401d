"""Answer the actions that only read: from what is stored, and where nothing is, from the systems themselves."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from hub.access import Principal, allows
from hub.actions import Action, CustomerLookup, OrderGet, OrderTrack
from hub.connections import Connection, Connections, wall
from hub.connector import Call, Outcome, Target
from hub.errors import ConfigError, HubError, MappingError, Unsupported
from hub.perform import answers
from hub.perform.envelope import Result
from hub.perform.intake import references


@dataclass(frozen=True)
class Looking:
    """Looks things up; what it needs of the rooms beside this one is handed in, bound to the store."""

    connections: Connections
    resolve: Callable[[str, str], list[Target]]
    find_customer: Callable[..., list[str]]
    get: Callable[[str, str], bytes | None]
    list_: Callable[[str, dict[str, str], str | None], bytes]
    fetch: Callable[[Connection, str, list[str]], object]

    def read(self, action: Action, principal: Principal) -> Result:
        """Answer a reading action. Raises Unsupported where nothing here can."""
        if isinstance(action, (OrderGet, OrderTrack)):
            found = self._revealed("order", self._orders(action), action)
            return answers.read(type(action), {"match": _match(found), "orders": found})
        if not isinstance(action, CustomerLookup):
            raise Unsupported(f"{action.name}: nothing here can answer it")
        asked = {name.removesuffix("_id"): value for name, value in action.by.items()}
        ids, warnings = self.find_customer(**asked), list[str]()
        if not ids:
            warnings = self._ask_systems(action, principal)
            ids = self.find_customer(**asked)
        found = self._revealed("customer", self._chosen(ids, action), action)
        result = answers.read(type(action), {"match": _match(found), "customers": found})
        result.warnings += warnings
        return result

    def _chosen(self, ids: list[str], action: CustomerLookup) -> list[str]:
        """Let hints choose among several customers; unless exactly one fits them all, it stays at all of them."""
        if len(ids) < 2 or action.hints is None or not action.hints.given:
            return ids
        fits = [one for one in ids if all(self._fits(one, *hint) for hint in action.hints.given.items())]
        return fits if len(fits) == 1 else ids

    def _fits(self, customer: str, name: str, value: str) -> bool:
        if name not in ("name", "postal_code"):
            return customer in self.find_customer(**{name.removesuffix("_id"): value})
        body = msgspec.json.decode(self.get("customer", customer) or b"{}")
        if name == "name":
            words = set(_plain(value).split())
            return bool(words) and words <= set(_plain(body.get("display_name") or "").split())
        kept = (body.get("default_address"), body.get("shipping_address"))
        return _code(value) in {_code(one["postal_code"]) for one in kept if one and one.get("postal_code")}

    def _ask_systems(self, action: CustomerLookup, principal: Principal) -> list[str]:
        """Let every system that can look for the customer, and store what it finds; give what went wrong."""
        missed = []
        for name in self.connections.names():
            if not allows(principal, "read:customer", connection=name):
                continue
            with suppress(ConfigError, MappingError):
                connection = self.connections.open(name)
                try:
                    self._ask(connection, action)
                except Unsupported:
                    continue
                except HubError as exc:
                    missed.append(f"{name}: could not be asked: {exc.message}")
        return missed

    def _ask(self, connection: Connection, action: CustomerLookup) -> None:
        method = connection.connector.method("act", action.name)
        if method is None or connection.can(action.name) is None:
            return
        call = Call("lookup", "lookup", input=dict(action.by))
        with wall(f"{connection.name}: {action.name}"), connection.call():
            outcome: Outcome = method(action, call)
            streams: dict[str, list[str]] = {}
            for stream, remote_id in outcome.touched:
                streams.setdefault(stream, []).append(remote_id)
            for stream, ids in streams.items():
                self.fetch(connection, stream, ids)

    def _orders(self, action: OrderGet | OrderTrack) -> list[str]:
        if action.order_ref is not None:
            references(action)
            return list(dict.fromkeys(target.id for target in self.resolve(action.order_ref, "order")))
        page = self.list_("order", {"number": action.number or ""}, None)
        return [order["id"] for order in msgspec.json.decode(page)["data"]]

    def _revealed(self, kind: str, ids: Sequence[str], action: Action) -> list[dict[str, Any]]:
        bodies = (self.get(kind, found) for found in ids)
        return [_shown(msgspec.json.decode(body), action.reveals) for body in bodies if body is not None]


def _plain(text: str) -> str:
    """Give a name without case, accents and punctuation."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return "".join(c if c.isalnum() else " " for c in bare)


def _code(text: str) -> str:
    return "".join(text.split()).replace("-", "").casefold()


def _match(found: Sequence[Any]) -> str:
    return "none" if not found else "one" if len(found) == 1 else "several"


def _shown(body: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """Keep what a lookup may show; of the connections only their names."""
    found = {name: body.get(name) for name in fields}
    if "connections" in found:
        records = found["connections"] or []
        found["connections"] = sorted({r["connection"] if isinstance(r, Mapping) else str(r) for r in records})
    return found
