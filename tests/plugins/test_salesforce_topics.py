"""Tags of a case are topics: added and taken away in one request, once, whatever was there before."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from hub.actions import Action, TicketTag
from hub.connector import Absent, Call, Found, Outcome
from hub.errors import Invalid, Unknown, Unsupported
from hub.sandbox import World
from hub.testing import Case, case_for
from hub.transport import Captured, capturing
from hub_salesforce.connector import SalesforceConnector
from hub_salesforce.sandbox import SalesforceSandbox


@pytest.fixture
def case() -> Iterator[Case]:
    with case_for(SalesforceConnector, world=World(customers=20)) as case:
        yield case


def org(case: Case) -> SalesforceSandbox:
    assert isinstance(case.sandbox, SalesforceSandbox)
    return case.sandbox


def prepared(case: Case, add: Any = ("vip",), remove: Any = ()) -> tuple[Action, Call]:
    sample = {"add": list(add), "remove": list(remove)}
    return replace(case, samples={**case.samples, "ticket.tag": sample}).call(TicketTag, key="run.tag")


def tag(case: Case, add: Any = ("vip",), remove: Any = ()) -> Outcome:
    method = case.connector.method("act", "ticket.tag")
    assert method is not None
    found = method(*prepared(case, add, remove))
    assert isinstance(found, Outcome)
    return found


def found(case: Case, add: Any = ("vip",), remove: Any = ()) -> Any:
    method = case.connector.method("find", "ticket.tag")
    assert method is not None
    return method(*prepared(case, add, remove))


def topics(case: Case) -> list[str]:
    """Give the topics of the case that is tagged here."""
    target = prepared(case)[1].target
    assert target is not None
    rows = org(case).rows
    assigned = [row for row in rows["TopicAssignment"].values() if not row["IsDeleted"]]
    return sorted(rows["Topic"][r["TopicId"]]["Name"] for r in assigned if r["EntityId"] == target.remote_id)


def test_topics_are_added_and_taken_away_in_one_request(case: Case) -> None:
    tag(case, add=["old", "vip"])
    (effect,) = tag(case, add=["late"], remove=["old"]).effects
    assert topics(case) == ["late", "vip"]
    assert (effect.before, effect.after) == ({"topics": ["old", "vip"]}, {"topics": ["late", "vip"]})
    writes = [entry for entry in case.sandbox.ledger if entry.method != "GET"]
    assert [entry.path.rpartition("/")[2] for entry in writes] == ["composite", "composite"]


def test_what_is_so_already_is_not_written(case: Case) -> None:
    tag(case)
    outcome = tag(case, add=["VIP"], remove=["never"])
    assert (outcome.effects, topics(case)) == ((), ["vip"])
    assert len([entry for entry in case.sandbox.ledger if entry.method != "GET"]) == 1


def test_a_topic_that_the_org_has_is_taken_whatever_its_case(case: Case) -> None:
    shape = org(case).shapes["Topic"]
    org(case).writer.create(shape, {"Name": "VIP"})
    tag(case)
    assert topics(case) == ["VIP"]


def test_a_name_is_quoted(case: Case) -> None:
    tag(case, add=["o'brien\\"])
    assert topics(case) == ["o'brien\\"]


def test_a_lost_answer_is_found_and_doing_it_again_changes_nothing(case: Case) -> None:
    assert isinstance(found(case), Absent)
    case.sandbox.fault("POST ", "drop_after", times=1)
    with pytest.raises(Unknown):
        tag(case)
    assert isinstance(found(case), Found)
    tag(case)
    assert topics(case) == ["vip"]
    assert isinstance(found(case, add=[], remove=["vip"]), Absent)


def test_a_topic_that_cannot_be_assigned_is_not_left_behind(case: Case) -> None:
    target = prepared(case)[1].target
    assert target is not None
    ready = prepared(case)
    del org(case).rows["Case"][target.remote_id]
    method = case.connector.method("act", "ticket.tag")
    assert method is not None
    with pytest.raises(Invalid, match="INVALID_CROSS_REFERENCE_KEY"):
        method(*ready)
    assert not org(case).rows["Topic"]


def test_a_topic_that_cannot_be_made_is_not_assigned(case: Case) -> None:
    assert isinstance(found(case), Absent)  # what the org has is known by now
    columns = org(case).shapes["Topic"].columns
    tag(case, add=["late"])
    columns["Name"] = replace(columns["Name"], createable=False)
    with pytest.raises(Invalid, match="INVALID_FIELD_FOR_INSERT_UPDATE"):
        tag(case, add=["vip"], remove=["late"])
    assert topics(case) == ["late"]


def test_more_changes_than_one_request_takes_are_refused(case: Case) -> None:
    with pytest.raises(Invalid, match="26 writes") as caught:
        tag(case, add=[f"t{n}" for n in range(13)])
    assert (caught.value.field_path, topics(case)) == ("input.add", [])


@pytest.mark.parametrize("sobject", ["Topic", "TopicAssignment"])
def test_an_org_without_topics_says_so(case: Case, sobject: str) -> None:
    org(case).drop_sobject(sobject)
    with pytest.raises(Unsupported, match="turn them on for cases"):
        tag(case)


def test_a_preview_shows_the_assignments_and_sends_nothing(case: Case) -> None:
    with capturing(), pytest.raises(Captured) as caught:
        tag(case)
    parts = caught.value.request["body"]["compositeRequest"]
    assert [part["url"].rpartition("/")[2] for part in parts] == ["Topic", "TopicAssignment"]
    assert topics(case) == []
