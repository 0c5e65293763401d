"""The legacy connector on SQL: increments, full scans, types, nested tables, and what it says of bad settings."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hub import (
    ConfigError,
    Connector,
    HubError,
    Invalid,
    MappingError,
    OrderUpdateShippingAddress,
    Page,
    Refused,
    Stream,
    Temporary,
    Transport,
    Unauthorized,
    Unknown,
)
from hub.mapping import Source, compile_mapping
from hub.sandbox import World
from hub.testing import ConnectorSuite
from hub_legacy.connector import LegacyConnector
from hub_legacy.database import Database, translate
from hub_legacy.options import FileOptions, LegacyConfig, Nest, TableOptions

Opened = Callable[..., LegacyConnector]


class TestLegacy(ConnectorSuite):
    connector: type[Connector] = LegacyConnector
    http = False
    edit = (
        'order_no     = "order.number"',
        'order_no     = { value = "SO-EDITED" }',
        OrderUpdateShippingAddress,
        "SO-EDITED",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "erp.db"


@pytest.fixture
def sql(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        yield database


@pytest.fixture
def opened(path: Path) -> Iterator[Opened]:
    made: list[LegacyConnector] = []

    def open_(**more: Any) -> LegacyConnector:
        config = LegacyConfig.model_validate({"database_url": f"sqlite:///{path}", **more})
        made.append(LegacyConnector(config, Transport("erp")))
        return made[-1]

    yield open_
    for connector in made:
        connector.close()
        connector.transport.close()


def stream(name: str = "orders", *paths: str, key: tuple[str, ...] = ("id",), **options: Any) -> Stream:
    return Stream(name, paths=paths, key=key, options=options)


def records(pages: list[Page]) -> list[dict[str, Any]]:
    return [json.loads(record) for page in pages for record in page.records or ()]


def ids(pages: list[Page]) -> list[Any]:
    return [record["id"] for record in records(pages)]


def pulled(connector: LegacyConnector, what: Stream, cursor: str | None = None) -> list[Page]:
    return list(connector.pull_any(what, cursor))


def last(pages: list[Page], before: str | None = None) -> str | None:
    """Give the cursor that is stored after these pages."""
    return next((page.cursor for page in reversed(pages) if page.cursor is not None), before)


def filled(sql: sqlite3.Connection, changes: list[str | int | None], *, declared: str = "TIMESTAMP") -> None:
    sql.execute(f"CREATE TABLE orders (id INTEGER PRIMARY KEY, changed {declared}, note TEXT)")
    sql.executemany("INSERT INTO orders VALUES (?, ?, 'n')", list(enumerate(changes, 1)))


def test_the_second_pull_reads_only_what_changed(sql: sqlite3.Connection, opened: Opened) -> None:
    filled(sql, [f"2026-01-0{day} 10:00:00" for day in range(1, 6)])
    connector = opened(page_size=2)
    what = stream(changed_at="changed")
    first = pulled(connector, what)
    assert ids(first) == [1, 2, 3, 4, 5]
    assert [page.complete for page in first] == [False, False, True]
    cursor = last(first)
    assert pulled(connector, what, cursor) == []
    sql.execute("UPDATE orders SET changed = '2026-01-06 10:00:00' WHERE id = 2")
    second = pulled(connector, what, cursor)
    assert ids(second) == [2]
    assert not any(page.complete for page in second), "an increment proves nothing about deletes"


def test_equal_clocks_over_a_page_boundary_lose_no_row(sql: sqlite3.Connection, opened: Opened) -> None:
    filled(sql, ["2026-01-01 10:00:00"] * 7)
    first = pulled(opened(page_size=3), stream(changed_at="changed"))
    assert ids(first) == [1, 2, 3, 4, 5, 6, 7]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ticks=st.lists(st.integers(0, 4), max_size=14), size=st.integers(1, 4), scan=st.booleans())
def test_a_pull_resumes_from_every_cursor_with_the_rest(
    tmp_path_factory: pytest.TempPathFactory, ticks: list[int], size: int, scan: bool
) -> None:
    path = tmp_path_factory.mktemp("law") / "erp.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as sql:
        filled(sql, [f"2026-01-0{tick + 1} 10:00:00" for tick in ticks])
    connector = LegacyConnector(
        LegacyConfig.model_validate({"database_url": f"sqlite:///{path}", "page_size": size}), Transport("erp")
    )
    what = stream() if scan else stream(changed_at="changed")
    pages = pulled(connector, what)
    assert sorted(ids(pages)) == list(range(1, len(ticks) + 1))
    assert pages[-1].complete
    for n, page in enumerate(pages[:-1]):
        rest = pulled(connector, what, page.cursor)
        assert ids(rest) == ids(pages[n + 1 :])
        assert rest[-1].complete, "a resumed full read closes, too"
    cursors = [page.cursor for page in pages]
    assert len(set(cursors)) == len(cursors)
    connector.transport.close()


def test_a_table_without_a_clock_is_scanned_anew_each_time(sql: sqlite3.Connection, opened: Opened) -> None:
    filled(sql, ["x"] * 5)
    connector = opened(page_size=2)
    first = pulled(connector, stream())
    again = pulled(connector, stream(), last(first))
    assert ids(first) == ids(again) == [1, 2, 3, 4, 5]
    cursors = [page.cursor for page in (*first, *again)]
    assert len(set(cursors)) == len(cursors), "a cursor seen before would stop the pull"
    assert [page.complete for page in again] == [False, False, True]


def test_an_empty_table_is_a_complete_scan(sql: sqlite3.Connection, opened: Opened) -> None:
    filled(sql, [])
    pages = pulled(opened(), stream())
    assert [(page.records, page.complete) for page in pages] == [([], True)]


def test_a_version_column_counts_as_a_clock(sql: sqlite3.Connection, opened: Opened) -> None:
    filled(sql, [10, 11, 12], declared="INTEGER")
    connector = opened()
    what = stream(version="changed", overlap_versions=0)
    cursor = last(pulled(connector, what))
    sql.execute("UPDATE orders SET changed = 13 WHERE id = 1")
    assert ids(pulled(connector, what, cursor)) == [1]


def test_rows_without_a_clock_are_read_with_every_pull(sql: sqlite3.Connection, opened: Opened) -> None:
    filled(sql, ["2026-01-01 10:00:00", None, None])
    connector = opened(page_size=1)
    first = pulled(connector, stream(changed_at="changed"))
    assert sorted(ids(first)) == [1, 2, 3]
    assert any("rows without changed" in warning for page in first for warning in page.warnings)
    again = pulled(connector, stream(changed_at="changed"), last(first))
    assert ids(again) == [2, 3]
    assert [page.cursor for page in again] == [None, None]


def test_rows_without_a_key_do_not_end_a_scan(sql: sqlite3.Connection, opened: Opened) -> None:
    sql.execute("CREATE TABLE orders (id TEXT, note TEXT)")
    sql.executemany("INSERT INTO orders VALUES (?, 'n')", [(None,), ("a",), (None,), ("b",)])
    pages = pulled(opened(page_size=1), stream())
    assert sorted(ids(pages), key=str) == [None, None, "a", "b"]
    assert pages[-1].complete


def test_young_rows_are_read_again_for_those_committed_late(sql: sqlite3.Connection, opened: Opened) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    filled(sql, [(now - timedelta(seconds=s)).strftime("%Y-%m-%d %H:%M:%S") for s in (600, 30, 5)])
    connector = opened()
    cursor = last(pulled(connector, stream(changed_at="changed")))
    late = (now - timedelta(seconds=20)).strftime("%Y-%m-%d %H:%M:%S")
    sql.execute("INSERT INTO orders VALUES (9, ?, 'committed after the pull')", (late,))
    again = pulled(connector, stream(changed_at="changed"), cursor)
    assert 9 in ids(again)
    assert 1 not in ids(again)
    assert [page.cursor for page in again] == [None], "nothing moved, so the cursor stays"
    assert ids(pulled(connector, stream(changed_at="changed", overlap_s=0), cursor)) in ([], [3])


def test_a_changed_mapping_starts_a_new_full_read(sql: sqlite3.Connection, opened: Opened) -> None:
    filled(sql, ["2026-01-01 10:00:00"] * 3)
    connector = opened()
    cursor = last(pulled(connector, stream()))
    pages = pulled(connector, stream(changed_at="changed"), cursor)
    assert ids(pages) == [1, 2, 3]
    assert pages[-1].complete


def test_since_leaves_out_older_rows_and_proves_no_deletes(sql: sqlite3.Connection, opened: Opened) -> None:
    filled(sql, ["2025-01-01 10:00:00", "2026-01-01 10:00:00"])
    what = Stream("orders", key=("id",), options={"changed_at": "changed"}, since=datetime(2025, 6, 1, tzinfo=UTC))
    pages = pulled(opened(), what)
    assert ids(pages) == [2]
    assert not pages[-1].complete


def test_values_of_columns_come_exact(sql: sqlite3.Connection, opened: Opened) -> None:
    sql.execute(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, total DECIMAL(12,2), pieces NUMERIC(9,0), placed TIMESTAMP, "
        "day DATE, paid BOOLEAN, ratio REAL, picture BLOB, extra JSON, big BIGINT, odd TIMESTAMP)"
    )
    sql.execute(
        "INSERT INTO orders VALUES (1, 1234567.10, 7, '2026-07-01 12:00:00', '2026-07-01', 1, 0.5, x'00ff', "
        "'{\"vip\": true}', 9007199254740993, 'tomorrow')"
    )
    (record,) = records(pulled(opened(zone="Europe/Berlin"), stream(select="all")))
    assert record == {
        "id": 1, "total": "1234567.1", "pieces": 7, "placed": "2026-07-01T10:00:00Z", "day": "2026-07-01",
        "paid": True, "ratio": 0.5, "extra": {"vip": True}, "big": 9007199254740993, "odd": "tomorrow",
    }  # fmt: skip


def test_money_reaches_the_model_without_a_float(sql: sqlite3.Connection, opened: Opened) -> None:
    sql.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, total DECIMAL(12,2), currency CHAR(3))")
    sql.execute("INSERT INTO orders VALUES (1, 19.99, 'EUR'), (2, 0.1, 'EUR'), (3, 1e6, 'JPY')")
    text = (
        '[orders]\nkind = "order"\nkey = "id"\n[orders.fields]\n'
        'total = { money = "total", currency = "currency", unit = "major" }'
    )
    mapping = compile_mapping(Source(text, "test"), table_options=LegacyConnector.table_options)
    rows = [
        row
        for page in pulled(opened(), mapping.stream("orders"))
        for row in mapping.map_page("orders", page).tables["orders"].rows
    ]
    assert [json.loads(row.body)["total"]["amount"] for row in rows] == [1999, 10, 1000000]


def test_only_mapped_columns_are_read_and_missing_ones_are_told(sql: sqlite3.Connection, opened: Opened) -> None:
    sql.execute('CREATE TABLE orders (id INTEGER PRIMARY KEY, "Order No" TEXT, Secret TEXT, STATUS TEXT)')
    sql.execute("INSERT INTO orders VALUES (1, 'SO-1', 'x', 'OPEN')")
    pages = pulled(opened(), stream("orders", "'Order No'", "status", "nowhere", "extra.vip"))
    assert records(pages) == [{"Order No": "SO-1", "status": "OPEN", "id": 1}]
    assert [warning.split('"')[1] for warning in pages[0].warnings] == ["nowhere", "extra"]


def test_nested_rows_come_inside_their_record(sql: sqlite3.Connection, opened: Opened) -> None:
    filled(sql, ["2026-01-01 10:00:00"] * 3)
    sql.execute("CREATE TABLE lines (order_id INTEGER, n INTEGER, price DECIMAL(9,2))")
    sql.executemany("INSERT INTO lines VALUES (?, ?, ?)", [(1, 2, 5), (1, 1, 2.5), (3, 1, 1), (8, 1, 1)])
    nest = {"lines": {"table": "lines", "key": "order_id", "order": "n"}}
    found = records(pulled(opened(page_size=2), stream("orders", "id", "lines[].price", nest=nest)))
    assert [[line["price"] for line in record["lines"]] for record in found] == [["2.5", "5"], [], ["1"]]


def test_views_are_streams(sql: sqlite3.Connection, opened: Opened) -> None:
    filled(sql, ["2026-01-01 10:00:00"] * 3)
    sql.execute("CREATE VIEW open_orders AS SELECT id, note FROM orders WHERE id > 1")
    pages = pulled(opened(page_size=1), stream("open_orders"))
    assert ids(pages) == [2, 3]
    assert pages[-1].complete


def test_a_key_of_several_columns_is_fetched_whatever_it_holds(sql: sqlite3.Connection, opened: Opened) -> None:
    sql.execute("CREATE TABLE lines (order_no TEXT, n INTEGER, sku TEXT, PRIMARY KEY (order_no, n))")
    sql.executemany("INSERT INTO lines VALUES (?, ?, ?)", [("A:1", 1, "x"), ("A", 2, "y"), ("B", 1, "z")])
    page = opened().fetch_any(stream("lines", key=("order_no", "n")), ["A:1:1", "A:2", "B:9", "B:x"])
    assert sorted(record["sku"] for record in records([page])) == ["x", "y"]
    assert page.deleted == ["B:9", "B:x"]


def test_a_table_that_is_not_there_is_told_with_those_that_are(sql: sqlite3.Connection, opened: Opened) -> None:
    filled(sql, [])
    connector = opened()
    with pytest.raises(Invalid, match='no table or view "order"; it has orders'):
        pulled(connector, stream("order"))
    with pytest.raises(Invalid, match='has no column "touched"; it has id, changed, note'):
        pulled(connector, stream(changed_at="touched"))
    with pytest.raises(Invalid, match='key: the table orders has no column "no"'):
        pulled(connector, stream(key=("no",)))
    with pytest.raises(Invalid, match="this connection has no folder"):
        pulled(connector, stream("customers-*.csv"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"changed_at": "changed", "version": "id"}, "changed_at or version, not both"),
        ({"delimiter": ";"}, "delimiter does not belong to a database table"),
        ({"zone": "Mars/Base"}, "zone: expected a time zone"),
        ({"nest": {"lines": {"table": "lines"}}}, "nest.lines.key"),
    ],
)
def test_wrong_settings_of_a_table_name_stream_and_key(
    sql: sqlite3.Connection, opened: Opened, options: dict[str, Any], message: str
) -> None:
    filled(sql, [])
    with pytest.raises(MappingError, match=f'stream "orders": .*{message}|stream "orders": {message}'):
        pulled(opened(), stream(**options))


def test_pulls_cannot_write(sql: sqlite3.Connection, opened: Opened) -> None:
    filled(sql, ["x"])
    with pytest.raises(HubError), opened().database("test").reading("trying to write") as connection:
        connection.exec_driver_sql("DELETE FROM orders")
    assert sql.execute("SELECT count(*) FROM orders").fetchone() == (1,)


def test_a_foreign_cursor_is_refused(sql: sqlite3.Connection, opened: Opened) -> None:
    filled(sql, ["2026-01-01 10:00:00"])
    for cursor in ("gibberish", '{"files":{}}', '{"by":"id","full":true,"at":["no number"]}'):
        with pytest.raises(Invalid, match="the stored cursor"):
            pulled(opened(), stream(), cursor)


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("sqlite:///nowhere/none.db", ConfigError, "no SQLite file none.db"),
        ("sqlite://", ConfigError, "expected a SQLite file"),
        ("nonsense://root:topsecret@x/y", ConfigError, "no URL that SQLAlchemy knows"),
        ("oracle+cx_oracle://root:topsecret@x/y", ConfigError, "driver cx_Oracle is not installed"),
    ],
)
def test_a_bad_database_url_is_told_without_its_password(url: str, error: type[HubError], message: str) -> None:
    database = Database(url)
    with pytest.raises(error, match=message) as caught:
        database.names()
    assert "topsecret" not in str(caught.value)


def test_errors_of_databases_say_what_to_do_and_hold_no_data() -> None:
    from sqlalchemy import exc

    class Driver(Exception):
        sqlstate = "28P01"

    def error(kind: type[exc.DBAPIError], text: str, *, state: str | None = None) -> exc.DBAPIError:
        orig = Driver(text) if state is None else type("Driver", (Exception,), {"sqlstate": state})(text)
        return kind("SELECT secret", {"email": "ada@mail.example.com"}, orig)

    cases = [
        (error(exc.OperationalError, 'password authentication failed for "x"'), Unauthorized),
        (error(exc.ProgrammingError, "permission denied for table ada@", state="42501"), Refused),
        (error(exc.OperationalError, "server closed the connection", state="08006"), Temporary),
        (error(exc.ProgrammingError, 'relation "logins" does not exist', state="42P01"), Invalid),
    ]
    for given_, wanted in cases:
        made = translate(given_, "reading orders")
        assert type(made) is wanted
        assert "ada@" not in made.message
        assert "SELECT" not in made.message


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"database_url": "erp.db"},
        {"folder": "x", "acks": "../elsewhere"},
        {"folder": "x", "encoding": "utf-16"},
        {"folder": "x", "zone": "Nowhere"},
        {"folder": "x", "colour": "red"},
    ],
)
def test_a_connection_that_cannot_be_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LegacyConfig.model_validate(config)


def test_the_database_password_is_shown_nowhere() -> None:
    config = LegacyConfig.model_validate({"database_url": "postgresql://u:topsecret@h/db"})
    assert "topsecret" not in repr(config)


def test_check_and_describe_name_what_is_there(sql: sqlite3.Connection, opened: Opened, tmp_path: Path) -> None:
    filled(sql, [])
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "c.csv").write_text("no,name\n1,Ada\n")
    connector = opened(folder=tmp_path / "drop", settle_s=0)
    checked = connector.check()
    assert checked.account == "sqlite:erp.db folder:drop"
    assert checked.notes == ("1 tables and views", "1 files in the folder")
    assert [(f.name, f.type) for f in connector.describe("orders")][:2] == [("id", "integer"), ("changed", "datetime")]
    assert [f.name for f in connector.describe("*.csv")] == ["no", "name"]


def test_the_world_is_in_the_sandbox_as_the_other_systems_see_it() -> None:
    from hub.testing.case import case_for

    with case_for(LegacyConnector, world=World(customers=60)) as case:
        customers, orders = case.bodies("customer"), case.bodies("order")
        assert len(customers) == len(case.sandbox.world.known_to("legacy"))
        assert len(orders) == len(case.sandbox.world.orders)
        for order in case.sandbox.world.orders:
            body = orders["orders", str(700_000 + order.n)]
            assert body["number"] == order.number
            assert body["total"] == {"amount": order.total_minor, "currency": order.currency}
            assert sum(line["total"]["amount"] for line in body["lines"]) == order.total_minor
            assert body["customer_ref"] == {"table": "customers", "remote_id": order.person.number}
            assert bool(body["shipments"]) == order.shipped
        for (_, number), body in customers.items():
            assert body["external_ref"] == number


def test_the_readme_names_every_setting() -> None:
    text = (Path(__file__).parents[2] / "plugins" / "legacy" / "README.md").read_text("utf-8")
    settings_ = {*LegacyConfig.model_fields, *TableOptions.model_fields, *FileOptions.model_fields, *Nest.model_fields}
    missing = [name for name in sorted(settings_) if not re.search(rf"`{name}`|^{name} +=", text, re.MULTILINE)]
    assert missing == []


def test_the_plugin_loads_without_sqlalchemy() -> None:
    script = "import sys, hub_legacy; hub_legacy.hub_connectors(); sys.exit('sqlalchemy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_database_that_may_only_be_read_refuses_actions(path: Path, sql: sqlite3.Connection, opened: Opened) -> None:
    filled(sql, [])
    connector = opened()
    with pytest.raises(Refused, match="lacks a right"), connector.database("test").writing("x") as connection:
        _insert_read_only(connection)


def _insert_read_only(connection: Any) -> None:
    connection.exec_driver_sql("PRAGMA query_only = ON")
    connection.exec_driver_sql("INSERT INTO orders VALUES (1, 'x', 'n')")


def test_a_commit_that_breaks_off_is_unknown(sql: sqlite3.Connection, opened: Opened) -> None:
    from sqlalchemy import event
    from sqlalchemy.exc import OperationalError

    filled(sql, [])
    database = opened().database("test")

    def break_off(connection: Any) -> None:
        raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

    event.listen(database.engine(), "commit", break_off)
    with pytest.raises(Unknown, match="whether it did is not known"), database.writing("inserting") as connection:
        connection.exec_driver_sql("INSERT INTO orders VALUES (1, 'x', 'n')")
