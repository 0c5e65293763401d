# ruff: noqa: E501 (mapping files stand as their users write them)
"""Laws that hold for any record and any mapping, and the check that finds mappings which break them."""

import json
import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hub.connector import Field, Page
from hub.errors import HubError
from hub.mapping import LAWS, CompiledMapping, Source, check, compile_mapping
from hub.money import exponent
from hub.records import KINDS

MAPPING = """
[t]
kind = "ticket"
key = "id"
updated_at = ["u", "a.u"]
where = { "w.x" = { not = "no" } }
deleted = { d = true }
[t.fields]
subject = ["a.b", "a"]
description = { inputs = ["a", "l[0]", "l[-1].b"], as = "first_text" }
external_ref = "l[id=7].b"
status = { from = "s", values = { 1 = "open", true = "closed", a = "new" } }
priority = { from = "s", values = { 1 = "low" }, default = "none" }
customer_ref = { ref = "t", from = ["a.b", "s"] }
order_refs = { ref = { kind = "order", by = "number" }, from = "l" }
tags = "l[].b"
is_spam = "s"
custom = { all = "a", sum = { from = "n[]", as = "max" } }
satisfaction = { score = "a.b", comment = "l[1].c.d" }
[o]
stream = "t"
each = "l"
kind = "order"
key = { all = ["^.id", "id"] }
[o.fields]
total = { money = "n", currency = ["c", "^.c"], unit = "major", default = "EUR" }
lines = { each = "l", where = { id = [1, 2] }, fields = { sku = "b", quantity = { from = "n", as = "decimal" } } }
[m]
stream = "t"
kind = "message"
key = "id"
[m.fields]
visibility = { from = "s", values = { a = "public", b = "internal" } }
"""
NAMES = st.sampled_from(["id", "a", "b", "l", "s", "n", "c", "u", "w", "x", "d"])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**25), 10**25), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6), st.sampled_from(["a", "1", "no", "2026-11-22T07:00:00Z", "2026-13-01", "EUR", "12.50"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=12
)
RECORDS = st.dictionaries(NAMES, VALUES, max_size=7)


@pytest.fixture(scope="module")
def mapping() -> CompiledMapping:
    return compile_mapping(Source(MAPPING, "mappings/laws.toml"))


def text_of(records: list[Any]) -> list[bytes]:
    return [json.dumps(record).encode() for record in records]


@settings(max_examples=150, deadline=None)
@given(st.lists(RECORDS | VALUES, max_size=5))
@example([{"id": 1, "l": [{"id": 1, "n": 1e300}]}])
@example([{"id": "\ud800", "a": "\udc00\ud800"}])
def test_any_json_maps_and_a_body_maps_as_its_records(mapping: CompiledMapping, records: list[Any]) -> None:
    raws = text_of(records)
    body = mapping.map_page("t", Page(body=b'{"x": [' + b",".join(raws) + b"]}", at="x"))
    single = mapping.map_page("t", Page(records=raws))
    assert body.tables == single.tables
    assert (body.read, body.skipped) == (single.read, single.skipped)
    assert body.raws() == raws
    for rows in body.tables.values():
        for row in rows.rows:
            msgspec.json.decode(row.body, type=KINDS[rows.kind].struct)
        if mapping.tables[rows.table].each is None:
            taken = len(rows.rows) + len(rows.deleted) + len(rows.rejects) + len(rows.untaken_at)
            odd = sum(not isinstance(record, dict) for record in records) if rows.table != "t" else 0
            assert rows.read == len(records)
            assert taken + odd == rows.read


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(mapping: CompiledMapping, records: list[Any], rng: random.Random) -> None:
    shuffled = rng.sample(range(len(records)), len(records))
    one = mapping.map_page("t", Page(records=text_of(records)))
    other = mapping.map_page("t", Page(records=text_of([records[at] for at in shuffled])))
    for table, rows in one.tables.items():
        there = {(shuffled[row.index], row.remote_id, row.hash) for row in other.tables[table].rows}
        assert {(row.index, row.remote_id, row.hash) for row in rows.rows} == there
        assert sorted(rows.deleted) == sorted(other.tables[table].deleted)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_nothing_but_a_listed_word_is_public(mapping: CompiledMapping, value: Any) -> None:
    (row,) = mapping.map_page("t", Page(records=text_of([{"id": 1, "s": value}]))).tables["m"].rows
    public = msgspec.json.decode(row.body)["visibility"] == "public"
    assert public == (value == "a")


@settings(max_examples=200, deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=None, min_value=-(10**18), max_value=10**18),
       st.sampled_from(["EUR", "JPY", "KWD"]), st.booleans())  # fmt: skip
