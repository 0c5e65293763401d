# ruff: noqa: E501 (mapping files stand as their users write them)
"""A faulty mapping file: the message names the file, the table, the key, what was found and what would be right."""

from typing import Any

import pytest

from hub.errors import MappingError
from hub.mapping import CompiledMapping, Source, compile_mapping

HEAD = '[t]\nkind = "ticket"\nkey = "id"\n'
MESSAGE = '[t]\nkind = "message"\nkey = "id"\n[t.fields]\n'


def compiled(text: str, **more: Any) -> CompiledMapping:
    return compile_mapping(Source(text, "mappings/test.toml"), **more)


def fault(text: str, **more: Any) -> str:
    with pytest.raises(MappingError) as caught:
        compiled(text, **more)
    assert caught.value.message.startswith("mappings/test.toml")
    return caught.value.message


def of_field(right: str, *, kind: str = "ticket") -> str:
    return fault(f'[t]\nkind = "{kind}"\nkey = "id"\n[t.fields]\n{right}')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the mapping has no tables"),
        ("[t", "this is not TOML"),
        (f"{HEAD}{HEAD}", "duplicate table or key: [t] is declared twice"),
        (f'{HEAD}kind = "order"\n', "duplicate table or key"),
        ("version = 1\n", "version: expected a table [version], found an integer; top-level words are extends and actions"),
        ('[t]\nkey = "id"', "[t] has no `kind`; expected one of account, agent, customer"),
        ('[t]\nkind = "tickets"\nkey = "id"', '[t] kind: unknown kind "tickets"; did you mean "ticket"?'),
        ("[t]\nkind = 5", "[t] kind: expected a string, found an integer"),
        ('[t]\nkind = "ticket"', "[t] has no `key`; expected the path of the vendor's id"),
        ('[t]\nkind = "ticket"\nkey = { any = ["a"] }', '[t] key: unknown key "any"; known: all'),
        ('[t]\nkind = "ticket"\nkey = { all = [] }', "[t] key.all: expected at least one path"),
        ('[t]\nkind = "ticket"\nkey = { all = "a" }', "[t] key.all: expected a list of paths, found a string"),
        ('[t]\nkind = "ticket"\nkey = 5', "[t] key: expected a path such as"),
        (f'{HEAD}wheer = {{ a = "b" }}', '[t] unknown key "wheer"; did you mean "where"?'),
        (f'{HEAD}where = "a"', "[t] where: expected a table of path = value, found a string"),
        (f'{HEAD}where = {{ "a..b" = "c" }}', '[t] where: bad path "a..b" at position 3'),
        (f"{HEAD}where = {{ a = 1.5 }}", "[t] where.a: expected a string, a whole number, a boolean or a list of them"),
        (f'{HEAD}deleted = {{ "a[" = "c" }}', '[t] deleted: bad path "a["'),
        (f'{HEAD}updated_at = {{ value = "2026-01-01" }}', "[t] updated_at: expected a path, or { from = …, as = … }"),
        (f'{HEAD}each = "^.x"', "[t] each: \"^.x\" climbs above the record"),
        (f'{HEAD}fields = {{ subject = "^.x" }}', '[t] "^.x" climbs above the record'),
        (f'{HEAD}fields = "x"', "[t.fields] expected a table, found a string"),
        (f'{HEAD}writable = "subject"', "[t] writable: expected a list of field names, found a string"),
        (f'{HEAD}writable = ["subjct"]\nfields = {{ subject = "s" }}', '"subjct" is no field of this table; did you mean "subject"?'),
    ],
)  # fmt: skip
def test_a_faulty_table_is_told(text: str, said: str) -> None:
    assert said in fault(text)


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ('subjekt = "s"', '[t.fields] subjekt: unknown field "subjekt"; did you mean "subject"?'),
        ('remote_id = "id"', "remote_id: is always filled from the table's `key`"),
        ("subject = 5", "subject: expected a path, a list of paths or a table, found an integer"),
        ("subject = []", "subject: expected at least one path"),
        ('subject = ""', "subject: expected a path"),
        ('subject = "a b"', 'bad path "a b" at position 2'),
        ('subject = { from = "a", as = "uper" }', 'as: unknown converter "uper"; did you mean "upper"?'),
        ('subject = { from = "a", as = 5 }', "as: expected a converter's name or a list, found an integer"),
        ('subject = { from = "a", as = "upper", sep = "," }', 'unknown key "sep"'),
        ('subject = { from = "a", as = "split", sep = 5 }', "sep: expected a string, found an integer"),
        ('subject = { from = "a", as = "split", index = "1" }', "index: expected a whole number, found a string"),
        ('subject = { from = "a", inputs = ["b"], as = "first_text" }', "`from` and `inputs` exclude each other"),
        ('subject = { inputs = ["b"] }', "`inputs` needs a converter of several inputs"),
        ('subject = { inputs = ["b"], as = "upper" }', "first_text, join, max, min, name_join, sum"),
        ('due_at = { from = "a", as = "iso8601", zone = "Berlin" }', 'due_at.zone: no time zone "Berlin"'),
        ('subject = { to = "b" }', "`to` belongs to a write table"),
        ('subject = { line1 = "b" }', "this field is no nested object"),
        ('subject = { value = 5 }', "subject.value: expected a string, found an integer"),
        ('subject = { value = "x", as = "upper" }', 'unknown key "as"'),
        ('is_spam = { value = "x" }', "is_spam.value: expected true or false, found a string"),
        ('due_at = { value = "soon" }', "due_at.value: expected an ISO 8601 time"),
        ('due_at = { value = 5 }', "expected an ISO 8601 time in quotes, found an integer"),
        ('status = { from = "s", values = { a = "opn" } }', 'status.values.a: "opn" is no value of status; did you mean "open"?'),
        ('status = { from = "s", values = "a" }', "status.values: expected a table, found a string"),
        ('status = { from = "s", otherwise = "odd" }', 'status.otherwise: "odd" is no value of status'),
        ('status = { from = "s", default = 5 }', 'status.default: "5" is no value of status'),
        ('status = { value = [] }', "is no value of status"),
        ('customer_ref = "id"', 'expected { ref = "<table>", from = "<path>" }'),
        ('customer_ref = { ref = "users", from = "id" }', 'customer_ref.ref: unknown table "users"; known: t'),
        ('customer_ref = { ref = "t" }', "a reference needs `from`"),
        ('customer_ref = { ref = 5, from = "id" }', "expected a table's name or { kind = …, by = … }"),
        ('order_refs = { ref = { kind = "ordr", by = "number" }, from = "n" }', 'unknown kind "ordr"; did you mean "order"?'),
        ('order_refs = { ref = { kind = "order", by = "nummer" }, from = "n" }', 'unknown field of order "nummer"; did you mean "number"?'),
        ('subject = { ref = "t", from = "n" }', "this field is no reference"),
        ('subject = { money = "a", currency = "c", unit = "minor" }', "this field holds no money"),
        ('satisfaction = "s"', "expected a table of its parts"),
        ('satisfaction = { scor = "s" }', 'satisfaction.scor: unknown field "scor"; did you mean "score"?'),
        ('custom = "s"', "custom: expected a table, found a string"),
        ('status = { when = [] }', "status.when: expected a list of { if = { … }, value = … }"),
        ('status = { when = [{ value = "open" }] }', "every case needs `if = { path = value }`"),
        ('status = { when = [{ if = { a = 1 } }] }', "every case needs a `value`, or another rule, beside `if`"),
        ('status = { when = [{ if = { a = 1 }, value = "odd" }] }', '"odd" is no value of status'),
        ('status = { when = [{ if = { a = 1 }, value = "open" }], otherwise = "odd" }', '"odd" is no value of status'),
        ('tags = { each = "a" }', "`each` needs `fields`, or `from`"),
        ('tags = { each = "a", fields = { x = "y" } }', "this field is no list of objects"),
        ('subject = { each = "a", from = "b" }', 'this field is no list; make one value of it: as = "max"'),
        ('subject = { each = "a", value = "b" }', "this field is no list"),
        ('tags = { each = "a", where = { b = [] , c = 1.5 }, from = "b" }', "tags.where.c: expected a string"),
    ],
)  # fmt: skip
def test_a_faulty_field_is_told(right: str, said: str) -> None:
    assert said in of_field(right)


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ('total = "t"', 'expected { money = "<path>", currency = "<path>", unit = "minor" }'),
        ('total = { money = "t", currency = "c" }', 'total.unit: expected "minor" (cents) or "major" (euros), found nothing'),
        ('total = { money = "t", currency = "c", unit = "cents" }', 'found "cents"'),
        ('total = { money = "t", unit = "minor" }', 'money needs `currency`: a path, or { value = "EUR" }'),
        ('total = { money = "t", currency = { value = "EURO" }, unit = "minor" }', "total.currency: expected a currency" ),
        ('total = { money = "t", currency = "c", unit = "minor", default = "e" }', "expected a currency such as EUR"),
        ('total = { money = "t", currency = { when = [{ if = { a = 1 }, value = "EUR" }] }, unit = "minor" }', "total.currency: expected a path"),
        ('total = { money = { value = 5 }, currency = "c", unit = "minor" }', "total.money: expected a path"),
        ('total = { when = [{ if = { a = 1 }, value = { amount = "5", currency = "EUR" } }] }', "expected minor units as a whole number"),
        ('lines = "l"', 'expected { each = "<path>", fields = { … } }'),
        ('lines = { sku = "l" }', "this field is no nested object"),
        ('lines = { each = "l", fields = { skuu = "s" } }', 'unknown field "skuu"; did you mean "sku"?'),
        ('lines = { each = "l", fields = { quantity = { value = true } } }', "expected a decimal in quotes"),
    ],
)  # fmt: skip
def test_a_faulty_order_field_is_told(right: str, said: str) -> None:
    assert said in of_field(right, kind="order")


