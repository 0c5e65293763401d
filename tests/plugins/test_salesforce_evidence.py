"""Sandbox, mapping and connector held against real recordings and describes of Salesforce."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.connector import Page
from hub.mapping import CompiledMapping, compile_mapping, locate
from hub.mapping.checking import check
from hub.sandbox import World
from hub.testing import Case, case_for
from hub.transport import Transport
from hub_salesforce import hub_converters
from hub_salesforce.connector import SalesforceConnector
from hub_salesforce.sandbox import SalesforceSandbox
from hub_salesforce.sandbox.shapes import checksum

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
README = ROOT / "plugins/salesforce/README.md"
DESCRIBED = ("Account", "Case", "Contact")
NOTHING = {"updated_at": None, "created_at": None, "version": None}

# Written down by hand from the recorded bodies: stream, remote id, unified values.
BY_HAND: list[tuple[str, str, Json]] = [
    ("Account", "001Da00000xnAk6IAE", {
        "external_ref": None, "industry": None, "size": None, "tier": None, "phone": None, "parent_ref": None,
        "billing_address": None, "shipping_address": None, "custom": {"website": None, "type": None}, **NOTHING,
    }),
    ("Account", "0015500001QdRaYAAV", {"external_ref": "420", "name": None, "owner_agent_ref": None, **NOTHING}),
    ("Account", "0015500001QdQWaAAN", {"external_ref": "420"}),
    ("Account", "0015500001QdQWfAAN", {"external_ref": "420"}),
    ("Account", "0019H00000H1RMDQA3", {"external_ref": "123", "phone": "12345632", "notes": "Some Description"}),
    ("Account", "0019H00000H1RMFQA3", {"external_ref": "123", "phone": "12345612", "parent_ref": None}),
    ("Account", "0019H00000H1V01QAF", {"external_ref": "123", "phone": "12345623", "size": None}),
    ("Account", "0012300000bVTq1AAG", {"external_ref": None, "phone": None, "notes": None}),
    ("Contact", "0035500001H9dBLAAZ", {
        "status": "active", "email": None, "phone": None, "account_ref": None, "default_address": None,
        "merged_into": None, "verified_email": None, **NOTHING,
    }),
    ("Contact", "003P000001avB5GIAU", {"status": "active", "salutation": None, "job_title": None, "lifecycle": None}),
]  # fmt: skip

# What each shape of the sandbox rests on. A shape that says UNPROVEN is made from general knowledge of the REST API.
EVIDENCE: dict[str, str] = {
    "query answer, its records and their `attributes`": "recording salesforce-cumulusci",
    "parents inside a record (`Who.LastName`)": "recording salesforce-cumulusci",
    "subquery without rows is null, with rows has an answer's frame": "recordings cumulusci, restforce (trimmed)",
    "paging by `nextRecordsUrl`": "recording salesforce-restforce (trimmed)",
    "subqueries that come in pages of their own": "UNPROVEN",
    "query locator that expired": "UNPROVEN",
    "`queryAll` with deleted rows": "UNPROVEN",
    "describe of Account, Contact, Case: keys, types, references, who may write": "salesforce-describe",
    "describe of all others": "keys: salesforce-describe; fields UNPROVEN",
    "list of sObjects": "salesforce-describe (Global)",
    "fields of person accounts, of multi-currency, `Hub_Key__c`": "UNPROVEN",
    "error list `[{message, errorCode, fields}]`": "recordings cumulusci, restforce",
    "INVALID_FIELD, NOT_FOUND, INVALID_SESSION_ID": "recording salesforce-restforce (trimmed)",
    "INVALID_TYPE, MALFORMED_QUERY, REQUIRED_FIELD_MISSING, STRING_TOO_LONG and others": "UNPROVEN",
    "REQUEST_LIMIT_EXCEEDED, UNABLE_TO_LOCK_ROW": "UNPROVEN",
    "create: 201 `{id, success, errors}`": "recording salesforce-cumulusci",
    "upsert by external id: `created`": "recording salesforce-cumulusci (collections), single record UNPROVEN",
    "update and delete: 204": "UNPROVEN",
    "composite answer": "recording salesforce-cumulusci (reads); all-or-none writes UNPROVEN",
    "412 on If-Unmodified-Since": "UNPROVEN",
    "Case, CaseComment, Contact and Order writes": "UNPROVEN",
    "TopicAssignment: child of Case by `EntityId`": "salesforce-describe",
    "Topic and TopicAssignment: fields, writes, DUPLICATE_VALUE": "UNPROVEN",
    "OAuth token answer and its error": "recording salesforce-restforce (trimmed)",
    "SOAP log-in": "what simple-salesforce 1.12.10 sends and reads; the rest UNPROVEN",
    "client credentials, JWT bearer": "what simple-salesforce 1.12.10 sends and reads; the rest UNPROVEN",
    "`Sforce-Limit-Info`": "what simple-salesforce 1.12.10 reads",
    "`/services/oauth2/userinfo`": "UNPROVEN",
    "ids: prefix, 18 characters, checksum": "recording salesforce-cumulusci",
}


@pytest.fixture(scope="module")
def exchanges(shared: Path) -> list[Json]:
    files = ("salesforce-cumulusci", "salesforce-restforce")
    texts = ((shared / f"recordings/{name}.jsonl").read_text("utf8") for name in files)
    return [json.loads(line) for text in texts for line in text.splitlines()]


@pytest.fixture(scope="module")
def describes(shared: Path) -> dict[str, Json]:
    folder = shared / "recordings/salesforce-describe"
    return {name: json.loads((folder / f"{name}.json").read_text("utf8")) for name in (*DESCRIBED, "Global")}


@pytest.fixture(scope="module")
def recorded(exchanges: list[Json]) -> dict[str, list[Json]]:
    """All records in any recorded body, by sObject, as often as they differ."""
    found: dict[str, dict[str, Json]] = {}

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("attributes"), dict) and value.get("Id"):
                found.setdefault(value["attributes"]["type"], {})[json.dumps(value, sort_keys=True)] = value
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    for exchange in exchanges:
        walk(exchange["body"])
    return {name: list(rows.values()) for name, rows in found.items()}


@pytest.fixture(scope="module")
def mapping() -> CompiledMapping:
    return compile_mapping(locate(SalesforceConnector), converters=hub_converters())


@pytest.fixture(scope="module")
def case() -> Iterator[Case]:
    with case_for(SalesforceConnector, world=World(customers=20)) as case:
        yield case


def get(case: Case, path: str, **params: str) -> Any:
    connector = case.connector
    assert isinstance(connector, SalesforceConnector)
    return connector.client.value(path, "test", params or None)


def bodies(exchanges: list[Json], method: str, part: str, status: int = 200) -> list[Any]:
    fits = (e for e in exchanges if e.get("method") == method and part in e["path"] and e["status"] == status)
    return [e["body"] for e in fits]


def trimmed(exchanges: list[Json], name: str) -> Any:
    return next(e["body"] for e in exchanges if e.get("case") == name)


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_describe_has_the_keys_and_types_that_were_recorded(
    case: Case, describes: dict[str, Json], name: str
) -> None:
    ours, real = get(case, f"sobjects/{name}/describe"), describes[name]
    odd = {"associateEntityType", "associateParentEntity", "sobjectDescribeOption"}  # newer versions only
    assert set(real) - set(ours) <= odd
    assert set(ours) <= set(real)
    assert {k: type(ours[k]) for k in ours} == {k: type(real[k]) for k in ours}
    assert ours["keyPrefix"] == real["keyPrefix"]
    assert set(ours["childRelationships"][0]) == set(real["childRelationships"][0])
    links = {(c["childSObject"], c["field"], c["relationshipName"]) for c in real["childRelationships"]}
    mine = {(c["childSObject"], c["field"], c["relationshipName"]) for c in ours["childRelationships"]}
    known = {(child, field) for child, field, _ in links}
    assert {link for link in mine if link[:2] in known and link[2]} <= links


@pytest.mark.parametrize("name", DESCRIBED)
def test_each_described_field_is_as_it_was_recorded(case: Case, describes: dict[str, Json], name: str) -> None:
    real = {field["name"]: field for field in describes[name]["fields"]}
    ours = {field["name"]: field for field in get(case, f"sobjects/{name}/describe")["fields"]}
    shared_names = set(real) & set(ours)
    assert len(shared_names) >= 30
    for field in shared_names:
        mine, theirs = ours[field], real[field]
        assert set(mine) == set(theirs), field
        for key in ("type", "soapType", "relationshipName", "createable", "updateable", "externalId", "custom"):
            assert mine[key] == theirs[key], f"{name}.{field}.{key}"
        assert set(mine["referenceTo"]) == set(theirs["referenceTo"]), field
        if mine["picklistValues"] and theirs["picklistValues"]:
            assert set(mine["picklistValues"][0]) == set(theirs["picklistValues"][0])


def test_the_list_of_sobjects_has_the_recorded_keys(case: Case, describes: dict[str, Json]) -> None:
    ours, real = get(case, "sobjects"), describes["Global"]
    assert set(ours) == set(real)
    assert set(ours["sobjects"][0]) <= set(real["sobjects"][0])


def test_a_query_answers_in_the_recorded_frame(case: Case, exchanges: list[Json]) -> None:
    real = [body for body in bodies(exchanges, "GET", "0/query") if body.get("records")]
    ours = get(case, "query", q="SELECT Id, Name FROM Account")
    assert {frozenset(body) for body in real} == {frozenset(ours)}
    rows = [row for body in real for row in body["records"] if row["attributes"]["type"] == "Account"]
    assert {frozenset(row["attributes"]) for row in rows} == {frozenset(ours["records"][0]["attributes"])}
    page = trimmed(exchanges, "query_paginated_first_page_response")
    org = sandbox(case)
    org.batch = 3
    first = get(case, "query", q="SELECT Id FROM Contact")
    org.batch = None
    assert set(first) == set(page)
    assert first["nextRecordsUrl"].startswith("/services/data/v")


def sandbox(case: Case) -> SalesforceSandbox:
    assert isinstance(case.sandbox, SalesforceSandbox)
    return case.sandbox


def test_parents_and_children_look_as_recorded(case: Case, exchanges: list[Json]) -> None:
    real = trimmed(exchanges, "query_success_response")["records"][0]
    child = real["Whizbangs__r"]
    ours = get(case, "query", q="SELECT Id, Account.Name, (SELECT Id FROM OrderItems) FROM Order")["records"][0]
    assert set(child) <= set(ours["OrderItems"])
    assert "attributes" in ours["Account"]
    assert "attributes" in real["ParentWhizbang__r"]
    empty = [row for b in bodies(exchanges, "GET", "/query") for row in b["records"] if "Opportunities" in row]
    assert None in [row["Opportunities"] for row in empty]
    cases = get(case, "query", q="SELECT Id, (SELECT Id FROM Cases) FROM Contact")["records"]
    assert None in [row["Cases"] for row in cases]


def test_values_have_the_recorded_json_types(case: Case, recorded: dict[str, list[Json]]) -> None:
    for name in ("Account", "Contact"):
        columns = [c for c in sandbox(case).shapes[name].columns if any(c in row for row in recorded[name])]
        rows = get(case, "query", q=f"SELECT {', '.join(columns)} FROM {name}")["records"]
        for column in columns:
            real = {type(row[column]) for row in recorded[name] if row.get(column) is not None}
            ours = {type(row[column]) for row in rows if row.get(column) is not None}
            assert not real or ours <= real, f"{name}.{column}"


def test_errors_and_created_records_look_as_recorded(case: Case, exchanges: list[Json]) -> None:
    transport = case.connection.transport
    root = f"https://{SalesforceSandbox.instance}/services/data/v61.0/"
    headers = {"Authorization": f"Bearer {SalesforceSandbox.session_id}"}
    wrong = transport.get(f"{root}query", params={"q": "SELECT Nope FROM Case"}, headers=headers)
    real = trimmed(exchanges, "query_error_response")
    assert (set(wrong.json()[0]), wrong.json()[0]["errorCode"]) == (set(real[0]), real[0]["errorCode"])
    expired = transport.get(f"{root}limits", headers={"Authorization": "Bearer x"}).json()
    assert expired == trimmed(exchanges, "expired_session_response")
    missing = transport.get(f"{root}sobjects/Nope/describe", headers=headers)
    assert missing.json() == trimmed(exchanges, "sobject_describe_error_response")
    made = transport.post(f"{root}sobjects/Account", json={"Name": "x"}, headers=headers)
    real_made = bodies(exchanges, "POST", "/sobjects/Account", 201)[0]
    assert (made.status_code, set(made.json())) == (201, set(real_made))


def test_a_composite_answer_and_a_token_look_as_recorded(case: Case, exchanges: list[Json]) -> None:
    transport = case.connection.transport
    root = f"https://{SalesforceSandbox.instance}"
    headers = {"Authorization": f"Bearer {SalesforceSandbox.session_id}"}
    asked = {"method": "POST", "url": "/services/data/v61.0/sobjects/Nope", "referenceId": "x", "body": {}}
    body = {"allOrNone": False, "compositeRequest": [asked]}
    ours = transport.post(f"{root}/services/data/v61.0/composite", json=body, headers=headers).json()
    real = [b for b in bodies(exchanges, "POST", "/composite") if isinstance(b, dict) and "compositeResponse" in b]
    refused = next(p for b in real for p in b["compositeResponse"] if p["httpStatusCode"] == 404)
    assert {**ours["compositeResponse"][0], "referenceId": ""} == {**refused, "referenceId": ""}
    form = {"grant_type": "client_credentials", "client_id": "sandbox-client", "client_secret": "sandbox-client-secret"}
    token = transport.post(f"{root}/services/oauth2/token", data=form).json()
    assert {"access_token", "instance_url"} <= set(token) & set(trimmed(exchanges, "auth_success_response"))
    refusal = transport.post(f"{root}/services/oauth2/token", data={**form, "client_secret": "x"}).json()
    assert set(refusal) == set(trimmed(exchanges, "auth_error_response"))


def test_ids_are_made_as_the_recorded_ones_are(recorded: dict[str, list[Json]]) -> None:
    ids = [row["Id"] for name in ("Account", "Contact") for row in recorded[name] if "x" not in row["Id"][:5]]
    assert len(ids) > 50
    assert [one[15:] for one in ids] == [checksum(one[:15]) for one in ids]


@pytest.mark.parametrize("stream", ["Account", "Contact"])
def test_every_recorded_object_is_mapped(
    recorded: dict[str, list[Json]], mapping: CompiledMapping, stream: str
) -> None:
    page = mapping.map_page(stream, Page(records=recorded[stream]))
    assert [reject for table in page.tables.values() for reject in table.rejects] == []
    assert len(page.tables[stream].rows) == len(recorded[stream])


@pytest.mark.parametrize(("stream", "remote_id", "wanted"), BY_HAND)
def test_recorded_values_are_mapped_as_written_down_by_hand(
    recorded: dict[str, list[Json]], mapping: CompiledMapping, stream: str, remote_id: str, wanted: Json
) -> None:
    merged: Json = {}
    for row in recorded[stream]:
        if row["Id"] == remote_id:
            merged |= row
    (made,) = mapping.map_page(stream, Page(records=[merged])).tables[stream].rows
    body = json.loads(made.body)
    assert body["remote_id"] == remote_id
    assert {key: body[key] for key in wanted} == wanted


def test_thirty_values_and_more_are_written_down_by_hand() -> None:
    assert sum(len(wanted) for *_, wanted in BY_HAND) >= 30


def test_the_mapping_has_a_meaning_for_every_value_of_the_recorded_picklists(
    describes: dict[str, Json], mapping: CompiledMapping
) -> None:
    values = {f["name"]: [p["value"] for p in f["picklistValues"]] for f in describes["Case"]["fields"]}
    for column, field in (("Status", "status"), ("Priority", "priority"), ("Type", "type"), ("Origin", "channel")):
        for word in values[column]:
            page = Page(records=[{"Id": "500Hb0000000001IAA", column: word}])
            body = json.loads(mapping.map_page("Case", page).tables["Case"].rows[0].body)
            assert body[field] not in ("unknown", "none", None), f"{column}: {word}"
            assert body[f"{field}_raw"] == word


def test_paths_of_the_mapping_are_fields_of_the_recorded_describes(
    describes: dict[str, Json], mapping: CompiledMapping
) -> None:
    features = ("Person", "CurrencyIsoCode", "Code", "Hub_", "SlaExitDate", "RecordTypeId", "IsPersonAccount")
    absent = {"Contact": {"HasOptedOutOfEmail", "DoNotCall"}, "Account": {"FirstName", "LastName", "Salutation"}}
    for name in DESCRIBED:
        told = describes[name]
        known = {"attributes"} | {f[key] for f in told["fields"] for key in ("name", "relationshipName")}
        for path in mapping.stream(name).paths:
            head = path.split(".")[0]
            unusual = any(word in path for word in features) or head in absent.get(name, ())
            assert head in known or unusual, f"{name}: {path}"


def test_the_mapping_holds_its_laws_and_knows_the_sandboxs_fields(case: Case, mapping: CompiledMapping) -> None:
    fields = {stream: case.connector.describe(stream) for stream in mapping.streams()}
    problems = [str(problem) for problem in check(mapping, fields=fields)]
    features = ("StateCode", "CountryCode", "SlaExitDate", "RecordTypeId")  # the sandbox has them switched off
    assert [problem for problem in problems if not any(word in problem for word in features)] == []


@pytest.fixture(scope="module")
def replay(shared: Path) -> Iterator[str]:
    """Every recorded record behind Salesforce's own endpoints, on loopback."""
    tool, folder = shared / "tools/replay.py", shared / "recordings"
    command = [sys.executable, str(tool), str(folder / "salesforce-cumulusci.jsonl"), "--lists"]
    command += ["--describes", str(folder / "salesforce-describe")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.fixture
def replayed(replay: str) -> SalesforceConnector:
    config = SalesforceConnector.Config(instance="acme.my.salesforce.com", session_id="00Dx0!token")
    transport = Transport("salesforce", hosts=SalesforceConnector.hosts(config), base_url=replay)
    return SalesforceConnector(config, transport)


def test_recorded_records_are_pulled_once_each(replayed: SalesforceConnector, mapping: CompiledMapping) -> None:
    assert replayed.check().account
    read, warned = {}, []
    for stream in mapping.streams():
        pages = list(replayed.pull_any(mapping.stream(stream), None))
        made = [mapping.map_page(stream, page) for page in pages]
        read[stream] = sum(page.read for page in made)
        warned += [warning for page in pages for warning in page.warnings]
        assert not [r for page in made for table in page.tables.values() for r in table.rejects]
        again = [page.cursor for page in pages if page.cursor]
        assert len(set(again)) == len(again)
    assert read == {
        "Contact": 32, "Account": 32, "Case": 0, "CaseComment": 0, "EmailMessage": 0, "Order": 0, "User": 0,
    }  # fmt: skip
    skipped = {warning.split()[4].rstrip(",") for warning in warned if "left out" not in warning}
    assert skipped == {"CaseComment", "EmailMessage", "Order", "User"}


def test_a_recorded_record_is_fetched(replayed: SalesforceConnector, mapping: CompiledMapping) -> None:
    page = replayed.fetch_any(mapping.stream("Account"), ["0015500001QdRaYAAV"])
    bodies = [json.loads(row.body) for row in mapping.map_page("Account", page).tables["Account"].rows]
    assert "420" in {body["external_ref"] for body in bodies}


def test_the_readmes_table_of_evidence_is_current() -> None:
    rows = [f"| {shape} | {evidence} |" for shape, evidence in EVIDENCE.items()]
    table = "\n".join(["| shape | evidence |", "|-|-|", *rows])
    text = README.read_text("utf8")
    start, end = "<!-- evidence -->\n", "<!-- /evidence -->"
    head, rest = text.split(start)
    wanted = f"{head}{start}{table}\n{end}{rest.split(end)[1]}"
    if os.environ.get("HUB_RECORD"):
        README.write_text(wanted, "utf8")
    assert README.read_text("utf8") == wanted, "run HUB_RECORD=1 pytest on this file"
