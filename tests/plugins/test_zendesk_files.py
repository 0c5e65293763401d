"""Files go to Zendesk before the comment that names them, and nobody sees them until then."""

import base64
from typing import Any

import pytest

from hub.actions import TicketNote, TicketReply
from hub.connector import Outcome
from hub.errors import NotSent, RateLimited, Unknown
from hub.sandbox import World
from hub.testing import SAMPLES, Case, case_for
from hub.transport import Captured, capturing, watch
from hub_zendesk.connector import ZendeskConnector
from hub_zendesk.sandbox import ZendeskSandbox

PDF = b"%PDF-1.7 the bill"
BILL = {"name": "bill 7.pdf", "content_type": "application/pdf", "content": base64.b64encode(PDF).decode()}
LABEL = {"name": "label.png", "content_type": "image/png", "content": base64.b64encode(b"\x89PNG label").decode()}


@pytest.fixture
def case() -> Any:
    files = {"attachments": [BILL, LABEL]}
    samples = {name: {**SAMPLES[name], **files} for name in ("ticket.reply", "ticket.note")}
    with case_for(ZendeskConnector, world=World(customers=10), samples=samples) as case:
        yield case


def act(case: Case, action: Any = TicketReply, key: str = "hub-run-1") -> Outcome:
    made, call = case.call(action, key)
    method = case.connector.method("act", action.name)
    assert method is not None
    found = method(made, call)
    assert isinstance(found, Outcome)
    return found


def writes(case: Case) -> list[str]:
    return [entry.path.rpartition("/")[2].partition("?")[0] for entry in case.sandbox.ledger if entry.method != "GET"]


@pytest.mark.parametrize(("action", "public"), [(TicketReply, True), (TicketNote, False)])
def test_a_comment_carries_its_files(case: Case, action: Any, public: bool) -> None:
    outcome = act(case, action)
    assert isinstance(case.sandbox, ZendeskSandbox)
    ticket = int(outcome.touched[0][1])
    newest = list(case.sandbox.state.comments[ticket].values())[-1]
    assert newest["public"] is public
    assert [(file["file_name"], file["content_type"], file["size"]) for file in newest["attachments"]] == [
        ("bill 7.pdf", "application/pdf", len(PDF)),
        ("label.png", "image/png", 10),
    ]
    assert writes(case)[:2] == ["uploads.json", "uploads.json"]
    assert len(case.sandbox.effects()) == 1


@pytest.mark.parametrize("fault", ["drop_after", "drop_before", "status:500"])
def test_an_upload_whose_answer_is_lost_is_made_again_and_the_reply_is_sent_once(case: Case, fault: str) -> None:
    case.sandbox.fault("POST /api/v2/uploads", fault, times=1)
    with watch() as flights:
        act(case)
    assert len(case.sandbox.effects("reply to ticket")) == 1
    assert [(flight.method, flight.doubtful) for flight in flights] == [("PUT", False)]


def test_files_that_do_not_get_through_keep_the_reply_back(case: Case) -> None:
    case.sandbox.fault("POST /api/v2/uploads", "drop_before", times=9)
    with watch() as flights, pytest.raises(NotSent, match="no comment was sent"):
        act(case)
    assert (flights, case.sandbox.effects()) == ([], [])


def test_too_many_uploads_are_for_later(case: Case) -> None:
    case.sandbox.fault("POST /api/v2/uploads", "status:429", times=9)
    with pytest.raises(RateLimited):
        act(case)
    assert case.sandbox.effects() == []


def test_a_reply_whose_answer_was_lost_is_found_and_uploads_nothing_more(case: Case) -> None:
    case.sandbox.fault("PUT /api/v2/tickets", "drop_after", times=1)
    with pytest.raises(Unknown):
        act(case)
    sent = writes(case).count("uploads.json")
    again = act(case)
    assert [effect.object for effect in again.effects] == ["comment"]
    assert (writes(case).count("uploads.json"), len(case.sandbox.effects())) == (sent, 1)


def test_a_preview_uploads_nothing_and_shows_the_comment(case: Case) -> None:
    with capturing(), pytest.raises(Captured) as caught:
        act(case)
    comment = caught.value.request["body"]["ticket"]["comment"]
    assert comment["uploads"] == ["(the upload of bill 7.pdf)", "(the upload of label.png)"]
    assert writes(case) == []
