"""A mapping that changed: `hub map diff`, `apply`, `replay-rejects`, `suggest`, and what `hub db compact` forgets."""

import json
from pathlib import Path
from typing import Any

from tests.cli.conftest import Hub


def mapping(folder: Path, text: str) -> None:
    """Lay a mapping file over the plugin's own."""
    (folder / "mappings").mkdir(exist_ok=True)
    (folder / "mappings" / "market.toml").write_text(f'extends = "market"\n{text}')


def test_map_diff_shows_and_map_apply_makes_what_a_changed_mapping_says_with_the_vendor_down(
    hub: Hub, market: Any, tmp_path: Path
) -> None:
    assert hub("sync", "--json").code == 0
    market.stop()
    mapping(tmp_path, '[tickets.fields]\nsubject = "state"\n')
    assert "tickets: some stored rows are of another mapping" in hub("status").err
    ran = hub("map", "diff", "market", "--json")
    tickets = ran.json["connections"]["market"]["tickets"]
    assert tickets["changed"] == tickets["fields"]["subject"] > 0
    assert "subject changes in" in hub("map", "diff").out
    ran = hub("map", "apply", "--json")
    assert ran.json["connections"]["market"]["tickets"]["changed"] == tickets["changed"]
    assert f"market tickets: {tickets['changed']} of {tickets['changed']}" in ran.err
    assert "another mapping" not in hub("status").err
    assert hub("map", "diff", "--table", "tickets").out.count("market") == 1
    hub("map", "diff", "--table", "tikets").failed(2, 'did you mean "tickets"')
    hub("map", "apply", "--stream", "tikets").failed(2, 'did you mean "tickets"')


def test_map_apply_asks_before_it_takes_most_rows_away(hub: Hub, market: Any, tmp_path: Path) -> None:
    hub("sync")
    mapping(tmp_path, '[people]\nwhere = { name = "nobody" }\n')
    hub("map", "apply").failed(1, "look at `hub map diff`, then say `hub map apply --yes`")
    ran = hub("map", "apply", "--yes", "--json")
    assert ran.json["connections"]["market"]["people"]["deleted"] > 10


def test_map_replay_rejects_tries_the_kept_rejects_again(hub: Hub, market: Any, tmp_path: Path) -> None:
    mapping(tmp_path, '[tickets.fields.status]\nfrom = "state"\nvalues = { none = "open" }\notherwise = "reject"\n')
    hub("sync")
    rejected = json.loads(hub("status", "--json").out)["connections"]["market"]["streams"]["tickets"]["rejects"]
    mapping(tmp_path, "")
    assert (
        f"tickets  {rejected}" in " ".join(hub("map", "replay-rejects").out.split(" ")).replace("    ", " ") or rejected
    )
    assert hub("status", "--json").json["connections"]["market"]["streams"]["tickets"]["rejects"] == 0


def test_map_suggest_proposes_lines_and_shows_no_value(hub: Hub, market: Any, tmp_path: Path) -> None:
    mapping(tmp_path, "[people.fields]\nexternal_ref = false\n")
    hub("sync")
    ran = hub("map", "suggest", "market", "people", "--json")
    (line,) = [line for line in ran.json["fields"] if line["path"] == "number"]
    assert line == {"path": "number", "type": line["type"], "filled": 1.0, "line": 'custom.number = "number"'}
    text = hub("map", "suggest", "market", "people").out
    assert not [one.name for one in market.world.people if one.name in ran.out + text]
    hub("map", "suggest", "market", "peple").failed(2, 'did you mean "people"')


def test_a_running_hub_takes_a_changed_mapping_with_its_next_sync(market: Any, tmp_path: Path) -> None:
    from hub.app import App

    with App.open(tmp_path / "config.toml") as app:
        app.sync()
        mapping(tmp_path, '[tickets.fields]\nsubject = "state"\n')
        app.sync(full=True)
        found = json.loads(app.list("ticket", {}, limit=1))["data"][0]
        assert found["subject"] in ("open", "closed")
        assert app.status()["market"]["behind"] == []
        mapping(tmp_path, "[tickets.fields\n")
        assert app.sync()["market"]["tickets"]["error"] is None


def test_db_compact_forgets_what_is_too_old_and_tells_what_it_freed(hub: Hub, market: Any, tmp_path: Path) -> None:
    hub("sync")
    records = hub("db", "compact", "--json").json["records"]
    mapping(tmp_path, '[tickets]\nraw_retention = "none"\n')
    found = hub("db", "compact", "--shrink", "--json").json
    assert found["expired"] == {"market": {"tickets": found["expired"]["market"]["tickets"]}}
    assert records - found["live"] == found["expired"]["market"]["tickets"] > 0
    assert (found["shrunk"], found["bytes_free"]) == (True, 0)
    ran = hub("db", "compact")
    assert "bytes before" in ran.out
