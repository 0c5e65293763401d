"""
Stripe's sandbox held against what was recorded and specified, and the README's table of evidence kept current.

`HUB_RECORD=1 pytest tests/plugins/test_stripe_sandbox.py` writes the table anew.
"""

import json
import os
import threading
import typing
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from hub.sandbox import World
from hub_stripe.sandbox import API_KEY, WEBHOOK_SECRET, StripeSandbox, signature

README = Path(__file__).parents[2] / "plugins/stripe/README.md"
MARKS = ("<!-- evidence: begin -->\n", "<!-- evidence: end -->")
Shape = dict[str, set[str]]  # path → JSON types seen
SHAPES = (
    "customer", "payment_intent", "charge", "refund", "dispute", "subscription", "subscription_item", "price", "plan",
    "payment_method", "invoice", "event", "subscription_schedule",
)  # fmt: skip
SDK = {noun: "".join(part.title() for part in noun.split("_")) for noun in SHAPES}
# What holds free words of the account, or differs from payment to payment.
FREE = ("metadata.", "event:data.")
# Answers, what shows them, and whether anything but this project says that Stripe answers so.
ANSWERS = (
    ("401, wrong key", "recordings: `GET /v1/invoice_payments`"),
    ("404 / 400 `resource_missing`, `param`, `doc_url`", "recordings: customers, subscriptions"),
    ("400 `parameter_invalid_integer`", "recordings: `POST /v1/payment_intents`"),
    ("400 of a refund: message, `charge_already_refunded`, `charge_disputed`", "UNPROVEN (codes: SDK type)"),
    ("400 of a refund above what is left: message, no code", "UNPROVEN"),
    ("400 of a release: message, `payment_intent_unexpected_state`", "UNPROVEN (code: SDK type)"),
    ("400 `idempotency_error`, `Idempotent-Replayed: true`, stored 500", "UNPROVEN (Stripe's documentation)"),
    ("409 `idempotency_key_in_use`, 403, 429", "UNPROVEN (Stripe's documentation)"),
    ("list envelope: `object`, `data`, `has_more`, `url`", "recordings: lists inside objects"),
    ("list parameters", "spec 2023-08"),
    ("pages with `ending_before`; events older than 30 days are gone", "UNPROVEN (Stripe's documentation)"),
    (
        "subscription schedules: made of a subscription, given phases, released",
        "UNPROVEN (parameters: SDK type; that discounts, taxes and settings of the phase are to be sent again: "
        "Stripe's documentation)",
    ),
    ("400 of a subscription that has a schedule already: message", "UNPROVEN"),
    ("search", "UNPROVEN (SDK type)"),
    ("webhook signature", "SDK: it verifies and makes the same"),
    ("which events a change raises, and their order", "UNPROVEN (names: recordings of webhooks, SDK)"),
)  # fmt: skip


@pytest.fixture
def sandbox() -> Iterator[StripeSandbox]:
    with StripeSandbox(World(customers=60)) as made:
        yield made  # type: ignore[misc]


def ask(
    sandbox: StripeSandbox, method: str, path: str, *, version: str = "2026-06-24.dahlia", key: str = "", **form: str
) -> Any:
    headers = {"Authorization": f"Bearer {API_KEY}", "Stripe-Version": version} | (
        {"Idempotency-Key": key} if key else {}
    )
    return requests.request(method, sandbox.url + path, headers=headers, data=form, timeout=10)


def kind_of(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "number", str: "str", list: "list", dict: "object"}
    return "null" if value is None else names[type(value)]


def collect(value: Any, into: dict[str, Shape], noun: str = "", path: str = "") -> None:
    """Collect paths and types of every object; an object inside another counts for its own sort."""
    if isinstance(value, dict):
        own = value.get("object")
        if isinstance(own, str) and len(value) > 4 and own != "list":
            noun, path = own, ""
        for key, item in value.items():
            here = f"{path}{key}"
            into.setdefault(noun, {}).setdefault(here, set()).add(kind_of(item))
            collect(item, into, noun, f"{here}.")
    elif isinstance(value, list):
        for item in value:
            collect(item, into, noun, f"{path.rstrip('.')}[].")