def test_a_message_table_must_map_visibility() -> None:
    said = 'a table of kind "message" must map `visibility`; it is never guessed'
    assert said in fault(f'{MESSAGE}body_text = "b"')


@pytest.mark.parametrize(
    "right",
    [
        '{ from = "v", values = { a = "public" }, otherwise = "public" }',
        '{ from = "v", values = { a = "public" }, default = "public" }',
        '{ when = [{ if = { a = 1 }, value = "internal" }], otherwise = "public" }',
        '{ when = [{ if = { a = 1 }, value = "internal" }], otherwise = { value = "public" } }',
    ],
)
def test_visibility_is_never_public_by_default(right: str) -> None:
    assert "what is not listed must not become public" in fault(f"{MESSAGE}visibility = {right}")


def test_streams_are_those_of_the_connector() -> None:
    assert '[t] unknown stream "t"; known: tickets' in fault(HEAD, streams={"tickets"})
    assert '[t] stream: unknown stream "tikets"; did you mean "tickets"?' in fault(
        f'{HEAD}stream = "tikets"', streams={"tickets"}
    )
    assert compiled(HEAD, streams={"*"}).streams() == ["t"]


def test_table_options_are_those_of_the_connector() -> None:
    assert 'unknown key "changed_at"' in fault(f'{HEAD}changed_at = "c"')
    options = frozenset({"changed_at"})
    mapping = compiled(f'{HEAD}changed_at = "c"', table_options=options)
    assert mapping.stream("t").options == {"changed_at": "c"}
    other = f'{HEAD}changed_at = "c"\n[u]\nkind = "ticket"\nkey = "id"\nstream = "t"\nchanged_at = "d"'
    with pytest.raises(MappingError, match="`changed_at` differs between tables of stream t"):
        compiled(other, table_options=options).stream("t")


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ('[t.write]\nsubjekt = "s"', '[t.write] subjekt: unknown field "subjekt"'),
        ("[t.write]\nsubject = 5", "[t.write] subject: expected a path or a table with `to`, found an integer"),
        ("[t.write]\nsubject = { values = {} }", "a write rule needs `to`"),
        ('[t.write]\nsubject = { to = "a[0]" }', 'nothing can be written to "a[0]"'),
        ('[t.write]\nsubject = { to = "a[k=1]" }', "expected names and [key=value] only"),
        ('[t.write]\nsubject = { to = "a", as = "html_to_text" }', '"html_to_text" cannot be inverted'),
        ('[t.write]\nsubject = { to = "a", unit = "cents" }', "expected \"minor\" or \"major\""),
        ('[t.write]\nstatus = { to = "a", values = { opn = "x" } }', '"opn" is no value of status'),
        ('[t.write]\nsatisfaction = { scor = "x" }', 'unknown field "scor"'),
    ],
)  # fmt: skip
def test_a_faulty_write_rule_is_told(right: str, said: str) -> None:
    assert said in fault(f'{HEAD}[t.fields]\nsubject = "s"\n{right}')


