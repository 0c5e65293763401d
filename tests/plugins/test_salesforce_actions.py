"""What the Salesforce connector does: cases, comments, contacts and addresses, once each and never too public."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from hub.actions import (
    Action,
    CustomerLookup,
    CustomerUpdate,
    OrderUpdateShippingAddress,
    TicketCreate,
    TicketNote,
    TicketReply,
    TicketSetStatus,
)
from hub.connector import Absent, Call, CannotTell, Found, Outcome
from hub.errors import (
    Conflict,
    Invalid,
    MappingError,
    NotFound,
    Refused,
    Unknown,
    Unsupported,
)
from hub.sandbox import Request, Response, World
from hub.testing import Case, case_for
from hub_salesforce.connector import SalesforceConnector
from hub_salesforce.sandbox import SalesforceSandbox
from hub_salesforce.sandbox.fill import one
from hub_salesforce.sandbox.shapes import Column


@pytest.fixture(scope="module")
def shared() -> Iterator[Case]:
    with case_for(SalesforceConnector, world=World(customers=20)) as case:
        yield case


@pytest.fixture
def case(shared: Case) -> Case:
    """The same org as at the beginning, and a connector that knows nothing of it yet."""
    shared.sandbox.__dict__.pop("answer", None)
    shared.sandbox.reset()
    org(shared).batch, org(shared).nested_batch, org(shared).quota = None, 200, 100_000
    connection = shared.connection
    connection.connector = SalesforceConnector(connection.connector.config, connection.transport)
    return shared


def org(case: Case) -> SalesforceSandbox:
    assert isinstance(case.sandbox, SalesforceSandbox)
    return case.sandbox


def prepared(case: Case, action: type[Action], **changes: Any) -> tuple[Action, Call]:
    """Build a call as the hub would, with other input than the sample's."""
    sample = {**case.samples[action.name], **changes}
    return replace(case, samples={**case.samples, action.name: sample}).call(action, key=f"run.{action.name}")


def done(case: Case, prepared: tuple[Action, Call]) -> Outcome:
    action, call = prepared
    method = case.connector.method("act", action.name)
    assert method is not None
    outcome = method(action, call)
    assert isinstance(outcome, Outcome)
    return outcome


def found(case: Case, prepared: tuple[Action, Call]) -> Found | Absent | CannotTell:
    action, call = prepared
    method = case.connector.method("find", action.name)
    assert method is not None
    answer = method(action, call)
    assert isinstance(answer, Found | Absent | CannotTell)
    return answer


def comments(case: Case) -> list[Mapping[str, Any]]:
    return list(org(case).rows["CaseComment"].values())


def test_a_case_comes_with_its_first_comment_in_one_request(case: Case) -> None:
    outcome = done(case, prepared(case, TicketCreate))
    assert [effect.object for effect in outcome.effects] == ["Case", "CaseComment"]
    made = org(case).rows["Case"][outcome.effects[0].remote_id]
    assert (made["Hub_Key__c"], made["Description"]) == ("run.ticket.create", "How long does delivery take?")
    assert org(case).rows["CaseComment"][outcome.effects[1].remote_id]["IsPublished"] is True
    assert len(case.sandbox.effects()) == 1


def test_an_internal_case_shows_the_customer_nothing(case: Case) -> None:
    outcome = done(case, prepared(case, TicketCreate, visibility="internal"))
    assert org(case).rows["Case"][outcome.effects[0].remote_id]["Description"] is None
    assert org(case).rows["CaseComment"][outcome.effects[1].remote_id]["IsPublished"] is False


def test_a_case_under_the_same_key_is_not_opened_again(case: Case) -> None:
    first = done(case, prepared(case, TicketCreate))
    again = done(case, prepared(case, TicketCreate))
    assert first.touched == again.touched
    assert len(case.sandbox.effects()) == 1


def test_a_lost_case_is_found_by_its_key_and_one_never_sent_is_absent(case: Case) -> None:
    assert isinstance(found(case, prepared(case, TicketCreate)), Absent)
    case.sandbox.fault("POST ", "drop_after")
    with pytest.raises(Unknown):
        done(case, prepared(case, TicketCreate))
    answer = found(case, prepared(case, TicketCreate))
    assert isinstance(answer, Found)
    assert [effect.object for effect in answer.outcome.effects] == ["Case", "CaseComment"]


