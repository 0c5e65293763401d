# ruff: noqa: E501 (mapping files stand as their users write them)
"""The mapping room: a file compiles, pages and records are mapped, bad ones are isolated."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from hub.connector import Page
from hub.errors import MappingError, Temporary
from hub.mapping import CompiledMapping, Source, compile_mapping, preview

NORMATIVE = """
[users]
kind = "customer"
key = "id"
fields = { display_name = "name" }

[tickets]
kind       = "ticket"
key        = "id"
updated_at = "updated_at"
where      = { "via.channel" = ["email", "web"] }
deleted    = { status = "deleted" }
writable   = ["status", "priority", "subject"]

[tickets.fields]
subject      = "subject"
external_ref = ["external_id", "custom_fields[id=360009].value"]
priority     = { from = "priority", values = { low = "low", normal = "normal", high = "high", urgent = "urgent" }, default = "none" }
customer_ref = { ref = "users", from = "requester_id" }
order_refs   = { ref = { kind = "order", by = "number" }, from = "custom_fields[id=360010].value", as = "split" }
channel      = { value = "email" }
description  = { inputs = ["description", "raw_subject"], as = "first_text" }
custom.vip   = { from = "custom_fields[id=360001].value", as = "bool" }

[tickets.fields.status]
from      = "status"
values    = { new = "new", open = "open", pending = "pending", hold = "on_hold", solved = "solved", closed = "closed" }
otherwise = "unknown"

[tickets.write.status]
to     = "status"
values = { open = "open", pending = "pending", on_hold = "hold", solved = "solved" }

[email_copies]
stream = "ticket_events"
each   = "child_events"
where  = { event_type = "Comment" }
kind   = "message"
key    = "id"
[email_copies.fields]
ticket_ref = { ref = "tickets", from = "^.ticket_id" }
visibility = { from = "public", values = { true = "public", false = "internal" }, otherwise = "internal" }
body_text  = "body"

[payment_intents]
kind = "payment"
key = "id"
[payment_intents.fields]
amount     = { money = "amount", currency = "currency", unit = "minor" }
status     = { when = [ { if = { status = "requires_capture" }, value = "authorized" }, { if = { status = ["requires_action", "requires_confirmation", "requires_payment_method"] }, value = "requires_action" } ], otherwise = { from = "status", otherwise = "unknown" } }

[orders]
kind = "order"
key = { all = ["order_no", "line"] }
[orders.fields]
shipping_address = { line1 = "address.line1", city = "address.city", type = { value = "shipping" } }
[orders.fields.lines]
each   = "items.data"
fields = { sku = "price.product", quantity = { from = "quantity", as = "decimal" } }

