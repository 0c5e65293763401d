"""
The keys that seal the audit chain, and its signed head: two files that are kept outside the database.

Who can write the database but does not have the key file can neither change a row nor add one unnoticed.
"""

import errno
import fcntl
import hashlib
import hmac
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hub.errors import ConfigError, Temporary

GENESIS = "0" * 64
"""What stands for the hash of the row before the first."""
_SECRET_BYTES = 32
log = logging.getLogger("hub.audit")


@dataclass(frozen=True)
class Seal:
    """One key, with a part of its own for each use. `id` names it and tells nothing about it."""

    id: str
    rows: bytes
    contents: bytes
    heads: bytes

    @classmethod
    def of(cls, secret: bytes) -> "Seal":
        """Derive the parts of a key."""

        def part(use: str) -> bytes:
            return hmac.digest(secret, f"deskhub audit {use}".encode(), "sha256")

        return cls(hashlib.sha256(part("name")).hexdigest()[:8], part("rows"), part("contents"), part("heads"))


class Head(msgspec.Struct, kw_only=True, frozen=True):
    """How long the chain was at a time, and the hash of its last row, signed with the key named `key`."""

    count: int
    hash: str
    at: str
    key: str
    signature: str = ""

    def signed(self, seal: Seal) -> "Head":
        """Give this head with its signature."""
        return msgspec.structs.replace(self, signature=_signature(self, seal))


def _signature(head: Head, seal: Seal) -> str:
    return seal_of(seal.heads, [head.count, head.hash, head.at, head.key])


def seal_of(key: bytes, values: Sequence[Any]) -> str:
    """Seal values in their order, as canonical JSON."""
    return hmac.digest(key, msgspec.json.encode(values), "sha256").hex()


def content_hash(seal: Seal, data: bytes) -> str:
    """Hash contents with a key: whoever has both can show that these were meant, nobody else can guess them."""
    return hmac.digest(seal.contents, data, "sha256").hex()


class Files:
    """
    The key file and the head file of one ledger.

    The key file holds one key a line, the last of which is used; older ones still prove what they sealed. It is
    readable by its owner only.
    """

    def __init__(self, key: Path, head: Path) -> None:
        self.key = key
        self.head = head
        self._ring: tuple[Seal, ...] = ()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing either file."""
        descriptor = os.open(self.head.with_name(self.head.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def ring(self) -> dict[str, Seal]:
        """Read all keys, by name; none where there is no key file. Raises ConfigError for a file that holds others."""
        return {seal.id: seal for seal in self._read()}

    def seal(self, *, fresh: bool) -> Seal:
        """
        Give the key in use.

        With `fresh` (nothing was ever sealed) the key file, and a head of length 0, are made where they are missing.
        Raises ConfigError where the key is missing and something was sealed with it.
        """
        if self._ring:
            return self._ring[-1]
        if fresh and not self.head.exists():
            with self.locked():
                self._first()
        self._ring = self._read()
        if not self._ring:
            raise ConfigError(
                f"{self.key}: the key that sealed the audit chain is missing; put it back, or name it under [hub] "
                "audit_key_file. If it is lost, `hub audit accept --new-key` goes on with another"
            )
        return self._ring[-1]

    def add_key(self) -> Seal:
        """Make a new key and use it from now on."""
        with self.locked():
            seals = self._add()
        self._ring = seals
        return seals[-1]

    def read_head(self) -> Head | None:
        """Give the head as its file has it, None where there is no file. Raises ValueError for one that is no head."""
        try:
            return msgspec.json.decode(self.head.read_bytes(), type=Head)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as exc:
            raise ValueError("audit.head cannot be read") from exc

    def write_head(self, head: Head) -> None:
        """Replace the head in one go; a crash leaves the old one or the new one."""
        _replace(self.head, msgspec.json.encode(head) + b"\n")

    def genuine(self, head: Head, ring: dict[str, Seal]) -> bool:
        """Say whether a head was signed with one of the keys."""
        seal = ring.get(head.key)
        return seal is not None and hmac.compare_digest(_signature(head, seal).encode(), head.signature.encode())

    def _first(self) -> None:
        seals = self._read() or self._add()
        if not self.head.exists():
            self.write_head(Head(count=0, hash=GENESIS, at="", key=seals[-1].id).signed(seals[-1]))

    def _add(self) -> tuple[Seal, ...]:
        text = self.key.read_text("ascii") if self.key.exists() else ""
        self.key.parent.mkdir(parents=True, exist_ok=True)
        _replace(self.key, f"{text}{os.urandom(_SECRET_BYTES).hex()}\n".encode())
        return self._read()

    def _read(self) -> tuple[Seal, ...]:
        try:
            if self.key.stat().st_mode & 0o077:
                log.warning("%s: others can read this key; `chmod 600` it", self.key)
            secrets = [bytes.fromhex(line) for line in self.key.read_text("ascii").split()]
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as exc:
            raise ConfigError(f"{self.key}: cannot be read as keys, 64 hex digits a line") from exc
        if not secrets or any(len(secret) != _SECRET_BYTES for secret in secrets):
            raise ConfigError(f"{self.key}: expected keys, 64 hex digits a line")
        return tuple(Seal.of(secret) for secret in secrets)


def _replace(path: Path, data: bytes) -> None:
    """Put a file in the place of another, whole or not at all. Raises Temporary where the disk does not take it."""
    made = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(made, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        made.replace(path)
    except OSError as exc:
        with suppress(OSError):
            made.unlink(missing_ok=True)
        text = f"{path}: cannot be written ({exc.strerror}); is the disk full or read-only?"
        raise Temporary(text) from exc
