"""`hub check`, `hub db` and `hub keys`: what stands, who may ask, and whose files they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.app.sandboxes import Sandboxes
from tests.cli.conftest import Hub


def test_check_says_who_we_are(hub: Hub, market: Any) -> None:
    ran = hub("check", "--json")
    assert ran.code == 0
    assert (
        ran.json["connections"]["market"] | {"ok": True, "account": "market-1", "live": False}
        == ran.json["connections"]["market"]
    )


def test_check_tells_wrong_credentials_and_an_unreachable_host(hub: Hub, market: Any, tmp_path: Path) -> None:
    market.token = "another"
    ran = hub("check", "--json")
    assert (ran.code, ran.json["connections"]["market"]["code"]) == (1, "unauthorized")
    (tmp_path / "config.toml").write_text(
        '[connections.market]\nconnector = "market"\nbase_url = "http://127.0.0.1:9"\ntoken = "x"\n'
    )
    ran = hub("check", "--json")
    assert (ran.code, ran.json["connections"]["market"]["code"]) == (1, "not_sent")


def test_check_of_a_wrong_setting_is_exit_2(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[connections.market]\nconnector = "market"\n')
    ran = hub("check", "--json")
    assert ran.code == 2
    assert "[connections.market] token: missing" in ran.json["connections"]["market"]["error"]
    (tmp_path / "config.toml").write_text('[connections.a]\nconnector = "markett"\n')
    assert 'did you mean "market"' in hub("check", "--json").json["connections"]["a"]["error"]


def test_check_tells_a_wrong_stream_and_a_wrong_policy(hub: Hub, market: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(config.read_text() + 'sync = { streams = ["poeple"] }\n')
    ran = hub("check", "--json")
    assert ran.code == 2
    told = 'config.toml: [connections.market] sync.streams: the mapping has no stream "poeple"; did you mean "people"?'
    assert ran.json["connections"]["market"]["error"] == told
    (tmp_path / "policy.toml").write_text('[[rule]]\nacton = "ticket.*"\n')
    for command in ("check", "actions"):
        hub(command).failed(2, "policy.toml")


def test_an_unreachable_address_is_named_without_credentials(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[connections.market]\nconnector = "market"\nbase_url = "http://ada:hunter2@127.0.0.1:9"\ntoken = "x"\n'
    )
    ran = hub("check")
    assert ran.code == 1
    assert ran.out.count("127.0.0.1:9") == 1
    assert "hunter2" not in ran.out + ran.err


def test_files_that_hold_data_or_secrets_are_their_owners_only(hub: Hub, sandboxes: Sandboxes, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(sandboxes.toml())
    assert hub("init", "fresh").code == hub("sync").code == hub("keys", "create", "x").code == 0
    for name in ("hub.db", "ledger.db", "fresh/config.toml"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600, name


@pytest.fixture(params=["sqlite", "postgres"])
def nowhere(request: pytest.FixtureRequest, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the hub keep what it has where no hub has been yet; on both stores in turn."""
    if request.param == "sqlite":
        yield
        return
    with request.getfixturevalue("empty_postgres")() as url:
        monkeypatch.setenv("HUB_HUB__DATABASE_URL", url)
        yield


def test_db_tells_its_versions(hub: Hub, nowhere: None) -> None:
    assert hub("db", "version", "--json").json == {"hub": None, "ledger": None}
    made = hub("db", "upgrade", "--json").json
    assert made == hub("db", "version", "--json").json
    assert all(made.values())
    assert hub("db", "upgrade").out.startswith("database  version\nhub ")


def test_keys_are_made_listed_and_revoked(hub: Hub, stored: str) -> None:
    made = hub("keys", "create", "bot", "--scope", "read", "--scope", "act:ticket.*", "--json").json
    assert made["key"].startswith("hub_")
    (line,) = hub("keys", "list", "--json").json["keys"]
    assert (line["name"], line["scopes"]) == ("bot", ["read", "act:ticket.*"])
    assert made["key"] not in hub("keys", "list").out
    assert hub("keys", "revoke", "bot", "--json").json["id"] == made["id"]
    assert hub("keys", "list", "--json").json["keys"][0]["revoked_at"]
    hub("keys", "create", "x", "--scope", "everything").failed(2, "scope")
