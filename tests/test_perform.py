"""The room `perform`: one action, checked, decided, done once, over real HTTP and real SQLite."""

import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from hub import reads, sync
from hub.access import OPERATOR, Principal
from hub.actions import (
    Action,
    CustomerUpdate,
    OrderUpdateShippingAddress,
    PaymentRefund,
    TicketCreate,
    TicketNote,
    TicketReply,
    TicketSetStatus,
)
from hub.config import ConnectionSettings, Settings
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
from hub.errors import (
    ConfigError,
    Conflict,
    Invalid,
    NotFound,
    NotSent,
    RateLimited,
    Refused,
    Temporary,
    Unauthorized,
    Unknown,
    Unsupported,
)
from hub.ledger import Ledger, Move, new_owner
from hub.perform import Neighbours, Performer, Request, Result, facts
from hub.plugins import Plugins
from hub.policy import Policy, parse_policy
from hub.sandbox import Request as Asked
from hub.sandbox import Response, Sandbox, World, route
from hub.store import Store
from hub.transport import was_sent

MAPPING = """
[customers]
kind = "customer"
key = "id"
updated_at = "changed"
writable = ["display_name", "job_title"]
[customers.fields]
display_name = "name"
email = "mail"
job_title = "job"
[tickets]
kind = "ticket"
key = "id"
updated_at = "changed"
writable = ["status", "subject"]
[tickets.fields]
updated_at = "changed"
subject = "title"
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
status = { from = "state", values = { ok = "succeeded", no = "failed" } }
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
writable = ["shipping_address"]
[orders.fields]
number = "id"
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

    @route("POST", r"/(?P<kind>comments|tickets)")
    def add(self, request: Asked) -> Any:
        kind = request.args["kind"]
        made = f"{kind[:3]}-{len(self.things[kind]) + 1}"
        self.things[kind][made] = {**request.json(), "changed": self.stamp()}
        request.effect(f"{kind} {made}")
        return Response(self.shown(kind, made), 201)

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
            return None  # type: ignore[return-value]
        return self.changed("tickets", call)

    @act(CustomerUpdate, idempotency="set")
    def update(self, action, call: Call) -> Outcome:
        return self.changed("customers", call)

    @act(OrderUpdateShippingAddress, idempotency="set")
    def address(self, action, call: Call) -> Outcome:
        return self.changed("orders", call)

    def changed(self, stream, call):
        self.http("PATCH", f"/{stream}/{call.target.remote_id}", json=dict(call.fields))
        key = call.target.remote_id
        return Outcome([Effect(stream, key, "update", after=dict(call.fields))], [(stream, key)])


ROOT = Path(__file__).parent.parent
CHILD = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("shop", sys.argv[1])
shop = sys.modules["shop"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shop)
performer = shop.opened(Path(sys.argv[2]), {"shop": shop.table(sys.argv[3])}, shop.PLENTY, shop.ShopConnector)
given = {"payment_ref": "shop/payments/pay-1", "reason": "goodwill"}
performer.run(shop.Request("payment.refund", given, key="k1"), shop.OPERATOR)
"""


def table(url: str, **more: Any) -> ConnectionSettings:
    return ConnectionSettings(connector="shop", base_url=url, **more)


def opened(folder: Path, tables: dict[str, ConnectionSettings], policy: Policy, cls: type[Connector]) -> Performer:
    """Open a hub on the databases in a folder, as a process that starts does."""
    plugins = Plugins(connectors={"shop": cls})
    connections = Connections(Settings(connections=tables, directory=folder), plugins)
    store = Store.open(f"sqlite:///{folder / 'hub.db'}")
    ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
    near = Neighbours(reads.resolve_target, reads.find_customer, reads.get, sync.fetch)
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


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """Empty databases, migrated once for all tests."""
    folder = tmp_path_factory.mktemp("migrated")
    Store.open(f"sqlite:///{folder / 'hub.db'}").close()
    Ledger.open(f"sqlite:///{folder / 'ledger.db'}").close()
    return folder


@pytest.fixture
def build(tmp_path, migrated):
    """Build a shop; `mapping`, `policy` and connector settings may differ, `names` are the connections."""
    built: list[Shop] = []

    def make(names=("shop",), *, policy=PLENTY, mapping=MAPPING, live_actions=False, tweak=None, **options) -> Shop:
        cls = type("OwnShop", (ShopConnector,), {"mapping": mapping})
        sandboxes = {name: ShopSandbox(World(customers=2)).start() for name in names}
        if tweak is not None:
            tweak(sandboxes)
        for name in ("hub.db", "ledger.db"):
            shutil.copy(migrated / name, tmp_path / name)
        tables = {n: table(s.url, live_actions=live_actions, options=options) for n, s in sandboxes.items()}
        performer = opened(tmp_path, tables, policy, cls)
        store, ledger, connections = performer.store, performer.ledger, performer.connections
        for name in names:
            report = sync.sync_connection(store, connections.open(name))
            assert {table["error"] for table in report.values()} == {None}
        built.append(Shop(sandboxes, store, ledger, connections, performer))  # type: ignore[arg-type]
        return built[-1]

    yield make
    for shop in built:
        shop.connections.close()
        shop.store.close()
        shop.ledger.close()
        [sandbox.stop() for sandbox in shop.sandboxes.values()]


@pytest.fixture
def shop(build):
    return build()


# What is refused before anything is looked up