def imitated(sandbox: StripeSandbox) -> dict[str, Shape]:
    """Collect what the sandbox answers over HTTP, everything expanded."""
    found: dict[str, Shape] = {}
    paid = next(c for c in sandbox.state.kinds["charges"].values() if c["captured"] and not c["amount_refunded"])
    sandbox.state.dispute(paid["payment_intent"])
    sandbox.state.get("payment_intents", paid["payment_intent"])
    for path in (
        "customers?limit=100", "payment_intents?limit=100&expand[]=data.latest_charge", "refunds?limit=100",
        "disputes?limit=100",
        "subscriptions?limit=100&status=all&expand[]=data.latest_invoice&expand[]=data.default_payment_method",
        "events?limit=100",
    ):  # fmt: skip
        for thing in ask(sandbox, "GET", f"/v1/{path}").json()["data"]:
            if thing["object"] == "event":
                thing["data"] = {}
            collect(thing, found)
    own = next(s["id"] for s in sandbox.state.kinds["subscriptions"].values() if s["status"] == "active")
    collect(ask(sandbox, "POST", "/v1/subscription_schedules", from_subscription=own).json(), found)
    return found


def evidence(shared: Path) -> dict[str, dict[str, Shape]]:
    """Collect what was recorded and what the fixtures say."""
    found: dict[str, dict[str, Shape]] = {"recordings": {}, "webhook recordings": {}, "spec 2026-07": {}}
    for source, name in (("recordings", "stripe-pay.jsonl"), ("webhook recordings", "stripe-webhook-events.jsonl")):
        for line in (shared / "recordings" / name).read_text("utf8").splitlines():
            collect(json.loads(line)["body"], found[source])
    fixtures = json.loads((shared / "specs/stripe-fixtures-2026-07.json").read_text())["resources"]
    for body in fixtures.values():
        collect(body, found["spec 2026-07"])
    return found


def declared(noun: str, path: str) -> bool:
    """Say whether the SDK declares this path, as far as its classes tell."""
    import stripe

    cls: Any = getattr(stripe, SDK[noun])
    for part in path.replace("[]", "").split("."):
        hint = getattr(cls, "__annotations__", {}).get(part)
        if hint is None:
            return False
        inner = [c for c in _classes(hint) if hasattr(c, "__annotations__")]
        cls = inner[0] if inner else None
    return True


def _classes(hint: Any) -> list[type]:
    if typing.get_args(hint):
        return [c for part in typing.get_args(hint) for c in _classes(part)]
    return [hint] if isinstance(hint, type) else []


def source_of(noun: str, path: str, types: set[str], known: dict[str, dict[str, Shape]]) -> str:
    """Name the first source that shows each type of a path; where none shows one of them, say so."""
    shown = [next((s for s in known if kind in known[s].get(noun, {}).get(path, set())), None) for kind in types]
    if all(shown):
        return max((source for source in shown if source), key=list(known).index)
    if declared(noun, path):
        return "SDK type"
    return "member seen, as null only" if any(shown) else "UNPROVEN"


def table(sandbox: StripeSandbox, shared: Path) -> tuple[str, dict[str, list[str]]]:
    """Make the README's table, and name what nothing proves."""
    seen, known = imitated(sandbox), evidence(shared)
    rows, unproven = [], dict[str, list[str]]()
    for noun in SHAPES:
        by: dict[str, int] = {}
        for path, types in sorted(seen[noun].items()):
            if any(f"{noun}:{path}".startswith(f) or path.startswith(f) for f in FREE):
                continue
            name = source_of(noun, path, types, known)
            by[name] = by.get(name, 0) + 1
            if name == "UNPROVEN":
                unproven.setdefault(noun, []).append(path)
        said = ", ".join(f"{source} {count}" for source, count in sorted(by.items(), key=lambda kv: -kv[1]))
        lost = ", ".join(f"`{path}`" for path in unproven.get(noun, []))
        rows.append(f"| `{noun}`: {sum(by.values())} paths | {said}{': ' + lost if lost else ''} |")
    rows += [f"| {answer} | {proof} |" for answer, proof in ANSWERS]
    return "| shape | evidence |\n|-|-|\n" + "\n".join(rows) + "\n", unproven


