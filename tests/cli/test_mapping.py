"""`hub map check` and `hub map preview`: what is wrong with a mapping, and what it makes of records."""

import importlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Hub
from tests.stores import ON_SQLITE


def test_map_preview_needs_no_configuration(hub: Hub, tmp_path: Path) -> None:
    rows = [{"id": 1, "name": "Ada", "mail": "ADA@X.example", "updated": "2026-01-01T00:00:00Z"}, {"name": "no id"}]
    (tmp_path / "raw.ndjson").write_text("\n".join(map(json.dumps, rows)) + "\nnot json\n")
    ran = hub("map", "preview", "market", "people", "--file", "raw.ndjson", "--json")
    assert ran.code == 0, ran.err
    good, bad, worse = ran.json["records"]
    assert (good["ok"], good["key"], good["data"]["email"]) == (True, "1", "ada@x.example")
    assert (bad["ok"], worse["ok"]) == (False, False)
    assert "unified" in hub("map", "preview", "market", "people", "--file", "raw.ndjson").out
    hub("map", "preview", "market", "poeple", "--file", "raw.ndjson").failed(2, 'did you mean "people"')
    hub("map", "preview", "market", "people", "--file", "none.ndjson").failed(2, "none.ndjson: cannot be read")
    hub("map", "preview", "market", "people").failed(2, "give raw records with --file")


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("listed", [False, True])
def test_map_preview_takes_a_list_or_a_document_over_many_lines(
    hub: Hub, tmp_path: Path, listed: bool, indent: int | None
) -> None:
    row = {"id": 1, "name": "Ada", "mail": "ada@x.example"}
    rows = [row, {**row, "id": 2}] if listed else row
    (tmp_path / "raw.json").write_text("\ufeff" + json.dumps(rows, indent=indent) + "\n", "utf8")
    entries = hub("map", "preview", "market", "people", "--file", "raw.json", "--json").json["records"]
    assert [entry["key"] for entry in entries] == (["1", "2"] if listed else ["1"])


def test_map_preview_reads_standard_input(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"id": 1}\n{"id": 2}\n')))
    entries = hub("map", "preview", "market", "people", "--file", "-", "--json").json["records"]
    assert [entry["key"] for entry in entries] == ["1", "2"]


def test_a_record_that_is_not_there_cannot_be_previewed(hub: Hub, market: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("hub_market")
    monkeypatch.setattr(module.MarketConnector, "some", lambda self, stream, ids: module.Page(records=[], deleted=ids))
    hub("map", "preview", "market", "people", "--id", "p999").failed(1, "market people: there is no record with the id")


@ON_SQLITE
def test_an_unknown_mapping_is_told_with_each_known_name_once(hub: Hub, market: Any) -> None:
    ran = hub("map", "check", "xyz")
    ran.failed(2, '"xyz" is no connection and no connector; known: ')
    assert ran.err.count("market") == 1


def test_a_mapping_that_widens_visibility_is_an_error_of_the_check_and_stops_the_connection(
    hub: Hub, market: Any, tmp_path: Path
) -> None:
    (tmp_path / "mappings").mkdir()
    text = 'extends = "market"\n[notes]\nwritable = []\n[notes.write]\nvisibility = false\n'
    (tmp_path / "mappings" / "market.toml").write_text(f'{text}[notes.fields]\nvisibility = {{ value = "public" }}\n')
    told = "mappings/market.toml: [notes.fields] visibility: makes every message public"
    ran = hub("map", "check", "--json")
    assert ran.code == 1
    assert ran.json["mappings"]["market"][0]["severity"] == "error"
    assert told in ran.json["mappings"]["market"][0]["message"]
    hub("sync").failed(2, told)
    assert hub("check").code == 2


def test_map_preview_uses_the_connections_own_mapping_without_its_secret(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(
        '[people]\nkind = "customer"\nkey = "id"\n[people.fields]\ndisplay_name = "nick"\n'
    )
    (tmp_path / "config.toml").write_text(
        '[connections.eu]\nconnector = "market"\nmapping = "my.toml"\ntoken = "${NOT_SET}"\n'
    )
    (tmp_path / "raw.ndjson").write_text('{"id": 1, "nick": "Ad"}\n')
    ran = hub("map", "preview", "eu", "people", "--file", "raw.ndjson", "--json")
    assert ran.json["records"][0]["data"]["display_name"] == "Ad"


def test_map_preview_takes_a_sample_or_one_from_the_system(hub: Hub, market: Any) -> None:
    assert len(hub("map", "preview", "market", "people", "--sample", "3", "--json").json["records"]) == 3
    (one,) = hub("map", "preview", "market", "people", "--id", "p2", "--json").json["records"]
    assert one["key"] == "p2"


def test_map_check_names_the_place_of_a_mistake(hub: Hub, tmp_path: Path) -> None:
    assert hub("map", "check", "market", "--json").code == 0
    (tmp_path / "bad.toml").write_text('[people]\nkind = "customr"\nkey = "id"\n[people.fields]\n')
    ran = hub("map", "check", "market", "--mapping", "bad.toml", "--json")
    assert ran.code == 1
    assert "customr" in ran.json["mappings"]["market"][0]["message"]
    hub("map", "check", "market", "--mapping", "none.toml").failed(2, "there is no such mapping file")


@ON_SQLITE
def test_map_check_can_ask_the_system_for_its_fields(hub: Hub, market: Any) -> None:
    assert hub("map", "check", "market", "--live", "--json").code == 0


@ON_SQLITE
def test_map_preview_of_a_stream_that_cannot_be_fetched_is_told(
    hub: Hub, market: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = importlib.import_module("hub_market").MarketConnector
    monkeypatch.setattr(connector, "marks", tuple(mark for mark in connector.marks if mark.role == "pull"))
    hub("map", "preview", "market", "people", "--id", "p1").failed(
        1, 'the connector has no fetch for the stream "people"'
    )
