"""Contacts made by upsert, addresses and e-mails changed, drafts cancelled, cases handed on: once each."""

from collections.abc import Iterator
from typing import Any

import pytest

from hub import Absent, Call, Conflict, Found, Invalid, Target, Unsupported
from hub.actions import (
    Action,
    CustomerChangeEmail,
    CustomerCreate,
    CustomerUpdateAddress,
    OrderCancel,
    TicketAssign,
    TicketEscalate,
)
from hub.errors import Unknown
from hub.perform.words import words_for
from hub.sandbox import World
from hub.testing import Case, case_for
from hub_salesforce.connector import SalesforceConnector
from hub_salesforce.sandbox.fill import one

HOME = {"line1": "Neue Str. 5", "line2": "Hof", "city": "Berlin", "postal_code": "10117", "country_code": "DE"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Case]:
    with case_for(SalesforceConnector, world=World(customers=40)) as case:
        yield case


@pytest.fixture
def case(shared: Case) -> Case:
    """The same org as at the beginning."""
    shared.sandbox.reset()
    return shared


def prepared(case: Case, action: Action, target: Target | None = None, key: str = "hub-run_1") -> tuple[Action, Call]:
    """Build a call as the hub does."""
    words = words_for(case.connection, action, target, lenient=True)
    return action, Call("run_1", key, target, words.fields, words.parts, action.model_dump(mode="json", by_alias=True))


def do(case: Case, made: Action, call: Call, role: str = "act") -> Any:
    method = case.connector.method(role, made.name)
    assert method is not None
    return method(made, call)


def row(case: Case, sobject: str, remote_id: str) -> dict[str, Any]:
    found: dict[str, Any] = case.sandbox.rows[sobject][remote_id]  # type: ignore[attr-defined]
    return found


def new(case: Case, **given: Any) -> tuple[Action, Call]:
    asked = {"name": "Grace B. Example", "email": "grace@made.example.com", "address": HOME, **given}
    return prepared(case, CustomerCreate.model_validate(asked))


def contact(case: Case) -> Target:
    return next(
        target
        for target in [case.target("customer", prefer={"remote_id": key[1]}) for key in case.bodies("customer")]
        if target.stream == "Contact"
    )


def test_a_contact_is_made_once_under_the_runs_key(case: Case) -> None:
    outcome = do(case, *new(case))
    made = row(case, "Contact", outcome.effects[0].remote_id)
    assert (made["FirstName"], made["LastName"], made["Hub_External_Id__c"]) == ("Grace B.", "Example", "hub-run_1")
    assert (made["MailingStreet"], made["MailingCountry"]) == ("Neue Str. 5\nHof", "DE")
    assert do(case, *new(case)).effects[0].remote_id == outcome.effects[0].remote_id
    assert len(case.sandbox.effects("create Contact")) == 1


def test_a_contact_whose_answer_was_lost_is_found_by_its_number(case: Case) -> None:
    made, call = new(case, external_ref="C-900")
    assert isinstance(do(case, made, call, "find"), Absent)
    case.sandbox.fault("PATCH .*/sobjects/Contact", "drop_after", 1)
    with pytest.raises(Unknown):
        do(case, made, call)
    found = do(case, made, call, "find")
    assert isinstance(found, Found)
    assert found.outcome.effects[0].after["Hub_External_Id__c"] == "C-900"


@pytest.mark.parametrize("by", ["email", "external_ref"])
def test_a_contact_of_somebody_else_is_not_changed(case: Case, by: str) -> None:
    known = row(case, "Contact", contact(case).remote_id)
    given = {"email": known["Email"]} if by == "email" else {"external_ref": known["Hub_External_Id__c"]}
    with pytest.raises(Conflict) as caught:
        do(case, *new(case, **given))
    assert (caught.value.error_code, caught.value.reason) == ("customer_exists", known["Id"])
    assert case.sandbox.effects() == []


