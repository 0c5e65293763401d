"""Users made at Zendesk, and the address they are known by: no other user is touched, lost answers are found."""

from collections.abc import Iterator
from typing import Any

import pytest

from hub import Absent, Call, Conflict, Found, Invalid, Target, Unknown, Unsupported
from hub.actions import Action, CustomerChangeEmail, CustomerCreate, CustomerUpdateAddress, TicketReply
from hub.mapping import CompiledMapping
from hub.perform.words import words_for
from hub.sandbox import World
from hub.testing import Case, case_for
from hub_zendesk.connector import ZendeskConnector


@pytest.fixture
def case() -> Iterator[Case]:
    with case_for(ZendeskConnector, world=World(customers=30)) as made:
        yield made


def prepared(case: Case, action: Action, target: Target | None = None, key: str = "hub-run_1") -> tuple[Action, Call]:
    """Build a call as the hub does."""
    words = words_for(case.connection, action, target, lenient=True)
    return action, Call("run_1", key, target, words.fields, words.parts, action.model_dump(mode="json", by_alias=True))


def do(case: Case, made: Action, call: Call, role: str = "act") -> Any:
    method = case.connector.method(role, made.name)
    assert method is not None
    return method(made, call)


def new(case: Case, key: str = "hub-run_1", **given: Any) -> tuple[Action, Call]:
    asked = {"name": "Grace Example", "email": "grace@made.example.com", "phone": "+4930123456", **given}
    return prepared(case, CustomerCreate.model_validate(asked), key=key)


def users(case: Case) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = case.sandbox.state.users  # type: ignore[attr-defined]
    return found


def renaming(case: Case, address: str = "new@made.example.com") -> tuple[Target, Action, Call]:
    target = case.target("customer")
    action = CustomerChangeEmail.model_validate({"customer_ref": "any", "new_email": address})
    return target, *prepared(case, action, target)


def test_a_user_is_made_once_and_known_by_the_run(case: Case) -> None:
    outcome = do(case, *new(case))
    made = users(case)[int(outcome.effects[0].remote_id)]
    assert (made["name"], made["email"], made["role"], made["external_id"]) == (
        "Grace Example", "grace@made.example.com", "end-user", "hub-run_1",
    )  # fmt: skip
    assert do(case, *new(case)).effects[0].remote_id == outcome.effects[0].remote_id
    assert len(case.sandbox.effects("create user")) == 1


def test_a_user_whose_answer_was_lost_is_found_by_its_number(case: Case) -> None:
    made, call = new(case, external_ref="C-900")
    assert isinstance(do(case, made, call, "find"), Absent)
    case.sandbox.fault("POST /api/v2/users/create_or_update", "drop_after", 1)
    with pytest.raises(Unknown):
        do(case, made, call)
    assert isinstance(do(case, made, call, "find"), Found)


@pytest.mark.parametrize("by", ["email", "external_ref"])
def test_a_user_that_somebody_else_made_is_not_changed(case: Case, by: str) -> None:
    known = next(user for user in users(case).values() if user["external_id"] and user["email"])
    given = {"email": known["email"].upper()} if by == "email" else {"external_ref": known["external_id"]}
    before = dict(known)
    with pytest.raises(Conflict) as caught:
        do(case, *new(case, **given))
    assert (caught.value.error_code, caught.value.reason) == ("customer_exists", str(known["id"]))
    assert (known, case.sandbox.effects()) == (before, [])


def test_an_address_is_added_and_made_the_first_and_the_old_one_is_kept(case: Case) -> None:
    target, made, call = renaming(case)
    old = users(case)[int(target.remote_id)]["email"]
    assert isinstance(do(case, made, call, "find"), Absent)
    outcome = do(case, made, call)
    assert (outcome.effects[0].before, outcome.effects[0].after) == ({"email": old}, {"email": "new@made.example.com"})
    assert case.sandbox.state.addresses(int(target.remote_id)) == [  # type: ignore[attr-defined]
        "new@made.example.com", old,
    ]  # fmt: skip
    assert isinstance(do(case, made, call, "find"), Found)


def test_an_address_that_was_added_before_the_crash_is_not_added_again(case: Case) -> None:
    target, made, call = renaming(case)
    case.sandbox.fault("make_primary", "drop_before", 1)
    with pytest.raises(Unknown):
        do(case, made, call)
    assert isinstance(do(case, made, call, "find"), Absent)
    do(case, made, call)
    assert [entry.method for entry in case.sandbox.ledger if entry.effect is not None] == ["POST", "PUT"]
    assert users(case)[int(target.remote_id)]["email"] == "new@made.example.com"


def test_an_address_of_another_user_is_refused(case: Case) -> None:
    target = case.target("customer")
    other = next(user for user in users(case).values() if user["email"] and str(user["id"]) != target.remote_id)
    _, made, call = renaming(case, other["email"])
    with pytest.raises(Invalid, match="DuplicateValue"):
        do(case, made, call)
    assert case.sandbox.effects() == []


def test_an_address_goes_where_the_mapping_keeps_it(case: Case) -> None:
    edited: CompiledMapping = case.remapped(
        '"external_ref", "email", "phone"]', '"external_ref", "phone"]\n[users.write]\nemail = "user_fields.mail"'
    )
    target = case.target("customer")
    action = CustomerChangeEmail.model_validate({"customer_ref": "any", "new_email": "new@made.example.com"})
    fields = edited.write("users", action.changes()["customer"])
    outcome = do(case, action, Call("run_1", "hub-run_1", target, fields, {"customer": fields}))
    assert outcome.effects[0].after == {"user_fields": {"mail": "new@made.example.com"}}


def test_a_postal_address_is_nothing_zendesk_keeps(case: Case) -> None:
    given = {"kind": "mailing", "address": {"line1": "x", "city": "y", "postal_code": "1", "country_code": "DE"}}
    action = CustomerUpdateAddress.model_validate({"customer_ref": "any", **given})
    with pytest.raises(Unsupported, match="cannot be written"):
        prepared(case, action, case.target("customer"))


def test_a_reply_with_mark_up_carries_both(case: Case) -> None:
    action = TicketReply(ticket_ref="any", body="It is on its way.", html="<p>It is on its <b>way</b>.</p>")
    _, call = prepared(case, action, case.target("ticket", prefer={"status": "open"}))
    assert dict(call.parts["message"]) == {
        "body": "It is on its way.", "html_body": "<p>It is on its <b>way</b>.</p>", "public": True,
    }  # fmt: skip
