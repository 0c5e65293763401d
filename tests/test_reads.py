"""Reads: what is known, as JSON ready to send."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub import reads
from hub.connector import Page
from hub.errors import Invalid
from hub.ingest import PageCommit, ingest
from hub.mapping import Source, compile_mapping
from hub.records import KINDS, birth_id
from hub.store import Store
from hub.store.dialect import LOT_BITS

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DESK = """
[users]
kind       = "customer"
key        = "id"
updated_at = "changed"
where      = { role = "end-user" }
[users.fields]
display_name = "name"
email        = "email"
phone        = "phone"
external_ref = "ext"
url          = "url"
updated_at   = { from = "changed", as = "iso8601" }

[staff]
stream = "users"
kind   = "agent"
key    = "id"
where  = { role = "agent" }
[staff.fields]
display_name = "name"

[tickets]
kind       = "ticket"
key        = "id"
updated_at = "changed"
[tickets.fields]
number       = "no"
subject      = "subject"
customer_ref = { ref = "users", from = "requester" }
assignee_ref = { ref = "users", from = "assignee" }
order_refs   = { ref = { kind = "order", by = "number" }, from = "orders", as = "split" }
updated_at   = { from = "changed", as = "iso8601" }
[tickets.fields.status]
from   = "status"
values = { open = "open", solved = "solved" }

[notes]
kind = "message"
key  = "id"
[notes.fields]
ticket_ref = { ref = "tickets", from = "ticket" }
visibility = { from = "public", values = { true = "public", false = "internal" }, otherwise = "internal" }
body_text  = "text"
author     = { ref = { ref = "users", from = "author" } }
"""
SHOP = """
[customers]
kind = "customer"
key  = "id"
[customers.fields]
display_name = "name"
email        = "email"
language     = "language"

[orders]
kind = "order"
key  = "id"
[orders.fields]
number       = "no"
customer_ref = { ref = "customers", from = "customer" }
note         = "note"

[payments]
kind = "payment"
key  = "id"
[payments.fields]
order_ref    = { ref = { kind = "order", by = "number" }, from = "order" }
customer_ref = { ref = "customers", from = "customer" }

[refunds]
kind = "refund"
key  = "id"
[refunds.fields]
payment_ref = { ref = "payments", from = "payment" }
"""
MAPPINGS = {
    "desk": compile_mapping(Source(DESK, "desk.toml")),
    "shop": compile_mapping(Source(SHOP, "shop.toml")),
    "mail": compile_mapping(Source(SHOP, "shop.toml")),
}
CONNECTORS = {"desk": "zendesk", "shop": "salesforce", "mail": "legacy"}


class Known:
    """A store with some records in it, and the reads as dicts."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def put(
        self, stream: str, *records: dict[str, Any], at: int = 0, deleted: tuple[str, ...] = (), mapping: Any = None
    ) -> None:
        connection, _, stream = stream.partition("/")
        mapping, page = mapping or MAPPINGS[connection], Page(records=list(records), deleted=deleted)
        mapped, read_at = mapping.map_page(stream, page), NOON + timedelta(minutes=at)
        connector = CONNECTORS[connection]
        ingest(self.store, PageCommit(connection, stream, mapped, page, read_at, mapping.revision, connector=connector))

    def get(self, kind: str, id: str, *include: str) -> Any:
        body = reads.get(self.store, kind, id, include)
        return None if body is None else json.loads(body)

    def many(self, kind: str, limit: int = 50, cursor: str | None = None, **filters: str) -> Any:
        return json.loads(reads.list_(self.store, kind, filters, limit, cursor))

    def ids(self, kind: str, **filters: str) -> list[str]:
        return [found["remote_id"] for found in self.many(kind, **filters)["data"]]


@pytest.fixture
def empty(database_url: str) -> Iterator[Known]:
    store = Store.open(database_url)
    yield Known(store)
    store.close()


