"""The stage: sandboxes in a process of their own, a synced hub beside them, and the nursery of worker processes."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from intents import Size, Supply
from stores import hub_table

from hub.app import App
from hub.store import Database

HERE = Path(__file__).parent
SYSTEMS = ("stripe", "zendesk", "legacy")
POLICY = '[[rule]]\nname = "all refunds"\naction = "payment.refund"\nverdict = "allow"\n'


def say(text: str) -> None:
    """Tell how far we are."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class Stage:
    """Everything a campaign needs besides itself. Use as a context manager."""

    def __init__(self, folder: Path, size: Size, *, url: str | None = None) -> None:
        self.folder, self.customers, self.in_flight_s, self.url = folder, size.customers, size.in_flight_s, url
        self.config = folder / "config.toml"
        self.addresses: dict[str, str] = {}
        self._open = ExitStack()

    def __enter__(self) -> "Stage":
        began = time.monotonic()
        self._sandboxes()
        self.app = self._open.enter_context(App.open(self.config))
        report = self.app.sync()
        if errors := [t["error"] for tables in report.values() for t in tables.values() if t["error"]]:
            raise SystemExit(f"the sync failed: {errors[0]}")
        self.watching: Database = self.app.ledger.database
        self.supply = Supply(self.app)
        self.listener = self._open.enter_context(Listener(str(self.folder / "nursery"), "AF_UNIX", backlog=16))
        given = (str(self.config), str(self.folder / "nursery"), str(self.in_flight_s))
        command = [sys.executable, str(HERE / "nursery.py"), *given]
        self.nursery = self._child(command, stdin=subprocess.PIPE)
        self._line(self.nursery)
        say(f"the stage is set after {time.monotonic() - began:.1f} s")
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def worker(self) -> tuple[int, Connection]:
        """Start a worker process; give its id and the way to speak to it."""
        assert self.nursery.stdin is not None
        self.nursery.stdin.write("another\n")
        self.nursery.stdin.flush()
        ear = self.listener.accept()
        return ear.recv(), ear

    def fault(self, system: str, match: str, do: str, times: int = 1) -> None:
        """Set a fault in a sandbox."""
        self._ask(system, "faults", {"match": match, "do": do, "times": times})

    def calm(self) -> None:
        """Take back the faults that nothing has met yet."""
        for system in SYSTEMS:
            self._ask(system, "faults", method="DELETE")

    def ledger(self, system: str) -> list[dict[str, Any]]:
        """Give the effects that a vendor counts, in order."""
        return [entry for entry in self._ask(system, "ledger") if entry["effect"] is not None]

    def _ask(self, system: str, what: str, body: Any = None, *, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.addresses[system]}/_sandbox/{what}"
        with urlopen(Request(url, data, method=method), timeout=30) as answer:
            return json.load(answer)

    def _sandboxes(self) -> None:
        command = [sys.executable, "-m", "hub.cli", "sandbox", "up", *SYSTEMS, "--json"]
        up = json.loads(self._line(self._child([*command, "--customers", str(self.customers)])))
        self.addresses = up["sandboxes"]
        text = up["config"].replace("[connections.legacy]", "[connections.legacy]\nack_wait_s = 1")
        self.config.write_text(f"{hub_table(self.url)}{text}")
        (self.folder / "policy.toml").write_text(POLICY)

    def _child(self, command: list[str], **more: Any) -> subprocess.Popen[str]:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, **more)
        self._open.callback(_ended, child)
        return child

    def _line(self, child: subprocess.Popen[str]) -> str:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise SystemExit("a process of the stage did not start")
        return line


def _ended(child: "subprocess.Popen[str]") -> None:
    """End a child with all that it has forked."""
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            stream.close()