@pytest.mark.parametrize(
    ("action", "given", "path", "words"),
    [
        ("payment.refund", {"reason": "goodwill"}, "input.payment_ref", "required"),
        ("payment.refund", {"payment_ref": "shop/payments/pay-1", "reason": "bored"}, "input.reason", "goodwill"),
        (
            "payment.refund",
            {"payment_ref": "shop/payments/pay-1", "reason": "goodwill", "amount": {"amount": 0, "currency": "EUR"}},
            "input.amount.amount",
            "greater than 0",
        ),
        (
            "payment.refund",
            {"payment_ref": "shop/payments/pay-1", "reason": "goodwill", "amount": {"amount": 1.5, "currency": "EUR"}},
            "input.amount.amount",
            "integer",
        ),
        ("ticket.note", {"ticket_ref": "shop/tickets/tic-1", "body": "x", "boddy": 1}, "input.boddy", "body"),
        ("ticket.note", {"ticket_ref": "shop/tickets/tic-1", "body": " "}, "input.body", "at least 1"),
        ("customer.lookup", {}, "input", "exactly one of email"),
    ],
)
def test_wrong_input_names_the_field(shop, action, given, path, words):
    with pytest.raises(Invalid) as caught:
        shop.ask(action, **given)
    assert caught.value.field_path == path
    assert words in caught.value.message


@pytest.mark.parametrize(
    "reference",
    [
        "https://evil.example.com/tickets/1",
        "shop/tickets/../../admin",
        "shop/tickets/..",
        "shop/tickets/1?x=1",
        "shop/tickets/1#x",
        "shop/tickets/a b",
        "shop/tickets/%2e%2e",
        "shop/tickets/a\\b",
        "shop/tickets/",
        "shop/tic-1",
        "//evil.example.com",
        "shop//tic-1",
        "tic-1",
        "tkt_",
        "abc_aaaaaaaaaaaaaaaaaaaaaaaa",
        "cus_aaaaaaaaaaaaaaaaaaaaaaaa",
    ],
)
def test_a_reference_with_url_or_path_characters_is_refused(shop, reference):
    with pytest.raises(Invalid) as caught:
        shop.note(ticket_ref=reference)
    assert caught.value.field_path == "input.ticket_ref"
    assert shop.sandbox.ledger == []


def test_an_unknown_action_gets_the_nearest_name(shop):
    with pytest.raises(NotFound, match=r'did you mean "payment\.refund"'):
        shop.ask("payment.refnd")


def test_an_unknown_mode_is_refused(shop):
    with pytest.raises(Invalid, match="preview"):
        shop.note(mode="dry-run")


def test_input_that_is_no_object_is_refused(shop):
    with pytest.raises(Invalid, match="object"):
        shop.performer.run(Request("ticket.note", [1], key="k"), OPERATOR)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [None, "", "  "])
def test_acting_needs_a_key(shop, key):
    with pytest.raises(Invalid) as caught:
        shop.note(key=key)
    assert caught.value.error_code == "idempotency_key_required"


@pytest.mark.parametrize("key", ["a\nb", "ü", "x" * 256])
def test_a_key_is_printable_and_short(shop, key):
    with pytest.raises(Invalid) as caught:
        shop.note(key=key)
    assert caught.value.error_code == "invalid_idempotency_key"


def test_a_missing_scope_is_named_and_nothing_is_sent(shop):
    for scopes in (("read",), ("act:ticket.*",), ("act:*@other",)):
        with pytest.raises(Refused) as caught:
            shop.refund(who=Principal("key_1", "bot", scopes))
        assert caught.value.error_code == "missing_scope"
        assert "act:payment.refund" in caught.value.message
    assert shop.sandbox.ledger == []


def test_a_scope_for_the_connection_is_enough(shop):
    assert shop.refund(who=Principal("key_1", "bot", ("act:payment.*@shop",))).status == "succeeded"


# Facts


def test_a_refund_is_all_that_is_refundable_unless_an_amount_is_named(shop):
    result = shop.refund()
    assert (result.status, result.error) == ("succeeded", None)
    assert (result.money.amount, result.money.currency, result.money.direction) == (5000, "EUR", "out")
    assert [(e.connector, e.connection, e.object, e.remote_id, e.op) for e in result.effects] == [
        ("shop", "shop", "refund", "ref-1", "create")
    ]
    assert result.policy.rule == "plenty"
    assert result.reversal.possible is False
    assert shop.effects() == 1


def test_facts_are_read_fresh(shop):
    shop.sandbox.things["payments"]["pay-1"] |= {"refunded": 4000, "changed": "2026-11-03T10:00:00Z"}
    assert shop.refund().money.amount == 1000


@pytest.mark.parametrize(("minor", "allowed"), [(4999, True), (5000, True), (5001, False)])
def test_a_refund_is_never_more_than_refundable(shop, minor, allowed):
    if allowed:
        assert shop.refund(amount={"amount": minor, "currency": "EUR"}).money.amount == minor
        return
    with pytest.raises(Invalid) as caught:
        shop.refund(amount={"amount": minor, "currency": "EUR"})
    assert (caught.value.error_code, caught.value.field_path) == ("amount_exceeds_refundable", "input.amount.amount")
    assert shop.effects() == 0


