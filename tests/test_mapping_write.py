# ruff: noqa: E501 (mapping files stand as their users write them)
"""The write side and legacy verbs: unified changes in the vendor's words."""

from datetime import UTC, datetime
from typing import Any

import pytest

from hub.connector import Ack, Verb
from hub.errors import Invalid, MappingError, Unsupported
from hub.mapping import CompiledMapping, Source, compile_mapping
from hub.money import Money
from hub.records import TicketStatus

DESK = """
[tickets]
kind = "ticket"
key = "id"
writable = ["priority", "type", "external_ref", "tags", "due_at", "customer_ref", "is_spam", "custom.vip", "order_refs", "cc"]
[tickets.fields]
priority = { from = "priority", values = { 1 = "low", 2 = "normal", true = "high" }, default = "none" }
type = "kind"
external_ref = ["fields[id=9].value", "external"]
tags = "tags"
due_at = { from = "due", as = "epoch_seconds" }
customer_ref = { ref = "tickets", from = "requester.id" }
is_spam = { from = "spam", values = { Y = true, N = false } }
channel = { value = "email" }
order_refs = { ref = { kind = "order", by = "number" }, from = "fields[id='10'].value", as = "split" }
cc = { from = "cc", as = "email" }
description = "description"
custom = { vip = { from = "fields[id=11].value", as = "bool" }, plain = "x" }
[tickets.fields.status]
from = "status"
values = { open = "open", hold = "on_hold", solved = "solved" }
[tickets.write.status]
to = "state.name"
values = { open = "open", on_hold = "hold", solved = "solved" }

[comments]
kind = "message"
key = "id"
[comments.fields]
visibility = { from = "public", values = { true = "public", false = "internal" } }
body_text = "plain_body"
[comments.write]
body_text = "comment.body"
visibility = { to = "comment.public", values = { public = true, internal = false } }

[mails]
kind = "message"
key = "id"
writable = ["body_text"]
[mails.fields]
visibility = { value = "public" }
body_text = "text"

[orders]
kind = "order"
key = "id"
writable = ["total", "shipping_address", "placed_at"]
[orders.fields]
placed_at = { from = "placed", as = "datetime", format = "%d.%m.%Y %H:%M", zone = "Europe/Berlin" }
total = { money = "gross", currency = { value = "EUR" }, unit = "major" }
[orders.fields.shipping_address]
line1 = { from = "Street", as = "split", sep = "\\n", index = 0, limit = 1 }
line2 = { from = "Street", as = "split", sep = "\\n", index = 1, limit = 1 }
city = "City"
country_code = { from = "Country", as = "country" }
type = { value = "shipping" }
[orders.write.shipping_address.line1]
to = "Street"
inputs = ["line1", "line2"]
as = "join"
sep = "\\n"

[customers]
kind = "customer"
key = "id"
[customers.write]
display_name = { to = "name", inputs = ["given_name", "family_name"], as = "name_join" }
language = { to = "lang", values = { de = "D" }, otherwise = "E", default = "?" }
notes = { to = "touched", value = "by hub" }
default_address = { city = "town" }
billing_balance = { to = "balance", unit = "minor" }
"""


@pytest.fixture(scope="module")
def desk() -> CompiledMapping:
    return compile_mapping(Source(DESK, "mappings/desk.toml"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"priority": "low"}, {"priority": 1}),
        ({"priority": "high"}, {"priority": True}),
        ({"priority": "none"}, {"priority": None}),
        ({"priority": None}, {"priority": None}),
        ({"type": "incident"}, {"kind": "incident"}),
        ({"status": TicketStatus.on_hold}, {"state": {"name": "hold"}}),
        ({"external_ref": "X"}, {"fields": [{"id": 9, "value": "X"}]}),
        ({"external_ref": None}, {"fields": [{"id": 9, "value": None}]}),
        ({"tags": ["a", "b"]}, {"tags": ["a", "b"]}),
        ({"due_at": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)}, {"due": 1_700_000_000}),
        ({"due_at": "2023-11-14T23:13:20+01:00"}, {"due": 1_700_000_000}),
        ({"customer_ref": {"table": "tickets", "remote_id": "7"}}, {"requester": {"id": "7"}}),
        ({"customer_ref": "7"}, {"requester": {"id": "7"}}),
        ({"is_spam": True}, {"spam": "Y"}),
        ({"channel": "email"}, {}),
        ({"order_refs": [{"kind": "order", "by": "number", "value": "1"}, "2"]}, {"fields": [{"id": "10", "value": "1,2"}]}),
        ({"custom": {"vip": True}, "external_ref": "X"}, {"fields": [{"id": 11, "value": True}, {"id": 9, "value": "X"}]}),
        ({"custom": None}, {"fields": [{"id": 11, "value": None}]}),
    ],
)  # fmt: skip
def test_only_what_is_asked_is_written_in_the_vendors_words(desk: CompiledMapping, changes: Any, words: Any) -> None:
    assert desk.write("tickets", changes) == words
    assert desk.write("ticket", changes) == words


