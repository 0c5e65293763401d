"""Sandbox, mapping and connector held against real recordings and Zendesk's own specification."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.actions import (
    CustomerChangeEmail,
    CustomerCreate,
    CustomerUpdate,
    TicketCreate,
    TicketNote,
    TicketReply,
    TicketSetStatus,
)
from hub.connector import Page
from hub.mapping import CompiledMapping, compile_mapping, locate
from hub.sandbox import Sandbox, World
from hub.testing import Case, case_for
from hub.transport import Captured, capturing
from hub_zendesk import hub_converters
from hub_zendesk.connector import ZendeskConnector
from hub_zendesk.sandbox import ZendeskSandbox, shapes

ROOT = Path(__file__).parents[2]
README = ROOT / "plugins/zendesk/README.md"
ONES = {"tickets": "ticket", "users": "user", "organizations": "organization"}
Json = dict[str, Any]

# Written down by hand from the recorded bodies: stream, remote id, table, unified values.
BY_HAND: list[tuple[str, str, str, Json]] = [
    ("tickets", "1", "tickets", {
        "number": "1", "status": "open", "status_raw": "open", "priority": "normal", "type": "incident",
        "channel": "other", "channel_raw": "sample_ticket", "tags": ["sample", "support", "zendesk"],
        "customer_ref": {"table": "users", "remote_id": "6130869168922"},
        "assignee_ref": {"table": "users", "remote_id": "6130907993114"}, "account_ref": None,
        "group_ref": "6130852536346", "brand": "6130830354842", "form": "6130830344474",
        "created_at": "2023-09-09T23:52:05Z", "updated_at": "2024-02-07T00:11:18Z", "version": "2024-02-07T00:11:18Z",
    }),
    ("tickets", "2", "tickets", {
        "status": "new", "priority": "none", "priority_raw": None, "type": "none", "channel": "portal",
        "channel_raw": "web", "assignee_ref": None, "satisfaction": None, "due_at": None, "external_ref": None,
        "customer_ref": {"table": "users", "remote_id": "6130941916570"}, "created_at": "2023-09-10T00:16:50Z",
    }),
    ("tickets", "4037", "tickets", {
        "status": "pending", "channel": "api", "group_ref": None, "cc": [], "parent_ref": None,
        "account_ref": {"table": "organizations", "remote_id": "6130869157658"},
        "customer_ref": {"table": "users", "remote_id": "6130907993114"}, "updated_at": "2023-10-29T01:48:50Z",
    }),
    ("users", "6130907993114", "agents", {
        "role": "admin", "is_active": True, "external_ref": None, "created_at": "2023-09-09T23:51:58Z",
        "updated_at": "2024-02-08T17:44:34Z",
    }),
    ("users", "6130871992602", "agents", {"role": "agent", "is_active": True, "created_at": "2023-09-10T00:03:20Z"}),
    ("users", "6162580122650", "users", {
        "status": "active", "external_ref": "45848", "language": "en-US", "timezone": "America/New_York",
        "verified_email": False, "is_blocked": False, "lifecycle": "end-user", "account_ref": None, "tags": [],
        "last_seen_at": None, "created_at": "2023-09-18T14:38:13Z", "updated_at": "2023-09-18T14:38:14Z",
    }),
    ("users", "6133249977754", "users", {"status": "archived", "email": None, "updated_at": "2023-09-10T19:57:48Z"}),
    ("organizations", "6133879794970", "organizations", {
        "external_ref": "863", "notes": "foo", "domains": [], "tags": [], "created_at": "2023-09-11T02:15:28Z",
        "updated_at": "2023-09-11T02:15:30Z",
    }),
    ("comments", "33144692244499", "comments", {
        "visibility": "public", "visibility_raw": "true", "channel": "api", "created_at": "2024-09-06T18:52:11Z",
    }),
    ("comments", "6130852545306", "comments", {"visibility": "public", "attachments": [], "ticket_ref": None}),
]  # fmt: skip


@pytest.fixture(scope="module")
def exchanges(shared: Path) -> list[Json]:
    lines = (shared / "recordings/zendesk-zenpy.jsonl").read_text("utf8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def recorded(exchanges: list[Json]) -> dict[str, list[Json]]:
    """All objects of each sort in any recorded body, as often as they differ."""
    found: dict[str, dict[str, Json]] = {}

    def note(sort: str, one: Json) -> None:
        found.setdefault(sort, {})[json.dumps(one, sort_keys=True)] = one

    def walk(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, dict):
            link = re.search(r"/api/v2/(\w+)/\d+(?:\.json)?$", str(value.get("url")))
            if link and "id" in value and "created_at" in value:
                note(link[1], value)
            if isinstance(value.get("events"), list) and "ticket_id" in value:
                note("audits", value)
            if value.get("type") == "Comment" and "author_id" in value:
                note("comments" if "created_at" in value else "comment events", value)
            for item in value.values():
                walk(item)

    for exchange in exchanges:
        walk(exchange["body"])
    return {sort: list(items.values()) for sort, items in found.items()}


@pytest.fixture(scope="module")
def spec(shared: Path) -> Json:
    class Loader(yaml.CSafeLoader):
        """YAML 1.1 calls "=" a value of its own; this file means the character."""

    Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: node.value)
    text = (shared / "specs/zendesk-support-2024.yaml").read_text("utf8")
    loaded: Json = yaml.load(text, Loader)
    return loaded


@pytest.fixture(scope="module")
def mapping() -> CompiledMapping:
    streams = {mark.name for mark in ZendeskConnector.marks if mark.role == "pull"}
    return compile_mapping(locate(ZendeskConnector), converters=hub_converters(), streams=streams)


@pytest.fixture(scope="module")
def case() -> Iterator[Case]:
    with case_for(ZendeskConnector, world=World(customers=60)) as case:
        yield case


def kind(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return "null" if value is None else names[type(value)]


def shape(rows: list[Json]) -> dict[str, set[str]]:
    """Give the JSON types each key has been seen with."""
    found: dict[str, set[str]] = {}
    for row in rows:
        for key, value in row.items():
            found.setdefault(key, set()).add(kind(value))
    return found


def state(case: Case) -> Any:
    assert isinstance(case.sandbox, ZendeskSandbox)
    return case.sandbox.state


def made(case: Case, sort: str) -> list[Json]:
    """Give what the sandbox answers with, of one sort."""
    known = state(case)
    path = {
        "tickets": "incremental/tickets/cursor.json?start_time=0",
        "users": "incremental/users/cursor.json?start_time=0",
        "organizations": "incremental/organizations.json?start_time=0",
        "ticket_fields": "ticket_fields.json?page[size]=100",
        "user_fields": "user_fields.json?page[size]=100",
        "organization_fields": "organization_fields.json?page[size]=100",
    }.get(sort)
    if path is not None:
        name, _, query = path.partition("?")
        rows: list[Json] = json.loads(read(case, f"/{name}", query))[sort]
        return rows
    if sort == "metric_sets":
        body = read(case, "/incremental/tickets/cursor.json", "start_time=0&include=metric_sets")
        return [ticket["metric_set"] for ticket in json.loads(body)["tickets"]]
    if sort == "comments":
        return [comment for comments in known.comments.values() for comment in comments.values()]
    audits = [audit for audits in known.audits.values() for audit in audits]
    if sort == "audits":
        return audits
    return [event for audit in audits for event in audit["events"] if event["type"] == "Comment"]


def read(case: Case, path: str, query: str = "") -> bytes:
    connector = case.connector
    assert isinstance(connector, ZendeskConnector)
    return connector.client.get(path, dict(pair.split("=") for pair in query.split("&") if pair))


@pytest.mark.parametrize(
    "sort",
    ["tickets", "users", "organizations", "comments", "comment events", "audits", "ticket_fields", "user_fields",
     "organization_fields"],
)  # fmt: skip
def test_the_sandbox_has_the_shapes_that_were_recorded(case: Case, recorded: dict[str, list[Json]], sort: str) -> None:
    real, ours = shape(recorded[sort]), shape(made(case, sort))
    always = {key for key in real if all(key in row for row in recorded[sort])}
    assert always <= set(ours), f"{sort} lacks {sorted(always - set(ours))}"
    assert set(ours) <= set(real), f"{sort} has, but was never recorded with, {sorted(set(ours) - set(real))}"
    for key, types in ours.items():
        if real[key] != {"null"}:
            assert types - {"null"} <= real[key], f"{sort}.{key} is {types}, recorded was {real[key]}"


@pytest.mark.parametrize("sort", ["tickets", "users"])
def test_an_export_has_the_envelope_that_was_recorded(case: Case, exchanges: list[Json], sort: str) -> None:
    path = f"/incremental/{sort}/cursor.json"
    real = shape([e["body"] for e in exchanges if e["path"].endswith(path)])
    ours = shape([json.loads(read(case, path, "start_time=0"))])
    assert set(ours) == set(real)
    assert all(types - {"null"} <= real[key] for key, types in ours.items())


def test_a_time_based_export_has_the_envelope_that_was_recorded(case: Case, exchanges: list[Json]) -> None:
    real = shape([e["body"] for e in exchanges if e["path"].endswith("/incremental/users.json")])
    for name in ("organizations", "ticket_events"):
        ours = shape([json.loads(read(case, f"/incremental/{name}.json", "start_time=0"))])
        assert set(ours) - {name} == set(real) - {"users"}


def test_a_cursor_page_and_a_missing_record_look_as_recorded(case: Case, exchanges: list[Json]) -> None:
    real = next(e["body"] for e in exchanges if e["path"].endswith("/comments.json"))
    ours = json.loads(read(case, f"/tickets/{next(iter(state(case).tickets))}/comments.json", "page[size]=100"))
    assert set(ours["meta"]) == set(real["meta"])
    assert kind(ours["links"]["next"]) == kind(real["links"]["next"])
    missing = next(e["body"] for e in exchanges if e["status"] == 404)
    answer = case.connection.transport.get("https://acme.zendesk.com/api/v2/tickets/999999999.json")
    assert answer.status_code == 404
    assert answer.json() == missing


@pytest.mark.parametrize(
    ("sort", "schema"),
    [("tickets", "TicketObject"), ("users", "UserForAdmin"), ("organizations", "OrganizationObject"),
     ("comments", "TicketCommentObject"), ("audits", "TicketAuditObject"), ("ticket_fields", "TicketFieldObject"),
     ("metric_sets", "TicketMetricObject")],
)  # fmt: skip
def test_the_sandbox_has_the_types_of_the_specification(case: Case, spec: Json, sort: str, schema: str) -> None:
    declared = spec["components"]["schemas"][schema]["properties"]
    for row in made(case, sort):
        for key, value in row.items():
            wanted = declared.get(key, {}).get("type")
            if value is not None and wanted is not None:
                assert kind(value) == wanted, f"{schema}.{key}"
            options = declared.get(key, {}).get("enum")
            if value is not None and options is not None and value != "deleted":
                assert value in options, f"{schema}.{key}"


@pytest.mark.parametrize(
    "action",
    [TicketReply, TicketNote, TicketCreate, TicketSetStatus, CustomerUpdate, CustomerCreate, CustomerChangeEmail],
)
def test_what_is_sent_is_known_to_the_specification(case: Case, spec: Json, action: Any) -> None:
    made_, call = case.call(action)
    method = case.connector.method("act", action.name)
    assert method is not None
    with capturing(), pytest.raises(Captured) as caught:
        method(made_, call)
    schemas = spec["components"]["schemas"]
    for name, fields in caught.value.request["body"].items():
        schema = {"user": "UserForAdmin", "identity": "UserIdentityObject"}.get(name, "TicketObject")
        declared = schemas[schema]["properties"]
        assert set(fields) - {"skip_verify_email"} <= set(declared)
        assert name == "identity" or not any(declared[key].get("readOnly") for key in fields if key in declared)
        assert set(fields.get("comment", {})) <= set(schemas["TicketCommentObject"]["properties"])


def test_the_feeds_of_deletions_have_the_keys_of_the_specification(case: Case, spec: Json) -> None:
    with case_for(ZendeskConnector, world=World(customers=10)) as own:
        known = state(own)
        known.delete_ticket(next(iter(known.tickets)), shapes.staff_id(1))
        known.delete_user(next(one for one, user in known.users.items() if user["role"] == "end-user"))
        ticket = json.loads(read(own, "/deleted_tickets.json"))["deleted_tickets"][0]
        user = json.loads(read(own, "/deleted_users.json"))["deleted_users"][0]
    schemas = spec["components"]["schemas"]
    listed = schemas["ListDeletedTicketsResponse"]["allOf"][0]["properties"]["deleted_tickets"]["items"]
    assert set(ticket) == set(listed["properties"])
    assert set(schemas["DeletedUserObject"]["required"]) <= set(user)


def test_an_uploads_answer_is_one_of_the_specification(case: Case, spec: Json) -> None:
    with case_for(ZendeskConnector, world=World(customers=10)) as own:
        assert isinstance(own.connector, ZendeskConnector)
        assert own.connector.client.upload("a.txt", "text/plain", b"text")
        (made,) = state(own).uploads.values()
    schemas = spec["components"]["schemas"]
    assert "token" in schemas["AttachmentUploadResponse"]["properties"]["upload"]["properties"]
    declared = schemas["AttachmentObject"]["allOf"]
    known = {name for part in declared for name in schemas.get(_named(part), part).get("properties", {})}
    assert set(made) <= known | {"deleted"}


def _named(part: Json) -> str:
    return str(part.get("$ref", "")).rpartition("/")[2]


def test_the_mapping_lists_every_enum_value_of_the_specification(spec: Json, mapping: CompiledMapping) -> None:
    declared = spec["components"]["schemas"]["TicketObject"]["properties"]
    for field in ("status", "priority", "type"):
        for word in declared[field]["enum"]:
            record = {"id": 1, field: word}
            body = json.loads(mapping.map_page("tickets", Page(records=[record])).tables["tickets"].rows[0].body)
            assert body[field] not in ("unknown", "none"), f"{field}: {word}"


@pytest.mark.parametrize("stream", ["tickets", "users", "organizations", "comments"])
def test_every_recorded_object_is_mapped_deleted_or_skipped(
    recorded: dict[str, list[Json]], mapping: CompiledMapping, stream: str
) -> None:
    rows = recorded[stream] + (recorded["comment events"] if stream == "comments" else [])
    assert rows
    page = mapping.map_page(stream, Page(records=rows))
    taken = {row.index for table in page.tables.values() for row in table.rows}
    gone = sum(len(table.deleted) for table in page.tables.values())
    assert [reject for table in page.tables.values() for reject in table.rejects] == []
    assert len(taken) + gone == len(rows)


@pytest.mark.parametrize(("stream", "remote_id", "table", "wanted"), BY_HAND)
def test_recorded_values_are_mapped_as_written_down_by_hand(
    recorded: dict[str, list[Json]],
    mapping: CompiledMapping,
    stream: str,
    remote_id: str,
    table: str,
    wanted: Json,
) -> None:
    rows = recorded[stream] + (recorded["comment events"] if stream == "comments" else [])
    versions = [row for row in rows if str(row["id"]) == remote_id]
    newest = max(versions, key=lambda row: str(row.get("updated_at")))
    found = mapping.map_page(stream, Page(records=[newest])).tables[table].rows
    body = json.loads(found[0].body)
    assert {key: body[key] for key in wanted} == wanted


def test_thirty_values_and_more_are_written_down_by_hand() -> None:
    assert sum(len(wanted) for *_, wanted in BY_HAND) >= 30


@pytest.fixture(scope="module")
def replay(shared: Path) -> Iterator[str]:
    """Every recorded object behind Zendesk's own list endpoints, on loopback."""
    command = [
        sys.executable,
        str(shared / "tools/replay.py"),
        str(shared / "recordings/zendesk-zenpy.jsonl"),
        "--lists",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class _Elsewhere(Sandbox):
    """Stands in for a server that already runs."""

    name = "zendesk"

    def __init__(self, url: str) -> None:
        super().__init__(World(customers=2))
        self.elsewhere = url

    @property
    def url(self) -> str:
        return self.elsewhere

    def settings(self) -> Json:
        return {**super().settings(), "subdomain": "acme", "email": "ops@acme.example", "token": "t"}


def test_a_pull_of_the_replayed_recordings_reads_exactly_what_is_served(replay: str) -> None:
    with case_for(ZendeskConnector, sandbox=_Elsewhere(replay)) as case:
        case.connector.check()
        served = case.connection.transport
        for stream in case.mapping.streams():
            assert case.connector.describe(stream)
            pages = list(case.pull(stream))
            rejects = [r for p in pages for t in p.mapped.tables.values() for r in t.rejects]
            assert rejects == []
            wanted = 0
            if stream in ONES:
                url = f"https://acme.zendesk.com/api/v2/{stream}.json"
                rows = served.get(url).json()[stream]
                wanted = len(rows)
                assert [w for p in pages for w in p.page.warnings] == []
            assert sum(p.mapped.read for p in pages) == wanted, stream
        one = case.connector.method("fetch", "comments")
        assert one is not None
        page = one(case.mapping.stream("comments"), ["33"])
        rows = case.mapping.map_page("comments", page).tables["comments"].rows
        assert [json.loads(row.body)["ticket_ref"] for row in rows] == [{"table": "tickets", "remote_id": "33"}]


def evidence_table() -> str:
    lines = ["| shape | evidence | where |", "|-|-|-|"]
    return "\n".join(lines + [f"| {name} | {source} | {where} |" for name, (source, where) in shapes.EVIDENCE.items()])


def test_the_readme_shows_the_evidence_table() -> None:
    text = README.read_text("utf8")
    start, end = "<!-- evidence -->\n", "\n<!-- /evidence -->"
    assert start in text
    assert end in text
    if os.environ.get("HUB_RECORD"):
        before, _, rest = text.partition(start)
        README.write_text(before + start + evidence_table() + end + rest.partition(end)[2], "utf8")
        return
    shown = text.partition(start)[2].partition(end)[0]
    assert shown == evidence_table(), "run this test with HUB_RECORD=1 and commit the README"


def test_what_no_evidence_covers_is_called_unproven() -> None:
    sources = {source for source, _ in shapes.EVIDENCE.values()}
    assert sources == {"recording", "spec", "SDK type", "UNPROVEN"}
