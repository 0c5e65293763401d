"""Who owns the engine's SQLite file: one worker, under a lock that ends with its process."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from hub.errors import ConfigError, Conflict

_SCHEME = "sqlite:///"


class Owner:
    """The right to work on a database: exclusive for a file, shared on Postgres."""

    def __init__(self, path: Path | None = None, lock: int | None = None) -> None:
        self.path = path
        self._lock = lock
        self._inode = path.stat().st_ino if path else None

    @property
    def alone(self) -> bool:
        """Whether no other worker can be on this database."""
        return self.path is not None

    @classmethod
    def take(cls, url: str, node_id: str) -> "Owner":
        """Take the right. Raises ConfigError where the file cannot be written, Conflict where a worker has it."""
        if not url.startswith(_SCHEME):
            return cls()
        path = Path(url.removeprefix(_SCHEME))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as exc:
            raise _unusable(path, exc.strerror or type(exc).__name__) from exc
        try:
            _lock(lock, path, node_id)
            _writable(path)
            return cls(path, lock)
        except BaseException:
            os.close(lock)
            raise

    def holds(self) -> bool:
        """Say whether the file is still the one that was taken."""
        if self.path is None:
            return True
        try:
            return self.path.stat().st_ino == self._inode
        except OSError:
            return False

    def release(self) -> None:
        """Give the right back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _lock(lock: int, path: Path, node_id: str) -> None:
    import fcntl  # not on every platform; nor is more than one worker

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        holder = os.read(lock, 200).decode(errors="replace").strip()
        raise Conflict(
            f"{path}: worker {holder or 'of another process'} works on this engine; one worker owns a SQLite file, "
            "stop that one, or set [hub] engine_url to Postgres for several",
        ) from exc
    os.ftruncate(lock, 0)
    os.pwrite(lock, node_id.encode(), 0)


def _writable(path: Path) -> None:
    """Create the file where it is missing, and set WAL, which stays with it."""
    try:
        with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE IF NOT EXISTS hub_node (executor_id TEXT PRIMARY KEY, beat REAL NOT NULL)")
            connection.execute("COMMIT")
    except sqlite3.Error as exc:
        raise _unusable(path, str(exc)) from exc


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"[hub] engine_url: {path} cannot be used: {why}; the worker needs a file it may write, "
        "the API and synchronous actions work without it"
    )
