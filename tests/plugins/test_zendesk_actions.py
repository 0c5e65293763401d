"""What goes out to Zendesk: once, in the mapping's words, and never with the wrong visibility."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from hub.actions import (
    CustomerUpdate,
    TicketAssign,
    TicketCreate,
    TicketEscalate,
    TicketNote,
    TicketReply,
    TicketSetStatus,
    TicketTag,
)
from hub.connector import Absent, CannotTell, Found, Outcome
from hub.errors import Conflict, HubError, Invalid, MappingError, NotFound, NotSent, RateLimited, Unknown
from hub.sandbox import Response, World
from hub.testing import Case, case_for
from hub.transport import Captured, capturing, watch
from hub_zendesk.connector import ZendeskConnector
from hub_zendesk.sandbox import ZendeskSandbox
from hub_zendesk.sandbox.shapes import staff_id


@pytest.fixture
def case() -> Iterator[Case]:
    with case_for(ZendeskConnector, world=World(customers=10)) as case:
        yield case


def act(case: Case, action: Any, key: str = "hub-run-1", **changed: Any) -> Outcome:
    """Carry out an action's sample; `changed` replaces members of the call."""
    made, call = case.call(action, key)
    method = case.connector.method("act", action.name)
    assert method is not None
    found = method(made, replace(call, **changed))
    assert isinstance(found, Outcome)
    return found


def find(case: Case, action: Any, key: str = "hub-run-1") -> Any:
    made, call = case.call(action, key)
    method = case.connector.method("find", action.name)
    assert method is not None
    return method(made, call)


def ticket_of(case: Case, action: Any = TicketReply) -> int:
    call = case.call(action)[1]
    assert call.target is not None
    return int(call.target.remote_id)


def state(case: Case) -> Any:
    assert isinstance(case.sandbox, ZendeskSandbox)
    return case.sandbox.state


def wire(case: Case) -> list[dict[str, Any]]:
    """Note the body of every write from now on."""
    bodies: list[dict[str, Any]] = []
    answer = case.sandbox.answer

    def noting(request: Any) -> Response:
        if request.method != "GET":
            bodies.append(request.json())
        return answer(request)

    case.sandbox.answer = noting  # type: ignore[method-assign]
    return bodies


def test_a_reply_is_public_and_names_what_to_read_again(case: Case) -> None:
    ticket = ticket_of(case)
    outcome = act(case, TicketReply)
    newest = list(state(case).comments[ticket].values())[-1]
    assert newest["public"] is True
    assert newest["plain_body"] == "It is on its way."
    assert [(e.object, e.op, e.after) for e in outcome.effects] == [("comment", "create", {"public": True})]
    assert list(outcome.touched) == [("tickets", str(ticket)), ("comments", f"{ticket}:{newest['id']}")]
    assert len(case.sandbox.effects("reply to ticket")) == 1


def test_a_note_is_private_on_the_wire_and_in_the_vendor(case: Case) -> None:
    bodies = wire(case)
    ticket = ticket_of(case)
    act(case, TicketNote)
    assert [body["ticket"]["comment"]["public"] for body in bodies] == [False]
    assert list(state(case).comments[ticket].values())[-1]["public"] is False
    assert len(case.sandbox.effects("note on ticket")) == 1


@pytest.mark.parametrize("action", [TicketReply, TicketNote, TicketCreate])
@pytest.mark.parametrize("public", ["missing", None, "false", 0, "opposite"])
def test_a_comment_whose_visibility_is_not_assured_never_leaves(case: Case, action: Any, public: Any) -> None:
    bodies = wire(case)
    _made, call = case.call(action)
    message = dict(call.parts["message"])
    right = message.pop("public")
    if public != "missing":
        message["public"] = (not right) if public == "opposite" else public
    with pytest.raises(Invalid, match="visibility"):
        act(case, action, fields=message, parts={**call.parts, "message": message})
    assert bodies == []


def test_the_marker_is_in_the_audit_and_nowhere_a_customer_looks(case: Case) -> None:
    ticket = ticket_of(case)
    act(case, TicketReply, "hub-secret-key")
    assert state(case).audits[ticket][-1]["metadata"]["custom"] == {"hub_run": "hub-secret-key"}
    newest = list(state(case).comments[ticket].values())[-1]
    assert "hub-secret-key" not in json.dumps({k: newest[k] for k in ("body", "html_body", "plain_body")})


@pytest.mark.parametrize("action", [TicketReply, TicketNote, TicketCreate])
def test_the_same_key_acts_once(case: Case, action: Any) -> None:
    first, second = act(case, action), act(case, action)
    assert len(case.sandbox.effects()) == 1
    assert [(e.object, e.remote_id, e.op) for e in first.effects] == [
        (e.object, e.remote_id, e.op) for e in second.effects
    ]
    act(case, action, "hub-run-2")
    assert len(case.sandbox.effects()) == 2


