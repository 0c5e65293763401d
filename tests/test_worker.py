"""`hub serve` and `hub worker` as processes: schedules, asked-for syncs, the admin key, and how they end."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from hub.app import App, Worker
from hub.app.sandboxes import Sandboxes
from hub.errors import Conflict, HubError
from hub.store import asked

ROOT = Path(__file__).parents[1]
ACME = ROOT / "tests" / "acme"


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An Acme sandbox, and a config.toml that points to it."""
    monkeypatch.syspath_prepend(str(ACME))
    with Sandboxes.start(["acme"], customers=25) as up:
        (tmp_path / "config.toml").write_text(up.toml() + 'sync = { every = "1s" }\n')
        yield up.sandboxes["acme"]


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
        environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ACME}"
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


def test_serve_starts_a_worker_and_both_end_cleanly(tmp_path: Path, acme: Any) -> None:
    with hub(tmp_path, "serve", "--port", "0") as process:
        url, key = process.said(r"serving on (http://\S+)"), process.said(r"admin key .*: (hub_\S+)")
        process.said(r"worker: (1) schedule")
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {key}"
        until(lambda: session.get(f"{url}/v1/customers?limit=200", timeout=10).json()["data"])
        made = session.post(f"{url}/v1/connections/acme/sync", json={"full": True}, timeout=10).json()
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


def test_a_worker_ends_when_its_server_was_killed(tmp_path: Path, acme: Any) -> None:
    with hub(tmp_path, "serve", "--port", "0") as process:
        process.said(r"worker: (1) schedule")
        (worker,) = psutil.Process(process.child.pid).children()
        process.end(signal.SIGKILL)
        until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


def test_a_port_in_use_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with hub(tmp_path, "serve", "--port", port, "--no-worker") as process:
            process.said(rf"error: (cannot listen on 127.0.0.1 port {port}: Address already in use)")
            assert process.child.wait(10) == 2


@pytest.fixture
def app(tmp_path: Path, acme: Any) -> Iterator[App]:
    with App.open(tmp_path / "config.toml") as opened:
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


def test_a_schedule_runs_at_once_and_again(app: App) -> None:
    worker = Worker(app)
    assert worker.schedules == {"acme": 1}
    with working(worker):
        until(lambda: len([s for s in app.syncs.latest(10) if s["state"] == "succeeded"]) >= 2)


def test_a_worker_carries_on_runs_that_were_left_open(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    app.performer  # noqa: B018 - made before the worker asks for it
    monkeypatch.setattr(app.performer, "waiting", lambda: ["run_a", "run_b"])

    def advance(run_id: str) -> None:
        seen.append(run_id)
        if run_id == "run_a":
            raise HubError("not yet")

    monkeypatch.setattr(app.performer, "advance", advance)
    with working(Worker(app)):
        until(lambda: {"run_a", "run_b"} <= set(seen))


def test_a_sync_that_nobody_began_is_taken_by_one_only(app: App) -> None:
    made = asked.ask(app.store, "acme", {"streams": None, "full": False})
    assert asked.waiting(app.store) == [made]
    assert asked.take(app.store, made) == ("acme", {"streams": None, "full": False})
    assert asked.take(app.store, made) is None
    assert asked.waiting(app.store) == []


def test_the_same_wish_twice_is_one_sync(app: App) -> None:
    first = app.syncs.ask("acme", streams=["people"], full=False)
    assert app.syncs.ask("acme", streams=["people"], full=False)["id"] == first["id"]
    assert app.syncs.ask("acme", streams=["people"], full=True)["id"] != first["id"]
    assert (first["state"], first["tables"], first["error"]) == ("queued", None, None)


def test_an_asked_sync_that_cannot_begin_says_why(app: App) -> None:
    made = asked.ask(app.store, "gone", {"streams": None, "full": False})
    app.syncs.run_asked(made)
    found = app.syncs.one(made)
    assert found["state"] == "failed"
    assert 'connection "gone" is not configured' in found["error"]


def test_one_connection_is_not_synced_twice_at_once(app: App, acme: Any) -> None:
    acme.fault("GET /people", "slow:1s")
    thread = threading.Thread(target=app.sync, args=(["acme"],))
    thread.start()
    until(lambda: [s for s in app.syncs.latest(1) if s["state"] == "running"])
    with pytest.raises(Conflict, match="acme is being synced already"):
        app.sync(["acme"])
    thread.join(20)
    assert [s["state"] for s in app.syncs.latest(10)].count("succeeded") == 1


def test_a_stopping_worker_ends_with_the_page_and_the_next_sync_goes_on(app: App, acme: Any) -> None:
    acme.fault("GET /people", "slow:0.3s", times=50)
    worker = Worker(app)
    with working(worker):
        until(lambda: json_count(app) >= 10)
    stored = json_count(app)
    assert 10 <= stored < 25
    assert app.syncs.latest(1)[0]["state"] == "failed"
    acme.reset()
    app.sync()
    assert json_count(app) == 25


def json_count(app: App) -> int:
    import json

    return len(json.loads(app.list("customer", {}, limit=200))["data"])
