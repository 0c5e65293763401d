"""How connections stand: cut off after failures, stopped by refused credentials, well again by themselves."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
import requests
from pydantic import SecretStr

from hub.access import OPERATOR
from hub.actions import TicketNote
from hub.app import App
from hub.config import ConnectionSettings, HubSettings, Settings
from hub.connector import Call, Checked, Connector, ConnectorConfig, Limit, Outcome, Page, act, fetch, pull
from hub.errors import HubError, Invalid, NotSent, RateLimited, Temporary, Unauthorized
from hub.perform import Request as Asked
from hub.plugins import Plugins
from hub.sandbox import Request, Response, Sandbox, World
from hub.store import clock, standings
from hub.store.standings import Standing

MAPPING = """
[tickets]
kind = "ticket"
key = "id"
[tickets.fields]
subject = "title"

[notes]
kind = "message"
key = "id"
writable = ["body_text", "visibility"]
[notes.fields]
ticket_ref = { ref = "tickets", from = "ticket" }
body_text = "text"
visibility = { from = "public", values = { true = "public", false = "internal" }, otherwise = "internal" }
[notes.write.visibility]
to = "public"
values = { public = true, internal = false }
"""
POLICY = '[[rule]]\nname = "all"\naction = "*"\nverdict = "allow"\n'


class DeskConfig(ConnectorConfig):
    token: SecretStr


class DeskConnector(Connector):
    name = "desk"
    Config = DeskConfig
    mapping = MAPPING
    limits: ClassVar[tuple[Limit, ...]] = (Limit("api", 1000, per_s=60),)

    @classmethod
    def hosts(cls, config: Any) -> tuple[str, ...]:
        return ("desk.example",)

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": self.config.token.get_secret_value()}
        try:
            answer = self.transport.request(method, f"https://desk.example{path}", headers=headers, **more)
        except requests.RequestException as exc:
            raise NotSent(f"{method} {path}: no answer") from exc
        if answer.status_code < 400:
            return answer.json()
        kinds = {401: Unauthorized, 403: Unauthorized, 422: Invalid, 429: RateLimited}
        kind: type[HubError] = kinds.get(answer.status_code, Temporary)
        raise kind(f"{method} {path}: {answer.status_code}", code="forbidden" if answer.status_code == 403 else None)

    def check(self) -> Checked:
        return Checked(account=self._ask("GET", "/me")["account"], live=False)

    @pull("*")
    def all(self, stream: Any, cursor: str | None) -> Iterator[Page]:
        yield Page(records=self._ask("GET", f"/{stream.name}")["data"], cursor="1")

    @fetch("*")
    def some(self, stream: Any, ids: list[str]) -> Page:
        return Page(records=[self._ask("GET", f"/{stream.name}/{one}") for one in ids])

    @act(TicketNote, idempotency="marker")
    def note(self, action: Any, call: Call) -> Outcome:
        self._ask("POST", "/notes", json=dict(call.fields))
        return Outcome()


class Desk(Sandbox):
    """Answers `status`; knows one token."""

    name = "desk"

    def fill(self) -> None:
        self.status, self.token = 200, "good-token"
        self.came: list[str] = []

    def answer(self, request: Request) -> Response:
        with self.lock:
            self.came.append(f"{request.method} {request.path}")
            if self.status != 200:
                return Response({}, self.status)
            if request.headers.get("authorization") != self.token:
                return Response({}, 401)
            return Response({"account": "a-1", "data": [{"id": 1, "title": "t"}], "id": 1, "title": "t"})


@pytest.fixture
def desk() -> Iterator[Desk]:
    with Desk(World(customers=1)) as server:
        yield server  # type: ignore[misc]


Opener = Callable[..., App]


@pytest.fixture
def opened(database_url: str, desk: Desk, tmp_path: Any) -> Iterator[Opener]:
    """Opens the same hub as often as is wanted, as several processes do."""
    (tmp_path / "policy.toml").write_text(POLICY)
    apps: list[App] = []
    plugins = Plugins(connectors={"desk": DeskConnector}, actions={TicketNote.name: TicketNote})

    def one(token: str = "good-token", **limits: Any) -> App:
        hub = HubSettings(database_url=database_url, policy=tmp_path / "policy.toml", breaker_failures=3)
        connection = ConnectionSettings(connector="desk", base_url=desk.url, options={"token": token}, **limits)
        apps.append(App(Settings(hub, {"mine": connection}, None, tmp_path), plugins))
        apps[-1].connections.open("mine").transport.sleep = lambda _: None
        return apps[-1]

    yield one
    for app in apps:
        app.close()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Puts the clock forward by so many seconds."""
    ahead = [0.0]
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(seconds=ahead[0]))

    def by(seconds: float) -> None:
        ahead[0] += seconds

    return by