def test_a_create_with_a_used_key_and_another_body_is_a_conflict(case: Case) -> None:
    act(case, TicketCreate)
    _made, call = case.call(TicketCreate)
    other = {**call.parts, "ticket": {**call.parts["ticket"], "subject": "Another question"}}
    with pytest.raises(Conflict) as caught:
        act(case, TicketCreate, parts=other)
    assert caught.value.error_code == "idempotency_conflict"


def test_a_created_ticket_belongs_to_its_customer(case: Case) -> None:
    outcome = act(case, TicketCreate)
    made = state(case).tickets[int(outcome.effects[0].remote_id)]
    call = case.call(TicketCreate)[1]
    assert call.target is not None
    assert str(made["requester_id"]) == call.target.remote_id
    assert made["subject"] == "A new question"
    assert case.sandbox.ledger[-1].key == "hub-run-1"


def test_an_internal_first_comment_stays_internal(case: Case) -> None:
    _made, call = case.call(TicketCreate)
    message = {**call.parts["message"], "public": False}
    outcome = act(case, TicketCreate, parts={**call.parts, "message": message}, input={"visibility": "internal"})
    comments = state(case).comments[int(outcome.effects[0].remote_id)]
    assert [comment["public"] for comment in comments.values()] == [False]


@pytest.mark.parametrize("action", [TicketReply, TicketNote, TicketCreate, TicketSetStatus, CustomerUpdate])
def test_a_lost_answer_is_unknown_and_found_again(case: Case, action: Any) -> None:
    before = find(case, action)
    assert isinstance(before, CannotTell if action is TicketCreate else Absent)
    case.sandbox.fault("^(POST|PUT) ", "drop_after")
    with watch() as flights, pytest.raises(Unknown):
        act(case, action)
    assert [flight.sent for flight in flights] == [True]
    after = find(case, action)
    assert isinstance(after, Found)
    assert after.outcome.effects
    assert after.outcome.touched


def test_an_answer_that_never_came_and_nothing_done_is_absent(case: Case) -> None:
    case.sandbox.fault("PUT ", "drop_before")
    with pytest.raises(Unknown):
        act(case, TicketReply)
    assert isinstance(find(case, TicketReply), Absent)


def test_a_server_error_on_a_write_is_unknown(case: Case) -> None:
    case.sandbox.fault("PUT ", "status:500")
    with pytest.raises(Unknown):
        act(case, TicketReply)


def test_a_throttled_write_says_when_to_come_back(case: Case) -> None:
    case.sandbox.fault("PUT ", "status:429")
    with pytest.raises(RateLimited) as caught:
        act(case, TicketReply)
    assert caught.value.retry_after_s == 1.0


def test_an_answer_that_is_no_json_leaves_a_write_unknown(case: Case) -> None:
    for fault in ("html", "truncate"):
        case.sandbox.fault("PUT ", fault)
        with pytest.raises(Unknown):
            act(case, TicketNote, f"hub-{fault}")


def test_an_unreachable_vendor_is_not_sent(case: Case) -> None:
    made, call = case.call(TicketSetStatus)
    case.connection.transport.base_url = "http://127.0.0.1:9"
    case.connection.transport.patience = type(case.connection.transport.patience)(tries=1)
    with pytest.raises(NotSent):
        case.connector.method("act", "ticket.set_status")(made, call)  # type: ignore[misc]


@pytest.mark.parametrize(("action", "intent"), [(TicketReply, "reply"), (TicketSetStatus, "")])
def test_what_meets_another_change_looks_again_and_goes_out_once(case: Case, action: Any, intent: str) -> None:
    ticket, answer, met = ticket_of(case), case.sandbox.answer, []

    def racing(request: Any) -> Response:
        if request.method == "PUT" and not met:
            met.append(True)
            state(case).change_ticket(ticket, {"tags": ["meanwhile"]}, staff_id(2))
        return answer(request)

    case.sandbox.answer = racing  # type: ignore[method-assign]
    act(case, action)
    assert [entry.status for entry in case.sandbox.ledger] == [409, 200]
    assert len(case.sandbox.effects(intent)) == 1


@pytest.mark.parametrize(("action", "intent"), [(TicketReply, "reply"), (TicketSetStatus, "")])
def test_a_late_first_request_cannot_act_a_second_time(case: Case, action: Any, intent: str) -> None:
    """The first request arrives after the second was sent: its stamp is old by then, so it is refused."""
    held: list[Any] = []
    answer = case.sandbox.answer

    def holding(request: Any) -> Response:
        if request.method == "PUT" and not held:
            held.append(request)
            return Response({"error": "lost"}, 504)
        return answer(request)

    case.sandbox.answer = holding  # type: ignore[method-assign]
    with pytest.raises(Unknown):
        act(case, action)
    assert isinstance(find(case, action), Absent)
    act(case, action)
    assert answer(held[0]).status == 409
    assert len(case.sandbox.effects(intent)) == 1