@pytest.fixture
def known(empty: Known) -> Known:
    ada = {"name": "Ada", "email": "ada@x.example", "phone": "+49 30 123", "url": "https://desk.example/1"}
    empty.put(
        "desk/users",
        {"id": 1, "role": "end-user", "ext": "C-1", "changed": "2026-01-01T00:00:00Z"} | ada,
        {"id": 2, "role": "agent", "name": "Kim", "changed": "2026-01-01T00:00:00Z"},
    )
    empty.put("shop/customers", {"id": "s1", "name": "Ada Lovelace", "email": "ADA@x.example", "language": "de"}, at=1)
    empty.put("shop/orders", {"id": "o1", "no": "1001", "customer": "s1"}, {"id": "o2", "no": "1002"})
    ticket = {"status": "open", "requester": 1, "assignee": 2, "orders": "1001,9999", "changed": "2026-02-01T00:00:00Z"}
    empty.put("desk/tickets", ticket | {"id": 7, "no": "T-7", "subject": "Late"}, at=2)
    empty.put("desk/notes", {"id": 9, "ticket": 7, "public": True, "text": "hello", "author": 1})
    empty.put("shop/payments", {"id": "p1", "order": "1001", "customer": "s1"}, {"id": "p2"})
    empty.put("shop/refunds", {"id": "r1", "payment": "p1"}, {"id": "r2", "payment": "p2"})
    return empty


def customer(remote_id: str = "1", connection: str = "desk", table: str = "users") -> str:
    return birth_id("customer", connection, table, remote_id)


SURVIVOR, MERGED = sorted((customer(), customer("s1", "shop", "customers")))


def test_an_entity_says_where_it_is_known_and_as_of_when(known: Known) -> None:
    found = known.get("customer", SURVIVOR)
    assert (found["id"], found["kind"], found["display_name"]) == (SURVIVOR, "customer", "Ada Lovelace")
    assert sorted(one["connection"] for one in found["connections"]) == ["desk", "shop"]
    (desk,) = [one for one in found["connections"] if one["connection"] == "desk"]
    assert desk == {
        "connection": "desk", "table": "users", "stream": "users", "remote_id": "1", "url": "https://desk.example/1",
    }  # fmt: skip
    assert found["as_of"] == "2026-03-01T12:00:00.000000Z"
    assert "merged_from" not in found


def test_a_merged_id_answers_with_the_survivor(known: Known) -> None:
    assert known.get("customer", MERGED) == known.get("customer", SURVIVOR) | {"merged_from": MERGED}


@pytest.mark.parametrize("id", ["cus_nobody", "ord_" + "a" * 24, SURVIVOR.upper(), "", "../cus_1"])
def test_an_unknown_id_is_nothing(known: Known, id: str) -> None:
    assert known.get("customer", id) is None


def test_references_carry_the_hubs_ids_where_they_can_be_resolved(known: Known) -> None:
    (ticket,) = known.many("ticket")["data"]
    assert ticket["customer_ref"] == {"table": "users", "remote_id": "1", "id": SURVIVOR}
    assert ticket["assignee_ref"]["id"] == birth_id("agent", "desk", "staff", "2")
    first, second = ticket["order_refs"]
    assert first == {"kind": "order", "by": "number", "value": "1001", "id": birth_id("order", "shop", "orders", "o1")}
    assert "id" not in second
    (message,) = known.many("message")["data"]
    assert (message["author"]["ref"]["id"], message["ticket_ref"]["id"]) == (SURVIVOR, ticket["id"])


def test_a_reference_to_what_two_entities_are_called_is_left_open(known: Known) -> None:
    known.put("shop/orders", {"id": "o9", "no": "1001"})
    (ticket,) = known.many("ticket")["data"]
    assert "id" not in ticket["order_refs"][0]


