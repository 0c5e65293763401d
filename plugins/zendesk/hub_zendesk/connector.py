"""Zendesk Support: users, organizations, tickets and comments come in; replies, notes and changes go out."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import requests

from hub import (
    Absent,
    Action,
    Call,
    CannotTell,
    Change,
    Checked,
    Connector,
    CustomerArchive,
    CustomerChangeEmail,
    CustomerCreate,
    CustomerLookup,
    CustomerUpdate,
    CustomerUpdateAddress,
    Field,
    Found,
    Limit,
    Outcome,
    Page,
    Stream,
    TicketAssign,
    TicketCreate,
    TicketEscalate,
    TicketNote,
    TicketReply,
    TicketSetStatus,
    TicketTag,
    Unauthorized,
    Unsupported,
    act,
    fetch,
    find,
    follow,
    pull,
    webhook,
)
from hub_zendesk import events, exports, fields, lookup, people, writes
from hub_zendesk.client import Client, ZendeskConfig, decode
from hub_zendesk.comments import Comments
from hub_zendesk.cursors import parse


class _User(msgspec.Struct):
    id: int | None = None
    role: str | None = None


class _Me(msgspec.Struct):
    user: _User


class ZendeskConnector(Connector):
    """One Zendesk account, spoken to through zenpy's signed session."""

    name = "zendesk"
    Config = ZendeskConfig
    sandbox = "hub_zendesk.sandbox:ZendeskSandbox"
    limits = (
        Limit("export", 10, per_s=60, match="/api/v2/incremental/", reserve=0),
        Limit("deleted", 10, per_s=60, match="/api/v2/deleted_tickets", reserve=0),
        Limit("api", 400, per_s=60),
    )

    def __init__(self, config: ZendeskConfig, transport: requests.Session) -> None:
        super().__init__(config, transport)
        self.client = Client(config, transport)
        self._comments = Comments(self.client)

    @classmethod
    def hosts(cls, config: ZendeskConfig) -> tuple[str, ...]:
        return (f"{config.subdomain}.zendesk.com",)

    def check(self) -> Checked:
        """Ask who we are. Bad credentials answer 401, none at all a user without an id."""
        me = decode(self.client.get("/users/me.json"), _Me, "/api/v2/users/me").user
        if me.id is None:
            raise Unauthorized("zendesk: the credentials name nobody; check email and token")
        notes = () if me.role == "admin" else ("the exports need an admin; this user is none",)
        return Checked(self.config.subdomain, None, (str(me.role),), "v2", notes)

    def describe(self, stream: str) -> list[Field]:
        return fields.describe(self.client, stream)

    @pull("tickets", deletes="feed", ahead=True, rising=True)
    def tickets(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        """Read the tickets' cursor export, then the feed of deleted tickets."""
        at = parse(cursor)
        for page, after in exports.cursor_export(self.client, stream, at):
            at = after
            yield page
        yield from exports.deleted_tickets(self.client, at)

    @pull("users", deletes="feed", ahead=True, rising=True)
    def users(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        """Read the users' cursor export, then the feed of deleted users."""
        for page, _ in exports.cursor_export(self.client, stream, parse(cursor)):
            yield page
        yield from exports.deleted_users(self.client, full=cursor is None)

    @pull("organizations", deletes="feed", ahead=True, rising=True)
    def organizations(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        """Read the time-based export; deleted organizations come in it with `deleted_at`."""
        return exports.organizations(self.client, stream, cursor)

    @pull("comments", rising=True)
    def comments(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        """Read the ticket events export with its comment events."""
        return self._comments.pull(stream, cursor)

    @fetch("tickets")
    @fetch("users")
    @fetch("organizations")
    def fetch_by_ids(self, stream: Stream, ids: list[str]) -> Page:
        return exports.by_ids(self.client, stream, ids)

    @fetch("comments")
    def fetch_comments(self, stream: Stream, ids: list[str]) -> Page:
        """Read comments by `TICKET`, `TICKET:COMMENT`, or by the id of a comment seen before."""
        return self._comments.fetch(ids)

    @follow("users")
    def follow_merged(self, stream: Stream, known: Mapping[str, str]) -> dict[str, str]:
        """Find the users into which these were merged: the export only shows that they are not active any more."""
        return lookup.survivors(self.client, known)

    @act(CustomerLookup, idempotency="set")
    def look_up(self, action: CustomerLookup, call: Call) -> Outcome:
        return lookup.look_up(self.client, action)

    @act(CustomerCreate, idempotency="upsert")
    def create_customer(self, action: Action, call: Call) -> Outcome:
        return people.create(self.client, call)

    @find(CustomerCreate)
    def find_created_customer(self, action: Action, call: Call) -> Found | Absent:
        return people.find_created(self.client, call)

    @act(CustomerArchive, idempotency="set")
    def archive_customer(self, action: Action, call: Call) -> Outcome:
        return people.archive(self.client, call)

    @find(CustomerArchive)
    def find_archived_customer(self, action: Action, call: Call) -> Found | Absent:
        return people.find_archived(self.client, call)

    @act(CustomerChangeEmail, idempotency="set")
    def change_email(self, action: Action, call: Call) -> Outcome:
        return people.change_email(self.client, call)

    @find(CustomerChangeEmail)
    def find_changed_email(self, action: Action, call: Call) -> Found | Absent:
        return people.find_email(self.client, call)

    @act(CustomerUpdate, idempotency="set")
    @act(CustomerUpdateAddress, idempotency="set")
    def update_customer(self, action: Action, call: Call) -> Outcome:
        return writes.update_user(self.client, call)

    @find(CustomerUpdate)
    @find(CustomerUpdateAddress)
    def find_customer_update(self, action: Action, call: Call) -> Found | Absent:
        return writes.find_user_update(self.client, call)

    @act(TicketCreate, idempotency="native")
    def create_ticket(self, action: Action, call: Call) -> Outcome:
        return writes.create(self.client, call)

    @find(TicketCreate)
    def find_created_ticket(self, action: Action, call: Call) -> Found | CannotTell:
        return writes.find_created(self.client, call)

    @act(TicketReply, idempotency="marker", takes=("attachments",))
    def reply(self, action: TicketReply, call: Call) -> Outcome:
        files = action.attachments
        return writes.comment(self.client, call, public=True, force_close=self._force_close, files=files)

    @act(TicketNote, idempotency="marker", takes=("attachments",))
    def note(self, action: TicketNote, call: Call) -> Outcome:
        files = action.attachments
        return writes.comment(self.client, call, public=False, force_close=self._force_close, files=files)

    @act(TicketSetStatus, idempotency="set", takes=("resolution", "note"))
    def set_status(self, action: Action, call: Call) -> Outcome:
        """Set the status; what is to be noted goes in the same update, under the same marker."""
        if "message" in call.parts:
            return writes.comment(self.client, call, public=False, force_close=self._force_close)
        return writes.set_fields(self.client, call, force_close=self._force_close)

    @act(TicketAssign, idempotency="set")
    def assign(self, action: Action, call: Call) -> Outcome:
        return writes.assign(self.client, call, force_close=self._force_close)

    @act(TicketTag, idempotency="set")
    def tag(self, action: Action, call: Call) -> Outcome:
        return writes.tag(self.client, call)

    @act(TicketEscalate, idempotency="marker")
    def escalate(self, action: Action, call: Call) -> Outcome:
        """Raise the priority and say why, in one update."""
        return writes.comment(self.client, call, public=False, force_close=self._force_close)

    @find(TicketReply)
    @find(TicketNote)
    @find(TicketSetStatus)
    @find(TicketAssign)
    @find(TicketTag)
    @find(TicketEscalate)
    def find_ticket_update(self, action: Action, call: Call) -> Found | Absent | CannotTell:
        return writes.find_update(self.client, call)

    @webhook
    def receive(self, body: bytes, headers: Mapping[str, str]) -> list[Change]:
        """Verify the signature (at most 300 s old) and name what changed; a trigger's own webhooks name nothing."""
        config: Any = self.config
        if config.webhook_secret is None:
            raise Unsupported("zendesk: webhook_secret is not configured; set the webhook's signing secret")
        events.verify(config.webhook_secret.get_secret_value(), body, headers)
        return events.changes(body)

    @property
    def _force_close(self) -> bool:
        config: Any = self.config
        return bool(config.force_close)
