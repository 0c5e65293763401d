"""The REST API over real HTTP: keys, reads, actions, runs, syncs, and a problem document for every error."""

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
from openapi_spec_validator import validate

from hub.api import create_app
from hub.api.codes import CODES, table
from hub.app import App
from hub.app.sandboxes import Sandboxes
from tests.conftest import Databases
from tests.stores import ON_SQLITE

ROOT = Path(__file__).parents[1]
MARKET = ROOT / "tests" / "market"
POLICY = '[[rule]]\nname = "small"\naction = "payment.refund"\nwhen = { amount_lte = "50.00 EUR" }\nverdict = "allow"\n'


class Client:
    """Speaks to a served hub with one key."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url
        self.session = requests.Session()
        if key:
            self.session.headers["Authorization"] = f"Bearer {key}"

    def __call__(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(method, self.url + path, timeout=30, allow_redirects=False, **more)

    def get(self, path: str, **more: Any) -> Any:
        answer = self("GET", path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def act(self, name: str, given: dict[str, Any], *, key: str | None = None, **more: Any) -> requests.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return self("POST", f"/v1/actions/{name}", json={"input": given, **more}, headers=headers)


class Served:
    """A hub on a Market sandbox, synced, and its API on a free port."""

    def __init__(self, app: App, sandbox: Any, url: str) -> None:
        self.app = app
        self.sandbox = sandbox
        self.url = url
        self.admin = Client(url, self.key("admin"))

    def key(self, *scopes: str) -> str:
        made = self.app.create_key(f"test {time.monotonic_ns()}", list(scopes))
        return str(made["key"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(MARKET))
        with Sandboxes.start(["market"], customers=30) as up, databases() as url:
            (folder / "config.toml").write_text(f'[hub]\ndatabase_url = "{url}"\n{up.toml()}')
            (folder / "policy.toml").write_text(POLICY)
            with App.open(folder / "config.toml") as app:
                app.sync()
                server = uvicorn.Server(uvicorn.Config(create_app(app), "127.0.0.1", 0, log_level="critical"))
                listening = server.config.bind_socket()
                thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
                listening.listen()
                thread.start()
                yield Served(app, up.sandboxes["market"], f"http://127.0.0.1:{listening.getsockname()[1]}")
                server.should_exit = True
                thread.join()
                listening.close()


def problem(answer: requests.Response, status: int, code: str) -> dict[str, Any]:
    """Hold an answer against RFC 9457 and our own members; give the document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["code"], found["type"]) == (status, code, f"urn:deskhub:error:{code}")
    assert {"title", "detail", "retryable", "retry_after_ms", "reason", "next_actions", "field_path"} <= set(found)
    assert "Traceback" not in answer.text
    return found


def payment(served: Served, currency: str = "EUR", at_least: int = 10_000) -> dict[str, Any]:
    rows = served.admin.get("/v1/payments?limit=200")["data"]
    return next(
        row
        for row in rows
        if row["currency"] == currency and (row["refundable_amount"] or {"amount": 0})["amount"] >= at_least
    )


def test_health_needs_no_key_and_everything_else_does(served: Served) -> None:
    anyone = Client(served.url, None)
    assert anyone.get("/healthz") == {"status": "ok"}
    assert anyone.get("/readyz")["status"] == "ready"
    for path in ("/v1/customers", "/v1/actions", "/openapi.json", "/v1/nothing", "/"):
        answer = anyone("GET", path)
        problem(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["Bearer hub_wrong", "Basic aGk6aGk=", "Bearer", "hub_x", ""])
def test_a_wrong_key_is_401_even_before_the_body_is_read(served: Served, header: str) -> None:
    answer = requests.post(
        f"{served.url}/v1/actions/payment.refund", data=b"{", headers={"Authorization": header}, timeout=10
    )
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_revoked_key_is_worth_nothing_at_once(served: Served) -> None:
    made = served.app.create_key("short-lived", ["read"])
    client = Client(served.url, made["key"])
    assert client("GET", "/v1/customers").status_code == 200
    served.app.keys.revoke(made["id"])
    problem(client("GET", "/v1/customers"), 401, "invalid_key")


