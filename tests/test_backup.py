"""Copies of the databases taken while the hub runs, and what happens when one is put back."""

import json
import shutil
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.app import App, backups
from hub.app.setup import audit_key
from hub.cli import run as hub
from hub.config import ledger_beside, load
from hub.errors import ConfigError, Conflict, Temporary
from hub.ledger import Ledger, Move, NewRun, NewStep, verify
from hub.store import Database, Store


def wish(key, **more):
    given = {"action": "a", "principal": "p", "body_hash": "h", "request": b"{}", "plan": b"{}"}
    return NewRun(**(given | {"idempotency_key": key, "steps": (NewStep("c", b"{}"),)} | more))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "config.toml").write_text("[hub]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HUB_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def ledger(folder):
    Store.open(f"sqlite:///{folder / 'hub.db'}").close()
    ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
    yield ledger
    ledger.close()


def opened(folder):
    return Ledger.open(f"sqlite:///{folder / 'ledger.db'}")


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_backup_is_one_moment_of_both_databases_and_has_no_key(ledger, folder):
    ledger.claim(wish("k1"), owner="me")
    manifest = backups.backup(None, folder / "copy")
    assert files(folder / "copy") == ["audit.head", "hub.db", "ledger.db", "manifest.json"]
    assert json.loads((folder / "copy" / "manifest.json").read_text()) == manifest
    assert manifest["databases"]["ledger"]["rows"] == {
        "approval": 0,
        "audit": 1,
        "money_freeze": 0,
        "principal_key": 0,
        "run": 1,
        "step": 1,
    }
    assert manifest["databases"]["hub"]["version"] is not None
    assert (folder / "copy").stat().st_mode & 0o077 == 0
    assert (folder / "copy" / "ledger.db").stat().st_mode & 0o077 == 0
    assert [path for path in files(folder) if "partial" in path] == []


def test_a_backup_taken_while_runs_are_made_is_whole(ledger, folder):
    stop = threading.Event()

    def make():
        number = 0
        while not stop.is_set():
            run, _ = ledger.claim(wish(f"k{number}"), owner="me")
            ledger.finish(run.id, "succeeded", b"{}")
            number += 1

    thread = threading.Thread(target=make)
    thread.start()
    try:
        counts = [backups.backup(None, folder / f"copy{n}")["databases"]["ledger"]["rows"] for n in range(4)]
    finally:
        stop.set()
        thread.join()
    for number, count in enumerate(counts):
        assert count["run"] == count["step"]
        copy = folder / f"copy{number}"
        with sqlite3.connect(copy / "ledger.db") as raw:
            assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        raw.close()
        shutil.copy(folder / "audit.key", copy / "audit.key")
        again = Ledger.open(f"sqlite:///{copy / 'ledger.db'}")
        assert verify(again.audit).ok
        again.close()


def test_a_backup_never_writes_over_anything(ledger, folder):
    (folder / "copy").mkdir()
    backups.backup(None, folder / "copy")
    with pytest.raises(ConfigError, match="new or empty"):
        backups.backup(None, folder / "copy")
    with pytest.raises(ConfigError, match="new or empty"):
        backups.backup(None, folder / "config.toml")


def test_without_a_ledger_there_is_nothing_to_copy(folder):
    with pytest.raises(ConfigError, match="no such database"):
        backups.backup(None, folder / "copy")
    assert files(folder) == ["config.toml"]


def test_only_sqlite_is_copied(folder):
    (folder / "config.toml").write_text('[hub]\ndatabase_url = "postgresql://u@h/d"\n')
    with pytest.raises(ConfigError, match="pg_dump"):
        backups.backup(None, folder / "copy")


def test_a_restore_brings_the_copy_back_and_keeps_what_was_there(ledger, folder):
    first, _ = ledger.claim(wish("k1"), owner="me")
    ledger.finish(first.id, "succeeded", b"{}")
    backups.backup(None, folder / "copy")
    second, _ = ledger.claim(wish("k2"), owner="me")
    ledger.close()
    report = backups.restore(None, folder / "copy")
    assert report["open_runs"] == []
    assert report["missing_runs"] == [second.id]
    assert report["audit"] == {"ok": True, "problems": []}
    again = opened(folder)
    assert [run.id for run in again.runs()] == [first.id]
    found = verify(again.audit)
    assert (found.ok, [row.kind for row in again.audit.rows()][-1]) == (True, "restored")
    again.close()
    (aside,) = map(Path, report["aside"])
    assert {"hub.db", "ledger.db", "audit.head"} <= set(files(aside))
    with sqlite3.connect(aside / "ledger.db") as raw:
        assert raw.execute("SELECT count(*) FROM run").fetchone() == (2,)
    raw.close()
    assert not [name for name in files(folder) if name.startswith(".restoring")]


def test_a_restored_database_is_written_as_before(ledger, folder):
    backups.backup(None, folder / "copy")
    ledger.close()
    backups.restore(None, folder / "copy")
    for branch in ("hub", "ledger"):
        database = Database(f"sqlite:///{folder / branch}.db", branch)
        with database.write() as tx:
            assert tx.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        database.close()


def test_every_open_run_of_a_backup_is_in_doubt(ledger, folder):
    made = {}
    for name in ("planned", "sending", "unknown", "done", "failed"):
        run, _ = ledger.claim(wish(name), owner="me")
        made[name] = run.id
        if name == "planned":
            continue
        step = ledger.begin(run.steps[0], owner="me")
        if name == "unknown":
            ledger.settle(step, Move("unknown"), closing=lambda _: ("unknown", b"{}"))
        elif name in ("done", "failed"):
            state = "succeeded" if name == "done" else "failed"
            ledger.settle(step, Move(name), closing=lambda _, state=state: (state, b"{}"))
    backups.backup(None, folder / "copy")
    taken_at = json.loads((folder / "copy" / "manifest.json").read_text())["at"]
    before = datetime.now(UTC)
    ledger.close()
    report = backups.restore(None, folder / "copy")
    again = opened(folder)
    runs = {name: again.get(run_id) for name, run_id in made.items()}
    assert sorted(report["open_runs"]) == sorted(made[name] for name in ("planned", "sending", "unknown"))
    assert again.waiting() == sorted(report["open_runs"])
    for name in ("planned", "sending", "unknown"):
        (step,) = runs[name].steps
        assert (step.state, step.attempt) == ("sending", 1)
        assert datetime.fromisoformat(step.sent_at) >= before.replace(microsecond=0)
    assert runs["planned"].steps[0].first_sent_at == taken_at
    assert runs["sending"].steps[0].first_sent_at < taken_at
    assert [(runs[n].state, runs[n].steps[0].state) for n in ("done", "failed")] == [
        ("succeeded", "done"),
        ("failed", "failed"),
    ]
    (row,) = [row for row in again.audit.rows() if row.kind == "restored"]
    assert row.as_dict()["facts"]["runs"] == report["open_runs"]
    again.close()


def test_a_run_that_waits_for_something_else_is_in_doubt_too(ledger, folder):
    """Queued, or held for approval: it may have been let go and sent after the copy was taken."""
    run, _ = ledger.claim(wish("k1", state="needs_approval"), owner="")
    backups.backup(None, folder / "copy")
    ledger.close()
    assert backups.restore(None, folder / "copy")["open_runs"] == [run.id]
    again = opened(folder)
    assert (again.get(run.id).state, again.get(run.id).steps[0].state) == ("unknown", "sending")
    assert again.get(run.id).plan == b'{"look_up_only": true}'
    again.close()


def test_a_restore_waits_for_nobody_and_touches_nothing_while_a_hub_is_open(ledger, folder):
    backups.backup(None, folder / "copy")
    with pytest.raises(Conflict, match="has it open") as caught:
        backups.restore(None, folder / "copy")
    assert caught.value.error_code == "database_in_use"
    ledger.close()
    with App.open(folder / "config.toml") as app:
        app.ready()
        with pytest.raises(Conflict):
            backups.restore(None, folder / "copy")
    assert not [name for name in files(folder) if name.startswith("before-restore")]
    backups.restore(None, folder / "copy")


def test_no_hub_opens_while_a_restore_is_under_way(ledger, folder, monkeypatch):
    backups.backup(None, folder / "copy")
    ledger.close()
    real = backups._swapped

    def swapped(*args):
        with pytest.raises(Temporary, match="being restored"):
            opened(folder)
        return real(*args)

    monkeypatch.setattr(backups, "_swapped", swapped)
    backups.restore(None, folder / "copy")
    opened(folder).close()


def test_a_backup_that_is_not_whole_is_refused(ledger, folder):
    backups.backup(None, folder / "copy")
    ledger.close()
    before = (folder / "ledger.db").read_bytes()
    with (folder / "copy" / "ledger.db").open("r+b") as file:
        file.seek(-10, 2)
        file.write(b"0123456789")
    with pytest.raises(ConfigError, match="not as its manifest says"):
        backups.restore(None, folder / "copy")
    assert (folder / "ledger.db").read_bytes() == before


@pytest.mark.parametrize("spoil", ["gone", "garbage", "other format", "half"])
def test_what_is_no_backup_is_refused(ledger, folder, spoil):
    manifest = backups.backup(None, folder / "copy")
    ledger.close()
    file = folder / "copy" / "manifest.json"
    texts = {
        "garbage": "{",
        "other format": json.dumps(manifest | {"format": 2}),
        "half": json.dumps(manifest | {"databases": {"hub": manifest["databases"]["hub"]}}),
    }
    file.unlink() if spoil == "gone" else file.write_text(texts[spoil])
    with pytest.raises(ConfigError, match="backup"):
        backups.restore(None, folder / "copy")


def test_a_backup_of_a_newer_deskhub_is_refused(ledger, folder):
    manifest = backups.backup(None, folder / "copy")
    ledger.close()
    manifest["databases"]["ledger"]["version"] = "9999"
    (folder / "copy" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match="newer Deskhub"):
        backups.restore(None, folder / "copy")


def test_without_the_key_of_the_audit_nothing_is_restored(ledger, folder):
    ledger.claim(wish("k1"), owner="me")
    backups.backup(None, folder / "copy")
    ledger.close()
    (folder / "audit.key").unlink()
    before = (folder / "ledger.db").read_bytes()
    with pytest.raises(ConfigError, match="put it back"):
        backups.restore(None, folder / "copy")
    assert (folder / "ledger.db").read_bytes() == before


def test_a_backup_is_restored_where_there_was_nothing(ledger, folder):
    run, _ = ledger.claim(wish("k1"), owner="me")
    backups.backup(None, folder / "copy")
    ledger.close()
    for name in ("hub.db", "ledger.db", "audit.head"):
        (folder / name).unlink()
    report = backups.restore(None, folder / "copy")
    assert (report["open_runs"], report["missing_runs"]) == ([run.id], [])
    again = opened(folder)
    assert verify(again.audit).ok
    again.close()


def test_a_ledger_that_cannot_be_read_is_replaced_and_kept(ledger, folder):
    backups.backup(None, folder / "copy")
    ledger.close()
    (folder / "ledger.db").write_bytes(b"no database at all" * 1000)
    report = backups.restore(None, folder / "copy")
    assert report["missing_runs"] is None
    (aside,) = map(Path, report["aside"])
    assert (aside / "ledger.db").read_bytes().startswith(b"no database")
    opened(folder).close()


def test_the_engine_forgets_what_it_did(ledger, folder):
    """Its jobs have fixed ids; one that was done before the restore would never run again."""
    (folder / "engine.db").write_bytes(b"jobs")
    backups.backup(None, folder / "copy")
    ledger.close()
    (aside,) = map(Path, backups.restore(None, folder / "copy")["aside"])
    assert not (folder / "engine.db").exists()
    assert (aside / "engine.db").read_bytes() == b"jobs"


def test_a_tampered_audit_is_restored_and_told(ledger, folder):
    run, _ = ledger.claim(wish("k1"), owner="me")
    ledger.finish(run.id, "succeeded", b"{}")
    with ledger.database.write() as tx:
        tx.execute("UPDATE audit SET facts = '{}' WHERE seq = 1")
    backups.backup(None, folder / "copy")
    ledger.close()
    report = backups.restore(None, folder / "copy")
    assert report["audit"] == {"ok": False, "problems": ["row 1 was changed after being written"]}


def test_the_commands_say_what_they_did(ledger, folder, capsys):
    run, _ = ledger.claim(wish("k1"), owner="me")
    assert hub(["db", "backup", "copy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == 1
    late, _ = ledger.claim(wish("k2"), owner="me")
    assert hub(["db", "restore", "copy"]) == 1
    assert "hub serve" in capsys.readouterr().err
    ledger.close()
    assert hub(["db", "restore", "copy"]) == 0
    told = capsys.readouterr().out
    assert "1 run was open" in told
    assert f"{late.id} was made after the copy" in told
    assert run.id not in told
    assert hub(["db", "backup", "copy"]) == 2
    assert hub(["db", "restore", "nothing"]) == 2


def test_a_folder_where_nothing_can_be_kept_is_told_in_one_line(folder):
    (folder / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be kept there"):
        Store.open(f"sqlite:///{folder / 'file' / 'hub.db'}")


def test_a_ledger_that_other_tools_put_back_is_in_doubt(database_url, tmp_path, monkeypatch):
    """pg_restore, or a snapshot of the disk: what the copy has as planned may have been sent since."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(f'[hub]\ndatabase_url = "{database_url}"\n')
    ledger = Ledger.open(ledger_beside(database_url), audit_key=audit_key(load(tmp_path / "config.toml")))
    runs = {}
    for state in ("running", "needs_approval", "queued"):
        steps = () if state == "queued" else (NewStep("c", b"{}"),)
        runs[state] = ledger.claim(wish(state, state=state, steps=steps), owner="me")[0].id
    ledger.close()
    with pytest.raises(ConfigError, match="expected the time"):
        backups.restored(None, "yesterday")
    report = backups.restored(None, "2026-01-31T08:00:00+01:00")
    assert (sorted(report["open_runs"]), report["copied_at"]) == (sorted(runs.values()), "2026-01-31T07:00:00.000Z")
    assert report["audit"]["ok"]
    again = Ledger.open(ledger_beside(database_url), audit_key=audit_key(load(tmp_path / "config.toml")))
    try:
        found = {state: again.get(run_id) for state, run_id in runs.items()}
        assert {state: run.state for state, run in found.items()} == {
            "running": "running",
            "needs_approval": "unknown",
            "queued": "unknown",
        }
        assert [found[state].steps[0].state for state in ("running", "needs_approval")] == ["sending", "sending"]
        assert again.waiting() == sorted(runs.values())
    finally:
        again.close()
