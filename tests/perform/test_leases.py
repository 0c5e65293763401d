"""Two nodes on one database: what one works it keeps, what one that died had is taken over when its lease ends."""

import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from hub.config import ledger_beside
from hub.ledger import Ledger, owners
from tests.perform.test_crashes import CHILD

ROOT = Path(__file__).parents[2]
ELSEWHERE = "from hub.ledger import owners\nowners._NODE = 'elsewhere/boot/1'\n"
LEASE_S = 1.0


@pytest.fixture
def nowhere(monkeypatch):
    """Let no process be known to be dead, as where it is another machine's."""
    monkeypatch.setattr("hub.ledger.journal.alive", lambda owner: owner is not None)


def test_a_run_that_takes_longer_than_its_lease_is_kept(shop, nowhere):
    shop.ledger.lease_s = 0.8
    shop.sandbox.fault("POST /refunds", "slow:1.6s")
    thread = threading.Thread(target=shop.refund)
    thread.start()
    seen = set()
    while thread.is_alive():
        seen |= set(shop.performer.waiting())
        time.sleep(0.02)
    (run,) = shop.ledger.runs()
    assert (run.state, seen) == ("succeeded", set())
    assert len(shop.sandbox.ledger) == 1


def test_a_lease_that_another_took_is_not_renewed(shop):
    owner, other = owners.new_owner(), owners.new_owner()
    run = shop.ledger.get(shop.refund().run_id)
    with shop.ledger.database.write() as tx:
        tx.execute("UPDATE run SET lease_owner = ?, lease_until = 'then'", (other,))
    shop.ledger.renew([(owner, run.id)])
    assert shop.ledger.get(run.id).lease_until == "then"
    shop.ledger.renew([(other, run.id)])
    assert shop.ledger.get(run.id).lease_until > "2026"


def test_the_run_of_a_machine_that_died_is_taken_over_when_its_lease_ends(shop, tmp_path):
    """Nothing but the lease tells that it is dead; its refund had arrived."""
    shop.sandbox.fault("POST /refunds", "late:30s")
    code = CHILD.replace("performer.run(", f"performer.ledger.lease_s = {LEASE_S}\nperformer.run(")
    child = subprocess.Popen([sys.executable, "-c", ELSEWHERE + code, str(tmp_path), shop.sandbox.url], cwd=ROOT)
    while child.poll() is None and not shop.effects("refund"):
        time.sleep(0.01)
    time.sleep(LEASE_S + 0.2)
    assert shop.performer.waiting() == []  # it is alive, and says so
    child.kill()
    killed = time.monotonic()
    assert child.wait() == -9
    while not shop.performer.waiting():
        assert time.monotonic() - killed < LEASE_S + 5
        time.sleep(0.02)
    shop.performer.in_flight = timedelta(seconds=30)
    (run_id,) = shop.performer.waiting()
    assert shop.performer.advance(run_id).status == "succeeded"
    assert len(shop.sandbox.ledger) == 1


def test_a_keeper_ends_with_its_ledger(tmp_path, database_url):
    ledger = Ledger.open(ledger_beside(database_url), lease_s=60, audit_key=tmp_path / "audit.key")
    with ledger.keeper.holding("run_1", "me"):
        thread = ledger.keeper._thread
        assert thread is not None
        assert thread.is_alive()
    ledger.close()
    assert not thread.is_alive()
