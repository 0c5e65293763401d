"""The command line: one JSON object on stdout, everything else on stderr, errors in one line, exit codes 0, 1, 2."""

import errno
import importlib
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from hub.cli import run, syncing, tables
from hub.sandbox import World

ROOT = Path(__file__).parents[1]
MARKET = ROOT / "tests" / "market"
Hub = Callable[..., "Ran"]


@dataclass
class Step:
    """What a sync tells of itself."""

    connection: str
    stream: str
    read: int
    done: bool = False
    failed: bool = False


class Ran:
    """What a command answered."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        assert self.out.count("\n") == 1, "stdout holds one JSON object and nothing else"
        return json.loads(self.out)

    def failed(self, code: int, text: str) -> None:
        """Hold that it failed with one line that contains the text."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert self.code == code, self.err
        assert len(lines) == 1
        assert text in lines[0]
        assert "Traceback" not in self.err + self.out


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Hub:
    """Run `hub` in an empty folder with the Market plugin installed."""
    monkeypatch.syspath_prepend(str(MARKET))
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("HUB_"):
            monkeypatch.delenv(name)

    def ran(*args: str) -> Ran:
        capfd.readouterr()
        code = run(list(args))
        captured = capfd.readouterr()
        return Ran(code, captured.out, captured.err)

    return ran


@pytest.fixture
def market(hub: Hub, tmp_path: Path) -> Iterator[Any]:
    """A sandbox of Market, and a config.toml that points to it."""
    from hub.app.sandboxes import Sandboxes

    with Sandboxes.start(["market"], customers=12) as up:
        (tmp_path / "config.toml").write_text(up.toml())
        yield up.sandboxes["market"]


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


def test_check_says_who_we_are(hub: Hub, market: Any) -> None:
    ran = hub("check", "--json")
    assert ran.code == 0
    assert (
        ran.json["connections"]["market"] | {"ok": True, "account": "market-1", "live": False}
        == ran.json["connections"]["market"]
    )


def test_check_tells_wrong_credentials_and_an_unreachable_host(hub: Hub, market: Any, tmp_path: Path) -> None:
    market.token = "another"
    ran = hub("check", "--json")
    assert (ran.code, ran.json["connections"]["market"]["code"]) == (1, "unauthorized")
    (tmp_path / "config.toml").write_text(
        '[connections.market]\nconnector = "market"\nbase_url = "http://127.0.0.1:9"\ntoken = "x"\n'
    )
    ran = hub("check", "--json")
    assert (ran.code, ran.json["connections"]["market"]["code"]) == (1, "not_sent")


