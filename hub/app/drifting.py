"""Drift, for `hub drift` and the worker: describe what is due, and report."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hub import drift
from hub.app import remaps
from hub.connections import compile_for
from hub.errors import HubError
from hub.store import clock

if TYPE_CHECKING:
    from hub.app.opened import App

log = logging.getLogger("hub.drift")
DAYS = 30


def due(app: "App", name: str) -> list[str]:
    """Name the streams of a connection that were not described within a day."""
    return drift.due(app.store, name, app.syncs.streams(name))


def describe(app: "App", name: str, streams: Sequence[str] | None = None) -> dict[str, str]:
    """Describe the streams of a connection (those that are due); what could not be is told, by stream."""
    connection, errors = app.connections.open(name), {}
    for stream in due(app, name) if streams is None else streams:
        try:
            changes = drift.take(app.store, connection, stream)
        except HubError as exc:
            errors[stream] = f"{exc.error_code}: {exc.message}"
            log.warning("%s %s could not be described: %s", name, stream, exc.error_code)
            continue
        for one in changes:
            log.warning("%s %s: the field %s was %s", name, stream, one.field, _WORDS[one.what])
    return errors


_WORDS = {
    "added": "added",
    "removed": "removed",
    "retyped": "given another type",
    "new_value": "given a new value",
    "gone_value": "taken a value",
}


def report(
    app: "App", names: Sequence[str] | None = None, *, now: bool = False, days: int = DAYS
) -> dict[str, dict[str, Any]]:
    """Say for each connection what has drifted in the last days; with `now` the systems are asked first."""
    found = {}
    for one in remaps.chosen(app, names):
        errors = describe(app, one.name, app.syncs.streams(one.name)) if now else {}
        usual = compile_for(app.plugins, one.settings.connector)
        line = drift.report(app.store, one, since=clock.now() - timedelta(days=days), usual=usual)
        found[one.name] = line | {"errors": errors}
    return found


def brief(app: "App") -> dict[str, dict[str, int]]:
    """Count for each connection what a status tells of drift; a broken mapping is passed over."""
    found = {}
    for name in app.connections.names():
        try:
            one = remaps.mapped(app, name)
            found[name] = drift.brief(app.store, one, since=clock.now() - timedelta(days=DAYS))
        except HubError as exc:
            log.debug("%s: %s", name, exc.error_code)
    return found
