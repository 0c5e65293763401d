"""Sync: one pull after another, wherever it was stopped."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hub.config import ConnectionSettings, SyncSettings
from hub.connections import Connection
from hub.connector import Connector, Page, Stream, fetch, pull
from hub.errors import ConfigError, HubError, Invalid, NotSent, Temporary, Unauthorized, Unsupported
from hub.mapping import Source, compile_mapping
from hub.store import Store, clock, cursors
from hub.sync import Progress, sync_connection
from hub.sync import fetch as fetch_now
from hub.transport import Transport
from tests.stores import watch, wipe

MAPPING = """
[cases]
kind       = "ticket"
key        = "id"
updated_at = "changed"
[cases.fields]
subject    = "subject"
updated_at = { from = "changed", as = "iso8601" }

[urgent]
stream = "cases"
kind   = "agent"
key    = "id"
where  = { urgent = true }
[urgent.fields]
display_name = "subject"

[people]
kind = "customer"
key  = "id"
[people.fields]
display_name = "name"

[stock]
kind = "account"
key  = "id"
[stock.fields]
name = "name"
"""
Pages = Callable[[Stream, str | None], Iterator[Page]]


class Scripted(Connector):
    """A connector whose streams do what the test says."""

    name = "scripted"

    def __init__(self, scripts: dict[str, Pages]) -> None:
        self.scripts = scripts
        self.asked: list[tuple[str, str | None]] = []

    @pull("cases", deletes="feed")
    def cases(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        self.asked.append((stream.name, cursor))
        yield from self.scripts.get(stream.name, nothing)(stream, cursor)

    @pull("people")
    def people(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        yield from self.cases(stream, cursor)

    @pull("stock", deletes="scan")
    def stock(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        yield from self.cases(stream, cursor)

    @fetch("cases")
    def fetch_cases(self, stream: Stream, ids: list[str]) -> Page:
        return Page(
            records=[case(int(id), changed=59) for id in ids if id != "404"], deleted=["404"] if "404" in ids else []
        )


def nothing(stream: Stream, cursor: str | None) -> Iterator[Page]:
    yield from ()


def case(id: int, changed: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": id, "subject": f"case {id}", "changed": f"2026-01-01T00:00:{changed:02}Z"} | more


def numbered(pages: int, size: int = 2, stop: tuple[int, BaseException] | None = None) -> Pages:
    """Give pages of cases behind the cursor; at page `stop` raise."""

    def script(stream: Stream, cursor: str | None) -> Iterator[Page]:
        for n in range(int(cursor or 0), pages):
            if stop and stop[0] == n:
                raise stop[1]
            yield Page(records=[case(n * size + k) for k in range(size)], cursor=str(n + 1))

    return script


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store.open(database_url)
    yield store
    store.close()


def connected(scripts: dict[str, Pages], **sync: Any) -> Any:
    settings = ConnectionSettings(connector="scripted", sync=SyncSettings(**sync))
    mapping = compile_mapping(Source(MAPPING, "mappings/scripted.toml"))
    return Connection("acme", Scripted(scripts), mapping, Transport("acme"), settings)


def ids(store: Store, kind: str = "ticket") -> list[int]:
    with store.read() as tx:
        rows = tx.execute("SELECT remote_id FROM record WHERE kind = ? AND deleted_at IS NULL", (kind,))
        return sorted(int(row[0]) for row in rows)


def position(store: Store, stream: str = "cases") -> cursors.Position:
    with store.read() as tx:
        return cursors.position(tx, "acme", stream)


def test_a_pull_reports_by_table_what_it_did(store: Store) -> None:
    page = Page(records=[case(1), case(2, urgent=True), {"subject": "no id"}], deleted=["9"], cursor="1")
    report = sync_connection(store, connected({"cases": lambda *_: iter([page])}))
    seconds = report["cases"].pop("seconds")
    assert 0 <= seconds < 60
    assert report["cases"] == {
        "stream": "cases", "kind": "ticket", "error": None,
        "read": 4, "changed": 2, "deleted": 0, "skipped": 0, "rejected": 1,
    }  # fmt: skip
    assert (report["urgent"]["kind"], report["urgent"]["read"], report["urgent"]["changed"]) == ("agent", 4, 1)
    assert set(report) == {"cases", "urgent", "people", "stock"}


def test_the_next_pull_goes_on_where_the_last_one_ended(store: Store) -> None:
    connection = connected({"cases": numbered(3)})
    sync_connection(store, connection, streams=["cases"])
    connection.connector.scripts["cases"] = numbered(5)
    report = sync_connection(store, connection, streams=["cases"])
    assert (report["cases"]["read"], ids(store)) == (4, list(range(10)))
    assert connection.connector.asked == [("cases", None), ("cases", "3")]
    assert position(store).synced_at is not None


def test_an_error_in_the_middle_keeps_what_came_and_leaves_the_rest_for_later(store: Store) -> None:
    connection = connected({"cases": numbered(4, stop=(2, Temporary("acme: 500 for GET /cases"))), "people": people})
    report = sync_connection(store, connection)
    assert (report["cases"]["read"], report["cases"]["error"]) == (4, "temporary: acme: 500 for GET /cases")
    assert report["urgent"]["error"] == report["cases"]["error"]
    assert (report["people"]["read"], report["people"]["error"]) == (1, None)
    assert (position(store).cursor, position(store).error) == ("2", "temporary: acme: 500 for GET /cases")
    connection.connector.scripts["cases"] = numbered(4)
    assert sync_connection(store, connection)["cases"]["read"] == 4
    assert (ids(store), position(store).error) == (list(range(8)), None)


def people(stream: Stream, cursor: str | None) -> Iterator[Page]:
    yield Page(records=[{"id": 1, "name": "Ada"}], cursor="p1")


def test_refused_credentials_stop_the_other_streams_with_the_same_error(store: Store) -> None:
    connection = connected(
        {"cases": numbered(4, stop=(1, Unauthorized("acme: the token is refused"))), "people": people}
    )
    report = sync_connection(store, connection)
    assert {table["error"] for table in report.values()} == {"unauthorized: acme: the token is refused"}
    assert [name for name, _ in connection.connector.asked] == ["cases"]
    assert ids(store) == [0, 1]


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (KeyError("ada@x.example"), "connector_failed: acme cases: the connector failed with KeyError at "),
        (ConnectionResetError("peer"), "temporary: acme cases: the connection broke (ConnectionResetError)"),
    ],
)
def test_whatever_a_connector_raises_is_told_without_its_text(
    store: Store, caplog: pytest.LogCaptureFixture, raised: Exception, expected: str
) -> None:
    report = sync_connection(store, connected({"cases": numbered(2, stop=(1, raised)), "people": people}))
    told = report["cases"]["error"]
    assert told.startswith(expected)
    assert ("test_sync.py:" in told) is expected.endswith(" at "), "a fault of the plugin's own names its line"
    assert report["people"]["error"] is None
    assert "ada@x.example" not in caplog.text + told
    assert caplog.text == ""


def test_a_connection_refused_was_never_sent(store: Store, unused_tcp_port: int) -> None:
    def script(stream: Stream, cursor: str | None) -> Iterator[Page]:
        import requests

        yield Page(body=requests.get(f"http://127.0.0.1:{unused_tcp_port}/cases", timeout=5).content)

    report = sync_connection(store, connected({"cases": script}), streams=["cases"])
    assert (
        report["cases"]["error"]
        == f"not_sent: acme cases: 127.0.0.1:{unused_tcp_port} could not be reached (ConnectionError)"
    )


@pytest.fixture
def unused_tcp_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_page_that_is_no_json_is_an_error_of_its_stream(store: Store) -> None:
    def script(stream: Stream, cursor: str | None) -> Iterator[Page]:
        yield Page(records=[case(1)], cursor="1")
        yield Page(body=b"<html>Bad gateway</html>", at="cases", cursor="2")

    report = sync_connection(store, connected({"cases": script, "people": people}))
    assert report["cases"]["error"].startswith("temporary: ")
    assert (report["people"]["error"], ids(store), position(store).cursor) == (None, [1], "1")


@pytest.mark.parametrize(
    "garbage",
    [
        "no page",
        Page(records=[], cursor=5),  # type: ignore[arg-type]
        Page(records=[], deleted=[5]),  # type: ignore[list-item]
        Page(records=[1, None, "x"]),  # type: ignore[list-item]
        Page(records=[], deleted=["\ud800"]),
        Page(records=[], cursor="\ud800"),
    ],
)
def test_a_page_of_garbage_is_an_error_of_its_stream(store: Store, garbage: Any) -> None:
    report = sync_connection(store, connected({"cases": lambda *_: iter([garbage]), "people": people}))
    assert report["cases"]["error"] or report["cases"]["rejected"] == 3
    assert (report["people"]["error"], ids(store)) == (None, [])


@pytest.mark.parametrize("more", [[], [Page(records=[case(9)], cursor="3")]])
def test_a_cursor_that_came_before_stops_the_pull(store: Store, more: list[Page]) -> None:
    pages = [
        Page(records=[case(1)], cursor="1"),
        Page(records=[case(2)], cursor="2"),
        Page(records=[case(1)], cursor="1"),
    ]
    report = sync_connection(store, connected({"cases": lambda *_: iter([*pages, *more])}))
    assert report["cases"]["error"] == "temporary: acme cases: the vendor repeated a cursor; the pull was stopped"
    assert (ids(store), position(store).cursor) == ([1, 2], "2")


def test_a_cursor_that_does_not_move_from_the_start_stops_the_pull(store: Store) -> None:
    connection = connected({"cases": numbered(1)})
    sync_connection(store, connection)
    given: list[Page] = []

    def endless(stream: Stream, cursor: str | None) -> Iterator[Page]:
        for _ in range(100):
            given.append(Page(records=[], cursor="1"))
            yield given[-1]

    connection.connector.scripts["cases"] = endless
    assert "repeated a cursor" in sync_connection(store, connection)["cases"]["error"]
    assert len(given) == 2


def test_an_empty_last_page_may_repeat_the_cursor(store: Store) -> None:
    connection = connected(
        {"cases": lambda *_: iter([Page(records=[case(1)], cursor="1"), Page(records=[], cursor="1")])}
    )
    assert sync_connection(store, connection)["cases"]["error"] is None


def test_pages_that_repeat_shrink_or_are_empty_in_the_middle_lose_and_double_nothing(store: Store) -> None:
    pages = [
        Page(records=[case(n) for n in range(50)], cursor="1"),
        Page(records=[], cursor="2"),
        Page(records=[case(n) for n in range(40, 60)], cursor="3"),
        Page(records=[case(n) for n in range(40, 60)], cursor="4"),
        Page(records=[case(60)], cursor="5"),
        Page(body=b'{"cases": []}', at="cases", cursor="6"),
        Page(records=[case(61), case(61, changed=5), case(61)], cursor="7"),
    ]
    report = sync_connection(store, connected({"cases": lambda *_: iter(pages)}), streams=["cases"])
    assert (report["cases"]["error"], position(store).cursor) == (None, "7")
    assert ids(store) == list(range(62))
    with store.read() as tx:
        told = [one for row in tx.execute("SELECT changes FROM event") for one in json.loads(row[0])["created"]]
        (body,) = tx.execute("SELECT body FROM record WHERE remote_id = '61'").fetchone()
    assert len(told) == len(set(told)) == 62
    assert json.loads(body)["updated_at"] == "2026-01-01T00:00:05Z"


def test_what_a_system_lacks_is_a_warning(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    def lacking(stream: Stream, cursor: str | None) -> Iterator[Page]:
        raise Unsupported("acme: the org has no object Order")
        yield

    def partly(stream: Stream, cursor: str | None) -> Iterator[Page]:
        yield Page(records=[{"id": 1, "name": "Ada"}], warnings=["the org has no field Rating"])

    told: list[Progress] = []
    report = sync_connection(store, connected({"cases": lacking, "people": partly}), progress=told.append)
    assert {table["error"] for table in report.values()} == {None}
    warnings = [warning for step in told for warning in step.warnings]
    assert warnings == ["acme: the org has no object Order", "the org has no field Rating"]
    assert all(warning in caplog.text for warning in warnings)


def test_progress_tells_how_far_each_stream_is(store: Store) -> None:
    told: list[Progress] = []
    sync_connection(store, connected({"cases": numbered(2)}), streams=["cases"], progress=told.append)
    assert [(step.stream, step.read, step.done) for step in told] == [
        ("cases", 2, False), ("cases", 4, False), ("cases", 4, True),
    ]  # fmt: skip


def test_an_unknown_stream_is_a_wrong_configuration(store: Store) -> None:
    with pytest.raises(ConfigError, match='the mapping has no stream "tikets"; it has cases, people, stock'):
        sync_connection(store, connected({}), streams=["tikets"])


def test_a_stream_that_the_connector_does_not_have_is_an_error(store: Store) -> None:
    connection = connected({})
    connection.mapping = compile_mapping(Source(MAPPING + '\n[ghosts]\nkind="agent"\nkey="id"\n', "scripted.toml"))
    error = sync_connection(store, connection)["ghosts"]["error"]
    assert error == "not_found: acme: the connector has no stream ghosts; see its README"


def test_since_is_handed_to_the_connector(store: Store) -> None:
    seen: list[datetime | None] = []

    def script(stream: Stream, cursor: str | None) -> Iterator[Page]:
        seen.append(stream.since)
        yield from ()

    sync_connection(store, connected({"cases": script}, since="2025-01-31"), streams=["cases"])
    sync_connection(store, connected({"cases": script}), streams=["cases"])
    assert seen == [datetime(2025, 1, 31, tzinfo=UTC), None]


def test_a_full_pull_begins_at_the_beginning_and_changes_no_row(store: Store) -> None:
    connection = connected({"cases": numbered(3), "people": people})
    sync_connection(store, connection)
    with store.write() as tx:
        watch(tx)
    report = sync_connection(store, connection, full=True)
    assert (report["cases"]["read"], report["cases"]["changed"]) == (6, 0)
    with store.read() as tx:
        assert set(tx.execute("SELECT what FROM touched").fetchall()) == {("UPDATE cursor",)}


def test_a_full_pull_that_broke_goes_on_with_the_next_one(store: Store) -> None:
    connection = connected({"cases": numbered(4)})
    sync_connection(store, connection)
    connection.connector.scripts["cases"] = numbered(4, stop=(2, Temporary("acme: no answer")))
    sync_connection(store, connection, full=True)
    assert position(store).scan is not None
    connection.connector.scripts["cases"] = numbered(4)
    report = sync_connection(store, connection, full=True)
    assert report["cases"]["read"] == 4
    assert (position(store).scan, position(store).cursor) == (None, "4")


def test_a_full_pull_that_gets_no_page_keeps_the_cursor(store: Store) -> None:
    connection = connected({"cases": numbered(2)})
    sync_connection(store, connection)
    connection.connector.scripts["cases"] = numbered(2, stop=(0, Temporary("acme: no answer")))
    sync_connection(store, connection, full=True)
    assert position(store).cursor == "2"


def test_a_page_that_the_database_lost_stops_the_pull_before_the_next_is_written(store: Store) -> None:
    def lose(step: Progress) -> None:
        if step.read == 2 and not step.done:
            with store.write() as tx:
                wipe(tx)

    report = sync_connection(store, connected({"cases": numbered(3)}), streams=["cases"], progress=lose)
    assert "has lost a page that it had taken" in report["cases"]["error"]
    assert ids(store) == []
    assert sync_connection(store, connected({"cases": numbered(3)}), streams=["cases"])["cases"]["error"] is None
    assert ids(store) == list(range(6))


def stock(*numbers: int, complete: bool = True, stop: Exception | None = None) -> Pages:
    """Give two pages of stock, a full scan each time."""

    def script(stream: Stream, cursor: str | None) -> Iterator[Page]:
        half = len(numbers) // 2
        yield Page(records=[{"id": n, "name": f"item {n}"} for n in numbers[:half]], cursor="half")
        if stop:
            raise stop
        yield Page(records=[{"id": n, "name": f"item {n}"} for n in numbers[half:]], complete=complete)

    return script


def test_a_full_scan_finds_what_is_gone_even_within_a_millisecond(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime(2026, 3, 1, tzinfo=UTC))
    connection = connected({"stock": stock(1, 2, 3, 4)})
    sync_connection(store, connection, streams=["stock"])
    connection.connector.scripts["stock"] = stock(1, 2, 4)
    report = sync_connection(store, connection, streams=["stock"])
    assert (report["stock"]["deleted"], ids(store, "account")) == (1, [1, 2, 4])
    assert connection.connector.asked == [("stock", None), ("stock", None)]


@pytest.mark.parametrize("script", [stock(1, 2, complete=False), stock(1, 2, stop=Temporary("acme: gone"))])
def test_a_scan_that_is_not_whole_deletes_nothing(store: Store, script: Pages) -> None:
    connection = connected({"stock": stock(1, 2, 3, 4)})
    sync_connection(store, connection, streams=["stock"])
    connection.connector.scripts["stock"] = script
    sync_connection(store, connection, streams=["stock"])
    assert ids(store, "account") == [1, 2, 3, 4]


def test_a_scan_goes_on_after_it_broke_and_still_knows_what_it_met(store: Store) -> None:
    connection = connected({"stock": stock(1, 2, 3, 4)})
    sync_connection(store, connection, streams=["stock"])
    connection.connector.scripts["stock"] = stock(1, 2, 3, stop=Temporary("acme: gone"))
    sync_connection(store, connection, streams=["stock"])

    def rest(stream: Stream, cursor: str | None) -> Iterator[Page]:
        assert cursor == "half"
        yield Page(records=[{"id": 2, "name": "item 2"}], complete=True)

    connection.connector.scripts["stock"] = rest
    report = sync_connection(store, connection, streams=["stock"])
    assert (report["stock"]["error"], ids(store, "account")) == (None, [1, 2])


def test_a_full_pull_is_full_though_the_one_before_it_broke_on_its_way_from_a_cursor(store: Store) -> None:
    def growing(stream: Stream, cursor: str | None) -> Iterator[Page]:
        yield Page(records=[{"id": n, "name": "item"} for n in (1, 2)], cursor="a", complete=True)

    connection = connected({"stock": growing})
    sync_connection(store, connection, streams=["stock"])

    def broken(stream: Stream, cursor: str | None) -> Iterator[Page]:
        yield Page(records=[{"id": 3, "name": "item"}], cursor="b")
        raise Temporary("acme: gone")

    connection.connector.scripts["stock"] = broken
    sync_connection(store, connection, streams=["stock"])
    connection.connector.scripts["stock"] = growing
    report = sync_connection(store, connection, streams=["stock"], full=True)
    assert [cursor for _, cursor in connection.connector.asked] == [None, "a", None]
    assert (report["stock"]["deleted"], ids(store, "account")) == (1, [1, 2])


def test_a_scan_that_finds_too_much_gone_asks_a_person(store: Store) -> None:
    connection = connected({"stock": stock(*range(40))})
    sync_connection(store, connection, streams=["stock"])
    connection.connector.scripts["stock"] = stock(1, 2)
    report = sync_connection(store, connection, streams=["stock"])
    assert report["stock"]["error"].startswith("fuse: acme stock: a full scan did not meet 38 of 40 records")
    assert len(ids(store, "account")) == 40
    agreed = connected({"stock": stock(1, 2)}, fuse=1)
    report = sync_connection(store, agreed, streams=["stock"])
    assert (report["stock"]["error"], report["stock"]["deleted"], ids(store, "account")) == (None, 38, [1, 2])


def test_fetch_reads_records_anew_and_leaves_the_cursor(store: Store) -> None:
    connection = connected({"cases": numbered(2)})
    sync_connection(store, connection)
    counts = fetch_now(store, connection, "cases", ["1", "77"])
    assert (counts.read, counts.changed, position(store).cursor) == (2, 2, "2")
    assert 77 in ids(store)


def test_fetch_learns_what_is_gone(store: Store) -> None:
    connection = connected({"cases": lambda *_: iter([Page(records=[case(404)], cursor="1")])})
    sync_connection(store, connection)
    assert fetch_now(store, connection, "cases", ["404"]).deleted == 1
    assert ids(store) == []


def test_fetch_of_a_stream_without_one_is_unsupported(store: Store) -> None:
    with pytest.raises(Unsupported, match="people cannot be fetched by id"):
        fetch_now(store, connected({}), "people", ["1"])


def test_fetch_wraps_what_a_connector_raises(store: Store) -> None:
    with pytest.raises(HubError, match="the connector failed with ValueError"):
        fetch_now(store, connected({}), "cases", ["no number"])


def test_every_error_of_the_wall_is_the_hubs_own() -> None:
    assert all(issubclass(error, HubError) for error in (NotSent, Temporary, Invalid))


CHILD = """
import sys, time
sys.path[:0] = {path!r}
import test_sync as t
from hub.store import Store
from hub.sync import sync_connection

def script(stream, cursor):
    for page in t.numbered(12, size=50)(stream, cursor):
        print(page.cursor, flush=True)
        if int(page.cursor) == {stop}:
            time.sleep(60)
        yield page

store = Store.open({url!r})
sync_connection(store, t.connected({{"cases": script}}), streams=["cases"], full={full})
"""


@pytest.mark.parametrize("full", [False, True])
def test_a_killed_pull_repeats_at_most_one_page_and_ends_with_the_same_rows(database_url: str, full: bool) -> None:
    url = database_url
    folder = Path(__file__).parent
    pages: list[int] = []
    for stop in (3, 7, 99):
        code = textwrap.dedent(CHILD).format(path=[str(folder), str(folder.parent)], stop=stop, url=url, full=full)
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            pages.append(int(line))
            if int(line) == stop:
                os.kill(child.pid, signal.SIGKILL)
        child.wait(timeout=30)
        child.stdout.close()
    assert pages == [1, 2, 3, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11, 12]
    store = Store.open(url)
    assert ids(store) == list(range(600))
    with store.read() as tx:
        events = [json.loads(row[0])["created"] for row in tx.execute("SELECT changes FROM event")]
        assert sum(map(len, events)) == 600
    store.close()
