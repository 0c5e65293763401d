"""The files of an installation: configuration, secrets, plugins, mappings, policy."""

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from hub.app.doctor.findings import Finding
from hub.app.opened import App
from hub.app.syncs import check_streams
from hub.errors import HubError, near


def surroundings() -> Iterator[Finding]:
    """Tell the versions, for whoever is asked for help."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("versions", "ok", f"deskhub {version('deskhub')}, Python {python}, {sys.platform}")


def secrets(missing: Mapping[str, list[str]]) -> Iterator[Finding]:
    """Name every variable that the file needs and that is not set; `load` would stop at the first."""
    for name, keys in missing.items():
        yield Finding("secrets", "failed", f"{name} is not set; {', '.join(keys)} needs it", f"export {name}")
    if not missing:
        yield Finding("secrets", "ok", "every variable that the file names is set")


def configuration(app: App) -> Iterator[Finding]:
    """See that there is a file, and that only its owner can read it."""
    file = app.settings.path
    if file is None:
        yield Finding("config", "warning", "there is no config.toml here", "`hub init` writes one; --config names it")
        return
    yield Finding("config", "ok", f"{near(file)}, {len(app.settings.connections)} connections")
    yield from private("config", file)


def private(check: str, file: Path) -> Iterator[Finding]:
    """See that nobody but its owner can read a file."""
    if os.name == "nt":
        return
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        told = f"{near(file)} can be read by others (mode {mode:04o})"
        yield Finding(check, "warning", told, f"chmod 600 {near(file)}")


def plugins(app: App) -> Iterator[Finding]:
    """See that every plugin loads, and that each connection's is there."""
    for info in app.plugins.infos:
        if info.error:
            do = f"update or remove {info.distribution}; the others work without it"
            yield Finding(f"plugin {info.name}", "failed", info.error, do)
    for name, connection in app.settings.connections.items():
        if connection.connector not in app.plugins.connectors:
            told = f'no plugin brings the connector "{connection.connector}"'
            yield Finding(f"connection {name}", "failed", told, f"pip install deskhub-{connection.connector}")
    good = [info.name for info in app.plugins.infos if not info.error]
    yield Finding("plugins", "ok", ", ".join(good) or "none")


def mappings(app: App) -> Iterator[Finding]:
    """See that each connection's mapping compiles and has the streams that are to be synced."""
    for name, connection in app.settings.connections.items():
        if connection.connector not in app.plugins.connectors:
            continue
        try:
            mapping = app.connections.mapping(name)
            check_streams(app.settings, name, mapping.streams())
        except HubError as exc:
            do = f"mend the file; `hub map check {name}` tells all that is wrong with it"
            yield Finding(f"mapping {name}", "failed", exc.message, do)
        else:
            yield Finding(f"mapping {name}", "ok", f"{len(mapping.tables)} tables of {len(mapping.streams())} streams")


def policy(app: App) -> Iterator[Finding]:
    """See that the policy can be read."""
    file = app.settings.hub.policy
    app.policy  # noqa: B018 - raises where it is wrong
    told = near(file) if file.exists() else "there is none; money and what cannot be undone are refused"
    yield Finding("policy", "ok", told)
