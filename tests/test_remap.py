"""Remap: a changed mapping is applied to the raw records that are kept, and the vendor is not asked."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hub import remap
from hub.config import ConnectionSettings
from hub.errors import Conflict
from hub.remap import stored
from hub.store import Store, raw
from tests.desk import MAPPING, NOON, Desk, counted, made, ticket
from tests.stores import dump, unwatch, watch


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    store = Store.open(database_url)
    yield Desk(store, made(MAPPING), ConnectionSettings(connector="desk"))
    store.close()


TITLE = ('subject      = "subject"', 'subject      = "title"')


def test_an_unchanged_mapping_changes_nothing_and_writes_no_row(desk: Desk) -> None:
    desk.put([ticket(id, notes=[{"id": id * 10, "draft": False, "text": "hm"}]) for id in range(1, 30)])
    with desk.store.write() as tx:
        watch(tx)
    report = desk.apply()
    with desk.store.write() as tx:
        touched = {row[0] for row in tx.execute("SELECT what FROM touched")}
        unwatch(tx)
    assert counted(report["tickets"]) == counted(report["notes"]) == {"same": 29}
    assert touched <= {"UPDATE source", "INSERT remap", "DELETE remap"}


def test_a_changed_field_is_applied_to_the_kept_records_with_one_event_each(desk: Desk) -> None:
    desk.put([ticket(1), ticket(2, title="Hello")], cursor="c1")
    desk.events()
    before = desk.rows("SELECT remote_id, read_at, version, block, idx FROM state ORDER BY 1")
    changed = desk.mapped_by(TITLE)
    assert counted(changed.apply()["tickets"]) == {"same": 1, "changed": 1}
    assert {id: body["subject"] for id, body in desk.bodies().items()} == {"1": "Other", "2": "Hello"}
    assert [(kind, len(found["updated"])) for kind, found in desk.events()] == [("ticket", 1)]
    assert desk.rows("SELECT remote_id, read_at, version, block, idx FROM state ORDER BY 1") == before
    assert desk.rows("SELECT cursor FROM cursor") == [("c1",)]
    assert counted(changed.apply()["tickets"]) == {"same": 2}


def test_the_diff_shows_fields_samples_rejects_and_what_comes_and_goes_and_writes_nothing(desk: Desk) -> None:
    desk.put([ticket(1), ticket(2, state="closed"), ticket(3, shape="draft"), ticket(4, priority="low")])
    with desk.store.read() as tx:
        before = dump(tx)
    report = desk.mapped_by(
        TITLE,
        ('shape = "ticket"', 'state = "open"'),
        ('low = "low" }', 'lower = "low" }'),
        ("values = { open", "values = { o"),
    ).diff()["tickets"]
    with desk.store.read() as tx:
        assert dump(tx) == before
    assert counted(report) == {"created": 1, "changed": 1, "deleted": 1, "rejected": 1}
    assert report["fields"] == {"subject": 1, "status": 1}
    (sample,) = report["samples"]
    assert sample["fields"] == {"subject": ["Hello", "Other"], "status": ["open", "unknown"]}
    assert report["reasons"] == {'priority: no meaning for "low"; add it under values': 1}
    assert (report["created_ids"], report["deleted_ids"]) == (["3"], ["2"])


def test_a_diff_tells_exactly_what_apply_then_does(desk: Desk) -> None:
    desk.put(
        [ticket(id, state="closed" if id % 3 else "open", priority="low" if id % 4 else "odd") for id in range(40)]
    )
    changed = desk.mapped_by(TITLE, ('shape = "ticket"', 'state = "open"'))
    expected = {name: counted(table) for name, table in changed.diff().items()}
    assert {name: counted(table) for name, table in changed.apply().items()} == expected
    assert changed.diff()["tickets"]["same"] == len(changed.bodies())


def test_records_that_no_table_took_are_found_by_a_wider_where(desk: Desk) -> None:
    desk.put([ticket(1), ticket(2, shape="chat"), ticket(3, shape="chat", state="deleted")])
    assert set(desk.bodies()) == {"1"}
    wider = desk.mapped_by(('shape = "ticket"', 'shape = ["ticket", "chat"]'))
    assert counted(wider.apply()["tickets"]) == {"same": 1, "created": 1}
    assert set(desk.bodies()) == {"1", "2"}
    assert desk.rows("SELECT key FROM untaken") == [("3",)]


def test_what_a_narrower_where_leaves_out_goes_and_comes_back_with_its_id(desk: Desk) -> None:
    desk.put([ticket(1), ticket(2, state="closed", notes=[{"id": 7, "draft": False}])])
    ids = dict(desk.rows("SELECT remote_id, entity_id FROM record"))
    narrow = desk.mapped_by(('shape = "ticket"', 'state = "open"'))
    narrow.apply()
    assert set(desk.bodies()) == {"1"}
    assert [found for _, found in desk.events() if "deleted" in found] == [{"deleted": [ids["2"]]}]
    assert counted(desk.apply()["tickets"]) == {"same": 1, "changed": 1, "revived": 1}
    assert set(desk.bodies()) == {"1", "2"}
    assert dict(desk.rows("SELECT remote_id, entity_id FROM record")) == ids
    assert desk.rows("SELECT count(*) FROM untaken") == [(0,)]


def test_what_a_narrower_where_leaves_out_goes_though_it_was_fetched_unchanged_since(desk: Desk) -> None:
    for minute, advance in ((0, True), (5, False)):
        desk.put([ticket(1), ticket(2, state="closed")], minute=minute, advance=advance)
    desk.mapped_by(('shape = "ticket"', 'state = "open"')).apply()
    assert set(desk.bodies()) == {"1"}


def test_what_the_vendor_deleted_stays_deleted_though_its_elements_are_there(desk: Desk) -> None:
    desk.put([ticket(1, notes=[{"id": 7, "draft": False, "text": "hm"}]), ticket(2)])
    desk.put([], minute=5, deleted=["1"])
    desk.mapped_by(TITLE).apply()
    assert set(desk.bodies()) == {"2"}


def test_elements_that_the_mapping_left_out_are_found_in_their_parents(desk: Desk) -> None:
    desk.put([ticket(1, notes=[{"id": 7, "draft": True}, {"id": 8, "draft": False}])])
    assert set(desk.bodies("message")) == {"8"}
    desk.mapped_by(("draft = false", "draft = [true, false]")).apply()
    assert set(desk.bodies("message")) == {"7", "8"}
    desk.mapped_by(("draft = false", "draft = true")).apply()
    assert set(desk.bodies("message")) == {"7"}


def test_a_table_that_is_new_takes_its_share_of_the_kept_records(desk: Desk) -> None:
    desk.put([{"id": 1, "name": "Ada", "role": "staff"}, {"id": 2, "name": "Bo"}], stream="people")
    people = '[people]\nkind = "customer"\nkey  = "id"\n'
    staff = people.replace("people", "staff").replace("customer", "agent") + 'stream = "people"\n'
    staff += 'where = { role = "staff" }\n[staff.fields]\ndisplay_name = "name"\n'
    wider = desk.mapped_by((people, staff + people + 'where = { role = { not = "staff" } }\n'))
    report = wider.apply()
    assert (counted(report["staff"]), counted(report["people"])) == ({"created": 1}, {"same": 1, "deleted": 1})
    assert (set(desk.bodies("agent")), set(desk.bodies("customer"))) == ({"1"}, {"2"})


def test_another_key_makes_new_rows_and_takes_the_old_ones_away(desk: Desk) -> None:
    desk.put([ticket(1, no="A-1"), ticket(2, no="A-2")])
    changed = desk.mapped_by(('key        = "id"', 'key        = "no"'))
    assert counted(changed.diff()["tickets"]) == {"created": 2, "deleted": 2}
    assert counted(changed.apply()["tickets"]) == {"created": 2, "deleted": 2}
    assert set(desk.bodies()) == {"A-1", "A-2"}


def test_the_rows_of_a_table_that_the_mapping_dropped_go(desk: Desk) -> None:
    desk.put([ticket(1, notes=[{"id": 7, "draft": False}])])
    text = desk.mapping.source.text
    start, end = text.index("[notes]"), text.index("[people]")
    without = Desk(desk.store, made(text[:start] + text[end:]), desk.settings)
    assert counted(without.diff()["notes"]) == {"deleted": 1}
    assert counted(without.apply()["notes"]) == {"deleted": 1}
    assert (set(desk.bodies("message")), set(desk.bodies())) == (set(), {"1"})


def test_superseded_raw_records_make_no_rows(desk: Desk) -> None:
    desk.put([ticket(1, title="old", notes=[{"id": 7, "draft": True}])])
    desk.put([ticket(1, 5, title="new", notes=[])], minute=5)
    desk.mapped_by(TITLE, ("draft = false", "draft = true")).apply()
    assert desk.bodies()["1"]["subject"] == "new"
    assert desk.bodies("message") == {}


def test_new_rejects_are_kept_and_the_row_stays_as_it_was(desk: Desk) -> None:
    desk.put([ticket(1, priority="low"), ticket(2)])
    strict = desk.mapped_by(('low = "low" }', 'lower = "low" }'))
    assert counted(strict.apply()["tickets"]) == {"same": 1, "rejected": 1}
    assert desk.bodies()["1"]["priority"] == "low"
    assert desk.rows("SELECT remote_id, field FROM reject") == [("1", "priority")]
    assert counted(desk.apply()["tickets"]) == {"same": 2}
    assert desk.rows("SELECT count(*) FROM reject") == [(0,)]


def test_rejects_that_map_now_become_rows_as_of_when_they_were_read(desk: Desk) -> None:
    desk.put([ticket(1, priority="odd"), ticket(0) | {"id": None}, ticket(3, priority="even")])
    assert desk.rows("SELECT count(*) FROM reject") == [(3,)]
    changed = desk.mapped_by(
        ('low = "low" }', 'low = "low", odd = "high" }'), ('key        = "id"', 'key        = "no"')
    )
    changed = desk.mapped_by(('low = "low" }', 'low = "low", odd = "high" }'))
    assert remap.replay(desk.store, changed)["tickets"] == {"tried": 3, "settled": 1, "left": 2}
    assert desk.bodies()["1"]["priority"] == "high"
    ((read_at, block, idx),) = desk.rows("SELECT read_at, block, idx FROM state")
    assert read_at == int(NOON.timestamp() * 1000)
    with desk.store.read() as tx:
        assert json.loads(raw.read(tx, [(block, idx)])[0])["priority"] == "odd"


def test_a_replayed_reject_never_overwrites_what_was_read_later(desk: Desk) -> None:
    desk.put([ticket(1, notes=[{"id": 7, "draft": False, "text": "old", "public": []}])])
    with desk.store.write() as tx:
        tx.execute(
            "INSERT INTO reject (source_id, remote_id, reason, revision, read_at, data) "
            "SELECT source_id, '1', 'x', 'x', 0, ? FROM state WHERE remote_id = '1'",
            (json.dumps(ticket(1, 0, subject="older")).encode(),),
        )
    remap.replay(desk.store, desk)
    assert desk.bodies()["1"]["subject"] == "Hello"
    assert desk.rows("SELECT count(*) FROM reject") == [(0,)]


def test_a_remap_that_is_killed_goes_on_where_it_was(desk: Desk) -> None:
    for page in range(6):
        desk.put([ticket(page * 500 + n) for n in range(500)], minute=page)
    changed = desk.mapped_by(TITLE)

    def stop(step: remap.Progress) -> None:
        if step.read >= 2000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        changed.apply(progress=stop)
    assert changed.whole() == {f">{changed.mapping.projection('tickets')}"}
    report = changed.apply()["tickets"]
    assert counted(report) == {"changed": 1000}
    assert {body["subject"] for body in desk.bodies().values()} == {"Other"}
    assert changed.whole() == {changed.mapping.projection("tickets")}
    assert desk.rows("SELECT count(*) FROM remap") == [(0,)]


def test_pulls_of_another_process_with_the_old_mapping_are_caught_up_with(desk: Desk) -> None:
    desk.put([ticket(n) for n in range(1500)])
    changed, once = desk.mapped_by(TITLE), [True]

    def pull(step: remap.Progress) -> None:
        if once and step.read:
            once.clear()
            desk.put([ticket(3, 9, subject="newer", title="newest"), ticket(2000)], minute=9)

    changed.apply(progress=pull)
    assert (desk.bodies()["3"]["subject"], desk.bodies()["2000"]["subject"]) == ("newest", "Other")
    assert changed.whole() == {changed.mapping.projection("tickets")}


def test_a_record_that_goes_while_a_remap_runs_does_not_come_back(desk: Desk) -> None:
    desk.put([ticket(n, notes=[{"id": n, "draft": True}]) for n in range(1500)])
    changed, once = desk.mapped_by(TITLE, ("draft = false", "draft = true")), [True]

    def pull(step: remap.Progress) -> None:
        if once and step.read:
            once.clear()
            changed.put([], minute=9, deleted=["1400"])

    changed.apply(progress=pull)
    assert "1400" not in desk.bodies()
    assert "1400" not in desk.bodies("message")


LOW = ('low = "low" }', 'low = "high" }')


@pytest.mark.parametrize("more", [[], [ticket(4, shape="other")]])
def test_what_a_pull_sets_aside_while_a_remap_runs_is_not_forgotten(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, more: list[dict[str, Any]]
) -> None:
    desk.put([ticket(1), ticket(2, priority="low"), *more])
    changed = desk.mapped_by(LOW)
    pulled_behind(monkeypatch, "tickets", lambda: changed.put([ticket(1, 5, shape="chat")], minute=5))
    changed.apply()
    assert sorted(desk.bodies()) == ["2"]
    changed.mapped_by(('shape = "ticket"', 'shape = ["ticket", "chat"]')).apply()
    assert sorted(desk.bodies()) == ["1", "2"]


def test_no_table_takes_a_raw_record_that_a_pull_has_superseded_meanwhile(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    boss = """[staff]
kind   = "agent"
key    = "id"
stream = "people"
where  = { role = "boss" }
[staff.fields]
display_name = "name"