def test_references_of_a_merged_body_keep_their_connection(known: Known) -> None:
    known.put("mail/orders", {"id": "77", "no": "1001", "note": "ring twice"})
    order = known.get(
        "order", min(birth_id("order", "shop", "orders", "o1"), birth_id("order", "mail", "orders", "77"))
    )
    assert order["customer_ref"] == {"table": "customers", "remote_id": "s1", "connection": "shop", "id": SURVIVOR}
    assert (order["note"], known.ids("order", customer=SURVIVOR)) == ("ring twice", [order["remote_id"]])


def test_what_is_gone_says_so_and_leaves_the_lists(known: Known) -> None:
    known.put("desk/tickets", at=9, deleted=("7",))
    assert known.many("ticket") == {"data": [], "next_cursor": None}
    found = known.get("ticket", birth_id("ticket", "desk", "tickets", "7"))
    assert (found["deleted_at"], found["subject"]) == ("2026-03-01T12:09:00.000000Z", "Late")


def test_raw_and_provenance_come_on_request(known: Known) -> None:
    found = known.get("customer", SURVIVOR, "raw", "provenance")
    raw = {one["connection"]: one["data"] for one in found["raw"]}
    assert (raw["desk"]["role"], raw["shop"]["email"]) == ("end-user", "ADA@x.example")
    assert found["provenance"]["display_name"] | {"time": None} == {
        "connection": "shop", "remote_id": "s1", "time": None, "rule": "authority",
    }  # fmt: skip
    assert found["provenance"]["external_ref"]["connection"] == "desk"
    assert "phone" in found["provenance"]
    assert "emails" not in found["provenance"]


def test_provenance_of_one_record_is_that_record(known: Known) -> None:
    found = known.get("ticket", birth_id("ticket", "desk", "tickets", "7"), "provenance")
    assert found["provenance"]["subject"] == {
        "connection": "desk", "remote_id": "7", "time": "2026-02-01T00:00:00Z", "rule": "only source",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "filters", "expected"),
    [
        ("customer", {"email": "Ada@X.example"}, 1),
        ("customer", {"email": "nobody@x.example"}, 0),
        ("customer", {"phone": "0049 30-123"}, 1),
        ("customer", {"external_ref": "C-1"}, 1),
        ("customer", {"connection": "desk"}, 1),
        ("customer", {"connection": "elsewhere"}, 0),
        ("order", {"number": "1002"}, 1),
        ("order", {"customer": SURVIVOR}, 1),
        ("order", {"customer": MERGED}, 1),
        ("order", {"customer": "shop/customers/s1"}, 1),
        ("order", {"customer": "cus_nobody"}, 0),
        ("ticket", {"customer": SURVIVOR, "status": "open"}, 1),
        ("ticket", {"customer": SURVIVOR, "status": "solved"}, 0),
        ("ticket", {"updated_since": "2026-02-01T00:00:00Z"}, 1),
        ("ticket", {"updated_since": "2026-02-01T01:00:00+01:00"}, 1),
        ("ticket", {"updated_since": "2026-02-02"}, 0),
        ("message", {"ticket": birth_id("ticket", "desk", "tickets", "7")}, 1),
        ("payment", {"order": "shop/orders/o1"}, 1),
        ("payment", {"customer": SURVIVOR}, 1),
        ("refund", {"payment": "shop/payments/p2"}, 1),
    ],
)
def test_lists_are_filtered(known: Known, kind: str, filters: dict[str, str], expected: int) -> None:
    assert len(known.many(kind, **filters)["data"]) == expected


def test_a_customers_records_are_found_in_every_lot(known: Known) -> None:
    before = set(known.ids("payment", customer=SURVIVOR))
    with known.store.write() as tx:
        (last,) = tx.execute("SELECT max(rid) FROM record").fetchone()
        for table in ("record", "state"):
            far = (3 << LOT_BITS, last)
            tx.execute(f"UPDATE {table} SET rid = rid + ? WHERE rid = ?", far)
    assert before
    assert set(known.ids("payment", customer=SURVIVOR)) == before
    known.put("shop/payments", {"id": "far", "order": "1001", "customer": "s1"}, at=9)
    assert set(known.ids("payment", customer=SURVIVOR)) == {*before, "far"}