def errors(app: App) -> set[str | None]:
    return {line["error"] for line in app.sync()["mine"].values()}


def standing(app: App) -> Standing:
    return app.standings.row("mine")


def events(app: App) -> list[str]:
    with app.store.read() as tx:
        rows = tx.execute("SELECT changes FROM event WHERE kind = 'connection' ORDER BY id").fetchall()
    return [name for row in rows for name in json.loads(row[0])]


def note(app: App, key: str) -> dict[str, Any]:
    wanted = {"ticket_ref": "mine/tickets/1", "body": "hello"}
    return app.act(Asked(TicketNote.name, wanted, key=key), OPERATOR)


def test_failures_in_a_row_cut_a_connection_off_for_all_processes(opened: Opener, desk: Desk) -> None:
    app, other = opened(), opened()
    assert errors(app) == {None}
    desk.status = 500
    app.sync()
    assert (standing(app).state, standing(app).failures) == ("ok", 2)
    app.sync()
    assert standing(app).state == "degraded"
    asked = len(desk.came)
    (error,) = errors(other)
    assert error is not None
    assert "temporary: mine: has not answered properly since" in error
    assert len(desk.came) == asked
    assert events(app) == ["degraded"]


def test_an_action_on_a_degraded_connection_is_answered_at_once(opened: Opener, desk: Desk) -> None:
    app = opened()
    app.sync()
    desk.status = 500
    app.sync()
    app.sync()
    asked = len(desk.came)
    result = note(app, "k1")
    assert (result["status"], result["error"]["code"]) == ("failed", "temporary")
    assert 0 < result["error"]["retry_after_ms"] <= 30_000
    assert result["error"]["retryable"]
    assert len(desk.came) == asked


def test_after_a_pause_one_call_tries_and_the_pause_grows(
    opened: Opener, desk: Desk, later: Callable[[float], None]
) -> None:
    app = opened()
    desk.status = 500
    app.sync()
    app.sync()
    first = standing(app)
    later(31)
    asked = len(desk.came)
    app.sync(streams=["tickets"])
    assert len(desk.came) > asked
    second = standing(app)
    assert (second.opened, second.degraded_at) == (2, first.degraded_at)
    assert (second.retry_at or 0) - (second.error_at or 0) == 60_000
    desk.status = 200
    later(61)
    assert errors(app) == {None}
    assert standing(app).state == "ok"
    assert events(app) == ["degraded", "recovered"]
    assert standing(app).error is not None, "what was wrong last stays to be seen"


def test_only_one_of_many_tries_a_degraded_connection(
    opened: Opener, desk: Desk, later: Callable[[float], None]
) -> None:
    app, other = opened(), opened()
    desk.status = 500
    app.sync()
    app.sync()
    later(31)
    one, two = (which.connections.open("mine") for which in (app, other))
    with one.call():
        with pytest.raises(NotSent, match="has not answered"), two.call():
            raise AssertionError("not reached")
    with two.call():
        pass


def test_a_success_between_failures_keeps_a_connection_well(opened: Opener, desk: Desk) -> None:
    app = opened()
    for _ in range(4):
        desk.status = 500
        app.sync(streams=["tickets"])
        app.sync(streams=["tickets"])
        desk.status = 200
        app.sync(streams=["tickets"])
    assert events(app) == []


