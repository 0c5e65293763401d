"""The room `ledger`: the journal of runs, its claims, leases and compare-and-sets."""

import os
import subprocess
import sys
import threading

import pytest

from hub.config import ledger_beside
from hub.errors import Conflict, NotFound
from hub.ledger import Ledger, Lost, Move, NewRun, NewStep, new_owner, new_run_id
from hub.store import Database
from tests.stores import kind_of


@pytest.fixture
def url(database_url):
    return ledger_beside(database_url)


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "audit.key"


@pytest.fixture
def ledger(url, key_file):
    ledger = Ledger.open(url, audit_key=key_file)
    yield ledger
    ledger.close()


def wish(**more):
    given = {
        "action": "payment.refund",
        "principal": "key_1",
        "body_hash": "aa",
        "request": b"{}",
        "plan": b"{}",
        "idempotency_key": "k1",
        "steps": (NewStep("pay", b"{}"),),
    }
    return NewRun(**(given | more))


def test_a_claimed_run_is_on_the_disk_before_anything_is_sent(ledger, url):
    run, is_new = ledger.claim(wish(), owner="me")
    assert is_new
    other = Database(url, "ledger")
    with other.read() as tx:
        assert tx.execute("SELECT state FROM run WHERE id = ?", (run.id,)).fetchone() == ("running",)
        assert tx.execute("SELECT state, vendor_key FROM step").fetchone() == ("planned", f"hub-{run.id}")
    other.close()


def test_every_commit_of_the_ledger_reaches_the_disk(ledger):
    with ledger.database.write() as tx:
        said = {"sqlite": ("PRAGMA synchronous", 2), "postgres": ("SHOW synchronous_commit", "on")}
        asked, answer = said[kind_of(tx)]
        assert tx.execute(asked).fetchone() == (answer,)


def test_the_same_key_gives_the_same_run(ledger):
    first, _ = ledger.claim(wish(), owner="me")
    second, is_new = ledger.claim(wish(), owner="you")
    assert (second.id, is_new) == (first.id, False)
    assert [step.vendor_key for step in second.steps] == [step.vendor_key for step in first.steps]


def test_the_same_key_with_another_body_names_the_first_run(ledger):
    first, _ = ledger.claim(wish(), owner="me")
    with pytest.raises(Conflict) as caught:
        ledger.claim(wish(body_hash="bb"), owner="me")
    assert caught.value.error_code == "idempotency_key_reused"
    assert caught.value.reason == first.id
    assert first.id in caught.value.message


@pytest.mark.parametrize("other", [{"principal": "key_2"}, {"action": "ticket.note"}, {"idempotency_key": "k2"}])
def test_a_key_belongs_to_one_principal_and_action(ledger, other):
    ledger.claim(wish(), owner="me")
    _, is_new = ledger.claim(wish(body_hash="bb", **other), owner="me")
    assert is_new


def test_the_same_intent_under_a_new_key_is_a_possible_duplicate(ledger):
    first, _ = ledger.claim(wish(intent="i"), owner="me")
    with pytest.raises(Conflict) as caught:
        ledger.claim(wish(intent="i", idempotency_key="k2"), owner="me")
    assert (caught.value.error_code, caught.value.reason) == ("possible_duplicate", first.id)
    assert ledger.claim(wish(intent="i", idempotency_key="k2", repeat=True), owner="me")[1]
    assert ledger.claim(wish(intent="i", principal="key_2"), owner="me")[1]


def test_a_failed_run_is_no_duplicate(ledger):
    first, _ = ledger.claim(wish(intent="i"), owner="me")
    ledger.finish(first.id, "failed", b"{}")
    assert ledger.claim(wish(intent="i", idempotency_key="k2"), owner="me")[1]