def test_check_of_a_wrong_setting_is_exit_2(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[connections.market]\nconnector = "market"\n')
    ran = hub("check", "--json")
    assert ran.code == 2
    assert "[connections.market] token: missing" in ran.json["connections"]["market"]["error"]
    (tmp_path / "config.toml").write_text('[connections.a]\nconnector = "markett"\n')
    assert 'did you mean "market"' in hub("check", "--json").json["connections"]["a"]["error"]


def test_check_tells_a_wrong_stream_and_a_wrong_policy(hub: Hub, market: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(config.read_text() + 'sync = { streams = ["poeple"] }\n')
    ran = hub("check", "--json")
    assert ran.code == 2
    told = 'config.toml: [connections.market] sync.streams: the mapping has no stream "poeple"; did you mean "people"?'
    assert ran.json["connections"]["market"]["error"] == told
    (tmp_path / "policy.toml").write_text('[[rule]]\nacton = "ticket.*"\n')
    for command in ("check", "actions"):
        hub(command).failed(2, "policy.toml")


def test_an_unreachable_address_is_named_without_credentials(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[connections.market]\nconnector = "market"\nbase_url = "http://ada:hunter2@127.0.0.1:9"\ntoken = "x"\n'
    )
    ran = hub("check")
    assert ran.code == 1
    assert ran.out.count("127.0.0.1:9") == 1
    assert "hunter2" not in ran.out + ran.err


def test_without_any_configuration_status_says_so_and_makes_no_database(hub: Hub, tmp_path: Path) -> None:
    ran = hub("status", "--json")
    assert (ran.code, ran.json) == (0, {"connections": {}})
    assert "no connection is configured: there is no config.toml in this folder" in ran.err
    for service in ("serve", "worker"):
        hub(service).failed(2, "no connection is configured: there is no config.toml in this folder")
    assert list(tmp_path.iterdir()) == []


def test_files_that_hold_data_or_secrets_are_their_owners_only(hub: Hub, market: Any, tmp_path: Path) -> None:
    assert hub("init", "fresh").code == hub("sync").code == hub("keys", "create", "x").code == 0
    for name in ("hub.db", "ledger.db", "fresh/config.toml"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600, name


def test_sync_reports_each_table(hub: Hub, market: Any) -> None:
    ran = hub("sync", "--json")
    assert ran.code == 0, ran.err
    people = ran.json["connections"]["market"]["people"]
    seconds = people.pop("seconds")
    assert isinstance(seconds, float)
    assert people == {
        "stream": "people", "kind": "customer", "read": 12, "changed": 12, "deleted": 0, "skipped": 0, "rejected": 0,
        "error": None,
    }  # fmt: skip
    assert "market people: 12 read, done" in ran.err
    again = hub("sync", "market", "--stream", "people", "--full", "--json").json["connections"]["market"]
    assert list(again) == ["people"]
    assert (again["people"]["read"], again["people"]["changed"]) == (12, 0)
    assert re.search(r"^market +people +customer +12 +0 +0 +0 +\d", hub("sync", "--full").out, re.M)


def test_sync_of_an_unknown_stream_is_exit_2_before_anything_is_read(hub: Hub, market: Any) -> None:
    hub("sync", "--stream", "poeple").failed(2, 'did you mean "people"')


def test_sync_with_an_error_is_exit_1_and_the_others_go_on(hub: Hub, market: Any) -> None:
    market.fault("GET /people", "status:500", times=100)
    ran = hub("sync", "--json")
    assert ran.code == 1
    tables = ran.json["connections"]["market"]
    assert tables["people"]["error"].startswith("temporary: ")
    assert tables["tickets"]["error"] is None
    assert tables["tickets"]["read"] > 0


def test_an_error_of_a_sync_is_told_once_below_the_table(hub: Hub, market: Any) -> None:
    market.fault("GET /people", "status:500", times=100)
    ran = hub("sync")
    told = "temporary: GET /people: 500"
    assert (ran.out + ran.err).count(told) == 1
    assert ran.out.splitlines()[-1] == f"error: market people: {told}"
    assert "market people: 0 read, stopped by an error" in ran.err
    assert "people: 0 read, done" not in ran.err
    assert hub("status").out.splitlines()[-1] == f"error: market people: {told}"


def test_status_shows_what_is_stored(hub: Hub, market: Any) -> None:
    hub("sync")
    line = hub("status", "--json").json["connections"]["market"]["streams"]["people"]
    assert (line["records"], line["rejects"], line["error"]) == (12, 0, None)
    assert line["synced_at"]
    assert re.search(r"^market +people +12 +0 +\d{4}-\d\d-\d\d \d\d:\d\dZ", hub("status").out, re.M)


def test_map_preview_needs_no_configuration(hub: Hub, tmp_path: Path) -> None:
    rows = [{"id": 1, "name": "Ada", "mail": "ADA@X.example", "updated": "2026-01-01T00:00:00Z"}, {"name": "no id"}]
    (tmp_path / "raw.ndjson").write_text("\n".join(map(json.dumps, rows)) + "\nnot json\n")
    ran = hub("map", "preview", "market", "people", "--file", "raw.ndjson", "--json")
    assert ran.code == 0, ran.err
    good, bad, worse = ran.json["records"]
    assert (good["ok"], good["key"], good["data"]["email"]) == (True, "1", "ada@x.example")
    assert (bad["ok"], worse["ok"]) == (False, False)
    assert "unified" in hub("map", "preview", "market", "people", "--file", "raw.ndjson").out
    hub("map", "preview", "market", "poeple", "--file", "raw.ndjson").failed(2, 'did you mean "people"')
    hub("map", "preview", "market", "people", "--file", "none.ndjson").failed(2, "none.ndjson: cannot be read")
    hub("map", "preview", "market", "people").failed(2, "give raw records with --file")


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("listed", [False, True])
def test_map_preview_takes_a_list_or_a_document_over_many_lines(
    hub: Hub, tmp_path: Path, listed: bool, indent: int | None
) -> None:
    row = {"id": 1, "name": "Ada", "mail": "ada@x.example"}
    rows = [row, {**row, "id": 2}] if listed else row
    (tmp_path / "raw.json").write_text("\ufeff" + json.dumps(rows, indent=indent) + "\n", "utf8")
    entries = hub("map", "preview", "market", "people", "--file", "raw.json", "--json").json["records"]
    assert [entry["key"] for entry in entries] == (["1", "2"] if listed else ["1"])


def test_map_preview_reads_standard_input(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"id": 1}\n{"id": 2}\n')))
    entries = hub("map", "preview", "market", "people", "--file", "-", "--json").json["records"]
    assert [entry["key"] for entry in entries] == ["1", "2"]


def test_a_record_that_is_not_there_cannot_be_previewed(hub: Hub, market: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("hub_market")
    monkeypatch.setattr(module.MarketConnector, "some", lambda self, stream, ids: module.Page(records=[], deleted=ids))
    hub("map", "preview", "market", "people", "--id", "p999").failed(1, "market people: there is no record with the id")


def test_an_unknown_mapping_is_told_with_each_known_name_once(hub: Hub, market: Any) -> None:
    ran = hub("map", "check", "xyz")
    ran.failed(2, '"xyz" is no connection and no connector; known: ')
    assert ran.err.count("market") == 1


def test_a_mapping_that_widens_visibility_is_an_error_of_the_check_and_stops_the_connection(
    hub: Hub, market: Any, tmp_path: Path
) -> None:
    (tmp_path / "mappings").mkdir()
    text = 'extends = "market"\n[notes]\nwritable = []\n[notes.write]\nvisibility = false\n'
    (tmp_path / "mappings" / "market.toml").write_text(f'{text}[notes.fields]\nvisibility = {{ value = "public" }}\n')
    told = "mappings/market.toml: [notes.fields] visibility: makes every message public"
    ran = hub("map", "check", "--json")
    assert ran.code == 1
    assert ran.json["mappings"]["market"][0]["severity"] == "error"
    assert told in ran.json["mappings"]["market"][0]["message"]
    hub("sync").failed(2, told)
    assert hub("check").code == 2


def test_map_preview_uses_the_connections_own_mapping_without_its_secret(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(
        '[people]\nkind = "customer"\nkey = "id"\n[people.fields]\ndisplay_name = "nick"\n'
    )
    (tmp_path / "config.toml").write_text(
        '[connections.eu]\nconnector = "market"\nmapping = "my.toml"\ntoken = "${NOT_SET}"\n'
    )
    (tmp_path / "raw.ndjson").write_text('{"id": 1, "nick": "Ad"}\n')
    ran = hub("map", "preview", "eu", "people", "--file", "raw.ndjson", "--json")
    assert ran.json["records"][0]["data"]["display_name"] == "Ad"


def test_map_preview_takes_a_sample_or_one_from_the_system(hub: Hub, market: Any) -> None:
    assert len(hub("map", "preview", "market", "people", "--sample", "3", "--json").json["records"]) == 3
    (one,) = hub("map", "preview", "market", "people", "--id", "p2", "--json").json["records"]
    assert one["key"] == "p2"


def test_map_check_names_the_place_of_a_mistake(hub: Hub, tmp_path: Path) -> None:
    assert hub("map", "check", "market", "--json").code == 0
    (tmp_path / "bad.toml").write_text('[people]\nkind = "customr"\nkey = "id"\n[people.fields]\n')
    ran = hub("map", "check", "market", "--mapping", "bad.toml", "--json")
    assert ran.code == 1
    assert "customr" in ran.json["mappings"]["market"][0]["message"]
    hub("map", "check", "market", "--mapping", "none.toml").failed(2, "there is no such mapping file")


def test_actions_say_who_can(hub: Hub, market: Any) -> None:
    found = {line["name"]: line for line in hub("actions", "--json").json["actions"]}
    assert found["payment.refund"]["connections"] == ["market"]
    assert found["customer.update"]["connections"] == []
    assert re.search(r"^payment.refund +Refund a payment +R3 +market$", hub("actions").out, re.M)


def test_act_and_runs(hub: Hub, market: Any) -> None:
    hub("sync")
    given = ["act", "ticket.reply", "ticket_ref=market/tickets/t1", "body=On its way.", "--key", "k1", "--json"]
    preview = hub(*given[:-3], "--preview", "--json").json
    assert preview["status"] == "previewed"
    assert market.effects() == []
    first, again = hub(*given), hub(*given)
    assert (first.code, first.json["status"], again.json["replayed"]) == (0, "succeeded", True)
    (entry,) = market.effects("note t1")
    assert entry.effect["public"] is True
    run_id = first.json["run_id"]
    assert hub("runs", run_id, "--json").json["status"] == "succeeded"
    assert run_id in [line["run_id"] for line in hub("runs", "--json").json["data"]]
    assert run_id in hub("runs").out
    assert "succeeded" in hub("runs", run_id).out
    hub("runs", "run_nope").failed(1, "there is no run")


def test_act_nests_fields_and_reads_a_file(hub: Hub, market: Any, tmp_path: Path) -> None:
    hub("sync")
    (tmp_path / "in.json").write_text('{"payment_ref": "market/payments/pay1", "reason": "other"}')
    ran = hub("act", "payment.refund", "--input", "@in.json", "amount=1.00 EUR", "--key", "k", "--json")
    assert ran.code == 1
    assert ran.json["status"] == "denied"
    assert "policy" in ran.json["error"]["human_message"]


def test_runs_name_the_key_that_asked(hub: Hub, market: Any, tmp_path: Path) -> None:
    hub("sync")
    from hub.app import App
    from hub.perform import Request

    with App.open(tmp_path / "config.toml") as app:
        principal = app.principal(app.create_key("nightly bot", ["act:*"])["key"])
        asked = {"ticket_ref": "market/tickets/t1", "body": "Hi"}
        app.act(Request(action="ticket.reply", input=asked, key="k"), principal)
    assert "nightly bot" in hub("runs").out
    assert hub("runs", "--json").json["data"][0]["principal_name"] == "nightly bot"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["ticket.replyy"], "there is no action"),
        (["ticket.reply", "body=Hi"], "ticket.reply: ticket_ref: missing"),
        (["ticket.reply", "ticket_ref=market/tickets/t1", "body=", "--key", "k"], "body: must not be empty"),
        (["ticket.reply", "ticket_ref=market/tickets/t1", "bdy=Hi"], 'bdy: no such field; did you mean "body"?'),
        (["ticket.reply", "ticket_ref=market/tickets/t1", "body=Hi", "set_status=done"], "set_status: expected new, "),
        (
            ["customer.update", "customer_ref=cus_x", "changes.phone=1"],
            "changes.phone: no such field; there are display_",
        ),
        (
            ["ticket.set_status", "ticket_ref=tkt", "status=x"],
            "status: expected open, pending, on_hold, solved or closed",
        ),
        (["ticket.reply", "ticket_ref=nope", "body=Hi", "--key", "k"], "ticket_ref: expected a hub id"),
    ],
)
def test_wrong_input_is_told_in_the_words_of_the_command_line(
    hub: Hub, market: Any, given: list[str], text: str
) -> None:
    ran = hub("act", *given)
    ran.failed(2, text)
    assert not re.search(r"input\.|Input|Field|String|Extra|Value error", ran.err)


def test_a_second_time_is_told_with_the_option_that_permits_it(hub: Hub, market: Any) -> None:
    hub("sync")
    given = ["act", "ticket.reply", "ticket_ref=market/tickets/t1", "body=Hi"]
    assert hub(*given, "--key", "a").code == 0
    hub(*given, "--key", "b").failed(1, "add --repeat if it is to happen again")
    assert hub(*given, "--key", "b", "--repeat").code == 0


def test_act_without_a_key_is_told(hub: Hub, market: Any) -> None:
    hub("sync")
    hub("act", "ticket.reply", "ticket_ref=market/tickets/t1", "body=Hi").failed(
        2, "ticket.reply needs --key: one per intention"
    )


def test_db_tells_its_versions(hub: Hub) -> None:
    assert hub("db", "version", "--json").json == {"hub": None, "ledger": None}
    made = hub("db", "upgrade", "--json").json
    assert made == hub("db", "version", "--json").json
    assert all(made.values())
    assert hub("db", "upgrade").out.startswith("database  version\nhub ")


def test_keys_are_made_listed_and_revoked(hub: Hub) -> None:
    made = hub("keys", "create", "bot", "--scope", "read", "--scope", "act:ticket.*", "--json").json
    assert made["key"].startswith("hub_")
    (line,) = hub("keys", "list", "--json").json["keys"]
    assert (line["name"], line["scopes"]) == ("bot", ["read", "act:ticket.*"])
    assert made["key"] not in hub("keys", "list").out
    assert hub("keys", "revoke", "bot", "--json").json["id"] == made["id"]
    assert hub("keys", "list", "--json").json["keys"][0]["revoked_at"]
    hub("keys", "create", "x", "--scope", "everything").failed(2, "scope")


class Terminal(io.StringIO):
    """What a person sees."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_long_work_shows_a_moving_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    with syncing.Progress() as tell:
        for read in (100, 1500):
            tell(Step("market", "people", read))
        tell(Step("market", "people", 1500, done=True))
        time.sleep(0.2)
    assert "market people" in shown.getvalue()
    assert "1,500 read" in shown.getvalue()


def test_elsewhere_long_work_tells_plain_lines_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = iter((0.0, 1.0, 2.5, 3.0, 9.0))
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    with syncing.Progress() as tell:
        for read in (100, 200, 300, 400):
            tell(Step("market", "people", read))
        tell(Step("market", "people", 500, done=True))
    assert capsys.readouterr().err == "market people: 300 read\nmarket people: 500 read, done\n"


ROWS = [
    ("run_4f5pzrmrmv2j3kq2mwzsc5q2ha", "a text that has many words in it", 1.5, True, "2026-11-22T11:22:33.123456Z")
]
NAMES = ("id", "title", "size", "fine", "at")


def test_on_a_narrow_terminal_text_is_wrapped_and_ids_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    monkeypatch.setattr("sys.stdout", shown)
    monkeypatch.setenv("COLUMNS", "80")
    tables.table(NAMES, [*ROWS, ("b", None, 12.0, False, "")], none="", spare=("fine",))
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["id", "title", "size", "at"]
    assert lines[1].split()[0] == ROWS[0][0]
    assert lines[1].endswith("  1.50  2026-11-22 11:22Z")
    assert " ".join(line[30:54].strip() for line in lines[1:3]) == ROWS[0][1]
    assert lines[-1].split() == ["b", "-", "12.00", "-"]


def test_elsewhere_a_table_has_aligned_columns_and_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    tables.table(NAMES, [*ROWS, ("b", None, 12, False, [])], none="", spare=("fine",))
    tables.table(NAMES, [], none="there is none")
    out, err = capsys.readouterr()
    assert out.splitlines()[:3] == [
        "id                              title                             size  fine  at",
        "run_4f5pzrmrmv2j3kq2mwzsc5q2ha  a text that has many words in it  1.50  yes   2026-11-22 11:22Z",
        "b                               -                                   12  no    -",
    ]
    assert err == "there is none\n"


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


def test_map_check_can_ask_the_system_for_its_fields(hub: Hub, market: Any) -> None:
    assert hub("map", "check", "market", "--live", "--json").code == 0


def test_map_preview_of_a_stream_that_cannot_be_fetched_is_told(
    hub: Hub, market: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = importlib.import_module("hub_market").MarketConnector
    monkeypatch.setattr(connector, "marks", tuple(mark for mark in connector.marks if mark.role == "pull"))
    hub("map", "preview", "market", "people", "--id", "p1").failed(
        1, 'the connector has no fetch for the stream "people"'
    )


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


def mapping(folder: Path, text: str) -> None:
    """Lay a mapping file over the plugin's own."""
    (folder / "mappings").mkdir(exist_ok=True)
    (folder / "mappings" / "market.toml").write_text(f'extends = "market"\n{text}')


def test_map_diff_shows_and_map_apply_makes_what_a_changed_mapping_says_with_the_vendor_down(
    hub: Hub, market: Any, tmp_path: Path
) -> None:
    assert hub("sync", "--json").code == 0
    market.stop()
    mapping(tmp_path, '[tickets.fields]\nsubject = "state"\n')
    assert "tickets: some stored rows are of another mapping" in hub("status").err
    ran = hub("map", "diff", "market", "--json")
    tickets = ran.json["connections"]["market"]["tickets"]
    assert tickets["changed"] == tickets["fields"]["subject"] > 0
    assert "subject changes in" in hub("map", "diff").out
    ran = hub("map", "apply", "--json")
    assert ran.json["connections"]["market"]["tickets"]["changed"] == tickets["changed"]
    assert f"market tickets: {tickets['changed']} of {tickets['changed']}" in ran.err
    assert "another mapping" not in hub("status").err
    assert hub("map", "diff", "--table", "tickets").out.count("market") == 1
    hub("map", "diff", "--table", "tikets").failed(2, 'did you mean "tickets"')
    hub("map", "apply", "--stream", "tikets").failed(2, 'did you mean "tickets"')


def test_map_apply_asks_before_it_takes_most_rows_away(hub: Hub, market: Any, tmp_path: Path) -> None:
    hub("sync")
    mapping(tmp_path, '[people]\nwhere = { name = "nobody" }\n')
    hub("map", "apply").failed(1, "look at `hub map diff`, then say `hub map apply --yes`")
    ran = hub("map", "apply", "--yes", "--json")
    assert ran.json["connections"]["market"]["people"]["deleted"] > 10


def test_map_replay_rejects_tries_the_kept_rejects_again(hub: Hub, market: Any, tmp_path: Path) -> None:
    mapping(tmp_path, '[tickets.fields.status]\nfrom = "state"\nvalues = { none = "open" }\notherwise = "reject"\n')
    hub("sync")
    rejected = json.loads(hub("status", "--json").out)["connections"]["market"]["streams"]["tickets"]["rejects"]
    mapping(tmp_path, "")
    assert (
        f"tickets  {rejected}" in " ".join(hub("map", "replay-rejects").out.split(" ")).replace("    ", " ") or rejected
    )
    assert hub("status", "--json").json["connections"]["market"]["streams"]["tickets"]["rejects"] == 0


def test_map_suggest_proposes_lines_and_shows_no_value(hub: Hub, market: Any, tmp_path: Path) -> None:
    mapping(tmp_path, "[people.fields]\nexternal_ref = false\n")
    hub("sync")
    ran = hub("map", "suggest", "market", "people", "--json")
    (line,) = [line for line in ran.json["fields"] if line["path"] == "number"]
    assert line == {"path": "number", "type": line["type"], "filled": 1.0, "line": 'custom.number = "number"'}
    text = hub("map", "suggest", "market", "people").out
    assert not [one.name for one in market.world.people if one.name in ran.out + text]
    hub("map", "suggest", "market", "peple").failed(2, 'did you mean "people"')


def test_a_running_hub_takes_a_changed_mapping_with_its_next_sync(market: Any, tmp_path: Path) -> None:
    from hub.app import App

    with App.open(tmp_path / "config.toml") as app:
        app.sync()
        mapping(tmp_path, '[tickets.fields]\nsubject = "state"\n')
        app.sync(full=True)
        found = json.loads(app.list("ticket", {}, limit=1))["data"][0]
        assert found["subject"] in ("open", "closed")
        assert app.status()["market"]["behind"] == []
        mapping(tmp_path, "[tickets.fields\n")
        assert app.sync()["market"]["tickets"]["error"] is None


def test_db_compact_forgets_what_is_too_old_and_tells_what_it_freed(hub: Hub, market: Any, tmp_path: Path) -> None:
    hub("sync")
    records = hub("db", "compact", "--json").json["records"]
    mapping(tmp_path, '[tickets]\nraw_retention = "none"\n')
    found = hub("db", "compact", "--shrink", "--json").json
    assert found["expired"] == {"market": {"tickets": found["expired"]["market"]["tickets"]}}
    assert records - found["live"] == found["expired"]["market"]["tickets"] > 0
    assert (found["shrunk"], found["bytes_free"]) == (True, 0)
    ran = hub("db", "compact")
    assert "bytes before" in ran.out
