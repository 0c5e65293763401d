"""
How Stripe is read: full lists first, then the events since, each object fetched by its id.

Stripe has no "changed since". Before the first list page the newest event is noted, so that nothing changed during
the lists is missed. Where the events of a gap are gone (they live 30 days), the lists are read again.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from hub import Change, NotFound, Page, Stream, Temporary
from hub_stripe import events
from hub_stripe.client import Client, Params, decode
from hub_stripe.objects import Listed, Objects

DAY_S = 86_400
KEPT_S = 29 * DAY_S  # events live 30 days; one is left for clocks that differ and for slow pulls
OVERLAP_S = 3_600
LAPS = 3
# "ended" is canceled and incomplete_expired; a list without a status leaves the canceled ones out
# (https://docs.stripe.com/api/subscriptions/list).
_PASSES: dict[str, tuple[Params, ...]] = {"subscriptions": ((), (("status", "ended"),))}


class Cursor(msgspec.Struct, omit_defaults=True):
    """
    Where a pull stands. `step` counts the passes over the lists, `after` is the last id of the page before.

    `event` is the newest event seen and `made` its time; `seen` is when Stripe last answered about events. Both times
    are Stripe's own. `lap` counts how often the lists were begun anew.
    """

    phase: Literal["list", "events"] = "list"
    step: int = 0
    after: str | None = None
    event: str | None = None
    made: int | None = None
    seen: int | None = None
    lap: int = 0
    v: Literal[1] = 1

    def __str__(self) -> str:
        return msgspec.json.encode({"v": self.v, **msgspec.to_builtins(self)}).decode()

    def at(self, event: events.Event) -> "Cursor":
        """Give this cursor moved on to an event."""
        return msgspec.structs.replace(self, event=event.id, made=event.created)


class _Events(msgspec.Struct):
    data: list[events.Event]
    has_more: bool


class _Charge(msgspec.Struct):
    payment_intent: str | None = None


@dataclass
class Pull:
    """Reads one stream of one account, page after page."""

    client: Client
    stream: Stream

    @cached_property
    def objects(self) -> Objects:
        return Objects(self.client, self.stream)

    def pages(self, text: str | None) -> Iterator[Page]:
        """Go on from a cursor, or begin."""
        cursor = _read(text)
        if cursor is None or _stale(cursor):
            cursor = self._begin()
        while cursor.phase == "list":
            body, cursor = self._list(cursor)
            records = self.objects.enriched(body)
            closed = cursor.phase == "events"
            gone = self._deleted() if closed else []
            more: dict[str, Any] = {"cursor": str(cursor), "complete": closed and self.stream.since is None}
            yield (
                Page(body=body, at="data", deleted=gone, **more)
                if records is None
                else Page(records=records, deleted=gone, **more)
            )
        yield from self._changes(cursor)

    def _deleted(self) -> list[str]:
        """Name what was deleted as far back as events go: lists leave it out, and the events to come start later."""
        types = [name for name in events.TYPES[self.stream.name] if name in events.DELETIONS]
        gone: dict[str, None] = {}
        more, after = bool(types), None
        while more:
            asked = [("types[]", name) for name in types] + [("limit", "100")]
            answer = self.client.get("/v1/events", [*asked, *([("starting_after", after)] if after else [])])
            found = decode(answer.body, _Events, "/v1/events")
            named = (change for event in found.data for change in self._named(event))
            gone |= {change.id: None for change in named if change.deleted}
            more = found.has_more and bool(found.data)
            after = found.data[-1].id if found.data else None
        return list(gone)

    def _begin(self) -> Cursor:
        found, seen = self._events(("limit", "1"))
        cursor = Cursor(seen=seen)
        return cursor.at(found.data[0]) if found.data else cursor

    def _list(self, cursor: Cursor) -> tuple[bytes, Cursor]:
        passes = _PASSES.get(self.stream.name, ((),))
        try:
            body = self.client.get(self.objects.path, self._params(cursor, passes[cursor.step])).body
        except NotFound:
            if cursor.after is None or cursor.lap >= LAPS:
                raise
            # The object that the last page ended with was deleted meanwhile: there is no place to go on from.
            return self._list(msgspec.structs.replace(cursor, step=0, after=None, lap=cursor.lap + 1))
        return body, _next(cursor, decode(body, Listed, self.objects.path), len(passes))

    def _params(self, cursor: Cursor, extra: Params) -> Params:
        since = self.stream.since
        return [
            ("limit", "100"),
            *extra,
            *([("starting_after", cursor.after)] if cursor.after else []),
            *([("created[gte]", str(int(since.timestamp())))] if since else []),
            *[("expand[]", f"data.{name}") for name in self.objects.expanded()],
        ]

    def _changes(self, cursor: Cursor) -> Iterator[Page]:
        told = cursor.seen or 0
        for found, now in self._since(cursor):
            if found:
                named = [change for event in found for change in self._named(event)]
                gone = {change.id: None for change in named if change.deleted}
                page = self.objects.fetch(change.id for change in named if change.id not in gone)
                yield Page(records=page.records, deleted=[*gone, *page.deleted], cursor=str(now))
            elif (now.seen or 0) - told >= DAY_S:
                yield Page(records=(), cursor=str(now))  # nothing happened, but the cursor must not look stale

    def _since(self, cursor: Cursor) -> Iterator[tuple[list[events.Event], Cursor]]:
        """Give the events after the cursor's, oldest first, each batch with the cursor it leads to."""
        if cursor.event is not None and not _old(cursor.made):
            try:
                yield from self._following(cursor)
            except NotFound:
                pass  # the event is gone: what is left of the feed is read
            else:
                return
        yield from self._kept(cursor)

    def _following(self, cursor: Cursor) -> Iterator[tuple[list[events.Event], Cursor]]:
        more = True
        while more:
            # Pages before an event come newest first, but nearest to it first.
            found, seen = self._events(("limit", "100"), ("ending_before", cursor.event or ""))
            cursor = msgspec.structs.replace(cursor, seen=seen or cursor.seen)
            cursor = cursor.at(found.data[0]) if found.data else cursor
            yield found.data[::-1], cursor
            more = found.has_more and bool(found.data)

    def _kept(self, cursor: Cursor) -> Iterator[tuple[list[events.Event], Cursor]]:
        """Read the feed back to the last time it was asked, at most all that Stripe keeps."""
        floor = (cursor.seen or OVERLAP_S) - OVERLAP_S
        kept: list[events.Event] = []
        seen, more, after = cursor.seen, True, None
        while more:
            found, seen = self._events(("limit", "100"), *([("starting_after", after)] if after else []))
            kept += [event for event in found.data if event.created >= floor]
            more = found.has_more and bool(found.data) and found.data[-1].created >= floor
            after = found.data[-1].id if found.data else None
        cursor = msgspec.structs.replace(cursor, seen=seen or cursor.seen)
        kept.reverse()
        for i in range(0, len(kept) or 1, 100):
            batch = kept[i : i + 100]
            yield batch, cursor.at(batch[-1]) if batch else cursor

    def _events(self, *params: tuple[str, str]) -> tuple[_Events, int | None]:
        types = [("types[]", name) for name in events.TYPES[self.stream.name]]
        answer = self.client.get("/v1/events", [*types, *params])
        return decode(answer.body, _Events, "/v1/events"), answer.at

    def _named(self, event: events.Event) -> list[Change]:
        named = events.changes(self.stream.name, event)
        charge = events.charge_of(event)
        if named is not None or charge is None:
            return named or []
        if self.stream.name == "refunds":
            body = self.client.get("/v1/refunds", [("charge", charge), ("limit", "100")]).body
            found = decode(body, Listed, "/v1/refunds").data
            return [Change("refunds", one.id, event.id) for one in found if isinstance(one.id, str)]
        body = self.client.get(f"/v1/charges/{quote(charge, safe='')}", what="/v1/charges/{id}").body
        intent = decode(body, _Charge, "/v1/charges/{id}").payment_intent
        return [Change("payment_intents", intent, event.id)] if intent else []


def _next(cursor: Cursor, found: Listed, passes: int) -> Cursor:
    if found.has_more:
        if not found.data or not isinstance(found.data[-1].id, str):
            raise Temporary("stripe: a list says that it has more, but nothing to go on from")
        return msgspec.structs.replace(cursor, after=found.data[-1].id)
    if cursor.step + 1 < passes:
        return msgspec.structs.replace(cursor, step=cursor.step + 1, after=None)
    return msgspec.structs.replace(cursor, phase="events", step=0, after=None, lap=0)


def _read(text: str | None) -> Cursor | None:
    """Read a stored cursor; one that another version wrote begins anew, which loses nothing."""
    try:
        return msgspec.json.decode(text, type=Cursor) if text else None
    except msgspec.DecodeError:
        return None


def _stale(cursor: Cursor) -> bool:
    return _old(cursor.seen or cursor.made)


def _old(at: int | None) -> bool:
    return at is not None and time.time() - at > KEPT_S
