"""`hub serve` and `hub worker` as processes: schedules, asked-for syncs, the admin key, and how they end."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import alembic.command  # noqa: F401 - a test's worker is a thread: two must not be the first to import it
import dbos  # noqa: F401 - nor this
import psutil
import pytest
import requests

from hub.app import App, Worker
from hub.app.sandboxes import Sandboxes
from hub.app.worker import pace_s
from hub.errors import HubError
from hub.ledger import NewRun, Run
from hub.ledger.rows import RUN_COLUMNS
from hub.store import asked, deliveries, is_postgres
from tests.conftest import Databases
from tests.stores import ON_SQLITE

ROOT = Path(__file__).parents[1]
MARKET = ROOT / "tests" / "market"


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Market sandbox, and a config.toml that points to it."""
    monkeypatch.syspath_prepend(str(MARKET))
    with Sandboxes.start(["market"], customers=25) as up:
        (tmp_path / "config.toml").write_text(up.toml() + 'sync = { every = "1s" }\n')
        yield up.sandboxes["market"]


@contextmanager
def hub(folder: Path, *args: str) -> Iterator["Process"]:
    process = Process(folder, *args)
    try:
        yield process
    finally:
        process.end()


class Process:
    """A `hub …` child whose stderr is kept."""

    def __init__(self, folder: Path, *args: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
        environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{MARKET}"
        self.child = subprocess.Popen(
            [sys.executable, "-m", "hub.cli", *args], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.child.stderr is not None
        self.lines.extend(iter(self.child.stderr.readline, ""))

    def said(self, pattern: str) -> str:
        """Wait for a line that matches; give its first group."""
        return str(until(lambda: next((m[1] for line in self.lines if (m := re.search(pattern, line))), None)))

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.child.poll() is None:
            self.child.send_signal(number)
        code = self.child.wait(40)
        self.reader.join(20)
        if self.child.stderr is not None:
            self.child.stderr.close()
        return code


def until(what: Callable[[], Any], seconds: float = 40.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError(f"did not happen within {seconds} s")


def test_serve_starts_a_worker_and_both_end_cleanly(tmp_path: Path, market: Any) -> None:
    with hub(tmp_path, "serve", "--port", "0") as process:
        url, key = process.said(r"serving on (http://\S+)"), process.said(r"admin key .*: (hub_\S+)")
        process.said(r"worker: (1) schedule")
        process.said(r"market (people): 25 read, 25 changed, \d+\.\d\d s")
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {key}"
        until(lambda: session.get(f"{url}/v1/customers?limit=200", timeout=10).json()["data"])
        made = session.post(f"{url}/v1/connections/market/sync", json={"full": True}, timeout=10).json()
        assert made["state"] in ("queued", "running")
        answer = until(lambda: _ended(session.get(f"{url}/v1/syncs/{made['id']}", timeout=10).json()))
        assert answer["state"] == "succeeded"
        assert answer["tables"]["people"]["read"] == 25
        children = psutil.Process(process.child.pid).children()
        assert len(children) == 1
        session.close()
        assert process.end() == 0
        until(lambda: not children[0].is_running())
        assert not [line for line in process.lines if "Traceback" in line]
    with hub(tmp_path, "serve", "--port", "0", "--no-worker") as process:
        process.said(r"serving on (http://\S+)")
        assert not [line for line in process.lines if "admin key" in line], "the key is told once"
        assert process.end(signal.SIGINT) == 0


def _ended(found: dict[str, Any]) -> dict[str, Any] | None:
    return found if found["state"] not in ("queued", "running") else None


def test_a_worker_ends_when_its_server_was_killed(tmp_path: Path, market: Any) -> None:
    with hub(tmp_path, "serve", "--port", "0") as process:
        process.said(r"worker: (1) schedule")
        (worker,) = psutil.Process(process.child.pid).children()
        process.end(signal.SIGKILL)
        until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


def test_a_port_in_use_is_told_in_one_line(tmp_path: Path, market: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with hub(tmp_path, "serve", "--port", port, "--no-worker") as process:
            process.said(rf"error: (cannot listen on 127.0.0.1 port {port}: Address already in use)")
            assert process.child.wait(10) == 2


@pytest.fixture
def app(tmp_path: Path, market: Any, database_url: str) -> Iterator[App]:
    config = tmp_path / "config.toml"
    config.write_text(f'[hub]\ndatabase_url = "{database_url}"\n{config.read_text()}')
    with App.open(config) as opened:
        yield opened


@contextmanager
def working(worker: Worker) -> Iterator[None]:
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(20)
        assert not thread.is_alive()


@ON_SQLITE  # the next one says more, on both stores
def test_a_schedule_runs_at_once_and_again(app: App) -> None:
    worker = Worker(app)
    assert worker.schedules == {"market": 1}
    with working(worker):
        until(lambda: len([s for s in app.syncs.latest(10) if s["state"] == "succeeded"]) >= 2)


def test_a_schedule_pulls_each_stream_once_a_slot_and_never_piles_up(app: App, market: Any) -> None:
    market.fault("GET /people", "slow:1.5s", times=1)
    with working(Worker(app)):
        until(lambda: len([s for s in app.syncs.latest(10) if s["state"] == "succeeded"]) >= 2)
    rows = engine_rows(app, "SELECT workflow_uuid, status FROM {}workflow_status ORDER BY created_at")
    streams = [id.split(":")[2] for id, _ in rows if id.startswith("pull:market:")]
    waiting = [id.split(":")[2] for id, status in rows if status == "ENQUEUED"]
    assert set(streams) == set(app.syncs.streams("market"))
    assert len(waiting) == len(set(waiting)), "one that waits stands for later slots"


def engine_file(app: App) -> Path:
    return Path(str(app.settings.hub.engine_url).removeprefix("sqlite:///"))


def engine_rows(app: App, sql: str) -> list[Any]:
    """Ask the engine's own tables, `{}` before each name being the place of theirs."""
    if not is_postgres(app.settings.hub.database_url):
        with closing(sqlite3.connect(engine_file(app))) as file:
            return file.execute(sql.format("")).fetchall()
    with app.store.read() as tx:
        return list(tx.execute(sql.format("dbos.")).fetchall())


def left_open(app: App) -> str:
    """Write a run into the journal whose worker died: nobody holds its lease."""
    new = NewRun(action="ticket.tag", principal="op", body_hash="x", request=b"{}", plan=b"{}", connection="market")
    run, _ = app.ledger.claim(new, owner="gone")
    app.ledger.release(run.id, owner="gone")
    return run.id


@ON_SQLITE  # test_crash.py carries on what was really killed, on both stores
def test_a_worker_carries_on_runs_that_were_left_open(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    first, second = left_open(app), left_open(app)

    def advance(run_id: str) -> None:
        seen.append(run_id)
        if run_id == first:
            raise HubError("not yet")

    monkeypatch.setattr(app.performer, "advance", advance)
    with working(Worker(app)):
        until(lambda: {first, second} <= set(seen))
        until(lambda: seen.count(first) >= 2, 15)


def test_an_unknown_run_is_looked_up_less_often_the_older_it_is() -> None:
    at = datetime(2026, 11, 1, 12, tzinfo=UTC)

    def pace(state: Any, age: timedelta) -> float:
        given: dict[str, Any] = dict.fromkeys(RUN_COLUMNS)
        return pace_s(Run(**given | {"state": state, "created_at": (at - age).isoformat()}), at.timestamp())

    assert pace("unknown", timedelta(seconds=20)) == 4
    assert pace("unknown", timedelta(minutes=5)) == 30
    assert pace("unknown", timedelta(hours=20)) == 300
    assert pace("running", timedelta(hours=20)) == 4, "an abandoned run is taken over at once"


def test_a_delivery_is_handed_to_receive_and_one_job_stands_for_all_of_a_connection(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[tuple[str, str]] = []
    with app.store.write() as tx:
        for n in range(5):
            deliveries.note(tx, "market", f"evt_{n}", changes=[("people", str(n))], at=n)

    def receive(connection: str, delivery: str) -> None:
        received.append((connection, delivery))
        with app.store.write() as tx:
            deliveries.finish(tx, connection, [f"evt_{n}" for n in range(5)], at=9)

    monkeypatch.setattr(app, "receive", receive)
    with working(Worker(app)):
        until(lambda: received)
        time.sleep(1.5)
    assert received == [("market", "evt_0")]


@ON_SQLITE
def test_a_second_worker_on_one_file_is_refused(tmp_path: Path, app: App) -> None:
    with working(Worker(app)):
        until(lambda: engine_file(app).with_name("engine.db-wal").exists())
        with hub(tmp_path, "worker") as second:
            said = second.said(r"error: (.*)")
            assert second.child.wait(20) == 1
    assert re.search(r"engine\.db: worker \S+:\d+:\w+ works on this engine; one worker owns a SQLite file", said)


def test_a_worker_whose_engine_is_gone_ends_and_says_so(tmp_path: Path, market: Any) -> None:
    with hub(tmp_path, "worker") as process:
        process.said(r"worker: (1) schedule")
        until(lambda: (tmp_path / "engine.db").exists())
        time.sleep(1.5)
        (tmp_path / "engine.db").rename(tmp_path / "elsewhere.db")
        assert process.said(r"error: the engine's database is (gone)")
        assert process.child.wait(20) == 1


def test_without_an_engine_the_api_and_syncs_from_the_command_line_go_on(tmp_path: Path, market: Any) -> None:
    (tmp_path / "engine.db").mkdir()
    with hub(tmp_path, "serve", "--port", "0") as process:
        url, key = process.said(r"serving on (http://\S+)"), process.said(r"admin key .*: (hub_\S+)")
        assert "engine.db cannot be used" in process.said(r"error: (.*)")
        with App.open(tmp_path / "config.toml") as app:
            assert app.sync()["market"]["people"]["read"] == 25
        headers = {"Authorization": f"Bearer {key}"}
        assert len(requests.get(f"{url}/v1/customers?limit=200", headers=headers, timeout=10).json()["data"]) == 25
        assert process.end() == 0


def test_a_terminated_worker_ends_with_its_page_and_says_nothing(tmp_path: Path, market: Any) -> None:
    market.fault("GET /people", "slow:0.4s", times=50)
    with hub(tmp_path, "worker") as process:
        process.said(r"worker: (1) schedule")
        until(lambda: (tmp_path / "engine.db").exists())
        with App.open(tmp_path / "config.toml") as app:
            until(lambda: json_count(app) >= 10)
            assert process.end(signal.SIGTERM) == 0
            assert not [line for line in process.lines if "Traceback" in line]
            assert 10 <= json_count(app) < 25
            market.reset()
            app.sync()
            assert json_count(app) == 25


def test_two_workers_on_one_postgres_share_the_pulls_and_one_may_be_killed(
    tmp_path: Path, market: Any, empty_postgres: Databases
) -> None:
    busy: list[int] = []
    answer, lock = market.answer, threading.Lock()

    def counting(request: Any) -> Any:
        with lock:
            busy.append(busy[-1] + 1 if busy else 1)
        time.sleep(0.15)
        try:
            return answer(request)
        finally:
            with lock:
                busy.append(busy[-1] - 1)

    market.answer = counting
    text = (tmp_path / "config.toml").read_text()
    with empty_postgres() as url:
        (tmp_path / "config.toml").write_text(f'[hub]\ndatabase_url = "{url}"\nengine_lease = "2s"\n{text}')
        with hub(tmp_path, "worker") as one:
            one.said(r"worker: (1) schedule")
            with hub(tmp_path, "worker") as other, App.open(tmp_path / "config.toml") as app:
                other.said(r"worker: (1) schedule")
                until(lambda: json_count(app) >= 5)
                one.end(signal.SIGKILL)
                until(lambda: json_count(app) == 25)
                before = len(app.syncs.latest(50))
                until(lambda: len(app.syncs.latest(50)) > before)
                assert other.end() == 0
                ids = [row["remote_id"] for row in customers(app)]
    assert len(ids) == len(set(ids)) == 25
    assert max(busy) == 1, "no stream of a connection is pulled while another one is"


def test_a_sync_that_nobody_began_is_taken_by_one_only(app: App) -> None:
    made = asked.ask(app.store, "market", {"streams": None, "full": False})
    assert asked.waiting(app.store) == [made]
    assert asked.take(app.store, made) == ("market", {"streams": None, "full": False})
    assert asked.take(app.store, made) is None
    assert asked.waiting(app.store) == []


def test_the_same_wish_twice_is_one_sync(app: App) -> None:
    first = app.syncs.ask("market", streams=["people"], full=False)
    assert app.syncs.ask("market", streams=["people"], full=False)["id"] == first["id"]
    assert app.syncs.ask("market", streams=["people"], full=True)["id"] != first["id"]
    assert (first["state"], first["tables"], first["error"]) == ("queued", None, None)


def test_an_asked_sync_that_cannot_begin_says_why(app: App) -> None:
    made = asked.ask(app.store, "gone", {"streams": None, "full": False})
    app.syncs.run_asked(made)
    found = app.syncs.one(made)
    assert found["state"] == "failed"
    assert 'connection "gone" is not configured' in found["error"]


def test_one_connection_is_not_synced_twice_at_once(app: App, market: Any) -> None:
    market.fault("GET /people", "slow:1s")
    thread = threading.Thread(target=app.sync, args=(["market"],))
    thread.start()
    until(lambda: [s for s in app.syncs.latest(1) if s["state"] == "running"])
    assert app.sync(["market"])["market"]["people"]["error"] == "sync_running: market is being synced already"
    thread.join(20)
    assert [s["state"] for s in app.syncs.latest(10)].count("succeeded") == 1


@ON_SQLITE  # two workers on one Postgres, above, end so
def test_a_stopping_worker_ends_with_the_page_and_the_next_sync_goes_on(app: App, market: Any) -> None:
    market.fault("GET /people", "slow:0.3s", times=50)
    worker = Worker(app)
    with working(worker):
        until(lambda: json_count(app) >= 10)
    stored = json_count(app)
    assert 10 <= stored < 25
    assert app.syncs.latest(1)[0]["state"] == "failed"
    market.reset()
    app.sync()
    assert json_count(app) == 25


def customers(app: App) -> list[dict[str, Any]]:
    return json.loads(app.list("customer", {}, limit=200))["data"]  # type: ignore[no-any-return]


def json_count(app: App) -> int:
    return len(customers(app))
