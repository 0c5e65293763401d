"""
`hub demo`: four systems in, one customer, each effect once, by the sandboxes' own ledgers.

It keeps its hub in files of its own; test_main_job.py has the same job on both stores.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from hub.app.demo import staged
from hub.cli import run

ROOT = Path(__file__).parents[1]
FOUR = {"legacy", "salesforce", "stripe", "zendesk"}
MEGABYTE = 1024  # ru_maxrss counts kilobytes on Linux
MEASURED = """
import pathlib, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
pathlib.Path(sys.argv[1]).write_text(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""
"""Runs a command from a small process: Linux counts the memory of whoever starts a child into the child's peak."""


def start(folder: Path, *args: str, peak: Path | None = None) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    environment |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "hub.cli", "demo", *args]
    if peak is not None:
        command = [sys.executable, "-c", MEASURED, str(peak), *command]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The account of one demo with 500 customers, and what it cost."""
    folder, peak = tmp_path_factory.mktemp("demo"), tmp_path_factory.mktemp("peak") / "kilobytes"
    with start(folder, "--json", peak=peak) as child:
        out, err = child.communicate()
    assert child.returncode == 0, err
    assert out.count("\n") == 1, "stdout holds one JSON object and nothing else"
    return json.loads(out) | {
        "peak_mb": int(peak.read_text()) / MEGABYTE,
        "left": list(folder.iterdir()),
        "stderr": err,
    }


def test_all_four_systems_are_read_without_a_reject(told: dict[str, Any]) -> None:
    assert set(told["connections"]) == FOUR
    for name, tables in told["connections"].items():
        assert tables
        for table, line in tables.items():
            where = f"{name} {table}"
            assert line["error"] is None, where
            assert line["rejected"] == 0, where
            assert line["changed"] > 0, where
            assert line["read"] >= line["changed"] + line["deleted"], where


def test_one_customer_is_seen_in_all_four(told: dict[str, Any]) -> None:
    assert set(told["customer"]["connections"]) == FOUR
    assert told["customer"]["id"].startswith("cus_")
    assert told["customer"]["name"]


def test_the_refund_is_previewed_done_and_replayed_and_happened_once(told: dict[str, Any]) -> None:
    refund = told["refund"]
    assert refund["preview"]["status"] == "previewed"
    (request,) = [line["request"] for line in refund["preview"]["preview"]["requests"]]
    assert request["method"] == "POST"
    assert "Authorization" not in json.dumps(request).title() or "***" in json.dumps(request)
    assert (refund["first"]["status"], refund["first"]["replayed"]) == ("succeeded", False)
    assert (refund["second"]["run_id"], refund["second"]["replayed"]) == (refund["first"]["run_id"], True)
    assert refund["effects"] == 1


def test_reply_and_address_change_happened_once(told: dict[str, Any]) -> None:
    assert told["reply"]["effects"] == 1
    assert told["address"]["effects"] == 1


def test_it_is_quick_small_and_leaves_nothing_behind(told: dict[str, Any]) -> None:
    assert told["seconds"] <= 20
    assert told["peak_mb"] <= 200
    assert told["left"] == []


def test_progress_goes_to_stderr_as_plain_lines(told: dict[str, Any]) -> None:
    assert re.search(r"^zendesk tickets: \d+ read, done$", told["stderr"], re.M)
    assert "Traceback" not in told["stderr"]


def test_what_the_environment_says_of_a_real_hub_is_nothing_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_HUB__DATABASE_URL", f"sqlite:///{tmp_path}/real.db")
    monkeypatch.setenv("HUB_CONNECTIONS__STRIPE__API_KEY", "sk_live_real")
    with staged(2) as (app, _):
        app.ready()
        assert app.settings.connections["stripe"].options["api_key"] != "sk_live_real"
    assert list(tmp_path.iterdir()) == []


def test_a_person_is_shown_the_proof(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--customers", "60"]) == 0
    shown = capfd.readouterr()
    assert "connection  table " in shown.out
    assert "preview   POST https://api.stripe.com/v1/refunds (not sent)" in shown.out
    assert shown.out.count("proof     1 of 1 ") == 3
    assert "is one customer in legacy, salesforce, stripe, zendesk" in shown.err


def test_serve_stays_up_with_a_key_and_ends_cleanly(tmp_path: Path) -> None:
    child = start(tmp_path, "--serve", "--customers", "60")
    assert child.stderr is not None
    seen = []
    try:
        found: dict[str, str] = {}
        for line in iter(child.stderr.readline, ""):
            seen.append(line)
            if match := re.search(r"key: (hub_\S+)", line):
                found["key"] = match[1]
            if match := re.search(r"serving on (http://\S+)", line):
                found["url"] = match[1]
                break
        headers = {"Authorization": f"Bearer {found['key']}"}
        answer = requests.get(f"{found['url']}/v1/customers?limit=200", headers=headers, timeout=10).json()
        assert any(len({r["connection"] for r in row["connections"]}) == 4 for row in answer["data"])
    finally:
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=20)
    assert child.returncode == 0, "".join(seen) + err
    assert "proof     1 of 1 refunds" in out
    assert list(tmp_path.iterdir()) == []
