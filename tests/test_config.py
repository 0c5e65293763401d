"""Settings: what is accepted, what overrides what, and that every mistake is told in one line."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from hub.config import Settings, connector_config, duration_s, example, load, since_time
from hub.connector import Connector, ConnectorConfig
from hub.errors import ConfigError

ROOT = Path(__file__).parents[1]


class ThingConfig(ConnectorConfig):
    subdomain: str
    token: SecretStr | None = None
    folder: Path | None = None
    database_url: SecretStr | None = None
    pages: int = 100


class Thing(Connector):
    name: ClassVar[str] = "thing"
    Config = ThingConfig


def written(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return file


def wrong(folder: Path, text: str, env: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as told:
        load(written(folder, text), env or {})
    message = told.value.message
    assert "\n" not in message
    assert message.startswith((str(folder / "config.toml"), "HUB_"))
    return message.removeprefix(str(folder / "config.toml") + ": ")


def test_without_a_file_every_setting_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(None, {})
    assert settings.path is None
    assert settings.connections == {}
    assert settings.hub.database_url == f"sqlite:///{tmp_path}/hub.db"
    assert settings.hub.ledger_url == f"sqlite:///{tmp_path}/ledger.db"
    assert settings.hub.policy == tmp_path / "policy.toml"


def test_relative_paths_start_at_the_config_file(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "erp.toml").write_text("")
    file = written(
        tmp_path,
        '[hub]\ndatabase_url = "sqlite:///data/x.db"\nmappings_dir = "maps"\n'
        '[connections.erp]\nconnector = "thing"\nmapping = "maps/erp.toml"\nsubdomain = "x"\nfolder = "drop/"\n'
        'database_url = "sqlite:///erp.db"\n',
    )
    settings = load(file, {})
    assert settings.hub.database_url == f"sqlite:///{tmp_path}/data/x.db"
    assert settings.hub.ledger_url == f"sqlite:///{tmp_path}/data/ledger.db"
    assert settings.hub.mappings_dir == tmp_path / "maps"
    assert settings.connections["erp"].mapping == tmp_path / "maps" / "erp.toml"
    config = connector_config("erp", settings, Thing)
    assert config.folder == tmp_path / "drop"
    assert config.database_url.get_secret_value() == f"sqlite:///{tmp_path}/erp.db"


def test_on_postgres_the_ledger_is_in_the_same_database(tmp_path: Path) -> None:
    settings = load(written(tmp_path, '[hub]\ndatabase_url = "postgresql://u@h/hub"\n'), {})
    assert settings.hub.ledger_url == "postgresql://u@h/hub"


def test_the_file_comes_from_the_argument_then_hub_config(tmp_path: Path) -> None:
    file = written(tmp_path, "[hub]\nport = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("[hub]\nport = 2\n")
    assert load(None, {"HUB_CONFIG": str(file)}).hub.port == 1
    assert load(other, {"HUB_CONFIG": str(file)}).hub.port == 2


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path / "no.toml", {})


def test_environment_variables_fill_in_and_override(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        '[connections.zendesk-eu]\nconnector = "thing"\nsubdomain = "${SUB}-eu"\ntoken = "${TOKEN}"\n',
    )
    env = {
        "SUB": "acme",
        "TOKEN": "t0p",
        "HUB_HUB__PORT": "99",
        "HUB_CONNECTIONS__ZENDESK_EU__TOKEN": "other",
        "HUB_CONNECTIONS__ZENDESK_EU__SYNC__STREAMS": '["users"]',
        "HUB_CONNECTIONS__NEW__CONNECTOR": "thing",
        "HUB_CONNECTIONS__NEW__SUBDOMAIN": "x",
        "HUB_PORT": "tcp://10.0.0.1:80",
    }
    settings = load(file, env)
    assert settings.hub.port == 99
    assert settings.connections["zendesk-eu"].options == {"subdomain": "acme-eu", "token": "other"}
    assert settings.connections["zendesk-eu"].sync.streams == ["users"]
    assert connector_config("new", settings, Thing).subdomain == "x"


def test_an_override_makes_a_missing_variable_needless(tmp_path: Path) -> None:
    file = written(tmp_path, '[connections.a]\nconnector = "thing"\nsubdomain = "${NOT_THERE}"\n')
    assert load(file, {"HUB_CONNECTIONS__A__SUBDOMAIN": "x"}).connections["a"].options == {"subdomain": "x"}


def test_secrets_are_not_asked_for_where_they_are_not_needed(tmp_path: Path) -> None:
    file = written(tmp_path, '[connections.a]\nconnector = "thing"\ntoken = "${NOT_THERE}"\n')
    assert load(file, {}, secrets=False).connections["a"].connector == "thing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[hub]\nprot = 1\n", '[hub] prot: unknown key; did you mean "port"?'),
        ("[hubb]\n", 'hubb: unknown key; did you mean "hub"?'),
        ("[hub]\nport = 99999\n", "[hub] port: expected 65535 or less"),
        (
            '[hub]\ndatabase_url = "mysql://x/y"\n',
            "[hub] database_url: expected sqlite:///hub.db or postgresql://user@host/name",
        ),
        ('[hub]\npolicy = "nope.toml"\n', "[hub] policy: nope.toml does not exist (relative paths start at this file)"),
        ("hub = 3\n", "[hub]: expected a table"),
        ("[connections]\na = 3\n", "[connections.a]: expected a table"),
        ('[connections."A b"]\nconnector = "x"\n', "[connections.A b]: a connection's name is lower-case letters"),
        ("[connections.a]\n", '[connections.a] connector: missing; name the plugin, such as connector = "a"'),
        (
            '[connections.a]\nconnector = "thing"\ntoken = "${ZENDESK_TOKEN}"\n',
            "[connections.a] token: the environment variable ZENDESK_TOKEN is not set; export it, or put a value here",
        ),
        (
            '[connections.a]\nconnector = "thing"\nbase_url = "localhost:9"\n',
            "[connections.a] base_url: expected a URL such as http://127.0.0.1:9102",
        ),
        (
            '[connections.a]\nconnector = "thing"\nbase_url = "http://h:99999"\n',
            "[connections.a] base_url: expected a URL such as http://127.0.0.1:9102",
        ),
        (
            '[connections.a]\nconnector = "thing"\nsync = { every = "5 minutes" }\n',
            '[connections.a] sync.every: expected a duration such as "90s", "5m", "4h" or "365d"',
        ),
        (
            '[connections.a]\nconnector = "thing"\nsync = { evry = "5m" }\n',
            '[connections.a] sync.evry: unknown key; did you mean "every"?',
        ),
        (
            '[connections.a]\nconnector = "thing"\nlive_actions = "yes"\n',
            "[connections.a] live_actions: expected true or false",
        ),
        (
            '[connections.a]\nconnector = "thing"\nsync = { since = "yesterday" }\n',
            '[connections.a] sync.since: expected a duration such as "365d" or a date such as "2025-01-31"',
        ),
        (
            '[connections.a]\nconnector = "thing"\nmapping = "no.toml"\n',
            "[connections.a] mapping: no.toml does not exist (relative paths start at this file)",
        ),
        ("[hub\n", "is not TOML: "),
    ],
)
def test_a_mistake_is_told_in_one_line_with_file_table_and_key(tmp_path: Path, text: str, expected: str) -> None:
    assert wrong(tmp_path, text).startswith(expected)


def test_live_actions_is_true_or_false_and_from_the_environment_in_these_words(tmp_path: Path) -> None:
    file = written(tmp_path, '[connections.a]\nconnector = "thing"\nlive_actions = "${LIVE}"\n')
    assert load(file, {"LIVE": "true"}).connections["a"].live_actions is True
    assert load(file, {"HUB_CONNECTIONS__A__LIVE_ACTIONS": "false"}).connections["a"].live_actions is False
    for text in ("yes", "1", "TRUE"):
        assert "[connections.a] live_actions: expected true or false" in wrong(
            tmp_path, '[connections.a]\nconnector = "thing"\n', {"HUB_CONNECTIONS__A__LIVE_ACTIONS": text}
        )


def test_a_variable_for_a_table_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    assert 'did you mean "connections"' in wrong(tmp_path, "", {"HUB_CONECTIONS__A__TOKEN": "x"})


def test_a_file_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"[hub]\n# \xff\n")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(tmp_path / "config.toml", {})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ('tokn = "x"\nsubdomain = "a"', 'tokn: unknown key; did you mean "token"?'),
        ('bse_url = "x"\nsubdomain = "a"', 'bse_url: unknown key; did you mean "base_url"?'),
        ("", "subdomain: missing; this connector needs it"),
        ('subdomain = "a"\npages = "many"', "pages: expected a whole number"),
    ],
)
def test_a_connectors_own_keys_are_checked_by_its_config(tmp_path: Path, options: str, expected: str) -> None:
    file = written(tmp_path, f'[connections.a]\nconnector = "thing"\n{options}\n')
    with pytest.raises(ConfigError) as told:
        connector_config("a", load(file, {}), Thing)
    assert told.value.message.startswith(f"{file}: [connections.a] {expected}")


def test_no_message_repeats_a_secret(tmp_path: Path) -> None:
    file = written(tmp_path, '[connections.a]\nconnector = "thing"\nsubdomain = 3\ntoken = ["hunter2"]\n')
    with pytest.raises(ConfigError) as told:
        connector_config("a", load(file, {}), Thing)
    assert "hunter2" not in told.value.message


@pytest.mark.parametrize(
    "text",
    [
        '[hub]\nmappings_dir = "${TOKEN}"\n',
        '[hub]\npolicy = "x/${TOKEN}"\n',
        '[connections.a]\nconnector = "thing"\nmapping = "${TOKEN}.toml"\n',
        '[connections.a]\nconnector = "thing"\nsync = { every = "${TOKEN}" }\n',
    ],
)
def test_a_variable_in_the_wrong_place_is_told_by_its_name(tmp_path: Path, text: str) -> None:
    told = wrong(tmp_path, text, {"TOKEN": "hunter2"})
    assert "hunter2" not in told
    assert "does not exist" not in told or "${TOKEN}" in told


def test_an_override_goes_to_the_connection_of_exactly_that_name(tmp_path: Path) -> None:
    text = '[connections.a-b]\nconnector = "thing"\n[connections.a_b]\nconnector = "thing"\n'
    settings = load(written(tmp_path, text), {"HUB_CONNECTIONS__A_B__TOKEN": "x"})
    assert {name: connection.options for name, connection in settings.connections.items()} == {
        "a-b": {},
        "a_b": {"token": "x"},
    }


def test_a_literal_secret_is_accepted_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = written(tmp_path, '[connections.a]\nconnector = "thing"\nsubdomain = "x"\ntoken = "hunter2"\n')
    with caplog.at_level(logging.WARNING, "hub.config"):
        config = connector_config("a", load(file, {}), Thing)
    assert config.token.get_secret_value() == "hunter2"
    assert "[connections.a] token: a secret stands in the file" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_secret_from_the_environment_and_a_url_without_password_are_no_reason_to_warn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = 'connector = "thing"\nsubdomain = "x"\ntoken = "${T}"\ndatabase_url = "sqlite:///e.db"\n'
    settings = load(written(tmp_path, f"[connections.a]\n{text}"), {"T": "x"})
    connector_config("a", settings, Thing)
    assert caplog.text == ""


@given(st.integers(1, 10**6), st.sampled_from("smhd"))
def test_a_duration_is_a_number_and_a_unit(count: int, unit: str) -> None:
    assert duration_s(f"{count}{unit}") == count * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


@pytest.mark.parametrize("text", ["", "5", "m", "0m", "-5m", "5 m", "1.5h", "5m5s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        duration_s(text)


def test_since_is_an_age_or_a_date() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    assert since_time("2d", now) == datetime(2026, 11, 20, tzinfo=UTC)
    assert since_time("2025-01-31", now) == datetime(2025, 1, 31, tzinfo=UTC)
    assert since_time("2025-01-31T10:00:00+02:00", now).utcoffset() is not None


def test_the_example_shows_every_key_and_loads(tmp_path: Path) -> None:
    text = example({"thing": ThingConfig})
    settings = load(written(tmp_path, text), {})
    assert settings.hub.port == 8321
    uncommented = text.replace("\n# ", "\n").replace("\nKeys that", "\n# Keys that")
    for key in ("ledger_url", "token", "pages", "live_actions", "base_url", "every", "since"):
        assert f"{key} = " in uncommented


def test_config_example_toml_is_current_and_loads() -> None:
    from hub.plugins import discover

    file = ROOT / "config.example.toml"
    assert load(file, {}).hub.port == 8321
    connectors = discover().connectors
    if {"legacy", "salesforce", "stripe", "zendesk"} <= set(connectors):
        shipped = {name: cls.Config for name, cls in connectors.items() if cls.__module__.startswith(f"hub_{name}")}
        assert file.read_text("utf-8") == example(shipped), "write it anew: python docs/generate.py"


def test_settings_can_be_made_without_a_file() -> None:
    settings: Any = Settings()
    assert settings.hub.host == "127.0.0.1"
