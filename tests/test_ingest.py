"""Ingest: a page becomes rows, rejects, tombstones, links, events and a cursor, in one transaction."""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.connector import Page
from hub.ingest import Counts, PageCommit, ingest
from hub.mapping import CompiledMapping, Source, compile_mapping
from hub.records import birth_id
from hub.store import Store, cursors, raw
from tests.stores import refuse_events, watch, wipe

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAPPING = """
[tickets]
kind       = "ticket"
key        = "id"
updated_at = "changed"
where      = { shape = ["ticket"] }
deleted    = { state = "deleted" }

[tickets.fields]
number       = "no"
subject      = "subject"
customer_ref = { ref = "people", from = "person" }
updated_at   = { from = "changed", as = "iso8601" }

[tickets.fields.status]
from      = "state"
values    = { open = "open", closed = "closed" }
otherwise = "unknown"

[tickets.fields.priority]
from      = "priority"
values    = { high = "high" }
otherwise = "reject"

[people]
kind  = "customer"
key   = "id"
where = { role = "customer" }
[people.fields]
display_name = "name"
email        = "mail"

[staff]
stream = "people"
kind   = "agent"
key    = "id"
where  = { role = "agent" }
[staff.fields]
display_name = "name"

[notes]
stream = "tickets"
each   = "notes"
kind   = "message"
key    = "id"
[notes.fields]
ticket_ref = { ref = "tickets", from = "^.id" }
visibility = { from = "public", values = { true = "public", false = "internal" }, otherwise = "internal" }
body_text  = "text"
"""
SCAN = cursors.Scan(int(NOON.timestamp() * 1000), sweeps=True)


class Desk:
    """A store with one connection, and the words to put pages into it."""

    def __init__(self, store: Store, mapping: CompiledMapping) -> None:
        self.store, self.mapping = store, mapping

    def put(
        self, records: Any, *, stream: str = "tickets", at: int = 0, page: dict[str, Any] | None = None, **more: Any
    ) -> Counts:
        """Ingest a page asked for `at` minutes after noon."""
        made = Page(records=records, **(page or {}))
        mapped = self.mapping.map_page(stream, made)
        read_at = NOON + timedelta(minutes=at)
        connection = more.pop("connection", "desk")
        commit = PageCommit(
            connection, stream, mapped, made, read_at, self.mapping.revision, cursor=made.cursor, **more
        )
        return ingest(self.store, commit)

    def rows(self, sql: str, *values: Any) -> list[Any]:
        with self.store.read() as tx:
            return tx.execute(sql, values).fetchall()

    def bodies(self, kind: str = "ticket") -> dict[str, Any]:
        """Give the living bodies of a kind by remote id."""
        rows = self.rows("SELECT remote_id, body FROM record WHERE kind = ? AND deleted_at IS NULL", kind)
        return {remote_id: json.loads(body) for remote_id, body in rows}

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        return [
            (kind, json.loads(changes)) for kind, changes in self.rows("SELECT kind, changes FROM event ORDER BY id")
        ]


@pytest.fixture(scope="module")
def mapping() -> CompiledMapping:
    return compile_mapping(Source(MAPPING, "mappings/desk.toml"))


@pytest.fixture
def desk(database_url: str, mapping: CompiledMapping) -> Iterator[Desk]:
    store = Store.open(database_url)
    yield Desk(store, mapping)
    store.close()


def ticket(id: int, changed: int = 0, **more: Any) -> dict[str, Any]:
    time = (NOON - timedelta(days=1) + timedelta(minutes=changed)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"id": id, "shape": "ticket", "no": f"T-{id}", "subject": "Hello", "state": "open", "changed": time} | more


def ticket_id(remote_id: int) -> str:
    return birth_id("ticket", "desk", "tickets", str(remote_id))


def test_a_page_is_stored_with_bodies_events_and_cursor(desk: Desk) -> None:
    counts = desk.put([ticket(1), ticket(2)], page={"cursor": "c1"})
    assert (counts.read, counts.changed, counts.rejected) == (2, 2, 0)
    assert desk.bodies()["1"]["subject"] == "Hello"
    assert desk.events() == [("ticket", {"created": [ticket_id(1), ticket_id(2)]})]
    assert desk.rows("SELECT cursor FROM cursor") == [("c1",)]
    assert desk.rows("SELECT connection, revision FROM mapping_revision") == [("desk", desk.mapping.revision)]


