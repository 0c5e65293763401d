"""
Secrets of open connections: known by value, so that none of them leaves by a log line or an error.

For now they come from the environment through `${ENV}` in the configuration and are held in memory only.
"""

import re
import threading
from typing import Any

from pydantic import BaseModel, SecretStr

HIDDEN = "***"
_SHORTEST = 6


class Vault:
    """Remembers secret values and takes them out of text. Thread-safe."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

    def keep(self, config: BaseModel) -> None:
        """Remember every SecretStr of a connection's configuration; values shorter than six characters are ignored."""
        found = {secret for value in _values(config) if len(secret := value.get_secret_value()) >= _SHORTEST}
        with self._lock:
            self._values |= found
            longest_first = sorted(self._values, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def scrub(self, text: str) -> str:
        """Replace every known secret in a text."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


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
