"""Webhooks in: who is let in, how fast, and that neither their order nor their number matters."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from random import Random
from typing import Any

import pytest
import requests
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hub import sync
from hub.api import create_app
from hub.app import App
from hub.app.sandboxes import Sandboxes
from hub.app.webhooks import KEPT_MS, MOST_ATTEMPTS, Webhooks
from hub.errors import Invalid, NotFound, Unauthorized
from hub.store import Store, deliveries
from hub_stripe.sandbox import API_KEY, StripeSandbox
from hub_stripe.sandbox import signature as stripe_signature
from hub_zendesk.events import signature as zendesk_signature
from hub_zendesk.sandbox import ZendeskSandbox
from hub_zendesk.sandbox.hooks import stamp_now
from tests.conftest import Databases
from tests.stores import wipe

STRIPE, ZENDESK = "whsec_sandbox", "sandbox-signing-secret"
ROWS = """
SELECT source.name, record.remote_id, record.body FROM record JOIN state USING (rid)
JOIN source ON source.id = state.source_id WHERE record.deleted_at IS NULL ORDER BY 1, 2
"""
Json = dict[str, Any]


class Hub:
    """A synced hub beside two sandboxes whose state a test may change."""

    def __init__(self, app: App, urls: dict[bool, str], up: Sandboxes) -> None:
        self.app, self.urls = app, urls
        self.stripe: StripeSandbox = up.sandboxes["stripe"]
        self.zendesk: ZendeskSandbox = up.sandboxes["zendesk"]

    def fresh(self, template: str = "empty") -> Webhooks:
        """Give a new hub, or one as it was after the first sync, beside sandboxes as they were then."""
        self.stripe.reset()
        self.zendesk.reset()
        return Webhooks(self.store(template), self.app.connections)

    def store(self, template: str) -> Store:
        """Give an empty store, or one into which the connection of that name was synced."""
        store = Store.open(self.urls[template == "empty"])
        with store.write() as tx:
            wipe(tx)
        if template != "empty":
            sync.sync_connection(store, self.app.connections.open(template))
        return store

    def payment(self, n: int = 0) -> str:
        charges = self.stripe.state.kinds["charges"].values()
        able = [c["payment_intent"] for c in charges if c["amount_captured"] - c["amount_refunded"] > 99]
        return str(able[n % len(able)])

    def refund(self, payment: str, amount: int = 1) -> Json:
        return dict(self.stripe.state.refund(self.stripe.state.get("payment_intents", payment), amount,
                                             reason=None, metadata={}))  # fmt: skip


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("webhooks")
    with Sandboxes.start(["stripe", "zendesk"], customers=12) as up, databases() as one, databases() as other:
        text = up.toml() + '\n[connections.bare]\nconnector = "stripe"\napi_key = "sk_test_sandbox"\n'
        (folder / "config.toml").write_text(text + f'base_url = "{up.addresses()["stripe"]}"\n')
        with App.open(folder / "config.toml") as app:
            yield Hub(app, {True: one, False: other}, up)


@pytest.fixture
def fresh(hub: Hub) -> Iterator[Webhooks]:
    made = hub.fresh()
    yield made
    made.in_background(False)
    made.store.close()


@contextmanager
def served(hub: Hub, webhooks: Webhooks) -> Iterator[str]:
    """Serve the API of this hub on a free port."""
    vars(hub.app)["webhooks"], vars(hub.app)["store"] = webhooks, webhooks.store
    server = uvicorn.Server(uvicorn.Config(create_app(hub.app), "127.0.0.1", 0, log_level="critical"))
    listening = server.config.bind_socket()
    listening.listen()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
        for name in ("webhooks", "store", "syncs"):
            vars(hub.app).pop(name, None)


@pytest.fixture
def url(hub: Hub, fresh: Webhooks) -> Iterator[str]:
    with served(hub, fresh) as found:
        yield found


def by_stripe(event: Json, *, secret: str = STRIPE, at: int | None = None) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(event).encode()
    return body, {"Stripe-Signature": stripe_signature(body, secret, at)}


def by_zendesk(event: Json, *, secret: str = ZENDESK, at: str | None = None) -> tuple[bytes, dict[str, str]]:
    body, stamp = json.dumps(event).encode(), at or stamp_now()
    signed = zendesk_signature(secret, stamp, body)
    return body, {"X-Zendesk-Webhook-Signature": signed, "X-Zendesk-Webhook-Signature-Timestamp": stamp}


def rows(store: Store) -> list[tuple[str, str, Json]]:
    with store.read() as tx:
        return [(name, one, json.loads(body)) for name, one, body in tx.execute(ROWS)]


def noted(store: Store) -> int:
    with store.read() as tx:
        return int(tx.execute("SELECT count(*) FROM delivery").fetchone()[0])


def until(holds: Callable[[], Any], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def refusal(answer: requests.Response, status: int, code: str) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert not any(secret in answer.text for secret in (STRIPE, ZENDESK, "secret"))
    return answer.text


def test_a_webhook_is_answered_before_anything_is_fetched(hub: Hub, fresh: Webhooks, url: str) -> None:
    made = hub.refund(hub.payment())
    body, headers = by_stripe(hub.stripe.state.events[0])
    requests.post(f"{url}/webhooks/stripe", data=b"", headers=headers, timeout=5)  # the first imports the SDK
    hub.stripe.fault("GET /v1/refunds", "slow:1s")
    began = time.monotonic()
    answer = requests.post(f"{url}/webhooks/stripe", data=body, headers=headers, timeout=5)
    took = time.monotonic() - began
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted", "changes": 1})
    assert took < 0.5
    until(lambda: any(one == made["id"] for _, one, _ in rows(fresh.store)))
    assert time.monotonic() - began > 1


@pytest.mark.parametrize(
    ("connection", "body", "headers"),
    [
        ("stripe", *by_stripe({"id": "evt_x"}, secret="whsec_other")),
        ("stripe", *by_stripe({"id": "evt_x"}, at=int(time.time()) - 100_000)),
        ("stripe", by_stripe({"id": "evt_x", "object": "event"})[0][:-3], by_stripe({"id": "evt_x"})[1]),
        ("stripe", b"{}", {}),
        ("stripe", b"{}", {"Stripe-Signature": "t=,v1="}),
        ("stripe", b"\xff\xfe", {"Stripe-Signature": "t=1,v1=00"}),
        ("zendesk", *by_zendesk({"id": "x"}, secret="other")),
        ("zendesk", *by_zendesk({"id": "x"}, at="2026-01-01T00:00:00Z")),
        ("zendesk", *by_zendesk({"id": "x"}, at="2099-01-01T00:00:00Z")),
        ("zendesk", *by_zendesk({"id": "x"}, at="yesterday")),
        ("zendesk", by_zendesk({"id": "x"})[0][:-1], by_zendesk({"id": "x"})[1]),
        ("zendesk", b"{}", {}),
        ("zendesk", b"{}", {"X-Zendesk-Webhook-Signature": "é", "X-Zendesk-Webhook-Signature-Timestamp": stamp_now()}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_forged_old_or_truncated_webhook_is_401_and_leaves_nothing(
    fresh: Webhooks, url: str, connection: str, body: bytes, headers: dict[str, str]
) -> None:
    sent = {name: value.encode() for name, value in headers.items()}
    answer = requests.post(f"{url}/webhooks/{connection}", data=body, headers=sent, timeout=5)
    refusal(answer, 401, "webhook_refused")
    assert answer.headers["WWW-Authenticate"].startswith("Signature")
    assert noted(fresh.store) == 0


def test_all_refusals_of_a_signature_read_alike(fresh: Webhooks, url: str) -> None:
    forged = by_stripe({"id": "evt_x"}, secret="whsec_other")
    old = by_stripe({"id": "evt_x"}, at=1)
    texts = {
        refusal(requests.post(f"{url}/webhooks/stripe", data=body, headers=head, timeout=5), 401, "webhook_refused")
        for body, head in (forged, old, (b"{}", {}))
    }
    assert len(texts) == 1


@pytest.mark.parametrize("connection", ["nowhere", "bare", "stripe%2F..", "%00"])
def test_where_no_webhook_is_expected_it_is_404(url: str, connection: str) -> None:
    body, headers = by_stripe({"id": "evt_x"})
    answer = requests.post(f"{url}/webhooks/{connection}", data=body, headers=headers, timeout=5)
    assert answer.status_code == 404
    assert "whsec" not in answer.text


def test_a_signed_body_that_is_no_json_is_400(url: str) -> None:
    for connection, head in (
        ("stripe", {"Stripe-Signature": stripe_signature(b"{", STRIPE)}),
        ("zendesk", {"X-Zendesk-Webhook-Signature": zendesk_signature(ZENDESK, (at := stamp_now()), b"{"),
                     "X-Zendesk-Webhook-Signature-Timestamp": at}),
    ):  # fmt: skip
        answer = requests.post(f"{url}/webhooks/{connection}", data=b"{", headers=head, timeout=5)
        refusal(answer, 400, "webhook_malformed")


def test_a_body_beyond_the_limit_is_413(url: str) -> None:
    answer = requests.post(f"{url}/webhooks/stripe", data=b"x" * 1_000_001, timeout=5)
    assert answer.status_code == 413


def test_only_post_is_possible_and_no_key_is_asked_for(url: str) -> None:
    assert requests.get(f"{url}/webhooks/stripe", timeout=5).status_code == 405
    assert requests.get(f"{url}/v1/webhooks/stripe", timeout=5).status_code == 401


def test_a_replayed_webhook_changes_nothing_and_is_401_once_it_is_old(
    hub: Hub, fresh: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refund(hub.payment())
    body, headers = by_stripe(hub.stripe.state.events[0])
    assert fresh.take("stripe", body, headers).status == "accepted"
    fresh.receive("stripe", hub.stripe.state.events[0]["id"])
    before = rows(fresh.store)
    assert fresh.take("stripe", body, headers).status == "duplicate"
    assert fresh.waiting() == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 301)
    with pytest.raises(Unauthorized, match="too old"):
        fresh.take("stripe", body, headers)
    assert rows(fresh.store) == before


def test_an_event_that_is_signed_anew_is_still_the_same_event(hub: Hub, fresh: Webhooks) -> None:
    hub.refund(hub.payment())
    event, at = hub.stripe.state.events[0], int(time.time())
    assert fresh.take("stripe", *by_stripe(event, at=at - 200)).status == "accepted"
    assert fresh.take("stripe", *by_stripe(event, at=at)).status == "duplicate"


def test_a_webhook_that_names_nothing_we_sync_is_taken_and_ignored(fresh: Webhooks) -> None:
    event = {"id": "evt_1", "object": "event", "type": "payout.paid", "created": 1, "data": {"object": {}}}
    assert fresh.take("stripe", *by_stripe(event)).status == "ignored"
    assert fresh.take("zendesk", *by_zendesk({"ticket": "the author of a trigger wrote this"})).status == "ignored"
    assert noted(fresh.store) == 0


def test_many_webhooks_about_one_record_make_one_fetch(
    hub: Hub, fresh: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = hub.payment()
    for _ in range(5):
        hub.refund(payment)
    events = hub.stripe.state.events
    for event in events:
        fresh.take("stripe", *by_stripe(event))
    asked: list[str] = []
    real = StripeSandbox.answer

    def answer(self: StripeSandbox, request: Any) -> Any:
        asked.append(request.path)
        return real(self, request)

    monkeypatch.setattr(StripeSandbox, "answer", answer)
    assert len(fresh.waiting()) == 10
    for one in fresh.waiting():
        fresh.receive(one.connection, one.id)
    assert asked.count(f"/v1/payment_intents/{payment}") == 1
    assert len(asked) == len(set(asked))
    assert fresh.waiting() == []


def test_a_record_that_changes_while_it_is_fetched_is_fetched_again(
    hub: Hub, fresh: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = hub.payment()
    hub.refund(payment)
    first, second = [event for event in hub.stripe.state.events if event["type"] == "charge.refunded"], []
    fresh.take("stripe", *by_stripe(first[0]))
    real = Webhooks._fetch

    def fetch(self: Webhooks, *given: Any) -> Any:
        found = real(self, *given)
        if not second:
            hub.refund(payment)
            second.append(hub.stripe.state.events[-1])
            fresh.take("stripe", *by_stripe(second[0]))
        return found

    monkeypatch.setattr(Webhooks, "_fetch", fetch)
    fresh.receive("stripe", first[0]["id"])
    for one in fresh.waiting():
        fresh.receive(one.connection, one.id)
    body = next(body for name, one, body in rows(fresh.store) if one == payment)
    assert body["amount_refunded"]["amount"] == 2


def test_what_a_vendor_that_is_down_keeps_back_is_fetched_later(
    hub: Hub, fresh: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = hub.refund(hub.payment())
    event = hub.stripe.state.events[0]
    fresh.take("stripe", *by_stripe(event))
    hub.stripe.fault("GET /v1/refunds", "status:500", times=50)
    fresh.receive("stripe", event["id"])
    assert fresh.waiting() == []
    hub.stripe.faults.clear()
    until(fresh.waiting)
    assert [(one.id, one.attempts) for one in fresh.waiting()] == [(event["id"], 1)]
    fresh.receive("stripe", event["id"])
    assert any(one == made["id"] for _, one, _ in rows(fresh.store))


def test_what_can_never_be_fetched_is_given_up_and_keeps_nothing_else_waiting(hub: Hub, fresh: Webhooks) -> None:
    made = hub.refund(hub.payment())
    good = hub.stripe.state.events[0]
    bad = {**good, "id": "evt_bad", "data": {"object": {"object": "refund", "id": "re_../../x"}}}
    for event in (bad, good):
        fresh.take("stripe", *by_stripe(event))
    for _ in range(MOST_ATTEMPTS):
        fresh.receive("stripe", "evt_bad")
    assert any(one == made["id"] for _, one, _ in rows(fresh.store))
    with fresh.store.read() as tx:
        assert deliveries.waiting(tx, now=0, connection="stripe") == []
        assert deliveries.dirty(tx, "stripe") == []


def test_a_delivery_that_was_answered_outlives_the_process(hub: Hub, fresh: Webhooks) -> None:
    made = hub.refund(hub.payment())
    fresh.take("stripe", *by_stripe(hub.stripe.state.events[0]))
    again = Webhooks(fresh.store, hub.app.connections)
    again.in_background(True)
    until(lambda: any(one == made["id"] for _, one, _ in rows(fresh.store)))
    again.in_background(False)


def test_deliveries_are_forgotten_once_no_vendor_sends_them_again(
    hub: Hub, fresh: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refund(hub.payment())
    events = hub.stripe.state.events
    for event in events:
        fresh.take("stripe", *by_stripe(event))
    fresh.receive("stripe", events[0]["id"])
    assert fresh.forget() == 0
    with fresh.store.write() as tx:
        tx.execute("UPDATE delivery SET received_at = received_at - ?", (KEPT_MS + 1,))
    assert fresh.forget() == 2
    assert noted(fresh.store) == 0


def test_a_stream_that_is_not_synced_is_not_fetched_either(hub: Hub, fresh: Webhooks) -> None:
    connection = hub.app.connections.open("stripe")
    kept = connection.settings
    connection.settings = kept.model_copy(update={"sync": kept.sync.model_copy(update={"streams": ["customers"]})})
    try:
        hub.refund(hub.payment())
        taken = [fresh.take("stripe", *by_stripe(event)).status for event in hub.stripe.state.events]
    finally:
        connection.settings = kept
    assert taken == ["ignored", "ignored"]


def test_who_may_not_send_learns_nothing(fresh: Webhooks) -> None:
    for name in ("nowhere", "bare"):
        with pytest.raises(NotFound, match="no webhook is expected here"):
            fresh.take(name, b"{}", {})
    with pytest.raises(Invalid):
        fresh.take("stripe", b"[]", {"stripe-signature": stripe_signature(b"[]", STRIPE)})


@pytest.mark.parametrize("fault", ["duplicate_webhook", "reorder_webhook", None])
def test_a_sandboxs_own_webhooks_arrive_over_http(hub: Hub, fresh: Webhooks, url: str, fault: str | None) -> None:
    hub.stripe.hooks.url, hub.zendesk.hooks.url = f"{url}/webhooks/stripe", f"{url}/webhooks/zendesk"
    if fault:
        hub.stripe.fault("POST /v1/refunds", fault)
        hub.zendesk.fault("PUT /api/v2/tickets", fault)
    payment, ticket = hub.payment(), next(iter(hub.zendesk.state.tickets))
    answer = requests.post(
        f"{hub.stripe.url}/v1/refunds", data={"payment_intent": payment, "amount": "1"},
        headers={"Authorization": f"Bearer {API_KEY}"}, timeout=5,
    )  # fmt: skip
    body = {"ticket": {"comment": {"body": "Hello", "public": False}, "priority": "urgent"}}
    requests.put(f"{hub.zendesk.url}/api/v2/tickets/{ticket}.json", json=body, timeout=5,
                 auth=("ops@acme.example/token", "sandbox-token"))  # fmt: skip
    try:
        hub.stripe.hooks.wait()
        hub.zendesk.hooks.wait()
        sent = [status for _, status in (*hub.stripe.hooks.done, *hub.zendesk.hooks.done)]
        assert len(sent) == (8 if fault == "duplicate_webhook" else 4)
        assert set(sent) == ({200, 202} if fault == "duplicate_webhook" else {202})
        until(lambda: not fresh.waiting())
        found = {(name, one): body for name, one, body in rows(fresh.store)}
        assert ("refunds", answer.json()["id"]) in found
        assert found["tickets", str(ticket)]["priority"] == "urgent"
        comments = [body for (name, _), body in found.items() if name == "comments"]
        assert any(body["visibility"] == "internal" and body["body_text"] == "Hello" for body in comments)
    finally:
        hub.stripe.hooks.url = hub.zendesk.hooks.url = None


def change_stripe(hub: Hub, what: str, dice: Random) -> None:
    state, auth = hub.stripe.state, {"Authorization": f"Bearer {API_KEY}"}
    customers = sorted(state.kinds["customers"])
    if what == "refund":
        hub.refund(hub.payment(dice.randrange(2)))
    elif what == "dispute":
        state.dispute(hub.payment(dice.randrange(2)))
    elif what == "rename":
        one = dice.choice(customers)
        data = {"name": f"Name {dice.randrange(9)}", "metadata[n]": str(dice.randrange(9))}
        requests.post(f"{hub.stripe.url}/v1/customers/{one}", data=data, headers=auth, timeout=5)
    elif what == "delete":
        state.delete_customer(dice.choice(customers))
    else:
        one = dice.choice(sorted(state.kinds["subscriptions"]))
        requests.delete(f"{hub.stripe.url}/v1/subscriptions/{one}", headers=auth, timeout=5)


def change_zendesk(hub: Hub, what: str, dice: Random) -> None:
    state = hub.zendesk.state
    ticket = dice.choice(sorted(one for one, row in state.tickets.items() if row["status"] != "deleted"))
    said = {"body": f"Said {dice.randrange(9)}", "public": dice.random() < 0.5}
    if what == "comment":
        state.change_ticket(ticket, {"comment": said}, hub.zendesk.me)
    elif what == "status":
        others = sorted({"open", "pending", "solved"} - {state.tickets[ticket]["status"]})
        state.change_ticket(ticket, {"status": dice.choice(others)}, hub.zendesk.me)
    elif what == "open":
        state.add_ticket({"subject": "New", "comment": said}, state.tickets[ticket]["requester_id"])
    else:
        state.hide_comment(ticket, dice.choice(sorted(state.comments[ticket])), hub.zendesk.me)


SIGNED = {"stripe": by_stripe, "zendesk": by_zendesk}
CHANGES = {
    "stripe": (change_stripe, ["refund", "dispute", "rename", "delete", "cancel"]),
    "zendesk": (change_zendesk, ["comment", "status", "open", "hide"]),
}


@pytest.mark.parametrize("name", ["stripe", "zendesk"])
@settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(dice=st.randoms(use_true_random=False), several=st.integers(1, 6))
def test_webhooks_in_any_order_and_number_end_in_the_same_rows(hub: Hub, name: str, dice: Random, several: int) -> None:
    webhooks = hub.fresh(name)
    with closing(webhooks.store):  # an example may be given up anywhere
        delivered(hub, webhooks, name, dice, several)


def delivered(hub: Hub, webhooks: Webhooks, name: str, dice: Random, several: int) -> None:
    """Change things, deliver what is told of them in some order, and hold the rows against those of a full pull."""
    change, kinds = CHANGES[name]
    events = (hub.stripe if name == "stripe" else hub.zendesk).state.events
    late: list[Json] = []

    def deliver(event: Json) -> None:
        webhooks.take(name, *SIGNED[name](event))

    for _ in range(several):
        told = len(events)
        change(hub, dice.choice(kinds), dice)
        late += events[told:]
        dice.shuffle(late)
        for _ in range(dice.randrange(3)):
            if late:
                deliver(late.pop() if dice.random() < 0.7 else dice.choice(late))
        if dice.random() < 0.5:
            for one in webhooks.waiting():
                webhooks.receive(one.connection, one.id)
    for event in [*late, *dice.sample(events, dice.randrange(len(events)))]:
        deliver(event)
    for one in webhooks.waiting():
        webhooks.receive(one.connection, one.id)
    assert webhooks.waiting() == []
    assert rows(webhooks.store) == synced(hub, name)


def synced(hub: Hub, name: str) -> list[tuple[str, str, Json]]:
    """Give the rows of a new hub that pulls everything, as the sandboxes are now."""
    store = hub.store("empty")
    try:
        report = sync.sync_connection(store, hub.app.connections.open(name))
        assert {table["error"] for table in report.values()} == {None}
        return rows(store)
    finally:
        store.close()
