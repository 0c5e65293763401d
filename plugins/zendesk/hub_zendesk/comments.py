"""Comments: out of the ticket events export for a pull, ticket by ticket for a fetch; each knows ticket and author."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from hub import Invalid, NotFound, Page, Stream
from hub_zendesk.client import Client, decode, ident
from hub_zendesk.cursors import parse
from hub_zendesk.exports import time_cursor, time_export

_COMMENTS = frozenset({"Comment", "VoiceComment"})
_CHANGED_LATER = frozenset({"CommentPrivacyChange", "CommentRedactionEvent", "AttachmentRedactionEvent"})
_STAFF = frozenset({"agent", "admin"})
_REMEMBERED = 50_000
_ID = re.compile(r"([1-9][0-9]{0,18})(?::([1-9][0-9]{0,18}))?")


class _Child(msgspec.Struct):
    """An event of a ticket; one that changes a field has that field's name and value beside, `type` too."""

    id: Any = None
    event_type: Any = None
    type: Any = None
    author_id: Any = None
    comment_id: Any = None
    created_at: Any = None

    @property
    def key(self) -> str:
        return str(self.id)

    def names(self, words: frozenset[str]) -> bool:
        """Say whether this is an event of one of these sorts."""
        return any(isinstance(word, str) and word in words for word in (self.event_type, self.type))


class _Event(msgspec.Struct):
    ticket_id: int
    created_at: Any = None
    child_events: list[msgspec.Raw] | None = None


class _Events(msgspec.Struct):
    ticket_events: list[_Event]


class _Comment(msgspec.Struct):
    id: Any = None
    author_id: Any = None


class _User(msgspec.Struct):
    id: int
    role: str | None = None


class _Comments(msgspec.Struct):
    comments: list[msgspec.Raw]
    users: list[_User] = []


class _Users(msgspec.Struct):
    users: list[_User]


class Comments:
    """
    The stream `comments` of one connection.

    A comment as Zendesk tells it names neither its ticket nor its author's role; both are added to the record as
    `ticket_id` and `author_role`. Which comment belongs to which ticket is remembered (the last 50,000 seen), so that
    a comment can be fetched by its own id too.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._ticket_of: dict[str, str] = {}

    def pull(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        """
        Read the ticket events export: its Comment events, and anew what was hidden or redacted since.

        Where the ticket is gone it cannot be read anew; then these comments come as deleted, for nobody can say any
        more that they are public.
        """
        known = parse(cursor).start
        staff: frozenset[int] | None = None
        before: frozenset[str] = frozenset()
        path = "/incremental/ticket_events.json"
        for body, following in time_export(self.client, stream, path, known, include="comment_events"):
            found, again = _split(decode(body, _Events, f"/api/v2{path}").ticket_events)
            if found and staff is None:
                staff = self._staff()
            current = {ticket: self._of_ticket(ticket, None) for ticket in again}
            hidden = {ticket: again[ticket] for ticket, (_, there) in current.items() if not there}
            records = [
                self._record(raw, ticket, child, staff or frozenset())
                for ticket, raw, child in found
                if child.key not in before and (ticket not in current or _still(child, hidden.get(ticket)))
            ]
            before = frozenset(child.key for _, _, child in found)
            records += [raw for rows, _ in current.values() for raw in rows]
            gone = [one for ids in hidden.values() for one in ids if one is not None]
            yield Page(records=records, deleted=gone, cursor=time_cursor(following, known))
            known = following

    def fetch(self, ids: Sequence[str]) -> Page:
        """
        Read comments anew: `TICKET` (all of a ticket), `TICKET:COMMENT`, or the id of a comment seen before.

        A comment that its ticket no longer has comes back as deleted; of a ticket that is gone nothing is said.
        """
        records: list[bytes] = []
        deleted: list[str] = []
        for ticket, comment in [self._place(one) for one in dict.fromkeys(ids)]:
            rows, there = self._of_ticket(ticket, comment)
            records += rows
            if comment is not None and there and not rows:
                deleted.append(comment)
        return Page(records=records, deleted=deleted)

    def _place(self, one: str) -> tuple[str, str | None]:
        found = _ID.fullmatch(str(one))
        if found is None:
            raise Invalid('zendesk: a comment is named "TICKET:COMMENT", both whole numbers', code="invalid_id")
        first, second = found[1], found[2]
        if second is None and first in self._ticket_of:
            return self._ticket_of[first], first
        return first, second

    def _of_ticket(self, ticket: str, only: str | None) -> tuple[list[bytes], bool]:
        """Give a ticket's comments (or one of them) as they are now, and whether the ticket is there."""
        rows: list[bytes] = []
        try:
            for body in self.client.pages(f"/tickets/{ident(ticket)}/comments.json", {"include": "users"}):
                page = decode(body, _Comments, "/api/v2/tickets/{id}/comments")
                roles = {user.id: user.role for user in page.users}
                for raw in page.comments:
                    comment = decode(bytes(raw), _Comment, "/api/v2/tickets/{id}/comments")
                    if only is None or str(comment.id) == only:
                        rows.append(_with(bytes(raw), ticket, _role(comment.author_id, roles)))
                        self._remember(str(comment.id), ticket)
        except NotFound:
            return [], False
        return rows, True

    def _record(self, raw: bytes, ticket: str, child: _Child, staff: frozenset[int]) -> bytes:
        self._remember(child.key, ticket)
        author = child.author_id
        role = _role(author, {author: "agent" if author in staff else "end-user"} if _is_id(author) else {})
        return _with(raw, ticket, role)

    def _remember(self, comment: str, ticket: str) -> None:
        if len(self._ticket_of) >= _REMEMBERED:
            self._ticket_of.clear()
        self._ticket_of[comment] = ticket

    def _staff(self) -> frozenset[int]:
        """Name the agents and admins: a few requests, where side-loads would be one for each page."""
        query = {"role[]": ["agent", "admin"]}
        users = [
            user
            for body in self.client.pages("/users.json", query)
            for user in decode(body, _Users, "/api/v2/users").users
        ]
        return frozenset(user.id for user in users if user.role in _STAFF)


