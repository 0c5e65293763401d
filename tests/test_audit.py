"""The audit chain: what is written, who is told of, and that no change of it goes unnoticed."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.access import Keys
from hub.app import App
from hub.app.sandboxes import Sandboxes
from hub.cli import run as hub
from hub.config import HubSettings, Settings, ledger_beside
from hub.errors import ConfigError, Temporary
from hub.ledger import Audit, Ledger, Move, NewRun, NewStep, clerk, seen, seen_in, verify
from hub.store import Database, is_postgres
from tests.stores import ON_SQLITE

ROOT = Path(__file__).parent.parent
MARKET = ROOT / "tests" / "market"
LENGTH = 14
COLUMNS = ("at", "kind", "principal", "run_id", "facts", "key", "prev_hash", "hash")
PLAN = json.dumps({"verdict": {"verdict": "allow", "rule": "small"}, "changes": ["Ada Marker"]}).encode()
ASKED = json.dumps({"input": {"body": "Ada Marker", "ticket_ref": "t"}, "reason": "Ada Marker"}).encode()
DONE = json.dumps({"effects": [{"object": "note", "remote_id": "7", "op": "create", "after": {"body": "Ada Marker"}}]})


def wish(key="k1", **more):
    given = {"action": "ticket.note", "principal": "key_1", "body_hash": "aa", "idempotency_key": f"Ada Marker {key}"}
    steps = (NewStep("desk", b'{"fields": {"text": "Ada Marker"}}'),)
    return NewRun(**(given | {"request": ASKED, "plan": PLAN, "steps": steps} | more))


def act(ledger, key="k1"):
    """Take one run through all its states."""
    new, _ = ledger.claim(wish(key), owner="me")
    step = ledger.begin(new.steps[0], owner="me")
    ledger.settle(step, Move("done", outcome=DONE.encode()), closing=lambda _: ("succeeded", b'"Ada Marker"'))
    return new.id


class Books:
    """A ledger with its key and its head in a folder; the ledger itself may be on Postgres."""

    def __init__(self, folder, url):
        self.folder = folder
        self.hub = url if is_postgres(url) else f"sqlite:///{folder / 'hub.db'}"
        self.url = ledger_beside(self.hub)

    def examples(self, most):
        """Give how many examples to try: a Postgres takes its time with each."""
        return most // 4 if is_postgres(self.url) else most

    def open(self):
        return Ledger.open(self.url, audit_key=self.folder / "audit.key")

    @contextmanager
    def audit(self):
        with closing(Database(self.url, "ledger")) as database:
            yield Audit(database, key_file=self.folder / "audit.key")

    def tamper(self, *statements):
        with self.audit() as audit, audit.database.write() as tx:
            for statement in statements:
                tx.execute(*statement) if isinstance(statement, tuple) else tx.execute(statement)

    def take(self, rows, *files):
        """Have these rows in place of those that are here, and copies of these files."""
        for file in files:
            shutil.copy(file, self.folder)
        with self.audit() as audit, audit.database.write() as tx:
            tx.execute("DELETE FROM audit")
            tx.executemany(f"INSERT INTO audit (seq, {', '.join(COLUMNS)}) VALUES ({'?, ' * len(COLUMNS)}?)", rows)

    def rows(self):
        with self.audit() as audit:
            return list(audit.rows())


def checked(books, **more):
    with books.audit() as audit:
        return verify(audit, **more)


def named(found):
    return {seq for problem in found.problems if problem.seq for seq in range(problem.seq, problem.last + 1)}


@pytest.fixture
def books(tmp_path, database_url):
    return Books(tmp_path, database_url)


@pytest.fixture
def ledger(books):
    ledger = books.open()
    yield ledger
    ledger.close()


@pytest.fixture(scope="module")
def chain(tmp_path_factory, databases):
    """The closed books of LENGTH rows, signed."""
    with databases() as url:
        books = Books(tmp_path_factory.mktemp("chain"), url)
        ledger = books.open()
        for number in range(3):
            act(ledger, f"k{number}")
        Keys(ledger.database, audit=ledger.audit).create("bot", ["read"])
        Keys(ledger.database, audit=ledger.audit).revoke("bot")
        ledger.close()
        found = checked(books)
        assert (found.ok, found.rows, found.head.count, found.unsigned) == (True, LENGTH, LENGTH, 0)
        yield books


@pytest.fixture
def anew(chain):
    """Makes any books a copy of the chain, again and again."""
    rows, files = chain.rows(), [chain.folder / name for name in ("audit.key", "audit.head")]
    return lambda books: books.take(rows, *files)


@pytest.fixture
def copied(books, anew):
    anew(books)
    return books


# What is written


def test_each_change_of_a_run_is_a_row_in_the_same_transaction(ledger):
    run_id = act(ledger)
    rows = list(ledger.audit.rows())
    assert [row.kind for row in rows] == ["run_created", "step_sending", "step_settled", "run_state"]
    assert {row.run_id for row in rows} == {run_id}
    facts = [row.as_dict()["facts"] for row in rows]
    assert facts[0] | {"hashes": None} == {
        "action": "ticket.note",
        "mode": "execute",
        "state": "running",
        "connections": ["desk"],
        "verdict": "allow",
        "rule": "small",
        "fields": ["body", "ticket_ref"],
        "hashes": None,
    }
    assert facts[2]["effects"] == [{"object": "note", "remote_id": "7", "op": "create", "fields": ["body"]}]
    assert facts[3]["state"] == "succeeded"


def test_a_change_that_is_rolled_back_leaves_no_row(ledger):
    def fails(_):
        raise KeyError("result")

    new, _ = ledger.claim(wish(), owner="me")
    step = ledger.begin(new.steps[0], owner="me")
    with pytest.raises(KeyError):
        ledger.settle(step, Move("done"), closing=fails)
    assert [row.kind for row in ledger.audit.rows()] == ["run_created", "step_sending"]


def test_contents_never_reach_the_audit(ledger):
    act(ledger)
    Keys(ledger.database, audit=ledger.audit).create("Ada Marker", ["read"])
    body = json.dumps({"id": "cus_1", "kind": "customer", "display_name": "Ada Marker"}).encode()
    ledger.audit.saw(seen("key_1", "customer", body))
    ledger.audit.saw(seen_in("key_1", {"customers": [{"id": "cus_2", "email": "Ada Marker"}]}, {"cus": "customer"}))
    ledger.audit.close()
    with ledger.database.read() as tx:
        rows = tx.execute("SELECT * FROM audit").fetchall()
    assert len(rows) == 6
    assert "Marker" not in repr(rows)
    assert "display_name" in repr(rows)


def test_the_same_contents_have_the_same_hash_only_under_the_same_key(ledger, tmp_path, databases):
    act(ledger, "k1")
    act(ledger, "k2")
    hashes = [row.as_dict()["facts"]["hashes"] for row in ledger.audit.rows() if row.kind == "run_created"]
    assert hashes[0]["reason"] == hashes[1]["reason"]
    assert hashes[0]["key"] != hashes[1]["key"]
    (tmp_path / "other").mkdir()
    with databases() as url:
        other = Books(tmp_path / "other", url)
        with closing(other.open()) as ledger:
            act(ledger)
        (row,) = [row for row in other.rows() if row.kind == "run_created"]
    assert row.as_dict()["facts"]["hashes"]["reason"] != hashes[0]["reason"]


def test_the_key_is_readable_by_its_owner_only(ledger, tmp_path):
    act(ledger)
    assert (tmp_path / "audit.key").stat().st_mode & 0o777 == 0o600


def test_a_key_file_that_others_can_read_is_warned_of(copied, caplog):
    (copied.folder / "audit.key").chmod(0o644)
    assert checked(copied).ok
    assert "chmod 600" in caplog.text


def test_a_policy_is_told_of_once_until_it_changes(ledger):
    for text, new in ((b"a", True), (b"a", False), (b"b", True), (b"a", True)):
        assert ledger.audit.note("policy_loaded", rules=["small"], hashed={"policy": text}) is new
    assert len(list(ledger.audit.rows())) == 3


def test_two_processes_keep_one_chain(books):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from hub.ledger import Ledger\n"
        "ledger = Ledger.open(sys.argv[1], audit_key=Path(sys.argv[2]))\n"
        "for number in range(40):\n"
        "    with ledger.database.write() as tx:\n"
        "        ledger.audit.append(tx, 'test', number=number)\n"
        "    ledger.audit.sign_soon()\n"
        "ledger.close()\n"
    )
    command = [sys.executable, "-c", code, books.url, str(books.folder / "audit.key")]
    children = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(child.communicate(timeout=60)[1], child.returncode) for child in children] == [("", 0), ("", 0)]
    found = checked(books)
    assert (found.ok, found.rows, found.head.count) == (True, 80, 80)


def test_a_head_is_signed_soon_after_a_run_ends(ledger, tmp_path):
    act(ledger)
    ledger.audit.clerk.close()
    assert json.loads((tmp_path / "audit.head").read_text())["count"] == 4


def test_rows_beyond_the_head_are_genuine_and_signed_by_the_next_process(copied):
    old = (copied.folder / "audit.head").read_bytes()
    ledger = copied.open()
    act(ledger, "late")
    ledger.close()
    (copied.folder / "audit.head").write_bytes(old)  # as after a kill before the head was signed
    found = checked(copied)
    assert (found.ok, found.unsigned) == (True, 4)
    ledger = copied.open()
    act(ledger, "later")
    ledger.close()
    assert checked(copied).unsigned == 0


# What verify finds


def test_every_way_to_change_one_row_is_named(books, anew):

    @settings(max_examples=books.examples(60), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(1, LENGTH), st.sampled_from(COLUMNS), st.sampled_from(["", "x", None, b"x", 7, "7e4"]))
    def change(seq, column, value):
        anew(books)
        before = getattr(books.rows()[seq - 1], column)
        try:
            books.tamper((f"UPDATE audit SET {column} = ? WHERE seq = ?", (value, seq)))
        except (sqlite3.IntegrityError, psycopg.Error):
            return
        found = checked(books)
        assert found.ok is (before == value)
        if not found.ok:
            assert named(found) == {seq}
            assert {problem.what for problem in found.problems} == {"changed"}

    change()


def test_every_removal_is_named(books, anew):

    @settings(max_examples=books.examples(40), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(1, LENGTH), st.integers(0, 4), st.booleans())
    def remove(first, more, renumber):
        anew(books)
        last = min(first + more, LENGTH)
        gone = last - first + 1
        books.tamper(("DELETE FROM audit WHERE seq BETWEEN ? AND ?", (first, last)))
        if renumber:
            books.tamper(*(f"UPDATE audit SET seq = {n - gone} WHERE seq = {n}" for n in range(last + 1, LENGTH + 1)))
        found = checked(books)
        missing = [problem for problem in found.problems if problem.what in ("removed", "cut_off")]
        assert [(p.seq, p.last, p.what == "cut_off") for p in missing] == [(first, last, last == LENGTH)]
        moved = named(found) - set(range(first, last + 1))
        assert not moved or renumber

    remove()


def test_every_insertion_is_named(books, anew):
    rows = ", ".join(COLUMNS)

    @settings(max_examples=books.examples(40), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(1, LENGTH + 1), st.integers(1, LENGTH), st.booleans())
    def insert(seq, source, forged):
        anew(books)
        books.tamper(
            f"CREATE TABLE other AS SELECT {rows} FROM audit WHERE seq = {source}",
            *(f"UPDATE audit SET seq = {n + 1} WHERE seq = {n}" for n in range(LENGTH, seq - 1, -1)),
            f"INSERT INTO audit (seq, {rows}) SELECT {seq}, {rows} FROM other",
            f"UPDATE audit SET kind = 'x' || kind WHERE seq = {seq} AND {forged}",
            "DROP TABLE other",
        )
        found = checked(books)
        inserted = [p.seq for p in found.problems if p.what == "inserted"]
        assert len(inserted) == 1
        twin = source if source < seq else source + 1  # of two equal rows nobody can tell which is the copy
        assert inserted[0] == seq or (not forged and inserted[0] == twin)
        assert seq in named(found) or abs(seq - twin) == 1

    insert()


def test_every_swap_is_named(books, anew):

    @settings(max_examples=books.examples(30), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.integers(1, LENGTH), min_size=2, max_size=2, unique=True))
    def swap(pair):
        anew(books)
        a, b = pair
        moves = ((-1, a), (a, b), (b, -1))
        books.tamper(*(f"UPDATE audit SET seq = {new} WHERE seq = {old}" for new, old in moves))
        found = checked(books)
        assert not found.ok
        assert named(found) == {a, b}

    swap()


def test_a_chain_written_anew_with_another_key_is_named(copied, tmp_path, databases):
    """Who can write the database but has no key can only seal with one of his own."""
    (tmp_path / "other").mkdir()
    with databases() as url:
        other = Books(tmp_path / "other", url)
        with closing(other.open()) as ledger:
            act(ledger)
        copied.take(other.rows())
    found = checked(copied)
    assert named(found) == set(range(1, LENGTH + 1))


def test_a_tail_written_anew_by_the_hub_itself_after_a_cut_is_still_found(copied, caplog):
    copied.tamper(f"DELETE FROM audit WHERE seq > {LENGTH - 2}")
    ledger = copied.open()
    act(ledger, "late")
    ledger.close()
    assert "hub audit verify" in caplog.text
    found = checked(copied)
    assert [(p.what, p.seq) for p in found.problems] == [("replaced", LENGTH)]


def test_an_older_head_kept_elsewhere_still_proves_the_chain(copied):
    with copied.audit() as audit:
        kept = audit.files.read_head()
    ledger = copied.open()
    act(ledger, "late")
    ledger.close()
    assert checked(copied, head=kept).ok
    copied.tamper(f"DELETE FROM audit WHERE seq >= {LENGTH}")
    assert named(checked(copied, head=kept)) == {LENGTH}


@ON_SQLITE  # a Postgres takes no text that is none
def test_a_row_that_cannot_even_be_read_is_named(copied):
    copied.tamper("UPDATE audit SET facts = CAST(X'FF' AS TEXT) WHERE seq = 5")
    assert [(p.seq, p.what) for p in checked(copied).problems] == [(5, "changed")]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda head: head.unlink(), "missing"),
        (lambda head: head.write_text("{"), "cannot be read"),
        (lambda head: head.write_text(head.read_text().replace('"count":14', '"count":13')), "not signed"),
    ],
    ids=["gone", "garbage", "forged"],
)
def test_a_spoilt_head_is_told_and_never_signed_over(copied, spoil, said):
    spoil(copied.folder / "audit.head")
    ledger = copied.open()
    act(ledger, "late")
    ledger.close()
    found = checked(copied)
    assert not found.ok
    assert said in found.problems[0].text
    assert found.problems[0].what == "head"


def test_an_empty_ledger_is_well(books):
    found = checked(books)
    assert (found.ok, found.rows, found.head) == (True, 0, None)


def test_a_ledger_emptied_beside_its_head_is_named(copied):
    copied.tamper("DELETE FROM audit")
    found = checked(copied)
    assert [(p.what, p.seq, p.last) for p in found.problems] == [("cut_off", 1, LENGTH)]


# Keys that are missing


def test_without_its_key_nothing_is_written(copied):
    (copied.folder / "audit.key").unlink()
    ledger = copied.open()
    with pytest.raises(ConfigError, match=r"audit\.key.*put it back"):
        ledger.claim(wish("late"), owner="me")
    assert not ledger.find("key_1", "ticket.note", "Ada Marker late")
    ledger.close()
    with pytest.raises(ConfigError, match=r"audit\.key"):
        checked(copied)
    assert not (copied.folder / "audit.key").exists()


@pytest.mark.parametrize("text", ["", "short", "zz" * 32, "é"])
def test_a_key_file_that_holds_no_key_is_refused(copied, text):
    (copied.folder / "audit.key").write_text(text)
    with pytest.raises(ConfigError, match="64 hex digits"):
        checked(copied)


def test_a_new_key_goes_on_and_the_old_one_still_proves_what_it_sealed(copied):
    ledger = copied.open()
    row = ledger.audit.accept(new_key=True)
    act(ledger, "late")
    ledger.close()
    assert (row.seq, row.kind) == (LENGTH + 1, "accepted")
    found = checked(copied)
    assert (found.ok, found.rows) == (True, LENGTH + 5)
    assert len((copied.folder / "audit.key").read_text().split()) == 2


def test_what_a_lost_key_sealed_can_no_longer_be_proven(copied):
    (copied.folder / "audit.key").unlink()
    ledger = copied.open()
    ledger.audit.accept(new_key=True)
    act(ledger, "late")
    ledger.close()
    found = checked(copied)
    assert named(found) == set(range(1, LENGTH + 1))


def test_a_chain_that_was_cut_is_accepted_on_request_and_the_row_says_what_was_lost(copied):
    copied.tamper(f"DELETE FROM audit WHERE seq > {LENGTH - 3}")
    ledger = copied.open()
    row = ledger.audit.accept()
    ledger.close()
    assert checked(copied).ok
    before = row.as_dict()["facts"]["before"]
    assert before["count"] == LENGTH
    assert json.loads((copied.folder / before["kept"]).read_text())["count"] == LENGTH


# Disclosures


def customer(number, **fields):
    return json.dumps({"id": f"cus_{number}", "kind": "customer"} | fields).encode()


def disclosed(audit):
    found = {}
    for row in audit.rows():
        if row.kind == "disclosure":
            for part in row.as_dict()["facts"]["shown"]:
                for id in part["ids"]:
                    found.setdefault((row.principal, part["kind"], id), set()).add(tuple(part["fields"]))
    return found


def test_who_saw_which_fields_of_what_is_told(ledger):
    ledger.audit.saw(seen("key_1", "customer", customer(1, email="a")))
    page = b'{"data":[' + customer(1, phone="1") + b"," + customer(2, phone="1") + b'],"next_cursor":null}'
    ledger.audit.saw(seen("key_2", "customer", page))
    ref = {"table": "users", "remote_id": "1", "id": "cus_9"}
    answer = {"match": "one", "tickets": [{"id": "tkt_1", "subject": "s", "customer_ref": ref}]}
    ledger.audit.saw(seen_in("key_1", answer, {"cus": "customer", "tkt": "ticket"}))
    ledger.audit.close()
    assert disclosed(ledger.audit) == {
        ("key_1", "customer", "cus_1"): {("email", "id", "kind")},
        ("key_2", "customer", "cus_1"): {("id", "kind", "phone")},
        ("key_2", "customer", "cus_2"): {("id", "kind", "phone")},
        ("key_1", "ticket", "tkt_1"): {("customer_ref", "id", "subject")},
    }


def test_disclosures_of_many_threads_are_chained_in_few_rows_and_none_is_lost_at_the_end(ledger, books):
    def look(reader):
        for number in range(200):
            ledger.audit.saw(seen(f"key_{reader}", "customer", customer(number, email="a")))

    threads = [threading.Thread(target=look, args=(reader,)) for reader in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    ledger.close()
    with books.audit() as audit:
        assert len(disclosed(audit)) == 800
        assert sum(1 for _ in audit.rows()) < 100
        assert verify(audit).ok
        assert verify(audit).unsigned == 0


def test_a_disclosure_is_chained_within_a_second_while_the_hub_runs(ledger):
    ledger.audit.saw(seen("key_1", "customer", customer(1)))
    done = threading.Event()
    for _ in range(100):
        if disclosed(ledger.audit):
            break
        done.wait(0.05)
    assert disclosed(ledger.audit)


@ON_SQLITE
def test_a_full_buffer_holds_readers_up_and_drops_nothing(ledger, monkeypatch):
    monkeypatch.setattr(clerk, "ROOM_BYTES", 2000)
    writing, entered = threading.Event(), threading.Event()

    def hold():
        with ledger.database.write():
            entered.set()
            writing.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(20)
    looking = [
        threading.Thread(target=lambda n=n: ledger.audit.saw(seen("key_1", "customer", customer(n)))) for n in range(40)
    ]
    [thread.start() for thread in looking]
    looking[-1].join(1.0)
    assert any(thread.is_alive() for thread in looking)
    writing.set()
    [thread.join(20) for thread in (*looking, holder)]
    ledger.audit.close()
    assert len(disclosed(ledger.audit)) == 40


def test_what_cannot_be_chained_is_not_shown(ledger, monkeypatch):
    monkeypatch.setattr(clerk, "ROOM_BYTES", 1)
    monkeypatch.setattr(clerk, "WAIT_S", 0.05)
    release, entered = threading.Event(), threading.Event()

    def hold():
        with ledger.database.write():
            entered.set()
            release.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(20)
    with pytest.raises(Temporary) as caught:
        [ledger.audit.saw(seen("key_1", "customer", customer(number))) for number in range(4)]
    release.set()
    holder.join()
    assert caught.value.error_code == "audit_busy"


def test_after_the_end_nothing_is_shown_unseen(ledger):
    ledger.audit.close()
    with pytest.raises(Temporary):
        ledger.audit.saw(seen("key_1", "customer", customer(1)))


@ON_SQLITE
def test_disclosures_that_could_not_be_written_are_tried_again(ledger, caplog):
    real, calls = ledger.audit.clerk._append, []

    def append(*args, **more):
        calls.append(1)
        if len(calls) < 3:
            raise Temporary("the disk is full")
        return real(*args, **more)

    ledger.audit.clerk._append = append
    ledger.audit.saw(seen("key_1", "customer", customer(1)))
    ledger.audit.close()
    assert len(disclosed(ledger.audit)) == 1
    assert "not be written yet" in caplog.text


def test_the_thread_ends_when_there_is_nothing_to_do(ledger, monkeypatch):
    monkeypatch.setattr(clerk, "IDLE_S", 0.05)
    act(ledger)
    for thread in threading.enumerate():
        if thread.name == "audit" and thread is ledger.audit.clerk._thread:
            thread.join(5)
    assert ledger.audit.clerk._thread is None
    act(ledger, "again")
    ledger.audit.close()
    assert ledger.audit.files.read_head().count == 8


# Through the hub


@pytest.fixture
def folder(tmp_path, books, monkeypatch):
    (tmp_path / "config.toml").write_text(f'[hub]\ndatabase_url = "{books.hub}"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HUB_CONFIG", raising=False)
    return tmp_path


def test_the_hub_tells_of_reads_and_of_its_policy(tmp_path, books):
    (tmp_path / "policy.toml").write_text('[[rule]]\nname = "r"\naction = "ticket.*"\nverdict = "allow"\n')
    key, policy = tmp_path / "elsewhere.key", tmp_path / "policy.toml"
    config = HubSettings(database_url=books.hub, policy=policy, audit_key_file=key)
    for _ in range(2):
        with App.open(Settings(hub=config, directory=tmp_path)) as app:
            app.warm()
            app.list("customer", {}, limit=10)
            assert app.get("customer", "cus_aaaaaaaaaaaaaaaaaaaaaaaa") is None
    with App.open(Settings(hub=config, directory=tmp_path)) as app:
        (row,) = app.ledger.audit.rows()
        assert (row.kind, row.as_dict()["facts"]["rules"]) == ("policy_loaded", ["r"])
    assert (tmp_path / "elsewhere.key").exists()
    assert not (tmp_path / "audit.key").exists()


@ON_SQLITE  # how a server ends is the same on both
def test_what_was_shown_just_before_a_server_is_stopped_is_in_the_audit(folder, books, monkeypatch):
    monkeypatch.syspath_prepend(str(MARKET))
    with Sandboxes.start(["market"], customers=5) as up:
        (folder / "config.toml").write_text(up.toml())
        with App.open(folder / "config.toml") as app:
            app.sync()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
        environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{MARKET}"
        command = [sys.executable, "-m", "hub.cli", "serve", "--no-worker", "--port", "0", "--json"]
        with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as child:
            told = json.loads(child.stdout.readline())
            headers = {"Authorization": f"Bearer {told['admin_key']}"}
            url = f"{told['url']}/v1/customers"
            ids = [one["id"] for one in requests.get(url, headers=headers, timeout=20).json()["data"]]
            one = requests.get(f"{url}/{ids[0]}?include=raw", headers=headers, timeout=20).json()
            child.send_signal(signal.SIGTERM)
            assert child.wait(30) == 0
    ledger = books.open()
    found = disclosed(ledger.audit)
    assert {id for _, _, id in found} == set(ids)
    assert {principal[:4] for principal, _, _ in found} == {"key_"}
    (of_one,) = [fields for (_, _, id), fields in found.items() if id == ids[0]]
    assert tuple(sorted(one)) in of_one
    assert verify(ledger.audit).ok
    ledger.close()


def test_hub_audit_verify_and_export_tell_what_was_done(folder, capsys):
    assert hub(["keys", "create", "bot", "--scope", "read"]) == 0
    assert hub(["keys", "revoke", "bot"]) == 0
    capsys.readouterr()
    assert hub(["audit", "verify", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["rows"], found["problems"]) == (True, 2, [])
    assert hub(["audit", "export"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines] == ["key_created", "key_revoked"]
    assert hub(["audit", "export", "--json", "--since", "1d"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (len(found["rows"]), found["head"]["count"]) == (2, 2)
    assert hub(["audit", "export", "--since", "2999-01-01"]) == 0
    assert capsys.readouterr().out == ""
    assert hub(["audit", "export", "--since", "soon"]) == 2


def test_hub_audit_verify_names_the_row_and_exits_with_1(folder, books, capsys):
    assert hub(["keys", "create", "bot"]) == 0
    assert hub(["keys", "revoke", "bot"]) == 0
    kept = folder / "head.kept"
    shutil.copy(folder / "audit.head", kept)
    books.tamper("UPDATE audit SET facts = '{}' WHERE seq = 1")
    capsys.readouterr()
    assert hub(["audit", "verify"]) == 1
    assert "row 1 was changed" in capsys.readouterr().out
    assert hub(["audit", "verify", "--json", "--head", str(kept)]) == 1
    problem = {"seq": 1, "last": 1, "what": "changed", "text": "row 1 was changed after being written"}
    assert json.loads(capsys.readouterr().out)["problems"] == [problem]
    assert hub(["audit", "verify", "--head", str(folder / "config.toml")]) == 2


def test_hub_audit_accept_goes_on(folder, capsys):
    assert hub(["keys", "create", "bot"]) == 0
    (folder / "audit.head").unlink()
    assert hub(["audit", "verify"]) == 1
    assert hub(["audit", "accept"]) == 0
    assert hub(["audit", "verify"]) == 0
