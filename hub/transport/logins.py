"""Log-ins: one at a time, for all that use the token which comes of it."""

import threading
from collections.abc import Callable
from typing import Protocol


class Logins(Protocol):
    """Who keeps the token of a connection that signs in."""

    def token(self, sign_in: Callable[[], str], *, secret: str, stale: str | None) -> str:
        """
        Give the token that is there, unless it is `stale`; else sign in, once for all who ask.

        `secret` is what the vendor was signed in to with: whoever has the same may have the token too.
        """


class OwnLogins:
    """The token of one process: what a connector uses outside a hub. Thread-safe."""

    def __init__(self) -> None:
        self._token: str | None = None
        self._lock = threading.Lock()

    def token(self, sign_in: Callable[[], str], *, secret: str, stale: str | None) -> str:
        """See Logins."""
        with self._lock:
            if self._token is None or self._token == stale:
                self._token = sign_in()
            return self._token
