"""The incremental exports, cursor-based and time-based, and the feeds of what was deleted."""

from collections.abc import Iterator, Sequence
from dataclasses import replace as changed
from datetime import datetime
from typing import Any

import msgspec

from hub import Invalid, NotFound, Page, Stream, Temporary, Unauthorized
from hub_zendesk.client import Client, decode, ident
from hub_zendesk.cursors import Cursor, parse

PER_PAGE = 1000
_FEED_PAGES = 10
_FEED_PAGES_FULL = 100


class _CursorTail(msgspec.Struct):
    after_cursor: str | None = None
    end_of_stream: bool | None = None


class _WholeTail(msgspec.Struct):
    after_cursor: str | None
    end_of_stream: bool


_whole_tail = msgspec.json.Decoder(_WholeTail).decode


class _TimeTail(msgspec.Struct):
    end_time: int | None = None
    end_of_stream: bool | None = None
    count: int | None = None


class _Seen(msgspec.Struct):
    """A record as far as two pages can be compared; whatever is odd about it is the mapping's affair."""

    id: Any = None
    updated_at: Any = None

    @property
    def mark(self) -> tuple[str, str]:
        return repr(self.id), repr(self.updated_at)


class _Gone(msgspec.Struct):
    id: int
    deleted_at: str | None = None
    name: str | None = None


def cursor_export(client: Client, stream: Stream, start: Cursor) -> Iterator[tuple[Page, Cursor]]:
    """
    Read /incremental/{stream}/cursor.json from a cursor, else from the stream's `since`.

    The last page of an export that found nothing repeats the cursor it was asked with; such a page carries none.
    Raises Temporary if a page that is not the last does not move the cursor, Invalid (`bad_cursor`) if it is refused.
    """
    path, at, beside = f"/incremental/{stream.name}/cursor.json", start, _beside(stream)
    while True:
        asked = {"cursor": at.after} if at.after else {"start_time": _epoch(stream.since)}
        try:
            body = client.get(path, {**asked, "per_page": PER_PAGE, **beside})
        except Invalid as exc:
            if not at.after:
                raise
            raise Invalid(f"zendesk: the export of {stream.name} refuses its cursor", code="bad_cursor") from exc
        tail = _end_of(body) or decode(body, _CursorTail, f"/api/v2{path}")
        moved = tail.after_cursor is not None and tail.after_cursor != at.after
        if not moved and tail.end_of_stream is False:
            raise Temporary(f"zendesk: the export of {stream.name} does not move on; its cursor came twice")
        at = msgspec.structs.replace(at, after=tail.after_cursor) if moved else at
        yield Page(body=body, at=stream.name, cursor=at.text() if moved else None), at
        if tail.end_of_stream is not False:
            return


def _end_of(body: bytes) -> _CursorTail | None:
    """
    Read where an export goes on behind the last list of its page, where Zendesk writes it; None if it is not there.

    A page is megabytes long: reading all of it once more for two words costs as much as mapping it.
    """
    rest = body[body.rfind(b"]") + 1 :].lstrip()
    try:
        found = _whole_tail(b"{" + rest.removeprefix(b","))
    except msgspec.DecodeError:
        return None
    return _CursorTail(found.after_cursor, found.end_of_stream)


def time_export(
    client: Client, stream: Stream, path: str, start: int | None, **more: str
) -> Iterator[tuple[bytes, int | None]]:
    """
    Read a time-based export; give each body with the start_time that follows it (None: the answer names none).

    Where more than a page changed in one second, end_time cannot move: then the next second is asked for, so that the
    export ends. A start_time within the last minute is refused by Zendesk: nothing is new yet.
    """
    at = _epoch(stream.since) if start is None else start
    while True:
        try:
            body = client.get(path, {"start_time": at, "per_page": PER_PAGE, **more})
        except Invalid as exc:
            if exc.error_code != "too_recent":
                raise
            return
        tail = decode(body, _TimeTail, f"/api/v2{path}")
        last = tail.end_of_stream if tail.end_of_stream is not None else (tail.count or 0) < PER_PAGE
        if last:
            yield body, None if tail.end_time is None else max(tail.end_time, at)
            return
        if tail.end_time is None or tail.end_time < at:
            raise Temporary(f"zendesk: the export of {stream.name} does not move on; its end_time went back")
        at = tail.end_time if tail.end_time > at else at + 1
        yield body, at


def organizations(client: Client, stream: Stream, cursor: str | None) -> Iterator[Page]:
    """Read the organizations; what a page repeats of the one before it (the export's edges overlap) is left out."""
    known = parse(cursor).start
    seen: frozenset[tuple[str, str]] = frozenset()
    for body, following in time_export(client, stream, "/incremental/organizations.json", known):
        rows = decode(body, _Organizations, "/api/v2/incremental/organizations").organizations
        marks = [row.mark for row in rows]
        page = Page(body=body, at="organizations")
        if not seen.isdisjoint(marks):
            raws = decode(body, _RawOrganizations, "/api/v2/incremental/organizations").organizations
            page = Page(records=[bytes(raw) for raw, mark in zip(raws, marks, strict=True) if mark not in seen])
        if _stuck(rows, known, following):
            yield from _of_second(client, known or 0, frozenset(marks))
        seen = frozenset(marks)
        yield changed(page, cursor=time_cursor(following, known))
        known = following


