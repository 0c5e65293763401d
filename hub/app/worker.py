"""
The worker process: runs schedules and asked-for syncs, and carries on runs that were left open.

Two jobs, plain functions for now: `pull` (one connection) and `advance` (one run). The cursor and the journal are the
truth; whoever hands out these jobs only decides who works.
"""

import gc
import logging
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from hub.app.opened import App
from hub.config import duration_s
from hub.errors import Conflict, HubError, Temporary
from hub.store import asked, clock
from hub.store import syncs as log_of_syncs

log = logging.getLogger("hub.worker")
POLL_S = 1.0
ADVANCE_S = 5.0
AT_ONCE = 4


def pull(app: App, connection: str, progress: Callable[[Any], None] | None = None) -> None:
    """Sync one connection; what went wrong is in its report and the log, and the next turn tries again."""
    try:
        app.sync([connection], progress=progress)
    except Conflict as exc:
        log.info("%s", exc.message)
    except HubError as exc:
        log.warning("sync of %s failed: %s", connection, exc.message)


def advance(app: App, run_id: str) -> None:
    """Settle one run that was left open: look up what became of its effect, never send it blindly."""
    try:
        app.performer.advance(run_id)
    except HubError as exc:
        log.warning("run %s could not be settled yet: %s", run_id, exc.error_code)


class Worker:
    """Runs until `stop()`, or until the process `parent` is gone."""

    def __init__(self, app: App, *, parent: int | None = None) -> None:
        self.app = app
        self.parent = parent
        self._stopped = threading.Event()
        self.schedules = {
            name: duration_s(connection.sync.every)
            for name, connection in app.settings.connections.items()
            if connection.sync.every
        }
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(AT_ONCE), "poll": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def run(self) -> None:
        """Work until stopped; a sync under way ends with its page, and goes on from there next time."""
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        with self.app.store.write() as tx:
            log_of_syncs.abandon(tx, clock.text(clock.now()))
        now = datetime.now(UTC)
        for name, every_s in self.schedules.items():
            trigger = IntervalTrigger(seconds=every_s, timezone=UTC)
            self._scheduler.add_job(pull, trigger, (self.app, name, self._page), id=f"pull:{name}", next_run_time=now)
        self._every(POLL_S, self._poll)
        self._every(ADVANCE_S, self._advance)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        self._scheduler.start()
        try:
            self._stopped.wait()
        finally:
            self._scheduler.shutdown(wait=True)
            gc.unfreeze()

    def stop(self) -> None:
        """End `run()`; safe from a signal handler and from another thread."""
        self._stopped.set()

    def _page(self, step: Any) -> None:
        if self._stopped.is_set() and not step.done:
            raise Temporary("the worker is stopping; the next sync goes on from here", code="stopping")

    def _every(self, seconds: float, job: object) -> None:
        trigger = IntervalTrigger(seconds=seconds, timezone=UTC)
        self._scheduler.add_job(job, trigger, executor="poll", next_run_time=datetime.now(UTC))

    def _poll(self) -> None:
        if self.parent is not None and os.getppid() != self.parent:
            log.warning("the server is gone; the worker ends too")
            self.stop()
            return
        for sync_id in asked.waiting(self.app.store):
            args = (sync_id, self._page)
            self._scheduler.add_job(self.app.syncs.run_asked, args=args, id=sync_id, replace_existing=True)

    def _advance(self) -> None:
        for run_id in self.app.performer.waiting():
            advance(self.app, run_id)
