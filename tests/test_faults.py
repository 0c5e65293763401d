"""
Faults, injected for real: processes killed, connections broken, vendors and databases that fail, on both stores.

After each of them the next pulls must end with what the sandbox holds, by id and content; nothing is told twice.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.errors import Temporary
from hub.sandbox import World
from hub.store import Store, clock, cursors, is_postgres, postgres, sqlite
from hub.sync import Progress, sync_connection
from hub.testing import Case, case_for
from hub_legacy.connector import LegacyConnector
from hub_salesforce.connector import SalesforceConnector
from hub_stripe.connector import StripeConnector
from hub_zendesk.connector import ZendeskConnector
from tests import oracle
from tests.doomed import POINTS

CONNECTORS: dict[str, Any] = {
    "zendesk": ZendeskConnector,
    "salesforce": SalesforceConnector,
    "stripe": StripeConnector,
    "legacy": LegacyConnector,
}
FAULTS = (
    "cut", "truncate", "html", "gzip", "drop_before", "drop_after", "status:429", "status:500", "status:502",
)  # fmt: skip
STORM = 6
"""More than the transport tries a read: the pull that meets it fails, the next one gets past."""


@pytest.fixture(scope="module")
def cases() -> Iterator[Callable[[str], Case]]:
    """Connections on small sandboxes, each started when first asked for."""
    made: dict[str, Any] = {}

    def open_case(name: str) -> Case:
        if name not in made:
            manager = case_for(CONNECTORS[name], world=World(customers=12))
            made[name] = (manager, manager.__enter__())
        made[name][1].connection.transport.sleep = lambda _: None
        return made[name][1]  # type: ignore[no-any-return]

    yield open_case
    for manager, _ in made.values():
        manager.__exit__(None, None, None)


@pytest.fixture
def case(request: pytest.FixtureRequest, cases: Callable[[str], Case]) -> Case:
    """A connection on a sandbox as it was at the beginning, with small pages."""
    found = cases(getattr(request, "param", "zendesk"))
    found.sandbox.reset()
    if isinstance(found.connector, ZendeskConnector):
        found.sandbox.export_size = 7  # type: ignore[attr-defined]
    if isinstance(found.connector, SalesforceConnector):
        found.sandbox.batch = 7  # type: ignore[attr-defined]
    return found


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store.open(database_url)
    yield store
    store.close()


def each(*names: str) -> Any:
    return pytest.mark.parametrize("case", names, indirect=True)


def errors(report: dict[str, dict[str, Any]]) -> set[str]:
    return {line["error"] for line in report.values() if line["error"]}


def pull(store: Store, case: Case, **more: Any) -> set[str]:
    """Pull all streams; give the errors."""
    return errors(sync_connection(store, case.connection, **more))


def true(store: Store, case: Case) -> None:
    """See that the store holds what the sandbox holds, and was told of each thing once."""
    oracle.agrees(store, case.connection.name, oracle.OF[case.connection.name](case.sandbox))
    oracle.told_once(store)


def after_first_page(do: Callable[[], None]) -> Callable[[Progress], None]:
    """Give a progress function that does something once, behind the first page that had records."""
    done: list[bool] = []

    def tell(step: Progress) -> None:
        if step.read and not step.done and not done:
            done.append(True)
            do()

    return tell


class Doomed:
    """A process that pulls in forks of its own and lets them be killed."""

    def __init__(self, url: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tests.doomed", url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=Path(__file__).parents[1],
        )  # fmt: skip

    def pull(self, case: Case, *pulls: dict[str, Any]) -> list[str]:
        """Run these pulls at once; say how each ended."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        settings = {case.connection.name: case.sandbox.settings()}
        self.child.stdin.write(json.dumps({"settings": settings, "pulls": pulls}) + "\n")
        self.child.stdin.flush()
        ended: list[str] = json.loads(self.child.stdout.readline())
        return ended

    def close(self) -> None:
        for pipe in (self.child.stdin, self.child.stdout):
            assert pipe is not None
            pipe.close()
        self.child.wait(20)


@pytest.fixture
def doomed(database_url: str) -> Iterator[Doomed]:
    made = Doomed(database_url)
    yield made
    made.close()


