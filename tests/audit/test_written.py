"""The audit chain: what is written when a run, a key or a policy changes, in the same transaction, by any process."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hub.access import Keys
from hub.ledger import Move, seen, seen_in
from tests.audit.books import Books, act, checked, wish

ROOT = Path(__file__).parents[2]


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