def test_the_readmes_table_of_evidence_is_current(sandbox: StripeSandbox, shared: Path) -> None:
    made, _ = table(sandbox, shared)
    text = README.read_text()
    start, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
    if os.environ.get("HUB_RECORD"):
        README.write_text(text[:start] + made + text[end:])
        return
    assert text[start:end] == made, "run this test with HUB_RECORD=1"


def test_types_of_the_sandbox_never_contradict_the_evidence(sandbox: StripeSandbox, shared: Path) -> None:
    known = evidence(shared)
    for noun, shape in imitated(sandbox).items():
        for path, types in shape.items():
            seen = set().union(*(shapes.get(noun, {}).get(path, set()) for shapes in known.values())) - {"null"}
            assert not seen or path.startswith("metadata.") or types - {"null"} <= seen, (noun, path, types, seen)


def test_the_sandbox_leaves_no_member_out_that_dahlia_always_sends(sandbox: StripeSandbox, shared: Path) -> None:
    mine = imitated(sandbox)
    for noun in (
        "customer",
        "payment_intent",
        "charge",
        "refund",
        "subscription",
        "subscription_item",
        "price",
        "plan",
    ):
        always: set[str] | None = None
        for line in (shared / "recordings/stripe-pay.jsonl").read_text("utf8").splitlines():
            exchange = json.loads(line)
            if exchange["headers"].get("stripe-version", "") >= "2025-10-29":
                for one in found(exchange["body"], noun):
                    always = set(one) if always is None else always & set(one)
        lacking = {name for name in always or set() if "<" not in name and name not in mine[noun]}
        assert lacking <= {"refunds", "invoice_credit_balance", "tax"}, (noun, lacking)


def found(value: Any, noun: str) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from found(item, noun)
    elif isinstance(value, dict):
        if value.get("object") == noun and len(value) > 4:
            yield value
        for item in value.values():
            yield from found(item, noun)


def test_older_versions_have_the_shapes_that_were_recorded_of_them(sandbox: StripeSandbox, shared: Path) -> None:
    old: dict[str, Shape] = {}
    for line in (shared / "recordings/stripe-pay.jsonl").read_text("utf8").splitlines():
        exchange = json.loads(line)
        if exchange["headers"].get("stripe-version") == "2020-08-27":
            collect(exchange["body"], old)
    one = ask(sandbox, "GET", "/v1/subscriptions?limit=1", version="2020-08-27").json()["data"][0]
    assert "current_period_end" in one
    assert "current_period_end" not in one["items"]["data"][0]
    assert {"current_period_end", "discount"} <= set(old["subscription"])
    paid = ask(sandbox, "GET", "/v1/payment_intents?limit=1", version="2020-08-27").json()["data"][0]
    assert "latest_charge" not in paid
    assert paid["charges"]["object"] == "list"
    assert {"charges", "charges.data"} <= set(old["payment_intent"])


def test_recorded_errors_and_the_sandboxs_have_the_same_members(sandbox: StripeSandbox) -> None:
    error = ask(sandbox, "GET", "/v1/customers/cus_none").json()["error"]
    assert set(error) == {"code", "doc_url", "message", "param", "type"}
    wrong = requests.get(sandbox.url + "/v1/account", headers={"Authorization": "Bearer sk_no"}, timeout=10)
    assert (wrong.status_code, set(wrong.json()["error"])) == (401, {"message", "type"})
    odd = ask(sandbox, "POST", "/v1/refunds", payment_intent=paid_one(sandbox), amount="1.5")
    assert odd.json()["error"]["code"] == "parameter_invalid_integer"


def paid_one(sandbox: StripeSandbox) -> str:
    charges = sandbox.state.kinds["charges"].values()
    return next(
        c["payment_intent"] for c in charges if c["captured"] and not c["amount_refunded"] and not c["disputed"]
    )


