"""A connector under test: opened on its sandbox as the hub would open it."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from hub.actions import CATALOGUE, Action
from hub.config import ConnectionSettings, Settings
from hub.connections import Connection, Connections, load_sandbox
from hub.connector import Call, Connector, Page, Target
from hub.mapping import CompiledMapping, MappedPage, Source, compile_mapping
from hub.plugins import Plugins, discover
from hub.records import birth_id
from hub.sandbox import Sandbox, World
from hub.transport import announce

COMMON = frozenset(ConnectionSettings.model_fields) - {"options", "from_environment"}
SAMPLES: dict[str, dict[str, Any]] = {
    "customer.lookup": {"email": "nobody@mail.example.com"},
    "customer.create": {"name": "Grace Example", "email": "grace@made.example.com", "phone": "+4930123456"},
    "customer.archive": {},
    "customer.update_address": {
        "kind": "mailing",
        "address": {"line1": "Neue Str. 5", "city": "Berlin", "postal_code": "10117", "country_code": "DE"},
    },
    "customer.change_email": {"new_email": "new@made.example.com"},
    "customer.update": {"changes": {"display_name": "Grace Example", "job_title": "Buyer", "language": "fr"}},
    "ticket.create": {"subject": "A new question", "body": "How long does delivery take?", "visibility": "public"},
    "ticket.reply": {"body": "It is on its way."},
    "ticket.note": {"body": "Internal: asked the warehouse."},
    "ticket.set_status": {"status": "pending"},
    "ticket.assign": {"assignee": "1", "group": "2"},
    "ticket.tag": {"add": ["vip"], "remove": ["old"]},
    "ticket.escalate": {"level": "urgent", "reason": "Internal: waits for three days."},
    "credit.grant": {"amount": {"amount": 500, "currency": "EUR"}, "reason": "a late parcel"},
    "credit.take_back": {"amount": {"amount": 200, "currency": "EUR"}, "reason": "granted twice"},
    "subscription.cancel": {"when": "period_end", "reason": "asked for by mail"},
    "subscription.uncancel": {},
    "subscription.pause": {"mode": "void"},
    "subscription.resume": {},
    "subscription.change_plan": {"price": "price_other", "quantity": 2, "proration": "none"},
    "subscription.change_quantity": {"quantity": 3, "proration": "none"},
    "payment.refund": {"amount": {"amount": 100, "currency": "EUR"}, "reason": "requested_by_customer"},
    "payment.void_authorization": {},
    "order.cancel": {"reason": "ordered twice"},
    "order.update_shipping_address": {
        "address": {"line1": "Neue Str. 5", "city": "Berlin", "postal_code": "10117", "country_code": "DE"}
    },
}


@dataclass
class Pulled:
    """One page of a pull with what the mapping made of it."""

    page: Page
    mapped: MappedPage


@dataclass
class Case:
    """
    A connection on a running sandbox.

    `samples` gives the input of each action without its reference; the target is found among what was pulled.
    """

    connection: Connection
    sandbox: Sandbox
    connections: Connections
    samples: Mapping[str, dict[str, Any]] = field(default_factory=lambda: SAMPLES)

    @property
    def connector(self) -> Connector:
        return self.connection.connector

    @property
    def mapping(self) -> CompiledMapping:
        return self.connection.mapping

    def pull(self, stream: str, cursor: str | None = None, *, most: int = 10_000) -> Iterator[Pulled]:
        """Pull a stream page by page through the mapping; stop with an AssertionError where it never ends."""
        method = self.connector.method("pull", stream)
        assert method is not None, f"no @pull takes the stream {stream}"
        for n, page in enumerate(method(self.mapping.stream(stream), cursor)):
            assert n < most, f"{stream}: the pull does not end"
            yield Pulled(page, self.mapping.map_page(stream, page))

    @cached_property
    def pulled(self) -> dict[str, list[Pulled]]:
        """Every stream of the mapping, pulled once from the beginning."""
        return {stream: list(self.pull(stream)) for stream in self.mapping.streams()}

    def bodies(self, kind: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Give the mapped records of a kind by (table, remote id)."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for pages in self.pulled.values():
            for pulled in pages:
                for name, rows in pulled.mapped.tables.items():
                    if rows.kind == kind:
                        found |= {(name, row.remote_id): msgspec.json.decode(row.body) for row in rows.rows}
        return found

    def target(self, kind: str, *, prefer: Mapping[str, Any] | None = None) -> Target:
        """Choose a record of a kind, the first whose fields equal `prefer` where there is one."""
        bodies = self.bodies(kind)
        assert bodies, f"the sandbox has no {kind}"
        wanted = prefer or {}
        fits = (key for key, body in bodies.items() if _fits(body, wanted))
        table, remote_id = next(fits, next(iter(bodies)))
        hub_id = birth_id(kind, self.connection.name, table, remote_id)
        stream = self.mapping.tables[table].stream
        return Target(self.connection.name, table, stream, kind, remote_id, hub_id, bodies[table, remote_id])

    def actions(self) -> list[type[Action]]:
        """Give the catalogue's actions that this connection can do, and of which its mapping can say something."""
        return [action for action in CATALOGUE if self.connection.can(action.name) and self._can_say(action)]

    def _can_say(self, action: type[Action]) -> bool:
        given = dict(self.samples[action.name])
        if action.on is not None:
            given[action.on.field] = "any"
        wanted = action.model_validate(given).changes()
        main = next(iter(wanted), None)
        return (
            main is None or action.name in self.mapping.actions or bool(self.writable(main, wanted[main], self.mapping))
        )

    def call(
        self, action: type[Action], key: str = "hub-test-1", mapping: CompiledMapping | None = None
    ) -> tuple[Action, Call]:
        """Build a call as the hub would: the sample input, its target, the fields in the vendor's words."""
        mapping = mapping or self.mapping
        given = dict(self.samples[action.name])
        target = None
        if action.on is not None:
            target = self.target(action.on.kind, prefer=_PREFER.get(action.name, _PREFER.get(action.on.kind)))
            given[action.on.field] = target.remote_id
        if action.name == "payment.refund" and target is not None:
            given["amount"] = {**given["amount"], "currency": target.data["amount"]["currency"]}
        made = action.model_validate(given)
        parts = {
            kind: mapping.write(target.table if target is not None and target.kind == kind else kind, wanted)
            for kind, fields in made.changes().items()
            if (wanted := self.writable(kind, fields, mapping))
        }
        verb, whole = None, made.model_dump(mode="json", by_alias=True)
        if action.name in mapping.actions and target is not None:
            run = {"id": "run_test", "key": key}
            verb = mapping.bind(
                action.name, {target.kind: {**target.data, "remote_id": target.remote_id}, **whole, "run": run}
            )
        fields = next(iter(parts.values()), {})
        return made, Call("run_test", key, target, fields, parts, given, verb=verb, sending=announce)

    def writable(self, kind: str, changes: Mapping[str, Any], mapping: CompiledMapping) -> dict[str, Any]:
        """Leave out the sample's fields that this mapping does not write; visibility always stays."""
        known = {f for table in mapping.tables.values() if table.kind == kind for f in table.writable}
        return {k: v for k, v in changes.items() if k in known or k == "visibility"}

    def remapped(self, old: str, new: str) -> CompiledMapping:
        """Compile the mapping with a piece of its text replaced, as a user who edits it would."""
        text = self.mapping.source.text.replace(old, new)
        assert text != self.mapping.source.text, f"the mapping does not contain {old!r}"
        options = type(self.connector).table_options
        return compile_mapping(Source(text, "edited"), converters=discover().converters, table_options=options)


