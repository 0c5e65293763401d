"""Webhooks of Stripe: whose signature is good, and what they name."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import Unauthorized, Unsupported
from hub.sandbox import World
from hub.testing import Case, case_for
from hub_stripe.connector import StripeConnector
from hub_stripe.events import TYPES, Event, changes
from hub_stripe.sandbox import StripeSandbox, signature
from hub_stripe.sandbox.hooks import Deliveries

SECRET = "whsec_sandbox"


@pytest.fixture
def case() -> Iterator[Case]:
    with case_for(StripeConnector, world=World(customers=20)) as made:
        yield made


@pytest.fixture
def fresh(case: Case) -> Case:
    return case


def sandbox_of(case: Case) -> StripeSandbox:
    assert isinstance(case.sandbox, StripeSandbox)
    return case.sandbox


def hook(case: Case, event: dict[str, Any], *, secret: str = SECRET, at: int | None = None) -> list[Any]:
    body = json.dumps(event).encode()
    return case.connector.receive(body, {"stripe-SIGNATURE": signature(body, secret, at)})  # type: ignore[attr-defined, no-any-return]


def test_a_webhook_names_what_changed(fresh: Case) -> None:
    state = sandbox_of(fresh).state
    paid = next(
        c["payment_intent"] for c in state.kinds["charges"].values() if c["captured"] and not c["amount_refunded"]
    )
    intent = state.get("payment_intents", paid)
    state.refund(intent, 1, reason=None, metadata={})
    state.delete_customer(intent["customer"])
    created, charged, gone = (hook(fresh, event) for event in state.events)
    assert [(c.stream, c.id) for c in created] == [("refunds", next(reversed(state.kinds["refunds"])))]
    assert [(c.stream, c.id) for c in charged] == [("payment_intents", paid)]
    assert [(c.stream, c.id, c.deleted) for c in gone] == [("customers", intent["customer"], True)]


def test_a_webhook_that_is_not_about_a_stream_names_nothing(case: Case) -> None:
    assert (
        hook(case, {"object": "event", "type": "payout.paid", "id": "evt_1", "created": 1, "data": {"object": {}}})
        == []
    )
    assert hook(case, {"object": "v2.core.event", "type": "customer.created", "id": "evt_1"}) == []


def test_a_webhook_with_a_wrong_old_or_missing_signature_is_refused(case: Case) -> None:
    event = {
        "object": "event",
        "type": "customer.updated",
        "id": "e",
        "created": 1,
        "data": {"object": {"id": "cus_1"}},
    }
    for wrong in ({"secret": "whsec_other"}, {"at": int(time.time()) - 301}):
        with pytest.raises(Unauthorized):
            hook(case, event, **wrong)  # type: ignore[arg-type]
    with pytest.raises(Unauthorized):
        case.connector.receive(json.dumps(event).encode(), {})  # type: ignore[attr-defined]
    with case_for(StripeConnector, sandbox=case.sandbox, webhook_secret=None) as bare, pytest.raises(Unsupported):
        hook(bare, event)


def test_the_sdk_agrees_with_the_sandboxs_signature() -> None:
    import stripe

    body = b'{"id":"evt_1","object":"event"}'
    made = stripe.WebhookSignature.generate_signature_header(body.decode(), SECRET, 1_700_000_000)
    assert signature(body, SECRET, 1_700_000_000) == made


IDS = st.one_of(
    st.none(), st.text("abc_1", min_size=1, max_size=8), st.dictionaries(st.sampled_from(["id", "x"]), st.text())
)
THINGS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(st.none(), st.text("abc_1", min_size=1, max_size=8)),
        "object": st.sampled_from(
            ["customer", "charge", "dispute", "refund", "payment_intent", "subscription", "card"]
        ),
        "payment_intent": IDS,
        "charge": IDS,
    },
)


@given(
    thing=THINGS,
    type=st.one_of(st.sampled_from(sorted({t for types in TYPES.values() for t in types})), st.text(max_size=20)),
    stream=st.sampled_from(sorted(TYPES)),
)
def test_an_event_names_only_ids_of_its_own_stream(thing: dict[str, Any], type: str, stream: str) -> None:
    import msgspec

    event = msgspec.convert({"id": "evt_1", "type": type, "created": 1, "data": {"object": thing}}, Event)
    for change in changes(stream, event) or ():
        assert change.stream == stream
        assert change.id
        assert type in TYPES[stream]
        assert change.deleted == (type == "customer.deleted")


def test_no_stream_asks_for_more_types_than_stripe_takes() -> None:
    assert max(len(types) for types in TYPES.values()) <= 20


def test_the_sandbox_posts_to_loopback_only() -> None:
    with pytest.raises(ValueError, match="loopback"):
        Deliveries(SECRET, url="https://elsewhere.example/hook").send([{"id": "evt_1"}])
