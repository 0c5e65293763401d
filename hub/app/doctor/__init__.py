"""Look at an installation as a whole: what usually goes wrong, and for each thing what to do about it."""

from collections.abc import Callable, Iterator
from pathlib import Path

from hub.app.doctor import outside, settings, storage
from hub.app.doctor.findings import Finding
from hub.app.opened import App
from hub.config import load, unset
from hub.errors import HubError

__all__ = ["Finding", "examine"]

Part = Callable[[App], Iterator[Finding]]
_PARTS: dict[str, Part] = {
    "databases": storage.databases,
    "engine": storage.engine,
    "audit key": storage.audit_key_file,
    "plugins": settings.plugins,
    "mappings": settings.mappings,
    "policy": settings.policy,
    "port": outside.port,
}


def examine(config: Path | str | None = None, *, timeout_s: float = 20.0) -> Iterator[Finding]:
    """
    Look at everything, each thing by itself: what fails stops no other look. No database is made, migrated or written.

    Each connection's check may take `timeout_s`; 0 leaves connections out, and those whose secrets are missing are left
    out anyway. Where the configuration cannot be read, the rest is skipped.
    """
    yield from settings.surroundings()
    try:
        missing = unset(config)
        yield from settings.secrets(missing)
        app = App(load(config, secrets=not missing))
        yield from settings.configuration(app)
    except HubError as exc:
        yield Finding("config", "failed", exc.message, "mend the file; the rest cannot be looked at before")
        return
    with app:
        for name, part in _PARTS.items():
            yield from _looked(name, part, app)
        if timeout_s > 0:
            poor = " ".join(key for keys in missing.values() for key in keys)
            names = [name for name in app.settings.connections if f"[connections.{name}" not in poor]
            yield from outside.connections(app, names, timeout_s)


def _looked(name: str, part: Part, app: App) -> Iterator[Finding]:
    try:
        yield from part(app)
    except HubError as exc:
        yield Finding(name, "failed", app.vault.scrub(exc.message), "mend what the message names, then look again")
