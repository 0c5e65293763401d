"""Pages are written column by column: what is stored is what record after record would be."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.connector import Page
from hub.ingest import PageCommit, ingest
from hub.mapping import CompiledMapping, Source, compile_mapping
from hub.store import Store, raw
from tests.stores import watch, wipe

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAPPING = """
[people]
kind       = "customer"
key        = "id"
updated_at = "changed"
[people.fields]
given_name   = "first"
family_name  = "last"
display_name = "name"
email        = "mail"
phone        = "tel"
external_ref = "ext"
created_at   = "made"

[firms]
kind  = "account"
key   = "id"
[firms.fields]
name       = "name"
domains    = "sites"
url        = "link"
created_at = "made"

[cases]
kind       = "ticket"
key        = "id"
updated_at = "changed"
where      = { gone = { not = "true" } }
[cases.fields]
number       = "no"
subject      = "name"
customer_ref = { ref = "people", from = "person" }
updated_at   = "changed"
[cases.fields.status]
from      = "state"
values    = { open = "open" }
otherwise = "unknown"

[sales]
kind = "order"
key  = "id"
[sales.fields]
number       = "no"
customer_ref = { ref = { kind = "customer", by = "email" }, from = "mail" }

[lines]
kind = "message"
key  = "id"
[lines.fields]
visibility = { from = "public", values = { true = "public" }, otherwise = "internal" }
ticket_ref = { ref = "cases", from = "case" }
body_text  = "name"
"""
TEXT = st.none() | st.sampled_from(["", " ", "Ada", "ä€😀", "a\x01b", "Ada@X.example ", "+49 (0)30 12"])
TIME = st.none() | st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05+02:00"])
RECORD = st.fixed_dictionaries(
    {"id": st.integers(1, 12)},
    optional={
        **dict.fromkeys(("first", "last", "name", "mail", "tel", "ext", "link", "no", "state"), TEXT),
        "made": TIME, "changed": TIME, "sites": st.none() | st.lists(st.sampled_from(["x.example", " Y.EXAMPLE", ""])),
        "person": st.none() | st.integers(1, 3), "case": st.none() | st.sampled_from(["1", 2]),
        "public": st.none() | st.booleans(), "gone": st.booleans(),
    },
)  # fmt: skip
PAGES = st.lists(RECORD, min_size=1, max_size=24)
COLUMNS = "updated_at read_at status name email phone number external_ref customer parent url entity_id head".split()
KEPT = f"""
SELECT r.remote_id, s.block, s.idx, s.mapped_hash, s.raw_hash, s.version, r.body, r.deleted_at,
    {", ".join(f"r.{name}" for name in COLUMNS)}
FROM record AS r JOIN state AS s ON s.rid = r.rid JOIN source AS o ON o.id = r.source_id WHERE o.name = ?
    AND r.deleted_at IS NULL
"""
STREAMS = ("people", "firms", "cases", "sales", "lines")
quick = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
def mapping() -> CompiledMapping:
    return compile_mapping(Source(MAPPING, "mappings/columns.toml"))


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store.open(database_url)
    yield store
    store.close()


def put(store: Store, mapping: CompiledMapping, stream: str, records: list[Any]) -> None:
    page = Page(records=records)
    mapped = mapping.map_page(stream, page)
    ingest(store, PageCommit("desk", stream, mapped, page, NOON, mapping.revision))


def kept(store: Store, stream: str) -> dict[str, tuple[Any, ...]]:
    """Give all that is stored of a stream's living records, by remote id, with the raw record itself."""
    with store.read() as tx:
        rows = tx.execute(KEPT, (stream,)).fetchall()
        raws = raw.read(tx, [(row[1], row[2]) for row in rows])
    return {row[0]: (raws[n], *map(_plain, row[3:])) for n, row in enumerate(rows)}


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def empty(store: Store) -> None:
    with store.write() as tx:
        wipe(tx)


