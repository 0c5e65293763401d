"""The nouns: declared once, everything else derived."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.money import Money
from hub.records import KINDS, PREFIXES, AuthorType, Direction, Visibility, birth_id, json_schema

WITHOUT_UNKNOWN = {Visibility, Direction, AuthorType}


def walk(fields, path=""):
    for field in fields.values():
        yield f"{path}{field.name}", field, fields
        yield from walk(field.fields, f"{path}{field.name}.")


ALL = [(kind.name, path, field, beside) for kind in KINDS.values() for path, field, beside in walk(kind.fields)]


@pytest.mark.parametrize(("kind", "path", "field", "beside"), [a for a in ALL if a[2].enum], ids=lambda a: str(a)[:40])
def test_every_enum_keeps_the_vendors_word_beside_it(kind, path, field, beside):
    assert f"{field.name}_raw" in beside


@pytest.mark.parametrize(("kind", "path", "field"), [a[:3] for a in ALL if a[2].enum], ids=lambda a: str(a)[:40])
def test_every_enum_but_three_has_unknown(kind, path, field):
    assert ("unknown" in list(field.enum)) == (field.enum not in WITHOUT_UNKNOWN)


def test_visibility_is_required_and_has_only_two_values():
    assert KINDS["message"].required == ("visibility",)
    assert list(Visibility) == ["public", "internal"]
    assert KINDS["message"].struct().visibility is Visibility.internal


def test_no_amount_is_a_float():
    assert not [path for _, path, field, _ in ALL if field.type is float]
    assert KINDS["payment"].fields["amount"].type is Money


def test_contact_data_is_marked_personal():
    personal = {(kind, path) for kind, path, field, _ in ALL if field.personal}
    assert {("customer", "email"), ("customer", "phone"), ("customer", "default_address")} <= personal
    assert {("message", "body_text"), ("order", "shipping_address"), ("ticket", "subject")} <= personal


def test_only_people_firms_and_orders_may_have_records_in_several_connections():
    assert {kind.name for kind in KINDS.values() if kind.linked} == {"customer", "account", "order"}


@given(st.sampled_from(sorted(KINDS)), st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_a_birth_id_follows_from_the_key(kind, connection, table, remote_id):
    one = birth_id(kind, connection, table, remote_id)
    assert one == birth_id(kind, connection, table, remote_id)
    assert PREFIXES[one.split("_")[0]] is KINDS[kind]


def test_keys_that_differ_give_ids_that_differ():
    keys = [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("a", "b", "C")]
    assert len({birth_id("ticket", *key) for key in keys}) == len(keys)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_a_json_schema_and_an_empty_record(kind):
    assert json_schema(kind)["$defs"]
    struct = KINDS[kind].struct
    assert msgspec.json.decode(msgspec.json.encode(struct()), type=struct) == struct()
