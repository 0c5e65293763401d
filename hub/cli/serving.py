"""Stay up: serve (the API and one worker) and worker (schedules and asked-for syncs)."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli import out
from hub.cli.out import Json
from hub.cli.tables import counted
from hub.errors import ConfigError

if TYPE_CHECKING:
    import uvicorn

    from hub.app import App

STOP_S = 10
API = "hub.api:create_app"


def register(app: typer.Typer) -> None:
    """Add these commands to `hub`."""
    app.command()(serve)
    app.command()(worker)


def serve(
    host: Annotated[str | None, typer.Option(help="Where to listen; default: [hub] host.")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free port; default: [hub] port.")] = None,
    with_worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Start a worker process too.")] = True,
    as_json: Json = False,
) -> None:
    """Answer the REST API until Ctrl-C. The first start prints an admin key, once."""
    with _opened() as app:
        app.warm()
        hub = app.settings.hub
        with bound(hub.host if host is None else host, hub.port if port is None else port) as listening:
            key = app.keys.ensure_admin_key()
            found = {"url": address(listening), "admin_key": key}
            out.answer(found, as_json, lambda: out.say(f"admin key (shown this once): {key}") if key else None)
            with worker_process(app) if with_worker else contextlib.nullcontext():
                listen(app, listening, worker=with_worker)


def worker(
    parent: Annotated[int | None, typer.Option(hidden=True, help="End when this process is gone.")] = None,
    as_json: Json = False,
) -> None:
    """Run schedules and asked-for syncs until Ctrl-C. A schedule is `sync = { every = "5m" }`."""
    from hub.app import Worker

    with _opened() as app:
        app.warm()
        running = Worker(app, parent=parent)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: running.stop())
        found = {"schedules": running.schedules}
        out.answer(found, as_json, lambda: out.say(f"worker: {counted(len(running.schedules), 'schedule')}"))
        running.run()


def _opened() -> "App":
    """Open the hub as a service. Raises ConfigError where nothing at all is configured."""
    app = out.opened(service=True)
    if not app.settings.connections and app.settings.path is None:
        raise ConfigError(app.unconfigured())
    return app


def listen(app: "App", listening: socket.socket, *, worker: bool) -> None:
    """Serve the API on a bound socket until a signal comes; requests under way are finished."""
    import uvicorn
    from uvicorn.importer import import_from_string

    create_app = import_from_string(API)  # by name: doors do not know each other
    config = uvicorn.Config(
        create_app(app, worker=worker),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
    )
    server = uvicorn.Server(config)
    with _signals_end(server):
        out.say(f"serving on {address(listening)}")
        server.run(sockets=[listening])


def bound(host: str, port: int) -> socket.socket:
    """Take a port. Raises ConfigError where it is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as exc:
        why = getattr(exc, "strerror", None) or str(exc)
        raise ConfigError(f"cannot listen on {host} port {port}: {why}; choose another with --port") from exc


def address(listening: socket.socket) -> str:
    """Give the URL of a bound socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def worker_process(app: "App") -> Iterator["Child"]:
    """Keep a `hub worker` running for as long as the block lasts; it also ends when this process is killed."""
    command = [sys.executable, "-m", "hub.cli"]
    command += ["--config", str(app.settings.path)] if app.settings.path else []
    child = Child([*command, "worker", "--parent", str(os.getpid())])
    try:
        yield child
    finally:
        child.stop()


class Child:
    """A process that is started again when it ends by itself, after a pause that doubles up to half a minute."""

    def __init__(self, command: list[str], pause_s: float = 1.0) -> None:
        self.command = command
        self.pause_s = pause_s
        self.process = self._started()
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._keep, daemon=True)
        self._watch.start()

    def stop(self) -> None:
        """End it: ask, wait ten seconds, then kill."""
        self._stopping.set()
        self.process.terminate()
        self._watch.join(STOP_S)
        if self._watch.is_alive():
            self.process.kill()
            self._watch.join()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command)  # noqa: S603 - our own interpreter

    def _keep(self) -> None:
        pause_s = self.pause_s
        while True:
            code = self.process.wait()
            if self._stopping.is_set():
                return
            out.say(f"the worker ended with exit code {code}; starting it again in {pause_s:g} s")
            if self._stopping.wait(pause_s):
                return
            pause_s = min(pause_s * 2, 30.0)
            self.process = self._started()
            if self._stopping.is_set():
                self.process.terminate()


@contextlib.contextmanager
def _signals_end(server: "uvicorn.Server") -> Iterator[None]:
    """Let a signal end the server from here on.

    uvicorn listens for signals once its loop runs, so an earlier one is kept for it; and it raises the one it has
    obeyed anew after shutting down, which must not end this process before the worker is stopped.
    """

    def end(number: int, frame: Any) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