def test_a_pull_that_is_killed_at_any_point_of_any_commit_loses_and_doubles_nothing(
    cases: Callable[[str], Case], doomed: Doomed, store: Store
) -> None:
    for name in ("zendesk", "legacy"):
        case = cases(name)
        case.sandbox.reset()
        ended = [doomed.pull(case, {"point": point, "at": at})[0] for at in (1, 3) for point in POINTS]
        assert ended.count("killed") >= 7, ended
        assert pull(store, case) == set()
        true(store, case)
        changed(case)
        ended = [doomed.pull(case, {"point": point, "at": at, "full": True})[0] for at in (1, 2) for point in POINTS]
        assert ended.count("killed") >= 7, ended
        assert pull(store, case, full=True) == set()
        true(store, case)


def changed(case: Case) -> None:
    """Change one thing upstream, delete another."""
    sandbox: Any = case.sandbox
    if case.connection.name == "legacy":
        database = sandbox.connect()
        database.execute("UPDATE customers SET first_name = 'Changed', changed = '2031-01-01 00:00:00' WHERE rowid = 1")
        database.execute("DELETE FROM orders WHERE order_id = (SELECT max(order_id) FROM orders)")
        database.commit()
        database.close()
        return
    one, other = list(sandbox.state.tickets)[:2]
    sandbox.state.change_ticket(one, {"subject": "Changed", "comment": {"body": "more"}}, sandbox.me)
    sandbox.state.delete_ticket(other, sandbox.me)


def test_of_two_nodes_that_pull_at_once_one_may_die(case: Case, doomed: Doomed, store: Store) -> None:
    for at in (2, 4):
        for _ in range(10):
            ended = doomed.pull(case, {"point": "committing", "at": at}, {})
            assert "broke" not in ended
            changed(case)
            if "killed" in ended:
                break  # else the other one overtook it, and it ended before: a page that it followed was not the last
        assert "killed" in ended
    assert doomed.pull(case, {}, {}, {"full": True}).count("broke") == 0
    assert pull(store, case) == set()
    true(store, case)


@each("zendesk", "salesforce", "stripe")
def test_whatever_a_vendor_answers_the_next_pulls_make_good(store: Store, case: Case) -> None:
    for fault in FAULTS:
        whole = fault == "gzip"
        report = pull(
            store, case, full=True,
            progress=after_first_page(lambda fault=fault: case.sandbox.fault("GET ", fault, STORM)),  # type: ignore[misc]
        )  # fmt: skip
        assert (report == set()) is whole, (fault, report)
        for _ in range(4):
            if report == set():
                break
            report = pull(store, case, full=True)
        assert report == set(), fault
        true(store, case)


