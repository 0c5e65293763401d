"""The Salesforce connector on its sandbox: the suite of all connectors, and what is Salesforce's own about pulling."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub import Invalid, NotFound, RateLimited, Temporary, Unsupported
from hub.actions import TicketSetStatus
from hub.sandbox import World
from hub.testing import Case, ConnectorSuite, case_for
from hub_salesforce.connector import SalesforceConnector
from hub_salesforce.cursor import Leg, read_cursor
from hub_salesforce.sandbox import SalesforceSandbox
from hub_salesforce.sandbox.fill import one, stamp


class TestSalesforce(ConnectorSuite):
    connector = SalesforceConnector
    wrong_credentials: ClassVar = {"session_id": "00DHb000000000A!stolen"}
    samples: ClassVar = {"ticket.assign": {"assignee": one("User", 2)}}  # a case has one owner
    edit: ClassVar = ('pending = "Waiting on Customer"', 'pending = "Escalated"', TicketSetStatus, "Escalated")

    def private_messages(self, case: Case) -> list[str]:
        return [row["Id"] for row in org(case).rows["CaseComment"].values() if not row["IsPublished"]]


@pytest.fixture(scope="module")
def shared() -> Iterator[Case]:
    with case_for(SalesforceConnector, world=World(customers=30)) as case:
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


def rows(case: Case, stream: str, cursor: str | None = None, table: str | None = None) -> dict[str, dict[str, Any]]:
    """Pull and give what was mapped, by id; a record that comes twice fails."""
    found: dict[str, dict[str, Any]] = {}
    for pulled in case.pull(stream, cursor):
        for row in pulled.mapped.tables[table or stream].rows:
            assert row.remote_id not in found, "a record came twice in one pull"
            found[row.remote_id] = json.loads(row.body)
    return found


def end(case: Case, stream: str, cursor: str | None = None) -> str | None:
    """Pull to the end and give the last cursor."""
    cursors = [p.page.cursor for p in case.pull(stream, cursor) if p.page.cursor]
    return cursors[-1] if cursors else cursor


def a_contact(case: Case) -> str:
    return next(iter(org(case).rows["Contact"]))


def test_a_second_pull_reads_nothing_until_something_changes(case: Case) -> None:
    cursor = end(case, "Contact")
    assert rows(case, "Contact", cursor) == {}
    org(case).change("Contact", a_contact(case), Title="Head of Teapots")
    changed = rows(case, "Contact", cursor)
    assert {one["job_title"] for one in changed.values()} == {"Head of Teapots"}
    assert list(changed) == [a_contact(case)]


def test_a_flood_of_rows_with_one_time_is_read_whole_from_any_page(case: Case) -> None:
    sandbox = org(case)
    for row in sandbox.rows["CaseComment"].values():
        row["SystemModstamp"] = "2026-10-01T08:00:00.000+0000"
    sandbox.batch = 4
    pages = list(case.pull("CaseComment"))
    everything = set(sandbox.rows["CaseComment"])
    seen: set[str] = set()
    for pulled in pages:
        seen |= {row.remote_id for row in pulled.mapped.tables["CaseComment"].rows}
        if pulled.page.cursor:
            rest = set(rows(case, "CaseComment", pulled.page.cursor))
            assert seen | rest == everything
            assert not seen & rest
    assert seen == everything


def test_a_row_whose_transaction_committed_late_is_read_once(case: Case) -> None:
    sandbox = org(case)
    newest = max(datetime.fromisoformat(row["SystemModstamp"]) for row in sandbox.rows["Contact"].values())
    cursor = end(case, "Contact")
    sandbox.rows["Contact"][a_contact(case)]["SystemModstamp"] = stamp(newest - timedelta(seconds=20))
    late = list(case.pull("Contact", cursor))
    assert [row.remote_id for p in late for row in p.mapped.tables["Contact"].rows] == [a_contact(case)]
    cursor = [p.page.cursor for p in late if p.page.cursor][-1]
    assert rows(case, "Contact", cursor) == {}


def test_deleted_records_are_named_once(case: Case) -> None:
    cursor = end(case, "Case")
    gone = next(iter(org(case).rows["Case"]))
    org(case).delete("Case", gone)
    pages = list(case.pull("Case", cursor))
    assert [one for p in pages for one in p.page.deleted] == [gone]
    assert not [row for p in pages for row in p.mapped.tables["Case"].rows]
    cursor = [p.page.cursor for p in pages if p.page.cursor][-1]
    assert not [one for p in case.pull("Case", cursor) for one in p.page.deleted]


def test_a_first_pull_names_what_is_in_the_recycle_bin(case: Case) -> None:
    gone = next(iter(org(case).rows["Case"]))
    org(case).delete("Case", gone)
    pages = list(case.pull("Case"))
    assert [one for p in pages for one in p.page.deleted] == [gone]
    assert gone not in {row.remote_id for p in pages for row in p.mapped.tables["Case"].rows}


def test_users_cannot_be_deleted_and_are_not_asked_for(case: Case) -> None:
    asked: list[str] = []
    answer = org(case).answer
    org(case).answer = lambda request: (asked.append(request.path), answer(request))[1]  # type: ignore[method-assign]
    assert rows(case, "User")
    assert not [path for path in asked if "queryAll" in path]


def test_a_field_that_the_org_lacks_is_left_out_with_a_warning(case: Case) -> None:
    org(case).drop_field("Case", "Priority")
    pages = list(case.pull("Case"))
    assert [w for p in pages for w in p.page.warnings] == [
        "this org has no Case.Priority, or this user may not see it; it is left out"
    ]
    assert {one["priority"] for one in rows(case, "Case").values()} == {"none"}


def test_a_field_that_goes_after_describe_was_read_is_left_out(case: Case) -> None:
    assert rows(case, "Case")
    org(case).drop_field("Case", "Reason")
    pages = list(case.pull("Case"))
    assert sum(p.mapped.read for p in pages)
    assert any("no Case.Reason" in w for p in pages for w in p.page.warnings)


def test_a_field_that_describe_names_but_queries_refuse_is_dropped(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = org(case)
    told = case.connector.schema.get("Case")  # type: ignore[attr-defined]
    sandbox.drop_field("Case", "Reason")
    monkeypatch.setattr(case.connector.schema, "_asked", lambda name: told)  # type: ignore[attr-defined]
    assert set(rows(case, "Case")) == set(sandbox.rows["Case"])


def test_a_relationship_that_the_org_lacks_is_left_out(case: Case) -> None:
    org(case).drop_sobject("OrderItem")
    pages = list(case.pull("Order"))
    assert sum(p.mapped.read for p in pages)
    assert not [r for p in pages for r in p.mapped.tables["Order"].rejects]


def test_an_sobject_that_the_org_lacks_gives_a_warning_and_no_rows(case: Case) -> None:
    org(case).drop_sobject("Order")
    (pulled,) = case.pull("Order")
    assert pulled.mapped.read == 0
    assert pulled.page.warnings == ["this org has no Order, or this user may not see it"]
    with pytest.raises(Unsupported, match="this org has no Order"):
        case.connector.describe("Order")


def test_a_query_that_expires_goes_on_by_position(case: Case) -> None:
    sandbox = org(case)
    sandbox.batch = 6
    seen: list[str] = []
    for n, pulled in enumerate(case.pull("CaseComment")):
        seen += [row.remote_id for row in pulled.mapped.tables["CaseComment"].rows]
        if n == 1:
            sandbox.expire_queries()
    assert sorted(seen) == sorted(sandbox.rows["CaseComment"])


def test_a_query_that_expires_on_every_page_ends_with_an_error(case: Case) -> None:
    org(case).batch = 1
    expiring = (org(case).expire_queries() for _ in case.pull("Contact"))
    with pytest.raises(Temporary, match="expire"):
        list(expiring)


def test_lines_that_come_in_pages_of_their_own_are_put_together(case: Case) -> None:
    whole = rows(case, "Order")
    org(case).nested_batch = 1
    assert rows(case, "Order") == whole
    assert max(len(order["lines"]) for order in whole.values()) > 1


def test_an_order_has_its_lines_amounts_and_numbers(case: Case) -> None:
    order = case.sandbox.world.orders[0]
    body = rows(case, "Order")[one("Order", order.n)]
    assert body["number"] == order.number
    assert body["status"] == "open"
    assert body["total"] == {"amount": order.total_minor, "currency": order.currency}
    assert [line["sku"] for line in body["lines"]] == [line.sku for line in order.lines]
    assert [line["total"]["amount"] for line in body["lines"]] == [line.total_minor for line in order.lines]


def test_an_org_with_one_currency_gives_no_amounts_until_it_is_named() -> None:
    sandbox = SalesforceSandbox(World(customers=20), multi_currency=False)
    with sandbox, case_for(SalesforceConnector, sandbox=sandbox) as case:
        pages = list(case.pull("Order"))
        assert any("default_currency" in warning for p in pages for warning in p.page.warnings)
        bodies = [json.loads(row.body) for p in pages for row in p.mapped.tables["Order"].rows]
        assert bodies
        assert {body["total"] for body in bodies} == {None}


def test_a_configured_currency_is_put_into_orders_and_lines() -> None:
    sandbox = SalesforceSandbox(World(customers=20), multi_currency=False)
    with sandbox, case_for(SalesforceConnector, sandbox=sandbox, default_currency="EUR") as case:
        pages = list(case.pull("Order"))
        assert not [warning for p in pages for warning in p.page.warnings]
        for pulled in pages:
            for row in pulled.mapped.tables["Order"].rows:
                body = json.loads(row.body)
                assert body["total"]["currency"] == "EUR"
                assert all(line["unit_price"]["currency"] == "EUR" for line in body["lines"])


def test_a_person_account_is_a_customer_and_no_organisation(case: Case) -> None:
    persons = rows(case, "Account", table="PersonAccount")
    organisations = rows(case, "Account")
    assert persons
    assert organisations
    assert not set(persons) & set(organisations)
    contacts = rows(case, "Contact")
    assert not {contact["email"] for contact in contacts.values()} & {one["email"] for one in persons.values()}
    assert len(contacts) + len(persons) == len(case.sandbox.world.known_to("salesforce"))


def test_cases_of_a_person_account_belong_to_it_and_to_no_organisation(case: Case) -> None:
    person = next(iter(rows(case, "Account", table="PersonAccount")))
    shadow = org(case).rows["Account"][person]["PersonContactId"]
    first, second = list(org(case).rows["Case"].values())[:2]
    first |= {"AccountId": person, "ContactId": shadow}
    second |= {"AccountId": one("Account", 1), "ContactId": one("Contact", 1)}
    tickets = rows(case, "Case")
    theirs, other = tickets[first["Id"]], tickets[second["Id"]]
    assert theirs["customer_ref"] == {"table": "PersonAccount", "remote_id": person}
    assert theirs["account_ref"] is None
    assert other["customer_ref"] == {"table": "Contact", "remote_id": one("Contact", 1)}
    assert other["account_ref"] == {"table": "Account", "remote_id": one("Account", 1)}


def test_an_org_without_person_accounts_has_accounts_only() -> None:
    sandbox = SalesforceSandbox(World(customers=20), person_accounts=False)
    with sandbox, case_for(SalesforceConnector, sandbox=sandbox) as case:
        assert rows(case, "Account")
        assert rows(case, "Account", table="PersonAccount") == {}
        assert not [w for p in case.pull("Account") for w in p.page.warnings]


def test_a_case_in_a_queue_has_a_group_and_no_assignee(case: Case) -> None:
    tickets = rows(case, "Case").values()
    queued = [ticket for ticket in tickets if ticket["group_ref"]]
    assert queued
    assert all(ticket["assignee_ref"] is None for ticket in queued)
    assert all(ticket["assignee_ref"]["table"] == "User" for ticket in tickets if not ticket["group_ref"])


@pytest.mark.parametrize(
    ("status", "incoming", "visibility"),
    [
        ("5", False, "internal"),
        ("5", True, "internal"),
        ("3", False, "public"),
        ("0", True, "public"),
        ("9", True, "internal"),
        (None, False, "internal"),
        (None, True, "public"),  # it came from the customer
        (None, None, "internal"),
    ],
)
def test_drafts_of_mails_are_internal_and_sent_ones_public(
    case: Case, status: str | None, incoming: bool | None, visibility: str
) -> None:
    for mail in org(case).rows["EmailMessage"].values():
        mail |= {"Status": status, "Incoming": incoming}
    assert {body["visibility"] for body in rows(case, "EmailMessage").values()} == {visibility}


def test_since_leaves_out_what_did_not_change_later(case: Case) -> None:
    times = sorted(datetime.fromisoformat(row["SystemModstamp"]) for row in org(case).rows["Contact"].values())
    since = times[len(times) // 2]
    stream = replace(case.mapping.stream("Contact"), since=since)
    method = case.connector.method("pull", "Contact")
    assert method is not None
    read = sum(case.mapping.map_page("Contact", page).read for page in method(stream, None))
    assert read == sum(moment >= since for moment in times)


def test_fetch_names_what_is_gone(case: Case) -> None:
    stream, method = case.mapping.stream("Contact"), case.connector.method("fetch", "Contact")
    assert method is not None
    here, gone = list(org(case).rows["Contact"])[:2]
    org(case).delete("Contact", gone)
    page = method(stream, [here, gone, here[:15]])
    assert list(page.deleted) == [gone]
    assert len(page.records) == 1


def test_an_sobject_without_any_time_is_scanned_whole(case: Case) -> None:
    for name in ("SystemModstamp", "LastModifiedDate", "CreatedDate"):
        org(case).drop_field("Product2", name)
    stream = replace(case.mapping.stream("User"), name="Product2", paths=("ProductCode",))
    org(case).batch = 2
    pages = list(case.connector.pull_any(stream, None))  # type: ignore[attr-defined]
    assert [page.complete for page in pages] == [False] * (len(pages) - 1) + [True]
    assert {page.cursor for page in pages} == {None}


def test_pulls_leave_the_last_calls_of_the_day_to_actions(case: Case) -> None:
    assert rows(case, "Contact")
    org(case).quota = org(case).used + 1
    case.connector.check()
    with pytest.raises(RateLimited, match="kept for actions"):
        rows(case, "Contact")
    case.connector.check()


def test_check_names_org_sandbox_and_version(case: Case) -> None:
    checked = case.connector.check()
    assert (checked.account[:3], checked.live, checked.api_version) == ("00D", False, "61.0")


def test_describe_tells_types_values_and_who_may_write(case: Case) -> None:
    fields = {field.name: field for field in case.connector.describe("Case")}
    assert "Waiting on Customer" in fields["Status"].values
    assert fields["Subject"].writable is True
    assert fields["CaseNumber"].writable is False
    assert fields["Hub_Key__c"].custom is True
    assert fields["CaseComments"].type == "list"


@pytest.mark.parametrize(
    "text", ["{}", "x", '{"v":"sf1","live":{"at":"now"}}', '{"v":"sf1","live":{"id":"a\' OR Id"}}']
)
def test_a_cursor_of_another_make_is_refused(case: Case, text: str) -> None:
    with pytest.raises(Invalid, match="the stored cursor cannot be read"):
        list(case.pull("Contact", text))


def test_an_unknown_record_is_not_found(case: Case) -> None:
    with pytest.raises(NotFound):
        case.connector.client.get("sobjects/Contact/003Hb00000zzzzzIAA", "read Contact")  # type: ignore[attr-defined]


moments = st.integers(0, 200).map(lambda s: stamp(datetime(2026, 10, 1, tzinfo=UTC) + timedelta(seconds=s)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    times=st.lists(moments, max_size=40),
    size=st.integers(1, 9),
    overlap=st.sampled_from([0, 5, 60]),
    cut=st.integers(0, 50),
)
def test_whatever_the_pages_and_wherever_it_stops_every_row_is_read_once(
    times: list[str], size: int, overlap: int, cut: int
) -> None:
    table = sorted((at.replace("+0000", "Z"), f"003Hb00000{n:05d}AAA") for n, at in enumerate(times))
    leg, seen = Leg(), []
    for stop in (cut, 10_000):
        start = leg
        behind = [key for key in table if not start.at or key > (start.at, start.id)]
        for number, at in enumerate(range(0, len(behind), size)):
            if number == stop:
                break
            page = behind[at : at + size]
            seen += [key for key in page if key not in start.seen]
            leg = leg.moved(page, overlap, first=number == 0)
        leg = read_cursor(json.dumps({"v": "sf1", "live": {"at": leg.at, "id": leg.id, "seen": leg.seen}}), None).live
    assert seen == table
