"""How fields are filled: paths, types, enums, money, lists, cases and converters."""

from typing import Any

import msgspec

from hub.connector import Page
from hub.mapping import CompiledMapping, Source, compile_mapping


def compiled(text: str, **more: Any) -> CompiledMapping:
    return compile_mapping(Source(text, "mappings/test.toml"), **more)


def table(fields: str, *, kind: str = "ticket", top: str = "") -> CompiledMapping:
    return compiled(f'[t]\nkind = "{kind}"\nkey = "id"\n{top}\n[t.fields]\n{fields}')


def one(mapping: CompiledMapping, record: dict[str, Any]) -> dict[str, Any]:
    page = mapping.map_page("t", Page(records=[{"id": "1", **record}])).tables["t"]
    assert not page.rejects, page.rejects
    return msgspec.json.decode(page.rows[0].body)  # type: ignore[no-any-return]


def rejected(mapping: CompiledMapping, record: dict[str, Any]) -> tuple[str | None, str]:
    (reject,) = mapping.map_page("t", Page(records=[{"id": "1", **record}])).tables["t"].rejects
    return reject.field, reject.reason


def test_a_path_may_be_a_value_and_an_object() -> None:
    mapping = table('customer_ref = { ref = "t", from = ["customer.id", "customer"] }', kind="order")
    assert one(mapping, {"customer": "cus_1"})["customer_ref"]["remote_id"] == "cus_1"
    assert one(mapping, {"customer": {"id": "cus_2"}})["customer_ref"]["remote_id"] == "cus_2"
    assert one(mapping, {"customer": [1]})["customer_ref"] is None


def test_positions_picks_quotes_and_all() -> None:
    mapping = table(
        """
        subject = "a[0].x"
        reason = "a[-1].x"
        resolution = "'odd name'.'it''s'"
        brand = "a[x='2'].y"
        form = "deep[kind=main].list[ok=true].v"
        tags = "a[].x"
        custom.all = "@"
        """
    )
    got = one(
        mapping,
        {
            "a": [{"x": 1}, {"x": "2", "y": "why"}, {"x": 3}],
            "odd name": {"it's": "here"},
            "deep": [{"kind": "other"}, {"kind": "main", "list": [{"ok": "no"}, {"ok": True, "v": "found"}]}],
        },
    )
    assert (got["subject"], got["reason"], got["resolution"]) == ("1", "3", "here")
    assert (got["brand"], got["form"], got["tags"]) == ("why", "found", ["1", "2", "3"])
    assert got["custom"]["all"]["a"][0] == {"x": 1}
    empty = one(mapping, {"a": {"x": 1}, "odd name": 3, "deep": [[]]})
    assert [empty[k] for k in ("subject", "reason", "resolution", "brand", "form", "tags")] == [None] * 6


def test_typed_paths_treat_what_is_no_object_as_null() -> None:
    mapping = table('subject = "a[0].x"\nbrand = "a[k=1].y"\nform = "b[1]"\ntags = "c[].d[].e"')
    assert one(mapping, {"a": [5], "b": "text", "c": [{"d": [{"e": "1"}, 4]}, {"d": 5}, {"d": [{"e": "2"}]}]}) == {
        "remote_id": "1",
        "subject": None,
        "brand": None,
        "form": None,
        "tags": ["1", "2"],
    }


def test_scalars_fit_the_type_of_the_field() -> None:
    mapping = table('subject = "v"\nis_spam = "v"\ntags = "v"\ndue_at = "t"')
    assert one(mapping, {"v": True}) == {
        "remote_id": "1", "subject": "true", "is_spam": True, "tags": ["true"], "due_at": None,
    }  # fmt: skip
    assert one(mapping, {"v": 1.50})["subject"] == "1.5"
    assert one(mapping, {"v": "true", "t": ""})["is_spam"] is None
    assert one(mapping, {"v": ["a", None, 1, {}]})["tags"] == ["a", "1"]
    size = table('size = "n"', kind="account")
    assert [one(size, {"n": n})["size"] for n in (5, "12", 3.0, 3.5, "many", [1])] == [5, 12, 3, None, None, None]


def test_times_reject_what_is_no_time() -> None:
    mapping = table('due_at = "t"\nsolved_at = { from = "s", as = "epoch_seconds" }')
    assert one(mapping, {"t": "2026-02-03", "s": 1_700_000_000})["solved_at"] == "2023-11-14T22:13:20Z"
    assert rejected(mapping, {"t": "2026-02-30"}) == ("due_at", '"2026-02-30" is no time that exists')
    field, reason = rejected(mapping, {"t": 1_700_000_000})
    assert field == "due_at"
    assert "epoch_seconds" in reason
    assert rejected(mapping, {"t": "tomorrow, says Ada"}) == ("due_at", "a text is no ISO 8601 time")
    assert rejected(mapping, {"s": 10**18})[0] == "solved_at"


