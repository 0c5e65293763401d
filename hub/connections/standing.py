"""
How connections stand: a circuit breaker for systems that fail, and a stop for credentials that are refused.

The state is a row of the database, so all processes know it and it outlives them. A call that fails counts; after some
in a row the connection is degraded: calls are refused at once for a while that grows, then one may try. Credentials
that are refused stop all calls until a check succeeds or the configured ones change.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

from hub.connections.walls import wrapped
from hub.errors import HubError, NotSent, RateLimited, Temporary, Unauthorized, Unknown
from hub.store import Store, clock, standings
from hub.store.database import Tx
from hub.store.standings import Standing
from hub.transport import Pace, is_yielding
from hub.vault import sealed

log = logging.getLogger("hub.connections")
PROBE_MS = 120_000
"""A call that tries a degraded connection has this long, then another may."""
REAUTH_RETRY_MS = 3_600_000
"""How soon a sync tries refused credentials again: what refused them may have been wrong."""
REAUTH_LONGEST_MS = 24 * 3_600_000
SOON_S = 1.0
"""When to come back after a 429 that does not say it: no vendor's window is shorter."""
_NO_FAILURE = ("stopping", "restoring")


@dataclass(frozen=True)
class Breaker:
    """After how many failures in a row a connection is cut off, and for how long: doubled each time, up to a most."""

    failures: int = 5
    pause_ms: int = 30_000
    longest_ms: int = 900_000

    def pause(self, opened: int) -> int:
        """How long to cut off for the n-th time in a row."""
        return _doubled(self.pause_ms, opened, self.longest_ms)