def test_money_agrees_with_decimal_arithmetic(
    mapping: CompiledMapping, amount: Decimal, currency: str, quoted: bool
) -> None:
    number = f'"{amount}"' if quoted else str(amount)
    raw = f'{{"id": 1, "l": [{{"id": 2, "n": {number}, "c": "{currency}"}}]}}'.encode()
    rows = mapping.map_page("t", Page(records=[raw])).tables["o"]
    minor = Fraction(amount) * 10 ** exponent(currency)
    if minor.denominator == 1:
        (row,) = rows.rows
        assert msgspec.json.decode(row.body)["total"] == {"amount": int(minor), "currency": currency}
    else:
        assert rows.rejects[0].field == "total"


@settings(max_examples=100, deadline=None)
@given(st.integers(min_value=-(10**30), max_value=10**30))
def test_ids_keep_every_digit(mapping: CompiledMapping, number: int) -> None:
    raw = f'{{"id": {number}, "l": [{{"id": {number}}}]}}'.encode()
    page = mapping.map_page("t", Page(records=[raw]))
    assert [row.remote_id for row in page.tables["t"].rows] == [str(number)]
    assert [row.remote_id for row in page.tables["o"].rows] == [f"{number}:{number}"]


WRITE = """
[t]
kind = "customer"
key = "id"
writable = ["display_name", "status", "is_blocked", "account_ref", "tags", "last_seen_at", "billing_balance", "default_address", "email"]
[t.fields]
display_name = "x.name"
email = { from = "mail", as = "email" }
status = { from = "f[id=3].value", values = { 1 = "active", gone = "archived", true = "suspended" }, default = "prospect" }
is_blocked = { from = "b", values = { Y = true, N = false } }
account_ref = { ref = "t", from = "org.id" }
tags = { from = "tags", as = "split", sep = ";" }
last_seen_at = { from = "seen", as = "epoch_millis" }
billing_balance = { money = "money.n", currency = { value = "KWD" }, unit = "major" }
default_address = { line1 = "adr.street", city = "adr.town", type = { value = "billing" } }
"""
WRITTEN = st.fixed_dictionaries(
    {},
    optional={
        "display_name": st.text(max_size=20).filter(lambda t: t.isprintable()),
        "status": st.sampled_from(["active", "archived", "suspended", "prospect"]),
        "is_blocked": st.booleans(),
        "account_ref": st.integers(1, 10**12).map(lambda n: {"table": "t", "remote_id": str(n)}),
        "tags": st.lists(st.from_regex(r"[a-z]{1,5}", fullmatch=True), min_size=1, max_size=3),
        "last_seen_at": st.datetimes().map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000).isoformat() + "Z"),
        "billing_balance": st.integers(-(10**12), 10**12).map(lambda n: {"amount": n, "currency": "KWD"}),
        "default_address": st.fixed_dictionaries({"line1": st.just("a street"), "city": st.text(max_size=9).filter(str.isprintable)}),
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def writing() -> CompiledMapping:
    return compile_mapping(Source(WRITE, "mappings/write.toml"))


@settings(max_examples=150, deadline=None)
@given(WRITTEN)
def test_what_is_written_is_read_back_and_nothing_else_is_written(writing: CompiledMapping, changes: Any) -> None:
    words = writing.write("t", changes)
    (row,) = writing.map_page("t", Page(records=[{**words, "id": 1}])).tables["t"].rows
    again = msgspec.json.decode(row.body)
    for name, value in changes.items():
        if name == "default_address":
            assert again[name] == {**value, "type": "billing"}
        elif name == "last_seen_at":
            assert again[name].rstrip("Z0").rstrip(".:") == value.rstrip("Z0").rstrip(".:")
        else:
            assert again[name] == value
    untouched = writing.write("t", {})
    assert untouched == {}


def test_lawful_mappings_pass_the_check(mapping: CompiledMapping, writing: CompiledMapping) -> None:
    assert check(mapping) == []
    assert check(writing) == []
    assert all(law(writing) == [] for law in LAWS)


def problems(text: str, **more: Any) -> list[tuple[str, str, str]]:
    found = check(compile_mapping(Source(text, "mappings/x.toml")), **more)
    return [(problem.severity, problem.where, problem.message) for problem in found]


T = '[t]\nkind = "ticket"\nkey = "id"\n'


def test_an_unlisted_word_that_becomes_open_or_closed_is_an_error() -> None:
    (first, second) = problems(
        f'{T}[t.fields]\nstatus = {{ from = "s", values = {{ a = "new" }}, otherwise = "open" }}\n[u]\nkind = "order"\nkey = "id"\n'
        '[u.fields]\nstatus = { when = [{ if = { a = 1 }, value = "draft" }], otherwise = "open" }'
    )
    assert first[:2] == ("error", "mappings/x.toml: [t] status")
    assert 'becomes "open"' in first[2]
    assert second[:2] == ("warning", "mappings/x.toml: [u] status")