@pytest.mark.parametrize(
    ("payment", "more", "error", "code"),
    [
        ("pay-2", {}, Refused, "payment_disputed"),
        ("pay-3", {}, Conflict, "nothing_refundable"),
        ("pay-9", {}, NotFound, "not_found"),
        ("pay-1", {"amount": "10.00 USD"}, Invalid, "currency_mismatch"),
    ],
)
def test_a_refund_that_the_facts_forbid(shop, payment, more, error, code):
    for mode in ("preview", "execute"):
        with pytest.raises(error) as caught:
            shop.refund(payment, mode=mode, **more)
        assert caught.value.error_code == code
    assert shop.effects() == 0
    assert shop.sandbox.ledger == []


def test_a_payment_that_is_gone_at_the_vendor_is_not_found(shop):
    del shop.sandbox.things["payments"]["pay-1"]
    with pytest.raises(NotFound) as caught:
        shop.refund()
    assert caught.value.field_path == "input.payment_ref"


def test_an_order_that_was_sent_keeps_its_address(shop):
    with pytest.raises(Conflict) as caught:
        shop.ask("order.update_shipping_address", order_ref="shop/orders/ord-2", address=ADDRESS)
    assert caught.value.error_code == "order_not_changeable"


def test_an_address_goes_out_in_the_vendors_words_nested(shop):
    result = shop.ask("order.update_shipping_address", order_ref="shop/orders/ord-1", address=ADDRESS)
    assert result.status == "succeeded"
    ship = shop.sandbox.things["orders"]["ord-1"]["ship"]
    assert ship == {"street": "Neue Str. 5", "city": "Berlin", "zip": "10117", "country": "DE"}


def test_a_hub_id_names_the_target_as_well(shop):
    hub_id = reads.resolve_target(shop.store, "shop/tickets/tic-1", "ticket")[0].id
    result = shop.note(ticket_ref=hub_id)
    assert (result.status, result.target.id, result.target.kind) == ("succeeded", hub_id, "ticket")


# Policy


def test_money_without_a_rule_is_denied_and_the_denial_is_kept(build):
    shop = build(policy=Policy())
    first = shop.refund()
    assert (first.status, first.error["code"], first.policy.verdict) == ("denied", "policy_denied", "deny")
    assert first.policy.needs
    assert shop.performer.result(first.run_id).status == "denied"
    again = shop.refund()
    assert (again.run_id, again.replayed, again.status) == (first.run_id, True, "denied")
    assert shop.sandbox.ledger == []


def test_a_denied_preview_still_shows_what_would_be_sent(build):
    result = build(policy=Policy()).refund(mode="preview", key=None)
    assert (result.status, result.policy.verdict) == ("previewed", "deny")
    assert result.preview.requests[0].request["body"] == {"payment": "pay-1", "amount": 5000}


@pytest.mark.parametrize(
    ("live", "live_actions", "status"),
    [(True, False, "denied"), (True, True, "succeeded"), (False, False, "succeeded")],
)
def test_live_money_is_off_until_the_connection_says_otherwise(build, live, live_actions, status):
    result = build(live=live, live_actions=live_actions).refund()
    assert result.status == status
    if status == "denied":
        assert result.policy.rule == "live_actions"
        assert result.policy.needs == ["live_actions = true under [connections.shop]"]


def test_only_money_is_held_back_in_a_live_account(build):
    assert build(live=True).note().status == "succeeded"


def test_a_rule_may_look_at_live(build):
    rules = parse_policy({"rule": [{"action": "ticket.note", "when": {"live": True}, "verdict": "deny"}]}, "p")
    assert build(policy=rules, live=True).note().status == "denied"


# Preview


def test_a_preview_sends_nothing_and_shows_the_request(shop):
    result = shop.refund(mode="preview", key=None, amount="12.34 EUR")
    assert shop.sandbox.ledger == []
    (seen,) = result.preview.requests
    assert (seen.request["method"], seen.request["url"]) == ("POST", "https://shop.example.com/refunds")
    assert seen.request["body"] == {"payment": "pay-1", "amount": 1234}
    assert seen.request["headers"]["Idempotency-Key"] == f"hub-{result.run_id}"
    assert result.money.amount == 1234
    change = next(c for c in result.preview.changes if c.kind == "payment")
    assert change.before["refundable_amount"] == {"amount": 5000, "currency": "EUR"}
    assert change.after["refundable_amount"] == {"amount": 3766, "currency": "EUR"}
    assert shop.performer.result(result.run_id).status == "previewed"


def test_a_preview_shows_before_and_after(shop):
    result = shop.ask("ticket.set_status", ticket_ref="shop/tickets/tic-1", status="solved", mode="preview", key=None)
    (change,) = result.preview.changes
    assert (change.before, change.after) == ({"status": "open"}, {"status": "solved"})
    assert result.preview.requests[0].request["body"] == {"state": "s"}
    assert result.reversal.possible


def test_a_preview_does_not_use_up_the_key(shop):
    shop.refund(mode="preview", key="k1")
    assert shop.refund(key="k1").replayed is False


# Once


def test_same_key_refunds_once(shop):
    first = shop.refund()
    again = shop.refund()
    assert (again.run_id, again.replayed, first.replayed) == (first.run_id, True, False)
    assert again.effects == first.effects
    assert shop.effects("refund") == 1


def test_the_vendors_key_comes_from_the_run(shop):
    result = shop.refund()
    assert [entry.key for entry in shop.sandbox.ledger] == [f"hub-{result.run_id}"]


