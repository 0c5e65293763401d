"""
DBOS Transact behind the port; nothing else of the hub imports it.

One generic workflow without steps runs a job's function. What is underscored in DBOS and used by `recover`, `drain` and
`close` is held by tests, and the minor version is pinned. No conductor, no telemetry: nothing leaves but SQL.
"""

import contextvars
import importlib
import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hub.errors import ConfigError, HubError, Temporary

log = logging.getLogger("hub.engine")
VERSION = "hub-jobs-1"
"""Our contract with jobs that wait, never a hash of code: a release must find the jobs of the one before it."""
ATTEMPTS = 20
"""How often a job may be begun anew because its worker died; then it is given up."""
THREADS = 40
BATCH = 500
QUEUES: Mapping[str, tuple[int, float]] = {"actions": (8, 1.0), "sync": (24, 0.5), "webhooks": (8, 1.0)}
"""Few queues, each with a polling thread: how many jobs a worker runs at once, and how often it looks (seconds)."""
PLACE: Mapping[str, tuple[str, int]] = {"asked": ("sync", 1), "pull": ("sync", 2), "receive": ("webhooks", 1)}
"""The queue of a job and its rank there: what somebody asked for goes before the schedule."""
ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class Returned(BaseException):
    """Ends a job that must not begin any more: no Exception, so that the engine notes no outcome."""


