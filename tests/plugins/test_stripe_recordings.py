"""The Stripe connector and its mapping on what was really recorded; skips where ../shared is absent."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hub import CustomerUpdate, PaymentRefund, Transport
from hub.mapping import CompiledMapping, compile_mapping, locate, preview
from hub.sandbox import Request, World
from hub.testing import case_for
from hub_stripe import hub_converters
from hub_stripe.client import StripeConfig
from hub_stripe.connector import StripeConnector

STREAMS = {
    "customer": "customers",
    "payment_intent": "payment_intents",
    "refund": "refunds",
    "subscription": "subscriptions",
}


@pytest.fixture(scope="module")
def mapping() -> CompiledMapping:
    return compile_mapping(locate(StripeConnector), converters=hub_converters())


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Find every object of a mapped stream, however deep."""
    if isinstance(value, list):
        for item in value:
            yield from objects(item)
    elif isinstance(value, dict):
        if isinstance(value.get("object"), str) and value["object"] in STREAMS and isinstance(value.get("id"), str):
            yield value
        for item in value.values():
            yield from objects(item)


def recorded(shared: Path, *files: str) -> Iterator[dict[str, Any]]:
    for name in files:
        for line in (shared / "recordings" / name).read_text("utf8").splitlines():
            yield from objects(json.loads(line)["body"])


