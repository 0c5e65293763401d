"""A status and what staff are told of it go to Zendesk and Salesforce in one update: both or neither."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from hub.actions import Action, TicketSetStatus
from hub.connector import Absent, Call, CannotTell, Connector, Found
from hub.errors import Unknown
from hub.sandbox import World
from hub.testing import Case, case_for
from hub_salesforce.connector import SalesforceConnector
from hub_zendesk.connector import ZendeskConnector

TEXT = "Resolution: sent a new one\n\nask Berta"
SAID = {"status": "pending", "note": TEXT}


@pytest.fixture(params=[ZendeskConnector, SalesforceConnector])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    connector: type[Connector] = request.param
    with case_for(connector, world=World(customers=20)) as case:
        yield replace(case, samples={**case.samples, "ticket.set_status": SAID})


@pytest.fixture
def ready(case: Case) -> tuple[Action, Call]:
    return case.call(TicketSetStatus, key="hub-run-1")


def do(case: Case, ready: tuple[Action, Call], role: str = "act") -> Any:
    method = case.connector.method(role, "ticket.set_status")
    assert method is not None
    return method(*ready)


def notes(case: Case) -> list[tuple[str, bool]]:
    """Give the text of each comment that says so, and whether a customer can read it."""
    sandbox: Any = case.sandbox
    if isinstance(case.connector, SalesforceConnector):
        rows = sandbox.rows["CaseComment"].values()
        return [(row["CommentBody"], row["IsPublished"]) for row in rows if row["CommentBody"] == TEXT]
    rows = [said for ticket in sandbox.state.comments.values() for said in ticket.values()]
    return [(row["plain_body"], row["public"]) for row in rows if row["plain_body"] == TEXT]


def test_status_and_note_go_together_and_the_note_is_for_staff(case: Case, ready: tuple[Action, Call]) -> None:
    outcome = do(case, ready)
    assert notes(case) == [(TEXT, False)]
    assert {effect.op for effect in outcome.effects} == {"create", "update"}
    writes = [entry for entry in case.sandbox.ledger if entry.method != "GET"]
    assert len(writes) == 1


def test_a_lost_answer_is_found_with_its_note_once(case: Case, ready: tuple[Action, Call]) -> None:
    assert isinstance(do(case, ready, "find"), (Absent, CannotTell))
    case.sandbox.fault("PUT " if isinstance(case.connector, ZendeskConnector) else "POST ", "drop_after", times=1)
    with pytest.raises(Unknown):
        do(case, ready)
    assert isinstance(do(case, ready, "find"), Found)
    assert len(notes(case)) == 1