def test_a_page_met_before_writes_nothing_but_the_cursor(desk: Desk) -> None:
    page = [ticket(1), ticket(2, notes=[{"id": 9, "text": "hm", "public": True}]), ticket(3, priority="odd")]
    people = [{"id": 1, "role": "customer", "name": "Ada", "mail": "ada@x.example"}]
    desk.put(page)
    desk.put(people, stream="people")
    with desk.store.write() as tx:
        watch(tx)
    counts = desk.put(page, at=5, page={"cursor": "c2"})
    again = desk.put(people, stream="people", at=5)
    assert (counts.read, counts.changed, counts.rejected, again.changed) == (3, 0, 1, 0)
    assert set(desk.rows("SELECT what FROM touched")) == {("UPDATE cursor",)}


def test_only_what_changed_is_written_and_told(desk: Desk) -> None:
    desk.put([ticket(n) for n in range(1, 6)])
    counts = desk.put([ticket(n, changed=1, subject="New" if n == 3 else "Hello") for n in range(3, 4)], at=1)
    assert counts.changed == 1
    assert desk.events()[-1] == ("ticket", {"updated": [ticket_id(3)]})
    assert {n: body["subject"] for n, body in desk.bodies().items() if body["subject"] != "Hello"} == {"3": "New"}


def test_what_no_field_maps_is_kept_raw_without_an_event(desk: Desk) -> None:
    desk.put([ticket(1)])
    counts = desk.put([ticket(1, unmapped="new")], at=1)
    assert (counts.changed, len(desk.events())) == (0, 1)
    place = desk.rows("SELECT block, idx FROM state")
    with desk.store.read() as tx:
        assert json.loads(raw.read(tx, place)[0])["unmapped"] == "new"


def test_raw_bytes_are_kept_as_they_came(desk: Desk, mapping: CompiledMapping) -> None:
    body = b'{"tickets": [ {"id": 1,  "shape":"ticket", "changed":"2026-01-01T00:00:00Z", "x": 1.10} ]}'
    page = Page(body=body, at="tickets")
    ingest(desk.store, PageCommit("desk", "tickets", mapping.map_page("tickets", page), page, NOON, mapping.revision))
    place = desk.rows("SELECT block, idx FROM state")
    with desk.store.read() as tx:
        assert raw.read(tx, place) == [b'{"id": 1,  "shape":"ticket", "changed":"2026-01-01T00:00:00Z", "x": 1.10}']


def test_an_older_version_never_overwrites_a_newer_one(desk: Desk) -> None:
    desk.put([ticket(1, changed=5, subject="new")], at=0)
    desk.put([ticket(1, changed=2, subject="old")], at=10)
    assert desk.bodies()["1"]["subject"] == "new"


def test_without_versions_what_was_asked_for_later_wins(desk: Desk) -> None:
    person = {"id": 1, "role": "customer"}
    desk.put([person | {"name": "later"}], stream="people", at=5)
    desk.put([person | {"name": "earlier"}], stream="people", at=4)
    assert desk.bodies("customer")["1"]["display_name"] == "later"


def test_observed_at_stands_in_for_a_version(desk: Desk) -> None:
    person = {"id": 1, "role": "customer"}
    desk.put([person | {"name": "new"}], stream="people", at=1, page={"observed_at": NOON})
    desk.put([person | {"name": "old"}], stream="people", at=2, page={"observed_at": NOON - timedelta(hours=1)})
    assert desk.bodies("customer")["1"]["display_name"] == "new"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(order=st.permutations(range(4)), cut=st.integers(1, 4))
def test_pages_may_come_in_any_order(desk: Desk, order: list[int], cut: int) -> None:
    with desk.store.write() as tx:
        wipe(tx)
    versions = [ticket(1, changed=n, subject=f"version {n}") for n in range(4)]
    for part in (order[:cut], order[cut:]):
        desk.put([versions[n] for n in part], at=10)
    assert desk.bodies()["1"]["subject"] == "version 3"


def test_of_two_records_with_one_id_in_a_page_the_newest_counts(desk: Desk) -> None:
    counts = desk.put([ticket(1, changed=3, subject="new"), ticket(1, changed=1, subject="old")])
    assert (counts.read, counts.changed, desk.bodies()["1"]["subject"]) == (2, 1, "new")


def test_a_record_the_vendor_marks_deleted_becomes_a_tombstone(desk: Desk) -> None:
    desk.put([ticket(1), ticket(2)])
    counts = desk.put([ticket(1, changed=1, state="deleted")], at=1)
    assert (counts.deleted, list(desk.bodies())) == (1, ["2"])
    assert desk.events()[-1] == ("ticket", {"deleted": [ticket_id(1)]})


