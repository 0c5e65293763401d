"""Log-ins: one for all threads and processes, renewed in the middle of a pull, and stopped where they are refused."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hub.app import App
from hub.cli import run
from hub.config import ConnectionSettings, HubSettings, Settings, SyncSettings
from hub.connections.logins import SharedLogins
from hub.errors import Temporary, Unauthorized
from hub.plugins import discover
from hub.sandbox import Request, Response, World
from hub.store.traffic import Traffic, beside
from hub.transport import OwnLogins
from hub.vault import lock, unlock
from hub_salesforce.sandbox import SalesforceSandbox
from hub_stripe.sandbox import StripeSandbox
from hub_zendesk.sandbox import ZendeskSandbox

PASSWORD = {"username": "ops@acme.example", "password": "sandbox-password", "security_token": "sandbox-token"}
STREAMS = ["Contact", "Case"]


@pytest.fixture
def sandbox() -> Iterator[SalesforceSandbox]:
    with SalesforceSandbox(World(customers=12)) as server:
        server.batch = 5
        yield server


Opener = Callable[..., App]


@pytest.fixture
def opened(database_url: str, tmp_path: Path) -> Iterator[Opener]:
    """Opens one hub as often as is wanted, as several processes do."""
    apps: list[App] = []
    plugins = discover()

    def one(url: str, connector: str = "salesforce", streams: list[str] | None = None, **options: Any) -> App:
        hub = HubSettings(database_url=database_url)
        sync = SyncSettings(streams=streams)
        mine = ConnectionSettings(connector=connector, base_url=url, sync=sync, options=options)
        apps.append(App(Settings(hub, {"mine": mine}, None, tmp_path), plugins))
        return apps[-1]

    yield one
    for app in apps:
        app.close()


def log_ins(sandbox: SalesforceSandbox) -> int:
    return sum(entry.path.startswith("/services/Soap") for entry in sandbox.ledger)


def errors(app: App, streams: list[str] | None = None) -> set[str | None]:
    return {line["error"] for line in app.sync(streams=streams)["mine"].values()}


def stored(app: App, stream: str) -> set[str]:
    with app.store.read() as tx:
        ids = [source.id for source in app.store.sources(tx).by_stream.get(("mine", stream), [])]
        rows = tx.execute("SELECT source_id, remote_id FROM state WHERE NOT deleted").fetchall()
    return {row[1] for row in rows if row[0] in ids}


def expiring(sandbox: SalesforceSandbox, monkeypatch: pytest.MonkeyPatch, at: set[int]) -> list[str]:
    """End all sessions before these requests for further pages."""
    answer, asked = sandbox.answer, list[str]()

    def later(request: Request) -> Response:
        if "/query/" in request.path or "/queryAll/" in request.path:
            asked.append(request.path)
            if len(asked) in at:
                at.discard(len(asked))
                sandbox.expire_sessions()
        return answer(request)

    monkeypatch.setattr(sandbox, "answer", later)
    return asked


def test_a_token_that_expires_in_the_middle_of_a_pull_is_renewed_and_no_row_is_lost(
    opened: Opener, sandbox: SalesforceSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = expiring(sandbox, monkeypatch, {1, 4})
    app = opened(sandbox.url, **PASSWORD)
    assert errors(app, STREAMS) == {None}
    assert len(asked) > 4, "there were pages to lose"
    assert log_ins(sandbox) == 3
    for sobject in STREAMS:
        assert stored(app, sobject) == {
            key
            for key, row in sandbox.rows[sobject].items()
            if not (row.get("IsDeleted") or row.get("IsPersonAccount"))
        }
    assert app.status()["mine"]["state"] == "ok"


def test_threads_of_two_processes_do_one_log_in(opened: Opener, sandbox: SalesforceSandbox) -> None:
    apps = [opened(sandbox.url, **PASSWORD) for _ in range(2)]
    ask = [app.connections.open("mine").connector.check for app in apps]
    with ThreadPoolExecutor(6) as pool:
        for times in (1, 2):
            assert len({found.account for found in pool.map(lambda n: ask[n % 2](), range(6))}) == 1
            assert log_ins(sandbox) == times
            sandbox.expire_sessions()


def test_a_wrong_password_is_tried_once_by_all_together(opened: Opener, sandbox: SalesforceSandbox) -> None:
    wrong = PASSWORD | {"password": "wrong-password"}
    apps, barrier = [opened(sandbox.url, **wrong) for _ in range(2)], threading.Barrier(4)

    def attempt(n: int) -> str:
        barrier.wait()
        with pytest.raises(Unauthorized) as caught:
            apps[n % 2].connections.open("mine").connector.check()
        return caught.value.message

    with ThreadPoolExecutor(4) as pool:
        told = set(pool.map(attempt, range(4)))
    assert log_ins(sandbox) == 1
    assert len(told) == 1
    assert "wrong-password" not in repr(told)


def test_a_refused_log_in_stops_the_pulls_and_is_told(
    opened: Opener, sandbox: SalesforceSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    app = opened(sandbox.url, **PASSWORD)
    assert errors(app, ["Contact"]) == {None}
    sandbox.logins.clear()
    sandbox.expire_sessions()
    (error,) = errors(app)
    assert error is not None
    assert error.startswith("unauthorized: Salesforce: log-in: INVALID_LOGIN")
    assert app.status()["mine"]["state"] == "reauth_needed"
    before = log_ins(sandbox)
    (error,) = errors(app)
    assert error is not None
    assert error.startswith("connection_reauth_required: mine")
    assert log_ins(sandbox) == before
    sandbox.logins[PASSWORD["username"]] = PASSWORD["password"] + PASSWORD["security_token"]
    assert app.check()["mine"]["ok"]
    assert errors(app, ["Contact"]) == {None}


def test_a_session_id_that_expires_needs_a_person(opened: Opener, sandbox: SalesforceSandbox) -> None:
    app = opened(sandbox.url, instance=sandbox.instance, session_id=sandbox.session_id)
    sandbox.expire_sessions()
    (error,) = errors(app, ["Contact"])
    assert error is not None
    assert "INVALID_SESSION_ID" in error
    assert app.status()["mine"]["state"] == "reauth_needed"


@pytest.mark.parametrize("kind", [ZendeskSandbox, StripeSandbox])
def test_a_401_of_zendesk_or_stripe_needs_a_person(opened: Opener, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with kind(World(customers=2)) as server:
        given = {key: value for key, value in server.settings().items() if key not in ("connector", "base_url")}
        app = opened(server.url, kind.name, **given)
        monkeypatch.setattr(server, "authorized", lambda request: Response({"error": {"type": "x"}}, 401))
        (error,) = errors(app)
        assert error is not None
        assert error.startswith("unauthorized: ")
        line = app.status()["mine"]
        assert (line["state"], line["error"]) == ("reauth_needed", error.removeprefix("unauthorized: "))


def test_the_token_is_kept_where_only_who_has_the_password_reads_it(
    opened: Opener, sandbox: SalesforceSandbox, database_url: str
) -> None:
    app = opened(sandbox.url, **PASSWORD)
    app.connections.open("mine").connector.check()
    (session,) = sandbox.sessions - {sandbox.session_id}
    kept = app.traffic.login("mine").token
    assert kept is not None
    assert session not in kept
    assert unlock(kept, "another password") is None
    assert json.loads(unlock(kept, PASSWORD["password"]) or "")["session_id"] == session


def test_what_is_locked_opens_with_the_same_secret_only() -> None:
    assert unlock(lock("a text", "secret"), "secret") == "a text"
    assert unlock(lock("a text", "secret"), "Secret") is None
    assert unlock("nonsense", "secret") is None
    assert unlock(None, "secret") is None


def test_a_log_in_that_another_process_does_not_end_is_not_waited_for_forever(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.connections.logins._WAIT_S", 0.1)
    traffic = Traffic(beside(database_url))
    assert traffic.lease("mine", 60)
    with pytest.raises(Temporary, match="another process is still signing in"):
        SharedLogins("mine", lambda: traffic).token(lambda: "token", secret="s", stale=None)
    traffic.not_signed_in("mine", None, by=None)
    assert SharedLogins("mine", lambda: traffic).token(lambda: "token", secret="s", stale=None) == "token"
    traffic.close()


def test_a_log_in_that_breaks_off_leaves_the_turn_to_the_next(database_url: str) -> None:
    traffic = Traffic(beside(database_url))
    logins = SharedLogins("mine", lambda: traffic)

    def broken() -> str:
        raise Temporary("the log-in server is down")

    with pytest.raises(Temporary, match="is down"):
        logins.token(broken, secret="s", stale=None)
    assert logins.token(lambda: "one", secret="s", stale=None) == "one"
    assert logins.token(broken, secret="s", stale=None) == "one"
    assert logins.token(lambda: "two", secret="s", stale="one") == "two"
    traffic.close()


def test_outside_a_hub_a_token_is_kept_by_the_transport() -> None:
    logins, made = OwnLogins(), iter(["one", "two"])
    assert [logins.token(lambda: next(made), secret="s", stale=stale) for stale in (None, None, "one", "one")] == [
        "one",
        "one",
        "two",
        "two",
    ]


def test_hub_status_tells_a_person_to_replace_credentials(
    sandbox: SalesforceSandbox,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = sandbox.settings() | {"session_id": "00D000000000000A!wrong"}
    table = "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
    (tmp_path / "config.toml").write_text(f'[hub]\ndatabase_url = "{database_url}"\n[connections.sf]\n{table}\n')
    monkeypatch.chdir(tmp_path)
    assert run(["sync", "--stream", "Contact"]) == 1
    capsys.readouterr()
    assert run(["status"]) == 0
    told = capsys.readouterr().out
    assert "reauth needed: sf since " in told
    assert "INVALID_SESSION_ID" in told
    assert "replace its credentials, then `hub check sf`" in told