def test_same_key_with_another_body_names_the_first_run(shop):
    first = shop.refund(amount="1.00 EUR")
    with pytest.raises(Conflict) as caught:
        shop.refund(amount="2.00 EUR")
    assert (caught.value.error_code, caught.value.reason) == ("idempotency_key_reused", first.run_id)
    assert shop.effects("refund") == 1


def test_a_key_of_another_principal_is_another_key(shop):
    shop.refund(amount="1.00 EUR")
    other = shop.refund(amount="2.00 EUR", who=Principal("key_2", "other", ("act:*",)))
    assert other.replayed is False
    assert shop.effects("refund") == 2


def test_the_same_refund_under_a_new_key_is_a_possible_duplicate(shop):
    first = shop.refund(amount="1.00 EUR")
    with pytest.raises(Conflict) as caught:
        shop.refund(amount="1.00 EUR", key="k2")
    assert (caught.value.error_code, caught.value.reason) == ("possible_duplicate", first.run_id)
    assert shop.refund(amount="1.00 EUR", key="k3", repeat=True).status == "succeeded"
    assert shop.refund(amount="1.01 EUR", key="k4").status == "succeeded"


def test_setting_the_same_status_again_is_no_duplicate(shop):
    for key in ("k1", "k2"):
        given = {"ticket_ref": "shop/tickets/tic-1", "status": "solved"}
        assert shop.ask("ticket.set_status", key=key, **given).status == "succeeded"


def test_sixteen_threads_with_one_key_have_one_effect_and_one_answer(shop):
    shop.sandbox.fault("POST /refunds", "slow:0.2s")
    gate = threading.Barrier(16)

    def ask(_):
        gate.wait()
        return shop.refund(wait_ms=20_000)

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(ask, range(16)))
    assert shop.effects("refund") == 1
    assert len(shop.sandbox.ledger) == 1
    assert {result.status for result in found} == {"succeeded"}
    assert len({(result.run_id, result.effects[0].remote_id) for result in found}) == 1
    assert [result.replayed for result in found].count(False) == 1


def test_a_late_caller_is_told_that_it_runs(shop):
    shop.sandbox.fault("POST /refunds", "slow:0.6s")
    first = threading.Thread(target=shop.refund)
    first.start()
    while first.is_alive() and not shop.ledger.runs():
        time.sleep(0.01)
    late = shop.refund()
    assert (late.status, late.replayed) == ("running", True)
    assert late.check_after_ms
    first.join()
    assert shop.refund().status == "succeeded"


def test_a_refusal_before_the_run_leaves_the_key_free(shop):
    with pytest.raises(Invalid):
        shop.refund(amount="99.00 EUR")
    assert shop.refund(amount="9.00 EUR").status == "succeeded"


# Lost answers


def test_a_lost_answer_is_looked_up_and_found(shop):
    shop.sandbox.fault("POST /refunds", "drop_after")
    result = shop.refund()
    assert (result.status, result.error) == ("succeeded", None)
    assert result.effects[0].remote_id == "ref-1"
    assert shop.effects("refund") == 1
    assert len(shop.sandbox.ledger) == 1


def test_a_request_that_got_lost_is_sent_again_with_the_same_key(shop):
    shop.sandbox.fault("POST /refunds", "drop_before")
    result = shop.refund()
    assert result.status == "succeeded"
    assert [entry.key for entry in shop.sandbox.ledger] == [f"hub-{result.run_id}"] * 2
    assert shop.effects("refund") == 1


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "status:500"])
def test_with_a_native_key_the_same_request_goes_out_again(build, fault):
    shop = build(looks_up=False)
    shop.sandbox.fault("POST /refunds", fault)
    assert shop.refund().status == "succeeded"
    assert len({entry.key for entry in shop.sandbox.ledger}) == 1
    assert shop.effects("refund") == 1


def test_without_a_native_key_a_lost_answer_stays_unknown(build):
    shop = build(looks_up=False)
    shop.sandbox.fault("POST /comments", "drop_after")
    result = shop.reply()
    assert (result.status, result.error["code"], result.effects) == ("unknown", "unknown", [])
    assert result.check_after_ms
    again = shop.reply()
    assert (again.status, again.run_id, again.replayed) == ("unknown", result.run_id, True)
    assert len(shop.sandbox.ledger) == 1
    assert shop.effects("comments") == 1


def test_an_action_without_look_up_stays_unknown(shop):
    shop.sandbox.fault("POST /comments", "drop_after")
    assert shop.note().status == "unknown"
    assert shop.note().status == "unknown"
    assert shop.effects("comments") == 1


def test_an_unknown_run_settles_once_it_can_be_looked_up(build):
    shop = build(looks_up=False)
    shop.sandbox.fault("POST /comments", "drop_after")
    run_id = shop.reply().run_id
    connector = shop.connections.open("shop").connector
    connector.config = ShopConfig(looks_up=True)
    assert shop.performer.result(run_id).status == "unknown"
    assert shop.performer.waiting() == [run_id]
    result = shop.reply()
    assert (result.status, result.run_id, result.replayed) == ("succeeded", run_id, True)
    assert shop.performer.advance(run_id).status == "succeeded"
    assert shop.effects("comments") == 1


def test_a_reply_that_got_lost_on_the_way_is_sent_again_once(shop):
    shop.sandbox.fault("POST /comments", "drop_before", times=5)
    result = shop.reply()
    assert (result.status, result.error["code"], result.error["retryable"]) == ("failed", "temporary", True)
    assert len(shop.sandbox.ledger) == 2
    assert shop.effects("comments") == 0


