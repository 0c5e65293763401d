"""`hub sync` and `hub status`: what was read, what stopped it, and what is stored."""

import re
from typing import Any

from tests.cli.conftest import Hub


def test_sync_reports_each_table(hub: Hub, market: Any) -> None:
    ran = hub("sync", "--json")
    assert ran.code == 0, ran.err
    people = ran.json["connections"]["market"]["people"]
    seconds = people.pop("seconds")
    assert isinstance(seconds, float)
    assert people == {
        "stream": "people", "kind": "customer", "read": 12, "changed": 12, "deleted": 0, "skipped": 0, "rejected": 0,
        "error": None,
    }  # fmt: skip
    assert "market people: 12 read, done" in ran.err
    again = hub("sync", "market", "--stream", "people", "--full", "--json").json["connections"]["market"]
    assert list(again) == ["people"]
    assert (again["people"]["read"], again["people"]["changed"]) == (12, 0)
    assert re.search(r"^market +people +customer +12 +0 +0 +0 +\d", hub("sync", "--full").out, re.M)


def test_sync_of_an_unknown_stream_is_exit_2_before_anything_is_read(hub: Hub, market: Any) -> None:
    hub("sync", "--stream", "poeple").failed(2, 'did you mean "people"')


def test_sync_with_an_error_is_exit_1_and_the_others_go_on(hub: Hub, market: Any) -> None:
    market.fault("GET /people", "status:500", times=100)
    ran = hub("sync", "--json")
    assert ran.code == 1
    tables = ran.json["connections"]["market"]
    assert tables["people"]["error"].startswith("temporary: ")
    assert tables["tickets"]["error"] is None
    assert tables["tickets"]["read"] > 0


def test_an_error_of_a_sync_is_told_once_below_the_table(hub: Hub, market: Any) -> None:
    market.fault("GET /people", "status:500", times=100)
    ran = hub("sync")
    told = "temporary: GET /people: 500"
    assert (ran.out + ran.err).count(told) == 1
    assert ran.out.splitlines()[-1] == f"error: market people: {told}"
    assert "market people: 0 read, stopped by an error" in ran.err
    assert "people: 0 read, done" not in ran.err
    assert hub("status").out.splitlines()[-1] == f"error: market people: {told}"


def test_status_shows_what_is_stored(hub: Hub, market: Any) -> None:
    hub("sync")
    line = hub("status", "--json").json["connections"]["market"]["streams"]["people"]
    assert (line["records"], line["rejects"], line["error"]) == (12, 0, None)
    assert line["synced_at"]
    assert re.search(r"^market +people +12 +0 +\d{4}-\d\d-\d\d \d\d:\d\dZ", hub("status").out, re.M)