class Durable:
    """One launch of DBOS, which is a singleton of the process."""

    def __init__(self, url: str, node_id: str, jobs: Mapping[str, Callable[..., object]]) -> None:
        self._url = url
        self._node_id = node_id
        self._jobs = dict(jobs)
        self._draining = threading.Event()
        self._dbos: Any = None
        self._job: Any = None

    def launch(self) -> None:
        """Create or migrate the tables and begin to look for jobs. Raises ConfigError."""
        dbos = importlib.import_module("dbos")  # half a second and 30 MB that only workers need
        _quiet()
        try:
            self._dbos = dbos.DBOS(config=self._config(dbos))
            run = self.run
            self._job = dbos.DBOS.workflow(name="hub.job", max_recovery_attempts=ATTEMPTS)(
                lambda name, args: run(name, args)
            )
            dbos.DBOS.launch()
            for name, (at_once, every_s) in QUEUES.items():
                dbos.DBOS.register_queue(
                    name,
                    partition_concurrency=1,
                    worker_concurrency=at_once,
                    polling_interval_sec=every_s,
                    on_conflict="always_update",
                )
        except Exception as exc:
            dbos.DBOS.destroy(destroy_registry=True)
            raise ConfigError(f"[hub] engine_url: the engine does not start: {_line(exc)}") from exc

    def _config(self, dbos: Any) -> Any:
        sqlite = self._url.startswith("sqlite")
        return {
            "name": "hub",
            "system_database_url": self._url,
            "application_version": VERSION,
            "executor_id": self._node_id,
            "serializer": dbos.DBOSPortableJSONSerializer(),
            "max_executor_threads": THREADS,
            "log_level": "WARNING",
            "enable_otlp": False,
            "notification_coalesce_sec": 1.0,  # a thread that looks for notifications, of which we use none
            # more than one connection to a SQLite file only wait for each other
            "db_engine_kwargs": {"pool_size": 1 if sqlite else 8, "max_overflow": 0, "pool_pre_ping": not sqlite},
        }

    def run(self, name: str, args: Sequence[Any]) -> dict[str, str]:
        """Run a job's function and say how it went; what it raises stays out of the engine's file."""
        if self._draining.is_set():
            raise Returned
        function = self._jobs.get(name)
        if function is None:
            log.warning("job %s is unknown to this version", name)
            return {"status": "failed", "error": "unknown_job"}
        try:
            contextvars.Context().run(function, *args)  # outside of DBOS's context: what it asks for is no child of it
        except HubError as exc:
            log.warning("job %s failed: %s", name, exc.message)
            return {"status": "failed", "error": exc.error_code}
        except Exception as exc:  # noqa: BLE001 - the wall around jobs: what it says may be a customer's
            places = " < ".join(f"{f.filename}:{f.lineno}" for f in reversed(traceback.extract_tb(exc.__traceback__)))
            log.error("job %s failed with %s at %s", name, type(exc).__name__, places)
            return {"status": "failed", "error": type(exc).__name__}
        return {"status": "done"}

    def enqueue(self, job: str, job_id: str, partition: str, args: Sequence[Any]) -> bool:
        dbos = importlib.import_module("dbos")
        in_use = importlib.import_module("dbos._error").DBOSWorkflowIDInUseError
        queue, rank = PLACE.get(job, ("actions", 1))
        try:
            with (
                dbos.SetWorkflowID(job_id, workflow_id_reuse_policy="reject"),
                dbos.SetEnqueueOptions(queue_partition_key=partition, priority=rank),
            ):
                dbos.DBOS.enqueue_workflow(queue, self._job, job, list(args))
        except in_use:
            return False
        except _database_errors() as exc:
            raise Temporary(f"the engine's database does not answer: {_line(exc)}") from exc
        return True

    def waits(self, prefix: str) -> bool:
        return bool(self._listed(workflow_id_prefix=prefix, status=["ENQUEUED"], limit=1))

    def finished(self, older_than_s: float, prefix: str) -> list[str]:
        before = (datetime.now(UTC) - timedelta(seconds=older_than_s)).isoformat()
        found = self._listed(
            status=ENDED, completed_before=before, workflow_id_prefix=prefix or None, limit=BATCH, name="hub.job"
        )
        return [status.workflow_id for status in found]

    def _listed(self, **wanted: Any) -> list[Any]:
        try:
            return list(self._dbos.list_workflows(load_input=False, load_output=False, **wanted))
        except _database_errors() as exc:
            raise Temporary(f"the engine's database does not answer: {_line(exc)}") from exc

    def delete(self, ids: Sequence[str]) -> None:
        self._dbos.delete_workflows(list(ids))

    def recover(self, nodes: Sequence[str]) -> None:
        """Put the jobs that these workers had claimed back into their queues; harmless when repeated."""
        self._dbos._recover_pending_workflows(list(nodes))

    def drain(self, drain_s: float) -> bool:
        """Claim no more jobs and wait for those under way; say whether all have ended."""
        if self._dbos is None:
            return True
        self._draining.set()
        for event in self._dbos.background_thread_stop_events:
            event.set()
        deadline = time.monotonic() + drain_s
        while active := self._dbos._active_workflows_set.activeList():
            if time.monotonic() >= deadline:
                log.warning("%d jobs had not ended; another worker takes them over", len(active))
                return False
            time.sleep(0.02)
        return True

    def close(self) -> None:
        """End DBOS; what waits for a database that is gone gives up."""
        if self._dbos is not None:
            self._dbos._sys_db._retry_connection_errors = False
            type(self._dbos).destroy(destroy_registry=True)
            self._dbos = None


class _ToOurLog(logging.Handler):
    """Hands DBOS's warnings to the hub's log, which knows its format and its secrets."""

    def emit(self, record: logging.LogRecord) -> None:
        log.log(record.levelno, "%s", record.getMessage(), exc_info=record.exc_info)


def _quiet() -> None:
    logger = logging.getLogger("dbos")
    if not any(isinstance(handler, _ToOurLog) for handler in logger.handlers):
        logger.handlers[:] = [_ToOurLog()]
        logger.propagate = False


def _database_errors() -> tuple[type[Exception], ...]:
    from sqlalchemy.exc import SQLAlchemyError

    return (SQLAlchemyError,)


def _line(exc: BaseException) -> str:
    """Name an error without the statement and its values."""
    lines = str(getattr(exc, "orig", None) or exc).splitlines()
    return lines[0] if lines else type(exc).__name__