def test_writing_a_narrower_value_is_an_error() -> None:
    text = f"""{T}
    [t.fields]
    priority = {{ from = "p", values = {{ yes = "high", no = "normal" }} }}
    status = {{ from = "s", values = {{ o = "open" }} }}
    [t.write]
    priority = {{ to = "p", values = {{ urgent = "yes", high = "yes", normal = "no" }}, otherwise = "no" }}
    status = {{ to = "s", values = {{ unknown = "o", open = "o" }} }}
    """
    found = problems(text)
    said = {(severity, message) for severity, _, message in found}
    assert ("error", "'urgent' is written, and read back as 'high'") in said
    assert ("warning", "'low' is written, and read back as 'normal'") in said
    assert any('writes "unknown"' in message for _, message in said)


def test_a_write_that_cannot_be_read_is_an_error() -> None:
    text = '[o]\nkind = "order"\nkey = "id"\n[o.fields]\ntotal = { money = "t", currency = "c", unit = "minor" }\n[o.write]\ntotal = { to = "t", unit = "major" }'
    ((severity, where, message),) = problems(text)
    assert (severity, where) == ("error", "mappings/x.toml: [o] total")
    assert "reject" in message


def test_parts_of_a_written_object_are_tried_too() -> None:
    text = '[o]\nkind = "order"\nkey = "id"\nwritable = ["shipping_address"]\n[o.fields.shipping_address]\ncity = "c"\ncountry_code = { from = "n", values = { D = "DE" } }\n[o.write.shipping_address]\ncountry_code = { to = "n", values = { DE = "Germany" } }'
    ((severity, where, message),) = problems(text)
    assert (severity, where) == ("error", "mappings/x.toml: [o] shipping_address.country_code")
    assert "'DE' is written, and read back as None" in message


def test_paths_and_words_are_held_against_what_the_vendor_describes() -> None:
    text = f"""{T}[t.fields]
    subject = "Subjct"
    brand = "Account.Name"
    status = {{ from = "Status", values = {{ New = "new" }} }}
    priority = {{ from = "Priority", values = {{ High = "high" }}, otherwise = "reject" }}
    type = {{ when = [{{ if = {{ Type = "Problem" }}, value = "problem" }}], otherwise = {{ from = "Type", values = {{ Q = "question" }} }} }}
    """
    fields = [
        Field("id", "id"), Field("Account", "reference"), Field("Status", "picklist", ("New", "Closed")),
        Field("Priority", "picklist", ("High", "Low")), Field("Type", "picklist", ("Problem", "Q")),
    ]  # fmt: skip
    found = problems(text, fields={"t": fields, "elsewhere": fields, "none": []})
    assert ("warning", "mappings/x.toml: [t]", 'path "Subjct": the vendor\'s stream t has no such field') in found
    assert ("warning", "mappings/x.toml: [t] status", "no meaning for Closed; they become unknown") in found
    assert ("error", "mappings/x.toml: [t] priority", "no meaning for Low; such records are rejected") in found
    assert len(found) == 3


def test_what_only_some_accounts_have_is_no_problem_of_the_usual_mapping() -> None:
    usual = f'{T}[t.fields]\nsubject = "Edition"\n'
    text = f'{usual}brand = "Brnd"\nstatus = {{ from = ["State", "Stage"], values = {{ N = "new" }} }}\n'
    text = text.replace("[t.fields]", 'deleted = { Stage = "X" }\n[t.fields]')
    fields = {"t": [Field("id", "id"), Field("Stage", "picklist")]}
    found = problems(text, fields=fields, usual=compile_mapping(Source(usual, "built-in t")))
    assert found == [("warning", "mappings/x.toml: [t]", 'path "Brnd": the vendor\'s stream t has no such field')]


def test_a_word_that_marks_the_deleted_needs_no_other_meaning() -> None:
    text = f'{T}deleted = {{ State = "gone" }}\n[t.fields]\nstatus = {{ from = "State", values = {{ N = "new" }} }}\n'
    assert problems(text, fields={"t": [Field("id", "id"), Field("State", "picklist", ("N", "gone"))]}) == []


def test_paths_are_held_against_recorded_samples() -> None:
    text = f'{T}[t.fields]\nsubject = "a.b"\ntags = "l[].x"\nbrand = "no[0].z"'
    samples = [b'{"id": 1, "a": {"b": null}}', {"id": 2, "l": [{"x": 1}], "no": []}]
    assert problems(text, samples={"t": samples}) == [
        ("warning", "mappings/x.toml: [t]", 'path "no[].z" is in none of 2 recorded records of t')
    ]


def test_errors_of_the_room_are_hub_errors(mapping: CompiledMapping) -> None:
    with pytest.raises(HubError):
        mapping.write("t", {"subject": "x"})
