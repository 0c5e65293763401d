"""
The one thread of a process that chains disclosures, in batches, and signs the chain's head.

It starts when there is something to do and ends when there was nothing for a while.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from hub.errors import HubError, Temporary
from hub.ledger.rows import now
from hub.store import Database

FLUSH_S = 0.5
IDLE_S = 5.0
ROOM_BYTES = 8_000_000
WAIT_S = 30.0
TRIES_AT_THE_END = 5
IDS_PER_ROW = 1000
log = logging.getLogger("hub.audit")


class Shown(NamedTuple):
    """One entity with the names of the fields that were shown of it."""

    kind: str
    id: str
    fields: tuple[str, ...]


class Seen(NamedTuple):
    """
    Who was shown what, when.

    Either `shown` names it, or `body` is the JSON that went out: of one entity of this kind, or of a page of them.
    """

    principal: str
    at: str
    kind: str = ""
    body: bytes | None = None
    shown: tuple[Shown, ...] = ()


def seen(principal: str, kind: str, body: bytes) -> Seen:
    """Note an answer as it goes out; what is in it is looked at later."""
    return Seen(principal, now(), kind, body)


def seen_in(principal: str, value: Any, kinds: dict[str, str]) -> Seen:
    """Note all entities in an answer of plain JSON values; `kinds` gives the kind of an id's prefix."""
    return Seen(principal, now(), shown=tuple(_entities(value, kinds)))


class Clerk:
    """Takes notes from any thread. `append` adds a row to the chain, `sign` signs its head."""

    def __init__(self, append: Callable[..., Any], sign: Callable[[], None], database: Database) -> None:
        self._append = append
        self._sign = sign
        self._database = database
        self._changed = threading.Condition()
        self._pending: list[Seen] = []
        self._weight = 0
        self._flush_at = 0.0
        self._due = False
        self._closing = False
        self._failures = 0
        self._thread: threading.Thread | None = None

    def saw(self, seen: Seen) -> None:
        """
        Note what somebody is about to be shown.

        Waits while too much is waiting to be chained; nothing is dropped. Raises Temporary where that takes too long,
        or after `close`: then it must not be shown.
        """
        with self._changed:
            fine = self._changed.wait_for(lambda: self._closing or self._weight < ROOM_BYTES, WAIT_S)
            if not fine or self._closing:
                raise Temporary("what is shown cannot be written to the audit now", code="audit_busy", retry_after_s=5)
            if not self._pending:
                self._flush_at = time.monotonic() + FLUSH_S
            self._pending.append(seen)
            self._weight += _weight(seen)
            self._wake()

    def sign_soon(self) -> None:
        """Sign the head in this thread's next turn."""
        with self._changed:
            self._due = True
            self._wake()

    def close(self) -> None:
        """Write all that is waiting, sign, and end. Later notes are refused."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _wake(self) -> None:
        if (self._thread is None or not self._thread.is_alive()) and not self._closing:
            self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            with self._changed:
                batch = self._take() if self._ripe() else []
                due, self._due = self._due, False
                self._changed.notify_all()
            if batch:
                due = self._written(batch) or due
            if due:
                self._sign()

    def _wait(self) -> bool:
        """Wait until there is work; False where this thread is to end."""
        with self._changed:
            while not self._due and not self._ripe():
                idle = not self._pending
                left = IDLE_S if idle else max(0.0, self._flush_at - time.monotonic())
                woken = not self._closing and self._changed.wait(left)
                if not self._pending and not self._due and (self._closing or not woken):
                    self._thread = None
                    return False
            return True

    def _ripe(self) -> bool:
        early = self._closing or self._weight > ROOM_BYTES // 2
        return bool(self._pending) and (early or time.monotonic() >= self._flush_at)

    def _take(self) -> list[Seen]:
        batch, self._pending, self._weight = self._pending, [], 0
        return batch

    def _written(self, batch: list[Seen]) -> bool:
        try:
            with self._database.write() as tx:
                for principal, facts in _rows(batch):
                    self._append(tx, "disclosure", principal=principal, **facts)
        except (OSError, sqlite3.Error, HubError) as exc:
            self._put_back(batch, exc)
            return False
        self._failures = 0
        return True

    def _put_back(self, batch: list[Seen], exc: Exception) -> None:
        self._failures += 1
        if self._closing and self._failures >= TRIES_AT_THE_END:
            log.error("audit: %d disclosures could not be written (%s)", len(batch), type(exc).__name__)
            return
        log.error("audit: disclosures could not be written yet (%s)", type(exc).__name__)
        if self._closing:
            time.sleep(FLUSH_S)
        with self._changed:
            self._pending = batch + self._pending
            self._weight = sum(map(_weight, self._pending))
            self._flush_at = time.monotonic() + FLUSH_S


class _Page(msgspec.Struct):
    data: list[dict[str, msgspec.Raw]]


_PAGE = msgspec.json.Decoder(_Page)
_ONE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)


def _rows(batch: Iterable[Seen]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Put a batch together: a row for each reader, with the entities of each kind by the fields shown of them."""
    by_reader: dict[str, list[Seen]] = {}
    for note in batch:
        by_reader.setdefault(note.principal, []).append(note)
    for principal, notes in by_reader.items():
        groups: dict[tuple[str, tuple[str, ...]], dict[str, None]] = {}
        for note in notes:
            for kind, id, fields in _shown(note):
                groups.setdefault((kind, fields), {})[id] = None
        span = {"since": notes[0].at, "until": notes[-1].at, "reads": len(notes)}
        for part in _parts(groups):
            yield principal, span | {"shown": part}


def _parts(groups: dict[tuple[str, tuple[str, ...]], dict[str, None]]) -> Iterable[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    room = IDS_PER_ROW
    for (kind, fields), found in groups.items():
        ids = list(found)
        while ids:
            part.append({"kind": kind, "fields": fields, "ids": ids[:room]})
            ids, room = ids[room:], room - len(ids[:room])
            if room == 0:
                yield part
                part, room = [], IDS_PER_ROW
    if part:
        yield part


def _shown(note: Seen) -> Iterable[Shown]:
    if note.body is None:
        return note.shown
    entities = _PAGE.decode(note.body).data if note.body.startswith(b'{"data":') else [_ONE.decode(note.body)]
    return [Shown(note.kind, _TEXT.decode(entity["id"]), tuple(sorted(entity))) for entity in entities]


def _entities(value: Any, kinds: dict[str, str]) -> Iterable[Shown]:
    if isinstance(value, list):
        for inner in value:
            yield from _entities(inner, kinds)
    elif isinstance(value, dict):
        id = value.get("id")
        kind = kinds.get(id.partition("_")[0]) if isinstance(id, str) else None
        if kind is not None and not {"table", "by"} & set(value):  # a reference tells no more than its own id
            yield Shown(kind, str(id), tuple(sorted(value)))
        for inner in value.values():
            yield from _entities(inner, kinds)


def _weight(note: Seen) -> int:
    return len(note.body or b"") + 200 * len(note.shown) + 200
