"""Check mappings and try them on records, for `hub map`."""

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hub.app.opened import App
from hub.config import ConnectionSettings, Settings, did_you_mean, load
from hub.connections import Connections, compile_for, wall
from hub.connector import Page, Stream
from hub.errors import ConfigError, HubError, Invalid, NotFound
from hub.mapping import CompiledMapping, check, preview
from hub.plugins import Plugins, discover


@dataclass(frozen=True)
class Wanted:
    """Which raw records to preview: those of a file ("-" is standard input), one by id, or a sample from the system."""

    stream: str
    file: Path | None = None
    remote_id: str | None = None
    sample: int = 5


def check_mappings(
    config: Path | str | None, names: list[str] | None, *, mapping: Path | None = None, live: bool = False
) -> dict[str, list[dict[str, Any]]]:
    """
    Check the mappings of connections or connectors; give the problems by name.

    A mapping that does not compile is a problem like the others. With `live` the systems are asked for their fields.
    """
    settings, plugins = load(config, secrets=live), discover()
    found = {}
    for name in names or list(settings.connections) or list(plugins.connectors):
        try:
            compiled = _compiled(settings, plugins, name, mapping)
            fields = _described(settings, plugins, name, compiled) if live else None
            usual = compile_for(plugins, _connector(settings, name)) if live else None
            found[name] = [_problem(problem) for problem in check(compiled, fields=fields, usual=usual)]
        except ConfigError:
            raise
        except HubError as exc:
            found[name] = [{"severity": "error", "where": exc.field_path, "message": exc.message}]
    return found


def preview_records(
    config: Path | str | None, name: str, wanted: Wanted, *, mapping: Path | None = None
) -> tuple[list[bytes], list[dict[str, Any]]]:
    """
    Give the raw records and, for each, what the mapping makes of it.

    With a file and a connector's name neither configuration nor secrets are needed. Raises ConfigError, and Invalid for
    an unknown stream.
    """
    plugins = discover()
    settings = load(config, secrets=wanted.file is None)
    compiled = _compiled(settings, plugins, name, mapping)
    if wanted.stream not in compiled.streams():
        hint = did_you_mean(wanted.stream, compiled.streams())
        text = f'{compiled.source.where}: no table has the stream "{wanted.stream}"{hint}'
        raise Invalid(text, code="unknown_stream")
    raws = _raws(wanted.file) if wanted.file else _from_system(settings, name, compiled, wanted)
    return raws, list(preview(compiled, wanted.stream, raws))


def _connector(settings: Settings, name: str) -> str:
    return settings.connections[name].connector if name in settings.connections else name


def _compiled(settings: Settings, plugins: Plugins, name: str, mapping: Path | None) -> CompiledMapping:
    connection = settings.connections.get(name)
    if connection is None and name not in plugins.connectors:
        known = {*settings.connections, *plugins.connectors}
        raise ConfigError(f'"{name}" is no connection and no connector{did_you_mean(name, known)}')
    if mapping is not None:
        if not mapping.is_file():
            raise ConfigError(f"{mapping}: there is no such mapping file")
        connection = connection or ConnectionSettings(connector=name)
        connection = connection.model_copy(update={"mapping": mapping.resolve()})
    return compile_for(plugins, _connector(settings, name), connection=connection, root=settings)


def _described(settings: Settings, plugins: Plugins, name: str, compiled: CompiledMapping) -> dict[str, Any]:
    connections = Connections(settings, plugins)
    try:
        connector = connections.open(name).connector
        with wall(f"{name}: describe"):
            return {stream: connector.describe(stream) for stream in compiled.streams()}
    finally:
        connections.close()


def _problem(problem: Any) -> dict[str, Any]:
    return {key: getattr(problem, key, None) for key in ("severity", "where", "message")}


def _raws(file: Path | None) -> list[bytes]:
    """Give the records of a file: one on each line, the elements of a JSON list, or one document over many lines."""
    assert file is not None
    try:
        data = (sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()).removeprefix(b"\xef\xbb\xbf")
    except OSError as exc:
        raise Invalid(f"{file}: cannot be read: {exc.strerror}", code="usage") from exc
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if data.lstrip()[:1] == b"[":
            return [bytes(raw) for raw in msgspec.json.decode(data, type=list[msgspec.Raw])]
        msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        return [data.strip()]
    return [line for line in data.splitlines() if line.strip()]


def _pages(method: Callable[..., Any], stream: Stream, remote_id: str | None, doing: str) -> Iterator[Page]:
    with wall(doing):
        yield from [method(stream, [remote_id])] if remote_id else method(stream, None)


def _from_system(settings: Settings, name: str, compiled: CompiledMapping, wanted: Wanted) -> list[bytes]:
    if name not in settings.connections:
        raise ConfigError(f'"{name}" is not configured as a connection; give raw records with --file')
    with App.open(settings) as app:
        connection = app.connections.open(name)
        role = "fetch" if wanted.remote_id else "pull"
        method = connection.connector.method(role, wanted.stream)
        if method is None:
            raise Invalid(f'{name}: the connector has no {role} for the stream "{wanted.stream}"')
        stream = compiled.stream(wanted.stream)
        pages = _pages(method, stream, wanted.remote_id, f"{name} {wanted.stream}")
        raws = (raw for page in pages for raw in compiled.map_page(wanted.stream, page).raws())
        found = list(itertools.islice(raws, None if wanted.remote_id else wanted.sample))
    if wanted.remote_id and not found:
        raise NotFound(f"{name} {wanted.stream}: there is no record with the id given with --id")
    return found
