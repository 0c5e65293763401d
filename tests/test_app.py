"""The assembled hub: what opens when, what is refused before work begins, what is logged, and how a story is told."""

import io
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.app import App, skeletons
from hub.app import logs as hub_logs
from hub.app.demo import Story
from hub.app.sandboxes import Sandboxes
from hub.config import ConnectionSettings, HubSettings, Settings, SyncSettings, ledger_beside, load
from hub.errors import ConfigError, HubError, Invalid, NotFound
from hub.vault import Vault

ROOT = Path(__file__).parents[1]
MARKET = ROOT / "tests" / "market"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Leave the loggers as they were found."""
    ours = logging.getLogger("hub")
    before = (list(ours.handlers), ours.level, ours.propagate)
    yield
    ours.handlers[:], ours.propagate = before[0], before[2]
    ours.setLevel(before[1])


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandboxes]:
    monkeypatch.syspath_prepend(str(MARKET))
    with Sandboxes.start(["market"], customers=15) as started:
        yield started


@pytest.fixture
def app(up: Sandboxes, tmp_path: Path, database_url: str) -> Iterator[App]:
    (tmp_path / "config.toml").write_text(f'[hub]\ndatabase_url = "{database_url}"\n{up.toml()}')
    with App.open(tmp_path / "config.toml") as opened:
        yield opened


@pytest.fixture
def files(up: Sandboxes, tmp_path: Path) -> Iterator[App]:
    """A hub whose databases are the files that it makes when nothing else is said."""
    (tmp_path / "config.toml").write_text(up.toml())
    with App.open(tmp_path / "config.toml") as opened:
        yield opened


def settings(folder: Path, up: Sandboxes, url: str, **more: Any) -> Settings:
    table = up.tables()["market"]
    connection = ConnectionSettings(
        connector="market", base_url=table["base_url"], options={"token": table["token"]}, **more
    )
    return Settings(HubSettings(database_url=url), {"one": connection}, None, folder)


def test_nothing_is_opened_before_it_is_needed(files: App, tmp_path: Path) -> None:
    assert not (tmp_path / "hub.db").exists()
    files.check()
    assert not (tmp_path / "hub.db").exists()
    files.sync()
    assert (tmp_path / "hub.db").exists()
    assert not (tmp_path / "ledger.db").exists()


def test_ready_settings_need_no_file_and_the_ledger_lies_beside(
    tmp_path: Path, up: Sandboxes, database_url: str
) -> None:
    with App.open(settings(tmp_path, up, database_url)) as app:
        assert app.keys.list() == []
        assert app.ready().keys() == {"hub", "ledger"}
        assert app.ledger.database.url == ledger_beside(database_url)


def test_only_the_configured_streams_are_read(tmp_path: Path, up: Sandboxes, database_url: str) -> None:
    with App.open(settings(tmp_path, up, database_url, sync=SyncSettings(streams=["people"]))) as app:
        assert list(app.sync()["one"]) == ["people"]


def test_a_configured_stream_that_the_mapping_lacks_is_refused(
    tmp_path: Path, up: Sandboxes, database_url: str
) -> None:
    with App.open(settings(tmp_path, up, database_url, sync=SyncSettings(streams=["poeple"]))) as app:
        with pytest.raises(
            ConfigError, match=r'\[connections.one\] sync.streams: the mapping has no stream "poeple"; did'
        ):
            app.sync()


def test_nothing_is_read_where_one_name_is_wrong(app: App, up: Sandboxes) -> None:
    with pytest.raises(ConfigError, match='connection "markett" is not configured; did you mean "market"'):
        app.sync(["market", "markett"])
    with pytest.raises(Invalid, match='has the stream "poeple"; did you mean "people"'):
        app.sync(streams=["people", "poeple"])
    with pytest.raises(ConfigError, match="markett"):
        app.check(["markett"])
    assert app.syncs.latest(10) == []


def test_a_connector_that_breaks_in_check_is_told_without_its_text(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(app.connections.open("market").connector, "check", broken)
    report = app.check()["market"]
    assert (report["ok"], report["code"]) == (False, "connector_failed")
    place = "tests/test_app.py:"
    assert report["error"].startswith(f"market: check: the connector failed with RuntimeError at {place}")


def test_an_interrupted_sync_of_several_stops_all_of_them(tmp_path: Path, up: Sandboxes, database_url: str) -> None:
    made = settings(tmp_path, up, database_url)
    two = Settings(made.hub, {"one": made.connections["one"], "two": made.connections["one"]}, None, tmp_path)
    up.sandboxes["market"].fault("GET /", "slow:0.1s", times=200)
    steps: list[Any] = []

    def interrupted(step: Any) -> None:
        steps.append(step)
        if threading.current_thread().name.endswith("_0") and len(steps) > 2:
            raise KeyboardInterrupt

    with App.open(two) as app:
        with pytest.raises(KeyboardInterrupt):
            app.sync(progress=interrupted)
        states = {found["connection"]: found for found in app.syncs.latest(10)}
        assert {found["state"] for found in states.values()} == {"failed"}
        app.sync()
        assert app.status()["one"]["streams"]["people"]["records"] == 15


def test_a_broken_plugin_does_not_keep_the_hub_from_opening(app: App) -> None:
    app.plugins.infos[0].error = "SyntaxError"
    assert app.describe_actions()


def test_a_connection_that_cannot_open_can_do_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[connections.x]\nconnector = "nothing"\n')
    with App.open(tmp_path / "config.toml") as app:
        assert all(line["connections"] == [] for line in app.describe_actions())


def test_a_file_that_is_no_database_any_more_is_told(files: App, tmp_path: Path) -> None:
    files.ready()
    files.store.close()
    (tmp_path / "hub.db").write_bytes(b"no database" * 1000)
    for name in ("hub.db-wal", "hub.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(HubError):
        files.ready()


def test_logs_hold_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, up: Sandboxes
) -> None:
    vault = Vault()
    config = __import__("hub_market").MarketConfig(token="hunter2000")
    vault.keep(config)
    hub_logs.configure("info", vault, service=True)
    logging.getLogger("hub.test").info("token %s", "hunter2000")
    logging.getLogger("hub.test").debug("too quiet")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["logger"]) == ("token ***", "info", "hub.test")


def test_on_a_terminal_logs_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    hub_logs.configure("warning", Vault(), service=True)
    logging.getLogger("hub.test").warning("look")
    assert "look" in shown.getvalue()
    assert not shown.getvalue().startswith("{")


def test_a_command_logs_in_short_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    hub_logs.configure("warning", Vault())
    log = logging.getLogger("hub.test")
    log.warning("look", exc_info=ValueError("hunter2"))
    assert capsys.readouterr().err == "warning: look\n"
    monkeypatch.setenv("HUB_DEBUG", "1")
    log.warning("look", exc_info=ValueError("why"))
    assert "ValueError: why" in capsys.readouterr().err


def test_the_files_to_start_from_load_and_hold_money_back(tmp_path: Path) -> None:
    from hub.actions import CATALOGUE, PaymentRefund
    from hub.money import Money
    from hub.policy import Facts, decide, load_policy

    for name, text in skeletons().items():
        (tmp_path / name).write_text(text)
    assert load(tmp_path / "config.toml", {}).connections == {}
    policy = load_policy(tmp_path / "policy.toml", actions={action.name: action for action in CATALOGUE})
    assert decide(policy, PaymentRefund, Facts("pay", Money(100, "EUR"))).verdict == "needs_approval"
    assert decide(policy, PaymentRefund, Facts("pay", Money(10**6, "EUR"))).verdict == "deny"


def test_sandboxes_write_a_config_that_loads(up: Sandboxes, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(up.toml())
    found = load(tmp_path / "config.toml", {}).connections["market"]
    assert found.base_url == up.addresses()["market"]


def test_a_sandbox_that_cannot_start_stops_the_others(up: Sandboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []
    sandbox = type(up.sandboxes["market"])
    monkeypatch.setattr(sandbox, "stop", lambda self: stopped.append("market"))

    def broken(self: Any) -> None:
        raise OSError("no port")

    monkeypatch.setattr(sandbox, "start", broken)
    with pytest.raises(OSError, match="no port"):
        Sandboxes.start(["market"])


def test_without_plugins_there_is_no_sandbox() -> None:
    from hub.plugins import discover

    with pytest.raises(ConfigError, match=r"no installed plugin has a sandbox; pip install deskhub\[demo\]"):
        Sandboxes.start(plugins=discover([]))


def test_a_story_without_a_fitting_customer_says_so(app: App, up: Sandboxes) -> None:
    with pytest.raises(NotFound, match="no customer of this world is in all systems"):
        Story(app, up).tell()
