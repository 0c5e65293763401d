"""Where an installation keeps things: databases, the engine's file, the audit's key; disk and clock."""

import os
from collections.abc import Iterator
from pathlib import Path

from hub.app.doctor.findings import Finding
from hub.app.doctor.settings import private
from hub.app.opened import App
from hub.app.setup import audit_key, engine_url, ledger_url
from hub.errors import HubError, near
from hub.store import Branch, Health, is_postgres, look

_LITTLE, _TOO_LITTLE = 1 << 30, 100 << 20
_DRIFT_S, _WRONG_S = 2.0, 60.0
_FILE = "sqlite:///"


def databases(app: App) -> Iterator[Finding]:
    """See that both databases answer, have this version, can be written, and agree about the time."""
    urls: dict[Branch, str] = {"hub": app.settings.hub.database_url, "ledger": ledger_url(app.settings)}
    for branch, url in urls.items():
        check = f"database {branch}"
        try:
            health = look(url, branch)
        except HubError as exc:
            yield Finding(check, "failed", app.vault.scrub(exc.message), "start it, or correct its URL in [hub]")
            continue
        yield from told(check, health)
        if url.startswith(_FILE) and (file := Path(url.removeprefix(_FILE))).exists():
            yield from private(check, file)


def told(check: str, health: Health) -> Iterator[Finding]:
    """Say what is wrong with a database, and how bad it is."""
    yield _version(check, health)
    yield from _writing(check, health)
    yield from clock(check, health)


def _version(check: str, health: Health) -> Finding:
    if health.version is None:
        return Finding(check, "ok", "not there yet; it is made at first use")
    if health.version < health.newest:
        told = f"of version {health.version}; this Deskhub has {health.newest}"
        return Finding(check, "warning", told, "back up, then `hub db upgrade`; else the next start does it")
    if health.version > health.newest:
        told = f"of version {health.version}, from a newer Deskhub; this one knows {health.newest}"
        return Finding(check, "failed", told, "install the newer Deskhub again, or restore a backup")
    return Finding(check, "ok", f"version {health.version}")


def _writing(check: str, health: Health) -> Iterator[Finding]:
    if health.unwritable:
        told = f"cannot be written: {health.unwritable}"
        yield Finding(check, "failed", told, "give this user the right to write there, or name another place in [hub]")
    if health.busy:
        told = "another process has been writing for over two seconds"
        yield Finding(check, "warning", told, "look again; if it stays so, see which process holds it")
    free = health.free_bytes
    if free is not None and free < _LITTLE:
        status = "failed" if free < _TOO_LITTLE else "warning"
        told = f"{free >> 20} MB are free on its disk"
        yield Finding(check, status, told, "free some; on a full disk nothing is sent and no sync goes on")  # type: ignore[arg-type]


def clock(check: str, health: Health) -> Iterator[Finding]:
    """Say how far a database's clock is from ours."""
    ahead = health.clock_s
    if abs(ahead) > _DRIFT_S:
        word = "ahead of" if ahead > 0 else "behind"
        told = f"its server's clock is {abs(ahead):.0f} s {word} this machine's"
        status = "failed" if abs(ahead) > _WRONG_S else "warning"
        yield Finding("clock", status, told, "set both by NTP: leases, tokens and approvals count on it")  # type: ignore[arg-type]
    if health.latest_s is not None and health.latest_s > _WRONG_S:
        told = f"the newest page was read {health.latest_s:.0f} s from now"
        yield Finding(
            "clock", "warning", told, "set the clock by NTP: it went back, and what is older never overwrites"
        )


def engine(app: App) -> Iterator[Finding]:
    """See that the worker can have its database."""
    url = engine_url(app.settings)
    if is_postgres(url):
        yield Finding("engine", "ok", "on Postgres; several workers may share it")
        return
    file = Path(url.removeprefix(_FILE))
    folder = next(one for one in file.absolute().parents if one.exists())
    spot = file if file.exists() else folder
    if not os.access(spot, os.W_OK):
        told = f"{near(spot)} cannot be written, and the worker needs it"
        yield Finding("engine", "failed", told, "give this user the right, or name another place by [hub] engine_url")
        return
    yield Finding("engine", "ok", near(file) if file.exists() else "not there yet; the first worker makes it")


def audit_key_file(app: App) -> Iterator[Finding]:
    """See that the audit's key is there and private."""
    file = audit_key(app.settings)
    if file is None:
        file = Path(ledger_url(app.settings).removeprefix(_FILE)).with_name("audit.key")
    if not file.exists():
        yield Finding("audit key", "ok", "not there yet; it is made with the ledger")
        return
    if not os.access(file, os.R_OK):
        yield Finding("audit key", "failed", f"{near(file)} cannot be read", "give this user the right to read it")
        return
    yield Finding("audit key", "ok", near(file))
    yield from private("audit key", file)