def test_an_org_without_the_key_field_is_told_what_to_create(case: Case) -> None:
    org(case).drop_field("Case", "Hub_Key__c")
    with pytest.raises(Unsupported, match=r"Hub_Key__c.*External ID and Unique"):
        done(case, prepared(case, TicketCreate))
    assert not case.sandbox.ledger


def test_a_case_that_is_refused_leaves_no_comment(case: Case) -> None:
    ready = prepared(case, TicketCreate)
    before = len(comments(case)), len(org(case).rows["Case"])
    spoil(case, "POST", lambda: org(case).drop_field("CaseComment", "CommentBody"))
    with pytest.raises(Invalid, match="INVALID_FIELD"):
        done(case, ready)
    assert (len(comments(case)), len(org(case).rows["Case"])) == before
    assert not case.sandbox.effects()


def test_a_reply_is_public_and_a_note_is_not(case: Case) -> None:
    reply = done(case, prepared(case, TicketReply)).effects[0]
    note = done(case, prepared(case, TicketNote)).effects[0]
    assert org(case).rows["CaseComment"][reply.remote_id]["IsPublished"] is True
    assert org(case).rows["CaseComment"][note.remote_id]["IsPublished"] is False


@pytest.mark.parametrize("said", [True, None, "false", 0])
def test_a_note_that_is_not_said_to_be_internal_is_not_sent(case: Case, said: Any) -> None:
    action, call = prepared(case, TicketNote)
    parts = {"message": {**call.parts["message"], "IsPublished": said}}
    with pytest.raises((Refused, Unsupported)):
        done(case, (action, replace(call, parts=parts)))
    assert not case.sandbox.ledger


def test_an_edited_mapping_that_makes_notes_public_sends_none(case: Case) -> None:
    old = 'values = { true = "public", false = "internal" }, otherwise'
    edited = case.remapped(old, 'values = { false = "public", true = "internal" }, otherwise')
    action, call = case.call(TicketNote, mapping=edited)
    with pytest.raises(Refused, match="nothing was sent"):
        done(case, (action, call))
    assert not case.sandbox.ledger


def test_a_comment_is_measured_in_bytes(case: Case) -> None:
    done(case, prepared(case, TicketReply, body="é" * 2000))
    with pytest.raises(Invalid, match="4000 bytes of UTF-8; this one has 4002"):
        done(case, prepared(case, TicketReply, body="é" * 2001))
    assert len(case.sandbox.effects()) == 1


def test_a_reply_that_sets_the_status_does_both_at_once(case: Case) -> None:
    action, call = prepared(case, TicketReply, set_status="closed")
    outcome = done(case, (action, call))
    assert [effect.object for effect in outcome.effects] == ["CaseComment", "Case"]
    assert call.target is not None
    assert org(case).rows["Case"][call.target.remote_id]["IsClosed"] is True
    assert len(case.sandbox.effects()) == 1


def test_a_reply_whose_status_is_refused_is_not_sent_either(case: Case) -> None:
    ready = prepared(case, TicketReply, set_status="closed")
    before = len(comments(case))
    spoil(case, "POST", lambda: org(case).shapes["Case"].columns["Status"].__setattr__("updateable", False))
    with pytest.raises(Invalid, match="INVALID_FIELD_FOR_INSERT_UPDATE"):
        done(case, ready)
    assert len(comments(case)) == before


def spoil(case: Case, method: str, change: Any) -> None:
    """Let something happen at the vendor just before the next request of this method is carried out."""
    answer, todo = case.sandbox.answer, [change]

    def wrapped(request: Request) -> Response:
        if request.method == method and todo:
            todo.pop()()
        return answer(request)

    case.sandbox.answer = wrapped  # type: ignore[method-assign]


def test_a_lost_reply_is_found_by_its_text_and_never_called_absent(case: Case) -> None:
    ready = prepared(case, TicketReply)
    assert isinstance(found(case, ready), CannotTell)
    case.sandbox.fault("POST ", "drop_after")
    with pytest.raises(Unknown):
        done(case, ready)
    assert isinstance(found(case, ready), Found)
    done(case, ready)
    assert isinstance(found(case, ready), CannotTell), "two alike cannot be told apart"


