"""Turns: a connection is pulled by one process at a time, on both stores, and a kill leaves nothing to clear up."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.app import App
from hub.app.sandboxes import Sandboxes
from hub.config import load
from hub.errors import Temporary
from hub.store import Store
from tests.conftest import Databases
from tests.test_worker import MARKET, hub, until

HOLDER = """
import sys, time
from hub.store import Store
held = Store.open(sys.argv[1]).turns.take("market")
print("held" if held else "busy", flush=True)
time.sleep(60)
"""


@contextmanager
def holder(url: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that has the turn of `market`."""
    child = subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def test_one_has_the_turn_of_a_connection_until_it_gives_it_back(database_url: str) -> None:
    with closing(Store.open(database_url)) as one, closing(Store.open(database_url)) as other:
        give_back = one.turns.take("market")
        assert give_back is not None
        assert other.turns.take("market") is None
        assert other.turns.take("shop") is not None
        give_back()
        assert other.turns.take("market") is not None


def test_a_killed_process_has_given_its_turn_back(database_url: str) -> None:
    with closing(Store.open(database_url)) as store, holder(database_url) as child:
        assert store.turns.take("market") is None
        child.send_signal(signal.SIGKILL)
        assert until(lambda: store.turns.take("market"))


def test_a_closed_store_has_given_its_turns_back(database_url: str) -> None:
    with closing(Store.open(database_url)) as store:
        assert store.turns.take("market")
        other = Store.open(database_url)
        give_back = other.turns.take("shop")
        assert give_back is not None
        give_back()
        other.close()
        assert store.turns.take("shop")


def test_turns_are_given_again_after_the_server_was_restarted(
    postgres_databases: Databases, restart_postgres: Callable[[], None]
) -> None:
    with postgres_databases() as url, closing(Store.open(url)) as store:
        give_back = store.turns.take("market")
        assert give_back is not None
        restart_postgres()
        give_back()
        assert store.turns.take("market")


def test_where_no_turn_can_be_kept_the_sync_says_so(tmp_path: Path) -> None:
    with closing(Store.open(f"sqlite:///{tmp_path}/hub.db")) as store:
        (tmp_path / "hub.db.turns").write_text("in the way")
        with pytest.raises(Temporary, match="the turn of a sync cannot be kept there"):
            store.turns.take("market")


@pytest.fixture
def market(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Market sandbox, and a config.toml that points to it and to a database of its own."""
    monkeypatch.syspath_prepend(str(MARKET))
    with Sandboxes.start(["market"], customers=25) as up:
        (tmp_path / "config.toml").write_text(f'[hub]\ndatabase_url = "{database_url}"\n{up.toml()}')
        yield up.sandboxes["market"]


def test_two_commands_that_sync_at_once_take_turns_and_both_succeed(tmp_path: Path, market: Any) -> None:
    market.fault("GET /people", "slow:0.5s", times=2)
    with hub(tmp_path, "sync") as first, hub(tmp_path, "sync") as second:
        assert [first.child.wait(40), second.child.wait(40)] == [0, 0]
    with App(load(tmp_path / "config.toml")) as app:
        assert [one["state"] for one in app.syncs.latest(10)] == ["succeeded", "succeeded"]
        assert len(json.loads(app.list("customer", {}, limit=200))["data"]) == 25


def test_a_command_waits_for_the_turn_and_says_so(tmp_path: Path, market: Any, database_url: str) -> None:
    with holder(database_url) as other, hub(tmp_path, "sync") as waiting:
        waiting.said("(market is being synced by another process; waiting for it)")
        other.kill()
        assert waiting.child.wait(40) == 0


def test_a_connection_that_stays_busy_is_reported_and_the_others_go_on(tmp_path: Path, market: Any) -> None:
    config = tmp_path / "config.toml"
    config.write_text(config.read_text() + config.read_text().split("\n\n")[-1].replace("market]", "other]"))
    with App(load(config)) as app, holder(app.settings.hub.database_url):
        found = app.sync(wait_s=0.3)
        assert found["market"]["people"]["error"] == "sync_running: market is being synced already"
        assert found["market"]["people"]["read"] == 0
        assert (found["other"]["people"]["error"], found["other"]["people"]["read"]) == (None, 25)


def test_threads_of_one_process_take_turns_too(tmp_path: Path, market: Any) -> None:
    market.fault("GET /people", "slow:0.5s")
    with App(load(tmp_path / "config.toml")) as app:
        thread = threading.Thread(target=app.sync)
        thread.start()
        until(lambda: [one for one in app.syncs.latest(1) if one["state"] == "running"])
        assert app.sync(wait_s=30)["market"]["people"]["error"] is None
        thread.join(20)
        assert [one["state"] for one in app.syncs.latest(10)] == ["succeeded", "succeeded"]