def test_scopes_confine_a_key(served: Served) -> None:
    reader = Client(served.url, served.key("read:ticket"))
    assert reader("GET", "/v1/tickets").status_code == 200
    found = problem(reader("GET", "/v1/customers"), 403, "missing_scope")
    assert found["reason"] == "read:customer"
    problem(reader.act("payment.refund", {"payment_ref": "pay_x", "reason": "other"}, key="k"), 403, "missing_scope")
    problem(reader("POST", "/v1/connections/market/sync"), 403, "missing_scope")


def test_lists_page_through_everything_once(served: Served) -> None:
    seen: list[str] = []
    cursor = ""
    while True:
        page = served.admin.get(f"/v1/customers?limit=7{cursor}")
        seen += [row["id"] for row in page["data"]]
        if page["next_cursor"] is None:
            break
        assert len(page["data"]) == 7
        cursor = f"&cursor={page['next_cursor']}"
    assert len(seen) == len(set(seen)) == 30


def test_one_record_is_answered_by_id_with_raw_and_provenance_where_asked(served: Served) -> None:
    (row, *_) = served.admin.get("/v1/customers?limit=1")["data"]
    one = served.admin.get(f"/v1/customers/{row['id']}")
    assert one["display_name"] == row["display_name"]
    assert "raw" not in one
    more = served.admin.get(f"/v1/customers/{row['id']}?include=raw,provenance")
    assert more["raw"]
    assert more["provenance"]


def test_lists_filter(served: Served) -> None:
    (row, *_) = served.admin.get("/v1/customers?limit=1")["data"]
    found = served.admin.get("/v1/customers", params={"email": row["email"].upper()})["data"]
    assert [one["id"] for one in found] == [row["id"]]
    assert served.admin.get("/v1/customers?updated_since=2999-01-01T00:00:00Z")["data"] == []


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/customers?limit=0", "limit"),
        ("/v1/customers?limit=201", "limit"),
        ("/v1/customers?limit=x", "limit"),
        ("/v1/customers?emial=a@b.example", "emial"),
        ("/v1/customers?email=a@b.example&email=c@d.example", "email"),
        ("/v1/customers?cursor=nonsense", None),
        ("/v1/customers?updated_since=yesterday", None),
        ("/v1/customers/cus_aaaaaaaaaaaaaaaaaaaaaaaa?include=secrets", "include"),
        ("/v1/runs?limit=-1", "limit"),
    ],
)
def test_a_wrong_parameter_is_422_and_named(served: Served, path: str, field: str | None) -> None:
    found = problem(served.admin("GET", path), 422, "invalid")
    if field:
        assert found["field_path"] == field


def test_an_unknown_id_is_404(served: Served) -> None:
    problem(served.admin("GET", "/v1/customers/cus_aaaaaaaaaaaaaaaaaaaaaaaa"), 404, "not_found")
    problem(served.admin("GET", "/v1/runs/run_nope"), 404, "not_found")
    problem(served.admin("GET", "/v1/syncs/syn_nope"), 404, "not_found")


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v2", "/v1/customers/", "/docs", "/v1/customers/a/b", "/v1/../etc/passwd"]
)
def test_an_unknown_route_is_404(served: Served, path: str) -> None:
    problem(served.admin("GET", path), 404, "no_such_route")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/v1/customers", {"GET"}),
        ("DELETE", "/v1/customers/cus_x", {"GET"}),
        ("PUT", "/v1/actions/payment.refund", {"GET", "POST"}),
        ("GET", "/v1/connections/market/sync", {"POST"}),
        ("DELETE", "/v1/runs", {"GET"}),
    ],
)
def test_a_method_that_is_not_possible_is_405_with_all_that_are(
    served: Served, method: str, path: str, allow: set[str]
) -> None:
    answer = served.admin(method, path)
    problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == allow


@pytest.mark.parametrize("body", [b"{", b"", b'{"input": ', b"\xff\xfe", b"[" * 100_000, b'{"input": NaN'])
def test_malformed_json_is_400(served: Served, body: bytes) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    answer = served.admin("POST", "/v1/actions/payment.refund", data=body, headers=headers)
    if body:
        problem(answer, 400, "malformed")
    else:
        problem(answer, 422, "invalid")