def test_money_and_visibility_are_written_with_care() -> None:
    order = '[t]\nkind = "order"\nkey = "id"\n[t.write]\ntotal = { to = "x" }'
    assert 'add unit = "minor" or "major"' in fault(order)
    text = (
        f'{MESSAGE}visibility = "v"\n[t.write]\nvisibility = {{ to = "v", values = {{ public = 1 }}, otherwise = 1 }}'
    )
    assert "visibility is written only for values that are listed" in fault(text)


@pytest.mark.parametrize(
    ("field", "what"),
    [
        ('tags = { each = "a", from = "b" }', "a list made with `each`"),
        ('tags = { when = [{ if = { a = 1 }, from = "b" }] }', "`when`"),
        ('tags = { inputs = ["a"], as = "join" }', "several inputs"),
        ('tags = { from = "a", as = "html_to_text" }', '"html_to_text"'),
        ('tags = { from = "a", as = "split", index = 0 }', '"split"'),
        ('tags = "a[0]"', "nothing can be written"),
        ('tags = { from = "s", values = { a = "x", b = "x" } }', "several vendor words"),
    ],
)
def test_what_cannot_be_inverted_cannot_be_listed_as_writable(field: str, what: str) -> None:
    said = fault(f'{HEAD}writable = ["tags"]\n[t.fields]\n{field}')
    assert what in said
    assert "[t] tags" in said