def test_one_picked_element_holds_all_that_is_written_to_it() -> None:
    text = '[t]\nkind = "ticket"\nkey = "id"\nwritable = ["subject", "reason"]\n[t.fields]\nsubject = "f[id=1].a"\nreason = "f[id=1].b"'
    mapping = compile_mapping(Source(text, "x"))
    assert mapping.write("t", {"subject": "1", "reason": "2"}) == {"f": [{"id": 1, "a": "1", "b": "2"}]}


@pytest.mark.parametrize(
    ("table", "changes", "error", "said"),
    [
        ("tickets", {"description": "x"}, Unsupported, "[tickets] description: cannot be written here; writable:"),
        ("tickets", {"channel": "chat"}, Unsupported, 'is always "email" in this table'),
        ("tickets", {"custom": {"plain": 1}}, Unsupported, "[tickets] custom.plain: cannot be written here; writable: vip"),
        ("tickets", {"priority": "urgent"}, MappingError, 'no word for "urgent"; known: high, low, none, normal'),
        ("tickets", {"status": "unknown"}, MappingError, 'no word for "unknown"'),
        ("tickets", {"type": "unknown"}, MappingError, 'no word for "unknown"'),
        ("tickets", {"tags": "a"}, MappingError, "expected a list, found a string"),
        ("tickets", {"tags": [5]}, MappingError, "expected a text, found an integer"),
        ("tickets", {"due_at": "soon"}, MappingError, "due_at: cannot be written"),
        ("tickets", {"due_at": 5}, MappingError, "is no time"),
        ("tickets", {"custom": "x"}, MappingError, "expected an object, found a string"),
        ("refund", {"reason": "other"}, Unsupported, "no table of kind refund is writable here"),
        ("tikets", {"tags": []}, MappingError, 'unknown table or kind "tikets"; did you mean "tickets"?'),
        ("orders", {"total": {"amount": "12", "currency": "EUR"}}, MappingError, "an amount in minor units as a whole number"),
        ("orders", {"total": {"amount": 12, "currency": "E"}}, MappingError, "three letters"),
        ("orders", {"shipping_address": {"region": "x"}}, Unsupported, "shipping_address.region: cannot be written"),
        ("customers", {"given_name": "A"}, Unsupported, "given_name, family_name can only be written together"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_told(
    desk: CompiledMapping, table: str, changes: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        desk.write(table, changes)
    assert said in str(caught.value)


def test_an_internal_message_is_never_written_as_public(desk: CompiledMapping) -> None:
    note = {"body_text": "x", "visibility": "internal"}
    assert desk.write("comments", note) == {"comment": {"body": "x", "public": False}}
    assert desk.write("message", note) == desk.write("comments", note)
    assert desk.write("comments", {"body_text": "x"}) == {"comment": {"body": "x", "public": False}}
    assert desk.write("comments", {"visibility": "public"}) == {"comment": {"public": True}}
    assert desk.write("mails", {"body_text": "x", "visibility": "public"}) == {"text": "x"}
    with pytest.raises(Unsupported, match='is always "public"'):
        desk.write("mails", note)
    with pytest.raises(MappingError, match="no word for"):
        desk.write("comments", {"visibility": None})
    with pytest.raises(MappingError, match=r"several tables can take this: comments, mails; name one of them"):
        desk.write("message", {"body_text": "x", "visibility": "public"})


def test_a_table_that_cannot_say_visibility_refuses_it() -> None:
    text = '[m]\nkind = "message"\nkey = "id"\nwritable = ["body_text"]\n[m.fields]\nvisibility = { from = "v", values = { i = "internal" } }\nbody_text = "b"'
    mapping = compile_mapping(Source(text, "x"))
    with pytest.raises(Unsupported, match="visibility: cannot be written here"):
        mapping.write("message", {"body_text": "x", "visibility": "internal"})


def test_money_times_and_addresses_go_back(desk: CompiledMapping) -> None:
    assert desk.write("orders", {"total": {"amount": 1250, "currency": "EUR"}}) == {"gross": "12.50"}
    with pytest.raises(MappingError, match="amounts are always in EUR here, found JPY"):
        desk.write("orders", {"total": Money(5, "JPY")})
    assert desk.write("orders", {"placed_at": "2026-07-01T10:00:00Z"}) == {"placed": "01.07.2026 12:00"}
    address = {"line1": "a", "line2": "b", "city": "c", "country_code": "DE", "type": "shipping"}
    assert desk.write("orders", {"shipping_address": address}) == {"Street": "a\nb", "City": "c", "Country": "DE"}
    assert desk.write("orders", {"shipping_address": {"line1": "a", "region": None}}) == {"Street": "a"}
    assert desk.write("orders", {"shipping_address": None}) == {"Street": None, "City": None, "Country": None}


def test_write_tables_may_join_rename_and_fix(desk: CompiledMapping) -> None:
    assert desk.write("customers", {"given_name": "Ada", "family_name": "King"}) == {"name": "Ada King"}
    assert desk.write("customers", {"language": "de"}) == {"lang": "D"}
    assert desk.write("customers", {"language": "fr"}) == {"lang": "E"}
    assert desk.write("customers", {"language": None}) == {"lang": "?"}
    assert desk.write("customers", {"notes": "whatever"}) == {"touched": "by hub"}
    assert desk.write("customers", {"default_address": {"city": "x"}}) == {"town": "x"}
    assert desk.write("customers", {"billing_balance": {"amount": 5, "currency": "EUR"}}) == {"balance": 5}


VERBS = """
[actions."payment.refund"]
insert = "refunds"
set = { no = "payment.remote_id", major = "amount.major", minor = "amount.minor", cur = "amount.currency", why = "reason", note = "input.note", hub = { value = "hub" }, one = 1, vip = "payment.custom.vip" }
ack = { table = "refunds", where = { id = "run.key" }, done = { status = "BOOKED" }, failed = { status = ["NO", "LATE"] }, within = "10m" }

[actions."order.update_shipping_address"]
update = "orders"
where = { order_no = "order.number" }
set = { street = "address.line1", town = "order.shipping_address.city" }

[actions."ticket.note"]
file = "out/note-{run.id}-{ticket.remote_id}.csv"
set = { text = "body" }

[actions."acme.poke"]
insert = "pokes"
set = { what = "whatever.comes" }
"""
RUN = {"run": {"id": "run_1", "key": "k"}}


@pytest.fixture(scope="module")
def verbs() -> CompiledMapping:
    return compile_mapping(Source(VERBS, "mappings/erp.toml"))


def test_a_verb_is_bound_to_the_context_of_a_run(verbs: CompiledMapping) -> None:
    context = {
        "payment": {"remote_id": "p1", "custom": None}, "amount": Money(1250, "EUR"),
        "input": {"reason": "other", "note": None}, **RUN,
    }  # fmt: skip
    assert verbs.bind("payment.refund", context) == Verb(
        insert="refunds",
        set={
            "no": "p1", "major": "12.50", "minor": 1250, "cur": "EUR", "why": "other", "note": None, "hub": "hub",
            "one": 1, "vip": None,
        },
        ack=Ack("refunds", {"id": "k"}, {"status": "BOOKED"}, {"status": ["NO", "LATE"]}, 600.0),
    )  # fmt: skip
    assert verbs.bind("acme.poke", {"whatever": {"comes": 5}}).set == {"what": 5}


def test_an_update_finds_its_row_or_fails(verbs: CompiledMapping) -> None:
    order = {"number": "A1", "shipping_address": {"city": "Ulm"}}
    context = {"order": order, "address": {"line1": "x"}, **RUN}
    verb = verbs.bind("order.update_shipping_address", context)
    assert (verb.update, verb.where, verb.set) == ("orders", {"order_no": "A1"}, {"street": "x", "town": "Ulm"})
    with pytest.raises(MappingError, match="a row cannot be found by nothing"):
        verbs.bind("order.update_shipping_address", {**context, "order": {"number": None}})
    with pytest.raises(MappingError, match="there is no `order` in this action's context"):
        verbs.bind("order.update_shipping_address", {"address": {}, **RUN})


@pytest.mark.parametrize("odd", ["../x", "a/b", "a\\b", "", None, ".hidden", "a b"])
def test_a_file_name_takes_no_odd_values(verbs: CompiledMapping, odd: Any) -> None:
    with pytest.raises(Invalid, match="cannot be part of a file name"):
        verbs.bind("ticket.note", {"ticket": {"remote_id": odd}, "body": "x", **RUN})


def test_a_file_name_is_filled(verbs: CompiledMapping) -> None:
    verb = verbs.bind("ticket.note", {"ticket": {"remote_id": "7"}, "body": "x", **RUN})
    assert (verb.file, verb.set, verb.ack) == ("out/note-run_1-7.csv", {"text": "x"}, None)


def test_a_verb_that_is_not_there_is_unsupported(verbs: CompiledMapping) -> None:
    with pytest.raises(Unsupported, match=r'has no \[actions."payment.refnd"\]; did you mean "payment.refund"'):
        verbs.bind("payment.refnd", {})
    with pytest.raises(MappingError, match="this action has no amount"):
        verbs.bind("payment.refund", {"payment": {"remote_id": "p"}, **RUN})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "expected exactly one of insert, update and file, found (none)"),
        ('insert = "a"\nfile = "b"', "found file, insert"),
        ('insert = "a"', "needs `set`"),
        ('insert = "a"\nset = { x = "run.id" }\nfoo = 1', 'unknown key "foo"'),
        ('update = "a"\nset = { x = "run.id" }', "`update` needs `where`"),
        ('insert = "a"\nwhere = { x = "run.id" }\nset = { x = "run.id" }', "where: belongs to `update` only"),
        ('insert = "a"\nset = { x = "PENDING" }', 'unknown root "PENDING"'),
        ('insert = "a"\nset = { x = "not one" }', '"not one" is no expression'),
        ('insert = "a"\nset = { x = 1.5 }', "expected an expression such as"),
        ('insert = "a"\nset = { x = { val = 1 } }', 'unknown key "val"'),
        ('insert = "a"\nset = { x = "run.name" }', 'unknown expression "run.name"'),
        ('insert = "a"\nset = { x = "amount" }', 'unknown expression "amount"'),
        ('insert = "a"\nset = { x = "payment.idd" }', 'unknown field of payment "idd"'),
        ('insert = "a"\nset = { x = "order.shipping_address.town" }', 'unknown field of order.shipping_address "town"'),
        ('insert = "a"\nset = { x = "input.odd" }', 'unknown input of payment.refund "odd"'),
        ('insert = "a"\nset = { x = "run.id" }\nack = { table = "a" }', "ack: needs `where`"),
        ('insert = "a"\nset = { x = "run.id" }\nack = { table = "a", where = { x = "run.id" }, done = { s = 1 }, within = "soon" }', "ack.within: expected a duration"),
        ('file = "x-{nobody.id}"\nset = { x = "run.id" }', 'file: unknown root "nobody"'),
    ],
)  # fmt: skip
def test_a_faulty_verb_is_told(body: str, said: str) -> None:
    with pytest.raises(MappingError) as caught:
        compile_mapping(Source(f'[actions."payment.refund"]\n{body}', "mappings/erp.toml"))
    assert said in caught.value.message
    assert 'mappings/erp.toml: [actions."payment.refund"]' in caught.value.message