def test_a_body_that_is_not_declared_as_json_is_415(served: Served) -> None:
    answer = served.admin("POST", "/v1/actions/payment.refund", data=b"input=1", headers={"Content-Type": "text/plain"})
    problem(answer, 415, "not_json")


def test_a_body_that_is_too_large_is_413(served: Served) -> None:
    headers = {"Content-Type": "application/json"}
    problem(served.admin("POST", "/v1/actions/ticket.reply", data=b" " * 1_100_000, headers=headers), 413, "too_large")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "input"),
        ({"input": {"reason": "other"}}, "input"),
        ({"input": {"payment_ref": "pay_x", "reason": "greed"}}, "input.reason"),
        ({"input": {"payment_ref": "pay_x", "reason": "other", "amount": 5}}, "input.amount"),
        ({"input": {"payment_ref": "pay_x", "reason": "other"}, "mode": "maybe"}, "mode"),
        ({"input": {"payment_ref": "pay_x", "reason": "other"}, "surprise": 1}, "surprise"),
        ({"input": []}, "input"),
    ],
)
def test_a_wrong_body_is_422_with_the_path_of_the_field(served: Served, body: Any, path: str) -> None:
    answer = served.admin("POST", "/v1/actions/payment.refund", json=body, headers={"Idempotency-Key": "k"})
    assert problem(answer, 422, "invalid")["field_path"].startswith(path)


@pytest.mark.parametrize(
    ("action", "body", "detail"),
    [
        ("payment.refund", {"inputs": {}}, 'inputs: no such field; did you mean "input"?'),
        ("payment.refund", {"input": {"payment_ref": "p1", "reason": "other"}, "repeat": 3}, "repeat: expected true"),
        ("customer.update", {"input": {"customer_ref": "cus_x", "changes": {"phone": "1"}}},
         "input.changes.phone: no such field; there are display_name, given_name, family_name, language"),
        ("payment.refund", {"input": {"payment_ref": "pay_x"}}, "input.reason: missing"),
        ("ticket.reply", {"input": {"ticket_ref": "tkt_x", "body": ""}}, "input.body: must not be empty"),
        ("ticket.reply", {"input": {"ticket_ref": "tkt_x", "body": 5}}, "input.body: expected text"),
    ],
)  # fmt: skip
def test_a_wrong_body_is_told_in_plain_words(served: Served, action: str, body: Any, detail: str) -> None:
    answer = served.admin("POST", f"/v1/actions/{action}", json=body, headers={"Idempotency-Key": "k"})
    assert problem(answer, 422, "invalid")["detail"].startswith(detail)


@pytest.mark.parametrize("custom", ['{"a": "\\ud800"}', '{"a": NaN}', '{"\\ud800": 1}'])
def test_what_no_json_can_carry_on_breaks_nothing(served: Served, custom: str) -> None:
    body = f'{{"input": {{"customer_ref": "cus_aaaaaaaaaaaaaaaaaaaaaaaa", "changes": {{"custom": {custom}}}}}}}'
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    answer = served.admin("POST", "/v1/actions/customer.update", data=body, headers=headers)
    assert answer.status_code in (404, 422)


def test_a_field_name_that_is_half_a_character_is_422(served: Served) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    answer = served.admin("POST", "/v1/actions/ticket.note", data='{"input": {"\\ud800": 1}}', headers=headers)
    problem(answer, 422, "invalid")


def test_an_action_without_a_key_is_422(served: Served) -> None:
    found = payment(served)
    answer = served.admin.act("payment.refund", {"payment_ref": found["id"], "reason": "other", "amount": "1.00 EUR"})
    problem(answer, 422, "idempotency_key_required")


def test_an_unknown_action_is_404_with_the_nearest(served: Served) -> None:
    found = problem(served.admin.act("payment.refunt", {}, key="k"), 404, "unknown_action")
    assert 'did you mean "payment.refund"' in found["detail"]
    problem(served.admin("GET", "/v1/actions/payment.refunt"), 404, "unknown_action")