@pytest.mark.parametrize(("kind", "prefix"), [("mailing", "Mailing"), ("shipping", "Other")])
def test_each_sort_of_address_has_its_own_fields(case: Case, kind: str, prefix: str) -> None:
    target = contact(case)
    row(case, "Contact", target.remote_id)[f"{prefix}State"] = "Texas"
    action = CustomerUpdateAddress.model_validate({"customer_ref": "any", "kind": kind, "address": HOME})
    do(case, *prepared(case, action, target))
    now = row(case, "Contact", target.remote_id)
    assert [now[f"{prefix}{name}"] for name in ("Street", "City", "State", "Country")] == [
        "Neue Str. 5\nHof", "Berlin", None, "DE",
    ]  # fmt: skip
    assert isinstance(do(case, *prepared(case, action, target), "find"), Found)


def test_a_contact_has_no_billing_address(case: Case) -> None:
    action = CustomerUpdateAddress.model_validate({"customer_ref": "any", "kind": "billing", "address": HOME})
    with pytest.raises(Unsupported, match='always "mailing"'):
        prepared(case, action, contact(case))


def test_an_email_is_set_and_what_it_was_is_told(case: Case) -> None:
    target = contact(case)
    old = row(case, "Contact", target.remote_id)["Email"]
    action = CustomerChangeEmail.model_validate({"customer_ref": "any", "new_email": "new@made.example.com"})
    outcome = do(case, *prepared(case, action, target))
    assert (outcome.effects[0].before, outcome.effects[0].after) == ({"Email": old}, {"Email": "new@made.example.com"})


def cancelling(case: Case, status: str, **given: Any) -> tuple[Action, Call]:
    target = case.target("order", prefer={"status": status})
    assert target.data["status"] == status
    action = OrderCancel.model_validate({"order_ref": "any", "reason": "ordered twice", **given})
    return prepared(case, action, target)


def test_a_draft_is_cancelled_and_found_to_be(case: Case) -> None:
    made, call = cancelling(case, "draft")
    assert isinstance(do(case, made, call, "find"), Absent)
    outcome = do(case, made, call)
    assert (outcome.effects[0].before["Status"], outcome.effects[0].after["Status"]) == ("Draft", "Canceled")
    assert isinstance(do(case, made, call, "find"), Found)


def test_an_activated_order_is_left_alone(case: Case) -> None:
    with pytest.raises(Conflict) as caught:
        do(case, *cancelling(case, "open"))
    assert (caught.value.error_code, case.sandbox.effects()) == ("order_not_changeable", [])


def test_a_word_about_stock_is_refused_not_lost(case: Case) -> None:
    with pytest.raises(Unsupported, match="no stock"):
        do(case, *cancelling(case, "draft", restock=True))
    assert case.sandbox.effects() == []


def test_a_case_goes_to_a_user_or_to_a_queue(case: Case) -> None:
    target = case.target("ticket")
    queue = next(iter(case.sandbox.rows["Group"]))  # type: ignore[attr-defined]
    for given in ({"assignee": one("User", 2)}, {"group": queue}):
        do(case, *prepared(case, TicketAssign.model_validate({"ticket_ref": "any", **given}), target))
        assert row(case, "Case", target.remote_id)["OwnerId"] == next(iter(given.values()))
    both = TicketAssign(ticket_ref="any", assignee=one("User", 2), group=queue)
    with pytest.raises(Invalid, match="one owner"):
        do(case, *prepared(case, both, target))


def test_an_escalation_marks_the_case_and_tells_staff_why(case: Case) -> None:
    target = case.target("ticket", prefer={"status": "open"})
    action = TicketEscalate(ticket_ref="any", level="urgent", reason="waits for three days")
    outcome = do(case, *prepared(case, action, target))
    now = row(case, "Case", target.remote_id)
    assert (now["IsEscalated"], now["Priority"]) == (True, "Critical")
    comment = row(case, "CaseComment", outcome.effects[0].remote_id)
    assert (comment["CommentBody"], comment["IsPublished"]) == ("waits for three days", False)