def test_enums_answer_null_unlisted_words_and_rejects() -> None:
    mapping = table(
        """
        status = { from = "s", values = { 2 = "open", true = "closed" } }
        priority = { from = "p", values = { low = "low" }, default = "none", otherwise = "reject" }
        type = "y"
        channel = { from = "c", as = "lower", values = { web = "portal" } }
        """
    )
    assert one(mapping, {"s": 2, "y": "incident", "c": "WEB"}) == {
        "remote_id": "1",
        "status": "open",
        "status_raw": "2",
        "priority": "none",
        "priority_raw": None,
        "type": "incident",
        "type_raw": "incident",
        "channel": "portal",
        "channel_raw": "WEB",
    }
    got = one(mapping, {"s": True, "y": {"a": 1}})
    assert (got["status"], got["status_raw"], got["type"], got["type_raw"]) == ("closed", "true", "unknown", '{"a":1}')
    assert one(mapping, {"s": 1})["status"] == "unknown"
    assert rejected(mapping, {"p": "odd"}) == ("priority", 'no meaning for "odd"; add it under values')


def test_an_enum_without_unknown_rejects() -> None:
    mapping = table(
        'visibility = { value = "internal" }\ndirection = { from = "d", values = { in = "inbound" } }', kind="message"
    )
    assert one(mapping, {"d": "in"})["direction"] == "inbound"
    assert one(mapping, {})["direction"] is None
    assert rejected(mapping, {"d": "x" * 80})[1] == "no meaning for a long text; add it under values"


def test_money_is_exact_or_rejected() -> None:
    mapping = table(
        """
        total = { money = "t", currency = "cur", unit = "major" }
        tax_total = { money = "x", currency = { value = "JPY" }, unit = "minor" }
        subtotal = { money = "s", currency = "none", unit = "minor", default = "USD" }
        """,
        kind="order",
    )
    assert one(mapping, {"t": "12.50", "cur": "eur", "x": 7, "s": "3"}) == {
        "remote_id": "1",
        "total": {"amount": 1250, "currency": "EUR"},
        "tax_total": {"amount": 7, "currency": "JPY"},
        "subtotal": {"amount": 3, "currency": "USD"},
    }
    assert one(mapping, {"t": None, "x": "", "s": 1.0})["subtotal"] == {"amount": 1, "currency": "USD"}
    assert rejected(mapping, {"t": 1})[1].startswith("there is an amount but no currency")
    assert "minor digits" in rejected(mapping, {"t": "1.005", "cur": "EUR"})[1]
    assert "three letters" in rejected(mapping, {"t": 1, "cur": "EURO"})[1]
    assert rejected(mapping, {"x": 1.5}) == ("tax_total", "minor units are a whole number, found 1.5")
    assert rejected(mapping, {"x": True}) == ("tax_total", "a number is needed, found true")
    assert rejected(mapping, {"x": "Ada's"}) == ("tax_total", "a number is needed, found a text")


def test_each_filters_sums_and_sees_its_parent() -> None:
    mapping = table(
        """
        currency = "cur"
        total = { money = { from = "items[].n" , as = "sum" }, currency = "cur", unit = "minor" }
        [t.fields.lines]
        each = "items"
        where = { kind = ["a", "b"] }
        fields = { sku = "sku", total = { money = "n", currency = "^.cur", unit = "minor" } }
        """,
        kind="order",
    )
    items = [{"kind": "a", "sku": "1", "n": 10}, {"kind": "c", "n": 5}, {"kind": "b", "n": 1}]
    got = one(mapping, {"cur": "EUR", "items": items})
    assert [line["total"]["amount"] for line in got["lines"]] == [10, 1]
    assert got["total"] == {"amount": 16, "currency": "EUR"}
    assert rejected(mapping, {"cur": "EUR", "items": [{"kind": "a", "n": "x"}]})[0] == "total"


def test_each_with_from_makes_a_list_of_values_or_one_of_them() -> None:
    mapping = table(
        """
        tags = { each = "tags.data", from = "name", as = "lower" }
        due_at = { each = "steps", from = "end", as = ["max", "epoch_seconds"] }
        cc = { each = "people", where = { cc = true }, from = "@.mail" }
        custom.refs = { each = "links", ref = "t", from = "id" }
        """
    )
    got = one(
        mapping,
        {
            "tags": {"data": [{"name": "A"}, {"name": None}, 5]},
            "steps": [{"end": 10}, {"end": 1_700_000_000}],
            "people": [{"cc": True, "mail": "a@x.example"}, {"cc": False, "mail": "b@x.example"}],
            "links": [{"id": 1}, {"id": None}],
        },
    )
    assert got["tags"] == ["a"]
    assert got["due_at"] == "2023-11-14T22:13:20Z"
    assert got["cc"] == ["a@x.example"]
    assert got["custom"] == {"refs": [{"table": "t", "remote_id": "1"}]}


