"""Syncs of whole connections: run here and now, or asked for and run by whoever works in the background."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from hub import sync
from hub.app.underway import Underway
from hub.config import Settings, did_you_mean
from hub.connections import Connection, Connections
from hub.errors import ConfigError, Conflict, HubError, Invalid, NotFound, Temporary, near
from hub.store import Store, asked
from hub.store import syncs as log_of_syncs
from hub.store.traffic import Traffic
from hub.transport import yielding

log = logging.getLogger("hub.syncs")
pulls = logging.getLogger("hub.pulls")
"""One line for each stream that was pulled; services show it, commands print a table instead."""
AT_ONCE = 4
WAIT_S = 60.0
"""How long a sync that a person asked for waits for another one of the same connection."""
TRY_EVERY_S = 0.2
BUSY = "sync_running"
Report = dict[str, dict[str, Any]]


class Syncs:
    """Runs syncs, several connections at once, one sync of a connection at a time; each is noted in the log."""

    def __init__(self, store: Store, connections: Connections, traffic: Traffic) -> None:
        self.store = store
        self.connections = connections
        self.traffic = traffic
        self._turns: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._background: ThreadPoolExecutor | None = None

    def run(
        self,
        names: Sequence[str] | None = None,
        *,
        streams: Sequence[str] | None = None,
        full: bool = False,
        wait_s: float = 0.0,
        progress: Callable[[Any], None] | None = None,
    ) -> dict[str, Report]:
        """
        Sync connections (all by default) and give each one's report by table.

        One that is being synced by somebody else is waited for; after `wait_s` its tables report `sync_running`. Raises
        ConfigError or Invalid before anything is pulled if a name, a setting or a stream is wrong.
        """
        work = self._wanted(list(names or configured(self.connections)), streams)
        stop = threading.Event()

        def tell(step: Any) -> None:
            if stop.is_set() and not step.done:
                raise Temporary("stopped; the next sync goes on from here", code="stopping")
            if progress is not None:
                progress(step)

        def one(name: str) -> Report:
            connection, chosen = work[name]
            try:
                with self._alone(name, wait_s, stop):
                    return self._logged(connection, chosen, full, tell)
            except Conflict as exc:
                if exc.error_code != BUSY:
                    raise
                report: Report = sync.not_begun(self.store, connection, chosen, exc)
                _tell(name, report)
                return report

        if len(work) <= 1:
            return {name: one(name) for name in work}
        with ThreadPoolExecutor(min(AT_ONCE, len(work)), "sync") as pool:
            try:
                return dict(zip(work, pool.map(one, work), strict=True))
            except BaseException:
                stop.set()  # Ctrl-C waits for the page each connection is at, no longer
                raise

    def ask(self, name: str, *, streams: Sequence[str] | None, full: bool) -> dict[str, Any]:
        """Note that a sync is wanted; give it as the log shows it. Asked twice before it begins, it is one."""
        if name not in self.connections.names():
            raise NotFound(f'connection "{name[:60]}" is not configured{did_you_mean(name, self.connections.names())}')
        self._wanted([name], streams)
        request = {"streams": sorted(set(streams)) if streams else None, "full": full}
        made = asked.waiting_for(self.store, name, request) or asked.ask(self.store, name, request)
        if self._background is not None:
            self._background.submit(self.run_asked, made)
        return self.one(made)

    def run_asked(self, sync_id: str, progress: Callable[[Any], None] | None = None) -> None:
        """Run a sync that was asked for, unless another process has begun it."""
        taken = asked.take(self.store, sync_id)
        if taken is None:
            return
        name, request = taken
        try:
            connection, chosen = self._wanted([name], request["streams"])[name]
            with self._alone(name, WAIT_S):
                report = self._pulled(connection, chosen, request["full"], progress)
            log_of_syncs.finish(self.store, sync_id, report)
        except HubError as exc:
            log.warning("sync %s of %s failed: %s", sync_id, name, exc.message)
            log_of_syncs.broke(self.store, sync_id, exc.message)

    def streams(self, name: str) -> list[str]:
        """Name the streams that a sync of this connection pulls, in order. Raises ConfigError, MappingError."""
        connection, chosen = self._wanted([name], None)[name]
        mapped = connection.mapping.streams()
        return mapped if chosen is None else [stream for stream in mapped if stream in chosen]

    def in_background(self, here: bool) -> None:
        """Run what is asked for in a thread of this process, or (False) leave it to a worker."""
        if here and self._background is None:
            self._background = ThreadPoolExecutor(1, "asked-sync")
            for waiting in asked.waiting(self.store):
                self._background.submit(self.run_asked, waiting)
        elif not here and self._background is not None:
            pool, self._background = self._background, None
            pool.shutdown(wait=True, cancel_futures=True)

    def one(self, sync_id: str) -> dict[str, Any]:
        """Give one sync with its report. Raises NotFound."""
        found = log_of_syncs.one(self.store, sync_id)
        if found is None:
            raise NotFound("there is no sync with this id")
        return _shown(found)

    def latest(self, limit: int) -> list[dict[str, Any]]:
        """Give the newest syncs first."""
        return [_shown(found) for found in log_of_syncs.latest(self.store, limit)]

    def _wanted(
        self, names: Sequence[str], streams: Sequence[str] | None
    ) -> dict[str, tuple[Connection, list[str] | None]]:
        work: dict[str, tuple[Connection, list[str] | None]] = {}
        known: set[str] = set()
        for name in names:
            self.connections.renew(name)
            connection = self.connections.open(name)
            mapped = connection.mapping.streams()
            known |= set(mapped)
            if streams is None:
                check_streams(self.connections.settings, name, mapped)
                work[name] = (connection, connection.settings.sync.streams)
            elif chosen := [stream for stream in mapped if stream in streams]:
                work[name] = (connection, chosen)
        for stream in streams or ():
            if stream not in known:
                hint = did_you_mean(stream, known)
                text = f'no mapping of {", ".join(names)} has the stream "{stream[:60]}"{hint}'
                raise Invalid(text, code="unknown_stream", field_path="streams")
        return work

    def _logged(
        self, connection: Connection, streams: list[str] | None, full: bool, progress: Callable[[Any], None] | None
    ) -> Report:
        made = log_of_syncs.start(self.store, connection.name)
        try:
            report = self._pulled(connection, streams, full, progress)
        except BaseException as exc:
            log_of_syncs.broke(self.store, made, exc.message if isinstance(exc, HubError) else type(exc).__name__)
            raise
        log_of_syncs.finish(self.store, made, report)
        return report

    def _pulled(
        self, connection: Connection, streams: list[str] | None, full: bool, progress: Callable[[Any], None] | None
    ) -> Report:
        with yielding():
            self.connections.introduce(connection.name)
            tell = Underway(self.traffic, progress)
            found: Report = sync.sync_connection(self.store, connection, streams=streams, full=full, progress=tell)
        _tell(connection.name, found)
        return found

    @contextmanager
    def _alone(self, name: str, wait_s: float, stop: threading.Event | None = None) -> Iterator[None]:
        """Have a connection alone, among the threads and then the processes; raise Conflict where others keep it."""
        until = time.monotonic() + wait_s
        with self._lock:
            here = self._turns.setdefault(name, threading.Lock())
        if not here.acquire(timeout=wait_s):
            raise _busy(name)
        try:
            give_back = self._taken(name, until, stop or threading.Event())
            try:
                yield
            finally:
                give_back()
        finally:
            here.release()

    def _taken(self, name: str, until: float, stop: threading.Event) -> Callable[[], None]:
        told = False
        while (given := self.store.turns.take(name)) is None:
            left_s = until - time.monotonic()
            if left_s <= 0 or stop.wait(min(TRY_EVERY_S, left_s)):
                raise _busy(name)
            if not told:
                log.warning("%s is being synced by another process; waiting for it", name)
            told = True
        return given


def _busy(name: str) -> Conflict:
    return Conflict(f"{name} is being synced already", code=BUSY, retry_after_s=5.0)


def configured(connections: Connections) -> list[str]:
    """Name all connections. Raises ConfigError where there is none."""
    if not connections.names():
        raise ConfigError(f"{unconfigured(connections.settings)}; `hub init` writes an example")
    return connections.names()


def unconfigured(settings: Settings) -> str:
    """Say that no connection is configured, and where one was looked for."""
    here = "there is no config.toml in this folder, and HUB_CONFIG and --config name none"
    return (
        f"{near(settings.path)}: no connection is configured"
        if settings.path
        else f"no connection is configured: {here}"
    )


def check_streams(settings: Settings, name: str, mapped: Sequence[str]) -> None:
    """Raise ConfigError where `sync.streams` of a connection names a stream that its mapping does not have."""
    for stream in settings.connections[name].sync.streams or ():
        if stream not in mapped:
            where = f"{near(settings.path or 'config.toml')}: [connections.{name}] sync.streams"
            raise ConfigError(f'{where}: the mapping has no stream "{stream}"{did_you_mean(stream, mapped)}')


def _tell(name: str, report: Report) -> None:
    for line in _lines(name, report):
        pulls.log(*line)


def _lines(name: str, report: Report) -> Iterator[tuple[int, str]]:
    streams: dict[str, list[dict[str, Any]]] = {}
    for line in report.values():
        streams.setdefault(line["stream"], []).append(line)
    for stream, tables in streams.items():
        read, changed = max(line["read"] for line in tables), sum(line["changed"] for line in tables)
        told = f"{name} {stream}: {read} read, {changed} changed, {max(line['seconds'] for line in tables):.2f} s"
        error = tables[0]["error"]
        yield (logging.WARNING, f"{told}; stopped: {error}") if error else (logging.INFO, told)


def _shown(found: dict[str, Any]) -> dict[str, Any]:
    report = found.pop("report") or {}
    error = report.get("error") if isinstance(report.get("error"), str) else None
    tables = None if error or "request" in report else report or None
    return found | {"tables": tables, "error": error}