def test_ids_that_a_page_names_as_gone_become_tombstones_once(desk: Desk) -> None:
    desk.put([ticket(1)])
    for at in (1, 2):
        counts = desk.put([], at=at, page={"deleted": ["1", "unheard of"]})
        assert counts.tables["tickets"].read == 2
        assert counts.tables["tickets"].deleted == 1
    assert desk.bodies() == {}
    assert len(desk.events()) == 2


def test_a_tombstone_is_not_undone_by_a_read_that_began_before(desk: Desk) -> None:
    desk.put([ticket(1)])
    desk.put([], at=5, page={"deleted": ["1"]})
    desk.put([ticket(1, changed=9)], at=4)
    assert desk.bodies() == {}
    desk.put([ticket(1, changed=9)], at=6)
    assert list(desk.bodies()) == ["1"]
    assert desk.events()[-1] == ("ticket", {"updated": [ticket_id(1)]})


def test_a_deletion_known_before_the_record_was_read_is_old_news(desk: Desk) -> None:
    desk.put([ticket(1)], at=5)
    desk.put([], at=4, page={"deleted": ["1"]})
    assert list(desk.bodies()) == ["1"]


def test_a_person_who_changes_sides_leaves_the_one_table_and_enters_the_other(desk: Desk) -> None:
    desk.put([{"id": 7, "role": "customer", "name": "Kim"}], stream="people")
    counts = desk.put([{"id": 7, "role": "agent", "name": "Kim"}], stream="people", at=1)
    assert (counts.tables["people"].deleted, counts.tables["staff"].changed) == (1, 1)
    assert (desk.bodies("customer"), list(desk.bodies("agent"))) == ({}, ["7"])


@pytest.mark.parametrize("last", ["customer", "agent"])
def test_of_a_record_that_a_page_tells_of_twice_the_last_word_decides_its_table(desk: Desk, last: str) -> None:
    first = "agent" if last == "customer" else "customer"
    page = [{"id": 1, "role": first, "name": "A"}, {"id": 1, "role": last, "name": "A"}]
    for at in range(2):
        desk.put(page, stream="people", at=at)
        assert (list(desk.bodies(last)), list(desk.bodies(first))) == (["1"], [])


def test_of_a_record_deleted_and_made_anew_within_a_page_the_last_word_counts(desk: Desk) -> None:
    gone, there = ticket(1) | {"state": "deleted"}, ticket(1, 5)
    desk.put([ticket(1)])
    desk.put([gone, there], at=1)
    assert list(desk.bodies()) == ["1"]
    desk.put([ticket(1, 6), ticket(1, 6) | {"state": "deleted"}], at=2)
    assert desk.bodies() == {}


def test_a_reject_goes_when_the_vendor_names_its_record_as_deleted(desk: Desk) -> None:
    desk.put([ticket(1, priority="odd")])
    assert desk.rows("SELECT count(*) FROM reject") == [(1,)]
    desk.put([], at=1, page={"deleted": ["1"]})
    assert desk.rows("SELECT count(*) FROM reject") == [(0,)]


def test_a_record_that_does_not_map_is_kept_with_the_reason_and_the_page_goes_on(desk: Desk) -> None:
    counts = desk.put([ticket(1), ticket(2, priority="odd"), {"shape": "ticket"}])
    assert (counts.tables["tickets"].changed, counts.rejected) == (1, 2)
    named, nameless = desk.rows("SELECT remote_id, field, revision, data FROM reject ORDER BY remote_id DESC")
    assert named[:3] == ("2", "priority", desk.mapping.revision)
    assert json.loads(named[3])["priority"] == "odd"
    assert nameless[0].startswith("#")


def test_a_reject_is_kept_once_and_goes_when_the_record_maps(desk: Desk) -> None:
    for at, priority in enumerate(("odd", "odd", "strange")):
        desk.put([ticket(1, priority=priority)], at=at)
        assert len(desk.rows("SELECT * FROM reject")) == 1
    assert json.loads(desk.rows("SELECT data FROM reject")[0][0])["priority"] == "strange"
    desk.put([ticket(1, priority="high")], at=9)
    assert desk.rows("SELECT * FROM reject") == []


def test_a_record_that_maps_no_more_stays_as_it_was(desk: Desk) -> None:
    desk.put([ticket(1, subject="good")])
    desk.put([ticket(1, changed=1, priority="odd", subject="bad")], at=1)
    assert desk.bodies()["1"]["subject"] == "good"


