"""`hub status`: how connections stand, how fresh their streams are, what is left of limits, how long a pull takes."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.app import App
from hub.app.underway import Underway, left_s
from hub.cli import run
from hub.cli.standing import show_status, span
from hub.config import ConnectionSettings, HubSettings, LimitSettings, Settings, SyncSettings
from hub.connector import Connector, Limit, Page, pull
from hub.plugins import Plugins
from hub.store.traffic import Pull, Traffic, beside
from hub.sync import Progress
from hub.transport import Quota

MAPPING = """
[tickets]
kind = "ticket"
key = "id"
updated_at = "changed"
[tickets.fields]
subject = "title"
"""
NOW = datetime.now(UTC).replace(microsecond=0)


class ExportConnector(Connector):
    """Gives pages of tickets, a day of them each, the oldest 40 days old."""

    name = "export"
    mapping = MAPPING
    limits = (Limit("export", 10, per_s=60, match="/export", reserve=0), Limit("api", 400, per_s=60))
    pages = 40
    total: int | None = None
    between: Callable[[], None] = staticmethod(lambda: None)

    @pull("tickets", rising=True)
    def tickets(self, stream: Any, cursor: str | None) -> Iterator[Page]:
        for day in range(int(cursor or 0), self.pages):
            changed = (NOW - timedelta(days=40 - day)).isoformat()
            rows = [{"id": day * 10 + n, "title": "t", "changed": changed} for n in range(10)]
            yield Page(records=rows, cursor=str(day + 1), total=self.total)
            type(self).between()


@pytest.fixture
def app(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    hub = HubSettings(database_url=database_url)
    sync, limits = SyncSettings(every="5m"), LimitSettings(enforce="always")
    mine = ConnectionSettings(connector="export", base_url="http://127.0.0.1:9", sync=sync, limits=limits)
    plugins = Plugins(connectors={"export": ExportConnector})
    with App(Settings(hub, {"mine": mine}, None, tmp_path), plugins) as opened:
        yield opened


def test_status_tells_freshness_lag_and_the_next_pull(app: App) -> None:
    app.sync()
    line = app.status()["mine"]
    assert (line["state"], line["error"], line["account"], line["every"]) == ("ok", None, None, "5m")
    wait = datetime.fromisoformat(line["next_sync_at"]) - datetime.now(UTC)
    assert timedelta(0) <= wait + timedelta(seconds=1)
    assert wait <= timedelta(minutes=5)
    stream = line["streams"]["tickets"]
    assert (stream["records"], stream["error"], stream["running"]) == (400, None, None)
    assert 0 <= stream["age_s"] < 100
    behind = (datetime.now(UTC) - (NOW - timedelta(days=1))).total_seconds()
    assert stream["lag_s"] == pytest.approx(behind, abs=100)
    assert stream["newest_at"].startswith((NOW - timedelta(days=1)).isoformat()[:19])


def test_status_tells_what_is_left_of_each_limit_and_of_the_vendors_quotas(app: App) -> None:
    other = Traffic(beside(app.settings.hub.database_url))
    export = ExportConnector.limits[0]
    for _ in range(3):
        other.take("mine", export, sync=True, lasts_s=60)
    other.hold("mine", "api", 30, syncs_only=True)
    other.tell("mine", Quota("daily", 94_000, 100_000))
    line = app.status()["mine"]
    assert [(each["name"], each["free"], each["count"], each["reserve"]) for each in line["limits"]] == [
        ("export", 7, 10, 0),
        ("api", 400, 400, 40),
    ]
    assert [each["held_s"] for each in line["limits"]] == [None, pytest.approx(30, abs=2)]
    (quota,) = line["quotas"]
    assert (quota["name"], quota["remaining"], quota["total"], quota["resets_at"]) == ("daily", 94_000, 100_000, None)
    other.close()


@pytest.mark.parametrize("total", [None, 400])
def test_a_first_load_under_way_is_shown_to_other_processes_with_an_estimate(
    app: App, monkeypatch: pytest.MonkeyPatch, total: int | None
) -> None:
    monkeypatch.setattr("hub.app.underway._EVERY_S", 0.0)
    monkeypatch.setattr(ExportConnector, "total", total)
    seen: list[dict[str, Any]] = []

    def look() -> None:
        if len(seen) < 20:
            seen.append(app.status()["mine"]["streams"]["tickets"]["running"])

    monkeypatch.setattr(ExportConnector, "between", staticmethod(look))
    app.sync()
    at_page_20 = seen[19]
    assert (at_page_20["read"], at_page_20["total"]) == (200, total)
    # at ten pages a minute the twenty that are left take two minutes; without a total, time itself is the measure
    assert at_page_20["left_s"] == pytest.approx(120, abs=15)
    assert app.status()["mine"]["streams"]["tickets"]["running"] is None


@pytest.mark.parametrize(
    ("pull", "pages_per_s", "share", "left"),
    [
        (Pull("a", "s", 10, 1000, 0, 4000, 10.0, 0.0), None, None, 30),
        (Pull("a", "s", 10, 1000, 0, 4000, 10.0, 5.0), None, None, 25),
        (Pull("a", "s", 10, 1000, 0, 4000, 10.0, 0.0), 10 / 60, None, 180),
        (Pull("a", "s", 10, 1000, 0, None, 10.0, 0.0), None, 0.25, 30),
        (Pull("a", "s", 10, 1000, 0, None, 10.0, 0.0), None, None, None),
        (Pull("a", "s", 10, 5000, 0, 4000, 10.0, 0.0), None, None, 0),
        (Pull("a", "s", 1, 0, 0, 4000, 10.0, 0.0), None, None, None),
    ],
)
def test_the_rest_of_a_pull_is_estimated_from_its_pace_and_the_limits(
    pull: Pull, pages_per_s: float | None, share: float | None, left: float | None
) -> None:
    assert left_s(pull, pages_per_s, share=share) == (None if left is None else pytest.approx(left))


def test_progress_is_passed_on_and_forgotten_when_the_pull_ends(database_url: str) -> None:
    traffic, passed = Traffic(beside(database_url)), list[Progress]()
    tell = Underway(traffic, passed.append)
    tell(Progress("a", "s", 5, 5, warnings=("odd",)))
    tell(Progress("a", "s", 10, 10))
    tell(Progress("a", "s", 20, 20))
    (pull,) = traffic.pulls()
    assert (pull.pages, pull.read) == (1, 10), "about once a second is enough"
    tell(Progress("a", "s", 20, 20, done=True))
    assert traffic.pulls() == []
    assert [step.read for step in passed] == [5, 10, 20, 20]
    traffic.close()


def test_spans_are_said_as_people_say_them() -> None:
    said = [span(each) for each in (None, 0.4, 59, 60, 3599, 3600, 5400, 9000, 90_000, 400_000)]
    assert said == [None, "0 s", "59 s", "1 min", "59 min", "1 h", "1 h 30 min", "2 h 30 min", "1 d 1 h", "4 d"]


STREAM = {
    "records": 1200, "rejects": 2, "synced_at": "2026-01-01T10:00:00.000000Z", "age_s": 300, "lag_s": 90_000,
    "error": None, "running": {"read": 1200, "changed": 9, "total": 90_000, "seconds": 70, "records_per_s": 166.6,
                               "left_s": 533},
}  # fmt: skip
LINE = {
    "state": "ok", "account": "zendesk:a-very-long-account-id-that-is-never-shortened", "next_sync_at": None,
    "since": None, "retry_at": None, "error": None, "error_at": None, "quotas": [], "streams": {"tickets": STREAM},
    "limits": [{"name": "export", "free": 7, "count": 10, "held_s": 30}],
}  # fmt: skip


def test_the_tables_are_readable_and_ids_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    degraded = {
        "state": "degraded",
        "since": "2026-01-01T10:00:00Z",
        "retry_at": "2026-01-01T10:05:00.000000Z",
        "error": "down",
    }
    refused = {"state": "reauth_needed", "since": "2026-01-01T10:00:00Z", "error": "401"}
    show_status({"zd": LINE, "sf": LINE | degraded | {"streams": {}}, "st": LINE | refused | {"streams": {}}})
    told = capsys.readouterr().out
    assert "zendesk:a-very-long-account-id-that-is-never-shortened" in told
    assert "export 7/10 (syncs wait 30 s)" in told
    assert re.search(r"^zd +tickets +1200 +2 +2026-01-01 10:00Z +5 min +1 d 1 h$", told, re.M)
    assert "running: zd tickets: 1,200 of 90,000 read in 1 min, 167/s, about 8 min left" in told
    assert "degraded: sf since 2026-01-01 10:00Z: down; the next try is at 2026-01-01 10:05:00Z" in told
    assert "reauth needed: st since 2026-01-01 10:00Z: 401; replace its credentials, then `hub check st`" in told


def test_a_plugin_that_is_not_there_is_told_and_stops_no_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text('[connections.old]\nconnector = "gone"\n')
    monkeypatch.chdir(tmp_path)
    assert run(["status"]) == 0
    assert 'error: old: connector "gone"' in capsys.readouterr().out
