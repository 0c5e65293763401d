"""The audit of a hub: what it tells of itself, and `hub audit verify`, `export` and `accept`."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from hub.app import App
from hub.app.sandboxes import Sandboxes
from hub.cli import run as hub
from hub.config import HubSettings, Settings
from hub.ledger import verify
from tests.audit.books import disclosed
from tests.stores import ON_SQLITE

ROOT = Path(__file__).parents[2]
MARKET = ROOT / "tests" / "market"


@pytest.fixture
def folder(tmp_path, books, monkeypatch):
    (tmp_path / "config.toml").write_text(f'[hub]\ndatabase_url = "{books.hub}"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HUB_CONFIG", raising=False)
    return tmp_path


def test_the_hub_tells_of_reads_and_of_its_policy(tmp_path, books):
    (tmp_path / "policy.toml").write_text('[[rule]]\nname = "r"\naction = "ticket.*"\nverdict = "allow"\n')
    key, policy = tmp_path / "elsewhere.key", tmp_path / "policy.toml"
    config = HubSettings(database_url=books.hub, policy=policy, audit_key_file=key)
    for _ in range(2):
        with App.open(Settings(hub=config, directory=tmp_path)) as app:
            app.warm()
            app.list("customer", {}, limit=10)
            assert app.get("customer", "cus_aaaaaaaaaaaaaaaaaaaaaaaa") is None
    with App.open(Settings(hub=config, directory=tmp_path)) as app:
        (row,) = app.ledger.audit.rows()
        assert (row.kind, row.as_dict()["facts"]["rules"]) == ("policy_loaded", ["r"])
    assert (tmp_path / "elsewhere.key").exists()
    assert not (tmp_path / "audit.key").exists()


@ON_SQLITE  # how a server ends is the same on both
def test_what_was_shown_just_before_a_server_is_stopped_is_in_the_audit(folder, books, monkeypatch):
    monkeypatch.syspath_prepend(str(MARKET))
    with Sandboxes.start(["market"], customers=5) as up:
        (folder / "config.toml").write_text(up.toml())
        with App.open(folder / "config.toml") as app:
            app.sync()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
        environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{MARKET}"
        command = [sys.executable, "-m", "hub.cli", "serve", "--no-worker", "--port", "0", "--json"]
        with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as child:
            told = json.loads(child.stdout.readline())
            headers = {"Authorization": f"Bearer {told['admin_key']}"}
            url = f"{told['url']}/v1/customers"
            ids = [one["id"] for one in requests.get(url, headers=headers, timeout=20).json()["data"]]
            one = requests.get(f"{url}/{ids[0]}?include=raw", headers=headers, timeout=20).json()
            child.send_signal(signal.SIGTERM)
            assert child.wait(30) == 0
    ledger = books.open()
    found = disclosed(ledger.audit)
    assert {id for _, _, id in found} == set(ids)
    assert {principal[:4] for principal, _, _ in found} == {"key_"}
    (of_one,) = [fields for (_, _, id), fields in found.items() if id == ids[0]]
    assert tuple(sorted(one)) in of_one
    assert verify(ledger.audit).ok
    ledger.close()


def test_hub_audit_verify_and_export_tell_what_was_done(folder, capsys):
    assert hub(["keys", "create", "bot", "--scope", "read"]) == 0
    assert hub(["keys", "revoke", "bot"]) == 0
    capsys.readouterr()
    assert hub(["audit", "verify", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["rows"], found["problems"]) == (True, 2, [])
    assert hub(["audit", "export"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines] == ["key_created", "key_revoked"]
    assert hub(["audit", "export", "--json", "--since", "1d"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (len(found["rows"]), found["head"]["count"]) == (2, 2)
    assert hub(["audit", "export", "--since", "2999-01-01"]) == 0
    assert capsys.readouterr().out == ""
    assert hub(["audit", "export", "--since", "soon"]) == 2


def test_hub_audit_verify_names_the_row_and_exits_with_1(folder, books, capsys):
    assert hub(["keys", "create", "bot"]) == 0
    assert hub(["keys", "revoke", "bot"]) == 0
    kept = folder / "head.kept"
    shutil.copy(folder / "audit.head", kept)
    books.tamper("UPDATE audit SET facts = '{}' WHERE seq = 1")
    capsys.readouterr()
    assert hub(["audit", "verify"]) == 1
    assert "row 1 was changed" in capsys.readouterr().out
    assert hub(["audit", "verify", "--json", "--head", str(kept)]) == 1
    problem = {"seq": 1, "last": 1, "what": "changed", "text": "row 1 was changed after being written"}
    assert json.loads(capsys.readouterr().out)["problems"] == [problem]
    assert hub(["audit", "verify", "--head", str(folder / "config.toml")]) == 2


def test_hub_audit_accept_goes_on(folder, capsys):
    assert hub(["keys", "create", "bot"]) == 0
    (folder / "audit.head").unlink()
    assert hub(["audit", "verify"]) == 1
    assert hub(["audit", "accept"]) == 0
    assert hub(["audit", "verify"]) == 0
