"""The Salesforce sandbox by itself: SOQL, paging, errors, writes, as a client without the hub would meet them."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from hub.sandbox import World
from hub_salesforce.sandbox import SalesforceSandbox
from hub_salesforce.sandbox.shapes import checksum, record_id


@pytest.fixture(scope="module")
def org() -> Iterator[SalesforceSandbox]:
    with SalesforceSandbox(World(customers=40)) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def anew(org: SalesforceSandbox) -> None:
    org.reset()
    org.batch = None


def ask(org: SalesforceSandbox, path: str, method: str = "GET", **more: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {org.session_id}", **more.pop("headers", {})}
    path = path if path.startswith("/") else f"/services/data/v61.0/{path}"
    return requests.request(method, org.url + path, headers=headers, timeout=10, **more)


def soql(org: SalesforceSandbox, text: str, endpoint: str = "query") -> Any:
    return ask(org, endpoint, params={"q": text}).json()


def test_a_query_answers_with_attributes_parents_and_children(org: SalesforceSandbox) -> None:
    text = (
        "SELECT Id, Account.Name, Account.Owner.Name, (SELECT Id, Product2.Name FROM OrderItems) FROM Order "
        "WHERE OrderNumber = '00000001'"
    )
    (order,) = soql(org, text)["records"]
    assert order["attributes"] == {"type": "Order", "url": f"/services/data/v61.0/sobjects/Order/{order['Id']}"}
    assert order["Account"]["attributes"]["type"] == "Account"
    assert order["Account"]["Owner"]["Name"]
    assert order["OrderItems"]["totalSize"] == len(org.world.orders[0].lines)
    assert order["OrderItems"]["records"][0]["Product2"]["Name"]


def test_conditions_join_and_nest(org: SalesforceSandbox) -> None:
    rows = soql(org, "SELECT Id, SystemModstamp FROM Contact ORDER BY SystemModstamp, Id")["records"]
    middle = rows[len(rows) // 2]
    at = middle["SystemModstamp"].replace("+0000", "Z")
    after = f"(SystemModstamp > {at}) OR (SystemModstamp = {at} AND Id > '{middle['Id']}')"
    found = soql(org, f"SELECT Id FROM Contact WHERE ({after}) ORDER BY SystemModstamp, Id")["records"]
    assert [row["Id"] for row in found] == [row["Id"] for row in rows[len(rows) // 2 + 1 :]]
    ids = ", ".join(f"'{row['Id']}'" for row in rows[:3])
    assert soql(org, f"SELECT Id FROM Contact WHERE Id IN ({ids})")["totalSize"] == 3
    assert soql(org, f"SELECT Id FROM Contact WHERE Id NOT IN ({ids})")["totalSize"] == len(rows) - 3
    assert soql(org, "SELECT Id FROM Contact WHERE AccountId = null AND Email != null LIMIT 1")["totalSize"] == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SELECT Nope FROM Case", "INVALID_FIELD"),
        ("SELECT Id, Nope.Name FROM Case", "INVALID_FIELD"),
        ("SELECT Id FROM Case WHERE Nope = 1", "INVALID_FIELD"),
        ("SELECT Id FROM Case WHERE CreatedDate > '2026-01-01T00:00:00Z'", "INVALID_FIELD"),
        ("SELECT Id FROM CaseComment WHERE CommentBody = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM Nope", "INVALID_TYPE"),
        ("SELECT Id, (SELECT Id FROM Nopes) FROM Case", "INVALID_TYPE"),
        ("SELECT Id Case", "MALFORMED_QUERY"),
        ("SELECT Id FROM Case WHERE", "MALFORMED_QUERY"),
        ("SELECT Id FROM Case LIMIT 1 OR", "MALFORMED_QUERY"),
        ("SELECT Id FROM Case; DROP", "MALFORMED_QUERY"),
    ],
)
def test_a_query_is_refused_as_salesforce_refuses_it(org: SalesforceSandbox, text: str, code: str) -> None:
    response = ask(org, "query", params={"q": text})
    assert response.status_code == 400
    assert [error["errorCode"] for error in response.json()] == [code]


def test_pages_follow_next_records_url_and_expire(org: SalesforceSandbox) -> None:
    org.batch = 10
    first = soql(org, "SELECT Id FROM Contact")
    assert (first["done"], len(first["records"])) == (False, 10)
    second = ask(org, first["nextRecordsUrl"]).json()
    assert not {r["Id"] for r in first["records"]} & {r["Id"] for r in second["records"]}
    assert second["totalSize"] == first["totalSize"]
    org.expire_queries()
    assert ask(org, second["nextRecordsUrl"]).json()[0]["errorCode"] == "INVALID_QUERY_LOCATOR"


def test_a_batch_size_is_kept_within_salesforces_bounds(org: SalesforceSandbox) -> None:
    for asked, given in ((1, 200), (500, 500), (9999, 2000)):
        headers = {"Sforce-Query-Options": f"batchSize={asked}"}
        ask(org, "query", params={"q": "SELECT Id FROM Contact"}, headers=headers)
        assert org._batch_of(_request(headers)) == given


def _request(headers: dict[str, str]) -> Any:
    from hub.sandbox import Request

    return Request("GET", "/", {}, {name.lower(): value for name, value in headers.items()}, b"")


def test_deleted_rows_are_in_query_all_only(org: SalesforceSandbox) -> None:
    gone = next(iter(org.rows["Contact"]))
    assert ask(org, f"sobjects/Contact/{gone}", "DELETE").status_code == 204
    assert ask(org, f"sobjects/Contact/{gone}").json()[0]["errorCode"] == "ENTITY_IS_DELETED"
    text = "SELECT Id FROM Contact WHERE IsDeleted = true"
    assert soql(org, text)["totalSize"] == 0
    assert [row["Id"] for row in soql(org, text, "queryAll")["records"]] == [gone]


def test_a_record_is_made_changed_and_read(org: SalesforceSandbox) -> None:
    made = ask(org, "sobjects/Contact", "POST", json={"LastName": "Doe", "FirstName": "Jo"})
    assert (made.status_code, made.json()["success"], made.json()["errors"]) == (201, True, [])
    remote_id = made.json()["id"]
    assert ask(org, f"sobjects/Contact/{remote_id}", "PATCH", json={"Title": "Dr"}).status_code == 204
    row = ask(org, f"sobjects/Contact/{remote_id}").json()
    assert (row["Name"], row["Title"], row["attributes"]["type"]) == ("Jo Doe", "Dr", "Contact")
    assert [entry.intent for entry in org.effects()] == [f"create Contact {remote_id}", f"update Contact {remote_id}"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"FirstName": "Jo"}, "REQUIRED_FIELD_MISSING"),
        ({"LastName": "x" * 256}, "STRING_TOO_LONG"),
        ({"LastName": "Doe", "Nope": 1}, "INVALID_FIELD"),
        ({"LastName": "Doe", "Name": "Jo"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ({"LastName": "Doe", "AccountId": "001Hb00000zzzzzIAA"}, "INVALID_CROSS_REFERENCE_KEY"),
    ],
)
def test_a_bad_record_is_refused(org: SalesforceSandbox, body: dict[str, Any], code: str) -> None:
    response = ask(org, "sobjects/Contact", "POST", json=body)
    assert (response.status_code, response.json()[0]["errorCode"]) == (400, code)
    assert not org.effects()


def test_an_upsert_creates_once_and_changes_after(org: SalesforceSandbox) -> None:
    first = ask(org, "sobjects/Case/Hub_Key__c/k.1", "PATCH", json={"Subject": "a"})
    again = ask(org, "sobjects/Case/Hub_Key__c/k.1", "PATCH", json={"Subject": "b"})
    assert (first.status_code, first.json()["created"]) == (201, True)
    assert (again.status_code, again.json()["created"], again.json()["id"]) == (200, False, first.json()["id"])
    unknown = ask(org, "sobjects/Case/Subject/x", "PATCH", json={})
    assert (unknown.status_code, unknown.json()[0]["errorCode"]) == (404, "NOT_FOUND")


def test_a_composite_request_does_all_or_none(org: SalesforceSandbox) -> None:
    root = "/services/data/v61.0/sobjects/"
    case = {"method": "POST", "url": f"{root}Case", "referenceId": "c", "body": {"Subject": "a"}}
    bad = {"method": "POST", "url": f"{root}CaseComment", "referenceId": "n", "body": {"ParentId": "@{c.id}", "No": 1}}
    before = len(org.rows["Case"])
    told = ask(org, "composite", "POST", json={"allOrNone": True, "compositeRequest": [case, bad]}).json()
    codes = [part["body"][0]["errorCode"] for part in told["compositeResponse"]]
    assert codes == ["PROCESSING_HALTED", "INVALID_FIELD"]
    assert len(org.rows["Case"]) == before
    assert not org.effects()
    good = {**bad, "body": {"ParentId": "@{c.id}", "CommentBody": "x"}}
    told = ask(org, "composite", "POST", json={"allOrNone": True, "compositeRequest": [case, good]}).json()
    assert [part["httpStatusCode"] for part in told["compositeResponse"]] == [201, 201]
    assert len(org.effects()) == 1


def test_without_a_session_nothing_is_answered(org: SalesforceSandbox) -> None:
    response = ask(org, "limits", headers={"Authorization": "Bearer stolen"})
    assert (response.status_code, response.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID")


def test_every_answer_says_how_much_of_the_day_is_used(org: SalesforceSandbox) -> None:
    ask(org, "limits")
    response = ask(org, "limits")
    assert response.headers["Sforce-Limit-Info"] == "api-usage=2/100000"
    assert response.json()["DailyApiRequests"]["Max"] == 100_000


def test_the_list_of_sobjects_and_a_describe_agree(org: SalesforceSandbox) -> None:
    told = {one["name"]: one for one in ask(org, "sobjects").json()["sobjects"]}
    assert {"Account", "Contact", "Case", "CaseComment", "EmailMessage", "Order", "OrderItem", "User"} <= set(told)
    described = ask(org, told["Order"]["urls"]["describe"]).json()
    assert described["keyPrefix"] == told["Order"]["keyPrefix"] == "801"
    assert ask(org, "sobjects/Nope/describe").status_code == 404


def test_an_unknown_path_and_a_body_that_is_no_json_are_told_in_the_vendors_form(org: SalesforceSandbox) -> None:
    assert ask(org, "nope").json()[0]["errorCode"] == "NOT_FOUND"
    assert ask(org, "sobjects/Nope", "POST", json={}).json()[0]["errorCode"] == "NOT_FOUND"
    assert ask(org, "sobjects/Case", "POST", data=b"{").json()[0]["errorCode"] == "JSON_PARSER_ERROR"
    assert ask(org, "sobjects/User/005Hb0000000001IAA", "DELETE").status_code == 400


def test_the_same_world_makes_the_same_org() -> None:
    assert SalesforceSandbox(World(customers=15)).rows == SalesforceSandbox(World(customers=15)).rows


def test_ids_are_eighteen_characters_with_a_checksum() -> None:
    assert checksum("0035500001H9dBL") == "AAZ"  # as Salesforce itself made it
    assert record_id("003", 61) == "003Hb000000000zIAA"
    assert len({record_id("003", n) for n in range(5000)}) == 5000
