"""
APScheduler as the clock of every worker: each slot of a schedule is offered by all of them, and counts once.

A slot is the whole number of intervals since 1970, so all workers name it alike; the engine refuses an id it knows.
Job stores are in memory and never shared.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from hub.errors import HubError

log = logging.getLogger("hub.engine")
GRACE_S = 300
PATIENCE_S = 5.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Offer = Callable[[int], object]


def slot_at(every_s: float, moment: float | None = None) -> int:
    """Number the slot that a moment (seconds since 1970; now by default) is in."""
    return int((time.time() if moment is None else moment) / every_s + 1e-6)  # 1.0 / 0.2 may be a hair under 5


class Timetable:
    """Schedules of one worker; what they offer runs in the scheduler's own thread and must be short."""

    def __init__(self) -> None:
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._slots = _Slots()
        self._scheduler = BackgroundScheduler(timezone=UTC, executors={"default": self._slots})

    def add(self, name: str, every_s: float, offer: Offer, *, each: bool = False) -> None:
        """
        Call `offer(slot)` at the beginning of every slot, all workers at the same time.

        A worker that is late offers the latest slot, or with `each` all that began in the last five minutes.
        """
        self._scheduler.add_job(
            offer,
            IntervalTrigger(seconds=every_s, start_date=_EPOCH, timezone=UTC),
            (0,),  # stands for the slot, which the executor fills in
            id=name,
            coalesce=not each,
            misfire_grace_time=GRACE_S,
            replace_existing=True,
        )

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Offer nothing more; an offer under way is waited for, unless it hangs."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
            self._slots.ended(PATIENCE_S)


class _Slots(BaseExecutor):  # type: ignore[misc]
    """Turns the times at which a schedule was due into slots, and offers each."""

    def __init__(self) -> None:
        super().__init__()
        self._offering = threading.Lock()
        self._over = False

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        every_s = job.trigger.interval_length
        for due in run_times:
            with self._offering:
                if not self._over and time.time() - due.timestamp() <= GRACE_S:
                    _offer(job.func, round(due.timestamp() / every_s))

    def submit_job(self, job: Any, run_times: list[datetime]) -> None:
        self._do_submit_job(job, run_times)

    def ended(self, patience_s: float) -> None:
        """Let the offer under way end, and begin no other."""
        self._over = True
        if self._offering.acquire(timeout=patience_s):
            self._offering.release()


def _offer(offer: Offer, slot: int) -> None:
    try:
        offer(slot)
    except HubError as exc:
        log.warning("%s", exc.message)