def test_records_inside_a_record_are_stored_with_their_parent_and_their_visibility(desk: Desk) -> None:
    notes = [{"id": 1, "text": "to you", "public": True}, {"id": 2, "text": "to us", "public": False}]
    counts = desk.put([ticket(1, notes=notes)])
    assert (counts.tables["notes"].read, counts.tables["notes"].changed) == (2, 2)
    assert {n: body["visibility"] for n, body in desk.bodies("message").items()} == {"1": "public", "2": "internal"}
    assert len(desk.rows("SELECT DISTINCT block, idx FROM state")) == 1


def test_ids_of_deleted_records_are_not_those_of_what_was_inside_them(desk: Desk) -> None:
    desk.put([ticket(1, notes=[{"id": 1, "text": "oh", "public": True}])])
    counts = desk.put([], at=1, page={"deleted": ["1"]}, elements=frozenset({"notes"}))
    assert (desk.bodies(), list(desk.bodies("message"))) == ({}, ["1"])
    assert (counts.tables["notes"].read, counts.tables["notes"].deleted) == (0, 0)


def test_a_note_made_private_upstream_is_private_here(desk: Desk) -> None:
    desk.put([ticket(1, notes=[{"id": 1, "text": "oh", "public": True}])])
    desk.put([ticket(1, changed=1, notes=[{"id": 1, "text": "oh", "public": False}])], at=1)
    assert desk.bodies("message")["1"]["visibility"] == "internal"


def test_what_a_complete_scan_does_not_meet_is_gone(desk: Desk) -> None:
    desk.put([ticket(n) for n in range(1, 4)], at=-5)
    desk.put([ticket(1)], at=1, scan=SCAN)
    counts = desk.put([ticket(3, priority="odd")], at=2, scan=SCAN, page={"complete": True})
    assert (counts.tables["tickets"].deleted, set(desk.bodies()), counts.fuse) == (1, {"1", "3"}, None)
    assert desk.events()[-1] == ("ticket", {"deleted": [ticket_id(2)]})