"""
    people = '[people]\nkind = "customer"'
    desk = desk.mapped_by((people, boss + people))
    desk.put([{"id": 1, "name": "Ada", "role": "staff"}, {"id": 2, "name": "Cy", "role": "boss"}], stream="people")
    changed = desk.mapped_by(('role = "boss"', 'role = ["boss", "staff"]'))
    guest = {"id": 1, "name": "Ada", "role": "guest"}
    pulled_behind(monkeypatch, "people", lambda: changed.put([guest], stream="people", minute=5))
    changed.apply()
    assert sorted(desk.bodies("agent")) == ["2"]


def test_rows_that_no_record_makes_go_though_another_goes_meanwhile(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put([ticket(1, no="1"), ticket(2, no="2"), ticket(3, no="A-3")])
    changed = desk.mapped_by(('key        = "id"', 'key        = "no"'))
    pulled_behind(monkeypatch, "tickets", lambda: changed.put([], minute=5, deleted=["1"]))
    changed.apply()
    assert sorted(desk.bodies()) == ["2", "A-3"]


def test_elements_that_are_there_twice_are_counted_once(desk: Desk) -> None:
    note = {"id": 7, "draft": False, "text": "hm"}
    desk.put([ticket(1, notes=[note, note], remarks=[note, note]), ticket(2, notes=[note | {"id": 8}])])
    assert counted(desk.apply()["notes"]) == {"same": 2}
    changed = desk.mapped_by(('each   = "notes"', 'each   = "remarks"'))
    assert counted(changed.diff()["notes"]) == {"same": 1, "deleted": 1}
    assert counted(changed.apply()["notes"]) == {"same": 1, "deleted": 1}
    assert sorted(desk.bodies("message")) == ["7"]


def pulled_behind(monkeypatch: pytest.MonkeyPatch, stream: str, pull: Callable[[], object]) -> None:
    """Pull once, the moment that a remap of this stream has found out where its raw records are."""
    live, once = stored.live, [True]

    def found(store: Store, connection: str, name: str, *, after: int = 0) -> stored.Live:
        places = live(store, connection, name, after=after)
        if name == stream and once:
            once.clear()
            pull()
        return places

    monkeypatch.setattr(stored, "live", found)


def test_a_mapping_that_would_take_most_rows_away_stops_and_asks(desk: Desk) -> None:
    desk.put([ticket(n) for n in range(40)])
    wrong = desk.mapped_by(('shape = "ticket"', 'shape = "tciket"'))
    with pytest.raises(Conflict, match=r"take away 40 or more of 40 records, more than 20%"):
        wrong.apply(fuse=True)
    assert len(desk.bodies()) == 40
    assert counted(wrong.apply()["tickets"]) == {"deleted": 40}
    assert counted(desk.apply(fuse=True)["tickets"]) == {"changed": 40, "revived": 40}


def test_customers_are_joined_and_parted_by_what_a_changed_mapping_says(desk: Desk) -> None:
    desk.put([{"id": 1, "mail": "ada@x.example", "other": "a@x.example"}], stream="people")
    desk.put([{"id": 2, "mail": "b@x.example", "other": "b@x.example"}], stream="people")
    other = Desk(desk.store, desk.mapping, desk.settings, "else")
    other.put([{"id": 1, "mail": "ada@x.example"}], stream="people")

    def entities() -> int:
        return len({row[0] for row in desk.rows("SELECT entity_id FROM record WHERE kind = 'customer'")})

    assert entities() == 2
    changed = desk.mapped_by(('email        = "mail"', 'email        = "other"'))
    changed.apply()
    assert entities() == 3
    desk.apply()
    assert entities() == 2


def test_rows_whose_raw_record_is_not_kept_are_told_and_stay(desk: Desk) -> None:
    bare = desk.mapped_by(('key        = "id"', 'key        = "id"\nraw_retention = "none"'))
    bare.put([ticket(1), ticket(2, shape="draft")])
    assert desk.rows("SELECT count(*) FROM raw") == [(0,)]
    report = bare.mapped_by(TITLE).apply()["tickets"]
    assert counted(report) == {"without_raw": 1}
    assert desk.bodies()["1"]["subject"] == "Hello"


def test_a_page_of_another_mapping_is_remembered_until_a_remap(desk: Desk) -> None:
    desk.put([ticket(1)])
    assert desk.whole() == {desk.mapping.projection("tickets")}
    changed = desk.mapped_by(TITLE)
    changed.put([ticket(2)])
    assert changed.whole() == {None}
    changed.apply()
    assert changed.whole() == {changed.mapping.projection("tickets")}
