"""
Keep a vendor's limits: a window of slots for each class of requests and each account, actions before syncs.

A request takes a slot of every class it belongs to and leaves it a whole window after it was answered, so that no
window at the vendor ever holds more than it may, however long requests are under way. Who shares the slots (threads,
processes, nodes) depends on the `Traffic` that is handed in.
"""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from hub.connector import Limit
from hub.errors import RateLimited
from hub.transport.told import Quota, quotas, retry_after

EVERYTHING = "*"
"""The class that every request of an account belongs to."""
GRACE = 0.02
"""Share of a window that a request may be under way before its slot is booked anew when it is answered."""
HELD_AT_MOST_S = 3600.0
LOOK_AGAIN_S = 5.0
"""How long syncs stay back from the last of a quota where the vendor does not say when it is full again."""
_SPARED = 0.1
_SHORTEST_S = 0.02
_WAITS_S = 0.25
_yielding: ContextVar[bool] = ContextVar("hub_yielding", default=False)


@dataclass(frozen=True)
class Patience:
    """
    How long requests may take: `timeout_s` (connect, read), `tries` of a read in all.

    `wait_s` is the most that a sync's request waits for limits and retries, `action_wait_s` any other's.
    """

    timeout_s: tuple[float, float] = (5.0, 60.0)
    tries: int = 4
    backoff_s: float = 0.5
    wait_s: float = 90.0  # a window of a minute, and who else wants a slot of it
    action_wait_s: float = 15.0

    @property
    def now_s(self) -> float:
        """Give the longest wait of who asks now."""
        return self.wait_s if _yielding.get() else self.action_wait_s


@contextlib.contextmanager
def yielding() -> Iterator[None]:
    """Let the requests inside the block leave the last slots to others, and wait while an action waits."""
    token = _yielding.set(True)
    try:
        yield
    finally:
        _yielding.reset(token)


def is_yielding() -> bool:
    """Say whether this thread's requests stay behind those of actions."""
    return _yielding.get()


class Traffic(Protocol):
    """What all that send to one account share: the slots of its limits, holds, and what the vendor told."""

    def take(self, account: str, limit: Limit, *, sync: bool, lasts_s: float) -> tuple[int | None, float]:
        """
        Take a slot for `lasts_s`, unless the class is held or none is free (for a sync: none but those it leaves).

        Gives the slot, or None and the seconds until it is worth asking again.
        """

    def answered(self, account: str, limit: Limit, slot: int) -> None:
        """Book a slot for a whole window from now."""

    def hold(self, account: str, name: str, seconds: float, *, syncs_only: bool = False) -> None:
        """Let nobody (or no sync) send requests of a class for so long; a longer hold stays."""

    def held(self, account: str, name: str, *, sync: bool) -> float:
        """Give the seconds for which a class is held for syncs or for everybody, 0 where it is not."""

    def tell(self, account: str, quota: Quota) -> None:
        """Remember what the vendor told."""


