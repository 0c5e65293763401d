"""The legacy connector on databases as they come, SQLite and Postgres: many rows, wide rows, odd names, odd times."""

import json
import re
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from datetime import UTC, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hub import (
    Ack,
    Call,
    Conflict,
    Invalid,
    NotFound,
    NotSent,
    OrderUpdateShippingAddress,
    Page,
    Stream,
    Transport,
    Verb,
)
from hub.app import App
from hub.transport import announce, watch
from hub_legacy.connector import LegacyConnector
from hub_legacy.options import LegacyConfig
from hub_legacy.values import plain, reader, same, thaw

ACTION = OrderUpdateShippingAddress.model_validate(
    {"order_ref": "ord_1", "address": {"line1": "x", "city": "x", "postal_code": "1", "country_code": "DE"}}
)


class Source:
    """A database of somebody else's, with the connector on it."""

    def __init__(self, url: str, run: Callable[..., None]) -> None:
        self.url, self.run = url, run
        self.kind = url.partition(":")[0].partition("+")[0]
        self._made: list[LegacyConnector] = []

    def opened(self, **more: Any) -> LegacyConnector:
        config = LegacyConfig.model_validate({"database_url": self.url, **more})
        self._made.append(LegacyConnector(config, Transport("erp")))
        return self._made[-1]

    def fill(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        self.run(f"INSERT INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)

    def close(self) -> None:
        for connector in self._made:
            connector.close()
            connector.transport.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Source]:
    with closing(sqlite3.connect(tmp_path / "erp.db", isolation_level=None)) as database:

        def run(sql: str, rows: Sequence[Sequence[Any]] | None = None) -> None:
            if rows is None:
                database.executescript(sql)
                return
            database.execute("BEGIN")
            database.executemany(sql, rows)
            database.execute("COMMIT")

        made = Source(f"sqlite:///{tmp_path / 'erp.db'}", run)
        yield made
        made.close()


@pytest.fixture(scope="module")
def erp_url(empty_postgres: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    with empty_postgres() as url:
        yield url


@pytest.fixture
def postgres(erp_url: str) -> Iterator[Source]:
    with psycopg.connect(erp_url, autocommit=True) as connection:

        def run(sql: str, rows: Sequence[Sequence[Any]] | None = None) -> None:
            if rows is None:
                connection.execute(sql)  # type: ignore[call-overload]
            else:
                connection.cursor().executemany(sql.replace("?", "%s"), rows)  # type: ignore[arg-type]

        made = Source(re.sub("^postgresql:", "postgresql+psycopg:", erp_url), run)
        yield made
        made.close()
        run("DROP SCHEMA public CASCADE; DROP SCHEMA IF EXISTS sales CASCADE; CREATE SCHEMA public")


@pytest.fixture(params=["sqlite", "postgres"])
def source(request: pytest.FixtureRequest) -> Source:
    found: Source = request.getfixturevalue(request.param)
    return found


def stream(name: str = "orders", *paths: str, key: tuple[str, ...] = ("id",), **options: Any) -> Stream:
    return Stream(name, paths=paths, key=key, options=options)


def pulled(connector: LegacyConnector, what: Stream, cursor: str | None = None) -> list[Page]:
    return list(connector.pull_any(what, cursor))


def records(pages: list[Page]) -> list[dict[str, Any]]:
    return [json.loads(record) for page in pages for record in page.records or ()]


def ids(pages: list[Page]) -> list[Any]:
    return [record["id"] for record in records(pages)]


def last(pages: list[Page], before: str | None = None) -> str | None:
    return next((page.cursor for page in reversed(pages) if page.cursor is not None), before)


def test_ten_thousand_rows_of_one_moment_are_read_once(source: Source) -> None:
    source.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, changed TIMESTAMP NOT NULL)")
    source.run("CREATE INDEX by_changed ON orders (changed, id)")
    source.fill("orders", [(n, "2026-01-01 10:00:00") for n in range(10_000)])
    what, connector = stream(changed_at="changed"), source.opened()
    pages = pulled(connector, what)
    assert ids(pages) == list(range(10_000))
    assert ids(pulled(connector, what, pages[4].cursor)) == list(range(5000, 10_000))
    assert pulled(connector, what, last(pages)) == []


@pytest.mark.parametrize("indexed", [True, False])
def test_many_rows_need_no_more_memory_than_few(source: Source, indexed: bool) -> None:
    peaks, few, many = {}, *((1_500, 8_000) if indexed else (800, 7_000))
    connector = source.opened() if indexed else source.opened(page_size=100)
    what = stream() if indexed else stream(changed_at="changed")
    for count in (few, many):
        source.run(f"DROP TABLE IF EXISTS orders; CREATE TABLE orders (id INTEGER {'PRIMARY KEY' * indexed})")
        source.run("ALTER TABLE orders ADD COLUMN changed TIMESTAMP")
        source.fill("orders", [(n, f"2026-01-01 10:{n // 60 % 60:02}:{n % 60:02}") for n in range(count)])
        tracemalloc.start()
        read = sum(len(page.records or ()) for page in connector.pull_any(what, None))
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert read == count
    room = 1_000_000 if indexed else 3_000_000  # without an index 50 pages are read at a time
    assert peaks[many] < peaks[few] + room


def test_wide_rows_make_small_pages(source: Source) -> None:
    source.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)")
    for n in range(30):
        source.fill("orders", [(n, "x" * 1_000_000)])
    tracemalloc.start()
    sizes = [len(page.records or ()) for page in source.opened(page_size=100).pull_any(stream(), None)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(sizes) == 30
    assert peak < 100_000_000


def test_rows_without_a_clock_are_paged_each_once(source: Source) -> None:
    source.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, changed TIMESTAMP)")
    source.fill("orders", [(n, None if n % 2 else f"2026-01-01 10:00:{n % 60:02}") for n in range(500)])
    what, connector = stream(changed_at="changed"), source.opened(page_size=20)
    first = pulled(connector, what)
    assert sorted(ids(first)) == list(range(500))
    again = pulled(connector, what, last(first))
    assert ids(again) == list(range(1, 500, 2))
    assert [page.cursor for page in again if page.cursor] == []


