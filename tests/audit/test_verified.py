"""What `verify` finds: no change of the chain goes unnoticed, nor that its head or its key is not the one there was."""

import json
import sqlite3
from contextlib import closing

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.errors import ConfigError
from tests.audit.books import COLUMNS, LENGTH, Books, act, checked, named, wish
from tests.stores import ON_SQLITE


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
