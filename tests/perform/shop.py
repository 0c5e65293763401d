"""A shop with an imitation of its system, for the tests of actions: it can break in every way that matters."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests

from hub import reads, sync
from hub.access import OPERATOR, Principal
from hub.actions import (
    CustomerArchive,
    CustomerChangeEmail,
    CustomerCreate,
    CustomerUpdate,
    CustomerUpdateAddress,
    OrderCancel,
    OrderUpdateShippingAddress,
    PaymentRefund,
    PaymentVoidAuthorization,
    TicketAssign,
    TicketCreate,
    TicketNote,
    TicketReply,
    TicketSetStatus,
    TicketTag,
)
from hub.config import ConnectionSettings, Settings, ledger_beside
from hub.connections import Connections
from hub.connector import (
    Absent,
    Call,
    CannotTell,
    Checked,
    Connector,
    ConnectorConfig,
    Effect,
    Found,
    Outcome,
    Page,
    act,
    fetch,
    find,
    pull,
)
from hub.errors import Conflict, Invalid, NotFound, NotSent, RateLimited, Temporary, Unauthorized, Unknown
from hub.ledger import Ledger
from hub.perform import Neighbours, Performer, Request, Result
from hub.plugins import Plugins
from hub.policy import Policy, parse_policy
from hub.sandbox import Request as Asked
from hub.sandbox import Response, Sandbox, route
from hub.store import Store, is_postgres
from hub.transport import was_sent

MAPPING = """
[customers]
kind = "customer"
key = "id"
updated_at = "changed"
writable = ["display_name", "job_title", "email", "default_address"]
[customers.fields]
display_name = "name"
email = "mail"
job_title = "job"
[customers.fields.default_address]
type = { value = "mailing" }
line1 = "home.street"
city = "home.city"
postal_code = "home.zip"
country_code = "home.country"
[tickets]
kind = "ticket"
key = "id"
updated_at = "changed"
writable = ["status", "subject", "group_ref"]
[tickets.fields]
updated_at = "changed"
subject = "title"
group_ref = "group"
customer_ref = { ref = "customers", from = "customer" }
status = { from = "state", values = { n = "new", o = "open", w = "pending", h = "on_hold", s = "solved" } }
[comments]
kind = "message"
key = "id"
updated_at = "changed"
writable = ["body_text", "visibility"]
[comments.fields]
ticket_ref = { ref = "tickets", from = "ticket" }
body_text = "text"
visibility = { from = "open", values = { true = "public", false = "internal" }, otherwise = "internal" }
[payments]
kind = "payment"
key = "id"
updated_at = "changed"
[payments.fields]
amount = { money = "amount", currency = "currency", unit = "minor" }
amount_captured = { money = "amount", currency = "currency", unit = "minor" }
amount_refunded = { money = "refunded", currency = "currency", unit = "minor" }
disputed = "disputed"
order_ref = { ref = { kind = "order", by = "number" }, from = "order" }
status = { from = "state", values = { ok = "succeeded", no = "failed", held = "authorized", late = "pending" } }
[refunds]
kind = "refund"
key = "id"
writable = ["amount"]
[refunds.fields]
amount = { money = "amount", currency = "currency", unit = "minor" }
payment_ref = { ref = "payments", from = "payment" }
[orders]
kind = "order"
key = "id"
updated_at = "changed"
writable = ["shipping_address", "status"]
[orders.fields]
number = "id"
customer_ref = { ref = "customers", from = "customer" }
status = { from = "state", values = { open = "open", gone = "canceled" } }
payment_status = { from = "paid", values = { yes = "paid" } }
total = { money = "total", currency = { value = "EUR" }, unit = "minor" }
fulfillment_status = { from = "sent", values = { true = "shipped", false = "unfulfilled" } }
[orders.fields.shipping_address]
line1 = "ship.street"
city = "ship.city"
postal_code = "ship.zip"
country_code = "ship.country"
"""
WITHOUT_VISIBILITY = MAPPING.replace('writable = ["body_text", "visibility"]', 'writable = ["body_text"]')
TIME = "2026-11-01T10:00:00Z"
ADDRESS = {"line1": "Neue Str. 5", "city": "Berlin", "postal_code": "10117", "country_code": "DE"}
ENVELOPE = {"mode", "on_behalf_of", "agent", "expected_version", "wait_ms", "repeat"}
PLENTY = parse_policy(
    {
        "rule": [
            {"name": "plenty", "action": "payment.refund", "when": {"amount_lte": "900.00 EUR"}, "verdict": "allow"}
        ]
    },
    "policy.toml",
)


CANCELLING = parse_policy(
    {
        "rule": [
            {"action": "order.cancel", "when": {"shipped": True}, "verdict": "deny", "reason": "it is on its way"},
            {"name": "cancel", "action": "order.cancel", "verdict": "allow"},
            {"name": "bands", "action": "payment.refund", "when": {"amount_lte": "60.00 EUR"}, "verdict": "allow"},
            {"name": "release", "action": "payment.void_authorization", "verdict": "allow"},
        ]
    },
    "policy.toml",
)


class ShopSandbox(Sandbox):
    """A shop with everything: it keeps keys of refunds, and finds refunds and comments by them."""

    name = "shop"

    def fill(self) -> None:
        self.things: dict[str, dict[str, dict[str, Any]]] = {
            "customers": {"cus-1": {"name": "Ada Example", "mail": "ada@mail.example.com", "job": None}},
            "tickets": {"tic-1": {"title": "Where is it?", "state": "o", "customer": "cus-1"}},
            "comments": {"com-1": {"ticket": "tic-1", "text": "hello", "open": True}},
            "payments": {
                "pay-1": {"amount": 5000, "currency": "EUR", "refunded": 0, "disputed": False, "state": "ok"},
                "pay-2": {"amount": 5000, "currency": "EUR", "refunded": 0, "disputed": True, "state": "ok"},
                "pay-3": {"amount": 5000, "currency": "EUR", "refunded": 5000, "disputed": False, "state": "ok"},
            },
            "refunds": {},
            "orders": {
                "ord-1": {"sent": False, "ship": {"street": "Alte Str. 1"}},
                "ord-2": {"sent": True, "ship": {"street": "Alte Str. 2"}},
            },
        }
        self.kept: dict[str, Response] = {}
        self.ticks = 0

    def stamp(self) -> str:
        self.ticks += 1
        return f"2026-11-02T10:{self.ticks // 60:02d}:{self.ticks % 60:02d}Z"

    def shown(self, kind: str, key: str) -> dict[str, Any]:
        return {"id": key, "changed": TIME, **self.things[kind][key]}

    @route("GET", r"/(?P<kind>[a-z]+)")
    def listed(self, request: Asked) -> Any:
        kind, key = request.args["kind"], request.arg("key")
        found = [self.shown(kind, thing) for thing in self.things[kind]]
        return {"items": [thing for thing in found if not key or thing.get("key") == key]}

    @route("GET", r"/(?P<kind>[a-z]+)/(?P<key>[^/]+)")
    def one(self, request: Asked) -> Any:
        kind, key = request.args["kind"], request.args["key"]
        return self.shown(kind, key) if key in self.things[kind] else Response({"error": "gone"}, 404)

    @route("POST", r"/refunds")
    def refund(self, request: Asked) -> Any:
        key, body = request.headers["idempotency-key"], request.json()
        if key in self.kept:
            return self.kept[key]
        payment = self.things["payments"][body["payment"]]
        if payment["refunded"] + body["amount"] > payment["amount"]:
            return Response({"error": "too much"}, 409)
        payment["refunded"] += body["amount"]
        payment["changed"] = self.stamp()
        made = f"ref-{len(self.things['refunds']) + 1}"
        fields = {k: body[k] for k in ("payment", "amount")}
        self.things["refunds"][made] = {**fields, "currency": payment["currency"], "key": key}
        request.effect(f"refund {body['payment']}", amount=body["amount"])
        self.kept[key] = Response(self.shown("refunds", made), 201)
        return self.kept[key]

    @route("POST", r"/(?P<kind>comments|tickets|customers)")
    def add(self, request: Asked) -> Any:
        kind = request.args["kind"]
        made = f"{kind[:3]}-{len(self.things[kind]) + 1}"
        self.things[kind][made] = {**request.json(), "changed": self.stamp()}
        request.effect(f"{kind} {made}")
        return Response(self.shown(kind, made), 201)

    @route("DELETE", r"/(?P<kind>[a-z]+)/(?P<key>[^/]+)")
    def take_away(self, request: Asked) -> Any:
        del self.things[request.args["kind"]][request.args["key"]]
        request.effect(f"delete {request.args['key']}")
        return {}

    @route("PATCH", r"/(?P<kind>[a-z]+)/(?P<key>[^/]+)")
    def change(self, request: Asked) -> Any:
        kind, key = request.args["kind"], request.args["key"]
        self.things[kind][key] |= {**request.json(), "changed": self.stamp()}
        request.effect(f"change {key}")
        return self.shown(kind, key)


class ShopConfig(ConnectorConfig):
    live: bool | None = False
    looks_up: bool = True
    sloppy: bool = False
    breaks: str = ""


_REFUSALS = {401: Unauthorized, 404: NotFound, 409: Conflict, 422: Invalid, 429: RateLimited}


class ShopConnector(Connector):
    name = "shop"
    Config = ShopConfig
    mapping = MAPPING

    @classmethod
    def hosts(cls, config):
        return ("shop.example.com",)

    def check(self) -> Checked:
        if self.config.breaks == "check":
            raise ValueError("the data of Ada Example")
        return Checked("shop-1", live=self.config.live)

    def http(self, method: str, path: str, **more: Any) -> Any:
        if self.config.sloppy:
            return self.transport.request(method, f"https://shop.example.com{path}", **more).json()
        try:
            answer = self.transport.request(method, f"https://shop.example.com{path}", **more)
        except requests.RequestException as exc:
            if was_sent(exc) is False:
                raise NotSent("shop: not reached") from exc
            raise Unknown("shop: the answer was lost") from exc
        if answer.status_code >= 500:
            raise Temporary(f"shop: HTTP {answer.status_code}")
        if answer.status_code >= 400:
            raise _REFUSALS[answer.status_code](f"shop: HTTP {answer.status_code}")
        return answer.json()

    @pull("*")
    def everything(self, stream, cursor):
        yield Page(records=self.http("GET", f"/{stream.name}")["items"])

    @fetch("*")
    def anew(self, stream, ids):
        if self.config.breaks == "fetch" and stream.name != "payments":
            raise RuntimeError("the data of Ada Example")
        found, gone = [], []
        for key in ids:
            try:
                found.append(self.http("GET", f"/{stream.name}/{key}"))
            except NotFound:
                gone.append(key)
        return Page(records=found, deleted=gone)

    @act(PaymentRefund, idempotency="native")
    def refund(self, action, call: Call) -> Outcome:
        body = {"payment": call.target.remote_id, **call.fields}
        made = self.http("POST", "/refunds", json=body, headers={"Idempotency-Key": call.key})
        if self.config.breaks == "after":
            raise KeyError("status")
        return self.refunded(call, made)

    def refunded(self, call, made):
        after = {"amount": made["amount"], "api_key": "sk_live_1"}
        touched = [("refunds", made["id"]), ("payments", call.target.remote_id)]
        return Outcome([Effect("refund", made["id"], "create", after=after)], touched)

    @find(PaymentRefund)
    def find_refund(self, action, call):
        if not self.config.looks_up:
            return CannotTell("not today")
        if self.config.breaks == "find":
            raise KeyError("x")
        found = self.http("GET", "/refunds", params={"key": call.key})["items"]
        return Found(self.refunded(call, found[0])) if found else Absent()

    @act(TicketReply, idempotency="marker")
    def reply(self, action, call: Call) -> Outcome:
        if "ticket" in call.parts:
            self.http("PATCH", f"/tickets/{call.target.remote_id}", json=dict(call.parts["ticket"]))
        return self.say(call)

    def say(self, call) -> Outcome:
        body = {"ticket": call.target.remote_id, "key": call.key, **call.fields}
        made = self.http("POST", "/comments", json=body)
        return Outcome([Effect("comment", made["id"], "create")], [("comments", made["id"])])

    @find(TicketReply)
    def find_reply(self, action, call):
        if not self.config.looks_up:
            return CannotTell("not today")
        found = self.http("GET", "/comments", params={"key": call.key})["items"]
        return Found(Outcome([Effect("comment", found[0]["id"], "create")])) if found else Absent()

    @act(TicketNote, idempotency="marker")
    def note(self, action, call: Call) -> Outcome:
        return self.say(call)

    @act(TicketCreate, idempotency="native")
    def open(self, action, call: Call) -> Outcome:
        made = self.http("POST", "/tickets", json={"customer": call.target.remote_id, **call.fields})
        return Outcome([Effect("ticket", made["id"], "create")], [("tickets", made["id"])])

    @act(TicketSetStatus, idempotency="set")
    def set_status(self, action, call: Call) -> Outcome:
        if self.config.breaks == "no outcome":
            return None
        return self.changed("tickets", call)

    @act(TicketAssign, idempotency="set")
    def assign(self, action, call: Call) -> Outcome:
        return self.changed("tickets", call)

    @act(TicketTag, idempotency="set")
    def tag(self, action, call: Call) -> Outcome:
        key = call.target.remote_id
        had = self.http("GET", f"/tickets/{key}").get("tags", [])
        tags = sorted({*had, *call.input.get("add", ())} - set(call.input.get("remove", ())))
        self.http("PATCH", f"/tickets/{key}", json={"tags": tags})
        return Outcome([Effect("ticket", key, "update", {"tags": had}, {"tags": tags})], [("tickets", key)])

    @act(CustomerUpdate, idempotency="set")
    def update(self, action, call: Call) -> Outcome:
        return self.changed("customers", call)

    @act(CustomerUpdateAddress, idempotency="set")
    @act(CustomerChangeEmail, idempotency="set")
    def contact(self, action, call: Call) -> Outcome:
        return self.changed("customers", call)

    @act(CustomerArchive, idempotency="set")
    def archive(self, action, call: Call) -> Outcome:
        key = call.target.remote_id
        self.http("DELETE", f"/customers/{key}")
        return Outcome([Effect("customer", key, "delete")], [("customers", key)])

    @act(CustomerCreate, idempotency="upsert")
    def make(self, action, call: Call) -> Outcome:
        made = self.http("POST", "/customers", json={**call.fields, "key": call.key})
        return Outcome([Effect("customer", made["id"], "create")], [("customers", made["id"])])

    @act(OrderUpdateShippingAddress, idempotency="set")
    @act(OrderCancel, idempotency="set")
    def address(self, action, call: Call) -> Outcome:
        return self.changed("orders", call)

    @find(OrderCancel)
    def find_order(self, action, call):
        if not self.config.looks_up:
            return CannotTell("not today")
        now, key = self.http("GET", f"/orders/{call.target.remote_id}"), call.target.remote_id
        done = all(now.get(name) == value for name, value in call.fields.items())
        return Found(Outcome([Effect("orders", key, "update", after=dict(call.fields))])) if done else Absent()

    @act(PaymentVoidAuthorization, idempotency="set")
    def void(self, action, call: Call) -> Outcome:
        key = call.target.remote_id
        self.http("PATCH", f"/payments/{key}", json={"state": "no"})
        return Outcome([Effect("payment", key, "update", after={"state": "no"})], [("payments", key)])

    def changed(self, stream, call):
        self.http("PATCH", f"/{stream}/{call.target.remote_id}", json=dict(call.fields))
        key = call.target.remote_id
        return Outcome([Effect(stream, key, "update", after=dict(call.fields))], [(stream, key)])


def table(url: str, **more: Any) -> ConnectionSettings:
    return ConnectionSettings(connector="shop", base_url=url, **more)


def put(url: str, folder: Path) -> None:
    """Put an empty hub's databases into a folder, or the address of those on Postgres."""
    if not is_postgres(url):
        place = Path(url.removeprefix("sqlite:///")).parent
        for name in ("hub.db", "ledger.db"):
            shutil.copy(place / name, folder / name)
    else:
        (folder / "database.url").write_text(url)


