"""What comes in from Zendesk: exports, deletions, comments, and pages that are none."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from hub.connector import Page
from hub.errors import Invalid, RateLimited, Temporary, Unauthorized
from hub.sandbox import Response, World
from hub.testing import Case, case_for
from hub_zendesk.comments import Comments
from hub_zendesk.connector import ZendeskConnector
from hub_zendesk.cursors import Cursor, parse
from hub_zendesk.sandbox import ZendeskSandbox
from hub_zendesk.sandbox.shapes import staff_id


@pytest.fixture
def case() -> Iterator[Case]:
    with case_for(ZendeskConnector, world=World(customers=30)) as case:
        yield case


def sandbox_of(case: Case) -> ZendeskSandbox:
    assert isinstance(case.sandbox, ZendeskSandbox)
    return case.sandbox


def pages(case: Case, stream: str, cursor: str | None = None) -> list[Page]:
    return [pulled.page for pulled in case.pull(stream, cursor)]


def last_cursor(case: Case, stream: str) -> str:
    return [page.cursor for page in pages(case, stream) if page.cursor][-1]


def tables(case: Case, stream: str, cursor: str | None = None) -> dict[str, dict[str, Any]]:
    """Give {table: {remote id: body}} of a pull, and the tombstones under "deleted"."""
    found: dict[str, dict[str, Any]] = {"deleted": {}}
    for pulled in case.pull(stream, cursor):
        found["deleted"] |= dict.fromkeys(pulled.page.deleted)
        for name, rows in pulled.mapped.tables.items():
            found.setdefault(name, {}).update({row.remote_id: json.loads(row.body) for row in rows.rows})
            found["deleted"] |= dict.fromkeys(rows.deleted)
    return found


def asked(case: Case) -> list[str]:
    """Note the path of every request from now on."""
    paths: list[str] = []
    answer = case.sandbox.answer

    def noting(request: Any) -> Response:
        paths.append(request.path)
        return answer(request)

    case.sandbox.answer = noting  # type: ignore[method-assign]
    return paths


@pytest.mark.parametrize("stream", ["users", "organizations", "tickets", "comments"])
def test_small_pages_give_the_same_records_as_one_large_page(case: Case, stream: str) -> None:
    whole = tables(case, stream)
    sandbox_of(case).export_size = 2
    assert len(pages(case, stream)) > 1
    assert tables(case, stream) == whole


@pytest.mark.parametrize("stream", ["users", "organizations", "tickets", "comments"])
def test_a_second_pull_from_the_last_cursor_finds_nothing_new_and_moves_no_cursor(case: Case, stream: str) -> None:
    again = list(case.pull(stream, last_cursor(case, stream)))
    read = sum(pulled.mapped.read for pulled in again)
    assert read <= 3, "only what shares the last second may come again, of time-based exports"
    assert all(pulled.page.cursor is None for pulled in again)


def test_since_leaves_out_what_is_older(case: Case) -> None:
    method = case.connector.method("pull", "tickets")
    assert method is not None
    moment = datetime(2026, 8, 1, tzinfo=UTC)
    recent = list(method(case.mapping.stream("tickets", since=moment), None))
    bodies = [row for page in recent for row in json.loads(page.body)["tickets"]]
    assert bodies
    assert min(row["updated_at"] for row in bodies) >= "2026-08-01"


def test_a_change_after_the_cursor_comes_with_the_next_pull(case: Case) -> None:
    cursor = last_cursor(case, "tickets")
    state = sandbox_of(case).state
    one = next(iter(state.tickets))
    state.change_ticket(one, {"subject": "changed"}, staff_id(1))
    assert list(tables(case, "tickets", cursor)["tickets"]) == [str(one)]


def test_a_deleted_ticket_comes_as_a_tombstone_once(case: Case) -> None:
    cursor = last_cursor(case, "tickets")
    state = sandbox_of(case).state
    one = next(iter(state.tickets))
    state.delete_ticket(one, staff_id(1))
    pulled = list(case.pull("tickets", cursor))
    assert tables(case, "tickets", cursor) == {"deleted": {str(one): None}, "tickets": {}}
    after = pulled[-1].page.cursor
    assert tables(case, "tickets", after)["deleted"] == {}, "the feed starts where it ended"


def test_a_ticket_that_left_the_export_is_still_found_in_the_feed_of_deleted_ones(case: Case) -> None:
    cursor = last_cursor(case, "tickets")
    state = sandbox_of(case).state
    one = next(iter(state.tickets))
    state.delete_ticket(one, staff_id(1))
    del state.tickets[one]
    assert tables(case, "tickets", cursor)["deleted"] == {str(one): None}


def test_a_restored_ticket_comes_back(case: Case) -> None:
    state = sandbox_of(case).state
    one = next(iter(state.tickets))
    state.delete_ticket(one, staff_id(1))
    cursor = last_cursor(case, "tickets")
    state.restore_ticket(one)
    found = tables(case, "tickets", cursor)
    assert str(one) in found["tickets"]
    assert not found["deleted"]


def test_a_deleted_user_is_archived_and_an_erased_one_gone(case: Case) -> None:
    state = sandbox_of(case).state
    customers = [one for one, user in state.users.items() if user["role"] == "end-user"]
    cursor = last_cursor(case, "users")
    state.delete_user(customers[0])
    state.delete_user(customers[1])
    state.erase_user(customers[1])
    found = tables(case, "users", cursor)
    assert found["users"][str(customers[0])]["status"] == "archived"
    assert found["deleted"] == {str(customers[1]): None}
    assert str(customers[1]) not in found["users"]


def test_an_erased_user_is_found_in_the_feed_even_without_the_export(case: Case) -> None:
    state = sandbox_of(case).state
    one = next(iter(u for u, user in state.users.items() if user["role"] == "end-user"))
    state.delete_user(one)
    state.erase_user(one)
    cursor = last_cursor(case, "users")
    assert tables(case, "users", cursor)["deleted"] == {str(one): None}


def test_a_deleted_organization_is_a_tombstone(case: Case) -> None:
    state = sandbox_of(case).state
    one = next(iter(state.organizations))
    state.delete_organization(one)
    found = tables(case, "organizations")
    assert list(found["deleted"]) == [str(one)]
    assert str(one) not in found["organizations"]


def test_staff_are_agents_and_no_customers(case: Case) -> None:
    found = tables(case, "users")
    state = sandbox_of(case).state
    staff = {str(one) for one, user in state.users.items() if user["role"] != "end-user"}
    assert set(found["agents"]) == staff
    assert not staff & set(found["users"])


def test_comments_know_their_ticket_and_which_side_wrote_them(case: Case) -> None:
    state = sandbox_of(case).state
    found = tables(case, "comments")["comments"]
    for ticket, comments in state.comments.items():
        for one, comment in comments.items():
            body = found[str(one)]
            assert body["ticket_ref"] == {"table": "tickets", "remote_id": str(ticket)}
            staff = state.users[comment["author_id"]]["role"] != "end-user"
            assert body["direction"] == ("outbound" if staff else "inbound")
            assert body["author"]["type"] == ("agent" if staff else "customer")
            assert body["visibility"] == ("public" if comment["public"] else "internal")


def test_a_comment_hidden_later_becomes_internal(case: Case) -> None:
    cursor = last_cursor(case, "comments")
    state = sandbox_of(case).state
    ticket, comments = next((t, c) for t, c in state.comments.items() if state.tickets[t]["status"] != "deleted")
    one = next(c for c, comment in comments.items() if comment["public"])
    state.hide_comment(ticket, one, staff_id(1))
    found = tables(case, "comments", cursor)["comments"]
    assert found[str(one)]["visibility"] == "internal"
    assert len(found) >= len(comments), "all of the ticket's comments were read anew"


@pytest.mark.parametrize("full", [True, False])
def test_a_comment_hidden_on_a_ticket_that_is_gone_is_not_public(case: Case, full: bool) -> None:
    cursor = None if full else last_cursor(case, "comments")
    state = sandbox_of(case).state
    ticket, comments = next((t, c) for t, c in state.comments.items() if state.tickets[t]["status"] != "deleted")
    one = next(c for c, comment in comments.items() if comment["public"])
    state.hide_comment(ticket, one, staff_id(1))
    del state.tickets[ticket]
    found = tables(case, "comments", cursor)
    assert str(one) not in found["comments"]
    assert str(one) in found["deleted"]
    assert not full or {str(other) for other in comments if other != one} <= set(found["comments"])


def test_a_comment_without_a_time_of_its_own_has_that_of_its_event(case: Case) -> None:
    made = Comments(case.connector.client)  # type: ignore[attr-defined]
    event = {"ticket_id": 7, "created_at": "2026-01-01T00:00:00Z"}
    empty = [{"ticket_id": 8, "child_events": None}, {"ticket_id": 9}]
    for kind, child in (("Comment", {"created_at": None}), ("VoiceComment", {})):
        raw = json.dumps({**child, "id": 5, "event_type": kind, "ticket_id": 6, "public": False}).encode()
        body = json.dumps(
            {"ticket_events": [*empty, {**event, "child_events": [json.loads(raw)]}], "count": 1}
        ).encode()
        answers = {"/api/v2/incremental/ticket_events.json": body}
        case.sandbox.answer = lambda request, answers=answers: Response(  # type: ignore[method-assign,misc]
            answers.get(request.path, b'{"users": []}')
        )
        (page,) = made.pull(case.mapping.stream("comments"), None)
        (row,) = case.mapping.map_page("comments", page).tables["comments"].rows
        made_of = json.loads(row.body)
        assert (made_of["created_at"], made_of["ticket_ref"]["remote_id"]) == ("2026-01-01T00:00:00Z", "7")


def test_comments_of_one_ticket_are_fetched_on_demand(case: Case) -> None:
    state = sandbox_of(case).state
    ticket = max(state.comments, key=lambda one: len(state.comments[one]))
    wanted = {str(one) for one in state.comments[ticket]}
    fetch = case.connector.method("fetch", "comments")
    assert fetch is not None
    stream = case.mapping.stream("comments")
    rows = case.mapping.map_page("comments", fetch(stream, [str(ticket)])).tables["comments"].rows
    assert {row.remote_id for row in rows} == wanted
    one = next(iter(wanted))
    alone = fetch(stream, [f"{ticket}:{one}"])
    assert [json.loads(bytes(raw))["id"] for raw in alone.records or ()] == [int(one)]
    assert list(fetch(stream, [f"{ticket}:999"]).deleted) == ["999"]
    gone = fetch(stream, ["987654321"])
    assert (list(gone.records or ()), list(gone.deleted)) == ([], [])


def test_a_comment_without_visibility_is_internal(case: Case) -> None:
    for odd in (None, "yes", 1, "TRUE", [], {}):
        record = {"id": 7, "body": "x", "public": odd, "author_role": "agent"}
        rows = case.mapping.map_page("comments", Page(records=[record])).tables["comments"].rows
        assert json.loads(rows[0].body)["visibility"] == "internal"


def test_the_staff_are_asked_for_once_and_not_for_each_page(case: Case) -> None:
    sandbox_of(case).export_size = 3
    paths = asked(case)
    assert len(pages(case, "comments")) > 3
    assert paths.count("/api/v2/users.json") == 1


def test_links_to_another_host_are_not_followed(case: Case) -> None:
    sandbox_of(case).export_size = 3
    paths = asked(case)
    answers = [json.loads(page.body) for page in pages(case, "tickets") if page.body]
    assert all(answer["after_url"].startswith("https://acme.zendesk.com/") for answer in answers)
    assert len(paths) >= len(answers), "yet every page came from where we asked"


def test_a_start_time_of_the_last_minute_means_nothing_new(case: Case) -> None:
    sandbox = sandbox_of(case)
    at = int(sandbox.state.now.timestamp())
    sandbox.strict_times = True
    assert pages(case, "organizations", Cursor(start=at).text()) == []
    assert pages(case, "comments", Cursor(start=at).text()) == []


def test_any_other_refusal_of_a_time_based_export_is_told(case: Case) -> None:
    case.sandbox.fault("GET /api/v2/incremental/organizations", "status:400")
    with pytest.raises(Invalid):
        pages(case, "organizations", Cursor(start=1_700_000_000).text())


def constant(case: Case, path: str, body: dict[str, Any], most: int = 50) -> list[str]:
    """Answer every request for a path with the same body; count the requests."""
    asked: list[str] = []
    answer = case.sandbox.answer

    def same(request: Any) -> Response:
        if request.path != path:
            return answer(request)
        asked.append(request.path)
        assert len(asked) < most, "the pull does not end"
        starts = int(request.arg("start_time") or 0)
        told = {**body, "end_of_stream": True, "organizations": []} if starts > 1_600_000_000 else body
        return Response(told)

    case.sandbox.answer = same  # type: ignore[method-assign]
    return asked


def test_more_organizations_in_one_second_than_a_page_holds_do_not_stop_the_export(case: Case) -> None:
    row = {"id": 5, "name": "x", "created_at": "2020-09-13T12:26:40Z", "updated_at": "2020-09-13T12:26:40Z"}
    flood = {"organizations": [row], "end_time": 1_600_000_000, "end_of_stream": False, "count": 1000}
    requests = constant(case, "/api/v2/incremental/organizations.json", flood)
    found = pages(case, "organizations")
    assert len(requests) == 3
    assert [parse(page.cursor).start for page in found if page.cursor] == [1_600_000_000, 1_600_000_001]
    assert sum(len(page.records or ()) for page in found[1:]) == 0, "what came before is not read twice"


def test_organizations_that_the_export_cuts_off_within_a_second_are_read_from_the_list(case: Case) -> None:
    sandbox = sandbox_of(case)
    whole = set(tables(case, "organizations")["organizations"])
    for row in sandbox.state.organizations.values():
        row["updated_at"] = "2026-10-01T08:00:00Z"
    sandbox.export_size, sandbox.cut_seconds = 2, True
    assert len(whole) > 2
    assert set(tables(case, "organizations")["organizations"]) == whole


def test_an_end_time_that_goes_back_stops_the_export(case: Case) -> None:
    body = {"organizations": [], "end_time": 5, "end_of_stream": False, "count": 1000}
    constant(case, "/api/v2/incremental/organizations.json", body)
    with pytest.raises(Temporary, match="went back"):
        pages(case, "organizations", Cursor(start=1_500_000_000).text())


def test_a_cursor_that_comes_twice_stops_the_export(case: Case) -> None:
    body = {"tickets": [], "after_cursor": "same", "end_of_stream": False}
    constant(case, "/api/v2/incremental/tickets/cursor.json", body)
    with pytest.raises(Temporary, match="came twice"):
        pages(case, "tickets")


def test_an_export_needs_an_admin_and_says_so(case: Case) -> None:
    sandbox_of(case).role = "agent"
    with pytest.raises(Unauthorized, match="admin"):
        pages(case, "tickets")
    assert "admin" in case.connector.check().notes[0]


def test_a_forbidden_feed_of_deletions_is_a_warning_and_refused_credentials_are_not(case: Case) -> None:
    case.sandbox.fault("GET /api/v2/deleted_tickets", "status:403")
    assert [w for page in pages(case, "tickets") for w in page.warnings]
    case.sandbox.fault("GET /api/v2/deleted_tickets", "status:401")
    with pytest.raises(Unauthorized):
        pages(case, "tickets")


def test_a_waiting_time_as_a_date_is_understood(case: Case) -> None:
    case.connection.transport.patience = type(case.connection.transport.patience)(tries=1)

    def throttled(request: Any) -> Response:
        return Response({"error": "x"}, 429, {"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"})

    case.sandbox.throttled = throttled  # type: ignore[method-assign]
    case.sandbox.fault("GET ", "status:429", 9)
    with pytest.raises(RateLimited) as caught:
        pages(case, "tickets")
    assert (caught.value.retry_after_s or 0) > 1_000_000
    case.sandbox.fault("GET ", "status:429", 9)
    with pytest.raises(RateLimited):
        case.connector.check()


def test_a_redirect_is_not_followed(case: Case) -> None:
    case.sandbox.answer = lambda request: Response({}, 302, {"Location": "https://elsewhere.example/"})  # type: ignore[method-assign]
    with pytest.raises(Unauthorized, match="subdomain"):
        pages(case, "tickets")


def test_a_sign_in_page_in_place_of_the_user_is_temporary(case: Case) -> None:
    case.sandbox.fault("GET /api/v2/users/me", "html", 5)
    with pytest.raises(Temporary):
        case.connector.check()


def test_fields_are_described_with_the_accounts_own_among_them(case: Case) -> None:
    fields = {field.name: field for field in case.connector.describe("tickets")}
    assert "deleted" in fields["status"].values
    assert fields["custom_fields[id=26155630658963].value"].custom
    assert {f.name for f in case.connector.describe("users")} >= {"role", "user_fields.tier"}
    assert {f.name for f in case.connector.describe("organizations")} >= {"name", "organization_fields.tier"}
    assert {f.name for f in case.connector.describe("comments")} >= {"public", "ticket_id", "author_role"}
    case.sandbox.fault("GET /api/v2/ticket_fields", "status:403")
    assert not any(field.custom for field in case.connector.describe("tickets"))
    case.sandbox.fault("GET /api/v2/ticket_fields", "status:401")
    with pytest.raises(Unauthorized):
        case.connector.describe("tickets")


def test_every_path_of_the_mapping_is_described(case: Case) -> None:
    for stream in case.mapping.streams():
        known = {field.name for field in case.connector.describe(stream)}
        for path in case.mapping.stream(stream).paths:
            assert path.split(".")[0].split("[")[0] in known, f"{stream}: {path}"


def test_the_feed_of_deleted_users_may_be_forbidden_too(case: Case) -> None:
    case.sandbox.fault("GET /api/v2/deleted_users", "status:403")
    assert [w for page in pages(case, "users") for w in page.warnings]


def test_without_credentials_zendesk_knows_nobody(case: Case) -> None:
    connector = case.connector
    assert isinstance(connector, ZendeskConnector)
    connector.client.sdk.tickets.session.auth = None
    case.connection.transport.trust_env = False
    with pytest.raises(Unauthorized, match="nobody"):
        connector.check()


def vendor(case: Case, method: str, path: str) -> int:
    """Do something at the sandbox as Zendesk's own users would."""
    url = f"https://acme.zendesk.com/api/v2{path}"
    status: int = case.connection.transport.request(method, url).status_code
    return status


