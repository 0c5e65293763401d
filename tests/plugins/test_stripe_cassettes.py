"""
The real SDK against recorded traffic, without any server.

The cassettes are recorded against the sandbox: `HUB_RECORD=1 pytest tests/plugins/test_stripe_cassettes.py`.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import vcr

from hub import Call, Conflict, CustomerUpdate, Found, Invalid, PaymentRefund, Target, Transport
from hub.mapping import CompiledMapping, compile_mapping, locate
from hub.sandbox import World
from hub_stripe import hub_converters
from hub_stripe.client import StripeConfig
from hub_stripe.connector import StripeConnector
from hub_stripe.sandbox import StripeSandbox

CASSETTES = Path(__file__).parents[2] / "cassettes/stripe"
RECORDING = bool(os.environ.get("HUB_RECORD"))


def _scrubbed(request: Any) -> Any:
    parts = urlsplit(request.uri)
    request.uri = f"https://api.stripe.com{parts.path}" + (f"?{parts.query}" if parts.query else "")
    kept = ("content-type", "idempotency-key", "stripe-version")
    request.headers = {k: v for k, v in request.headers.items() if k.lower() in kept}
    return request


def _plain(response: Any) -> Any:
    kept = ("content-type", "request-id", "stripe-version", "idempotent-replayed")
    response["headers"] = {k: v for k, v in response["headers"].items() if k.lower() in kept}
    return response


@contextlib.contextmanager
def taped(case: str) -> Iterator[StripeConnector]:
    """Open the connector on a cassette: replayed, or recorded anew from a fresh sandbox."""
    path = CASSETTES / f"{case}.yaml"
    tape = vcr.VCR(
        match_on=["method", "path", "query"],
        record_mode="all" if RECORDING else "none",
        before_record_request=_scrubbed,
        before_record_response=_plain,
    )
    with contextlib.ExitStack() as stack:
        url = "http://127.0.0.1:9"
        if RECORDING:
            path.unlink(missing_ok=True)
            sandbox = StripeSandbox(World(customers=4))
            sandbox.state.clock = lambda: 1_793_600_000
            url = stack.enter_context(sandbox).url
        cassette = stack.enter_context(tape.use_cassette(str(path)))
        transport = stack.enter_context(Transport("stripe", hosts=("api.stripe.com",), base_url=url))
        yield StripeConnector(StripeConfig.model_validate({"api_key": "sk_test_sandbox"}), transport)
        assert RECORDING or cassette.all_played, "some of the recorded requests were not made"


@pytest.fixture(scope="module")
def mapping() -> CompiledMapping:
    return compile_mapping(locate(StripeConnector), converters=hub_converters())


def pulled(connector: StripeConnector, mapping: CompiledMapping, stream: str) -> list[str]:
    pages = [mapping.map_page(stream, page) for page in connector.read(mapping.stream(stream), None)]
    assert not [reject for page in pages for table in page.tables.values() for reject in table.rejects]
    return [row.remote_id for page in pages for table in page.tables.values() for row in table.rows]


def test_check_and_every_stream_replay(mapping: CompiledMapping) -> None:
    with taped("pull") as connector:
        assert connector.check().live is False
        found = {stream: pulled(connector, mapping, stream) for stream in mapping.streams()}
    assert len(found["customers"]) == 4
    assert found["payment_intents"]
    assert all(one.startswith("pi_3") for one in found["payment_intents"])
    assert found["subscriptions"][0].startswith("sub_1")


def test_a_refund_its_replay_and_its_refusals_replay(mapping: CompiledMapping) -> None:
    sandbox = StripeSandbox(World(customers=4))  # not started: it only tells the ids that the world has
    one = next(i["id"] for i in sandbox.state.kinds["payment_intents"].values() if i["status"] == "succeeded")
    paid = sandbox.state.kinds["payment_intents"][one]
    target = Target("stripe", "payment_intents", "payment_intents", "payment", one, "pay_1")
    currency = paid["currency"].upper()

    def refund(key: str, amount: int) -> tuple[PaymentRefund, Call]:
        given = {"amount": {"amount": amount, "currency": currency}, "reason": "damaged", "payment_ref": one}
        made = PaymentRefund.model_validate(given)
        return made, Call(f"run_{key}", key, target, mapping.write("refund", made.changes()["refund"]))

    with taped("refund") as connector:
        first, again = connector.refund(*refund("hub-1", 100)), connector.refund(*refund("hub-1", 100))
        assert first.effects == again.effects
        assert isinstance(connector.find_refund(*refund("hub-1", 100)), Found)
        with pytest.raises(Conflict):
            connector.refund(*refund("hub-1", 200))
        with pytest.raises(Invalid) as caught:
            connector.refund(*refund("hub-2", paid["amount"]))
        assert caught.value.error_code == "amount_exceeds_refundable"


def test_a_customers_change_replays(mapping: CompiledMapping) -> None:
    one = next(iter(StripeSandbox(World(customers=4)).state.kinds["customers"]))
    target = Target("stripe", "customers", "customers", "customer", one, "cus_1")
    made = CustomerUpdate.model_validate({"customer_ref": one, "changes": {"display_name": "Grace Example"}})
    with taped("customer") as connector:
        call = Call("run_1", "hub-1", target, mapping.write("customer", made.changes()["customer"]))
        outcome = connector.update_customer(made, call)
    assert outcome.effects[0].after == {"name": "Grace Example"}


def test_cassettes_hold_no_key() -> None:
    for path in CASSETTES.glob("*.yaml"):
        text = path.read_text().lower()
        assert "bearer" not in text
        assert "authorization:" not in text
        assert "sk_test" not in text
        assert "127.0.0.1" not in text