@contextlib.contextmanager
def replayed(shared: Path) -> Iterator[str]:
    """Serve the recordings over loopback."""
    command = [sys.executable, str(shared / "tools/replay.py"), str(shared / "recordings/stripe-pay.jsonl"), "--lists"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def test_a_pull_of_the_replayed_recordings_reads_every_object(shared: Path, mapping: CompiledMapping) -> None:
    config = StripeConfig.model_validate({"api_key": "sk_test_recorded"})
    with replayed(shared) as url, Transport("r", hosts=("api.stripe.com",), base_url=url) as transport:
        connector = StripeConnector(config, transport)
        assert connector.check().account == "acct_recorded"
        served = transport.get("https://api.stripe.com/_replay/objects").json()
        for noun, stream in STREAMS.items():
            method = connector.method("pull", stream)
            assert method is not None
            pages = [mapping.map_page(stream, page) for page in method(mapping.stream(stream), None)]
            assert sum(page.read for page in pages) == served[noun] > 0
            assert [reject for page in pages for table in page.tables.values() for reject in table.rejects] == []
        assert transport.get("https://api.stripe.com/_replay/misses").json() == []


def test_every_recorded_object_is_mapped_or_deleted(shared: Path, mapping: CompiledMapping) -> None:
    found = list(recorded(shared, "stripe-pay.jsonl", "stripe-webhook-events.jsonl"))
    fixtures = json.loads((shared / "specs/stripe-fixtures-2026-07.json").read_text())["resources"]
    found += [one for noun in (*STREAMS, "deleted_customer") for one in objects(fixtures[noun])]
    assert len(found) > 400
    for noun, stream in STREAMS.items():
        raws = [json.dumps(one).encode() for one in found if one["object"] == noun]
        entries = preview(mapping, stream, raws)
        bad = [entry for entry in entries if not entry["ok"]]
        assert len(entries) == len(raws)
        assert not bad, bad[0]


# Written down by hand from the raw bodies: ids, amounts, words and times, nothing about people.
BY_HAND: dict[tuple[str, str], dict[str, Any]] = {
    ("payment_intent", "pi_1IeOJrKXBGcbgpbZmmMlXiCE"): {  # charges inside (2020-08-27)
        "charge_id": "ch_1IeOJrKXBGcbgpbZNcfvGI99",
        "customer_ref": {"table": "customers", "remote_id": "cus_JGwCTJz8UjwDQ6"},
        "amount": {"amount": 25000, "currency": "USD"},
        "amount_captured": {"amount": 25000, "currency": "USD"},
        "amount_refunded": {"amount": 0, "currency": "USD"},
        "currency": "USD",
        "status": "succeeded",
        "status_raw": "succeeded",
        "disputed": False,
        "statement_descriptor": "PAY RAILS",
        "risk": {"level": "normal", "score": 19},
        "failure": None,
        "order_ref": None,
        "created_at": "2021-04-09T17:40:35Z",
        "method": {
            "type": "card",
            "brand": "visa",
            "last4": "4242",
            "exp_month": 4,
            "exp_year": 2022,
            "wallet": None,
        },
    },
    ("payment_intent", "pi_3TGnFMKXBGcbgpbZ1QIugONj"): {  # waits for the customer (2026-03-25.dahlia)
        "charge_id": None,
        "status": "requires_action",
        "amount": {"amount": 2900, "currency": "USD"},
        "amount_captured": {"amount": 0, "currency": "USD"},
        "amount_refunded": None,
        "disputed": None,
        "created_at": "2026-03-30T21:21:20Z",
    },
    ("refund", "re_3SRzqkKXBGcbgpbZ1Ri48Fy5"): {
        "payment_ref": {"table": "payment_intents", "remote_id": "pi_3SRzqkKXBGcbgpbZ1P6QNbvc"},
        "amount": {"amount": 1000, "currency": "USD"},
        "status": "succeeded",
        "reason": None,
        "destination": "original",
        "destination_raw": "card",
        "arrived_hint": "pending",
        "created_at": "2025-11-10T18:29:59Z",
    },
    ("refund", "re_3SRzqkKXBGcbgpbZ1xXQfncF"): {
        "amount": {"amount": 500, "currency": "USD"},
        "created_at": "2025-11-10T18:30:00Z",
    },
    ("subscription", "sub_JGwCm9P8YH7raV"): {  # periods on the subscription (2020-08-27)
        "customer_ref": {"table": "customers", "remote_id": "cus_JGwCTJz8UjwDQ6"},
        "name": "Small Monthly",
        "status": "active",
        "currency": "USD",
        "current_period_start": "2021-04-09T17:40:35Z",
        "current_period_end": "2021-05-09T17:40:35Z",
        "next_billing_at": "2021-05-09T17:40:35Z",
        "collection": "charge_automatically",
        "items": [
            {
                "remote_id": "si_JGwCkABxl7Er2H",
                "price_ref": "small-monthly",
                "product_ref": "prod_EYTX7RYhRjcwKD",
                "name": "Small Monthly",
                "quantity": "10",
                "unit_amount": {"amount": 2500, "currency": "USD"},
                "interval": "month",
                "interval_count": 1,
                "period_start": "2021-04-09T17:40:35Z",
                "period_end": "2021-05-09T17:40:35Z",
            }
        ],
    },
    (
        "subscription",
        "sub_1SOMr4KXBGcbgpbZnKDfiVUj",
    ): {  # periods on the item (2025-10-29.clover), canceled in its trial
        "status": "canceled",
        "canceled_at": "2025-10-31T18:15:20Z",
        "ended_at": "2025-10-31T18:15:20Z",
        "current_period_start": "2025-10-31T18:15:18Z",
        "current_period_end": "2025-11-14T18:15:18Z",
        "next_billing_at": None,
        "cancellation": {"reason": "cancellation_requested", "feedback": None, "comment": None},
        "discounts": [],
    },
    ("subscription", "sub_1TGnFJKXBGcbgpbZqZC2HAM0"): {
        "status": "trialing",
        "trial_end": "2026-04-14T21:21:17Z",
        "started_at": "2026-03-30T21:21:17Z",
        "last_payment_status": "paid",
    },
    ("subscription", "sub_1SRzqaKXBGcbgpbZayOL8079"): {  # collection paused while active
        "status": "paused",
        "status_raw": "active",
        "pause": {"behavior": "void", "resumes_at": "2025-12-10T18:29:47Z"},
        "next_billing_at": None,
    },
    ("subscription", "sub_JGwG3QcNFy8PWy"): {"discounts": ["di_1IeONhKXBGcbgpbZYGeu5hhm"], "status": "active"},
    ("subscription", "sub_1SRzoCKXBGcbgpbZDYbXPugg"): {"discounts": ["di_1SRzoCKXBGcbgpbZFvreiDjk"]},
    ("subscription", "sub_JGwHsv5GcPsajD"): {"status": "incomplete", "current_period_end": "2021-05-09T17:45:36Z"},
    ("customer", "cus_UFHxZJzXeBmqOm"): {  # never charged: no currency, so a balance in none
        "status": "active",
        "billing_balance": None,
        "billing_delinquent": False,
        "created_at": "2026-03-30T21:29:38Z",
        "default_address": None,
    },
    ("customer", "cus_JGwCG7FBZW1VKX"): {"created_at": "2021-04-09T17:40:33Z", "display_name": None, "phone": None},
}


def test_values_written_down_by_hand_are_what_the_mapping_gives(shared: Path, mapping: CompiledMapping) -> None:
    wanted = dict(BY_HAND)
    assert sum(len(fields) for fields in wanted.values()) >= 30
    for one in recorded(shared, "stripe-pay.jsonl"):
        fields = wanted.get((one["object"], one["id"]), {})
        if not fields or (one["object"] == "subscription" and not _as_written(one)):
            continue
        data = preview(mapping, STREAMS[one["object"]], [one])[0]["data"]
        assert {name: data[name] for name in fields} == fields, one["id"]
        del wanted[one["object"], one["id"]]
    assert not wanted, f"not found in the recordings: {list(wanted)}"


def _as_written(one: dict[str, Any]) -> bool:
    """Take the one of several recorded states of a subscription that the values were taken from."""
    states = {
        "sub_1SOMr4KXBGcbgpbZnKDfiVUj": one["status"] == "canceled",
        "sub_1SRzqaKXBGcbgpbZayOL8079": one.get("pause_collection") is not None,
        "sub_JGwG3QcNFy8PWy": bool(one.get("discount")),
        "sub_1SRzoCKXBGcbgpbZDYbXPugg": any(isinstance(d, dict) for d in one.get("discounts") or []),
        "sub_1TGnFJKXBGcbgpbZqZC2HAM0": isinstance(one["latest_invoice"], dict),
    }
    return states.get(one["id"], True)


def test_recorded_errors_are_told_by_their_remedy(shared: Path) -> None:
    from hub import Invalid, NotFound, Unauthorized
    from hub_stripe.client import fault_of, verdict

    seen = set()
    for line in (shared / "recordings/stripe-pay.jsonl").read_text("utf8").splitlines():
        exchange = json.loads(line)
        if exchange["status"] < 400:
            continue
        fault = fault_of(exchange["status"], json.dumps(exchange["body"]).encode(), exchange["headers"])
        error = verdict(fault, what="GET /v1/x", write=exchange["method"] == "POST")
        wanted = {401: Unauthorized, 404: NotFound, 402: Invalid}.get(exchange["status"], Invalid)
        assert isinstance(error, NotFound if fault.code == "resource_missing" else wanted)
        seen.add(type(error))
    assert seen == {Unauthorized, NotFound, Invalid}


def test_every_parameter_that_is_sent_is_in_stripes_specification(shared: Path) -> None:
    paths = json.loads((shared / "specs/stripe-requests-2023-08.json").read_text())["paths"]
    with case_for(StripeConnector, world=World(customers=30)) as case:
        sent: list[Request] = []
        normal = case.sandbox.answer

        def answer(request: Request) -> Any:
            sent.append(request)
            return normal(request)

        case.sandbox.answer = answer  # type: ignore[method-assign]
        since = datetime(2026, 1, 1, tzinfo=UTC)
        for stream in case.mapping.streams():
            list(case.connector.method("pull", stream)(case.mapping.stream(stream, since=since), None))  # type: ignore[misc]
        for action in (PaymentRefund, CustomerUpdate):
            case.connector.method("act", action.name)(*case.call(action, key=f"hub-{action.name}"))  # type: ignore[misc]
    checked = set()
    for request in sent:
        path = re.sub(r"/v1/customers/cus_\w+", "/v1/customers/{customer}", request.path)
        if path in paths:
            known = _known(paths[path][request.method.lower()])
            names = {*request.query, *(request.form() if request.method == "POST" else ())}
            assert {name.partition("[")[0] for name in names} <= known, path
            checked.add((request.method, path))
    assert {("POST", "/v1/refunds"), ("POST", "/v1/customers/{customer}"), ("GET", "/v1/events")} <= checked
    status = next(p for p in paths["/v1/subscriptions"]["get"]["parameters"] if p["name"] == "status")
    assert "ended" in status["schema"]["enum"]


def _known(operation: dict[str, Any]) -> set[str]:
    content = operation.get("requestBody", {}).get("content", {})
    body = {name for form in content.values() for name in form["schema"].get("properties", {})}
    return {parameter["name"] for parameter in operation.get("parameters", [])} | body


def item(quantity: Any = 1, unit: Any = 1000, interval: str = "month", **price: Any) -> dict[str, Any]:
    recurring = {"interval": interval, "interval_count": 1, "usage_type": "licensed"}
    own = {"id": "price_1", "currency": "eur", "unit_amount": unit, "recurring": recurring} | price
    return {"id": "si_1", "quantity": quantity, "price": own, "current_period_end": 1_800_000_000}


@pytest.mark.parametrize(
    ("items", "amount"),
    [
        ([item(3)], 3000),
        ([item(2), item(1, 550)], 2550),
        ([{"quantity": 2, "plan": {"amount": 700, "interval": "month", "currency": "eur"}}], 1400),
        ([item(), item(interval="year")], None),
        ([item(), item(currency="usd")], None),
        ([item(unit=None, unit_amount_decimal="0.5")], None),
        ([item(None)], None),
        ([item(recurring={"interval": "month", "usage_type": "metered"})], None),
        ([item(transform_quantity={"divide_by": 10, "round": "up"})], None),
        ([item(), None], None),
        ([], None),
    ],
)
def test_the_amount_of_a_period_is_told_where_it_is_one_sum(
    mapping: CompiledMapping, items: list[Any], amount: int | None
) -> None:
    raw = {"id": "sub_1", "status": "active", "currency": "eur", "items": {"object": "list", "data": items}}
    (made,) = mapping.map_record("subscriptions", raw).made
    assert made.data is not None
    assert made.data["amount_per_period"] == (None if amount is None else {"amount": amount, "currency": "EUR"})


@pytest.mark.parametrize(
    ("changed", "at"),
    [
        ({}, "2027-01-15T08:00:00Z"),
        ({"cancel_at": 1_800_000_001}, "2027-01-15T08:00:00Z"),
        ({"cancel_at": 1_800_000_000}, None),
        ({"cancel_at_period_end": True}, None),
        ({"current_period_end": 1_700_000_000}, "2023-11-14T22:13:20Z"),
        ({"status": "canceled"}, None),
        ({"pause_collection": {"behavior": "void"}}, None),
        ({"items": None}, None),
    ],
)
def test_the_next_billing_is_the_end_of_the_period_unless_it_is_canceled_by_then(
    mapping: CompiledMapping, changed: dict[str, Any], at: str | None
) -> None:
    raw = {"id": "sub_1", "status": "active", "items": {"data": [item()]}, "cancel_at_period_end": False} | changed
    (made,) = mapping.map_record("subscriptions", raw).made
    assert made.data is not None
    assert made.data["next_billing_at"] == at


@pytest.mark.parametrize(
    ("currency", "amount", "minor"),
    [("isk", 500, 5), ("UGX", 1200, 12), ("jpy", 500, 500), ("eur", 505, 505), ("kwd", 1230, 1230)],
)
def test_amounts_are_in_the_minor_units_of_iso_4217(
    mapping: CompiledMapping, currency: str, amount: int, minor: int
) -> None:
    money = {"amount": minor, "currency": currency.upper()}
    charge = {"id": "ch_1", "amount_captured": amount, "amount_refunded": 0}
    dispute = {"id": "du_1", "amount": amount, "currency": currency, "status": "lost"}
    payment = {"id": "pi_1", "amount": amount, "currency": currency, "latest_charge": charge}
    (made,) = mapping.map_record("payment_intents", payment | {"disputes": {"data": [dispute]}}).made
    assert made.data is not None
    assert made.data["amount"] == made.data["amount_captured"] == made.data["disputes"][0]["amount"] == money
    assert made.data["amount_refunded"] == {"amount": 0, "currency": currency.upper()}
    (made,) = mapping.map_record("refunds", {"id": "re_1", "amount": amount, "currency": currency}).made
    assert made.data is not None
    assert made.data["amount"] == money
    (made,) = mapping.map_record("customers", {"id": "cus_1", "balance": -amount, "currency": currency}).made
    assert made.data is not None
    assert made.data["billing_balance"] == money | {"amount": -minor}
    raw = {"id": "sub_1", "currency": currency, "items": {"data": [item(2, amount, currency=currency)]}}
    (made,) = mapping.map_record("subscriptions", raw).made
    assert made.data is not None
    assert made.data["items"][0]["unit_amount"] == money
    assert made.data["amount_per_period"] == money | {"amount": 2 * minor}


def test_a_part_of_a_unit_that_cannot_be_is_rejected(mapping: CompiledMapping) -> None:
    (made,) = mapping.map_record("refunds", {"id": "re_1", "amount": 550, "currency": "isk"}).made
    assert made.reject is not None
    assert (made.reject.field, "whole hundreds" in made.reject.reason) == ("amount", True)