def test_the_sandbox_deletes_and_restores_through_zendesks_own_api(case: Case) -> None:
    state = sandbox_of(case).state
    case.connector.check()
    ticket, organization = next(iter(state.tickets)), next(iter(state.organizations))
    user = next(one for one, known in state.users.items() if known["role"] == "end-user")
    assert vendor(case, "DELETE", f"/tickets/{ticket}.json") == 204
    assert vendor(case, "GET", f"/tickets/{ticket}.json") == 404
    assert vendor(case, "PUT", f"/deleted_tickets/{ticket}/restore.json") == 200
    assert vendor(case, "PUT", f"/deleted_tickets/{ticket}/restore.json") == 404
    assert vendor(case, "DELETE", f"/organizations/{organization}.json") == 204
    assert vendor(case, "DELETE", f"/deleted_users/{user}.json") == 404
    assert vendor(case, "DELETE", f"/users/{user}.json") == 200
    assert vendor(case, "DELETE", f"/deleted_users/{user}.json") == 200
    assert vendor(case, "DELETE", f"/users/{user}.json") == 404
    comment = next(iter(state.comments[ticket]))
    assert vendor(case, "PUT", f"/tickets/{ticket}/comments/{comment}/make_private.json") == 200
    assert state.comments[ticket][comment]["public"] is False
    assert vendor(case, "PUT", f"/tickets/{ticket}/comments/1/make_private.json") == 404
    assert [entry.intent for entry in case.sandbox.effects()] == [
        f"delete ticket {ticket}", f"restore ticket {ticket}", f"delete organization {organization}",
        f"delete user {user}", f"erase user {user}", f"hide comment {comment}",
    ]  # fmt: skip


@pytest.mark.parametrize("query", ["cursor=%21%21", "cursor=eA==", "start_time=x", ""])
def test_the_sandbox_refuses_a_start_that_is_none(case: Case, query: str) -> None:
    case.connector.check()
    assert vendor(case, "GET", f"/incremental/tickets/cursor.json?{query}") == 400