@pytest.mark.parametrize(
    ("filters", "where"),
    [
        ({"colour": "red"}, "colour"),
        ({"email": "a@x.example"}, "email"),
        ({"status": "opened"}, "status"),
        ({"updated_since": "yesterday"}, "updated_since"),
        ({"updated_since": "0001-01-01T00:00:00+23:59"}, "updated_since"),
        ({"updated_since": "9999-12-31T23:59:59-23:59"}, "updated_since"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(known: Known, filters: dict[str, str], where: str) -> None:
    with pytest.raises(Invalid) as caught:
        known.many("ticket", **filters)
    assert caught.value.field_path == where


@pytest.mark.parametrize("limit", [0, 201, -1])
def test_a_limit_out_of_bounds_is_refused(known: Known, limit: int) -> None:
    with pytest.raises(Invalid, match="expected 1 to 200"):
        known.many("ticket", limit)


@pytest.mark.parametrize("cursor", ["", "?", "bm90IGpzb24=", "e30=", "WzEsMl0=", "WyJhIiwgImIiLCAiYyJd"])
def test_a_cursor_that_no_list_gave_is_refused(known: Known, cursor: str) -> None:
    with pytest.raises(Invalid, match="expected next_cursor"):
        known.many("ticket", cursor=cursor)


@pytest.mark.parametrize("place", [["\ud800", 1], ["x", 2**63], ["x", -(10**30)]])
def test_a_cursor_that_no_database_can_look_up_is_refused(known: Known, place: list[Any]) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps([False, *place]).encode()).decode()
    with pytest.raises(Invalid, match="expected next_cursor"):
        known.many("ticket", cursor=cursor)


def test_a_cursor_of_the_other_direction_is_refused(known: Known) -> None:
    cursor = known.many("order", 1)["next_cursor"]
    with pytest.raises(Invalid, match="expected next_cursor"):
        known.many("order", 1, cursor, updated_since="2020-01-01")


def test_every_filter_named_for_a_kind_works(known: Known) -> None:
    for kind in KINDS:
        for name in reads.filters(kind):
            value = {"status": "unknown", "updated_since": "2020-01-01"}.get(name, "none")
            known.many(kind, **{name: value})


def tickets(count: int) -> list[dict[str, Any]]:
    return [
        {"id": n, "no": f"N-{n}", "status": "open", "changed": f"2026-01-{1 + n // 4:02}T00:00:00Z"}
        for n in range(count)
    ]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 30), since=st.booleans())
def test_pages_put_together_are_the_whole_list(empty: Known, limit: int, since: bool) -> None:
    empty.put("desk/tickets", *tickets(25))
    filters = {"updated_since": "2026-01-02T00:00:00Z"} if since else {}
    found, cursor = [], None
    while True:
        page = empty.many("ticket", limit, cursor, **filters)
        found += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    times = [one["updated_at"] for one in found]
    assert {one["remote_id"] for one in found} == {str(n) for n in range(4 if since else 0, 25)}
    assert (len(found), times) == (21 if since else 25, sorted(times, reverse=not since))


def test_a_reader_who_follows_changes_misses_none_that_comes_while_paging(empty: Known) -> None:
    empty.put("desk/tickets", *tickets(10))
    page = empty.many("ticket", 5, updated_since="2026-01-01")
    empty.put("desk/tickets", tickets(1)[0] | {"changed": "2026-05-01T00:00:00Z"}, at=1)
    rest = empty.many("ticket", 50, page["next_cursor"], updated_since="2026-01-01")
    assert [one["remote_id"] for one in rest["data"]] == ["5", "6", "7", "8", "9", "0"]