def test_a_version_that_is_out_of_date_is_a_conflict_and_nothing_is_sent(case: Case) -> None:
    bodies = wire(case)
    for action in (TicketReply, TicketSetStatus, CustomerUpdate):
        with pytest.raises(Conflict):
            act(case, action, expected_version="2020-01-01T00:00:00Z")
    assert bodies == []
    _, call = case.call(TicketReply)
    assert call.target is not None
    act(case, TicketReply, expected_version=call.target.data["version"])
    assert bodies[0]["ticket"]["updated_stamp"] == call.target.data["version"]


def test_a_change_between_reading_and_writing_is_told_to_a_caller_who_named_a_version(case: Case) -> None:
    ticket, answer = ticket_of(case), case.sandbox.answer
    version = state(case).tickets[ticket]["updated_at"]

    def racing(request: Any) -> Response:
        if request.method == "PUT":
            state(case).change_ticket(ticket, {"tags": ["meanwhile"]}, staff_id(2))
        return answer(request)

    case.sandbox.answer = racing  # type: ignore[method-assign]
    with pytest.raises(Conflict):
        act(case, TicketReply, expected_version=version)
    assert len(case.sandbox.ledger) == 1


def test_a_reply_may_set_the_status_in_the_same_request(case: Case) -> None:
    _, call = case.call(TicketReply)
    parts = {**call.parts, "ticket": case.mapping.write("ticket", {"status": "solved"})}
    outcome = act(case, TicketReply, parts=parts)
    assert state(case).tickets[ticket_of(case)]["status"] == "solved"
    assert [(e.object, e.before, e.after) for e in outcome.effects][1] == (
        "ticket", {"status": "open"}, {"status": "solved"},
    )  # fmt: skip
    assert len(case.sandbox.ledger) == 1


def test_on_hold_is_written_as_hold(case: Case) -> None:
    fields = case.mapping.write("ticket", {"status": "on_hold"})
    outcome = act(case, TicketSetStatus, fields=fields, parts={"ticket": fields})
    assert outcome.effects[0].after == {"status": "hold"}


def test_closing_is_refused_unless_the_connection_forces_it(case: Case) -> None:
    fields = case.mapping.write("ticket", {"status": "closed"})
    with pytest.raises(Invalid, match="solved") as caught:
        act(case, TicketSetStatus, fields=fields, parts={"ticket": fields})
    assert caught.value.next_actions
    assert case.sandbox.ledger == []
    with case_for(ZendeskConnector, sandbox=case.sandbox, force_close=True) as forced:
        act(forced, TicketSetStatus, fields=fields, parts={"ticket": fields})
    assert state(case).tickets[ticket_of(case)]["status"] == "closed"


@pytest.mark.parametrize("status", ["new", "unknown"])
def test_a_status_that_cannot_be_written_has_no_word(case: Case, status: str) -> None:
    with pytest.raises(MappingError):
        case.mapping.write("ticket", {"status": status})


@pytest.mark.parametrize("action", [TicketReply, TicketNote, TicketSetStatus])
def test_a_closed_ticket_is_not_written_to(case: Case, action: Any) -> None:
    _made, call = case.call(action)
    state(case).tickets[ticket_of(case)]["status"] = "closed"
    with pytest.raises(Invalid, match="closed"):
        act(case, action, target=call.target)
    assert case.sandbox.ledger == []


def test_a_ticket_that_is_gone_is_not_found(case: Case) -> None:
    _made, _call = case.call(TicketReply)
    state(case).delete_ticket(ticket_of(case), staff_id(1))
    with pytest.raises(NotFound):
        act(case, TicketReply)
    assert isinstance(find(case, TicketReply), CannotTell)


def test_a_customer_is_changed_and_the_previous_values_are_kept(case: Case) -> None:
    _, call = case.call(CustomerUpdate)
    assert call.target is not None
    outcome = act(case, CustomerUpdate)
    user = state(case).users[int(call.target.remote_id)]
    assert (user["name"], user["locale"]) == ("Grace Example", "fr")
    effect = outcome.effects[0]
    assert effect.before == {"name": call.target.data["display_name"], "locale": call.target.data["language"]}
    assert effect.after == {"name": "Grace Example", "locale": "fr"}
    assert list(outcome.touched) == [("users", call.target.remote_id)]