def test_a_row_from_the_future_hides_no_change(source: Source) -> None:
    source.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, changed TIMESTAMP)")
    source.fill("orders", [(1, "2026-01-01 10:00:00"), (2, "2206-01-01 10:00:00")])
    what, connector = stream(changed_at="changed"), source.opened(page_size=1)
    first = pulled(connector, what)
    assert ids(first) == [1, 2]
    assert first[-1].complete
    assert any("rows with changed in the future" in warning for page in first for warning in page.warnings)
    source.run("UPDATE orders SET changed = '2026-01-02 10:00:00' WHERE id = 1")
    second = pulled(connector, what, last(first))
    assert ids(second) == [1, 2], "the change is seen; the row from the future comes along"
    assert ids(pulled(connector, what, last(second))) == [2]


def test_words_of_sql_and_odd_names_are_names_like_others(source: Source) -> None:
    source.run(
        'CREATE TABLE "order" ("select" INTEGER, "group by" TEXT, "user" TEXT, "Naïve ""x""" TEXT, "a.b" TEXT, '
        '"from" TIMESTAMP, PRIMARY KEY ("select"))'
    )
    source.fill('"order"', [(1, "a", "b", "c", "d", "2026-01-01 10:00:00"), (2, "a", "b", "c", "e", None)])
    names = ("'group by'", "user", "'Naïve \"x\"'", "'a.b'", "from")
    what = stream("order", *names, key=("select",), changed_at="from")
    found = records(pulled(source.opened(), what))
    assert {"group by": "a", "user": "b", 'Naïve "x"': "c", "a.b": "d", "select": 1}.items() <= found[-1].items()
    verb = Verb(update="order", set={"group by": "z", "user": None}, where={"select": "1", "a.b": "d"})
    assert done(source.opened(), verb) == ["update"]
    assert [r["group by"] for r in records([source.opened().fetch_any(what, ["1"])])] == ["z"]