def test_a_server_error_on_a_write_is_looked_up_before_anything_else(shop):
    shop.sandbox.fault("POST /comments", "status:500")
    assert shop.reply().status == "succeeded"
    assert shop.effects("comments") == 1


@pytest.mark.parametrize("fault", ["drop_after", "status:503", "truncate", "html"])
def test_a_connector_that_lets_everything_through_changes_nothing(build, fault):
    shop = build(sloppy=True)
    shop.sandbox.fault("POST /refunds", fault)
    assert shop.refund().status == "succeeded"
    assert shop.effects("refund") == 1


def test_a_connector_that_breaks_after_the_write_is_looked_up(build):
    shop = build(breaks="after")
    assert shop.refund().status == "succeeded"
    assert len(shop.sandbox.ledger) == 1


def test_a_look_up_that_breaks_means_that_nobody_can_tell(build):
    shop = build(breaks="find")
    shop.sandbox.fault("POST /refunds", "drop_after", times=2)
    result = shop.refund()
    assert result.status == "unknown"
    assert len(shop.sandbox.ledger) == 2
    assert shop.effects("refund") == 1
    assert shop.refund().status == "succeeded"
    assert shop.effects("refund") == 1


# What the vendor refuses


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (401, "unauthorized", False),
        (404, "not_found", False),
        (409, "conflict", False),
        (422, "invalid", False),
        (429, "rate_limited", True),
    ],
)
def test_a_refusal_of_the_vendor_is_a_failed_run(shop, status, code, retryable):
    shop.sandbox.fault("POST /comments", f"status:{status}")
    result = shop.reply()
    assert (result.status, result.error["code"], result.error["retryable"]) == ("failed", code, retryable)
    assert (result.effects, result.money) == ([], None)
    assert shop.reply().replayed is True
    assert len(shop.sandbox.ledger) == 1


def test_a_vendor_that_cannot_be_reached_is_a_failed_run(shop):
    shop.connections.open("shop").transport.base_url = "http://127.0.0.1:9"
    result = shop.reply()
    assert (result.status, result.error["code"], result.error["retryable"]) == ("failed", "not_sent", True)


def test_an_earlier_write_that_was_accepted_is_told(build):
    shop = build(looks_up=False)
    shop.sandbox.fault("POST /comments", "status:422")
    result = shop.reply(set_status="solved")
    assert result.status == "failed"
    assert result.warnings == ["shop: an earlier write of this action was accepted before it failed"]


def test_a_connector_without_an_outcome_is_a_fault_that_is_told(build):
    result = build(breaks="no outcome").ask("ticket.set_status", ticket_ref="shop/tickets/tic-1", status="solved")
    assert (result.status, result.error["code"]) == ("failed", "connector_failed")


def test_what_a_connector_raises_never_shows_its_text(build):
    shop = build(breaks="check")
    with pytest.raises(Exception, match="ValueError") as caught:
        shop.refund()
    assert "Ada" not in str(caught.value)


# Read back


def test_what_was_touched_is_read_back(shop):
    shop.ask("ticket.set_status", ticket_ref="shop/tickets/tic-1", status="solved")
    target = reads.resolve_target(shop.store, "shop/tickets/tic-1", "ticket")[0]
    assert target.data["status"] == "solved"


def test_a_failed_read_back_never_fails_the_run(build):
    shop = build(breaks="fetch")
    result = shop.note()
    assert result.status == "succeeded"
    assert len(result.warnings) == 1
    assert "not read back" in result.warnings[0]
    assert "Ada" not in result.warnings[0]
    assert shop.note().warnings == result.warnings


def test_secrets_of_a_connector_never_reach_the_answer(shop):
    result = shop.refund()
    assert result.effects[0].after == {"amount": 5000, "api_key": "***"}
    assert b"sk_live" not in shop.ledger.get(result.run_id).result


# Messages


def test_a_note_stays_internal_and_a_reply_is_public(shop):
    shop.note()
    shop.reply(set_status="pending")
    notes = [c for c in shop.sandbox.things["comments"].values() if "key" in c]
    assert [(c["text"], c["open"]) for c in notes] == [("Ask Berta.", False), ("It is on its way.", True)]
    assert shop.sandbox.things["tickets"]["tic-1"]["state"] == "w"


def test_a_mapping_that_cannot_say_internal_refuses_every_message(build):
    shop = build(mapping=WITHOUT_VISIBILITY)
    for ask in (shop.note, shop.reply):
        for mode in ("preview", "execute"):
            with pytest.raises(Unsupported):
                ask(mode=mode)
    assert shop.sandbox.ledger == []


def test_an_edit_of_the_mapping_changes_the_request(build):
    edited = MAPPING.replace('body_text = "text"', 'body_text = "wording"')
    result = build(mapping=edited).note(mode="preview", key=None)
    assert result.preview.requests[0].request["body"]["wording"] == "Ask Berta."


# Where


def test_a_customer_is_updated_wherever_it_is_held(build):
    shop = build(("shop", "till"))
    target = reads.resolve_target(shop.store, "shop/customers/cus-1", "customer")
    assert sorted(t.connection for t in target) == ["shop", "till"]
    result = shop.ask("customer.update", customer_ref=target[0].id, changes={"job_title": "Buyer"})
    assert result.status == "succeeded"
    assert sorted(effect.connection for effect in result.effects) == ["shop", "till"]
    assert {s.things["customers"]["cus-1"]["job"] for s in shop.sandboxes.values()} == {"Buyer"}


