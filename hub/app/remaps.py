"""Apply a changed mapping to what is kept, for `hub map`. No system is asked, and none of their secrets is needed."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hub import remap
from hub.app.syncs import configured
from hub.config import ConnectionSettings, did_you_mean
from hub.connections import wall
from hub.connector import Field
from hub.errors import HubError, Invalid
from hub.mapping import CompiledMapping

if TYPE_CHECKING:
    from hub.app.opened import App

log = logging.getLogger("hub.app")
Tell = Callable[[remap.Progress], None]
Report = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Mapped:
    """A connection as a remap needs it."""

    name: str
    mapping: CompiledMapping
    settings: ConnectionSettings


def mapped(app: "App", name: str) -> Mapped:
    """Give a configured connection with its present mapping. Raises ConfigError, MappingError."""
    return Mapped(name, app.connections.mapping(name), app.settings.connections[name])


def chosen(app: "App", names: Sequence[str] | None) -> list[Mapped]:
    """Give these connections, all by default. Raises ConfigError, MappingError."""
    return [mapped(app, name) for name in names or configured(app.connections)]


def diff(
    app: "App", names: Sequence[str] | None, *, tables: Sequence[str] | None = None, progress: Tell | None = None
) -> dict[str, Report]:
    """Say for each connection what its mapping would change in the stored rows. Raises Invalid for an unknown table."""
    wanted = chosen(app, names)
    with app.store.read() as tx:
        stored = app.store.sources(tx).by_name
    known = {table for one in wanted for table in one.mapping.tables} | {table for _, table in stored}
    for table in tables or ():
        if table not in known:
            raise Invalid(f'no mapping has a table "{table}"{did_you_mean(table, known)}', code="usage")
    return {one.name: remap.diff(app.store, one, tables=tables, progress=progress) for one in wanted}


def apply(
    app: "App",
    names: Sequence[str] | None,
    *,
    streams: Sequence[str] | None = None,
    fuse: bool = True,
    progress: Tell | None = None,
) -> dict[str, Report]:
    """Apply the mappings of connections to what is kept. Raises Conflict, see remap.apply."""
    wanted = chosen(app, names)
    known = {stream for one in wanted for stream in one.mapping.streams()}
    for stream in streams or ():
        if stream not in known:
            raise Invalid(f'no mapping has the stream "{stream}"{did_you_mean(stream, known)}', code="unknown_stream")
    return {one.name: remap.apply(app.store, one, streams=streams, fuse=fuse, progress=progress) for one in wanted}


def replay(app: "App", names: Sequence[str] | None, *, progress: Tell | None = None) -> dict[str, Report]:
    """Map the kept rejects of connections once more."""
    return {one.name: remap.replay(app.store, one, progress=progress) for one in chosen(app, names)}


def suggest(app: "App", name: str, stream: str, *, live: bool = False) -> dict[str, Any]:
    """Propose lines for what no table uses; with `live` the system is asked for its fields first."""
    one = mapped(app, name)
    if stream not in one.mapping.streams():
        hint = did_you_mean(stream, one.mapping.streams())
        raise Invalid(f'{one.mapping.source.where}: no table has the stream "{stream}"{hint}', code="unknown_stream")
    described: list[Field] = []
    if live:
        with wall(f"{name} {stream}: describe"):
            described = app.connections.open(name).connector.describe(stream)
    return remap.suggest(app.store, one, stream, described=described)


def behind(app: "App", names: Sequence[str]) -> dict[str, list[str]]:
    """Name by connection the streams whose rows are not all of the present mapping; a broken mapping is passed over."""
    found = {}
    for name in names:
        try:
            found[name] = remap.behind(app.store, mapped(app, name))
        except HubError as exc:
            log.debug("%s: %s", name, exc.error_code)
            found[name] = []
    return found
