"""
Pulls that are killed, in processes of their own: `python -m tests.doomed DATABASE_URL` takes orders on stdin.

An order is a line of JSON: `settings` (connector name → its table of a config) and `pulls`, run at once, each in a fork
of its own. A pull dies by SIGKILL at the `at`-th write transaction, at its `point`: before it begins, within it, with
all written and nothing committed, or when it is committed. With `room` no file may grow beyond that many bytes. The
answer is a line that says how each one ended: killed, done, failed (it has an error), broke.
"""

import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hub.config import ConnectionSettings, Settings
from hub.connections import Connections
from hub.errors import HubError
from hub.plugins import discover
from hub.store import Store
from hub.sync import sync_connection
from hub.testing.case import COMMON

POINTS = ("before", "within", "committing", "after")
_STATEMENTS = 6
_CODES = {0: "done", 3: "failed"}


def main(url: str) -> None:
    """Work off orders until stdin ends."""
    plugins = discover()
    Store.open(url).close()
    for name in ("zenpy", "sqlalchemy"):
        importlib.import_module(name)  # once, not in every fork
    opened: dict[str, Connections] = {}
    for line in sys.stdin:
        order = json.loads(line)
        named = json.dumps(order["settings"])
        if named not in opened:
            opened[named] = Connections(_settings(order["settings"]), plugins)
            for name in opened[named].names():
                opened[named].open(name)
        children = [_forked(url, opened[named], pull) for pull in order["pulls"]]
        print(json.dumps([_ended(child) for child in children]), flush=True)


def _forked(url: str, connections: Connections, pull: dict[str, Any]) -> int:
    child = os.fork()
    if child == 0:
        code = 4
        try:
            code = _pull(url, connections, pull)
        finally:
            os._exit(code)
    return child


def _ended(child: int) -> str:
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed" if os.WTERMSIG(status) == signal.SIGKILL else f"signal {os.WTERMSIG(status)}"
    return _CODES.get(os.WEXITSTATUS(status), "broke")


def _pull(url: str, connections: Connections, pull: dict[str, Any]) -> int:
    store = Store.open(url)
    if pull.get("room"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (pull["room"], pull["room"]))
    if pull.get("point"):
        store.database.kept = Deadly(store.database.kept, pull["point"], pull["at"])
    try:
        reports = [
            sync_connection(store, connections.open(name), full=pull.get("full", False)) for name in connections.names()
        ]
    except HubError:
        return 3
    return 3 if any(line["error"] for report in reports for line in report.values()) else 0


def _settings(tables: dict[str, Any]) -> Settings:
    made = {}
    for name, table in tables.items():
        common = {k: v for k, v in table.items() if k in COMMON}
        options = {k: v for k, v in table.items() if k not in COMMON}
        made[name] = ConnectionSettings.model_validate({**common, "options": options})
    return Settings(connections=made, directory=Path.cwd())


class Deadly:
    """A database in which a process dies at one point of one write transaction."""

    def __init__(self, kept: Any, point: str, at: int) -> None:
        self.kept, self.point, self.at, self.count = kept, point, at, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kept, name)

    @contextmanager
    def write(self) -> Iterator[Any]:
        self.count += 1
        point = self.point if self.count == self.at else None
        _die_at("before", point)
        with self.kept.write() as tx:
            yield Counted(tx) if point == "within" else tx
            _die_at("committing", point)
        _die_at("after", point)


class Counted:
    """A transaction that ends with its process after some statements."""

    def __init__(self, tx: Any) -> None:
        self.tx, self.left, self.inserts_beside = tx, _STATEMENTS, tx.inserts_beside

    def execute(self, *given: Any) -> Any:
        return self._counted(self.tx.execute, given)

    def executemany(self, *given: Any) -> Any:
        return self._counted(self.tx.executemany, given)

    def _counted(self, method: Any, given: Any) -> Any:
        self.left -= 1
        _die_at("within", "within" if self.left < 0 else None)
        return method(*given)


def _die_at(point: str, wanted: str | None) -> None:
    if point == wanted:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