def test_a_table_of_a_schema_is_named_with_it(source: Source) -> None:
    name = "main.orders" if source.kind == "sqlite" else "sales.orders"
    if source.kind != "sqlite":
        source.run("CREATE SCHEMA sales")
    source.run(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, note TEXT)")
    source.fill(name, [(1, "a")])
    connector = source.opened()
    assert ids(pulled(connector, stream(name))) == [1]
    assert done(connector, Verb(update=name, set={"note": "b"}, where={"id": 1})) == ["update"]
    assert records(pulled(connector, stream(name)))[0]["note"] == "b"
    with pytest.raises(Exception, match=f'no table or view "{name}s"; it has orders'):
        pulled(connector, stream(f"{name}s"))


def test_keys_of_several_columns_page_in_their_order(source: Source) -> None:
    source.run("CREATE TABLE orders (no VARCHAR(9), line INTEGER, note TEXT, PRIMARY KEY (no, line))")
    rows = [(f"A{n // 7}", n % 7, f"n{n}") for n in range(100)]
    source.fill("orders", rows)
    pages = pulled(source.opened(page_size=9), stream(key=("no", "line")))
    assert sorted(record["note"] for record in records(pages)) == sorted(note for _, _, note in rows)
    rest = records(pulled(source.opened(page_size=9), stream(key=("no", "line")), pages[3].cursor))
    assert rest == records(pages[4:])
    page = source.opened().fetch_any(stream(key=("no", "line")), ["A3:2", "A99:1"])
    assert ([r["note"] for r in records([page])], list(page.deleted)) == (["n23"], ["A99:1"])


def test_tables_without_a_primary_key_and_views_are_scanned_whole(source: Source) -> None:
    source.run("CREATE TABLE orders (id INTEGER, note TEXT)")
    source.fill("orders", [(n, "n") for n in range(95)])
    source.run("CREATE VIEW newest AS SELECT id, note FROM orders WHERE id >= 50")
    for name, wanted in (("orders", range(95)), ("newest", range(50, 95))):
        pages = pulled(source.opened(page_size=10), stream(name))
        assert ids(pages) == list(wanted)
        assert [page.complete for page in pages] == [False] * (len(pages) - 1) + [True]


def done(connector: LegacyConnector, verb: Verb) -> list[str]:
    with watch():
        outcome = connector.do(ACTION, Call("run_1", "k1", verb=verb, sending=announce))
    return [effect.op for effect in outcome.effects]


def test_an_update_of_none_or_two_rows_changes_nothing(source: Source) -> None:
    source.run("CREATE TABLE orders (no VARCHAR(9), line INTEGER, note TEXT)")
    source.fill("orders", [("A", 1, "x"), ("A", 2, "x"), ("B", 1, "x")])
    connector = source.opened()
    with pytest.raises(NotFound, match="orders has no row with that no"):
        done(connector, Verb(update="orders", set={"note": "y"}, where={"no": "C"}))
    with pytest.raises(Conflict, match="several rows of orders have that no"):
        done(connector, Verb(update="orders", set={"note": "y"}, where={"no": "A"}))
    assert done(connector, Verb(update="orders", set={"note": "y"}, where={"no": "A", "line": 2})) == ["update"]
    found = records(pulled(connector, stream(key=("no", "line"))))
    assert [record["note"] for record in found] == ["x", "y", "x"]


def test_a_column_that_was_added_is_known_without_a_restart(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    source.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)")
    source.fill("orders", [(1, "x")])
    connector = source.opened()
    verb = Verb(update="orders", set={"phone": "1"}, where={"id": 1})
    with pytest.raises(Invalid, match='the table orders has no column "phone"'):
        done(connector, verb)
    source.run("ALTER TABLE orders ADD COLUMN phone VARCHAR(20)")
    monkeypatch.setattr("hub_legacy.database._KNOWN_S", 0.0)  # five minutes later
    assert done(connector, verb) == ["update"]