class Standings:
    """How the connections of one hub stand. Thread-safe; shared with all processes on the same database."""

    def __init__(
        self, store: Callable[[], Store], breaker: Breaker | None = None, *, there: Callable[[], bool] = lambda: True
    ) -> None:
        """`there` says whether there is a database yet: a check makes none."""
        self.store = store
        self.breaker = breaker or Breaker()
        self.there = there
        self._secrets: dict[str, list[str]] = {}
        self._same = lru_cache(maxsize=256)(self._compared)

    def meet(self, name: str, secrets: list[str]) -> None:
        """Learn with which credentials a connection is configured; they are kept in memory only."""
        self._secrets[name] = secrets

    def row(self, name: str) -> Standing:
        """Read how a connection stands."""
        if not self.there():
            return Standing()
        return standings.ask(self.store().database, name)

    def all(self) -> dict[str, Standing]:
        """Read how all connections stand that ever failed or were checked."""
        with self.store().read() as tx:
            return standings.read_all(tx)

    @contextmanager
    def call(self, name: str, pace: Pace) -> Iterator[None]:
        """Let a call of the connector through, or refuse it; take note of what becomes of it. See Connection.call."""
        before = self.row(name)
        pace.account = before.account or pace.account
        if before.reauth_at or before.degraded_at:
            self._admit(name, before)
        with self._noted(name, before):
            try:
                yield
            except RateLimited as exc:
                if exc.retry_after_s is None:  # Stripe, for one, does not say
                    exc.retry_after_s = max(SOON_S, pace.held_s())
                raise

    @contextmanager
    def trial(self, name: str) -> Iterator[None]:
        """Let a call through however the connection stands, and take note of what becomes of it."""
        with self._noted(name, self.row(name)):
            yield

    def known_as(self, name: str, account: str) -> None:
        """Note whose account a connection is."""
        if self.row(name).account != account:
            self._change(name, lambda tx, was: replace(was, account=account))

    @contextmanager
    def _noted(self, name: str, before: Standing) -> Iterator[None]:
        try:
            yield
        except Exception as exc:
            self._fell(name, before, exc if isinstance(exc, HubError) else wrapped(exc, name))
            raise
        self._well(name, before)

    def _fell(self, name: str, before: Standing, error: HubError) -> None:
        if isinstance(error, Unauthorized):
            if error.error_code == Unauthorized.code:
                seal = sealed(self._secrets.get(name, []))
                self._change(name, lambda tx, was: replace(_refused(tx, name, was, error), sealed=seal))
        elif isinstance(error, Temporary | Unknown):
            if not isinstance(error, RateLimited) and error.error_code not in _NO_FAILURE:
                self._change(name, lambda tx, was: self._failed(tx, name, was, error))
        elif error.error_code != "connector_failed":
            self._well(name, before)  # a no is an answer

    def _failed(self, tx: Tx, name: str, was: Standing, error: HubError) -> Standing:
        now = _now()
        failed = replace(was, failures=was.failures + 1, error=error.message, error_at=now, probing=None)
        if was.reauth_at:
            return replace(failed, retry_at=now + self.breaker.pause(1))
        if failed.failures < self.breaker.failures and not was.degraded_at:
            return failed
        if was.degraded_at and (was.retry_at or 0) > now:
            return failed  # a call that had begun before it was cut off
        if not was.degraded_at:
            standings.tell(tx, name, "degraded", clock.from_millis(now))
            log.warning("%s is degraded after %d failures: %s", name, failed.failures, error.message)
        pause = self.breaker.pause(was.opened + 1)
        since = was.degraded_at or now
        return replace(failed, opened=was.opened + 1, degraded_at=since, retry_at=now + pause)

    def _well(self, name: str, before: Standing) -> None:
        if before.failures or before.state != "ok":
            self._change(name, lambda tx, was: self._recovered(tx, name, was))

    def _recovered(self, tx: Tx, name: str, was: Standing) -> Standing:
        if was.state != "ok":
            standings.tell(tx, name, "recovered", clock.from_millis(_now()))
            log.warning("%s is well again", name)
        return Standing(account=was.account, error=was.error, error_at=was.error_at)

    def _admit(self, name: str, before: Standing) -> None:
        """Raise for a connection that is cut off, unless this call is to try it."""
        if before.reauth_at and before.sealed and not self._same(name, before.sealed):
            return  # other credentials than those that were refused
        now = _now()
        tries = is_yielding() if before.reauth_at else True
        if tries and (before.retry_at or 0) <= now:
            with self.store().write() as tx:
                if standings.probe(tx, name, now=now, until=now + PROBE_MS):
                    return
        raise _refusal(name, before, now)

    def _compared(self, name: str, seal: str) -> bool:
        return sealed(self._secrets.get(name, []), seal) == seal

    def _change(self, name: str, change: Callable[[Tx, Standing], Standing]) -> None:
        if not self.there():
            return
        with self.store().write() as tx:
            was = standings.read(tx, name)
            becomes = change(tx, was)
            if becomes != was:
                standings.write(tx, name, becomes)


def _refused(tx: Tx, name: str, was: Standing, error: HubError) -> Standing:
    now, opened = _now(), was.opened + 1 if was.reauth_at else 1
    if was.reauth_at is None:
        standings.tell(tx, name, "reauth_needed", clock.from_millis(now))
        log.error("%s needs new credentials: %s", name, error.message)
    return replace(
        was,
        opened=opened,
        retry_at=now + _doubled(REAUTH_RETRY_MS, opened, REAUTH_LONGEST_MS),
        probing=None,
        reauth_at=was.reauth_at or now,
        error=error.message,
        error_at=now,
    )


def _doubled(first: int, times: int, most: int) -> int:
    return min(first << min(times - 1, 30), most)


def _refusal(name: str, standing: Standing, now: int) -> HubError:
    if standing.reauth_at:
        since = clock.from_millis(standing.reauth_at)[:16]
        return Unauthorized(
            f"{name}: its credentials have been refused since {since}Z; replace them, then `hub check {name}`",
            code="connection_reauth_required",
            reason="reauth_needed",
            next_actions=("agent.handoff",),
        )
    wait_s = max(1.0, ((standing.retry_at or 0) - now) / 1000)
    since = clock.from_millis(standing.degraded_at or now)[:16]
    text = f"{name}: has not answered properly since {since}Z; nothing was sent, the next try is in {wait_s:.0f} s"
    return NotSent(text, code="temporary", retry_after_s=wait_s, reason="degraded")


def _now() -> int:
    return clock.millis(clock.now())