def opened(folder: Path, tables: dict[str, ConnectionSettings], policy: Policy, cls: type[Connector]) -> Performer:
    """Open a hub on the databases of a folder, as a process that starts does."""
    plugins = Plugins(connectors={"shop": cls})
    connections = Connections(Settings(connections=tables, directory=folder), plugins)
    address = folder / "database.url"
    url = address.read_text() if address.exists() else f"sqlite:///{folder / 'hub.db'}"
    store = Store.open(url)
    ledger = Ledger.open(ledger_beside(url), audit_key=folder / "audit.key")
    near = Neighbours(
        reads.resolve_target, reads.find_customer, reads.get, sync.fetch, reads.list_, waiting=reads.waiting
    )
    return Performer(store, ledger, connections, policy, plugins, neighbours=near)


@dataclass
class Shop:
    """Two sandboxes, a hub beside them, and what the tests ask of it."""

    sandboxes: dict[str, ShopSandbox]
    store: Store
    ledger: Ledger
    connections: Connections
    performer: Performer

    @property
    def sandbox(self) -> ShopSandbox:
        return self.sandboxes["shop"]

    def knows(self, *principals: Principal) -> None:
        """Let the hub know these principals by their ids, as it knows the holders of its keys."""
        who = {one.id: one for one in (OPERATOR, *principals)}
        self.performer.neighbours = replace(self.performer.neighbours, who=lambda id: who[id])

    def effects(self, intent: str = "") -> int:
        return sum(len(sandbox.effects(intent)) for sandbox in self.sandboxes.values())

    def ask(
        self, action: str, *, who: Principal = OPERATOR, key: str | None = "k1", why: str | None = None, **more: Any
    ) -> Result:
        given = {name: more.pop(name) for name in list(more) if name not in ENVELOPE}
        return self.performer.run(Request(action, given, key=key, reason=why, **more), who)

    def refund(self, payment: str = "pay-1", **more: Any) -> Result:
        given = {"payment_ref": f"shop/payments/{payment}", "reason": "goodwill", **more}
        return self.ask("payment.refund", **given)

    def reply(self, **more: Any) -> Result:
        return self.ask("ticket.reply", **{"ticket_ref": "shop/tickets/tic-1", "body": "It is on its way.", **more})

    def note(self, **more: Any) -> Result:
        return self.ask("ticket.note", **{"ticket_ref": "shop/tickets/tic-1", "body": "Ask Berta.", **more})
