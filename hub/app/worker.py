"""
The worker process: offers what is due to the engine, and does the jobs that the engine hands out.

The cursor and the journal are the truth: every job is safe to do twice, and one that was lost is offered again by the
next slot or sweep. A job of a connection waits for the one before it.
"""

import functools
import logging
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from hub.app import drifting, keeping, memory
from hub.app.opened import App
from hub.app.setup import engine_url
from hub.config import duration_s
from hub.engine import Engine, Timetable, slot_at
from hub.errors import HubError, Temporary
from hub.ledger import Run
from hub.store import asked, clock
from hub.store import syncs as log_of_syncs

log = logging.getLogger("hub.worker")
POLL_S = 1.0
SWEEP_S = 2.0
TIDY_S = 600.0
KEEP_S = 6 * 3600.0
DRIFT_S = 3600.0
SWEEPS_KEPT_S = 900.0
JOBS_KEPT_S = 86_400.0
DRAIN_S = 30.0
PACES_S = ((60.0, 4.0), (600.0, 30.0), (float("inf"), 300.0))
"""How often an unknown run is looked up, by its age."""


class Worker:
    """Runs until `stop()`, or until the process `parent` is gone."""

    def __init__(self, app: App, *, parent: int | None = None) -> None:
        self.app = app
        self.parent = parent
        self._stopped = threading.Event()
        self._engine: Engine
        self._timetable = Timetable()
        self.schedules = {
            name: duration_s(connection.sync.every)
            for name, connection in app.settings.connections.items()
            if connection.sync.every
        }

    def run(self) -> None:
        """
        Work until stopped; a sync under way ends with its page, and goes on from there next time.

        Raises Conflict where another worker owns the engine's file, ConfigError where it cannot be used, and Temporary
        where it is lost on the way.
        """
        jobs: dict[str, Callable[..., object]] = {
            "pull": self._pull,
            "asked": self._asked,
            "advance": self._advance,
            "receive": self.app.receive,
            "sweep": self._sweep,
            "keep": self._keep,
            "describe": self._describe,
        }
        hub = self.app.settings.hub
        lease_s = duration_s(hub.engine_lease)
        self._engine = Engine.open(engine_url(self.app.settings), _node_id(), jobs, lease_s=lease_s)
        try:
            if self._engine.alone:
                with self.app.store.write() as tx:
                    log_of_syncs.abandon(tx, clock.text(clock.now()))
            self._engine.start()
            self._schedule()
            with memory.settled():
                self._watch()
        finally:
            self._stopped.set()
            self._timetable.stop()
            self._engine.stop(DRAIN_S)

    def stop(self) -> None:
        """End `run()`; safe from a signal handler and from another thread."""
        self._stopped.set()

    def _schedule(self) -> None:
        for name, every_s in self.schedules.items():
            self._timetable.add(f"pull:{name}", every_s, functools.partial(self._offer_pulls, name))
            self._offer_pulls(name, slot_at(every_s))
        self._timetable.add("poll", POLL_S, self._poll)
        self._timetable.add("sweep", SWEEP_S, self._offer_sweep)
        self._timetable.add("keep", KEEP_S, lambda slot: self._engine.enqueue("keep", f"keep:{slot}", "keep"))
        self._timetable.add("drift", DRIFT_S, self._offer_describing)
        self._timetable.start()

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_S):
            if self.parent is not None and os.getppid() != self.parent:
                log.warning("the server is gone; the worker ends too")
                return
            if not self._engine.healthy():
                raise Temporary(
                    "the engine's database is gone; the worker ends, the API and synchronous actions go on without it"
                )

    # What is offered: in the scheduler's thread, on every worker.

    def _offer_pulls(self, connection: str, slot: int) -> None:
        """Offer a pull of each stream; one that still waits stands for the later slots too."""
        try:
            streams = self.app.syncs.streams(connection)
        except HubError as exc:
            log.warning("sync of %s failed: %s", connection, exc.message)
            return
        for stream in streams:
            prefix = f"pull:{connection}:{stream}:"
            if not self._engine.waits(prefix):
                self._engine.enqueue("pull", f"{prefix}{slot}", connection, connection, stream)

    def _poll(self, slot: int) -> None:
        for sync_id in asked.waiting(self.app.store):
            connection = self.app.syncs.one(sync_id)["connection"]
            self._engine.enqueue("asked", f"asked:{sync_id}", connection, sync_id)
        offered: set[str] = set()
        for one in self.app.webhooks.waiting():
            prefix = f"receive:{one.connection}:"
            if one.connection in offered or self._engine.waits(prefix):
                continue  # one job works off all that waits of its connection
            job_id = f"{prefix}{one.id}:{one.attempts}:{slot // 60}"  # one that broke may be tried a minute later
            if self._engine.enqueue("receive", job_id, one.connection, one.connection, one.id):
                offered.add(one.connection)

    def _offer_sweep(self, slot: int) -> None:
        """Offer a sweep where there is something to sweep: a hub at rest writes nothing."""
        tidy = slot % round(TIDY_S / SWEEP_S) == 0
        if tidy or self.app.performer.waiting():
            self._engine.enqueue("sweep", f"sweep:{slot}", "sweep", tidy)

    def _offer_describing(self, slot: int) -> None:
        """Offer to describe what was not within a day, of connections that are synced by a schedule."""
        for name in self.schedules:
            try:
                if drifting.due(self.app, name):
                    self._engine.enqueue("describe", f"describe:{name}:{slot}", name, name)
            except HubError as exc:
                log.warning("%s cannot be described: %s", name, exc.message)

    # The jobs: in the engine's threads, on whichever worker got them.

    def _pull(self, connection: str, stream: str) -> None:
        """Sync one stream; what went wrong is in its report and the log, and the next slot tries again."""
        self.app.sync([connection], streams=[stream], progress=self._page)

    def _asked(self, sync_id: str) -> None:
        self.app.syncs.run_asked(sync_id, self._page)

    def _page(self, step: Any) -> None:
        if self._stopped.is_set() and not step.done:
            raise Temporary("the worker is stopping; the next sync goes on from here", code="stopping")

    def _advance(self, run_id: str) -> None:
        """Settle one run that was left open: look up what became of its effect, never send it blindly."""
        self.app.performer.advance(run_id)

    def _sweep(self, tidy: bool) -> None:
        """Hand over the runs that nobody works on; now and then forget jobs that ended long ago."""
        at = time.time()
        for run_id in self.app.performer.waiting():
            run = self.app.ledger.get(run_id)
            job_id = f"advance:{run_id}:{slot_at(pace_s(run, at), at)}"
            self._engine.enqueue("advance", job_id, run.connection or run_id, run_id)
        if tidy:
            self.app.webhooks.forget()
            self._engine.forget(older_than_s=SWEEPS_KEPT_S, prefix="sweep:")
            self._engine.forget(older_than_s=max([JOBS_KEPT_S, *(2 * every for every in self.schedules.values())]))

    def _describe(self, connection: str) -> None:
        """Ask a system for the fields of its streams, once a day."""
        drifting.describe(self.app, connection)

    def _keep(self) -> None:
        """Forget raw records that are too old, and give back the room of superseded ones."""
        keeping.expire(self.app)
        keeping.compact_if_due(self.app)


def pace_s(run: Run, at: float) -> float:
    """Say how often to look at a run: one that was abandoned at once, an unknown one less the older it is."""
    age_s = at - datetime.fromisoformat(run.created_at).timestamp() if run.state == "unknown" else 0.0
    return next(pace for until, pace in PACES_S if age_s < until)


def _node_id() -> str:
    """Name this process as no other ever was: two under one name would work each other's jobs twice."""
    return f"{platform.node()}:{os.getpid()}:{secrets.token_hex(4)}"