@quick
@given(records=PAGES, stream=st.sampled_from(STREAMS))
def test_a_page_at_once_leaves_what_its_records_one_by_one_leave(
    store: Store, mapping: CompiledMapping, records: list[Any], stream: str
) -> None:
    records = list({record["id"]: record for record in records}.values())
    empty(store)
    for record in records:
        put(store, mapping, stream, [record])
    singly = kept(store, stream)
    empty(store)
    put(store, mapping, stream, records)
    assert kept(store, stream) == singly


@quick
@given(first=PAGES, second=PAGES, stream=st.sampled_from(STREAMS))
def test_a_second_page_leaves_what_the_last_word_on_each_record_leaves(
    store: Store, mapping: CompiledMapping, first: list[Any], second: list[Any], stream: str
) -> None:
    timeless = [[{**record, "changed": None} for record in page] for page in (first, second)]
    last = list({record["id"]: record for page in timeless for record in page}.values())
    empty(store)
    for page in timeless:
        put(store, mapping, stream, page)
    found = {id: (line[0], *line[4:5]) for id, line in kept(store, stream).items()}
    empty(store)
    put(store, mapping, stream, last)
    assert found == {id: (line[0], *line[4:5]) for id, line in kept(store, stream).items()}


@quick
@given(records=PAGES, stream=st.sampled_from(STREAMS))
def test_columns_say_what_the_body_says(
    store: Store, mapping: CompiledMapping, records: list[Any], stream: str
) -> None:
    empty(store)
    put(store, mapping, stream, records)
    for line in kept(store, stream).values():
        body, columns = json.loads(line[4]), dict(zip(COLUMNS, line[6:], strict=True))
        names = (body.get("given_name"), body.get("family_name"))
        assert columns["status"] == body.get("status")
        assert columns["number"] == body.get("number")
        assert columns["url"] == body.get("url")
        assert columns["external_ref"] == (body.get("external_ref") or None)
        assert columns["email"] == ((body.get("email") or "").strip().lower() or None)
        whole = body.get("display_name") or body.get("name")
        assert columns["name"] == (whole or " ".join(filter(None, names)) or None)
        ref = body.get("customer_ref")
        assert (columns["customer"] is None) == (ref is None)
        assert ref is None or columns["customer"].endswith(ref.get("remote_id") or ref["value"].strip().lower())
        assert (columns["parent"] is None) == (body.get("ticket_ref") is None)


def test_one_percent_that_changed_touches_its_own_rows_alone(store: Store, mapping: CompiledMapping) -> None:
    page = [{"id": n, "no": f"T-{n}", "name": f"case {n}", "changed": "2026-01-01T00:00:00Z"} for n in range(1, 1001)]
    put(store, mapping, "cases", page)
    before = kept(store, "cases")
    with store.write() as tx:
        watch(tx)
    changed = [
        {**one, "name": "another", "changed": "2026-01-02T00:00:00Z"} if one["id"] % 100 == 37 else one for one in page
    ]
    put(store, mapping, "cases", changed)
    after = kept(store, "cases")
    assert {int(id) for id in after if after[id] != before[id]} == set(range(37, 1000, 100))
    with store.read() as tx:
        touched = dict(tx.execute("SELECT what, count(*) FROM touched GROUP BY what").fetchall())
        events = [json.loads(row[0]) for row in tx.execute("SELECT changes FROM event ORDER BY id").fetchall()]
    assert touched.pop("INSERT event") == 1
    assert touched.pop("INSERT raw") == 1
    assert {what: count for what, count in touched.items() if "cursor" not in what} == {
        "UPDATE record": 10, "UPDATE state": 10,
    }  # fmt: skip
    assert [len(ids) for ids in events[-1].values()] == [10]
    assert [json.loads(line[0])["name"] for id, line in after.items() if int(id) % 100 == 37] == ["another"] * 10
