"""The command line: one JSON object on stdout, everything else on stderr, errors in one line, exit codes 0, 1, 2."""

import errno
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from hub.sandbox import World
from tests.cli.conftest import MARKET, Hub

ROOT = Path(__file__).parents[2]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    return kept | {"PYTHONPATH": f"{ROOT}{os.pathsep}{MARKET}"} | more


def test_help_is_quick() -> None:
    def seconds(*args: str) -> float:
        times = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([sys.executable, *args], check=True, capture_output=True, env=environment())
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    assert seconds("-m", "hub.cli", "--help") <= 7 * seconds("-c", "import json, argparse, asyncio")


def test_help_imports_no_heavy_library() -> None:
    heavy = ("pydantic", "sqlmodel", "fastapi", "rich", "requests")
    code = f"import sys; import hub.cli; sys.exit(','.join(m for m in {heavy} if m in sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False)
    assert ended.stderr.strip() == ""


def test_every_command_explains_itself(hub: Hub) -> None:
    words = "init plugins check sync status serve worker demo sandbox map actions act runs db keys".split()
    top = hub("--help")
    assert top.code == 0
    for word in words:
        assert f"\n  {word} " in top.out
        assert hub(word, "--help").code == 0


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["snyc"], "No such command 'snyc'. Did you mean 'sync'"),
        (["sync", "--fulll"], "--full"),
        (["act"], "Missing argument"),
        (["map", "preview", "market", "people", "--sample", "0"], "--sample"),
        (["--config", "nowhere.toml", "status"], "nowhere.toml: there is no such file"),
        (["sync", "market"], 'connection "market" is not configured'),
        (["sync"], "no connection is configured: there is no config.toml in this folder"),
        (["check"], "no connection is configured"),
        (["sandbox", "up", "markett"], 'did you mean "market"'),
        (["map", "check", "markett"], 'did you mean "market"'),
        (["act", "ticket.reply", "nonsense"], "expected key=value"),
        (["act", "ticket.reply", "--input", "{"], "--input: is not JSON"),
        (["act", "ticket.reply", "--input", "[]"], "expected a JSON object"),
        (["act", "ticket.reply", "--input", "@nowhere.json"], "nowhere.json cannot be read"),
        (["act", "ticket.reply", "--input", "[" * 100_000], "--input: is not JSON"),
        (["act", "ticket.reply", "a=1", "a.b=2"], "a already has a value"),
        (["map", "preview", "market", "people", "--file", "nowhere.ndjson"], "nowhere.ndjson: cannot be read"),
        (["map", "preview", "market", "peple", "--file", "nowhere.ndjson"], 'did you mean "people"'),
        (["init", "/dev/null"], "/dev/null: cannot be made a folder"),
        (["init", "/dev/null/below"], "/dev/null/below: cannot be made a folder"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(hub: Hub, args: list[str], text: str) -> None:
    hub(*args).failed(2, text)


def test_an_error_is_json_too_where_json_was_asked_for(hub: Hub) -> None:
    assert hub("sync", "market", "--json").json["error"]["code"] == "config_error"
    assert hub("sync", "--json", "--nope").json["error"]["code"] == "usage"


def test_an_unexpected_error_shows_no_traceback_unless_asked_for(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("hunter2")

    monkeypatch.setattr("hub.plugins.discover", broken)
    hub("plugins").failed(1, "the hub itself failed (ZeroDivisionError); set HUB_DEBUG=1")
    monkeypatch.setenv("HUB_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        hub("plugins")


def test_the_config_may_be_named_anywhere(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("[hub]\nprot = 1\n")
    for args in (
        ["--config", "other.toml", "status"],
        ["status", "--config", "other.toml"],
        ["status", "--config=other.toml"],
    ):
        hub(*args).failed(2, 'other.toml: [hub] prot: unknown key; did you mean "port"?')


def test_init_writes_what_is_missing_and_never_overwrites(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("# mine\n")
    found = hub("init", "--json").json
    assert found == {"written": ["config.toml"], "kept": ["policy.toml"]}
    assert (tmp_path / "policy.toml").read_text() == "# mine\n"
    assert "# [connections.market]" in (tmp_path / "config.toml").read_text()
    assert hub("status", "--json").json == {"connections": {}}
    assert hub("init").out.count("kept") == 2


def test_init_makes_a_folder_that_works_at_once(hub: Hub, tmp_path: Path) -> None:
    assert hub("init", "new/place").code == 0
    assert hub("--config", "new/place/config.toml", "db", "upgrade", "--json").code == 0
    assert (tmp_path / "new" / "place" / "hub.db").exists()


def test_plugins_lists_what_they_bring(hub: Hub) -> None:
    found = {line["name"]: line for line in hub("plugins", "--json").json["plugins"]}
    assert found["market"]["connectors"] == ["market"]
    assert found["market"]["distribution"] == "deskhub-market"
    assert re.search(r"market +deskhub-market +1\.0 +market +-$", hub("plugins").out, re.M)


def test_without_any_configuration_status_says_so_and_makes_no_database(hub: Hub, tmp_path: Path) -> None:
    ran = hub("status", "--json")
    assert (ran.code, ran.json) == (0, {"connections": {}})
    assert "no connection is configured: there is no config.toml in this folder" in ran.err
    for service in ("serve", "worker"):
        hub(service).failed(2, "no connection is configured: there is no config.toml in this folder")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_no_traceback(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hub.plugins.discover", stopped)
    ran = hub("plugins")
    assert ran.code == 130
    assert "Traceback" not in ran.err


def test_a_reader_that_went_away_is_no_error_message(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: str) -> None:
        raise BrokenPipeError(errno.EPIPE, "gone")

    monkeypatch.setattr("hub.cli.out.write", gone)
    monkeypatch.setattr("sys.stdout", sys.stdout)
    ran = hub("plugins", "--json")
    assert (ran.code, ran.err) == (1, "")


def test_version(hub: Hub) -> None:
    ran = hub("--version")
    assert (ran.code, ran.out.split()[0]) == (0, "deskhub") or "deskhub" in ran.err


def test_sandbox_up_prints_a_config_that_works(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hub.cli", "sandbox", "up", "market", "--customers", "5", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as child:
        assert child.stdout is not None
        told = json.loads(child.stdout.readline())
        try:
            assert requests.get(f"{told['sandboxes']['market']}/_sandbox/ledger", timeout=5).json() == []
            (tmp_path / "config.toml").write_text(told["config"])
            checked = subprocess.run(
                [sys.executable, "-m", "hub.cli", "check", "--json"],
                cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert json.loads(checked.stdout)["connections"]["market"]["ok"] is True
            assert checked.stderr == "", "made-up credentials of a sandbox are no reason to warn"
        finally:
            child.send_signal(signal.SIGINT)
        assert child.wait(10) == 0


def test_a_world_is_the_same_for_the_same_seed() -> None:
    assert World(5, 3).people == World(5, 3).people
