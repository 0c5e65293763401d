"""`hub serve` from within: the worker that is started again, and what a fault of the hub itself leaves in the log."""

import logging
import os
import signal
import sys
import threading
import time

import pytest
import requests
import uvicorn

from hub.api import create_app
from hub.app import App, logs
from hub.cli import out
from hub.cli.serving import Child, bound, listen
from hub.config import Settings
from hub.vault import Vault

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def settings(tmp_path, database_url):
    hub = Settings(directory=tmp_path).hub
    update = {"database_url": database_url, "policy": tmp_path / "none.toml"}
    return Settings(hub.model_copy(update=update), directory=tmp_path)


def until(what, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise TimeoutError


def test_a_worker_that_died_is_started_again(capsys):
    child = Child(SLEEPER, pause_s=0.05)
    try:
        first = child.process.pid
        os.kill(first, signal.SIGKILL)
        second = until(lambda: child.process.pid != first and child.process)
        assert second.poll() is None
    finally:
        child.stop()
    assert second.poll() is not None
    assert "the worker ended with exit code -9" in capsys.readouterr().err


def test_a_worker_that_is_stopped_stays_stopped():
    child = Child(SLEEPER, pause_s=0.05)
    child.stop()
    time.sleep(0.2)
    assert child.process.poll() is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sent_the_moment_the_address_is_told_ends_the_server(number, settings, monkeypatch):
    monkeypatch.setattr(out, "say", lambda line: signal.raise_signal(number))
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with App(settings) as app, bound("127.0.0.1", 0) as listening:
        listen(app, listening, worker=False)  # comes back
        assert listening.fileno() == -1
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_a_fault_of_the_hub_is_logged_by_class_and_place_never_by_its_text(settings, capsys, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("ada@marker.example")

    with App(settings) as app:
        key = app.keys.ensure_admin_key()
        monkeypatch.setattr(app, "runs", broken)
        logs.configure("warning", Vault(), service=True)
        server = uvicorn.Server(uvicorn.Config(create_app(app), port=0, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run)
        thread.start()
        until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        answer = requests.get(
            f"http://127.0.0.1:{port}/v1/runs", headers={"Authorization": f"Bearer {key}"}, timeout=10
        )
        server.should_exit = True
        thread.join(10)
    shown = capsys.readouterr().err
    assert answer.status_code == 500
    assert "marker" not in answer.text + shown
    assert "RuntimeError at test_serving.py" in shown
    assert logging.getLogger("uvicorn.error").propagate is False