def test_a_reply_is_not_taken_for_a_note_of_the_same_words(case: Case) -> None:
    done(case, prepared(case, TicketNote, body="same words"))
    assert isinstance(found(case, prepared(case, TicketReply, body="same words")), CannotTell)


def test_a_status_that_the_org_does_not_have_is_refused_with_those_it_has(case: Case) -> None:
    values = org(case).shapes["Case"].columns["Status"]
    values.values = ("New", "Working", "Closed")
    with pytest.raises(Unsupported, match=r'no value "Waiting on Customer" in this org; it has Closed, New, Working'):
        done(case, prepared(case, TicketSetStatus))
    assert not case.sandbox.ledger


def test_a_case_has_no_word_for_solved(case: Case) -> None:
    with pytest.raises(MappingError, match="solved"):
        prepared(case, TicketSetStatus, status="solved")


def test_a_status_tells_what_it_was_before(case: Case) -> None:
    ready = prepared(case, TicketSetStatus)
    assert ready[1].target is not None
    was = {"Status": org(case).rows["Case"][ready[1].target.remote_id]["Status"]}
    assert isinstance(found(case, ready), Absent)
    (effect,) = done(case, ready).effects
    assert (effect.before, effect.after) == (was, {"Status": "Waiting on Customer"})
    assert isinstance(found(case, ready), Found)


def test_a_record_that_changed_after_the_expected_version_is_left_alone(case: Case) -> None:
    action, call = prepared(case, TicketSetStatus)
    assert call.target is not None
    version = call.target.data["version"]
    org(case).change("Case", call.target.remote_id, Subject="changed")
    with pytest.raises(Conflict, match="after the expected version"):
        done(case, (action, replace(call, expected_version=version)))


def test_a_change_between_reading_and_writing_is_refused_by_the_vendor(case: Case) -> None:
    action, call = prepared(case, TicketSetStatus)
    assert call.target is not None
    target = call.target
    spoil(case, "PATCH", lambda: org(case).change("Case", target.remote_id, Subject="changed"))
    with pytest.raises(Conflict):
        done(case, (action, replace(call, expected_version=target.data["version"])))
    assert org(case).rows["Case"][target.remote_id]["Status"] == target.data["status_raw"]


def test_the_expected_version_may_be_any_writing_of_the_time(case: Case) -> None:
    action, call = prepared(case, TicketSetStatus)
    assert call.target is not None
    done(case, (action, replace(call, expected_version=call.target.data["updated_at"])))
    with pytest.raises(Invalid, match="a version is the time"):
        done(case, (action, replace(call, expected_version="7")))


def test_an_address_without_a_region_takes_the_old_region_away(case: Case) -> None:
    action, call = prepared(case, OrderUpdateShippingAddress)
    done(case, (action, call))
    assert call.target is not None
    row = org(case).rows["Order"][call.target.remote_id]
    assert (row["ShippingStreet"], row["ShippingCity"], row["ShippingState"]) == ("Neue Str. 5", "Berlin", None)


def test_two_address_lines_are_written_as_one_field_and_read_back_as_two(case: Case) -> None:
    given = {
        "line1": "Neue Str. 5",
        "line2": "Hinterhaus",
        "city": "Berlin",
        "postal_code": "10117",
        "country_code": "DE",
    }
    action, call = prepared(case, OrderUpdateShippingAddress, address=given)
    done(case, (action, call))
    assert call.target is not None
    assert org(case).rows["Order"][call.target.remote_id]["ShippingStreet"] == "Neue Str. 5\nHinterhaus"
    fetch = case.connector.method("fetch", "Order")
    assert fetch is not None
    page = fetch(case.mapping.stream("Order"), [call.target.remote_id])
    body = case.mapping.map_page("Order", page).tables["Order"].rows[0].body
    assert b'"line1":"Neue Str. 5","line2":"Hinterhaus"' in body
    assert b'"country_code":"DE"' in body