def _fits(body: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    refunded = (body.get("amount_refunded") or {}).get("amount")
    return not refunded and all(body.get(k) == v for k, v in wanted.items())


_PREFER: dict[str, dict[str, Any]] = {
    "order.cancel": {"status": "draft"},
    "payment.void_authorization": {"status": "authorized"},
    "payment": {"status": "succeeded", "disputed": False},
    "ticket": {"status": "open"},
    "order": {"status": "open", "fulfillment_status": "unfulfilled"},
}


@contextlib.contextmanager
def case_for(
    cls: type[Connector],
    *,
    world: World | None = None,
    samples: Mapping[str, dict[str, Any]] | None = None,
    sandbox: Sandbox | None = None,
    **changed: Any,
) -> Iterator[Case]:
    """Start a connector's sandbox and open a connection to it; `changed` replaces settings (wrong credentials, say)."""
    running = sandbox or load_sandbox(cls)(world or World(customers=40))
    own = sandbox is None
    if own:
        running.start()
    try:
        table = {**running.settings(), **changed}
        common = {k: v for k, v in table.items() if k in COMMON}
        options = {k: v for k, v in table.items() if k not in COMMON}
        settings = Settings(
            connections={
                cls.name: ConnectionSettings.model_validate({**common, "connector": cls.name, "options": options})
            },
            directory=Path.cwd(),
        )
        connections = Connections(settings, Plugins({cls.name: cls}, converters=discover().converters))
        try:
            yield Case(connections.open(cls.name), running, connections, {**SAMPLES, **(samples or {})})
        finally:
            connections.close()
    finally:
        if own:
            running.stop()