def test_visibility_that_nobody_states_is_internal() -> None:
    plain = table('visibility = "v"', kind="message")
    assert [one(plain, {"v": v})["visibility"] for v in (None, "public", "internal", "Public", 1, True)] == [
        "internal", "public", "internal", "internal", "internal", "internal",
    ]  # fmt: skip
    cases = table('visibility = { when = [{ if = { p = true }, value = "public" }] }', kind="message")
    assert [one(cases, {"p": p})["visibility"] for p in (True, "true", False, None)] == [
        "public", "public", "internal", "internal",
    ]  # fmt: skip


def test_when_may_reject_and_may_hold_any_rule() -> None:
    mapping = table(
        """
        status = { when = [{ if = { a = 1 }, from = "b", values = { x = "open" } }], otherwise = "reject" }
        subject = { when = [{ if = { a = 1, b = { not = "null" } }, from = "b" }], otherwise = "none" }
        """
    )
    got = one(mapping, {"a": 1, "b": "x"})
    assert (got["status"], got["status_raw"], got["subject"]) == ("open", "1", "x")
    assert rejected(mapping, {"a": 2})[0] == "status"


def test_a_raw_word_may_be_mapped_by_hand() -> None:
    mapping = table('status = { from = "s", values = { a = "open" } }\nstatus_raw = "label"')
    assert one(mapping, {"s": "a", "label": "Offen"}) == {"remote_id": "1", "status": "open", "status_raw": "Offen"}


def test_values_without_an_enum_are_a_table_of_words() -> None:
    mapping = table(
        'is_spam = { from = "s", values = { Y = true, N = false } }\n'
        'reason = { from = "r", values = { 1 = "late" }, otherwise = "other", default = "none" }\n'
        'form = { from = "f", values = { 1 = "late" }, otherwise = "reject" }'
    )
    assert one(mapping, {"s": "Y", "r": 1, "f": 1})["reason"] == "late"
    assert one(mapping, {"s": "?", "r": "2"}) == {"remote_id": "1", "is_spam": None, "reason": "other", "form": None}
    assert one(mapping, {})["reason"] == "none"
    assert rejected(mapping, {"f": "2"})[0] == "form"


def test_values_of_a_list_are_looked_up_word_by_word() -> None:
    right = '{ from = "labels", values = { vip = "gold", b2b = ["firm", "invoice"], old = [] } }'
    mapping = compile_mapping(Source(f"[t]\nkind = 'ticket'\nkey = 'id'\n[t.fields]\ntags = {right}", "test"))
    given = (["vip", "odd", None, "b2b"], "vip", ["odd"], [], ["old"], None)
    made = [mapping.map_record("t", {"id": 1, "labels": labels}).made[0].data for labels in given]
    assert [data and data["tags"] for data in made] == [["gold", "firm", "invoice"], ["gold"], None, None, [], None]


def test_a_plugins_converter_that_fails_rejects_only_its_record() -> None:
    def thrice(value: Any, sep: str = "") -> str:
        if value == "bad":
            raise ValueError("three times bad is not good")
        return sep.join([value["x"]] * 3) if isinstance(value, dict) else sep.join([value] * 3)

    mapping = compiled(
        '[t]\nkind = "ticket"\nkey = "id"\n[t.fields]\nsubject = { from = "s", as = "thrice", sep = "-" }',
        converters={"thrice": thrice},
    )
    assert one(mapping, {"s": "a"})["subject"] == "a-a-a"
    assert rejected(mapping, {"s": "bad"}) == ("subject", "three times bad is not good")
    assert rejected(mapping, {"s": {}}) == ("subject", "the converter failed: KeyError")


def test_no_text_of_a_mapping_becomes_code() -> None:
    evil = "x'] or __import__('os').abort() or ['"
    quoted = "'" + evil.replace("'", "''") + "'"
    mapping = table(f'custom."{evil}" = "{quoted}"\nsubject = {{ value = "{evil}" }}\nbrand = "a[{quoted}={quoted}].b"')
    got = one(mapping, {evil: 5, "a": [{evil: evil, "b": "found"}]})
    assert got["custom"] == {evil: 5}
    assert (got["subject"], got["brand"]) == (evil, "found")
