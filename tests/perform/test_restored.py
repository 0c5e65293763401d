"""A ledger restored from an old copy: what was sent after the copy is looked up, never sent again."""

from datetime import timedelta

import pytest

from hub.access import OPERATOR
from hub.app import backups
from hub.errors import Conflict
from hub.ledger import verify
from hub.policy import parse_policy
from tests.perform.shop import PLENTY, Shop, ShopConnector, opened


class Lost(Exception):
    """The machine is gone at this moment."""


@pytest.fixture
def databases(sqlite_databases):
    """Copies are of files: those of Postgres are its own affair."""
    return sqlite_databases


@pytest.fixture
def config(tmp_path):
    (tmp_path / "config.toml").write_text("[hub]\n")
    return tmp_path / "config.toml"


def copied_when_planned(shop, config, monkeypatch, *, then_die=False):
    """Take a backup when the run is written and nothing is sent yet."""
    real = shop.ledger.begin

    def begin(step, **more):
        if not (config.parent / "copy").exists():
            backups.backup(config, config.parent / "copy")
            if then_die:
                raise Lost
        return real(step, **more)

    monkeypatch.setattr(shop.ledger, "begin", begin)


def restored(shop, config):
    """Stop the hub, restore, and start it again."""
    shop.connections.close()
    shop.store.close()
    shop.ledger.close()
    report = backups.restore(config, config.parent / "copy")
    performer = opened(config.parent, dict(shop.connections.settings.connections), PLENTY, ShopConnector)
    performer.in_flight = timedelta(0)
    return report, Shop(shop.sandboxes, performer.store, performer.ledger, performer.connections, performer)


@pytest.fixture
def stop():
    started = []
    yield started.append
    for shop in started:
        shop.connections.close()
        shop.store.close()
        shop.ledger.close()


def test_a_run_sent_after_the_copy_is_found_and_not_sent_again(shop, config, monkeypatch, stop):
    copied_when_planned(shop, config, monkeypatch)
    first = shop.refund()
    assert (first.status, shop.effects()) == ("succeeded", 1)
    report, again = restored(shop, config)
    stop(again)
    assert report["open_runs"] == [first.run_id]
    assert again.ledger.get(first.run_id).steps[0].state == "sending"
    sent = len(shop.sandbox.ledger)
    assert again.performer.waiting() == [first.run_id]
    result = again.performer.advance(first.run_id)
    assert (result.status, [effect.remote_id for effect in result.effects]) == ("succeeded", ["ref-1"])
    assert len(shop.sandbox.ledger) == sent  # it was looked up; no write went out
    assert again.refund().replayed
    assert shop.effects() == 1
    assert verify(again.ledger.audit).ok


def test_a_run_that_nobody_can_look_up_is_left_to_a_person(shop, config, monkeypatch, stop):
    copied_when_planned(shop, config, monkeypatch)
    first = shop.note()
    assert (first.status, shop.effects()) == ("succeeded", 1)
    _, again = restored(shop, config)
    stop(again)
    assert again.performer.advance(first.run_id).status == "unknown"
    assert shop.effects() == 1


def test_a_run_that_was_never_sent_is_sent_once_after_it_was_looked_up(shop, config, monkeypatch, stop):
    copied_when_planned(shop, config, monkeypatch, then_die=True)
    with pytest.raises(Lost):
        shop.refund()
    assert shop.effects() == 0
    report, again = restored(shop, config)
    stop(again)
    (run_id,) = report["open_runs"]
    assert again.performer.advance(run_id).status == "succeeded"
    assert shop.effects() == 1


@pytest.fixture
def waiting(build, config):
    """A hub whose backup was taken while a refund waited for a person."""
    ask = {"needs_approval": {"group": "leads", "four_eyes": False}}
    shop = build(policy=parse_policy({"rule": [{"action": "payment.refund", "verdict": ask}]}, "p"))
    run_id = shop.refund().run_id
    backups.backup(config, config.parent / "copy")
    return shop, run_id


def test_a_run_approved_after_the_copy_is_found_and_not_asked_about_again(waiting, config, stop):
    shop, run_id = waiting
    assert shop.performer.approving.approve(run_id, OPERATOR, asker=OPERATOR).status == "succeeded"
    _, again = restored(shop, config)
    stop(again)
    assert again.performer.advance(run_id).status == "succeeded"
    assert shop.effects() == 1
    with pytest.raises(Conflict):
        again.performer.approving.approve(run_id, OPERATOR, asker=OPERATOR)


def test_a_run_nobody_had_approved_is_not_sent_after_a_restore(waiting, config, stop):
    shop, run_id = waiting
    _, again = restored(shop, config)
    stop(again)
    result = again.performer.advance(run_id)
    assert (result.status, result.error["retryable"]) == ("failed", True)
    assert shop.sandbox.ledger == []
    assert again.refund(key="k2").status == "succeeded"  # the rules of the hub that was put back allow it


def test_a_run_that_was_only_accepted_is_left_to_a_person(shop, config, stop):
    class Nobody:
        def submit(self, *_):
            raise Lost

        def shutdown(self, **_): ...

    shop.performer._pool = Nobody()
    with pytest.raises(Lost):
        shop.refund(wait_ms=0)
    (run,) = shop.ledger.runs()
    backups.backup(config, config.parent / "copy")
    report, again = restored(shop, config)
    stop(again)
    assert report["open_runs"] == [run.id]
    result = again.performer.advance(run.id)
    assert (result.status, result.error["code"]) == ("needs_attention", "unknown")
    assert "put back" in result.error["human_message"]
    assert shop.sandbox.ledger == []


def test_what_may_still_be_under_way_is_not_sent_again(shop, config, monkeypatch, stop):
    copied_when_planned(shop, config, monkeypatch, then_die=True)
    with pytest.raises(Lost):
        shop.reply()
    report, again = restored(shop, config)
    stop(again)
    again.performer.in_flight = timedelta(hours=1)
    (run_id,) = report["open_runs"]
    assert again.performer.advance(run_id).status == "unknown"
    assert shop.effects() == 0


def test_what_was_asked_and_answered_is_not_in_the_audit(shop):
    shop.reply(body="MARKER body", why="MARKER reason", key="MARKER key")
    shop.refund(key="k2")
    shop.ledger.audit.close()
    rows = list(shop.ledger.audit.rows())
    assert [row.kind for row in rows].count("run_state") == 2
    dumped = repr(rows)
    for content in ("MARKER", "Ada", "5000", "sk_live", "goodwill", "mail.example.com"):
        assert content not in dumped
    assert verify(shop.ledger.audit).ok
