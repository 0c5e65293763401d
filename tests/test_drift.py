"""Drift: fields and words of systems that come, go or change are told with what they hit, and stop nothing."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from hub import drift
from hub.app import App, drifting
from hub.app.sandboxes import Sandboxes
from hub.cli import run
from hub.config import ConnectionSettings
from hub.connector import Page
from hub.drift.describing import Change, differences
from hub.store import Store, clock, fills
from hub.sync.sampling import Sample
from tests.desk import MAPPING, Desk, made, ticket
from tests.stores import ON_SQLITE


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    store = Store.open(database_url)
    yield Desk(store, made(MAPPING), ConnectionSettings(connector="desk"))
    store.close()


@pytest.fixture
def systems(tmp_path: Path, database_url: str) -> Iterator[Any]:
    """Sandboxes of three systems, and a config.toml that points to them."""
    with Sandboxes.start(["salesforce", "zendesk", "legacy"], customers=12) as up:
        (tmp_path / "config.toml").write_text(f'[hub]\ndatabase_url = "{database_url}"\n{up.toml()}')
        yield up.sandboxes


def change(sandbox: Any, do: str, stream: str, name: str, **more: Any) -> None:
    """Let an administrator change a sandbox's schema, through its own endpoint."""
    asked = {"do": do, "stream": stream, "name": name, **more}
    assert requests.post(f"{sandbox.url}/_sandbox/schema", json=asked, timeout=10).json() == {"ok": True}


def changes(found: dict[str, Any], stream: str) -> dict[tuple[str, str], list[str]]:
    return {(one["what"], one["field"]): one["hits"] for one in found["changes"] if one["stream"] == stream}


def test_every_sort_of_difference_between_two_descriptions_is_named() -> None:
    before = {"a": ("string", []), "b": ("string", []), "s": ("enum", ["x", "y"]), "n": ("enum", [])}
    after = {"b": ("double", []), "c": ("date", []), "s": ("enum", ["y", "z"]), "n": ("enum", ["first"])}
    assert sorted(differences(before, after), key=str) == sorted(
        [
            Change("removed", "a", before="string"),
            Change("added", "c", after="date"),
            Change("retyped", "b", "string", "double"),
            Change("new_value", "s", after="z"),
            Change("gone_value", "s", before="x"),
        ],
        key=str,
    )
    assert list(differences(after, after)) == []


def test_what_changes_in_systems_is_told_with_what_it_hits_and_stops_nothing(systems: Any, tmp_path: Path) -> None:
    with App.open(tmp_path / "config.toml") as app:
        first = app.sync()
        assert all(not line["changes"] for line in drifting.report(app, now=True).values())
        change(systems["salesforce"], "remove", "Contact", "Phone")
        change(systems["salesforce"], "retype", "Case", "Subject", type="textarea")
        change(systems["salesforce"], "add", "Case", "Tier__c", type="picklist", values=["gold"])
        change(systems["salesforce"], "value", "Case", "Status", values=["Parked"])
        change(systems["legacy"], "remove", "customers", "phone")
        change(systems["legacy"], "add", "customers", "loyalty", type="INTEGER")
        change(systems["zendesk"], "add", "tickets", "77", type="tagger", values=["red"])
        found = drifting.report(app, now=True)
        again = app.sync(full=True)
        status = app.status()
    salesforce = changes(found["salesforce"], "Contact") | changes(found["salesforce"], "Case")
    assert salesforce["removed", "Phone"] == ["Contact.phone"]
    assert salesforce["retyped", "Subject"] == ["Case.subject"]
    assert salesforce["added", "Tier__c"] == []
    assert "Case.status" in salesforce["new_value", "Status"]
    assert any("Parked" in one["message"] for one in found["salesforce"]["problems"])
    legacy = changes(found["legacy"], "customers")
    assert legacy["removed", "phone"] == ["customers.phone"]
    assert legacy["added", "loyalty"] == []
    assert changes(found["zendesk"], "tickets") == {("added", "custom_fields[id=77].value"): []}
    lines = [line for tables in again.values() for line in tables.values()]
    assert not [line["error"] for line in lines if line["error"]]
    assert {(name, table): line["read"] for name, tables in again.items() for table, line in tables.items()} == {
        (name, table): line["read"] for name, tables in first.items() for table, line in tables.items()
    }
    assert status["salesforce"]["drift"]["changes"] == 3
    assert status["legacy"]["drift"] == {"changes": 1, "emptied": 0}


