"""Where files lie: a folder of this machine, or one behind SFTP; both are read and written by the same few verbs."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from hub import ConfigError, Invalid, Unauthorized

UNFINISHED = (".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".swp", "~")


@dataclass(frozen=True)
class Entry:
    """A file as a listing shows it; `name` is its path inside the folder, with slashes."""

    name: str
    size: int
    mtime_ns: int


class Place(Protocol):
    """
    A folder of files. What the system below refuses or loses is an OSError, as of a local file.

    `remote` says that the clock of the files is another machine's. Names are paths inside the folder.
    """

    label: str
    remote: bool

    def is_there(self) -> bool:
        """Say whether the folder exists. Raises OSError or HubError where it cannot be asked."""
        ...

    def entries(self, pattern: str) -> list[Entry]:
        """List the finished files of a pattern, in the order of their names, numbers in them by value."""
        ...

    def stamps(self, folder: str) -> dict[str, int]:
        """Say when each file of a folder was changed (ns), by its bare name, hidden ones too."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open a file to read it; it can seek, and seeking back a little is cheap."""
        ...

    def content(self, name: str) -> bytes | None:
        """Read a small file whole; None where it is not there."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file so that a reader sees all of it or none, in place of one that is there."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Write a file plainly, forced to disk; folders on the way are made."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Rename a file. A ConnectionError or TimeoutError leaves it open whether that was done."""
        ...

    def close(self) -> None:
        """End what is open."""
        ...


class Local:
    """A folder of this machine, or one that the operating system mounts."""

    remote = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.label = path.name

    def is_there(self) -> bool:
        return self.path.is_dir()

    def entries(self, pattern: str) -> list[Entry]:
        checked_pattern(pattern)
        if not self.path.is_dir():
            raise ConfigError(f"folder: there is no folder {self.path.name} at that path")
        try:
            found = list(self._found(pattern))
        except PermissionError as exc:
            raise Unauthorized("folder: this user may not read it") from exc
        return sorted(found, key=lambda entry: natural(entry.name))

    def _found(self, pattern: str) -> Iterator[Entry]:
        root = self.path.resolve()
        for path in self.path.glob(pattern):
            name = path.relative_to(self.path).as_posix()
            if is_finished(name) and path.is_file() and path.resolve().is_relative_to(root):
                with contextlib.suppress(FileNotFoundError):  # taken away since it was listed
                    seen = path.stat()
                    yield Entry(name, seen.st_size, seen.st_mtime_ns)

    def stamps(self, folder: str) -> dict[str, int]:
        path = self.path / folder
        if not path.is_dir():
            return {}
        with os.scandir(path) as found:
            return {one.name: one.stat().st_mtime_ns for one in found if one.is_file()}

    def open(self, name: str) -> BinaryIO:
        return (self.path / name).open("rb")

    def content(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        temporary = beside(name, f"{os.getpid()}.tmp")
        self.put(temporary, content)
        self.rename(temporary, name)

    def put(self, name: str, content: bytes) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def rename(self, old: str, new: str) -> None:
        os.replace(self.path / old, self.path / new)
        _force_folder((self.path / new).parent)

    def close(self) -> None:
        """Nothing stays open."""


def beside(name: str, suffix: str) -> str:
    """Name a hidden file in the same folder."""
    path = PurePosixPath(name)
    return str(path.with_name(f".{path.name}.{suffix}"))


def checked_pattern(pattern: str) -> list[str]:
    """Give the steps of a pattern. Raises Invalid for one that leaves the folder."""
    steps = PurePosixPath(pattern).parts
    if PurePosixPath(pattern).is_absolute() or ".." in steps or not pattern.strip():
        raise Invalid(f'stream "{pattern}": expected a pattern inside the folder, such as customers-*.csv')
    return list(steps)


def is_finished(name: str) -> bool:
    """Say whether a name is that of a whole file: not hidden, not one that writers use, no acknowledgement."""
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not hidden and not name.lower().endswith((*UNFINISHED, ".ack.json"))


def natural(name: str) -> list[tuple[int, int, str]]:
    """Give what names are sorted by, numbers in them by value."""
    pieces = re.split(r"(\d+)", name)
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in pieces if piece]


def _force_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