def _stuck(rows: Sequence[_Seen], second: int | None, following: int | None) -> bool:
    """Tell whether a page is full of one second, behind which the export goes on with the next."""
    return bool(rows) and following == (second or 0) + 1 and {_second(row) for row in rows} == {second}


def _of_second(client: Client, second: int, seen: frozenset[tuple[str, str]]) -> Iterator[Page]:
    """Read what the export did not show of a second out of the list of all organizations."""
    for body in client.pages("/organizations.json"):
        rows = decode(body, _Organizations, "/api/v2/organizations").organizations
        raws = decode(body, _RawOrganizations, "/api/v2/organizations").organizations
        left = [
            bytes(raw) for raw, row in zip(raws, rows, strict=True) if _second(row) == second and row.mark not in seen
        ]
        if left:
            yield Page(records=left)


def _second(row: _Seen) -> int | None:
    try:
        return int(datetime.fromisoformat(row.updated_at).timestamp())
    except (TypeError, ValueError):
        return None


def time_cursor(following: int | None, known: int | None) -> str | None:
    """Give the cursor of a time-based page, None where it says nothing new."""
    return None if following is None or following == known else Cursor(start=following).text()


class _Organizations(msgspec.Struct):
    organizations: list[_Seen]


class _RawOrganizations(msgspec.Struct):
    organizations: list[msgspec.Raw]


def deleted_tickets(client: Client, at: Cursor) -> Iterator[Page]:
    """
    Read what /deleted_tickets.json holds that is newer than the last time, newest first.

    A second leg of at most 1,000: the export names deleted tickets too (status "deleted"). Those restored since are not
    in the feed.
    """
    ids: list[str] = []
    newest = at.deleted
    query = {"sort_by": "deleted_at", "sort_order": "desc"}
    try:
        for body in client.pages("/deleted_tickets.json", query, most=_FEED_PAGES):
            rows = decode(body, _DeletedTickets, "/api/v2/deleted_tickets").deleted_tickets
            fresh = [row for row in rows if at.deleted is None or (row.deleted_at or "") > at.deleted]
            ids += [str(row.id) for row in fresh]
            newest = max([newest or "", *(row.deleted_at or "" for row in fresh)]) or None
            if len(fresh) < len(rows):
                break
    except (Unauthorized, NotFound) as exc:
        yield from _without_feed(exc, "deleted_tickets")
        return
    if ids:
        yield Page(records=[], deleted=ids, cursor=msgspec.structs.replace(at, deleted=newest).text())


def deleted_users(client: Client, *, full: bool) -> Iterator[Page]:
    """
    Name the users whom /deleted_users.json calls permanently deleted; the rest are in the export with active = false.

    The feed has no order one can stop by: a full pull reads up to 10,000 of it, another 1,000.
    """
    ids: list[str] = []
    try:
        for body in client.pages("/deleted_users.json", most=_FEED_PAGES_FULL if full else _FEED_PAGES):
            rows = decode(body, _DeletedUsers, "/api/v2/deleted_users").deleted_users
            ids += [str(row.id) for row in rows if row.name == "Permanently Deleted User"]
    except (Unauthorized, NotFound) as exc:
        yield from _without_feed(exc, "deleted_users")
        return
    if ids:
        yield Page(records=[], deleted=ids)


class _DeletedTickets(msgspec.Struct):
    deleted_tickets: list[_Gone]


class _DeletedUsers(msgspec.Struct):
    deleted_users: list[_Gone]


def _without_feed(exc: Unauthorized | NotFound, name: str) -> Iterator[Page]:
    """Go on without a feed that this account may not read; credentials that are refused still stop the pull."""
    if isinstance(exc, Unauthorized) and exc.error_code != "forbidden":
        raise exc
    yield Page(
        records=[], warnings=[f"{name} cannot be read with these credentials; deletions come from the export only"]
    )


def by_ids(client: Client, stream: Stream, ids: list[str]) -> Page:
    """Read records by id through show_many, 100 at a time; ids that are not there come back as deleted."""
    wanted = [ident(one) for one in dict.fromkeys(ids)]
    raws: list[bytes] = []
    found: set[str] = set()
    for n in range(0, len(wanted), 100):
        path = f"/{stream.name}/show_many.json"
        body = client.get(path, {"ids": ",".join(wanted[n : n + 100]), **_beside(stream)})
        rows = decode(body, dict[str, msgspec.Raw], f"/api/v2{path}").get(stream.name, msgspec.Raw(b"[]"))
        raws += [bytes(raw) for raw in decode(bytes(rows), list[msgspec.Raw], f"/api/v2{path}")]
        found |= {str(row.id) for row in decode(bytes(rows), list[_Seen], f"/api/v2{path}")}
    return Page(records=raws, deleted=[one for one in wanted if one not in found])


def _beside(stream: Stream) -> dict[str, str]:
    """Ask for what a ticket does not hold by itself (its `metric_set`), where the mapping reads it."""
    wanted = stream.name == "tickets" and any(path.startswith("metric_set.") for path in stream.paths)
    return {"include": "metric_sets"} if wanted else {}


def _epoch(since: datetime | None) -> int:
    return 0 if since is None else max(0, int(since.timestamp()))