def test_an_update_under_a_version_that_has_moved_on_changes_nothing(source: Source) -> None:
    source.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, row_version INTEGER, note TEXT)")
    source.fill("orders", [(1, 7, "x")])
    connector = source.opened()
    verb = Verb(update="orders", set={"note": "y", "row_version": 8}, where={"id": 1, "row_version": 7})
    assert done(connector, verb) == ["update"]
    with pytest.raises(NotFound):
        done(connector, Verb(update="orders", set={"note": "z"}, where={"id": 1, "row_version": 7}))
    assert ids(pulled(connector, stream(version="row_version"))) == [1]


def test_a_version_given_out_early_and_committed_late_is_read(source: Source) -> None:
    source.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, row_version INTEGER)")
    source.fill("orders", [(n, n * 10) for n in range(1, 301)])
    what, connector = stream(version="row_version"), source.opened()
    cursor = last(pulled(connector, what))
    source.fill("orders", [(999, 2_500)])
    again = pulled(connector, what, cursor)
    assert ids(again) == [*range(200, 251), 999, *range(251, 301)], "the last 1000 numbers are read again"
    assert [page.cursor for page in again] == [None]


def test_the_hour_that_clocks_show_twice_hides_no_change(source: Source) -> None:
    source.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, changed TIMESTAMP)")
    source.fill("orders", [(1, "2025-10-26 01:30:00"), (2, "2025-10-26 02:50:00")])
    what, connector = stream(changed_at="changed", zone="Europe/Berlin"), source.opened()
    first = pulled(connector, what)
    source.fill("orders", [(3, "2025-10-26 02:10:00")])  # an hour later, by a clock that was put back
    second = pulled(connector, what, last(first))
    assert ids(second) == [3, 2]
    source.fill("orders", [(4, "2025-10-26 03:01:00")])
    third = pulled(connector, what, last(second, last(first)))
    assert ids(third)[-1] == 4
    assert pulled(connector, what, last(third)) == [], "once past that hour all is as ever"


def test_blanks_that_fill_up_a_column_are_no_data(postgres: Source) -> None:
    postgres.run("CREATE TABLE orders (id CHAR(6) PRIMARY KEY, status CHAR(10), changed TIMESTAMP)")
    postgres.fill("orders", [("A1", "OPEN", "2026-01-01"), ("A2", None, "2026-01-02")])
    what, connector = stream(changed_at="changed"), postgres.opened(page_size=1)
    pages = pulled(connector, what)
    assert [(r["id"], r["status"]) for r in records(pages)] == [("A1", "OPEN"), ("A2", None)]
    assert ids(pulled(connector, what, pages[0].cursor)) == ["A2"]
    page = connector.fetch_any(what, ["A1", "A3"])
    assert (ids([page]), list(page.deleted)) == (["A1"], ["A3"])
    assert done(connector, Verb(update="orders", set={"status": "OPEN"}, where={"id": "A1"})) == []
    ack = Ack("orders", {"id": "A1"}, {"status": "OPEN"}, {"status": "LOST"}, 1)
    verb = Verb(update="orders", set={"status": "OPEN"}, where={"id": "A1"}, ack=ack)
    assert done(connector, verb) == [], "the acknowledgement is seen, too"


def test_nothing_that_is_written_is_cut_rounded_or_taken_for_another(source: Source) -> None:
    source.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, zip VARCHAR(5), total DECIMAL(9,2), pieces INTEGER)")
    source.fill("orders", [(1, "1067", 10, 3)])
    connector = source.opened()

    def set_(**values: Any) -> list[str]:
        return done(connector, Verb(update="orders", set=values, where={"id": 1}))

    assert set_(zip="01067") == ["update"], "a text with a zero before it is another text"
    assert set_(total="10.00", pieces="3") == [], "a number is one however it is written"
    for values, message in (
        ({"total": "10.005"}, "orders.total: holds 2 decimals"),
        ({"pieces": 2.5}, "orders.pieces: takes a value of sort integer"),
        ({"zip": "123456"}, "orders.zip: holds 5 characters"),
    ):
        with pytest.raises(Invalid, match=message):
            set_(**values)
    assert records(pulled(connector, stream()))[0]["zip"] == "01067"