def test_a_field_that_goes_in_the_middle_of_a_pull_takes_only_itself(systems: Any, tmp_path: Path) -> None:
    with App.open(tmp_path / "config.toml") as app:
        app.sync(["salesforce"], streams=["Contact"])
        change(systems["salesforce"], "remove", "Contact", "Title")
        line = app.sync(["salesforce"], streams=["Contact"], full=True)["salesforce"]["Contact"]
        assert line["error"] is None
        assert line["read"] > 0
        assert json.loads(app.list("customer", {}, limit=1))["data"][0]["email"]


@ON_SQLITE
def test_the_drift_command_tells_and_the_status_points_to_it(
    systems: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["drift", "legacy"]) == 0
    assert "was not described yet" in capsys.readouterr().err
    assert run(["drift", "legacy", "--now", "--json"]) == 0
    capsys.readouterr()
    change(systems["legacy"], "remove", "orders", "note")
    assert run(["drift", "legacy", "--now"]) == 0
    told = capsys.readouterr().out
    assert "removed" in told
    assert "note" in told
    assert run(["status"]) == 0
    assert "see `hub drift legacy`" in capsys.readouterr().err
    systems["zendesk"].stop()
    assert run(["drift", "zendesk", "--now"]) == 1
    assert "error: zendesk tickets:" in capsys.readouterr().out


def test_a_stream_is_due_once_a_day(systems: Any, tmp_path: Path) -> None:
    with App.open(tmp_path / "config.toml") as app:
        streams = app.syncs.streams("legacy")
        assert drifting.due(app, "legacy") == streams
        assert drifting.describe(app, "legacy") == {}
        assert drifting.due(app, "legacy") == []
        with app.store.write() as tx:
            past = clock.text(clock.now() - timedelta(hours=25))
            tx.execute("UPDATE described SET at = ? WHERE stream = ?", (past, streams[0]))
        assert drifting.due(app, "legacy") == [streams[0]]


def seen(desk: Desk, records: list[dict[str, Any]]) -> list[str]:
    """Look at a page as a pull does, and give the fields that became empty."""
    sample = Sample()
    sample.add(desk.mapping.map_page("tickets", Page(records=records)))
    with desk.store.write() as tx:
        return fills.note(tx, "desk", "tickets", look=sample.looks["tickets"], at="2026-03-01T12:00:00.000000Z")


def test_a_field_that_used_to_be_filled_and_is_null_everywhere_now_is_an_alarm_until_it_is_filled(desk: Desk) -> None:
    desk.put([ticket(1)])
    assert seen(desk, [ticket(n, person=n, priority="low" if n == 1 else None) for n in range(100)]) == []
    for _ in range(4):
        assert seen(desk, [ticket(n) for n in range(12)]) == []
    assert seen(desk, [ticket(n) for n in range(12)]) == ["customer_ref"]
    assert seen(desk, [ticket(n) for n in range(60)]) == []
    with desk.store.read() as tx:
        (one,) = fills.emptied(tx, "desk")
    assert (one["table"], one["field"], one["filled_before"]) == ("tickets", "customer_ref", 1.0)
    assert seen(desk, [ticket(1, person=4)]) == []
    with desk.store.read() as tx:
        assert fills.emptied(tx, "desk") == []


def test_words_without_a_meaning_are_counted_as_they_came(desk: Desk) -> None:
    words = ["open", "parked", "parked", "odd", None]
    desk.put([ticket(n, state=word) for n, word in enumerate(words)])
    desk.put([], deleted=["3"], minute=1)
    assert drift.unknowns(desk.store, "desk") == [
        {"table": "tickets", "field": "status", "word": "parked", "count": 2},
    ]
    assert drift.unknowns(desk.store, "else") == []


def test_only_one_page_in_twenty_of_a_pull_is_looked_at(desk: Desk) -> None:
    sample = Sample()
    for page in range(45):
        sample.add(desk.mapping.map_page("tickets", Page(records=[ticket(page * 500 + n) for n in range(500)])))
    assert sample.looks["tickets"].looked == 3 * 100
