"""Who was shown what: chained in few rows, none of them lost, and nothing shown that cannot be chained."""

import threading
from contextlib import contextmanager

import pytest

from hub.errors import Temporary
from hub.ledger import clerk, seen, seen_in, verify
from tests.audit.books import act, customer, disclosed
from tests.stores import ON_SQLITE


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


@contextmanager
def written(ledger):
    """Somebody else's write transaction, for as long as the block lasts."""
    release, entered = threading.Event(), threading.Event()

    def hold():
        with ledger.database.write():
            entered.set()
            release.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(20)
    try:
        yield
    finally:
        release.set()
        holder.join(20)


@ON_SQLITE
def test_a_full_buffer_holds_readers_up_and_drops_nothing(ledger, monkeypatch):
    monkeypatch.setattr(clerk, "ROOM_BYTES", 2000)
    looking = [
        threading.Thread(target=lambda n=n: ledger.audit.saw(seen("key_1", "customer", customer(n)))) for n in range(40)
    ]
    with written(ledger):
        [thread.start() for thread in looking]
        looking[-1].join(1.0)
        assert any(thread.is_alive() for thread in looking)
    [thread.join(20) for thread in looking]
    ledger.audit.close()
    assert len(disclosed(ledger.audit)) == 40


def test_what_cannot_be_chained_is_not_shown(ledger, monkeypatch):
    monkeypatch.setattr(clerk, "ROOM_BYTES", 1)
    monkeypatch.setattr(clerk, "WAIT_S", 0.05)
    with written(ledger), pytest.raises(Temporary) as caught:
        [ledger.audit.saw(seen("key_1", "customer", customer(number))) for number in range(4)]
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