def test_sixteen_threads_with_one_key_make_one_run(ledger):
    gate, found = threading.Barrier(16), []

    def claim(number):
        gate.wait()
        found.append(ledger.claim(wish(), owner=f"t{number}"))

    threads = [threading.Thread(target=claim, args=(n,)) for n in range(16)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sum(is_new for _, is_new in found) == 1
    assert len({run.id for run, _ in found}) == 1


def test_a_step_is_sent_by_one_only(ledger):
    run, _ = ledger.claim(wish(), owner="me")
    sent = ledger.begin(run.steps[0], owner="me")
    assert (sent.state, sent.attempt) == ("sending", 1)
    assert sent.first_sent_at is not None
    with pytest.raises(Lost):
        ledger.begin(run.steps[0], owner="me")


def test_who_has_no_lease_sends_nothing(ledger):
    run, _ = ledger.claim(wish(), owner="me")
    with pytest.raises(Lost):
        ledger.begin(run.steps[0], owner="you")
    assert ledger.get(run.id).steps[0].state == "planned"


def test_a_step_is_sent_again_only_from_the_attempt_that_was_looked_up(ledger):
    run, _ = ledger.claim(wish(), owner="me")
    first = ledger.begin(run.steps[0], owner="me")
    second = ledger.begin(first, owner="me", again=True)
    assert (second.attempt, second.vendor_key, second.first_sent_at) == (2, first.vendor_key, first.first_sent_at)
    with pytest.raises(Lost):
        ledger.begin(first, owner="me", again=True)
    with pytest.raises(Lost):
        ledger.settle(first, Move("done"))


def test_a_settled_step_is_never_sent_again(ledger):
    run, _ = ledger.claim(wish(), owner="me")
    done = ledger.settle(ledger.begin(run.steps[0], owner="me"), Move("done", outcome=b"{}"))
    assert (done.state, done.outcome) == ("done", b"{}")
    for again in (False, True):
        with pytest.raises(Lost):
            ledger.begin(done, owner="me", again=again)
    with pytest.raises(Lost):
        ledger.settle(done, Move("failed"))


def test_an_outcome_that_is_known_is_kept_when_the_step_moves_on(ledger):
    run, _ = ledger.claim(wish(), owner="me")
    step = ledger.settle(ledger.begin(run.steps[0], owner="me"), Move("unknown", outcome=b'{"a":1}', error=b"{}"))
    step = ledger.settle(step, Move("unknown"))
    assert (step.outcome, step.error) == (b'{"a":1}', None)


def test_a_run_is_taken_over_only_after_its_lease(ledger):
    run, _ = ledger.claim(wish(), owner=new_owner())
    assert not ledger.take(run, owner="you")
    assert ledger.waiting() == []
    ledger.release(run.id, owner=run.lease_owner)
    run = ledger.get(run.id)
    assert ledger.waiting() == [run.id]
    assert ledger.take(run, owner="you")
    assert not ledger.take(run, owner="another")
    assert ledger.get(run.id).lease_owner == "you"


def test_a_lease_that_ran_out_is_taken_over(url, key_file):
    ledger = Ledger.open(url, lease_s=-1, audit_key=key_file)
    run, _ = ledger.claim(wish(), owner=new_owner())
    assert ledger.waiting() == [run.id]
    assert ledger.take(run, owner="you")
    ledger.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/ns/pid"), reason="needs a process table at /proc")
def test_the_run_of_a_process_that_died_is_taken_over_at_once(ledger, url, key_file):
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from hub.ledger import Ledger, NewRun, NewStep, new_owner\n"
        "run, _ = Ledger.open(sys.argv[1], audit_key=Path(sys.argv[2])).claim("
        "NewRun(action='a', principal='p', body_hash='h', request=b'{}', plan=b'{}', idempotency_key='k',"
        " steps=(NewStep('c', b'{}'),)), owner=new_owner())\n"
        "print(run.id, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    root = os.path.dirname(os.path.dirname(__file__))
    child = subprocess.run([sys.executable, "-c", code, url, key_file], capture_output=True, text=True, cwd=root)
    assert child.returncode == -9, child.stderr
    run = ledger.get(child.stdout.strip())
    assert run.lease_until is not None
    assert ledger.take(run, owner=new_owner())


def test_a_closed_run_is_not_taken(ledger):
    run, _ = ledger.claim(wish(), owner="me")
    ledger.finish(run.id, "succeeded", b"{}")
    run = ledger.get(run.id)
    assert (run.closed, run.lease_owner, run.result) == (True, None, b"{}")
    assert not ledger.take(run, owner="you")


def test_only_the_owner_gives_a_lease_back(ledger):
    run, _ = ledger.claim(wish(), owner="me")
    ledger.release(run.id, owner="you")
    assert ledger.get(run.id).lease_owner == "me"


def test_runs_are_listed_newest_first_in_pages(ledger):
    ids = [ledger.claim(wish(idempotency_key=f"k{n}"), owner="me")[0].id for n in range(5)]
    first = ledger.runs(limit=2)
    rest = ledger.runs(limit=10, before=first[-1].id)
    assert [run.id for run in (*first, *rest)] == sorted(ids, reverse=True)
    ledger.finish(ids[0], "failed", b"{}")
    assert [run.id for run in ledger.runs(state="failed")] == [ids[0]]


def test_an_unknown_run_is_told(ledger):
    with pytest.raises(NotFound):
        ledger.get("run_0")


def test_run_ids_differ_and_sort_by_time():
    ids = [new_run_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(run_id) == 28 for run_id in ids)
    assert sorted(run_id[:13] for run_id in ids) == [run_id[:13] for run_id in ids]


def test_previews_and_denials_need_no_key(ledger):
    for _ in range(2):
        run, is_new = ledger.claim(wish(idempotency_key=None, state="previewed", mode="preview", steps=()), owner="")
        assert is_new
        assert (run.lease_owner, run.closed) == (None, True)
    assert ledger.waiting() == []
