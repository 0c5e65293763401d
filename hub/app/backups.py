"""Copies of the databases while the hub runs, and putting one back so that nothing is done twice."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hub.app.setup import audit_key, engine_url, ledger_url
from hub.config import Settings, load
from hub.errors import ConfigError, Temporary
from hub.ledger import Ledger, Verdict, now, stamp, verify
from hub.ledger import restored as after_restore
from hub.store import Branch, Database, copies, held

FORMAT = 1
MANIFEST, HUB, LEDGER, HEAD = "manifest.json", "hub.db", "ledger.db", "audit.head"
_SCHEME = "sqlite:///"


@dataclass(frozen=True)
class Files:
    """Where a hub keeps its databases, and the head and the key of its audit."""

    hub: Path
    ledger: Path
    engine: Path | None
    key: Path | None

    @property
    def head(self) -> Path:
        return self.ledger.with_name(HEAD)


def backup(config: Path | str | None, target: Path) -> dict[str, Any]:
    """
    Copy the databases and the audit's head into a new folder, while the hub runs; give the manifest.

    The key of the audit is not copied: who has both could forge. The ledger is copied last, so that it knows of every
    run whose effect the synced data shows. Raises ConfigError where the folder is in use or cannot be written.
    """
    files, target = _files(load(config, secrets=False)), target.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target}: expected a folder that is new or empty")
    made = target.with_name(f"{target.name}.partial-{os.getpid()}")
    with _told(target), _folder(made):
        manifest = _copied(files, made)
        made.replace(target)
    return manifest


def restore(config: Path | str | None, source: Path) -> dict[str, Any]:
    """
    Put a backup in the place of the databases, keep the old files aside, and tell what is open.

    Every run that the backup has as open is treated as sent: it is looked up before anything goes out. Raises Conflict
    where a hub has a database open, ConfigError where the backup is not whole or of a newer Deskhub.
    """
    files = _files(load(config, secrets=False))
    manifest = _manifest(source)
    copied_at: str = manifest["at"]
    with _told(source), held.alone([files.hub, files.ledger]):
        missed = after_restore.made_after(files.ledger, copied_at) if files.ledger.exists() else []
        with _folder(_stage(files.ledger)) as for_ledger, _folder(_stage(files.hub)) as for_hub:
            shutil.copyfile(source / HUB, for_hub / HUB)
            Database(f"{_SCHEME}{for_hub / HUB}", "hub").close()
            report = _doubted(files, source, for_ledger, copied_at)
            aside = _swapped(files, for_ledger, for_hub)
    return {"copied_at": copied_at, "aside": [str(folder) for folder in aside], "missing_runs": missed} | report


def restored(config: Path | str | None, copied_at: str) -> dict[str, Any]:
    """
    Put every open run in doubt after other tools (pg_restore, a snapshot of a disk) have put an older ledger back.

    `copied_at` is when that copy was taken. To be called before any process of the hub starts. Raises ConfigError.
    """
    settings = load(config, secrets=False)
    try:
        moment = datetime.fromisoformat(copied_at)
    except ValueError as exc:
        raise ConfigError(f"{copied_at[:40]!r}: expected the time of the copy, such as 2026-01-31T08:00:00Z") from exc
    ledger = Ledger.open(ledger_url(settings), audit_key=audit_key(settings))
    try:
        checked = verify(ledger.audit)
        at = stamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        runs = after_restore.doubt(ledger, copied_at=at, before=None)
    finally:
        ledger.close()
    return {"copied_at": at, "open_runs": runs, "audit": _audit(checked)}


def _audit(checked: Verdict) -> dict[str, Any]:
    return {"ok": checked.ok, "problems": [problem.text for problem in checked.problems]}


def _files(settings: Settings) -> Files:
    paths: list[Path] = []
    for url in (settings.hub.database_url, ledger_url(settings)):
        if not url.startswith(_SCHEME):
            raise ConfigError("[hub] database_url: this copies SQLite files; use pg_dump and pg_restore for Postgres")
        paths.append(Path(url.removeprefix(_SCHEME)))
    engine = engine_url(settings)
    at = Path(engine.removeprefix(_SCHEME)) if engine.startswith(_SCHEME) else None
    return Files(paths[0], paths[1], at, settings.hub.audit_key_file)


def _copied(files: Files, folder: Path) -> dict[str, Any]:
    if not files.hub.exists() and files.ledger.exists():
        Database(f"{_SCHEME}{files.hub}", "hub").close()  # nothing was synced yet
    counts = {"hub": copies.take(files.hub, folder / HUB)}
    if files.head.exists():  # before the ledger: rows beyond a head are fine, a head beyond the rows is not
        shutil.copyfile(files.head, folder / HEAD)
    at = now()
    counts["ledger"] = copies.take(files.ledger, folder / LEDGER)
    manifest = {
        "format": FORMAT,
        "at": at,
        "deskhub": version("deskhub"),
        "databases": {
            name: {"file": file, "sha256": copies.sha256(folder / file), "rows": counts[name]}
            | {"version": copies.version(folder / file), "bytes": (folder / file).stat().st_size}
            for name, file in (("hub", HUB), ("ledger", LEDGER))
        },
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def _manifest(source: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((source / MANIFEST).read_text("utf-8"))
        found = {name: (part["file"], part["sha256"], part["version"]) for name, part in manifest["databases"].items()}
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{source}: is no backup; expected a folder that `hub db backup` made") from exc
    if manifest.get("format") != FORMAT or set(found) != {"hub", "ledger"} or not isinstance(manifest.get("at"), str):
        raise ConfigError(f"{source}: a backup of another format; this Deskhub knows format {FORMAT}")
    branches: tuple[Branch, Branch] = ("hub", "ledger")
    for name in branches:
        file, digest, at = found[name]
        if file not in (HUB, LEDGER) or not (source / file).is_file() or copies.sha256(source / file) != digest:
            raise ConfigError(f"{source}: {name} is not as its manifest says; it was changed, or not copied whole")
        if at is not None and at > copies.newest(name):
            raise ConfigError(f"{source}: {name} was written by a newer Deskhub (version {at}); install that first")
    return manifest  # type: ignore[no-any-return]


def _doubted(files: Files, source: Path, folder: Path, copied_at: str) -> dict[str, Any]:
    """Stage the ledger with its head, and put every open run in doubt there, before it is in its place."""
    shutil.copyfile(source / LEDGER, folder / LEDGER)
    if (source / HEAD).exists():
        shutil.copyfile(source / HEAD, folder / HEAD)
    key = files.key or files.ledger.with_name("audit.key")
    ledger = Ledger.open(f"{_SCHEME}{folder / LEDGER}", audit_key=key)
    try:
        checked = verify(ledger.audit)
        runs = after_restore.doubt(ledger, copied_at=copied_at, before=_head(files))
    finally:
        ledger.close()
    return {"open_runs": runs, "audit": _audit(checked)}


def _head(files: Files) -> dict[str, Any] | None:
    try:
        head = json.loads(files.head.read_text("utf-8"))
        return {"count": head["count"], "hash": head["hash"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _swapped(files: Files, for_ledger: Path, for_hub: Path) -> list[Path]:
    stamp = now().replace(":", "").replace(".", "")
    folders = [folder / f"before-restore-{stamp}" for folder in (files.ledger.parent, files.hub.parent)]
    for folder in folders:
        folder.mkdir(mode=0o700, exist_ok=True)
    copies.put(for_ledger / LEDGER, files.ledger, folders[0])
    if (for_ledger / HEAD).exists():
        copies.put(for_ledger / HEAD, files.head, folders[0])
    elif files.head.exists():
        files.head.replace(folders[0] / HEAD)
    copies.put(for_hub / HUB, files.hub, folders[1])
    if files.engine is not None and files.engine.exists():  # it remembers jobs as done that are to be done anew
        copies.away(files.engine, folders[0])
    return list(dict.fromkeys(folders))


def _stage(place: Path) -> Path:
    return place.parent / f".restoring-{place.name}-{os.getpid()}"


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """Make a folder that is gone at the end, unless it was moved away meanwhile."""
    path.mkdir(mode=0o700, parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _told(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise Temporary(f"{place}: could not be copied: {exc.strerror or type(exc).__name__}; then try again") from exc
