"""Copies of a database: taken while it is in use, and put in its place again."""

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from hub.errors import ConfigError, Temporary
from hub.store.migrate import newest, version

__all__ = ["away", "newest", "put", "rows", "sha256", "take", "version"]

_BUSY_S = 30.0
_BLOCK = 1 << 20
_BESIDE = ("-wal", "-shm", "-journal")


def take(source: Path, target: Path) -> dict[str, int]:
    """
    Copy a database as it is at one moment, with SQLite's own backup; give the rows of each table.

    Readers and writers go on meanwhile. Raises ConfigError where there is none.
    """
    if not source.exists():
        raise ConfigError(f"{source}: there is no such database; nothing to copy")
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with closing(sqlite3.connect(source, timeout=_BUSY_S)) as there, closing(sqlite3.connect(target)) as here:
            there.backup(here)
            counts = rows(here)
    except sqlite3.Error as exc:
        raise Temporary(f"{source}: could not be copied: {exc}") from exc
    _to_disk(target)
    return counts


def rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Count the rows of all tables."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    names = sorted(name for (name,) in tables if name != "alembic_version")
    return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}  # noqa: S608


def sha256(path: Path) -> str:
    """Hash a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def put(staged: Path, place: Path, aside: Path) -> None:
    """
    Put a file in the place of another, which is kept in the folder `aside` with what SQLite has beside it.

    The new one must be closed. The caller holds both alone.
    """
    _beside_away(place, aside)
    if place.exists():
        os.link(place, aside / place.name)  # so that at no time there is none, which a hub would take for a new one
    staged.replace(place)
    _to_disk(place.parent)


def away(place: Path, aside: Path) -> None:
    """Move a database, with what SQLite has beside it, into the folder `aside`."""
    _beside_away(place, aside)
    place.replace(aside / place.name)


def _beside_away(place: Path, aside: Path) -> None:
    for suffix in _BESIDE:
        beside = place.with_name(place.name + suffix)
        if beside.exists():
            beside.replace(aside / beside.name)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
