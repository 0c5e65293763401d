"""
Secrets of open connections: known by value, so that none of them leaves by a log line or an error.

They come from the environment through `${ENV}` in the configuration and are held in memory only. What processes must
share because of them is locked with them, or is a hash.
"""

import base64
import hashlib
import os
import re
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

HIDDEN = "***"
_SHORTEST = 6
_LONGEST_KEY = 100_000


class Vault:
    """Remembers secret values and takes them out of text. Thread-safe."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

    def keep(self, config: BaseModel) -> None:
        """Remember every SecretStr of a connection's configuration; values shorter than six characters are ignored."""
        found = {secret for secret in secrets_of(config) if len(secret) >= _SHORTEST}
        with self._lock:
            self._values |= found
            longest_first = sorted(self._values, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def scrub(self, text: str) -> str:
        """Replace every known secret in a text."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


def secrets_of(config: BaseModel) -> list[str]:
    """Give the values of every SecretStr of a configuration, in order."""
    return [value.get_secret_value() for value in _values(config)]


def sealed(secrets: list[str], seal: str | None = None) -> str:
    """
    Give a text that tells whether secrets are still the same, and nothing of what they are.

    With `seal`, such a text, it is made in the same way, so that the two can be compared. Slow on purpose (RFC 7914).
    """
    salt = bytes.fromhex(seal.partition(":")[0]) if seal else os.urandom(16)
    text = "\0".join(secrets).encode()
    return f"{salt.hex()}:{hashlib.scrypt(text, salt=salt, n=2**14, r=8, p=1).hex()}"


def lock(text: str, secret: str) -> str:
    """Encrypt a text so that only who has the same secret reads it (Fernet, under a key of its own each time)."""
    from cryptography.fernet import Fernet  # 7 MB that only shared log-ins need

    salt = os.urandom(16)
    return f"{salt.hex()}:{Fernet(_key(secret, salt)).encrypt(text.encode()).decode()}"


def unlock(locked: str | None, secret: str) -> str | None:
    """Give the text that was locked with this secret, None where it was another."""
    from cryptography.fernet import Fernet, InvalidToken

    salt, _, token = (locked or "").partition(":")
    try:
        return Fernet(_key(secret, bytes.fromhex(salt))).decrypt(token.encode()).decode()
    except (InvalidToken, ValueError):
        return None


@lru_cache(maxsize=256)
def _key(secret: str, salt: bytes) -> bytes:
    return base64.urlsafe_b64encode(hashlib.scrypt(secret.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32))


def credentials_of(config: BaseModel) -> list[str]:
    """Give all that decides who a connection is to its vendor: secrets, files with keys, and the other settings."""
    files = [value for value in dict(config).values() if isinstance(value, Path) and value.is_file()]
    keys = [file.read_text("latin-1") for file in files if file.stat().st_size <= _LONGEST_KEY]
    return [*secrets_of(config), *keys, config.model_dump_json()]


def _values(value: Any) -> list[SecretStr]:
    if isinstance(value, SecretStr):
        return [value]
    if isinstance(value, BaseModel):
        return [found for inner in dict(value).values() for found in _values(inner)]
    if isinstance(value, dict):
        return [found for inner in value.values() for found in _values(inner)]
    if isinstance(value, list | tuple):
        return [found for inner in value for found in _values(inner)]
    return []
