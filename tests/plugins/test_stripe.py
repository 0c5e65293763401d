"""The Stripe connector on its sandbox: what every connector must hold, and how Stripe is read."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hub import Invalid, NotFound, PaymentRefund, Temporary, Unauthorized
from hub.mapping import check
from hub.sandbox import World
from hub.testing import SAMPLES, Case, ConnectorSuite, case_for
from hub_stripe.connector import StripeConnector
from hub_stripe.pulling import Cursor
from hub_stripe.sandbox import StripeSandbox

DAY_S = 86_400


class TestStripe(ConnectorSuite):
    connector = StripeConnector
    wrong_credentials = {"api_key": "sk_test_wrong"}
    edit = (
        'requested_by_customer = "requested_by_customer"\nduplicate             = "duplicate"\nfraudulent            '
        '= "fraudulent"\nnot_received          = "not_received"\ndamaged               = "damaged"\n',
        'requested_by_customer = "asked_by_buyer"\n',
        PaymentRefund,
        "asked_by_buyer",
    )
    samples = {"customer.update_address": {**SAMPLES["customer.update_address"], "kind": "billing"}}


@pytest.fixture(scope="module")
def case() -> Iterator[Case]:
    """A sandbox that no test of this module changes."""
    with case_for(StripeConnector, world=World(customers=120)) as made:
        yield made


@pytest.fixture
def fresh() -> Iterator[Case]:
    with case_for(StripeConnector, world=World(customers=120)) as made:
        yield made


def sandbox_of(case: Case) -> StripeSandbox:
    assert isinstance(case.sandbox, StripeSandbox)
    return case.sandbox


def write(case: Case, method: str, path: str, **form: str) -> dict[str, Any]:
    """Change something at the sandbox through the vendor's own API."""
    headers = {"Authorization": "Bearer sk_test_sandbox"}
    response = case.connection.transport.request(method, f"https://api.stripe.com{path}", data=form, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def ids(pages: list[Any]) -> list[str]:
    return [row.remote_id for p in pages for rows in p.mapped.tables.values() for row in rows.rows]


def deleted(pages: list[Any]) -> list[str]:
    return [one for p in pages for one in p.page.deleted]


def last_cursor(case: Case, stream: str) -> str:
    cursor = case.pulled[stream][-1].page.cursor
    assert cursor is not None
    return cursor


def asked(case: Case) -> list[Any]:
    """Collect the requests that reach the sandbox from now on."""
    found: list[Any] = []
    normal = case.sandbox.answer

    def answer(request: Any) -> Any:
        found.append(request)
        return normal(request)

    case.sandbox.answer = answer  # type: ignore[method-assign]
    return found


def bodies(case: Case, kind: str, **wanted: Any) -> list[dict[str, Any]]:
    return [b for b in case.bodies(kind).values() if all(b.get(k) == v for k, v in wanted.items())]


def whole_payment(case: Case) -> str:
    """Choose a payment of which nothing was refunded or disputed."""
    paid = bodies(case, "payment", status="succeeded", disputed=False)
    return next(str(body["remote_id"]) for body in paid if body["amount_refunded"]["amount"] == 0)


def test_full_lists_come_in_pages_of_a_hundred(case: Case) -> None:
    state = sandbox_of(case).state
    assert len(ids(case.pulled["customers"])) == len(state.kinds["customers"])
    assert len(case.pulled["customers"]) == -(-len(state.kinds["customers"]) // 100)
    assert len(ids(case.pulled["payment_intents"])) == len(state.kinds["payment_intents"]) > 100


def test_the_last_list_page_alone_proves_a_full_scan(case: Case) -> None:
    assert [p.page.complete for p in case.pulled["payment_intents"]] == [False, True]


def test_canceled_subscriptions_are_read_though_the_list_leaves_them_out(case: Case) -> None:
    words = {body["status"] for body in bodies(case, "subscription")}
    assert {"active", "canceled", "paused"} <= words
    assert len(ids(case.pulled["subscriptions"])) == len(sandbox_of(case).state.kinds["subscriptions"])


def test_a_paused_collection_is_paused_with_the_vendors_word_beside(case: Case) -> None:
    paused = bodies(case, "subscription", status="paused")
    assert {body["status_raw"] for body in paused} == {"active"}
    assert all(body["pause"]["behavior"] == "void" and body["next_billing_at"] is None for body in paused)


def test_disputes_are_put_into_disputed_payments_with_their_status(case: Case) -> None:
    disputed = bodies(case, "payment", disputed=True)
    assert disputed
    assert {d["status"] for body in disputed for d in body["disputes"]} <= {
        "needs_response",
        "under_review",
        "won",
        "lost",
    }
    assert all(body["disputes"] is None for body in bodies(case, "payment", disputed=False))


def test_orders_are_named_by_the_number_merchants_put_in(case: Case) -> None:
    numbers = {order.number for order in case.sandbox.world.orders}
    refs = [body["order_ref"] for body in bodies(case, "payment")]
    assert all(ref["kind"] == "order" and ref["value"] in numbers for ref in refs)


def test_only_what_the_mapping_reads_is_expanded(fresh: Case) -> None:
    small = fresh.remapped('last_payment_status  = "latest_invoice.status"\n', "")
    seen = asked(fresh)
    list(fresh.connector.method("pull", "subscriptions")(small.stream("subscriptions"), None))  # type: ignore[misc]
    expands = {v for r in seen if r.path == "/v1/subscriptions" for v in r.query["expand[]"]}
    assert expands == {"data.default_payment_method"}


def test_since_asks_for_what_was_created_later(case: Case) -> None:
    since = datetime(2026, 6, 1, tzinfo=UTC)
    stream = case.mapping.stream("customers", since=since)
    pages = list(case.connector.method("pull", "customers")(stream, None))  # type: ignore[misc]
    made = [row["created"] for page in pages for row in json.loads(page.body)["data"]]
    assert made
    assert min(made) >= since.timestamp()
    assert not any(page.complete for page in pages)


def test_after_the_lists_only_what_changed_is_read(fresh: Case) -> None:
    one, gone = ids(fresh.pulled["customers"])[:2]
    write(fresh, "POST", f"/v1/customers/{one}", name="Another Name")
    write(fresh, "POST", f"/v1/customers/{gone}", name="Soon gone")
    write(fresh, "DELETE", f"/v1/customers/{gone}")
    pages = list(fresh.pull("customers", last_cursor(fresh, "customers")))
    assert ids(pages) == [one]
    assert deleted(pages) == [gone]
    assert list(fresh.pull("customers", pages[-1].page.cursor)) == []


def test_what_changes_while_the_lists_are_read_is_not_missed(fresh: Case) -> None:
    write(fresh, "POST", "/v1/customers", name="First Event")
    pull = fresh.pull("customers")
    first = next(pull)
    one = ids([first])[0]
    write(fresh, "POST", f"/v1/customers/{one}", name="Changed Meanwhile")
    rest = list(pull)
    assert one in ids(rest)
    assert '"Changed Meanwhile"' in rest[-1].mapped.tables["customers"].rows[0].body.decode()


def test_many_events_come_oldest_first_and_each_page_can_be_resumed(fresh: Case) -> None:
    start = last_cursor(fresh, "customers")
    write(fresh, "POST", "/v1/customers", name="Anchor")
    anchor = list(fresh.pull("customers", start))[-1].page.cursor
    changed = ids(fresh.pulled["customers"])[:80]
    for n in range(3):
        for one in changed:
            fresh.connection.transport.request(
                "POST",
                f"https://api.stripe.com/v1/customers/{one}",
                data={"description": str(n)},
                headers={"Authorization": "Bearer sk_test_sandbox"},
            )
    pages = list(fresh.pull("customers", anchor))
    assert len(pages) == 3
    assert set(ids(pages)) == set(changed)
    assert list(fresh.pull("customers", pages[-1].page.cursor)) == []
    assert set(ids(list(fresh.pull("customers", pages[0].page.cursor)))) == set(changed)


def test_charges_refunds_and_disputes_lead_to_their_payment(fresh: Case) -> None:
    paid = whole_payment(fresh)
    cursors = {stream: last_cursor(fresh, stream) for stream in ("payment_intents", "refunds")}
    refund = write(fresh, "POST", "/v1/refunds", payment_intent=paid, amount="1")
    sandbox_of(fresh).state.dispute(paid)
    pages = list(fresh.pull("payment_intents", cursors["payment_intents"]))
    assert ids(pages) == [paid]
    body = json.loads(pages[0].mapped.tables["payment_intents"].rows[0].body)
    assert body["amount_refunded"]["amount"] >= 1
    assert [d["status"] for d in body["disputes"]] == ["needs_response"]
    assert refund["id"] in ids(list(fresh.pull("refunds", cursors["refunds"])))


def test_a_dispute_event_that_names_only_the_charge_is_followed(fresh: Case) -> None:
    paid = whole_payment(fresh)
    cursor = last_cursor(fresh, "payment_intents")
    sandbox_of(fresh).state.dispute(paid)
    sandbox_of(fresh).state.events[-1]["data"]["object"]["payment_intent"] = None  # as older API versions had it
    assert ids(list(fresh.pull("payment_intents", cursor))) == [paid]


def test_a_gap_longer_than_events_are_kept_reads_the_lists_again(fresh: Case) -> None:
    cursor = msgspec.json.decode(last_cursor(fresh, "customers"), type=Cursor)
    old = msgspec.structs.replace(cursor, seen=int(time.time()) - 31 * DAY_S)
    assert set(ids(list(fresh.pull("customers", str(old))))) == set(ids(fresh.pulled["customers"]))


def test_a_quiet_stream_does_not_read_its_lists_again(fresh: Case) -> None:
    now = int(time.time())
    one = ids(fresh.pulled["customers"])[0]
    quiet = Cursor(phase="events", event="evt_long_gone", made=now - 60 * DAY_S, seen=now - 3600)
    seen = asked(fresh)
    assert list(fresh.pull("customers", str(quiet))) == []
    write(fresh, "POST", f"/v1/customers/{one}", name="Awake")
    assert ids(list(fresh.pull("customers", str(quiet)))) == [one]
    assert not [r for r in seen if r.path == "/v1/customers"]


def test_a_cursor_does_not_look_stale_when_nothing_happens(fresh: Case) -> None:
    now = int(time.time())
    pages = list(fresh.pull("customers", str(Cursor(phase="events", seen=now - 2 * DAY_S))))
    assert len(pages) == 1
    assert msgspec.json.decode(pages[0].page.cursor or "", type=Cursor).seen == pytest.approx(now, abs=60)
    assert pages[0].mapped.read == 0


def test_an_event_that_stripe_does_not_know_any_more_loses_nothing(fresh: Case) -> None:
    one = ids(fresh.pulled["customers"])[0]
    write(fresh, "POST", f"/v1/customers/{one}", name="Kept In The Feed")
    now = int(time.time())
    lost = Cursor(phase="events", event="evt_unknown", made=now - 60, seen=now - 60)
    assert ids(list(fresh.pull("customers", str(lost)))) == [one]


def test_a_list_goes_on_when_the_object_it_stood_at_was_deleted(fresh: Case) -> None:
    first = next(fresh.pull("customers"))
    write(fresh, "DELETE", f"/v1/customers/{ids([first])[-1]}")
    pages = list(fresh.pull("customers", first.page.cursor))
    assert set(ids(pages)) == set(sandbox_of(fresh).state.kinds["customers"])


def test_a_cursor_of_another_version_begins_anew(case: Case) -> None:
    assert set(ids(list(case.pull("refunds", '{"v":2,"x":1}')))) == set(ids(case.pulled["refunds"]))


def test_a_full_pull_tells_what_was_deleted_before_it_began(fresh: Case) -> None:
    gone = next(iter(fresh.bodies("customer")))[1]
    write(fresh, "DELETE", f"/v1/customers/{gone}")
    pages = [pulled.page for pulled in fresh.pull("customers")]
    closing = next(page for page in pages if page.complete)
    assert list(closing.deleted) == [gone]
    assert [page for page in fresh.pull("refunds") if page.page.deleted] == []


def test_a_deleted_customer_is_told_as_deleted_by_fetch(fresh: Case) -> None:
    gone, one = ids(fresh.pulled["customers"])[:2]
    write(fresh, "DELETE", f"/v1/customers/{gone}")
    page = fresh.connector.method("fetch", "customers")(
        fresh.mapping.stream("customers"), [gone, one, "cus_never", one]
    )  # type: ignore[misc]
    assert list(page.deleted) == [gone, "cus_never"]
    assert len(page.records) == 1


def test_older_api_versions_give_the_same_unified_records(case: Case) -> None:
    for version in ("2020-08-27", "2024-06-20"):
        with case_for(StripeConnector, sandbox=case.sandbox, stripe_version=version) as old:
            for kind in ("customer", "refund"):
                assert old.bodies(kind) == case.bodies(kind)
            for key, body in old.bodies("subscription").items():
                assert body | {"discounts": []} == case.bodies("subscription")[key]
            for key, body in old.bodies("payment").items():
                new = case.bodies("payment")[key]
                differs = {name for name in new if body[name] != new[name]}
                assert differs <= {"order_ref", "failure"}, (version, key, differs)


def test_a_list_without_its_envelope_is_no_empty_page(fresh: Case) -> None:
    fresh.sandbox.list_ = lambda request: {"object": "list"}  # type: ignore[attr-defined]
    with pytest.raises(Temporary):
        list(fresh.pull("refunds"))


def test_check_tells_test_money_from_real_money(case: Case) -> None:
    assert case.connector.check().live is False
    assert case.connector.check().api_version == "2026-06-24.dahlia"


def test_check_goes_on_where_a_restricted_key_may_not_read_the_account(fresh: Case) -> None:
    from hub.sandbox import Response

    fresh.sandbox.account = lambda request: Response(  # type: ignore[attr-defined]
        {"error": {"type": "invalid_request_error", "message": "The provided key lacks a permission."}}, 403
    )
    checked = fresh.connector.check()
    assert checked.account.startswith("key:")
    assert "sandbox" not in checked.account
    assert checked.notes


def test_a_missing_permission_stops_a_pull(fresh: Case) -> None:
    fresh.sandbox.fault("GET /v1/events", "status:403", 5)
    with pytest.raises(Unauthorized, match="permission"):
        list(fresh.pull("customers"))


def test_describe_names_fields_and_the_vendors_words(case: Case) -> None:
    fields = {field.name: field for field in case.connector.describe("subscriptions")}
    assert {"active", "past_due", "unpaid"} <= set(fields["status"].values)
    assert fields["current_period_end"].type == "integer"
    for stream in case.mapping.streams():
        named = {field.name for field in case.connector.describe(stream)}
        used = {path.replace("[]", "").split(".")[0] for path in case.mapping.stream(stream).paths}
        assert used <= named, used - named
    assert check(case.mapping, fields={s: case.connector.describe(s) for s in case.mapping.streams()}) == []
    with pytest.raises(Invalid, match="charges"):
        case.connector.describe("charges")


def test_fetch_of_an_unknown_payment_is_deleted_not_an_error(case: Case) -> None:
    page = case.connector.method("fetch", "payment_intents")(case.mapping.stream("payment_intents"), ["pi_none"])  # type: ignore[misc]
    assert list(page.deleted) == ["pi_none"]


def test_loading_the_plugin_does_not_import_the_sdk(tmp_path: Path) -> None:
    code = "import sys, hub_stripe; hub_stripe.hub_connectors(); print('stripe' in sys.modules)"
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": paths})
    assert done.stdout.strip() == "False", done.stderr


def test_the_sdk_tells_nothing_of_this_machine(fresh: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    seen = asked(fresh)
    one = ids(fresh.pulled["customers"])[0]
    fresh.connector.client.sdk.v1.customers.update(one, {"name": "N"})  # type: ignore[attr-defined]
    sent = next(r for r in seen if r.method == "POST")
    assert sent.headers["user-agent"] == "Deskhub"
    assert not [name for name in sent.headers if name.startswith("x-stripe-client")]
    assert sent.headers["stripe-version"] == "2026-06-24.dahlia"
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_stream_page_is_not_found(case: Case) -> None:
    with pytest.raises(NotFound):
        case.connector.client.get("/v1/nothing")  # type: ignore[attr-defined]