def test_one_system_that_fails_does_not_hide_the_other(build):
    shop = build(("shop", "till"))
    shop.sandboxes["shop"].fault("PATCH /customers", "status:422")
    given = {"customer_ref": "shop/customers/cus-1", "changes": {"job_title": "Buyer"}}
    result = shop.ask("customer.update", **given)
    assert (result.status, result.error["code"]) == ("failed", "invalid")
    assert [effect.connection for effect in result.effects] == ["till"]
    assert result.warnings == ["1 of 2 systems failed; the others were changed"]
    assert shop.ask("customer.update", **given).replayed is True
    assert shop.effects() == 1


def test_targets_choose_the_systems(build):
    shop = build(("shop", "till"))
    given = {"customer_ref": "shop/customers/cus-1", "changes": {"job_title": "Buyer"}}
    result = shop.ask("customer.update", targets=["till"], **given)
    assert [effect.connection for effect in result.effects] == ["till"]
    with pytest.raises(NotFound) as caught:
        shop.ask("customer.update", key="k2", targets=["moon"], **given)
    assert caught.value.field_path == "input.targets"


def test_a_field_that_cannot_be_written_is_told(shop):
    given = {"customer_ref": "shop/customers/cus-1", "changes": {"job_title": "Buyer", "language": "fr"}}
    result = shop.ask("customer.update", **given)
    assert result.status == "succeeded"
    assert result.warnings == ["shop: language cannot be written there"]
    with pytest.raises(Unsupported):
        shop.ask("customer.update", key="k2", **(given | {"changes": {"language": "fr"}}))
    with pytest.raises(Unsupported):
        shop.ask("customer.update", key="k3", targets=["shop"], **given)


def test_a_ticket_is_opened_in_the_connection_that_is_named(build):
    shop = build(("shop", "till"))
    given = {"customer_ref": "shop/customers/cus-1", "subject": "Help", "body": "Please."}
    with pytest.raises(Invalid, match="shop, till") as caught:
        shop.ask("ticket.create", **given)
    assert caught.value.field_path == "input.connection"
    result = shop.ask("ticket.create", connection="till", **given)
    assert [effect.connection for effect in result.effects] == ["till"]


def test_the_only_connection_that_can_is_taken(shop):
    given = {"customer_ref": "shop/customers/cus-1", "subject": "Help", "body": "Please."}
    assert shop.ask("ticket.create", **given).status == "succeeded"
    assert shop.sandbox.things["tickets"]["tic-2"]["title"] == "Help"


def test_an_action_nobody_can_do_names_who_could(build, monkeypatch):
    shop = build()
    marks = tuple(mark for mark in ShopConnector.marks if mark.name != "ticket.note")
    monkeypatch.setattr(type(shop.connections.open("shop").connector), "marks", marks)
    with pytest.raises(Unsupported, match="no connection can"):
        shop.note()


def test_an_order_in_two_systems_needs_the_exact_record(build):
    shop = build(("shop", "till"))
    hub_id = reads.resolve_target(shop.store, "shop/orders/ord-1", "order")[0].id
    given = {"address": ADDRESS}
    with pytest.raises(Invalid, match="shop/orders/ord-1, till/orders/ord-1") as caught:
        shop.ask("order.update_shipping_address", order_ref=hub_id, **given)
    assert caught.value.error_code == "ambiguous_target"
    result = shop.ask("order.update_shipping_address", order_ref="till/orders/ord-1", **given)
    assert [effect.connection for effect in result.effects] == ["till"]


def test_a_ticket_is_not_opened_where_the_customer_is_not_known(build):
    shop = build(("shop", "till"), tweak=lambda both: both["till"].things["customers"].clear())
    given = {"customer_ref": "shop/customers/cus-1", "subject": "Help", "body": "Please."}
    with pytest.raises(NotFound) as caught:
        shop.ask("ticket.create", connection="till", **given)
    assert caught.value.error_code == "customer_not_there"
    assert [e.connection for e in shop.ask("ticket.create", **given).effects] == ["shop"]
    with pytest.raises(Unsupported, match="moon"):
        shop.ask("ticket.create", connection="moon", key="k2", **given)


def test_a_connection_that_does_not_open_stops_no_other(build):
    shop = build()
    broken = ConnectionSettings(connector="nothing")
    shop.connections.settings.connections["broken"] = broken
    given = {"customer_ref": "shop/customers/cus-1", "subject": "Help", "body": "Please."}
    assert shop.ask("ticket.create", **given).status == "succeeded"
    with pytest.raises(ConfigError, match="nothing"):
        shop.ask("ticket.create", connection="broken", key="k2", **given)


def test_a_record_of_a_connection_that_was_taken_away_is_out_of_reach(shop):
    del shop.connections.settings.connections["shop"]
    with pytest.raises(Unsupported, match="no connection can"):
        shop.note()


def test_an_unknown_record_is_not_found(shop):
    with pytest.raises(NotFound) as caught:
        shop.note(ticket_ref="shop/tickets/tic-9")
    assert (caught.value.error_code, caught.value.field_path) == ("not_found", "input.ticket_ref")


def test_an_expected_version_that_is_no_more_is_a_conflict(shop):
    assert shop.note(expected_version=TIME).status == "succeeded"
    shop.sandbox.things["tickets"]["tic-1"]["changed"] = "2026-11-05T00:00:00Z"
    with pytest.raises(Conflict) as caught:
        shop.note(key="k2", expected_version=TIME)
    assert caught.value.error_code == "version_conflict"


