"""Read settings from a file and the environment; tell what is wrong in one line."""

import json
import logging
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr, ValidationError

from hub.config.declare import ConnectionSettings, HasConfig, HubSettings, LimitSettings, Settings, SyncSettings
from hub.config.plain import bare, did_you_mean, plain
from hub.errors import ConfigError, near

log = logging.getLogger("hub.config")

PREFIX = "HUB_"
DEFAULT_FILE = "config.toml"
COMMON_KEYS = tuple(key for key in ConnectionSettings.model_fields if key not in ("options", "from_environment"))
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def load(path: Path | str | None = None, environ: Mapping[str, str] | None = None, *, secrets: bool = True) -> Settings:
    """
    Read the file (given, else HUB_CONFIG, else ./config.toml where there is one) and the environment.

    `HUB_<TABLE>__<KEY>` variables override (HUB_HUB__PORT, HUB_CONNECTIONS__STRIPE__API_KEY); then `${ENV}` is filled
    in, from the environment only; without `secrets` those of connections stay as they are.
    Raises ConfigError in one line that names file, table and key.
    """
    env = os.environ if environ is None else environ
    file, raw, there = _found(path, env)
    where, directory = str(file), file.resolve().parent
    _no_unknown(raw, ("hub", "connections"), f"{where}:")
    hub = _hub(_table(raw, "hub", f"{where}: [hub]"), directory, env, where)
    tables = _table(raw, "connections", f"{where}: [connections]")
    words = env if secrets else None
    connections = {name: _connection(name, table, directory, words, where) for name, table in tables.items()}
    return Settings(hub, connections, file.resolve() if there else None, directory)


def unset(path: Path | str | None = None, environ: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """
    Name all environment variables that the file needs and that are not set, each with the keys that need it.

    `load` stops at the first. Raises ConfigError where the file cannot be read.
    """
    env = os.environ if environ is None else environ
    _, raw, _ = _found(path, env)
    found: dict[str, list[str]] = {}
    for key, text in _texts(raw, ()):
        for name in _VARIABLE.findall(text):
            if not env.get(name):
                found.setdefault(name, []).append(key)
    return found


def _found(path: Path | str | None, env: Mapping[str, str]) -> tuple[Path, dict[str, Any], bool]:
    """Read the file that is meant, with what the environment overrides; say whether there is one."""
    chosen = path or env.get("HUB_CONFIG") or None
    file = Path(chosen or DEFAULT_FILE)
    there = bool(chosen) or file.exists()
    raw = _read(file) if there else {}
    _override(raw, env, str(file))
    return file, raw, there


def _texts(value: Any, steps: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*steps, key))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, steps)
    elif isinstance(value, str):
        yield f"[{'.'.join(steps[:-1])}] {steps[-1]}", value


def connector_config(name: str, settings: Settings, connector: type[HasConfig] | Any) -> Any:
    """
    Check a connection's own keys against its connector's Config and give that.

    Relative `Path` fields and SQLite URLs start at the config file. Raises ConfigError naming table and key.
    """
    connection = settings.connections[name]
    where = f"{near(settings.path or DEFAULT_FILE)}: [connections.{name}]"
    fields = connector.Config.model_fields
    if connector.Config.model_config.get("extra") == "forbid":
        aliases = [info.alias for info in fields.values() if info.alias]
        _no_unknown(connection.options, (*fields, *aliases, *COMMON_KEYS), where)
    options = {key: _absolute_url(value, settings.directory) for key, value in connection.options.items()}
    try:
        config = connector.Config.model_validate(options, context={"directory": settings.directory})
    except ValidationError as exc:
        raise _told(exc, where, connector.Config) from exc
    _warn_of_literal_secrets(name, connection, fields)
    paths = {key: settings.directory / value for key in fields if isinstance(value := getattr(config, key), Path)}
    return config.model_copy(update=paths) if paths else config


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError as exc:
        raise ConfigError(f"{file}: there is no such file; `hub init` writes one") from exc
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{file}: is not UTF-8 text") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{file}: is not TOML: {exc}") from exc


