"""A thousand connections that are due at one tick: how long until each has its first page, and what rest costs."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from stage import HUB, Hub, say, server

TICKETS, PATIENCE_S, REST_S = 10, 240.0, 20.0
_ONE = """
[connections.desk-{n}]
connector = "zendesk"
subdomain = "bench"
email     = "ops@bench.example"
token     = "${{BENCH_TOKEN}}"
base_url  = "{base}"
mapping   = "mapping.toml"
sync      = {{ every = "1h", streams = ["tickets"] }}
"""


def crowd(folder: Path, connections: int) -> dict[str, Any]:
    """Start a worker that finds all of them due; give the seconds to the last first page, and what rest costs."""
    with server(folder / "crowd-pages", TICKETS) as (base,):
        hub = Hub(folder / "crowd", "sqlite:///hub.db", base)
        config = hub.folder / "config.toml"
        head = re.split(r"\[connections", config.read_text())[0]
        config.write_text(head + "".join(_ONE.format(n=n, base=base) for n in range(connections)))
        worker = subprocess.Popen([*HUB, "worker"], cwd=hub.folder, env={**os.environ, **hub.env},
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            figures = _watched(hub.folder / "hub.db", worker.pid, connections)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)
    say(f"crowd: {json.dumps(figures)}")
    return figures


def _watched(database: Path, pid: int, connections: int) -> dict[str, Any]:
    began, started, count = time.monotonic(), _cpu(pid), 0
    while count < connections and time.monotonic() - began < PATIENCE_S:
        time.sleep(0.25)
        count = _committed(database)

    took, busy = time.monotonic() - began, _cpu(pid) - started
    time.sleep(REST_S)  # what was begun comes to its end
    before, at = _cpu(pid), time.monotonic()
    time.sleep(REST_S)
    share = (_cpu(pid) - before) / (time.monotonic() - at)
    return {"connections": connections, "committed": count, "first_page_s": round(took, 1), "cpu_s": round(busy, 1),
            "idle_share": round(share, 3)}  # fmt: skip


def _committed(database: Path) -> int:
    """Count the connections whose first page is in the database."""
    if not database.exists():
        return 0
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM cursor WHERE cursor IS NOT NULL").fetchone()[0])
        except sqlite3.OperationalError:  # not migrated yet
            return 0


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