def _split(events: Sequence[_Event]) -> tuple[list[tuple[str, bytes, _Child]], dict[str, set[str | None]]]:
    """Part comment events from the tickets of which a comment was hidden or redacted since, with those comments."""
    found: list[tuple[str, bytes, _Child]] = []
    again: dict[str, set[str | None]] = {}
    for event in events:
        for raw in event.child_events or ():
            child = decode(bytes(raw), _Child, "/api/v2/incremental/ticket_events")
            if child.names(_COMMENTS):
                found.append((str(event.ticket_id), _dated(bytes(raw), child, event), child))
            elif child.comment_id is not None or child.names(_CHANGED_LATER):
                which = None if child.comment_id is None else str(child.comment_id)
                again.setdefault(str(event.ticket_id), set()).add(which)
    return found, again


def _still(child: _Child, hidden: set[str | None] | None) -> bool:
    """Say whether a comment of a ticket that is gone is none of those hidden since; an event may not name which."""
    return hidden is not None and None not in hidden and child.key not in hidden


def _dated(raw: bytes, child: _Child, event: _Event) -> bytes:
    if child.created_at is not None or event.created_at is None:
        return raw
    return _put(raw, {"created_at": event.created_at})


def _is_id(value: Any) -> bool:
    return value.__class__ is int


def _role(author: Any, roles: Mapping[int, str | None]) -> str | None:
    """Give the side an author writes for; negative ids are Zendesk itself."""
    if not _is_id(author):
        return None
    role = "system" if author < 0 else roles.get(author)
    return "agent" if role in _STAFF else role


def _with(raw: bytes, ticket: str, role: str | None) -> bytes:
    return _put(raw, {"ticket_id": int(ticket), "author_role": role})


def _put(raw: bytes, more: dict[str, Any]) -> bytes:
    """Add members to a JSON object's text without reading the rest of it; of two of one name the last counts."""
    head, tail = raw.rstrip()[:-1].rstrip(), msgspec.json.encode(more)[1:]
    return head + (tail if head.endswith(b"{") else b"," + tail)
