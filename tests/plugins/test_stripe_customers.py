"""Customers made and changed at Stripe, and reserved money released: once each, and looked up after a lost answer."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from hub import Absent, Call, CannotTell, Conflict, Found, Target, Unknown
from hub.actions import (
    Action,
    CreditGrant,
    CreditTakeBack,
    CustomerChangeEmail,
    CustomerCreate,
    CustomerUpdateAddress,
    PaymentVoidAuthorization,
    SubscriptionCancel,
)
from hub.perform.words import words_for
from hub.sandbox import World
from hub.testing import Case, case_for
from hub_stripe.connector import StripeConnector

HOME = {"line1": "Neue Str. 5", "city": "Berlin", "postal_code": "10117", "country_code": "DE"}


@pytest.fixture
def case() -> Iterator[Case]:
    with case_for(StripeConnector, world=World(customers=40)) as made:
        yield made


def prepared(case: Case, action: Action, target: Target | None, key: str = "hub-run_1") -> tuple[Action, Call]:
    """Build a call as the hub does."""
    words = words_for(case.connection, action, target, lenient=True)
    return action, Call("run_1", key, target, words.fields, words.parts, action.model_dump(mode="json", by_alias=True))


def do(case: Case, made: Action, call: Call, role: str = "act") -> Any:
    method = case.connector.method(role, made.name)
    assert method is not None
    return method(made, call)


def customer(case: Case) -> Target:
    return case.target("customer")


def stored(case: Case, target: Target) -> dict[str, Any]:
    found: dict[str, Any] = case.sandbox.state.kinds["customers"][target.remote_id]  # type: ignore[attr-defined]
    return found


def new(case: Case, **given: Any) -> tuple[Action, Call]:
    asked = {"name": "Grace Example", "email": "grace@made.example.com", "external_ref": "C-900", "address": HOME}
    return prepared(case, CustomerCreate.model_validate({**asked, **given}), None)


def test_a_customer_is_made_once_under_its_key(case: Case) -> None:
    made, call = new(case, address=None)
    outcome = do(case, made, call)
    assert do(case, made, call).effects[0].remote_id == outcome.effects[0].remote_id
    body = case.sandbox.state.kinds["customers"][outcome.effects[0].remote_id]  # type: ignore[attr-defined]
    assert (body["name"], body["email"]) == ("Grace Example", "grace@made.example.com")
    assert body["metadata"] == {"hub_customer_id": "C-900", "hub_run": "run_1"}
    assert len(case.sandbox.effects("customer.create")) == 1


def test_a_lost_answer_is_found_by_the_mark_among_those_with_the_email(case: Case) -> None:
    made, call = new(case, address=None)
    assert isinstance(do(case, made, call, "find"), Absent)
    case.sandbox.fault("POST /v1/customers", "drop_after", 1)
    with pytest.raises(Unknown):
        do(case, made, call)
    found = do(case, made, call, "find")
    assert isinstance(found, Found)
    assert found.outcome.touched[0][0] == "customers"


def test_without_an_email_only_the_key_can_tell(case: Case) -> None:
    made, call = new(case, email=None, phone="+4930123456", address=None)
    assert isinstance(do(case, made, call, "find"), CannotTell)


def test_a_billing_address_is_replaced_whole(case: Case) -> None:
    target = customer(case)
    stored(case, target)["address"] = {"line1": "Alte Str. 1", "line2": "Hof", "city": "Bonn", "state": "NW"}
    action = CustomerUpdateAddress.model_validate({"customer_ref": "any", "kind": "billing", "address": HOME})
    outcome = do(case, *prepared(case, action, target))
    assert {name: value or None for name, value in stored(case, target)["address"].items()} == {
        "line1": "Neue Str. 5", "line2": None, "city": "Berlin", "state": None, "postal_code": "10117", "country": "DE",
    }  # fmt: skip
    assert outcome.effects[0].before == {"address": {
        "line1": "Alte Str. 1", "line2": "Hof", "city": "Bonn", "state": "NW", "postal_code": None, "country": None,
    }}  # fmt: skip
    assert isinstance(do(case, *prepared(case, action, target), "find"), Found)


def test_a_shipping_address_goes_to_the_customer_by_name(case: Case) -> None:
    target = customer(case)
    action = CustomerUpdateAddress.model_validate({"customer_ref": "any", "kind": "shipping", "address": HOME})
    do(case, *prepared(case, action, target))
    shipping = stored(case, target)["shipping"]
    assert (shipping["name"], shipping["address"]["line1"]) == (stored(case, target)["name"], "Neue Str. 5")


def test_an_email_is_changed_and_looked_up(case: Case) -> None:
    target = customer(case)
    action = CustomerChangeEmail.model_validate({"customer_ref": "any", "new_email": "new@made.example.com"})
    made, call = prepared(case, action, target)
    assert isinstance(do(case, made, call, "find"), Absent)
    outcome = do(case, made, call)
    assert (outcome.effects[0].after, stored(case, target)["email"]) == (
        {"email": "new@made.example.com"}, "new@made.example.com",
    )  # fmt: skip
    assert isinstance(do(case, made, call, "find"), Found)


def test_reserved_money_is_released_once_and_taken_money_never(case: Case) -> None:
    held = case.target("payment", prefer={"status": "authorized"})
    made, call = prepared(case, PaymentVoidAuthorization(payment_ref="any"), held)
    assert isinstance(do(case, made, call, "find"), Absent)
    outcome = do(case, made, call)
    assert (outcome.effects[0].before, outcome.effects[0].after["status"]) == (
        {"status": "requires_capture"}, "canceled",
    )  # fmt: skip
    assert isinstance(do(case, made, call, "find"), Found)
    taken = case.target("payment", prefer={"status": "succeeded", "disputed": False})
    with pytest.raises(Conflict) as caught:
        do(case, *prepared(case, PaymentVoidAuthorization(payment_ref="any"), taken, "hub-run_2"))
    assert caught.value.error_code == "payment_not_authorized"


def test_ending_a_subscription_now_credits_the_rest_where_that_is_asked_for(case: Case) -> None:
    target = case.target("subscription", prefer={"status": "active"})
    given = {"subscription_ref": "any", "when": "now", "reason": "moved away", "refund_unused": True}
    do(case, *prepared(case, SubscriptionCancel.model_validate(given), target))
    sent = next(entry for entry in case.sandbox.ledger if entry.method == "DELETE")
    assert sent.effect is not None
    assert case.sandbox.effects(f"subscription.cancel {target.remote_id}")


def test_credit_that_is_taken_back_is_an_opposite_entry(case: Case) -> None:
    target = customer(case)
    amount = {"amount": 500, "currency": case.sandbox.state.get("customers", target.remote_id)["currency"].upper()}  # type: ignore[attr-defined]
    for n, cls in enumerate((CreditGrant, CreditTakeBack)):
        action = cls.model_validate({"customer_ref": "any", "amount": amount, "reason": "a late parcel"})
        made, call = prepared(case, action, target, f"hub-run_{n}")
        call = dataclasses.replace(call, run_id=f"run_{n}")
        assert isinstance(do(case, made, call, "find"), Absent)
        assert do(case, made, call).effects[0].after["amount"] == (-500, 500)[n]
        assert isinstance(do(case, made, call, "find"), Found)