def test_a_country_code_goes_where_an_org_with_picklists_has_it(case: Case) -> None:
    code = Column("ShippingCountryCode", "picklist", values=("DE", "FR"), createable=True, updateable=True)
    org(case).shapes["Order"].columns[code.name] = code
    action, call = prepared(case, OrderUpdateShippingAddress)
    (effect,) = done(case, (action, call)).effects
    assert effect.after is not None
    assert effect.after["ShippingCountryCode"] == "DE"
    assert "ShippingCountry" not in effect.after


def test_a_person_account_is_updated_as_an_account(case: Case) -> None:
    person = replace(case.target("customer"), table="PersonAccount", stream="Account")
    key = next(key for key in case.bodies("customer") if key[0] == "PersonAccount")
    target = replace(person, remote_id=key[1])
    fields = case.mapping.write("PersonAccount", {"job_title": "Buyer", "given_name": "Grace"})
    action = CustomerUpdate.model_validate({"customer_ref": "cus_x", "changes": {"job_title": "Buyer"}})
    (effect,) = done(case, (action, Call("run", "key", target, fields, {"customer": fields}))).effects
    assert (effect.object, effect.after) == ("Account", {"PersonTitle": "Buyer", "FirstName": "Grace"})
    opening, call = prepared(case, TicketCreate)
    opened = done(case, (opening, replace(call, target=target))).effects[0]
    row = org(case).rows["Case"][opened.remote_id]
    assert row["AccountId"] == target.remote_id
    assert row["ContactId"] == org(case).rows["Account"][target.remote_id]["PersonContactId"]


def test_a_lookup_names_the_person_account_behind_a_contact(case: Case) -> None:
    row = next(row for row in org(case).rows["Contact"].values() if row["IsPersonAccount"])
    call = Call("run", "key", input={"email": row["Email"]})
    assert done(case, (CustomerLookup(email=row["Email"]), call)).touched == (("Account", row["AccountId"]),)


def test_a_field_that_this_user_may_not_write_is_refused_before_sending(case: Case) -> None:
    org(case).shapes["Contact"].columns["Title"].updateable = False
    with pytest.raises(Unsupported, match=r"Contact\.Title cannot be written by this user"):
        done(case, prepared(case, CustomerUpdate))
    assert not case.sandbox.ledger


@pytest.mark.parametrize("given", ["email", "phone", "ticket_id", "order_number"])
def test_a_lookup_names_the_contact_live(case: Case, given: str) -> None:
    person = case.sandbox.world.people[0]
    ticket = next(row for row in org(case).rows["Case"].values() if not row["AccountId"])
    value, wanted = {
        "email": (person.email.upper(), one("Contact", person.n)),
        "phone": (person.phone, one("Contact", person.n)),
        "ticket_id": (ticket["CaseNumber"], ticket["ContactId"]),
        "order_number": ("00000001", one("Contact", person.n)),
    }[given]
    action = CustomerLookup.model_validate({given: value})
    outcome = done(case, (action, Call("run", "key", input={given: value})))
    assert ("Contact", wanted) in outcome.touched


def test_a_quote_in_a_lookup_stays_a_text(case: Case) -> None:
    value = "x' OR Name != '"
    outcome = done(case, (CustomerLookup(email=value), Call("run", "key", input={"email": value})))
    assert outcome.touched == ()


def test_ids_are_checked_before_anything_is_sent(case: Case) -> None:
    action, call = prepared(case, TicketReply)
    assert call.target is not None
    asked = case.sandbox.used  # type: ignore[attr-defined]
    for odd in ("../../limits", "https://elsewhere.example/x", "500' OR Id != '"):
        with pytest.raises(Invalid, match="15 or 18"):
            done(case, (action, replace(call, target=replace(call.target, remote_id=odd))))
    assert case.sandbox.used == asked  # type: ignore[attr-defined]


def test_a_record_that_is_gone_is_not_found(case: Case) -> None:
    action, call = prepared(case, TicketSetStatus)
    assert call.target is not None
    org(case).delete("Case", call.target.remote_id)
    with pytest.raises(NotFound):
        done(case, (action, call))


def test_a_write_that_is_answered_with_a_server_error_is_unknown(case: Case) -> None:
    ready = prepared(case, TicketReply)
    case.sandbox.fault("POST ", "status:503")
    with pytest.raises(Unknown):
        done(case, ready)