class Alone:
    """A Traffic of one process: what a connector uses outside a hub. Thread-safe."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.quotas: dict[tuple[str, str], Quota] = {}
        self._slots: dict[tuple[str, str], list[float]] = {}
        self._holds: dict[tuple[str, str, bool], float] = {}
        self._lock = threading.Lock()

    def take(self, account: str, limit: Limit, *, sync: bool, lasts_s: float) -> tuple[int | None, float]:
        """See Traffic."""
        held = self.held(account, limit.name, sync=sync)
        with self._lock:
            now, slots = self.now(), self._slots.setdefault((account, limit.name), [0.0] * limit.count)
            order = sorted(range(len(slots)), key=slots.__getitem__)
            slot = order[limit.spare if sync else 0]
            wait = max(held, slots[slot] - now)
            if wait > 0:
                return None, wait
            slots[slot] = now + lasts_s
            return slot, 0.0

    def answered(self, account: str, limit: Limit, slot: int) -> None:
        """See Traffic."""
        with self._lock:
            self._slots[account, limit.name][slot] = self.now() + limit.per_s

    def hold(self, account: str, name: str, seconds: float, *, syncs_only: bool = False) -> None:
        """See Traffic."""
        with self._lock:
            key = (account, name, syncs_only)
            self._holds[key] = max(self._holds.get(key, 0.0), self.now() + seconds)

    def held(self, account: str, name: str, *, sync: bool) -> float:
        """See Traffic."""
        with self._lock:
            lanes = (False, True) if sync else (False,)
            until = max(self._holds.get((account, one, lane), 0.0) for one in (name, EVERYTHING) for lane in lanes)
            return max(0.0, until - self.now())

    def tell(self, account: str, quota: Quota) -> None:
        """See Traffic."""
        self.quotas[account, quota.name] = quota


@dataclass
class Pass:
    """Permission to send one request: the slots it holds, each with when it was asked for, and what was waited."""

    limits: tuple[Limit, ...]
    slots: list[tuple[Limit, int, float]] = field(default_factory=list)
    waited_s: float = 0.0


class Pace:
    """
    The limits of one connection, kept per account with all that share `traffic`.

    `account` is the connection's name until `check()` tells better. Where it is not `on`, nothing is kept.
    """

    def __init__(
        self, name: str, limits: Sequence[Limit] = (), traffic: Traffic | None = None, *, on: bool | None = None
    ) -> None:
        self.name = name
        self.account = name
        self.limits = tuple(limits)
        self.traffic = traffic or Alone()
        self.on = bool(limits) if on is None else on
        self._told: dict[str, float] = {}

    def enter(self, what: str, budget_s: float, sleep: Callable[[float], None], *, waited_s: float = 0.0) -> Pass:
        """
        Wait until a request ("METHOD /path") may be sent, at most `budget_s` together with what was `waited_s` before.

        Raises RateLimited where that would take longer; what was taken by then counts as used.
        """
        matching = (limit for limit in self.limits if re.search(limit.match, what))
        granted = Pass(tuple(matching) if self.on else (), waited_s=waited_s)
        if self.on and not granted.limits:
            self._wait(granted, budget_s, sleep, self._held)
        for limit in granted.limits:
            self._wait(granted, budget_s, sleep, partial(self._take, granted, limit))
        return granted

    def leave(self, granted: Pass) -> None:
        """Book the slots of a request that was long under way from now on."""
        now = time.monotonic()
        for limit, slot, since in granted.slots:
            if now - since > limit.per_s * GRACE:
                self.traffic.answered(self.account, limit, slot)

    def heard(self, granted: Pass, status: int, headers: Mapping[str, str], pause_s: float) -> None:
        """Take note of what an answer says: all wait after a 429, syncs leave the last of a quota to actions."""
        if not self.on:
            return
        if status == 429:
            told = retry_after(headers)
            self._hold(granted, pause_s if told is None else told)
        for quota in quotas(headers):
            self._note(quota)
            if quota.general and status != 429:
                self._spare(granted, quota)

    def held_s(self) -> float:
        """Say how long requests of this account are held, whichever class they are of."""
        names = [*(limit.name for limit in self.limits), EVERYTHING]
        sync = _yielding.get()
        return max(self.traffic.held(self.account, name, sync=sync) for name in names) if self.on else 0.0

    def _held(self) -> float:
        return self.traffic.held(self.account, EVERYTHING, sync=_yielding.get())

    def _take(self, granted: Pass, limit: Limit) -> float:
        sync, since = _yielding.get(), time.monotonic()
        slot, wait = self.traffic.take(self.account, limit, sync=sync, lasts_s=limit.per_s * (1 + GRACE))
        if slot is not None:
            granted.slots.append((limit, slot, since))
            return 0.0
        if not sync:  # until this one has its turn, syncs stay behind
            pause = min(wait, _pause_s(wait)) + _WAITS_S
            self.traffic.hold(self.account, limit.name, pause, syncs_only=True)
        return max(wait, _SHORTEST_S)

    def _wait(self, granted: Pass, budget_s: float, sleep: Callable[[float], None], ask: Callable[[], float]) -> None:
        while (wait := ask()) > 0:
            if granted.waited_s + wait > budget_s:
                text = f"{self.name}: the limit of this account is used up for {wait:.0f} s"
                raise RateLimited(text, retry_after_s=wait)
            pause = _pause_s(wait)
            sleep(pause)
            granted.waited_s += pause

    def _hold(self, granted: Pass, seconds: float) -> None:
        """Hold the narrowest class of the request: a refusal of one endpoint says nothing of the others."""
        name = granted.limits[0].name if granted.limits else EVERYTHING
        self.traffic.hold(self.account, name, min(max(seconds, _SHORTEST_S), HELD_AT_MOST_S))

    def _spare(self, granted: Pass, quota: Quota) -> None:
        name = granted.limits[-1].name if granted.limits else EVERYTHING
        resets_s = min(LOOK_AGAIN_S if quota.resets_s is None else quota.resets_s, HELD_AT_MOST_S)
        if quota.remaining <= 0:
            self.traffic.hold(self.account, name, resets_s)
        elif quota.total and quota.remaining < quota.total * _SPARED:
            self.traffic.hold(self.account, name, resets_s, syncs_only=True)

    def _note(self, quota: Quota) -> None:
        """Write a figure down at most once a second, so that telling costs next to nothing."""
        now = time.monotonic()
        if now - self._told.get(quota.name, -1.0) >= 1.0:
            self._told[quota.name] = now
            self.traffic.tell(self.account, quota)


def _pause_s(wait: float) -> float:
    """Look again after a while even in a long wait: a slot may have come free, or a hold been lifted."""
    return min(wait, 5.0)
