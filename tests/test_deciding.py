"""Deciding over REST and on the command line: approvals, freeze, accepted runs, reversal, the policy's file."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn

from hub.api import create_app
from hub.app import App
from hub.app.sandboxes import Sandboxes
from hub.cli import run
from tests.stores import ON_SQLITE

ROOT = Path(__file__).parents[1]
POLICY = """
[[rule]]
name    = "held"
action  = "payment.refund"
when    = { amount_lte = "50.00 EUR" }
verdict = { needs_approval = { group = "leads" } }
"""
ALLOW = '[[rule]]\nname = "all"\naction = "payment.refund"\nverdict = "allow"\n'


class Served:
    """A hub on a Market sandbox with its API on a free port; calls it with keys of given scopes."""

    def __init__(self, app: App, folder: Path, url: str) -> None:
        self.app, self.folder, self.url = app, folder, url
        self.keys: dict[tuple[str, ...], str] = {}
        self.count = 0

    def __call__(self, method: str, path: str, *scopes: str, **more: Any) -> requests.Response:
        token = self.keys.get(scopes) or self.app.create_key(" ".join(scopes), list(scopes))["key"]
        self.keys[scopes] = token
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=30, **more)

    def refund(self, cents: int = 100, **more: Any) -> requests.Response:
        rows = self("GET", "/v1/payments?limit=200", "admin").json()["data"]
        payment = next(
            row
            for row in rows
            if row["currency"] == "EUR" and (row["refundable_amount"] or {"amount": 0})["amount"] > 6000
        )
        self.count += 1
        given = {
            "payment_ref": payment["id"],
            "amount": {"amount": cents, "currency": "EUR"},
            "reason": "requested_by_customer",
        }
        body = {"input": given, "repeat": True, **more}
        key = {"Idempotency-Key": f"k{self.count}"}
        return self("POST", "/v1/actions/payment.refund", "act:*", json=body, headers=key)


@pytest.fixture
def served(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "market"))
    with Sandboxes.start(["market"], customers=30) as up:
        (tmp_path / "config.toml").write_text(f'[hub]\ndatabase_url = "{database_url}"\n{up.toml()}')
        (tmp_path / "policy.toml").write_text(POLICY)
        with App.open(tmp_path / "config.toml") as app:
            app.sync()
            server = uvicorn.Server(uvicorn.Config(create_app(app), "127.0.0.1", 0, log_level="critical"))
            listening = server.config.bind_socket()
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            listening.listen()
            thread.start()
            yield Served(app, tmp_path, f"http://127.0.0.1:{listening.getsockname()[1]}")
            server.should_exit = True
            thread.join()
            listening.close()


def test_a_held_refund_is_approved_by_another_over_rest(served: Served) -> None:
    asked = served.refund()
    assert (asked.status_code, asked.json()["status"]) == (202, "needs_approval")
    run_id = asked.json()["run_id"]
    assert asked.headers["Location"] == f"/v1/runs/{run_id}"
    (line,) = served("GET", "/v1/approvals", "read").json()["data"]
    assert (line["run_id"], line["action"], line["money"]) == (
        run_id,
        "payment.refund",
        {"amount": 100, "currency": "EUR"},
    )
    refused = served("POST", f"/v1/runs/{run_id}/approve", "act:*", "read")
    assert (refused.status_code, refused.json()["code"], refused.json()["reason"]) == (
        403,
        "missing_scope",
        "approve:leads",
    )
    done = served("POST", f"/v1/runs/{run_id}/approve", "approve:leads", json={"plan_hash": line["plan_hash"]})
    assert (done.status_code, done.json()["status"]) == (200, "succeeded")
    twice = served("POST", f"/v1/runs/{run_id}/approve", "approve:leads")
    assert (twice.status_code, twice.json()["code"]) == (409, "already_decided")
    assert served("GET", "/v1/approvals", "read").json()["data"] == []


def test_a_held_refund_is_denied_or_taken_back_over_rest(served: Served) -> None:
    first, second = served.refund().json()["run_id"], served.refund(200).json()["run_id"]
    denied = served("POST", f"/v1/runs/{first}/deny", "approve:*", json={"reason": "no"})
    assert (denied.status_code, denied.json()["status"], denied.json()["error"]["reason"]) == (200, "denied", "no")
    assert served("POST", f"/v1/runs/{second}/cancel", "act:*").json()["error"]["code"] == "canceled"
    assert served("POST", f"/v1/runs/{second}/cancel", "act:*").status_code == 409


def test_nothing_is_reversed_that_cannot_be(served: Served) -> None:
    answer = served("POST", f"/v1/runs/{served.refund().json()['run_id']}/reverse", "admin")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_reversible")


def test_money_is_frozen_by_an_admin_and_the_denial_says_by_whom(served: Served) -> None:
    assert served("POST", "/v1/freeze", "read").status_code == 403
    assert served("POST", "/v1/freeze", "admin", json={"reason": "audit"}).json()["frozen"]["by"] == "admin"
    answer = served.refund()
    assert (answer.status_code, answer.json()["code"]) == (403, "money_frozen")
    assert "by admin: audit" in answer.json()["reason"]
    assert served("GET", "/v1/freeze", "read").json()["frozen"]["reason"] == "audit"
    assert served("DELETE", "/v1/freeze", "admin").json() == {"frozen": None}
    assert served.refund().status_code == 202


@ON_SQLITE
def test_the_policy_is_read_again_while_the_hub_serves(served: Served) -> None:
    assert served.refund().json()["status"] == "needs_approval"
    (served.folder / "policy.toml").write_text(ALLOW)
    assert served.refund().json()["status"] == "succeeded"
    (served.folder / "policy.toml").write_text("[[rule]]\nbroken\n")
    ready = requests.get(f"{served.url}/readyz", timeout=10).json()
    assert ready["status"] == "ready"
    assert "the policy before it stays" in ready["policy"]
    assert served.refund(300).json()["status"] == "succeeded"
    (served.folder / "policy.toml").write_text(POLICY)
    assert "policy" not in requests.get(f"{served.url}/readyz", timeout=10).json()


def test_a_run_may_be_accepted_and_looked_up_later(served: Served) -> None:
    (served.folder / "policy.toml").write_text(ALLOW)
    answer = served.refund(wait_ms=0)
    run_id = answer.json()["run_id"]
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert (answer.headers["Location"], answer.headers["Retry-After"]) == (f"/v1/runs/{run_id}", "1")
    for _ in range(1000):
        found = served("GET", answer.headers["Location"], "read").json()
        if found["status"] not in ("queued", "running"):
            break
    assert found["status"] == "succeeded"


@ON_SQLITE
def test_a_cursor_of_runs_that_is_none_is_refused(served: Served) -> None:
    answer = served("GET", "/v1/runs?cursor=zz", "read")
    assert (answer.status_code, answer.json()["field_path"]) == (422, "cursor")


@ON_SQLITE
def test_the_schema_of_an_amount_admits_text(served: Served) -> None:
    schemas = served("GET", "/openapi.json", "read").json()["components"]["schemas"]
    kinds = {variant["type"] for variant in schemas["Amount"]["anyOf"]}
    assert kinds == {"object", "string"}


def test_a_key_may_be_confined_in_time_and_rate(served: Served) -> None:
    from hub.access import Terms

    token = served.app.create_key("slow", ["read"], Terms(rate="1/minute"))["key"]
    served.keys[("slow",)] = token
    assert served("GET", "/v1/runs", "slow").status_code == 200
    answer = served("GET", "/v1/runs", "slow")
    assert (answer.status_code, answer.json()["code"]) == (429, "key_rate")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.fixture
def hub(served: Served, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(served.folder)

    def ran(*args: str) -> tuple[int, Any]:
        capfd.readouterr()
        code = run([*args, "--json"])
        text = capfd.readouterr().out
        return code, json.loads(text) if text else None

    return ran


def test_the_command_line_lists_and_decides(served: Served, hub: Any) -> None:
    run_id = served.refund().json()["run_id"]
    assert [line["run_id"] for line in hub("approvals", "list")[1]["data"]] == [run_id]
    assert hub("approvals", "approve", run_id)[1]["status"] == "succeeded"
    assert hub("approvals", "approve", run_id) == (1, {"error": hub("approvals", "deny", run_id)[1]["error"]})
    other = served.refund().json()["run_id"]
    assert hub("runs", "cancel", other)[1]["status"] == "failed"
    assert hub("runs", "reverse", other)[0] == 1
    assert hub("runs", "upside", other)[0] == 2


def test_the_local_operator_does_not_approve_what_they_asked_for(served: Served, hub: Any) -> None:
    payment = json.loads(served.app.list("payment", {}, limit=1))["data"][0]
    _, asked = hub(
        "act",
        "payment.refund",
        f"payment_ref={payment['id']}",
        "amount=1.00 EUR",
        "reason=requested_by_customer",
        "--key",
        "a",
    )
    if asked.get("status") == "needs_approval":
        code, answer = hub("approvals", "approve", asked["run_id"])
        assert (code, answer["error"]["code"]) == (1, "own_run")


def test_the_command_line_freezes_money(hub: Any) -> None:
    assert hub("freeze", "money", "--reason", "audit")[1]["frozen"]["by"] == "local operator"
    assert hub("freeze", "money")[0] == 1
    assert hub("unfreeze", "money")[1]["frozen"] is None
    assert hub("freeze", "time")[0] == 2


@ON_SQLITE
def test_the_command_line_checks_tests_and_explains_the_policy(served: Served, hub: Any) -> None:
    assert [rule["rule"] for rule in hub("policy", "check")[1]["rules"]] == ["held"]
    cases = served.folder / "cases.toml"
    cases.write_text(
        '[[case]]\naction = "payment.refund"\nfacts = { amount = "50.00 EUR" }\nverdict = "needs_approval"\n'
        '[[case]]\naction = "payment.refund"\nfacts = { amount = "50.01 EUR" }\nverdict = "deny"\n'
    )
    assert hub("policy", "test", str(cases)) == (
        0,
        {"cases": 2, "failed": [], "unhit": [], "unguarded": [], "passed": True},
    )
    cases.write_text(
        cases.read_text().split("[[case]]\n", 2)[0] + "[[case]]\n" + cases.read_text().split("[[case]]\n")[1]
    )
    code, report = hub("policy", "test", str(cases))
    assert (code, len(report["unguarded"])) == (1, 1)
    told = hub("policy", "explain", "payment.refund", "amount=50.01 EUR")[1]
    assert (told["verdict"], told["rules"][0]["fails"]) == ("deny", ["amount_lte 50.00 EUR"])
    (served.folder / "policy.toml").write_text('[[rule]]\naction = "ticket.replay"\nverdict = "deny"\n')
    assert hub("policy", "check")[0] == 2


@ON_SQLITE
def test_the_command_line_makes_and_rotates_keys(hub: Any) -> None:
    made = hub("keys", "create", "till", "--scope", "act:*@market", "--ceiling", "5.00 EUR", "--rate", "9/second")[1]
    assert made["ceilings"] == {"EUR": 500}
    again = hub("keys", "rotate", "till", "--overlap", "1h")[1]
    assert (again["id"], again["key"] != made["key"]) == (made["id"], True)
    assert hub("keys", "create", "lost", "--scope", "act:*@nope")[0] == 2