[actions."payment.refund"]
insert = "refund_requests"
set    = { payment_no = "payment.remote_id", amount = "amount.major", request_id = "run.key" }
ack    = { table = "refund_requests", where = { request_id = "run.key" }, done = { status = "BOOKED" }, failed = { status = "REJECTED" }, within = "10m" }
"""
TICKET: dict[str, Any] = {
    "id": 12345678901234567890,
    "updated_at": "2026-11-22T08:00:00.000+0100",
    "via": {"channel": "web"},
    "status": "hold",
    "priority": None,
    "requester_id": 12,
    "subject": 5,
    "description": "  ",
    "raw_subject": "where is it",
    "custom_fields": [
        "odd",
        {"id": 360001, "value": "yes"},
        {"id": "360009", "value": "X-1"},
        {"id": 360010, "value": "1001, 1002,"},
    ],
}


def compiled(text: str, **more: Any) -> CompiledMapping:
    return compile_mapping(Source(text, "mappings/test.toml"), **more)


def bodies(mapping: CompiledMapping, stream: str, *records: Any) -> list[dict[str, Any]]:
    rows = [r for t in mapping.map_page(stream, Page(records=list(records))).tables.values() for r in t.rows]
    return [msgspec.json.decode(row.body) for row in rows]


@pytest.fixture(scope="module")
def normative() -> CompiledMapping:
    return compiled(NORMATIVE)


def test_the_reference_example_maps_a_ticket(normative: CompiledMapping) -> None:
    page = normative.map_page("tickets", Page(records=[TICKET]))
    (row,) = page.tables["tickets"].rows
    assert msgspec.json.decode(row.body) == {
        "remote_id": "12345678901234567890",
        "subject": "5",
        "external_ref": "X-1",
        "priority": "none",
        "priority_raw": None,
        "customer_ref": {"table": "users", "remote_id": "12"},
        "order_refs": [
            {"kind": "order", "by": "number", "value": "1001"},
            {"kind": "order", "by": "number", "value": "1002"},
        ],
        "channel": "email",
        "channel_raw": None,
        "description": "where is it",
        "custom": {"vip": True},
        "status": "on_hold",
        "status_raw": "hold",
    }
    assert row.updated_at == "2026-11-22T07:00:00.000000Z"
    assert len(row.hash) == 16


def test_what_where_does_not_take_is_skipped_and_named(normative: CompiledMapping) -> None:
    records = [TICKET, {"id": 2, "via": {"channel": "api"}}, {"id": 3, "via": "odd"}, {"via": None}]
    page = normative.map_page("tickets", Page(records=records))
    rows = page.tables["tickets"]
    assert (rows.read, len(rows.rows), rows.skipped, page.skipped) == (4, 1, 3, 3)
    assert rows.untaken == ["2", "3"]
    assert rows.rejects == []


def test_a_deleted_record_is_a_tombstone(normative: CompiledMapping) -> None:
    page = normative.map_page("tickets", Page(records=[{**TICKET, "status": "deleted"}]))
    assert page.tables["tickets"].deleted == ["12345678901234567890"]
    assert page.tables["tickets"].rows == []


def test_elements_of_each_become_records_that_see_their_parent(normative: CompiledMapping) -> None:
    events = [
        {
            "ticket_id": 9,
            "child_events": [
                {"id": 1, "event_type": "Comment", "public": True, "body": "a"},
                {"id": 2, "event_type": "Comment", "public": 1, "body": "b"},
                {"id": 3, "event_type": "Change"},
                "odd",
            ],
        },
        {"ticket_id": 10, "child_events": None},
    ]
    page = normative.map_page("ticket_events", Page(records=events))
    rows = page.tables["email_copies"]
    found = [msgspec.json.decode(row.body) for row in rows.rows]
    assert [(f["remote_id"], f["visibility"], f["ticket_ref"]["remote_id"]) for f in found] == [
        ("1", "public", "9"),
        ("2", "internal", "9"),
    ]
    assert (rows.read, rows.skipped, rows.untaken) == (4, 1, ["3"])
    assert (page.read, page.skipped) == (2, 1)
    assert [row.index for row in rows.rows] == [0, 0]
    assert rows.rejects[0].reason == "the element is no object"


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("requires_capture", "authorized"),
        ("requires_action", "requires_action"),
        ("succeeded", "succeeded"),
        ("odd", "unknown"),
    ],
)
def test_when_takes_the_first_case_and_keeps_the_raw_word(normative: CompiledMapping, word: str, status: str) -> None:
    (body,) = bodies(normative, "payment_intents", {"id": "p", "amount": 1, "currency": "eur", "status": word})
    assert (body["status"], body["status_raw"]) == (status, word)
    assert body["amount"] == {"amount": 1, "currency": "EUR"}


def test_lists_objects_and_joined_keys(normative: CompiledMapping) -> None:
    record = b"""{"order_no": "A", "line": 7, "address": {"line1": "x"},
        "items": {"data": [{"price": {"product": "p"}, "quantity": 1.50}, {"price": "p", "quantity": 2}, null]}}"""
    (body,) = bodies(normative, "orders", record)
    assert body["remote_id"] == "A:7"
    assert body["lines"] == [{"sku": "p", "quantity": "1.50"}, {"sku": None, "quantity": "2"}]
    assert body["shipping_address"] == {"line1": "x", "city": None, "type": "shipping"}
    (bare,) = bodies(normative, "orders", {"order_no": "A", "line": 8, "items": []})
    assert bare["shipping_address"] is None
    assert bare["lines"] is None


def test_a_stream_names_what_its_tables_read(normative: CompiledMapping) -> None:
    assert normative.streams() == ["users", "tickets", "ticket_events", "payment_intents", "orders"]
    assert normative.tables_of("ticket_events") == ["email_copies"]
    tickets = normative.stream("tickets")
    assert tickets.key == ("id",)
    assert tickets.updated_at == "updated_at"
    assert {"via.channel", "custom_fields[].id", "custom_fields[].value", "requester_id"} <= set(tickets.paths)
    assert set(normative.stream("ticket_events").paths) >= {"ticket_id", "child_events[].public"}
    assert normative.stream("orders").key == ("order_no", "line")
    assert "items.data[].price.product" in normative.stream("orders").paths
    with pytest.raises(MappingError, match='unknown stream "ticket"; did you mean "tickets"'):
        normative.stream("ticket")


def test_a_body_and_its_records_map_alike_and_split_into_the_same_bytes(normative: CompiledMapping) -> None:
    raws = [json.dumps(record).encode() for record in (TICKET, {"id": 2, "via": {"channel": "api"}}, {})]
    body = b'\xef\xbb\xbf{"after": "x", "data": {"tickets": [' + b" , ".join(raws) + b"]}}"
    whole = normative.map_page("tickets", Page(body=body, at="data.tickets"))
    single = normative.map_page("tickets", Page(records=raws))
    assert whole.tables == single.tables
    assert whole.raws() == single.raws() == raws


def test_a_document_that_is_one_object_is_a_page_of_one(normative: CompiledMapping) -> None:
    raw = b'{"id": "cus_1", "name": "Ada"}'
    alone = normative.map_page("users", Page(body=raw))
    under = normative.map_page("users", Page(body=b'{"user": ' + raw + b"}", at="user"))
    assert alone.tables == under.tables
    assert alone.raws() == under.raws() == [raw]
    assert alone.tables["users"].rows[0].remote_id == "cus_1"


@pytest.mark.parametrize(
    ("body", "at", "came"),
    [
        (b"", "tickets", "an empty body"),
        (b"<html>maintenance</html>", "tickets", "HTML or XML"),
        (b'{"tickets": [{"id": 1}', "tickets", "truncated JSON"),
        (b'{"tickets": [{"id": 1}, }', "tickets", "broken JSON"),
        (b"Service unavailable", "@", "what is no JSON"),
        (b'{"error": "rate limit"}', "tickets", "a JSON object without it"),
        (b'{"tickets": null}', "tickets", "a JSON object without it"),
        (b"[1]", "tickets", "a JSON list"),
        (b"null", "@", "null"),
        (b"3", "@", "a single JSON value"),
    ],
)
def test_a_page_that_is_no_page_is_temporary_and_shows_no_content(
    normative: CompiledMapping, body: bytes, at: str, came: str
) -> None:
    with pytest.raises(Temporary) as caught:
        normative.map_page("tickets", Page(body=body, at=at))
    assert "stream tickets" in caught.value.message
    assert came in caught.value.message
    assert "maintenance" not in caught.value.message
    assert "rate limit" not in caught.value.message


def test_broken_records_are_rejected_and_the_page_goes_on(normative: CompiledMapping) -> None:
    body = b'[{"id": 1, "name": "a"}, {"id": 2, "name": "\xff"}, 7, null, {"id": 3, "name": "cut \\ud83d"}, {"id": 4, "name": {"x": 1}}]'
    page = normative.map_page("users", Page(body=body))
    rows = page.tables["users"]
    assert [(r.index, r.reason) for r in rows.rejects] == [
        (1, "the record is not UTF-8"),
        (2, "the record is no object"),
        (3, "the record is no object"),
    ]
    assert {r.remote_id: msgspec.json.decode(r.body)["display_name"] for r in rows.rows} == {
        "1": "a",
        "3": "cut �",
        "4": None,
    }
    assert (page.read, rows.read) == (6, 6)
    assert page.raws()[4] == b'{"id": 3, "name": "cut \\ud83d"}'


def test_records_in_bytes_cannot_smuggle_a_second_one(normative: CompiledMapping) -> None:
    page = normative.map_page("users", Page(records=[b'{"id": 1}, {"id": 2}', b'{"id": 3}', b""]))
    assert [row.remote_id for row in page.tables["users"].rows] == ["3"]
    assert len(page.tables["users"].rejects) == 2


def test_a_dict_that_has_no_json_form_is_rejected(normative: CompiledMapping) -> None:
    page = normative.map_page("users", Page(records=[{"id": 1, "name": object()}, {"id": Decimal("2"), "name": "b"}]))
    assert [row.remote_id for row in page.tables["users"].rows] == ["2"]
    assert page.tables["users"].rejects[0].reason == "the record cannot be written as JSON"


@pytest.mark.parametrize("key", [None, "", True, [1], {"a": 1}, "a\0b", Decimal("1e400")])
def test_a_bad_key_rejects_the_record(normative: CompiledMapping, key: Any) -> None:
    rows = normative.map_page("users", Page(records=[{"id": key}])).tables["users"]
    assert rows.rows == []
    assert rows.rejects[0].field == "remote_id"
    joined = normative.map_page("orders", Page(records=[{"order_no": "1", "line": key}])).tables["orders"]
    assert joined.rejects[0].field == "remote_id"


@pytest.mark.parametrize("number", [b"1000", b"1000.0", b"1e3", b'"1000"'])
def test_a_number_is_one_id_however_it_is_written(normative: CompiledMapping, number: bytes) -> None:
    rows = normative.map_page("users", Page(records=[b'{"id":' + number + b"}"])).tables["users"]
    assert [row.remote_id for row in rows.rows] == ["1000"]
    (ticket,) = bodies(normative, "tickets", b'{"id":1,"via":{"channel":"web"},"requester_id":' + number + b"}")
    assert ticket["customer_ref"] == {"table": "users", "remote_id": "1000"}


def test_tables_of_one_stream_share_its_records() -> None:
    mapping = compiled(
        """
        [users]
        kind = "customer"
        key = "id"
        where = { role = "end-user" }
        fields = { display_name = "name" }
        [agents]
        stream = "users"
        kind = "agent"
        key = "id"
        where = { role = { not = ["end-user", "null"] } }
        fields = { display_name = "name" }
        """
    )
    page = mapping.map_page(
        "users", Page(records=[{"id": 1, "role": "end-user"}, {"id": 2, "role": "admin"}, {"id": 3}])
    )
    users, agents = page.tables["users"], page.tables["agents"]
    assert ([r.remote_id for r in users.rows], users.untaken) == (["1"], ["2", "3"])
    assert ([r.remote_id for r in agents.rows], agents.untaken) == (["2"], ["1", "3"])
    assert (page.skipped, users.skipped, agents.skipped) == (1, 1, 1)


def test_preview_has_one_entry_a_record(normative: CompiledMapping) -> None:
    records = [json.dumps(TICKET).encode(), b"{bad", b'{"id": 2}', json.dumps({**TICKET, "status": "deleted"}).encode()]
    entries = preview(normative, "tickets", records)
    assert [entry["ok"] for entry in entries] == [True, False, True, True]
    assert entries[0].keys() == {"ok", "table", "kind", "key", "data"}
    assert entries[0]["data"]["priority_raw"] is None
    assert entries[1]["reject"] == {
        "table": "tickets",
        "field": None,
        "reason": "the record is no JSON that can be read",
    }
    assert entries[2] == {"ok": True, "skipped": True}
    assert entries[3] == {
        "ok": True,
        "table": "tickets",
        "kind": "ticket",
        "key": "12345678901234567890",
        "deleted": True,
    }


def test_preview_shows_elements_as_children(normative: CompiledMapping) -> None:
    event = {
        "ticket_id": 9,
        "child_events": [{"id": 1, "event_type": "Comment", "body": "x"}, {"event_type": "Comment"}],
    }
    (entry,) = preview(normative, "ticket_events", [event])
    assert entry["ok"] is False
    good, bad = entry["children"]
    assert good["data"]["visibility"] == "internal"
    assert bad["reject"]["field"] == "remote_id"


def test_preview_puts_the_first_table_first_and_the_others_below() -> None:
    mapping = compiled(
        '[a]\nkind="customer"\nkey="id"\nfields={display_name="n"}\n[b]\nstream="a"\nkind="account"\nkey="id"\nfields={name="n"}'
    )
    (entry,) = preview(mapping, "a", [{"id": 1, "n": "x"}])
    assert (entry["table"], entry["children"][0]["table"]) == ("a", "b")


def test_a_revision_follows_the_content_and_nothing_else() -> None:
    first = compiled(NORMATIVE)
    assert first.revision == compiled(f"# a remark\n{NORMATIVE}").revision
    assert first.revision != compiled(NORMATIVE.replace('"hold"', '"held"')).revision


def test_a_record_nested_too_deeply_is_rejected_alone(normative: CompiledMapping) -> None:
    deep = b'{"id": 1, "name": "a", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    rows = normative.map_page("users", Page(records=[deep, b'{"id": 2}'])).tables["users"]
    assert [row.remote_id for row in rows.rows] == ["2"]
    assert [reject.index for reject in rows.rejects] == [0]
    with pytest.raises(Temporary, match="nested too deeply"):
        normative.map_page("users", Page(body=b"[" + deep + b"]"))