def test_eight_at_once_insert_one_request(source: Source) -> None:
    source.run("CREATE TABLE requests (request_id VARCHAR(40), order_no VARCHAR(9))")
    connector = source.opened()

    def ask(_: int) -> bool:
        try:
            return done(connector, Verb(insert="requests", set={"request_id": "k1", "order_no": "A"})) == ["create"]
        except (NotSent, Conflict):
            return False

    with ThreadPoolExecutor(8) as pool:
        assert any(pool.map(ask, range(8)))
    assert len(records(pulled(connector, stream("requests", key=("request_id",))))) == 1


@pytest.mark.parametrize(
    ("stored", "wanted", "are"),
    [
        ("007", "7", False), ("OPEN  ", "OPEN", True), (" OPEN", "OPEN", False), (7, "7", True), ("7", 7, True),
        (Decimal("10.00"), "10", True), (10.5, "10.50", True), (None, "", False), (None, None, True),
        (True, 1, True), (True, "1", False), ("abc", 1, False),
    ],
)  # fmt: skip
def test_what_counts_as_the_same_value(stored: Any, wanted: Any, are: bool) -> None:
    assert same(stored, wanted) is are


def test_mysqls_own_values_are_told_in_a_form_that_stays() -> None:
    clock = reader("time", None, UTC)
    assert clock is not None
    assert [clock(timedelta(hours=30, minutes=5)), clock(-timedelta(seconds=90))] == ["30:05:00", "-00:01:30"]
    assert plain({"q", "p", "a"}) == ["a", "p", "q"]
    assert thaw("0000-00-00 00:00:00", "datetime", native=True) == "0000-00-00 00:00:00"


def test_texts_that_are_no_utf_8_stop_nothing(sqlite: Source) -> None:
    source = sqlite
    source.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)")
    source.run("INSERT INTO orders VALUES (1, CAST(x'4AF67267' AS TEXT)), (2, 'Jörg')")
    assert [record["note"] for record in records(pulled(source.opened(), stream()))] == [r"J\xf6rg", "Jörg"]


def test_times_that_only_postgres_knows_stop_nothing(postgres: Source) -> None:
    source = postgres
    source.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, changed TIMESTAMPTZ, day DATE, hour TIME, sum NUMERIC)")
    source.fill("orders", [(1, "2026-01-01", "infinity", "24:00", "NaN"), (2, "infinity", "0044-03-15 BC", None, "1")])
    what, connector = stream(changed_at="changed"), source.opened(page_size=1)
    pages = pulled(connector, what)
    assert records(pages) == [
        {"id": 1, "changed": "2026-01-01T00:00:00Z", "day": "infinity", "hour": "24:00:00", "sum": "NaN"},
        {"id": 2, "changed": "infinity", "day": "0044-03-15 BC", "hour": None, "sum": "1"},
    ]
    source.run("INSERT INTO orders VALUES (3, '2026-01-02', NULL, NULL, NULL)")
    assert ids(pulled(connector, what, last(pages))) == [3, 2]


def test_a_scan_finds_the_deleted_among_many(source: Source, tmp_path: Path) -> None:
    source.run("CREATE TABLE customers (no INTEGER PRIMARY KEY, name TEXT)")
    source.fill("customers", [(n, f"Name {n}") for n in range(3_000)])
    (tmp_path / "erp.toml").write_text(
        '[customers]\nkind = "customer"\nkey = "no"\n[customers.fields]\ndisplay_name = "name"\n'
    )
    (tmp_path / "config.toml").write_text(
        f'[connections.erp]\nconnector = "legacy"\ndatabase_url = "{source.url}"\nmapping = "erp.toml"\n'
        "sync = { fuse = 0.5 }\n"
    )
    with App.open(tmp_path / "config.toml") as app:
        assert app.sync(["erp"])["erp"]["customers"]["changed"] == 3_000
        source.run("DELETE FROM customers WHERE no % 3 = 0")
        found = app.sync(["erp"])["erp"]["customers"]
        assert (found["error"], found["read"], found["changed"], found["deleted"]) == (None, 2_000, 0, 1_000)
        with app.store.read() as tx:
            gone = tx.execute("SELECT remote_id FROM state WHERE deleted").fetchall()
        assert {int(row[0]) for row in gone} == set(range(0, 3_000, 3))
