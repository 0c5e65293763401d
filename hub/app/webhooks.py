"""
Webhooks in: verified by the connector, written down, answered; what they name is fetched afterwards.

A webhook is only a hint that something changed. The record itself is fetched, so neither the order of deliveries nor
their number matters, and a forged one could at worst cause a fetch.
"""

import hashlib
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hub import sync
from hub.connections import Connection, Connections, wall
from hub.connector import Change
from hub.errors import HubError, Invalid, NotFound, Temporary, Unauthorized, Unsupported
from hub.store import Store, Tx, clock, deliveries
from hub.store.deliveries import Dirty, Waiting
from hub.transport import yielding

log = logging.getLogger("hub.webhooks")
AT_ONCE = 100
MOST_ATTEMPTS = 12
LONGEST_WAIT_S = 300
KEPT_MS = 30 * 24 * 3600 * 1000
"""How long a delivery is remembered: Stripe sends an event again for up to 30 days."""
_IDLE_S = 2.0
_LONGEST_ID = 120


@dataclass(frozen=True)
class Taken:
    """What became of a webhook; `ignored` where it names nothing that this connection syncs."""

    status: Literal["accepted", "duplicate", "ignored"]
    changes: int = 0


class Webhooks:
    """Takes webhooks and fetches what they name. Thread-safe; many processes may work on one store."""

    def __init__(self, store: Store, connections: Connections) -> None:
        self.store = store
        self.connections = connections
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._here = False

    def take(self, name: str, body: bytes, headers: Mapping[str, str]) -> Taken:
        """
        Verify a webhook and write down what it names; nothing is fetched yet.

        Raises Unauthorized for a signature that is wrong, missing or old, Invalid for a body that cannot be read,
        NotFound where no webhook is expected. The messages say nothing about the reason; the log does.
        """
        connection = self._expecting(name)
        named = _named(connection, body, headers)
        wanted = _wanted(connection, named)
        if not wanted:
            return Taken("ignored")
        with self.store.write() as tx:
            new = deliveries.note(tx, name, _id(named, body), changes=wanted, at=clock.millis(clock.now()))
        if not new:
            return Taken("duplicate")
        self._wake.set()
        self._keep_running()
        return Taken("accepted", len(wanted))

    def waiting(self) -> list[Waiting]:
        """Name the deliveries whose turn it is; `receive` is to be called for each."""
        with self.store.read() as tx:
            return deliveries.waiting(tx, now=clock.millis(clock.now()))

    def receive(self, connection: str, delivery: str) -> None:
        """
        Fetch what a delivery named, and all else that waits of this connection; safe to call twice, and at once.

        What cannot be fetched now is put off, with growing pauses, and at last given up: the next sync finds it.
        """
        while self._receive(connection, delivery):
            pass

    def _receive(self, connection: str, delivery: str) -> bool:
        """Fetch one lot; say whether more is waiting and could be fetched now."""
        with self.store.read() as tx:
            open_ = deliveries.waiting(tx, now=0, connection=connection)
            marked = deliveries.dirty(tx, connection)
        if not any(one.id == delivery for one in open_):
            return False
        done, failed = self._fetch(connection, marked)
        with self.store.write() as tx:
            deliveries.fetched(tx, connection, done)
            left = {one.change for one in deliveries.dirty(tx, connection, limit=1_000_000)}
            now = clock.millis(clock.now())
            deliveries.finish(tx, connection, [one.id for one in open_ if not left & set(one.changes)], at=now)
            for one in open_:
                if failed & set(one.changes):
                    _put_off(tx, one, now)
        return bool(left) and not failed

    def forget(self) -> int:
        """Forget the deliveries that no vendor will send again; give how many."""
        with self.store.write() as tx:
            return deliveries.forget(tx, before=clock.millis(clock.now()) - KEPT_MS)

    def in_background(self, here: bool) -> None:
        """Fetch in a thread of this process, or (False) leave it to a worker."""
        self._here = here
        if here:
            self._stop.clear()
            self._keep_running()
        elif self._thread is not None:
            self._stop.set()
            self._wake.set()
            self._thread.join()
            self._thread = None

    def _keep_running(self) -> None:
        with self._lock:
            if self._here and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            for one in self.waiting():
                if not self._stop.is_set():
                    self.receive(one.connection, one.id)
            self._wake.wait(_IDLE_S)

    def _expecting(self, name: str) -> Connection:
        if name in self.connections.names():
            connection = self.connections.open(name)
            if connection.connector.method("webhook", "*") is not None:
                return connection
        raise NotFound("no webhook is expected here")

    def _fetch(self, name: str, marked: Sequence[Dirty]) -> tuple[list[Dirty], set[deliveries.Change]]:
        """Fetch records stream by stream; give those that were, and the changes that could not be."""
        if not marked:
            return [], set()
        try:
            connection = self.connections.open(name)
        except HubError as exc:
            log.warning("webhooks of %s wait: %s", name, exc.message)
            return [], {one.change for one in marked}
        streams: dict[str, list[Dirty]] = {}
        for one in marked:
            streams.setdefault(one.stream, []).append(one)
        done: list[Dirty] = []
        for stream, rows in streams.items():
            for n in range(0, len(rows), AT_ONCE):
                done += self._fetched(connection, stream, rows[n : n + AT_ONCE])
        return done, {one.change for one in marked} - {one.change for one in done}

    def _fetched(self, connection: Connection, stream: str, rows: list[Dirty]) -> list[Dirty]:
        try:
            with yielding():
                sync.fetch(self.store, connection, stream, [one.remote_id for one in rows])
        except (Temporary, Unauthorized) as exc:
            log.warning("%s %s: %d records wait: %s", connection.name, stream, len(rows), exc.error_code)
            return []
        except HubError as exc:
            if len(rows) > 1:  # one of them may be at fault: the others must not wait for it
                return [done for one in rows for done in self._fetched(connection, stream, [one])]
            log.warning("%s %s %s: cannot be fetched: %s", connection.name, stream, rows[0].remote_id, exc.error_code)
            return []
        return rows


