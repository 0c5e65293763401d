"""The token of a connection that signs in, shared by all processes: one log-in for all of them, when it expires too."""

import threading
import time
from collections.abc import Callable

from hub.errors import HubError, Temporary, Unauthorized
from hub.store.traffic import Traffic
from hub.vault import lock, unlock

LEASE_S = 90.0
"""A process that signs in has this long, then another may."""
_WAIT_S = 60.0
_POLL_S = 0.05


class SharedLogins:
    """
    The token is kept with the traffic, locked with the secret it was got with. Thread-safe.

    Who needs one while another process signs in waits for what comes of that, the refusal too: wrong passwords must not
    be tried by each in turn, for they lock users out.
    """

    def __init__(self, name: str, traffic: Callable[[], Traffic], sleep: Callable[[float], None] = time.sleep) -> None:
        self.name = name
        self.traffic = traffic
        self.sleep = sleep
        self._lock = threading.Lock()

    def token(self, sign_in: Callable[[], str], *, secret: str, stale: str | None) -> str:
        """See transport.Logins. Raises Temporary where another process takes too long to sign in."""
        traffic, begun = self.traffic(), time.monotonic()
        with self._lock:
            while (found := self._there(traffic, secret, stale, begun)) is None and not traffic.lease(
                self.name, LEASE_S
            ):
                if time.monotonic() - begun > _WAIT_S:
                    raise Temporary(f"{self.name}: another process is still signing in", retry_after_s=5.0)
                self.sleep(_POLL_S)
            if found is None:
                found = self._signed_in(traffic, sign_in, secret=secret, stale=stale, begun=begun)
            return found

    def _there(self, traffic: Traffic, secret: str, stale: str | None, begun: float) -> str | None:
        login = traffic.login(self.name)
        token = unlock(login.token, secret) if login.token else None
        if token is not None and token != stale:
            return token
        if login.refused and login.refused_age_s < time.monotonic() - begun and unlock(login.refused_by, secret):
            raise Unauthorized(login.refused, reason="refused_elsewhere")
        return None

    def _signed_in(
        self, traffic: Traffic, sign_in: Callable[[], str], *, secret: str, stale: str | None, begun: float
    ) -> str:
        try:
            found = self._there(traffic, secret, stale, begun)  # another process may have been quicker
            token = sign_in() if found is None else found
        except HubError as exc:
            told = exc.message if isinstance(exc, Unauthorized) else None
            traffic.not_signed_in(self.name, told, by=lock("refused", secret))
            raise
        except BaseException:
            traffic.not_signed_in(self.name, None, by=None)
            raise
        traffic.signed_in(self.name, lock(token, secret))
        return token