@pytest.mark.parametrize("status", [403, 422, 429])
def test_a_no_is_an_answer_and_cuts_nothing_off(opened: Opener, desk: Desk, status: int) -> None:
    app = opened()
    app.sync()
    desk.status = status
    for _ in range(3):
        app.sync()
    assert standing(app).state == "ok"
    assert events(app) == []


def test_a_429_that_says_nothing_still_says_when_to_come_back(opened: Opener, desk: Desk) -> None:
    app = opened()
    app.sync()
    desk.status = 429
    result = note(app, "k1")
    assert (result["status"], result["error"]["code"]) == ("failed", "rate_limited")
    assert result["error"]["retry_after_ms"] >= 1000


def test_refused_credentials_stop_a_connection_until_a_check_succeeds(opened: Opener, desk: Desk) -> None:
    app, other = opened(), opened()
    app.sync()
    desk.token = "changed at the vendor"
    (error,) = errors(app)
    assert error == "unauthorized: GET /tickets: 401"
    assert desk.came.count("GET /notes") == 1, "the other streams are not tried"
    asked = len(desk.came)
    (error,) = errors(other)
    assert error is not None
    assert error.startswith("connection_reauth_required: mine: its credentials have been refused since")
    result = note(app, "k1")
    assert result["status"] == "failed"
    assert result["error"]["code"] == "connection_reauth_required"
    assert result["error"]["next_actions"] == ["agent.handoff"]
    assert len(desk.came) == asked
    desk.token = "good-token"
    assert app.check()["mine"]["ok"]
    assert errors(other) == {None}
    assert events(app) == ["reauth_needed", "recovered"]


def test_changed_credentials_are_tried_at_once_and_nothing_of_them_is_stored(opened: Opener, desk: Desk) -> None:
    app = opened()
    desk.token = "another-token"
    app.sync()
    assert standing(app).state == "reauth_needed"
    assert "good-token" not in repr(standing(app))
    assert errors(opened("another-token")) == {None}
    assert standing(app).state == "ok"
    desk.token = "a third"
    app.sync()
    assert standing(app).state == "reauth_needed"


def test_a_check_that_is_refused_is_told_and_remembered(opened: Opener, desk: Desk) -> None:
    app = opened()
    app.sync()
    desk.token = "changed"
    assert app.check()["mine"]["code"] == "unauthorized"
    assert standing(app).state == "reauth_needed"


def test_a_sync_tries_refused_credentials_again_after_an_hour(
    opened: Opener, desk: Desk, later: Callable[[float], None]
) -> None:
    app = opened()
    desk.token = "not yet"
    app.sync()
    later(3500)
    asked = len(desk.came)
    app.sync()
    assert len(desk.came) == asked
    later(200)
    app.sync()
    assert len(desk.came) == asked + 1
    desk.token = "good-token"
    later(3700)
    app.sync()
    assert standing(app).state == "reauth_needed", "the pause is doubled"
    later(3700)
    assert errors(app) == {None}
    assert events(app) == ["reauth_needed", "recovered"]


def test_limits_are_kept_for_the_account_that_the_first_sync_asks_for(opened: Opener, desk: Desk) -> None:
    always = {"limits": {"enforce": "always"}}
    app, other = opened(**always), opened(**always)
    app.sync()
    assert desk.came[0] == "GET /me"
    assert standing(app).account == "desk:a-1"
    other.sync()
    assert desk.came.count("GET /me") == 1
    assert {each.connections.open("mine").transport.account for each in (app, other)} == {"desk:a-1"}


def test_a_call_of_a_well_connection_writes_nothing_and_costs_little(opened: Opener) -> None:
    app = opened()
    app.sync()
    connection = app.connections.open("mine")
    before = standing(app)
    for _ in range(50):
        with connection.call():
            pass
    assert standing(app) == before
    with app.store.read() as tx:
        assert standings.read_all(tx) == {}