@pytest.mark.parametrize(
    "how",
    [
        {"email": " ADA@x.example "},
        {"phone": "+49 (30) 123"},
        {"order_number": "1001"},
        {"ticket": "T-7"},
        {"ticket": "7"},
        {"ticket": "desk/tickets/7"},
        {"ticket": birth_id("ticket", "desk", "tickets", "7")},
        {"external_ref": "C-1"},
        {"external_ref": "s1"},
        {"external_ref": MERGED},
    ],
)
def test_a_customer_is_found_by_what_they_say(known: Known, how: dict[str, str]) -> None:
    assert reads.find_customer(known.store, **how) == [SURVIVOR]


@pytest.mark.parametrize("how", [{"email": "no@x.example"}, {"phone": "+1"}, {"order_number": "1002"}, {"ticket": "8"}])
def test_who_is_not_known_is_not_found(known: Known, how: dict[str, str]) -> None:
    assert reads.find_customer(known.store, **how) == []


def test_several_candidates_are_all_given(known: Known) -> None:
    known.put("shop/customers", {"id": "s2", "name": "Ben", "email": "ada@x.example"})
    assert len(reads.find_customer(known.store, email="ada@x.example")) >= 2


@pytest.mark.parametrize("how", [{}, {"email": "a@x.example", "phone": "1"}, {"email": "  "}])
def test_a_lookup_takes_exactly_one_thing(known: Known, how: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="exactly one"):
        reads.find_customer(known.store, **how)


@pytest.mark.parametrize("reference", [SURVIVOR, MERGED, "desk/users/1", "shop/customers/s1"])
def test_a_reference_gives_a_target_for_each_record(known: Known, reference: str) -> None:
    targets = reads.resolve_target(known.store, reference, "customer")
    assert {(t.connection, t.table, t.stream, t.kind, t.remote_id, t.id) for t in targets} == {
        ("desk", "users", "users", "customer", "1", SURVIVOR),
        ("shop", "customers", "customers", "customer", "s1", SURVIVOR),
    }
    assert {t.connection: t.data["display_name"] for t in targets} == {"desk": "Ada", "shop": "Ada Lovelace"}


@pytest.mark.parametrize(
    "reference",
    ["", "desk", "desk/users", "desk/users/", "desk/users/99", "nowhere/users/1", "desk/users/../1", "tkt_" + "a" * 24],
)
def test_a_reference_to_nothing_gives_no_target(known: Known, reference: str) -> None:
    assert reads.resolve_target(known.store, reference, "customer") == []


def test_a_person_who_moved_from_one_table_to_another_is_found_where_they_are(known: Known) -> None:
    sides = compile_mapping(Source(DESK.replace('kind   = "agent"', 'kind   = "customer"'), "desk.toml"))
    known.put("desk/users", {"id": 5, "role": "end-user", "name": "Lu"}, mapping=sides)
    known.put("desk/users", {"id": 5, "role": "agent", "name": "Lu"}, mapping=sides, at=1)
    (target,) = reads.resolve_target(known.store, "desk/users/5", "customer")
    assert target.table == "staff"


def test_a_record_that_is_gone_is_no_target(known: Known) -> None:
    known.put("desk/users", at=9, deleted=("1",))
    assert [t.connection for t in reads.resolve_target(known.store, SURVIVOR, "customer")] == ["shop"]


FEBRUARY = "2026-02-01T00:00:00.000000Z"


def test_freshness_tells_when_each_stream_was_read_and_what_is_stored(known: Known) -> None:
    found = reads.freshness(known.store)["desk"]
    assert set(found) == {"users", "tickets", "notes"}
    assert found["tickets"] == {
        "read_at": "2026-03-01T12:02:00.000000Z", "synced_at": None, "error": None, "error_at": None, "scanning": False,
        "records": 1, "rejects": 0, "oldest_at": FEBRUARY, "newest_at": FEBRUARY,
    }  # fmt: skip
    assert found["users"]["records"] == 2