def test_a_key_answers_again_with_the_same_and_refuses_another_body(sandbox: StripeSandbox) -> None:
    one = paid_one(sandbox)
    first = ask(sandbox, "POST", "/v1/refunds", key="k1", payment_intent=one, amount="5")
    again = ask(sandbox, "POST", "/v1/refunds", key="k1", payment_intent=one, amount="5")
    other = ask(sandbox, "POST", "/v1/refunds", key="k1", payment_intent=one, amount="6")
    assert (first.json(), "Idempotent-Replayed" in first.headers) == (again.json(), False)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    assert len(sandbox.effects("refund ")) == 1


def test_an_unknown_parameter_is_refused_and_its_key_stays_free(sandbox: StripeSandbox) -> None:
    one = paid_one(sandbox)
    assert ask(sandbox, "POST", "/v1/refunds", key="k1", payment_intent=one, amout="5").status_code == 400
    assert ask(sandbox, "POST", "/v1/refunds", key="k1", payment_intent=one, amount="5").status_code == 200


def test_lists_page_both_ways(sandbox: StripeSandbox) -> None:
    everything = [row["id"] for row in sandbox.state.rows("customers")]
    first = ask(sandbox, "GET", "/v1/customers?limit=10").json()
    assert [row["id"] for row in first["data"]] == everything[:10]
    back = ask(sandbox, "GET", f"/v1/customers?limit=5&ending_before={everything[10]}").json()
    assert [row["id"] for row in back["data"]] == everything[5:10]
    assert back["has_more"]
    assert ask(sandbox, "GET", "/v1/customers?starting_after=cus_none").json()["error"]["param"] == "starting_after"
    assert ask(sandbox, "GET", "/v1/customers?limit=101").status_code == 400
    assert ask(sandbox, "GET", "/v1/customers?expand[]=data.nonsense").status_code == 400


class Receiver:
    """A webhook endpoint that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, Any], str, bytes]] = []
        got = self.got

        class Endpoint(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                got.append((json.loads(body), self.headers["Stripe-Signature"], body))
                self.send_response(200)
                self.end_headers()

        self.server = HTTPServer(("127.0.0.1", 0), Endpoint)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/stripe"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def types(self) -> list[str]:
        return [event["type"] for event, _, _ in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.parametrize(
    ("fault", "types"),
    [
        ("", ["refund.created", "charge.refunded"]),
        ("duplicate_webhook", ["refund.created", "refund.created", "charge.refunded", "charge.refunded"]),
        ("reorder_webhook", ["charge.refunded", "refund.created"]),
    ],
)
def test_changes_are_told_by_signed_webhooks(
    sandbox: StripeSandbox, receiver: Receiver, fault: str, types: list[str]
) -> None:
    import stripe

    sandbox.hooks.url = receiver.url
    if fault:
        sandbox.fault("POST /v1/refunds", fault)
    ask(sandbox, "POST", "/v1/refunds", payment_intent=paid_one(sandbox), amount="5")
    sandbox.hooks.wait()
    assert receiver.types() == types
    assert [status for _, status in sandbox.hooks.done] == [200] * len(types)
    for _, signed, body in receiver.got:
        assert stripe.WebhookSignature.verify_header(body, signed, WEBHOOK_SECRET, 300)
    assert signature(b"{}", "whsec_other") != signature(b"{}", WEBHOOK_SECRET)


def test_a_receiver_that_is_away_harms_nobody(sandbox: StripeSandbox) -> None:
    sandbox.hooks.url = "http://127.0.0.1:9/"
    ask(sandbox, "POST", "/v1/customers", name="N")
    sandbox.hooks.wait()
    assert [status for _, status in sandbox.hooks.done] == [None]


def test_reset_gives_the_world_back_and_subscriptions_can_be_canceled(sandbox: StripeSandbox) -> None:
    one = next(s["id"] for s in sandbox.state.kinds["subscriptions"].values() if s["status"] == "active")
    assert ask(sandbox, "DELETE", f"/v1/subscriptions/{one}").json()["status"] == "canceled"
    assert ask(sandbox, "GET", "/v1/events").json()["data"][0]["type"] == "customer.subscription.deleted"
    sandbox.reset()
    assert ask(sandbox, "GET", f"/v1/subscriptions/{one}").json()["status"] == "active"
    assert ask(sandbox, "GET", "/v1/events").json()["data"] == []