BASE = Source('[t]\nkind = "ticket"\nkey = "id"\n[t.fields]\nsubject = "s"\nreason = "r"\ncustom = { a = "a", b = "b" }\n'
              '[t.write]\nsubject = "s"\n[u]\nkind = "agent"\nkey = "id"\n[actions."ticket.note"]\ninsert = "n"\n'
              'set = { a = "run.id" }\n', "plugin base")  # fmt: skip


def extended(text: str) -> CompiledMapping:
    return compiled(f'extends = "base"\n{text}', resolve=lambda name: BASE)


def test_extending_overrides_table_by_table_and_field_by_field() -> None:
    mapping = extended(
        '[t]\nkey = "no"\n[t.fields]\nsubject = "title"\ncustom = { b = "c" }\n[v]\nkind = "agent"\nkey = "id"'
    )
    assert list(mapping.tables) == ["t", "u", "v"]
    entries = {entry.name: entry.rule for entry in mapping.tables["t"].entries}
    assert [path.text for path in mapping.tables["t"].key] == ["no"]
    assert entries["subject"].paths[0].text == "title"  # type: ignore[union-attr]
    assert entries["reason"].paths[0].text == "r"  # type: ignore[union-attr]
    assert {entry.name: entry.rule.paths[0].text for entry in entries["custom"].entries} == {"a": "a", "b": "c"}  # type: ignore[union-attr]
    assert mapping.tables["t"].writable == ("subject",)


def test_false_removes_a_table_a_field_a_write_rule_or_a_verb() -> None:
    mapping = extended(
        'u = false\n[t.fields]\nreason = false\ncustom = { a = false }\n[t.write]\nsubject = false\n[actions]\n"ticket.note" = false'
    )
    assert list(mapping.tables) == ["t"]
    assert [entry.name for entry in mapping.tables["t"].entries] == ["subject", "custom"]
    assert [entry.name for entry in mapping.tables["t"].entry("custom").rule.entries] == ["b"]  # type: ignore[union-attr]
    assert mapping.tables["t"].writable == ()
    assert mapping.actions == {}


NOTES = '[n]\nkind = "message"\nkey = "id"\n[n.fields]\nbody_text = "b"\nvisibility = '
LOOKS = '{ from = "public", values = { true = "public", false = "internal" } }'


@pytest.mark.parametrize(
    ("before", "right"),
    [
        (LOOKS, '{ value = "public" }'),
        (LOOKS, '{ from = "public", values = { true = "public", false = "public" } }'),
        ('"public"', '{ value = "public" }'),
        ('{ value = "internal" }', '{ value = "public" }'),
    ],
)
def test_an_extending_file_cannot_make_every_message_public(right: str, before: str) -> None:
    said = fault(
        f'extends = "base"\n[n.fields]\nvisibility = {right}',
        resolve=lambda name: Source(NOTES + before, "plugin base"),
    )
    assert "mappings/test.toml: [n.fields] visibility: makes every message public" in said


def test_a_mapping_of_its_own_may_say_that_all_messages_are_public() -> None:
    assert compiled(f'{NOTES}{{ value = "public" }}').tables["n"].kind == "message"
    base = Source(f'{NOTES}{{ value = "public" }}', "plugin base")
    assert compiled('extends = "base"\n[n.fields]\nbody_html = "s"', resolve=lambda _: base)
    narrower = compiled(f'extends = "base"\n[n.fields]\nvisibility = {LOOKS}', resolve=lambda _: base)
    assert narrower.tables["n"].entry("visibility") is not None


def test_a_misspelt_table_of_an_extending_file_is_told() -> None:
    assert '[tt] unknown table "tt"; did you mean "t"?' in fault(
        'extends = "base"\n[tt.fields]\nsubject = "s"', resolve=lambda name: BASE
    )


def test_extending_faults_are_told() -> None:
    assert "extends: expected the name of a connector" in fault("extends = 5")
    assert 'extends: "base" cannot be found from here' in fault('extends = "base"')
    circle = Source('extends = "a"', "plugin a")
    assert "circle: mappings/test.toml → plugin a → plugin a" in fault_of_circle(circle)

    def missing(name: str) -> Source:
        raise MappingError("no such connector")

    assert "mappings/test.toml: extends: no such connector" in fault('extends = "b"', resolve=missing)


def fault_of_circle(circle: Source) -> str:
    with pytest.raises(MappingError) as caught:
        compiled('extends = "a"', resolve=lambda name: circle)
    return caught.value.message
