"""What the Stripe connector does to Stripe: refunds once, customers changed, every refusal told by its remedy."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from hub import (
    Absent,
    Call,
    Conflict,
    CustomerLookup,
    CustomerUpdate,
    Effect,
    Found,
    HubError,
    Invalid,
    NotFound,
    NotSent,
    PaymentRefund,
    RateLimited,
    Refused,
    Target,
    Temporary,
    Transport,
    Unauthorized,
    Unknown,
    Unsupported,
)
from hub.sandbox import World
from hub.testing import Case, case_for
from hub.transport import Captured, capturing
from hub_stripe.client import Fault, StripeConfig, translate, verdict
from hub_stripe.connector import StripeConnector


@pytest.fixture
def case() -> Iterator[Case]:
    with case_for(StripeConnector, world=World(customers=60)) as made:
        yield made


def payment(case: Case, **wanted: Any) -> dict[str, Any]:
    """Choose a payment; without wishes one of which nothing was refunded or disputed."""
    wanted = wanted or {"status": "succeeded", "disputed": False, "amount_refunded": 0}
    for body in case.bodies("payment").values():
        flat = body | {"amount_refunded": (body["amount_refunded"] or {"amount": 0})["amount"]}
        if all(flat.get(k) == v for k, v in wanted.items()):
            return body
    raise AssertionError(f"the world has no payment with {wanted}")


def refund(case: Case, paid: dict[str, Any], key: str = "hub-1", **given: Any) -> tuple[PaymentRefund, Call]:
    """Build a refund of 100 minor units, or of what is given."""
    amount = {"amount": {"amount": 100, "currency": paid["currency"]}}
    made = PaymentRefund.model_validate({"reason": "damaged", "payment_ref": paid["remote_id"], **amount, **given})
    target = Target("stripe", "payment_intents", "payment_intents", "payment", paid["remote_id"], "pay_x", paid)
    fields = case.mapping.write("refund", made.changes()["refund"])
    return made, Call(f"run_{key}", key, target, fields, {"refund": fields})


def do(case: Case, made: Any, call: Call) -> Any:
    method = case.connector.method("act", made.name)
    assert method is not None
    return method(made, call)


def refunds_of(case: Case, paid: dict[str, Any]) -> list[dict[str, Any]]:
    kept = case.sandbox.state.kinds["refunds"].values()  # type: ignore[attr-defined]
    return [one for one in kept if one["payment_intent"] == paid["remote_id"]]


def test_same_key_refunds_once(case: Case) -> None:
    paid = payment(case)
    outcomes = [do(case, *refund(case, paid)) for _ in range(3)]
    assert len({outcome.effects[0].remote_id for outcome in outcomes}) == 1
    assert len(refunds_of(case, paid)) == 1
    assert len(case.sandbox.effects("refund ")) == 1
    assert outcomes[0].touched == [("refunds", refunds_of(case, paid)[0]["id"]), ("payment_intents", paid["remote_id"])]


def test_a_refund_carries_the_run_the_note_and_the_true_reason(case: Case) -> None:
    paid = payment(case)
    do(case, *refund(case, paid, note="box was wet"))
    made = refunds_of(case, paid)[0]
    assert made["reason"] == "requested_by_customer"
    assert made["metadata"] == {"hub_reason": "damaged", "hub_run": "run_hub-1", "hub_note": "box was wet"}
    page = case.connector.method("fetch", "refunds")(case.mapping.stream("refunds"), [made["id"]])  # type: ignore[misc]
    read = case.mapping.map_page("refunds", page).tables["refunds"].rows[0].body.decode()
    assert '"reason":"damaged"' in read
    assert '"reason_note":"box was wet"' in read


@pytest.mark.parametrize("reason", ["requested_by_customer", "duplicate", "fraudulent"])
def test_reasons_that_stripe_knows_go_as_they_are(case: Case, reason: str) -> None:
    paid = payment(case)
    do(case, *refund(case, paid, reason=reason))
    assert refunds_of(case, paid)[0]["reason"] == reason


def test_without_an_amount_what_is_left_is_refunded(case: Case) -> None:
    paid = payment(case)
    do(case, *refund(case, paid))
    outcome = do(case, *refund(case, paid, key="hub-2", amount=None))
    assert outcome.effects[0].after["amount"] == paid["amount"]["amount"] - 100


def test_the_same_key_for_another_refund_is_a_conflict(case: Case) -> None:
    paid = payment(case)
    do(case, *refund(case, paid))
    with pytest.raises(Conflict) as caught:
        do(case, *refund(case, paid, amount={"amount": 200, "currency": paid["currency"]}))
    assert caught.value.error_code == "idempotency_conflict"
    assert len(refunds_of(case, paid)) == 1


def test_more_than_is_left_is_invalid_and_said_so(case: Case) -> None:
    paid = payment(case)
    with pytest.raises(Invalid) as caught:
        do(case, *refund(case, paid, amount={"amount": paid["amount"]["amount"] + 1, "currency": paid["currency"]}))
    assert caught.value.error_code == "amount_exceeds_refundable"
    assert refunds_of(case, paid) == []


def test_what_was_refunded_whole_is_a_conflict(case: Case) -> None:
    paid = payment(case)
    do(case, *refund(case, paid, amount=None))
    with pytest.raises(Conflict) as caught:
        do(case, *refund(case, paid, key="hub-2"))
    assert caught.value.error_code == "charge_already_refunded"


def test_a_disputed_payment_is_not_refunded(case: Case) -> None:
    paid = payment(case)
    case.sandbox.state.dispute(paid["remote_id"])  # type: ignore[attr-defined]
    with pytest.raises(Refused) as caught:
        do(case, *refund(case, paid))
    assert caught.value.error_code == "charge_disputed"


def test_an_unknown_payment_is_not_found(case: Case) -> None:
    paid = payment(case) | {"remote_id": "pi_3Unknown"}
    with pytest.raises(NotFound):
        do(case, *refund(case, paid))


def test_a_payment_without_a_captured_charge_is_invalid(case: Case) -> None:
    with pytest.raises(Invalid):
        do(case, *refund(case, payment(case, status="authorized")))


@pytest.mark.parametrize("odd", ["ch_3Charge", "../refunds", "pi_1/../x", "https://elsewhere.example/pi_1", ""])
def test_a_target_that_is_no_payment_intent_never_leaves(case: Case, odd: str) -> None:
    made, call = refund(case, payment(case))
    assert call.target is not None
    before = len(case.sandbox.ledger)
    with pytest.raises(Invalid):
        do(case, made, dataclasses.replace(call, target=dataclasses.replace(call.target, remote_id=odd)))
    assert len(case.sandbox.ledger) == before


def test_another_currency_than_the_payments_never_leaves(case: Case) -> None:
    paid = payment(case)
    other = "CHF"
    with pytest.raises(Invalid) as caught:
        do(case, *refund(case, paid, amount={"amount": 100, "currency": other}))
    assert caught.value.error_code == "currency_mismatch"
    assert case.sandbox.ledger == []


@pytest.mark.parametrize("currency", ["ISK", "MGA", "UGX"])
def test_currencies_whose_minor_units_differ_at_stripe_are_refused(case: Case, currency: str) -> None:
    paid = payment(case) | {"currency": currency}
    with pytest.raises(Unsupported):
        do(case, *refund(case, paid))
    assert case.sandbox.ledger == []


def test_a_lost_answer_is_unknown_and_found_afterwards(case: Case) -> None:
    paid = payment(case)
    made, call = refund(case, paid)
    case.sandbox.fault("POST /v1/refunds", "drop_after")
    with pytest.raises(Unknown):
        do(case, made, call)
    found = case.connector.find_refund(made, call)  # type: ignore[attr-defined]
    assert isinstance(found, Found)
    assert found.outcome.effects[0].remote_id == refunds_of(case, paid)[0]["id"]
    again = do(case, made, call)
    assert again.effects[0].remote_id == found.outcome.effects[0].remote_id
    assert len(refunds_of(case, paid)) == 1


def test_a_request_lost_before_it_worked_is_unknown_and_absent(case: Case) -> None:
    made, call = refund(case, payment(case))
    case.sandbox.fault("POST /v1/refunds", "drop_before")
    with pytest.raises(Unknown):
        do(case, made, call)
    assert isinstance(case.connector.find_refund(made, call), Absent)  # type: ignore[attr-defined]


def test_the_runs_refund_is_found_among_many(case: Case) -> None:
    paid = max(
        case.bodies("payment").values(), key=lambda b: b["amount"]["amount"] if b["status"] == "succeeded" else 0
    )
    state = case.sandbox.state  # type: ignore[attr-defined]
    intent = state.get("payment_intents", paid["remote_id"])
    made, call = refund(case, paid)
    wanted = state.refund(intent, 1, reason=None, metadata={"hub_run": call.run_id})
    wanted["created"] -= 1
    for _ in range(130):
        state.refund(intent, 1, reason=None, metadata={"hub_run": "run_other"})
    found = case.connector.find_refund(made, call)  # type: ignore[attr-defined]
    assert isinstance(found, Found)
    assert found.outcome.effects[0].remote_id == wanted["id"]


def test_a_server_error_to_a_write_is_unknown_and_comes_again_with_the_key(case: Case) -> None:
    made, call = refund(case, payment(case))
    case.sandbox.fault("POST /v1/refunds", "status:500")
    for _ in range(2):
        with pytest.raises(Unknown):
            do(case, made, call)
    assert case.sandbox.effects() == []
    assert do(case, made, dataclasses.replace(call, key="hub-anew")).effects


def test_a_rate_limited_write_was_not_done(case: Case) -> None:
    made, call = refund(case, payment(case))
    case.sandbox.fault("POST /v1/refunds", "status:429")
    with pytest.raises(RateLimited):
        do(case, made, call)
    assert do(case, made, call).effects
    assert len(case.sandbox.effects()) == 1


def test_a_vendor_that_forgets_keys_is_noticed_by_the_ledger(case: Case) -> None:
    made, call = refund(case, payment(case))
    do(case, made, call)
    case.sandbox.fault("POST /v1/refunds", "ignore_keys")
    do(case, made, call)
    assert len(case.sandbox.effects("refund ")) == 2


def test_an_unreachable_vendor_is_not_sent() -> None:
    with case_for(StripeConnector, world=World(customers=3), base_url="http://127.0.0.1:9") as case:
        client = case.connector.client  # type: ignore[attr-defined]
        with pytest.raises(NotSent), client.writing("POST /v1/refunds"):
            client.sdk.v1.refunds.create({"payment_intent": "pi_1"})
        case.connection.transport.sleep = lambda s: None
        with pytest.raises(NotSent):
            client.get("/v1/account")


def test_wrong_credentials_of_a_write_are_unauthorized(case: Case) -> None:
    made, call = refund(case, payment(case))
    with case_for(StripeConnector, sandbox=case.sandbox, api_key="sk_test_wrong") as wrong, pytest.raises(Unauthorized):
        do(wrong, made, call)


def test_the_hubs_own_refusal_comes_through_the_sdk(case: Case) -> None:
    foreign = Transport("own", hosts=("elsewhere.example",), base_url=case.sandbox.url)
    connector = StripeConnector(StripeConfig.model_validate({"api_key": "sk_test_sandbox"}), foreign)
    with pytest.raises(Invalid) as caught:
        connector.refund(*refund(case, payment(case)))
    assert caught.value.error_code == "foreign_host"
    assert case.sandbox.ledger == []


def test_a_preview_shows_the_exact_request_and_sends_nothing(case: Case) -> None:
    made, call = refund(case, payment(case))
    with pytest.raises(Captured) as caught, capturing():
        do(case, made, call)
    request = caught.value.request
    assert request["method"] == "POST"
    assert request["url"] == "https://api.stripe.com/v1/refunds"
    assert request["body"]["metadata[hub_run]"] == call.run_id
    assert {k.lower() for k in request["headers"]} >= {"idempotency-key", "stripe-version"}
    assert "sk_test" not in str(request)
    assert case.sandbox.ledger == []


def update(case: Case, fields: dict[str, Any], one: str | None = None) -> tuple[CustomerUpdate, Call]:
    made = CustomerUpdate.model_validate({"customer_ref": "cus_x", "changes": {"display_name": "unused"}})
    one = one or next(key[1] for key in case.bodies("customer"))
    target = Target("stripe", "customers", "customers", "customer", one, "cus_x")
    return made, Call("run_1", "hub-1", target, fields, {"customer": fields})


def test_a_customers_change_tells_before_and_after(case: Case) -> None:
    made, call = update(case, case.mapping.write("customer", {"display_name": "Grace Example", "language": "fr"}))
    assert call.target is not None
    stored = case.sandbox.state.get("customers", call.target.remote_id)  # type: ignore[attr-defined]
    before = {"name": stored["name"], "preferred_locales": stored["preferred_locales"]}
    outcome = do(case, made, call)
    after = {"name": "Grace Example", "preferred_locales": ["fr"]}
    assert outcome.effects == [Effect("customer", call.target.remote_id, "update", before, after)]
    assert outcome.touched == [("customers", call.target.remote_id)]


def test_only_what_changes_is_sent_and_null_unsets(case: Case) -> None:
    made, call = update(case, {"description": None, "metadata": {"hub_customer_id": None, "tier": "gold"}})
    assert call.target is not None
    with pytest.raises(Captured) as caught, capturing():
        do(case, made, call)
    assert caught.value.request["body"] == {
        "description": "",
        "metadata[hub_customer_id]": "",
        "metadata[tier]": "gold",
    }
    do(case, made, call)
    stored = case.sandbox.state.get("customers", call.target.remote_id)  # type: ignore[attr-defined]
    assert stored["description"] is None
    assert stored["metadata"] == {"tier": "gold"}


def test_a_customers_change_whose_answer_was_lost_is_found_or_surely_absent(case: Case) -> None:
    fields = {"name": "Grace Example", "preferred_locales": "fr", "description": None, "metadata": {"tier": 3}}
    made, call = update(case, fields)
    find = case.connector.method("find", made.name)
    assert find is not None
    case.sandbox.fault("POST /v1/customers", "status:500")
    with pytest.raises(Unknown):
        do(case, made, call)
    assert isinstance(find(made, call), Absent)
    anew = dataclasses.replace(call, key="hub-anew")
    case.sandbox.fault("POST /v1/customers", "drop_after")
    with pytest.raises(Unknown):
        do(case, made, anew)
    found = find(made, anew)
    assert isinstance(found, Found)
    assert found.outcome.effects[0].after == {**fields, "preferred_locales": ["fr"], "metadata": {"tier": "3"}}


def test_a_deleted_customer_cannot_be_changed(case: Case) -> None:
    one = next(key[1] for key in case.bodies("customer"))
    case.sandbox.state.delete_customer(one)  # type: ignore[attr-defined]
    with pytest.raises(NotFound):
        do(case, *update(case, {"name": "X"}, one))
    with pytest.raises(Invalid):
        do(case, *update(case, {}))


@pytest.mark.parametrize("by", ["email", "phone", "external_ref"])
def test_customers_are_looked_up(case: Case, by: str) -> None:
    person = next(p for p in case.sandbox.world.people if "stripe" in p.systems and p.n % 2 == 1)
    wanted = {"email": person.email, "phone": person.phone, "external_ref": person.number}[by]
    action = CustomerLookup.model_validate({by: wanted})
    outcome = do(case, action, Call("run_1", "hub-1"))
    assert len(outcome.answer) == (2 if person.twice_in_stripe and by == "email" else 1)
    assert outcome.touched == [("customers", one["remote_id"]) for one in outcome.answer]


def test_a_lookup_cannot_be_talked_into_another_question(case: Case) -> None:
    asked = "' OR name~'a"
    assert do(case, CustomerLookup(phone=asked), Call("run_1", "hub-1")).answer == []
    assert do(case, CustomerLookup(external_ref="\\' OR 1"), Call("run_1", "hub-1")).answer == []
    with pytest.raises(Unsupported):
        do(case, CustomerLookup(order_number="SO-1"), Call("run_1", "hub-1"))


ANSWERS = [
    (Fault(400, "invalid_request_error", "resource_missing", "payment_intent"), NotFound, NotFound),
    (Fault(404, "invalid_request_error"), NotFound, NotFound),
    (Fault(400, "invalid_request_error", "charge_already_refunded"), Conflict, Conflict),
    (Fault(400, "invalid_request_error", "amount_too_large", "amount"), Invalid, Invalid),
    (Fault(400, "invalid_request_error", "charge_disputed"), Refused, Refused),
    (Fault(400, "invalid_request_error", "charge_not_refundable"), Refused, Refused),
    (Fault(400, "invalid_request_error", "parameter_unknown", "x"), Invalid, Invalid),
    (Fault(400, "idempotency_error"), Conflict, Conflict),
    (Fault(409, "idempotency_error", "idempotency_key_in_use"), Unknown, Unknown),
    (Fault(409, "invalid_request_error"), Conflict, Conflict),
    (Fault(402, "card_error", "card_declined"), Invalid, Invalid),
    (Fault(401, "invalid_request_error"), Unauthorized, Unauthorized),
    (Fault(403, "invalid_request_error"), Unauthorized, Unauthorized),
    (Fault(429, "invalid_request_error", "rate_limit"), RateLimited, RateLimited),
    (Fault(429, "invalid_request_error", "lock_timeout"), Temporary, Temporary),
    (Fault(500, "api_error"), Unknown, Temporary),
    (Fault(503, ""), Unknown, Temporary),
    (Fault(200, ""), Unknown, Temporary),
]


@pytest.mark.parametrize(
    ("fault", "written", "read"), ANSWERS, ids=lambda x: x.code or str(x.status) if isinstance(x, Fault) else ""
)
def test_every_refusal_is_told_by_its_remedy(fault: Fault, written: type[HubError], read: type[HubError]) -> None:
    assert type(verdict(fault, what="POST /v1/refunds", write=True)) is written
    assert type(verdict(fault, what="GET /v1/refunds", write=False)) is read


def test_messages_never_repeat_what_stripe_says() -> None:
    fault = Fault(400, "invalid_request_error", "x_code", "email", "Invalid email address: grace@mail.example.com")
    assert "grace" not in verdict(fault, what="POST /v1/customers/{id}", write=True).message


def test_a_timeout_of_a_read_is_temporary_and_of_a_write_unknown() -> None:
    lost = requests.ReadTimeout("read timed out")
    lost.hub_sent = True  # type: ignore[attr-defined]
    assert type(translate(lost, what="GET /v1/events")) is Temporary
    assert type(translate(lost, what="POST /v1/refunds", write=True)) is Unknown


def test_a_proxys_html_in_answer_to_a_write_is_unknown(case: Case) -> None:
    from hub.sandbox import Response

    case.sandbox.refund = lambda request: Response(b"<html>all is well</html>")  # type: ignore[attr-defined]
    with pytest.raises(Unknown) as caught:
        do(case, *refund(case, payment(case)))
    assert not re.search("html", caught.value.message)