def _table(raw: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    value = raw.get(key, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a table")
    return value


def _override(raw: dict[str, Any], env: Mapping[str, str], where: str) -> None:
    for variable in sorted(env):
        first, *rest = variable.removeprefix(PREFIX).lower().split("__")
        if not variable.startswith(PREFIX) or not rest or not all(rest):
            continue
        table, steps = raw.setdefault(first, {}), list(rest)
        if first == "connections" and isinstance(table, dict) and steps[0] not in table:
            steps[0] = next((name for name in table if name.replace("-", "_") == steps[0]), steps[0])
        for step in steps[:-1]:
            table = table.setdefault(step, {}) if isinstance(table, dict) else table
        if not isinstance(table, dict) or first not in ("hub", "connections"):
            raise ConfigError(
                f"{variable} (environment): {where} has no such table{did_you_mean(first, ('hub', 'connections'))}"
            )
        table[steps[-1]] = _from_text(env[variable])


def _from_text(text: str) -> Any:
    if text[:1] not in ("[", "{"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _expand(value: Any, env: Mapping[str, str] | None, where: str) -> Any:
    if env is None:
        return value
    if isinstance(value, dict):
        return {key: _expand(inner, env, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [_expand(inner, env, where) for inner in value]
    if not isinstance(value, str):
        return value

    def fill(found: re.Match[str]) -> str:
        if not env.get(found[1]):
            raise ConfigError(
                f"{where}: the environment variable {found[1]} is not set; export it, or put a value here"
            )
        return env[found[1]]

    return _VARIABLE.sub(fill, value)


def _hub(table: dict[str, Any], directory: Path, env: Mapping[str, str], where: str) -> HubSettings:
    where = f"{where}: [hub]"
    _no_unknown(table, HubSettings.model_fields, where)
    written, table = table, {key: _expand(value, env, f"{where} {key}") for key, value in table.items()}
    try:
        hub = HubSettings.model_validate(table)
    except ValidationError as exc:
        raise _told(exc, where, HubSettings) from exc
    for key in ("mappings_dir", "policy"):
        value, default = getattr(hub, key), HubSettings.model_fields[key].default
        if value != default and not (directory / value).exists():
            raise ConfigError(f"{where} {key}: {written[key]} does not exist (relative paths start at this file)")
    url = _absolute_url(hub.database_url, directory)
    return hub.model_copy(
        update={
            "database_url": url,
            "ledger_url": _absolute_url(hub.ledger_url, directory) if hub.ledger_url else ledger_beside(url),
            "engine_url": _absolute_url(hub.engine_url, directory) if hub.engine_url else engine_beside(url),
            "audit_key_file": directory / hub.audit_key_file if hub.audit_key_file else None,
            "mappings_dir": directory / hub.mappings_dir,
            "policy": directory / hub.policy,
        }
    )


def _connection(
    name: str, table: Any, directory: Path, env: Mapping[str, str] | None, where: str
) -> ConnectionSettings:
    where = f"{where}: [connections.{name}]"
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: a connection's name is lower-case letters, digits, - and _, such as zendesk-eu")
    if "connector" not in table:
        raise ConfigError(f'{where} connector: missing; name the plugin, such as connector = "{name}"')
    for key, model in (("sync", SyncSettings), ("limits", LimitSettings)):
        if isinstance(table.get(key), dict):
            _no_unknown(table[key], model.model_fields, where, f"{key}.")
    filled = {key: _expand(value, env, f"{where} {key}") for key, value in table.items()}
    known = {key: filled.pop(key) for key in COMMON_KEYS if key in filled}
    dynamic = frozenset(
        key for key, value in (known | filled).items() if value != table[key] or _overridden(name, key, env or {})
    )
    if "live_actions" in dynamic:  # the environment has only text
        known["live_actions"] = {"true": True, "false": False}.get(known["live_actions"], known["live_actions"])
    try:
        found = ConnectionSettings.model_validate(known | {"options": filled, "from_environment": dynamic})
    except ValidationError as exc:
        raise _told(exc, where, ConnectionSettings) from exc
    if found.mapping is None:
        return found
    mapping = directory / found.mapping
    if not mapping.is_file():
        raise ConfigError(f"{where} mapping: {table['mapping']} does not exist (relative paths start at this file)")
    return found.model_copy(update={"mapping": mapping})


def _overridden(name: str, key: str, env: Mapping[str, str]) -> bool:
    return f"{PREFIX}CONNECTIONS__{name.replace('-', '_')}__{key}".upper() in env


def _no_unknown(table: Iterable[str], known: Iterable[str], where: str, above: str = "") -> None:
    known = tuple(known)
    for key in table:
        if key not in known:
            raise ConfigError(f"{where} {above}{key}: unknown key{did_you_mean(key, known)}")


def _told(exc: ValidationError, where: str, model: type[BaseModel]) -> ConfigError:
    errors = exc.errors(include_url=False, include_input=False)
    key, message = plain(errors, model)
    needed = "; this connector needs it" if errors[0]["type"] == "missing" else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    spot = f"{where} {key}:" if key else f"{where}:"
    return ConfigError(" ".join(f"{spot} {message}{needed}{more}".split()))


def _warn_of_literal_secrets(name: str, connection: ConnectionSettings, fields: Mapping[str, Any]) -> None:
    if urlsplit(connection.base_url or "").hostname in ("127.0.0.1", "localhost", "::1"):
        return  # a sandbox on this machine: its credentials are made up
    for key, value in connection.options.items():
        secret = SecretStr in bare(fields[key].annotation) if key in fields else False
        if secret and key not in connection.from_environment and not _url_without_password(value):
            log.warning('[connections.%s] %s: a secret stands in the file; write "${NAME}" and export it', name, key)


def _url_without_password(value: Any) -> bool:
    return isinstance(value, str) and "://" in value and not urlsplit(value).password


def _absolute_url(value: Any, directory: Path) -> Any:
    start = "sqlite:///"
    if not isinstance(value, str) or not value.startswith(start) or value[len(start) :] in ("", ":memory:"):
        return value
    return start + str(directory / value[len(start) :])


def ledger_beside(url: str) -> str:
    """Give the URL of ledger.db beside a SQLite database; on Postgres both live in one database."""
    return _beside(url, "ledger.db")


def engine_beside(url: str) -> str:
    """Give the URL of engine.db beside a SQLite database; on Postgres both live in one database."""
    return _beside(url, "engine.db")


def _beside(url: str, name: str) -> str:
    start = "sqlite:///"
    return start + str(Path(url.removeprefix(start)).with_name(name)) if url.startswith(start) else url