def _named(connection: Connection, body: bytes, headers: Mapping[str, str]) -> list[Change]:
    """Let the connector verify a webhook. What it raises is logged; the sender is told no more than what to change."""
    method = connection.connector.method("webhook", "*")
    assert method is not None
    try:
        with wall(f"{connection.name}: a webhook"):
            return list(method(body, headers))
    except Unsupported as exc:
        log.warning("a webhook for %s was refused: %s", connection.name, exc.message)
        raise NotFound("no webhook is expected here") from exc
    except Unauthorized as exc:
        log.warning("a webhook for %s was refused: %s", connection.name, exc.message)
        text = "the signature of this webhook is missing, wrong or too old"
        raise Unauthorized(text, code="webhook_refused") from exc
    except HubError as exc:
        log.warning("a webhook for %s could not be read: %s", connection.name, exc.message)
        if exc.error_code == "connector_failed":
            raise
        raise Invalid("the body of this webhook cannot be read", code="webhook_malformed") from exc


def _wanted(connection: Connection, named: Sequence[Change]) -> list[deliveries.Change]:
    """Keep what this connection syncs, each record once."""
    streams = set(connection.mapping.streams())
    if connection.settings.sync.streams is not None:
        streams &= set(connection.settings.sync.streams)
    fetched = {stream for stream in streams if connection.connector.method("fetch", stream) is not None}
    return list(dict.fromkeys((change.stream, change.id) for change in named if change.stream in fetched))


def _id(named: Sequence[Change], body: bytes) -> str:
    """Name a delivery by the vendor's id of the event, where it gives one of a sensible length."""
    given = named[0].event_id
    if given and len(given) <= _LONGEST_ID:
        return given
    return hashlib.sha256(given.encode() if given else body).hexdigest()


def _put_off(tx: Tx, delivery: Waiting, now: int) -> None:
    if delivery.attempts + 1 >= MOST_ATTEMPTS:
        log.error("webhook %s of %s is given up; the next sync finds it", delivery.id, delivery.connection)
        deliveries.give_up(tx, delivery, at=now)
        return
    pause_s = min(2**delivery.attempts, LONGEST_WAIT_S)
    deliveries.postpone(tx, delivery, until=now + pause_s * 1000)