@pytest.mark.parametrize(
    ("data", "left"),
    [
        (
            {
                "refundable_amount": {"amount": 7, "currency": "EUR"},
                "amount_captured": {"amount": 9, "currency": "EUR"},
            },
            7,
        ),
        ({"amount_captured": {"amount": 9, "currency": "EUR"}, "amount_refunded": {"amount": 4, "currency": "EUR"}}, 5),
        ({"amount_captured": {"amount": 9, "currency": "EUR"}, "amount_refunded": None}, 9),
        ({"amount": {"amount": 9, "currency": "EUR"}, "status": "succeeded"}, 9),
        ({"amount": {"amount": 9, "currency": "EUR"}, "status": "failed"}, None),
        ({"amount_captured": {"amount": 1, "currency": "EUR"}, "amount_refunded": {"amount": 4, "currency": "EUR"}}, 0),
        ({}, None),
    ],
)
def test_what_is_refundable(data, left):
    found = facts.refundable(data)
    assert (found.amount if found else None) == left


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, False),
        ({"disputed": True}, True),
        ({"disputed": True, "disputes": [{"status": "won"}]}, False),
        ({"disputed": False, "disputes": [{"status": "won"}, {"status": "needs_response"}]}, True),
        ({"disputes": [{"status": "lost"}]}, True),
        ({"disputes": [{"status": "warning"}]}, True),
        ({"disputes": [{"status": None}]}, True),
    ],
)
def test_a_dispute_stands_in_the_way_until_it_is_won(data, expected):
    assert facts.disputed(data) is expected


@settings(max_examples=200)
@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 10**9))
def test_no_facts_let_more_out_than_is_left(captured, refunded, asked):
    euro = {"currency": "EUR"}
    data = {"amount_captured": {"amount": captured, **euro}, "amount_refunded": {"amount": refunded, **euro}}
    refund = PaymentRefund(payment_ref="a/b/c", reason="other", amount={"amount": asked, **euro})
    try:
        done = facts.completed(refund, data)
    except (Invalid, Conflict):
        assert asked > captured - refunded
    else:
        assert done.amount_of_money.amount == asked <= captured - refunded


@pytest.mark.parametrize("status", ["canceled", "completed"])
def test_an_order_that_is_over_keeps_its_address(status):
    action = OrderUpdateShippingAddress(order_ref="a/b/c", address=ADDRESS)
    with pytest.raises(Conflict):
        facts.completed(action, {"status": status})


# Reading


def test_a_lookup_answers_with_minimal_fields_and_no_run(shop):
    result = shop.ask("customer.lookup", email="ADA@mail.example.com", key=None, who=Principal("k", "b", ("read",)))
    assert (result.status, result.run_id, result.answer["match"]) == ("succeeded", None, "one")
    (customer,) = result.answer["customers"]
    assert set(customer) == {"id", "display_name", "email", "phone", "status", "connections"}
    assert customer["connections"] == ["shop"]
    assert shop.ledger.runs() == []


def test_a_lookup_without_a_match_is_no_error(shop):
    assert shop.ask("customer.lookup", email="nobody@mail.example.com").answer == {"match": "none", "customers": []}


def test_a_lookup_needs_a_scope_too(shop):
    with pytest.raises(Refused):
        shop.ask("customer.lookup", email="x@mail.example.com", who=Principal("k", "b", ("act:ticket.*",)))


# Crashes


def crashed(shop: Shop, state: str) -> str:
    """Leave a reply behind as a process that died would: journaled, and sending or not."""
    real = shop.ledger.begin

    class Died(BaseException): ...

    def die(step, **more):
        if state == "sending":
            real(step, **more)
        raise Died

    shop.ledger.begin = die  # type: ignore[method-assign]
    with pytest.raises(Died):
        shop.reply()
    shop.ledger.begin = real  # type: ignore[method-assign]
    (run,) = shop.ledger.runs()
    assert shop.ledger.get(run.id).steps[0].state == state
    return run.id


def test_a_run_that_was_planned_only_is_sent_by_whoever_finds_it(shop):
    run_id = crashed(shop, "planned")
    assert shop.performer.waiting() == [run_id]
    assert shop.performer.advance(run_id).status == "succeeded"
    assert shop.effects("comments") == 1


def test_a_run_found_sending_is_looked_up_first(shop):
    run_id = crashed(shop, "sending")
    shop.sandbox.things["comments"]["com-7"] = {"ticket": "tic-1", "key": f"hub-{run_id}", "text": "x", "open": True}
    result = shop.reply()
    assert (result.status, result.run_id, result.effects[0].remote_id) == ("succeeded", run_id, "com-7")
    assert shop.sandbox.ledger == []


def test_a_run_found_sending_just_now_may_still_be_under_way(shop):
    run_id = crashed(shop, "sending")
    assert shop.performer.advance(run_id).status == "unknown"
    assert shop.performer.advance(run_id).status == "unknown"
    assert shop.sandbox.ledger == []


def test_a_run_found_sending_that_did_not_happen_is_sent_with_the_same_key(shop):
    run_id = crashed(shop, "sending")
    shop.performer.in_flight = timedelta(0)
    assert shop.performer.advance(run_id).status == "succeeded"
    assert shop.effects("comments") == 1
    assert shop.sandbox.things["comments"]["com-2"]["key"] == f"hub-{run_id}"