def test_a_refund_happens_once_however_often_it_is_asked_for(served: Served) -> None:
    found = payment(served)
    given = {"payment_ref": found["id"], "amount": "5.00 EUR", "reason": "requested_by_customer"}
    before = len(served.sandbox.effects("refund"))
    preview = served.admin.act("payment.refund", given, mode="preview").json()
    assert preview["status"] == "previewed"
    assert len(served.sandbox.effects("refund")) == before
    first = served.admin.act("payment.refund", given, key="once")
    again = served.admin.act("payment.refund", given, key="once")
    assert (first.status_code, first.json()["status"], first.json()["replayed"]) == (200, "succeeded", False)
    assert (again.status_code, again.json()["run_id"], again.json()["replayed"]) == (200, first.json()["run_id"], True)
    assert len(served.sandbox.effects("refund")) == before + 1
    assert served.admin.get(f"/v1/runs/{first.json()['run_id']}")["status"] == "succeeded"
    refunded = served.admin.get(f"/v1/payments/{found['id']}")["amount_refunded"]["amount"]
    assert refunded == found["amount_refunded"]["amount"] + 500


def test_the_same_key_for_another_body_is_409(served: Served) -> None:
    found = payment(served)
    given = {"payment_ref": found["id"], "amount": "2.00 EUR", "reason": "other"}
    assert served.admin.act("payment.refund", given, key="mine").status_code == 200
    problem(
        served.admin.act("payment.refund", given | {"amount": "3.00 EUR"}, key="mine"), 409, "idempotency_key_reused"
    )


def test_what_policy_denies_is_403_with_the_run(served: Served) -> None:
    found = payment(served)
    given = {"payment_ref": found["id"], "amount": "51.00 EUR", "reason": "other"}
    answer = served.admin.act("payment.refund", given, key="too-much")
    assert answer.status_code == 403, answer.text
    assert answer.json()["run"]["status"] == "denied"
    assert answer.json()["run"]["policy"]["verdict"] == "deny"
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_lost_answer_is_202_unknown_or_settled_but_never_twice(served: Served) -> None:
    found = payment(served)
    before = len(served.sandbox.effects("refund"))
    served.sandbox.fault("POST /refunds", "drop_after")
    given = {"payment_ref": found["id"], "amount": "1.50 EUR", "reason": "other"}
    answer = served.admin.act("payment.refund", given, key="lost")
    assert answer.status_code in (200, 202), answer.text
    assert len(served.sandbox.effects("refund")) == before + 1
    settled = served.admin.act("payment.refund", given, key="lost")
    assert settled.json()["run_id"] == answer.json()["run_id"]
    assert len(served.sandbox.effects("refund")) == before + 1


def test_a_vendor_that_refuses_our_credentials_is_502_not_401(served: Served) -> None:
    found = payment(served)
    served.sandbox.token = "changed"
    try:
        given = {"payment_ref": found["id"], "amount": "1.00 EUR", "reason": "other"}
        answer = served.admin.act("payment.refund", given, key="refused-us")
        problem(answer, 502, "unauthorized")
        assert "WWW-Authenticate" not in answer.headers
        again = served.admin.act("payment.refund", given, key="refused-us-again")
        assert problem(again, 502, "connection_reauth_required")["next_actions"] == ["agent.handoff"]
    finally:
        served.sandbox.token = "market-token"
        assert served.app.check()["market"]["ok"]


def test_a_reading_action_needs_no_key(served: Served) -> None:
    (row, *_) = served.admin.get("/v1/customers?limit=1")["data"]
    found = served.admin.act("customer.lookup", {"email": row["email"]}).json()
    assert found["answer"]["customers"][0]["id"] == row["id"]


def test_runs_are_listed_newest_first_and_paged(served: Served) -> None:
    found = payment(served)
    for cents in (11, 12, 13):
        given = {"payment_ref": found["id"], "amount": f"0.{cents} EUR", "reason": "other"}
        assert served.admin.act("payment.refund", given, key=f"listed-{cents}").json()["status"] == "succeeded"
    found = served.admin.get("/v1/runs?limit=2")
    assert len(found["data"]) == 2
    assert found["data"][0]["created_at"] >= found["data"][1]["created_at"]
    following = served.admin.get(f"/v1/runs?limit=2&cursor={found['next_cursor']}")
    assert not {run["run_id"] for run in found["data"]} & {run["run_id"] for run in following["data"]}