def test_own_fields_of_a_customer_are_written_where_the_mapping_names_them(case: Case) -> None:
    old = "[users.fields]"
    mapping = case.remapped(
        old, '[users.write]\ncustom.tier = "user_fields.tier"\n[users.fields]\ncustom.tier = "user_fields.tier"'
    )
    fields = mapping.write("customer", {"custom": {"tier": "gold"}})
    act(case, CustomerUpdate, fields=fields, parts={"customer": fields})
    _, call = case.call(CustomerUpdate)
    assert call.target is not None
    assert state(case).users[int(call.target.remote_id)]["user_fields"] == {"tier": "gold"}
    made, found = case.call(CustomerUpdate)
    finder = case.connector.method("find", "customer.update")
    assert finder is not None
    assert isinstance(finder(made, replace(found, fields=fields, parts={"customer": fields})), Found)


def test_a_refusal_names_the_field_and_no_ones_data(case: Case) -> None:
    _, _call = case.call(CustomerUpdate)
    fields = {"name": ""}
    with pytest.raises(Invalid, match="RecordInvalid on name: BlankValue") as caught:
        act(case, CustomerUpdate, fields=fields, parts={"customer": fields})
    assert caught.value.reason == "RecordInvalid"
    body = {
        "error": "RecordInvalid", "description": "Record validation errors",
        "details": {"email": [{"description": "ada@mail.example.com is taken", "error": "DuplicateValue"}]},
    }  # fmt: skip
    case.sandbox.answer = lambda request: Response(body, 422)  # type: ignore[method-assign]
    with pytest.raises(Invalid) as caught:
        act(case, CustomerUpdate, fields=fields, parts={"customer": fields})
    assert "DuplicateValue" in caught.value.message
    assert "ada" not in caught.value.message


def test_a_database_conflict_may_be_tried_again(case: Case) -> None:
    answer = case.sandbox.answer

    def busy(request: Any) -> Response:
        return answer(request) if request.method == "GET" else Response({"error": "DatabaseConflict"}, 409)

    case.sandbox.answer = busy  # type: ignore[method-assign]
    with pytest.raises(HubError) as caught:
        act(case, TicketReply)
    assert caught.value.retryable


@pytest.mark.parametrize("action", [TicketReply, TicketNote, TicketCreate, TicketSetStatus, CustomerUpdate])
def test_a_preview_sends_nothing(case: Case, action: Any) -> None:
    with capturing(), pytest.raises(Captured) as caught:
        act(case, action)
    assert case.sandbox.ledger == []
    request = caught.value.request
    assert request["url"].startswith("https://acme.zendesk.com/api/v2/")
    assert "sandbox-token" not in json.dumps(request)


def test_nothing_is_done_without_a_target(case: Case) -> None:
    with pytest.raises(Invalid, match="record to work on"):
        act(case, TicketReply, target=None)


def test_what_is_said_is_not_logged(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    act(case, TicketReply)
    assert "on its way" not in caplog.text
    assert "sandbox-token" not in caplog.text


def test_a_ticket_goes_to_whom_the_ids_name(case):
    bodies = wire(case)
    act(case, TicketAssign)
    assert (bodies[-1]["ticket"]["assignee_id"], bodies[-1]["ticket"]["group_id"]) == (1, 2)
    ticket = state(case).tickets[ticket_of(case, TicketAssign)]
    assert (ticket["assignee_id"], ticket["group_id"]) == (1, 2)
    assert isinstance(find(case, TicketAssign), Found)


def test_an_assignee_that_is_no_zendesk_id_is_not_sent(case):
    made, call = case.call(TicketAssign)
    with pytest.raises(Invalid):
        case.connector.assign(made, replace(call, parts={"ticket": {"assignee_id": "ada"}}))
    assert case.sandbox.effects() == []


def test_tags_are_added_and_removed_and_what_others_set_stays(case):
    ticket = state(case).tickets[ticket_of(case, TicketTag)]
    ticket["tags"] = ["old", "kept"]
    act(case, TicketTag)
    assert ticket["tags"] == ["kept", "vip"]
    assert act(case, TicketTag, "hub-run-2").effects == ()
    assert len(case.sandbox.effects()) == 1


def test_tags_set_meanwhile_are_not_lost(case):
    ticket = state(case).tickets[ticket_of(case, TicketTag)]
    ticket["tags"] = ["old"]
    answer, done = case.sandbox.answer, []

    def meanwhile(request):
        if request.method == "PUT" and not done:
            done.append(state(case).change_ticket(ticket["id"], {"tags": ["old", "theirs"]}, 1))
        return answer(request)

    case.sandbox.answer = meanwhile
    act(case, TicketTag)
    assert ticket["tags"] == ["theirs", "vip"]


def test_an_escalation_is_one_update_with_an_internal_reason(case):
    bodies = wire(case)
    act(case, TicketEscalate)
    (body,) = bodies
    assert body["ticket"]["priority"] == "urgent"
    assert body["ticket"]["comment"]["public"] is False
    assert isinstance(find(case, TicketEscalate), Found)
