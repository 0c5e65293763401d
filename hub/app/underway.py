"""Pulls under way: how far each is, told to all processes, and how long it will still take."""

import time
from collections.abc import Callable
from typing import Any

from hub.store.traffic import Pull, Traffic

_EVERY_S = 1.0


class Underway:
    """Takes the progress of a connection's pulls, passes it on, and notes it about once a second."""

    def __init__(self, traffic: Traffic, pass_on: Callable[[Any], None] | None) -> None:
        self.traffic = traffic
        self.pass_on = pass_on
        self._began = time.monotonic()
        self._anew()

    def __call__(self, step: Any) -> None:
        if not step.warnings:
            self._note(step)
        if self.pass_on is not None:
            self.pass_on(step)

    def _anew(self) -> None:
        self._noted, self._pages = float("-inf"), 0

    def _note(self, step: Any) -> None:
        now = time.monotonic()
        if step.done:
            self.traffic.pulled(step.connection, step.stream)
            self._began = now
            self._anew()
            return
        self._pages += 1
        if now - self._noted >= _EVERY_S:
            self._noted, took_s = now, now - self._began
            self.traffic.pulling(
                Pull(step.connection, step.stream, self._pages, step.read, step.changed, step.total, took_s, 0.0)
            )


def left_s(pull: Pull, pages_per_s: float | None, *, share: float | None) -> float | None:
    """
    Estimate how many seconds a pull will still take, None where nothing tells.

    By the records that the vendor says there are, else by the `share` of its time that is behind it; at the pace so
    far, or at that of the limits where it is slower.
    """
    if pull.read <= 0 or pull.took_s <= 0:
        return None
    total = pull.total if pull.total is not None else pull.read / share if share else None
    if total is None:
        return None
    rate = pull.read / pull.took_s
    if pages_per_s is not None and pull.pages > 0:
        rate = min(rate, pages_per_s * pull.read / pull.pages)
    return max(0.0, (total - pull.read) / rate - pull.age_s)