def test_a_cursor_that_the_vendor_refuses_is_given_up_for_a_full_pass(
    store: Store, case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    assert pull(store, case) == set()
    changed(case)
    for stream in ("tickets", "users"):
        case.sandbox.fault(f"GET /api/v2/incremental/{stream}", "status:400")
    told: list[str] = []
    assert pull(store, case, progress=lambda step: told.extend(step.warnings)) == set()
    assert sum("refuses its cursor; the stream is read from its beginning" in line for line in told) == 2
    assert "refuses its cursor" in caplog.text
    true(store, case)
    with store.read() as tx:
        assert cursors.position(tx, case.connection.name, "tickets").scan is None
    case.sandbox.fault("GET /api/v2/incremental/tickets", "status:400", 2)
    (error,) = pull(store, case)
    assert error.startswith("invalid"), "a vendor that refuses the beginning too is not asked for ever"
    assert pull(store, case) == set()


@each("zendesk", "stripe")
def test_a_cursor_of_another_version_is_given_up_for_a_full_pass(store: Store, case: Case) -> None:
    assert pull(store, case) == set()
    with store.write() as tx:
        tx.execute("UPDATE cursor SET cursor = ?", ('{"v":99}',))
    assert pull(store, case) == set()
    true(store, case)


@contextmanager
def locked(url: str) -> Iterator[Callable[[], None]]:
    """Give a function that takes the database's write lock, in another connection, until the end of the block."""
    taken, free = threading.Event(), threading.Event()

    def hold() -> None:
        store = Store.open(url)
        with store.write():
            taken.set()
            free.wait(30)
        store.close()

    thread = threading.Thread(target=hold)

    def lock() -> None:
        thread.start()
        assert taken.wait(10)

    try:
        yield lock
    finally:
        free.set()
        thread.join()


def test_a_database_that_is_locked_for_too_long_stops_one_pull_only(
    database_url: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_MS", 200)
    monkeypatch.setattr(postgres, "_BUSY_S", 0.2)
    store = Store.open(database_url)
    with locked(database_url) as lock, pytest.raises(Temporary, match="locked"):
        pull(store, case, progress=after_first_page(lock))
    assert pull(store, case) == set()
    true(store, case)
    store.close()


@pytest.mark.parametrize("databases", ["postgres"], indirect=True)  # a SQLite file has no server
def test_a_database_that_is_restarted_under_a_pull_loses_nothing(
    restart_postgres: Callable[[], None], store: Store, case: Case
) -> None:
    restart = restart_postgres
    report = pull(store, case, progress=after_first_page(restart))
    assert all("has lost a page" in error for error in report), "what was not on the disk yet is read again"
    assert pull(store, case) == set()
    true(store, case)

    def within(step: Progress) -> None:
        with store.write() as tx:
            tx.execute("SELECT 1")
            restart()

    changed(case)
    with pytest.raises(Temporary, match="could not do this now"):
        pull(store, case, progress=within)
    assert pull(store, case) == set()
    true(store, case)


FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$
"""


def test_a_full_disk_stops_the_pull_until_there_is_room_again(
    database_url: str, case: Case, doomed: Doomed, store: Store
) -> None:
    if is_postgres(database_url):
        with store.write() as tx:
            tx.execute(FULL)
            tx.execute("CREATE TRIGGER full_disk BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION full_disk()")
        assert doomed.pull(case, {}) == ["failed"]
        with store.write() as tx:
            tx.execute("DROP TRIGGER full_disk ON event")
            tx.execute("DROP FUNCTION full_disk")
    else:
        for room in (36_000, 60_000):  # the file of shared memory alone has 32 KiB
            assert doomed.pull(case, {"room": room}) == ["failed"]
    assert pull(store, case) == set()
    true(store, case)


def test_a_record_of_five_megabytes_is_kept_whole(store: Store, case: Case) -> None:
    sandbox: Any = case.sandbox
    one = next(iter(sandbox.state.tickets))
    sandbox.state.tickets[one]["description"] = "Zeile 1 – ü\n" * 400_000
    assert pull(store, case) == set()
    true(store, case)
    with store.read() as tx:
        sql = "SELECT body FROM record WHERE kind = 'ticket' AND remote_id = ?"
        body = json.loads(tx.execute(sql, (str(one),)).fetchone()[0])
    assert body["description"] == sandbox.state.tickets[one]["description"]


def test_a_clock_that_goes_back_loses_no_change_and_no_deletion(
    store: Store, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = datetime(2031, 5, 1, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: at)
    assert pull(store, case) == set()
    at -= timedelta(days=400)
    changed(case)
    sandbox: Any = case.sandbox
    one, comments = next((one, comments) for one, comments in sandbox.state.comments.items() if comments)
    sandbox.state.hide_comment(one, next(iter(comments)), sandbox.me)
    assert pull(store, case) == set()
    true(store, case)
    assert pull(store, case, full=True) == set()
    true(store, case)


def test_a_mapping_that_changes_while_a_pull_runs_counts_from_the_next_one(store: Store, case: Case) -> None:
    former = case.connection.mapping
    changed_mapping = case.remapped('subject      = ["subject", "raw_subject"]', 'subject = { value = "hidden" }')
    try:

        def change() -> None:
            case.connection.mapping = changed_mapping

        assert pull(store, case, progress=after_first_page(change)) == set()
        true(store, case)
        assert pull(store, case, full=True) == set()
        wanted = oracle.zendesk(case.sandbox)
        for (kind, _), values in wanted.items():
            if kind == "ticket":
                values["subject"] = "hidden"
        oracle.agrees(store, case.connection.name, wanted)
        oracle.told_once(store)
    finally:
        case.connection.mapping = former


def test_a_scan_that_ends_early_deletes_nothing(store: Store, cases: Callable[[str], Case]) -> None:
    case = cases("legacy")
    case.sandbox.reset()
    assert pull(store, case) == set()

    def stop(step: Progress) -> None:
        if step.read and not step.done:
            raise Temporary("stopped", code="stopping")

    assert "stopping: stopped" in pull(store, case, full=True, progress=stop)
    true(store, case)