def test_a_great_many_gone_at_once_are_told_as_few_would_be(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand at a time in life, two here; some live on in another connection."""
    people = [{"id": n, "role": "customer", "name": f"N {n}", "mail": f"m{n}@x.example"} for n in range(14)]
    told = []
    for at_once in (2, 4000):
        monkeypatch.setattr("hub.ingest.gone._AT_ONCE", at_once)
        monkeypatch.setattr(sys.modules["hub.identity.settle"], "_AT_ONCE", at_once)
        with desk.store.write() as tx:
            wipe(tx)
        desk.put(people, stream="people", at=-5)
        desk.put(people[10:], stream="people", at=-5, connection="shop")
        scan = cursors.Scan(SCAN.began_at, sweeps=True)
        desk.put([people[0]], stream="people", at=1, scan=scan, page={"complete": True}, fuse=1.0)
        assert set(desk.bodies("customer")) == {"0", "10", "11", "12", "13"}
        kind, changes = desk.events()[-1]
        told.append((kind, {change: sorted(map(str, ids)) for change, ids in changes.items()}))
    assert told[0] == told[1]
    assert {change: len(ids) for change, ids in told[0][1].items()} == {"deleted": 9, "updated": 4}


def test_a_scan_that_is_not_proved_complete_deletes_nothing(desk: Desk) -> None:
    desk.put([ticket(n) for n in range(1, 4)], at=-5)
    desk.put([ticket(1)], at=1, scan=SCAN)
    desk.put([], at=1, scan=cursors.Scan(SCAN.began_at, sweeps=False), page={"complete": True})
    assert set(desk.bodies()) == {"1", "2", "3"}


def test_what_was_read_after_the_scan_began_is_not_deleted_by_it(desk: Desk) -> None:
    desk.put([ticket(1)], at=-5)
    desk.put([ticket(2)], at=1, advance=False)
    desk.put([ticket(1)], at=2, scan=SCAN, page={"complete": True})
    assert set(desk.bodies()) == {"1", "2"}


def test_what_is_fetched_unchanged_while_a_scan_runs_is_not_deleted_by_it(desk: Desk) -> None:
    desk.put([ticket(1), ticket(2)], at=-5)
    assert desk.put([ticket(2)], at=1, advance=False).changed == 0
    counts = desk.put([ticket(1)], at=2, scan=SCAN, page={"complete": True}, fuse=1.0)
    assert (counts.deleted, set(desk.bodies())) == (0, {"1", "2"})


def test_what_was_fetched_unchanged_is_not_overwritten_by_what_was_asked_for_before(desk: Desk) -> None:
    person = {"id": 1, "role": "customer", "name": "as it is"}
    desk.put([person], stream="people", at=1)
    desk.put([person], stream="people", at=5, advance=False)
    desk.put([person | {"name": "for a moment"}], stream="people", at=3)
    desk.put([], stream="people", at=4, page={"deleted": ["1"]})
    assert desk.bodies("customer")["1"]["display_name"] == "as it is"


@pytest.mark.parametrize("later_first", [True, False])
def test_two_scans_at_once_delete_nothing_that_either_has_met(desk: Desk, later_first: bool) -> None:
    later = cursors.Scan(SCAN.began_at + 60_000, sweeps=True)
    desk.put([ticket(1)], at=-9)
    for scan in (later, SCAN) if later_first else (SCAN, later):
        desk.put([ticket(1)], at=2, scan=scan)
    for scan in (SCAN, later):
        desk.put([], at=3, scan=scan, page={"complete": True})
    assert list(desk.bodies()) == ["1"]


def test_a_scan_that_would_delete_too_much_deletes_nothing_and_says_why(desk: Desk) -> None:
    desk.put([ticket(n) for n in range(40)], at=-5)
    counts = desk.put([ticket(n) for n in range(29)], at=1, scan=SCAN, page={"complete": True})
    assert counts.fuse is not None
    assert "did not meet 11 of 40 records" in counts.fuse
    assert len(desk.bodies()) == 40
    counts = desk.put([ticket(n) for n in range(30)], at=2, scan=SCAN, page={"complete": True})
    assert (counts.fuse, len(desk.bodies())) == (None, 30)


def test_a_complete_scan_without_a_cursor_begins_anew_the_next_time(desk: Desk) -> None:
    desk.put([ticket(1)], scan=SCAN, page={"cursor": "row 1"})
    assert desk.rows("SELECT cursor, scan FROM cursor") == [("row 1", SCAN.began_at)]
    desk.put([ticket(2)], scan=SCAN, page={"complete": True})
    assert desk.rows("SELECT cursor, scan FROM cursor") == [(None, None)]


def test_a_page_without_a_cursor_keeps_the_stored_one(desk: Desk) -> None:
    desk.put([ticket(1)], page={"cursor": "c1"})
    desk.put([ticket(2)], at=1)
    desk.put([ticket(3)], at=2, advance=False, page={"cursor": "of a fetch"})
    assert desk.rows("SELECT cursor FROM cursor") == [("c1",)]


def test_a_page_that_cannot_be_written_whole_is_not_written_at_all(desk: Desk) -> None:
    with desk.store.write() as tx:
        refuse_events(tx, "disk full")
    with pytest.raises(Exception, match="disk full"):
        desk.put([ticket(1)], page={"cursor": "c1"})
    for table in ("record", "state", "raw", "source", "cursor"):
        assert desk.rows(f"SELECT * FROM {table}") == []


def test_values_that_reads_filter_by_are_in_columns(desk: Desk) -> None:
    desk.put([{"id": 1, "role": "customer", "name": "Ada", "mail": " Ada@X.example "}], stream="people")
    desk.put([ticket(5, person=1)])
    people, tickets = (desk.rows("SELECT id FROM source WHERE name = ?", name)[0][0] for name in ("people", "tickets"))
    assert desk.rows("SELECT email, name FROM record WHERE source_id = ?", people) == [("ada@x.example", "Ada")]
    columns = "SELECT number, status, customer FROM record WHERE source_id = ?"
    assert desk.rows(columns, tickets) == [("T-5", "open", f"{people}:1")]


@pytest.mark.parametrize("count", [1, 30])
def test_texts_with_nul_characters_are_stored_however_many(desk: Desk, count: int) -> None:
    for subject in ("a\0b", "a\0c"):
        desk.put([ticket(id, no=f"T\0{id}", subject=subject) for id in range(count)])
        assert [body["subject"] for body in desk.bodies().values()] == [subject] * count
    assert desk.put([ticket(id, no=f"T\0{id}", subject="a\0c") for id in range(count)]).changed == 0
    assert desk.rows("SELECT count(*) FROM record WHERE number = ?", "T\0" + "0") == [(1,)]


def test_bodies_are_what_the_mapping_made(desk: Desk, mapping: CompiledMapping) -> None:
    page = Page(records=[ticket(1), ticket(2)])
    made = {row.remote_id: row.body for row in mapping.map_page("tickets", page).tables["tickets"].rows}
    desk.put(page.records)
    assert dict(desk.rows("SELECT remote_id, body FROM record")) == made
    assert msgspec.json.decode(made["1"])["status_raw"] == "open"