def test_who_acted_may_read_the_run_and_nobody_else_without_the_scope(served: Served) -> None:
    found = payment(served)
    agent, other = Client(served.url, served.key("act:*")), Client(served.url, served.key("act:*"))
    given = {"payment_ref": found["id"], "amount": "1.10 EUR", "reason": "other"}
    made = agent.act("payment.refund", given, key="mine").json()
    assert agent.get(f"/v1/runs/{made['run_id']}")["status"] == "succeeded"
    problem(other("GET", f"/v1/runs/{made['run_id']}"), 403, "missing_scope")


def test_actions_are_listed_with_schema_risk_and_who_can(served: Served) -> None:
    found = {line["name"]: line for line in served.admin.get("/v1/actions")["data"]}
    assert found["payment.refund"]["risk"] == "R3"
    assert found["payment.refund"]["connections"] == ["market"]
    assert "payment_ref" in found["payment.refund"]["input"]["properties"]
    assert served.admin.get("/v1/actions/payment.refund") == found["payment.refund"]


def test_connections_show_how_fresh_they_are(served: Served) -> None:
    (found,) = served.admin.get("/v1/connections")["data"]
    assert (found["name"], found["connector"]) == ("market", "market")
    assert found["streams"]["people"]["records"] == 30
    assert found["streams"]["people"]["synced_at"]


def test_a_sync_is_asked_for_and_runs_in_the_background(served: Served) -> None:
    answer = served.admin("POST", "/v1/connections/market/sync", json={"streams": ["people"], "full": True})
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/syncs/{answer.json()['id']}"
    for _ in range(100):
        found = served.admin.get(answer.headers["Location"])
        if found["state"] not in ("queued", "running"):
            break
        time.sleep(0.05)
    assert found["state"] == "succeeded"
    assert found["tables"]["people"]["read"] == 30
    assert served.admin.get("/v1/syncs")["data"][0]["id"] == found["id"]


def test_a_sync_of_what_is_not_there_is_told(served: Served) -> None:
    problem(served.admin("POST", "/v1/connections/markett/sync"), 404, "not_found")
    problem(served.admin("POST", "/v1/connections/market/sync", json={"streams": ["nope"]}), 422, "unknown_stream")
    problem(served.admin("POST", "/v1/connections/market/sync", json={"stream": "people"}), 422, "invalid")


@ON_SQLITE
def test_openapi_is_valid_and_each_action_has_a_typed_path(served: Served) -> None:
    found = served.admin.get("/openapi.json")
    validate(found)
    for name in served.app.plugins.actions:
        operation = found["paths"][f"/v1/actions/{name}"]["post"]
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        assert "input" in found["components"]["schemas"][reference.rsplit("/", 1)[1]]["properties"]
        assert operation["operationId"] == name.replace(".", "_")
    assert found["paths"]["/healthz"]["get"]["security"] == []
    assert found["security"] == [{"key": []}]
    assert "HTTPValidationError" not in json.dumps(found)


def test_an_error_of_the_hub_itself_shows_nothing_of_its_inside(
    served: Served, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> bytes:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(App, "get", broken)
    answer = served.admin("GET", "/v1/customers/cus_aaaaaaaaaaaaaaaaaaaaaaaa")
    problem(answer, 500, "internal")
    assert "hunter2" not in answer.text


def test_every_code_that_the_sources_raise_is_in_the_table() -> None:
    text = "\n".join(file.read_text("utf-8") for file in (ROOT / "hub").rglob("*.py"))
    raised = set(re.findall(r'\bcode="([a-z_]+)"', text)) | set(re.findall(r'^    code = "([a-z_]+)"', text, re.M))
    assert raised - set(CODES) == set()


def test_every_code_of_the_table_is_raised_somewhere() -> None:
    files = [file for room in ("hub", "plugins") for file in (ROOT / room).rglob("*.py") if file.name != "codes.py"]
    text = "\n".join(file.read_text("utf-8") for file in files)
    assert [code for code in CODES if f'"{code}"' not in text] == []


def test_docs_errors_md_is_current() -> None:
    assert (ROOT / "docs" / "errors.md").read_text("utf-8") == table()