def test_a_run_found_sending_that_nobody_can_tell_is_never_sent(build):
    shop = build(looks_up=False)
    run_id = crashed(shop, "sending")
    assert shop.performer.advance(run_id).status == "unknown"
    assert shop.sandbox.ledger == []


def test_a_process_killed_while_sending_refunds_once(shop, tmp_path):
    shop.sandbox.fault("POST /refunds", "slow:0.5s")
    child = subprocess.Popen([sys.executable, "-c", CHILD, __file__, str(tmp_path), shop.sandbox.url], cwd=ROOT)
    while child.poll() is None and not any(fault.times == 0 for fault in shop.sandbox.faults):
        time.sleep(0.01)
    child.kill()
    assert child.wait() == -9
    (run,) = shop.ledger.runs()
    assert shop.ledger.get(run.id).steps[0].state == "sending"
    result = shop.refund()
    assert (result.run_id, result.replayed, result.status) == (run.id, True, "succeeded")
    while len(shop.sandbox.kept) == 0 or len(shop.sandbox.ledger) < 2:
        time.sleep(0.01)
    assert {entry.key for entry in shop.sandbox.ledger} == {f"hub-{run.id}"}
    assert shop.effects("refund") == 1


def test_a_run_that_somebody_works_on_is_left_alone(shop):
    run_id = crashed(shop, "sending")
    run = shop.ledger.get(run_id)
    assert shop.ledger.take(run, owner=new_owner())
    assert shop.performer.advance(run_id).status == "running"
    assert shop.sandbox.ledger == []


def test_many_who_advance_one_run_send_it_once(shop):
    run_id = crashed(shop, "planned")
    shop.sandbox.fault("POST /comments", "slow:0.1s")
    threads = [threading.Thread(target=shop.performer.advance, args=(run_id,)) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert shop.performer.result(run_id).status == "succeeded"
    assert len(shop.sandbox.ledger) == 1


def test_a_run_that_stays_unknown_for_a_day_needs_attention(build):
    shop = build(looks_up=False)
    shop.sandbox.fault("POST /comments", "drop_after")
    run_id = shop.reply().run_id
    with shop.ledger.database.write() as tx:
        tx.execute("UPDATE run SET created_at = '2020-01-01T00:00:00.000Z'")
    result = shop.performer.advance(run_id)
    assert (result.status, shop.performer.waiting()) == ("needs_attention", [])


def test_a_native_key_is_not_trusted_for_ever(build):
    shop = build(looks_up=False)
    shop.sandbox.fault("POST /refunds", "drop_after", times=2)
    run_id = shop.refund().run_id
    with shop.ledger.database.write() as tx:
        tx.execute("UPDATE step SET first_sent_at = '2020-01-01T00:00:00.000Z'")
    sent = len(shop.sandbox.ledger)
    assert shop.performer.advance(run_id).status == "unknown"
    assert len(shop.sandbox.ledger) == sent


def test_nothing_is_sent_when_the_journal_cannot_be_written(shop, monkeypatch):
    def full(*_: object, **__: object):
        raise OSError("disk full")

    monkeypatch.setattr(shop.ledger, "claim", full)
    with pytest.raises(OSError, match="disk full"):
        shop.reply()
    monkeypatch.undo()
    monkeypatch.setattr(shop.ledger, "begin", full)
    with pytest.raises(OSError, match="disk full"):
        shop.reply()
    assert shop.sandbox.ledger == []


def test_runs_are_listed_newest_first(shop):
    first, second = shop.note(), shop.reply(key="k2")
    assert [run.run_id for run in shop.performer.runs()] == [second.run_id, first.run_id]
    assert [run.run_id for run in shop.performer.runs(before=second.run_id)] == [first.run_id]
    assert shop.performer.runs(state="failed") == []


def test_a_run_keeps_who_asked_and_why(shop):
    who = Principal("key_7", "bot", ("act:*",))
    said = {"channel": "chat", "verification": "claimed"}
    run_id = shop.note(who=who, why="asked on the phone", on_behalf_of=said, agent={"kind": "ai"}).run_id
    run = shop.ledger.get(run_id)
    assert (run.principal, run.mode, run.connection) == ("key_7", "execute", "shop")
    assert re.search(rb"asked on the phone.*claimed|claimed.*asked on the phone", run.request)
    assert shop.ledger.get(run_id).steps[0].state == "done"
    assert Move("done").state == "done"


def test_every_answer_is_json(shop):
    for result in (shop.refund(), shop.refund(), shop.note(mode="preview"), shop.reply(key="k3")):
        assert isinstance(result.as_dict()["as_of"], str)
        assert result.as_json().startswith(b"{")


def test_an_action_class_of_a_plugin_is_run_like_the_others(build):
    class Wave(Action):
        name = "ticket.wave"
        title = "Wave"
        risk = TicketNote.risk
        on = TicketNote.on
        ticket_ref: str

    shop = build()
    shop.performer.plugins.actions["ticket.wave"] = Wave

    def wave(self, action, call):
        return Outcome([Effect("wave", call.target.remote_id, "update")])

    cls = type(shop.connections.open("shop").connector)
    cls.wave = act(Wave, idempotency="set")(wave)
    cls.__init_subclass__()
    assert shop.ask("ticket.wave", ticket_ref="shop/tickets/tic-1").effects[0].object == "wave"
