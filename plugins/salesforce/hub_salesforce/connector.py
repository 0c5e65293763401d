"""The Salesforce connector: any sObject in, cases, comments, contacts and orders out."""

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import requests

from hub import (
    Absent,
    Action,
    Call,
    CannotTell,
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
    OrderCancel,
    OrderUpdateShippingAddress,
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
    act,
    fetch,
    find,
    pull,
)
from hub_salesforce import cases, people, records, topics
from hub_salesforce.client import Client, valid_id
from hub_salesforce.config import SalesforceConfig
from hub_salesforce.pages import Reader
from hub_salesforce.schema import Org, Schema

_NOT_LIVE = frozenset(("Developer Edition", "Partner Developer Edition"))


class SalesforceConnector(Connector):
    """
    Any sObject that the mapping names, by its own name.

    Reads go in order of (SystemModstamp, Id), so that a pull can go on from any page; deletions are read from the
    recycle bin by a second query.
    """

    name = "salesforce"
    Config = SalesforceConfig
    sandbox = "hub_salesforce.sandbox:SalesforceSandbox"
    # Salesforce limits calls per day and, per moment, only those that run long. This keeps a pull from eating the day.
    limits = (Limit("api", 100, per_s=20),)

    def __init__(self, config: SalesforceConfig, transport: requests.Session) -> None:
        super().__init__(config, transport)
        self._client: Client | None = None
        self._lock = threading.Lock()
        self.schema = Schema(lambda: self.client)

    @classmethod
    def hosts(cls, config: SalesforceConfig) -> tuple[str, ...]:
        """Name the instance, and the host that signs in; the instance a log-in names is added then."""
        login = config.login_domain
        named = (config.instance, f"{login}.salesforce.com" if login else None)
        return tuple(host for host in named if host)

    @property
    def client(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = Client(self.config, self.transport)
            return self._client

    @property
    def org(self) -> Org:
        return Org(self.client, self.schema)

    def check(self) -> Checked:
        """Read the organisation's own record: its id, and whether it is a sandbox."""
        soql = "SELECT Id, IsSandbox, OrganizationType FROM Organization LIMIT 1"
        rows = self.client.query(soql, "check")
        org: Mapping[str, Any] = rows[0] if rows else {}
        live = None if org.get("IsSandbox") is None else not org["IsSandbox"]
        if org.get("OrganizationType") in _NOT_LIVE:
            live = False
        used = self.client.used_percent()
        return Checked(
            account=str(org.get("Id") or self.client.organization_of_token() or self.client.instance)[:18],
            live=live,
            api_version=self.config.api_version,
            notes=() if used is None else (f"{used:.1f} % of the daily API calls are used",),
        )

    def describe(self, stream: str) -> list[Field]:
        """Name the fields of an sObject as this org has them now."""
        self.schema.forget(stream)
        return self.schema.get(stream).fields()

    @pull("*", deletes="feed", rising=True)
    def pull_any(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        """Pull an sObject; one that the org lacks gives a warning and no rows."""
        return Reader(self.client, self.schema, self.config, stream).pull(cursor)

    @fetch("*")
    def fetch_any(self, stream: Stream, ids: list[str]) -> Page:
        """Read these records as they are now."""
        wanted = [valid_id(one) for one in ids]
        return Reader(self.client, self.schema, self.config, stream).fetch(wanted)

    @act(CustomerLookup, idempotency="set")
    def lookup(self, action: Action, call: Call) -> Outcome:
        """Look for contacts by e-mail, phone, case or order number; the hub fetches what is found."""
        return records.lookup(self.org, call)

    @act(CustomerCreate, idempotency="upsert")
    def create_contact(self, action: Action, call: Call) -> Outcome:
        """Make a contact under its own number, or under the run's key."""
        return people.create(self.org, call)

    @find(CustomerCreate)
    def find_contact(self, action: Action, call: Call) -> Found | Absent | CannotTell:
        """Look for the contact by that number."""
        return people.find_created(self.org, call)

    @act(CustomerArchive, idempotency="set")
    def archive(self, action: Action, call: Call) -> Outcome:
        """Put a contact into the recycle bin."""
        return people.archive(self.org, call)

    @find(CustomerArchive)
    def find_archived(self, action: Action, call: Call) -> Found | Absent | CannotTell:
        """Look whether the contact is gone."""
        return people.find_archived(self.org, call)

    @act(OrderCancel, idempotency="set")
    def cancel(self, action: Action, call: Call) -> Outcome:
        """Cancel an order that is a draft still."""
        return records.cancel(self.org, call)

    @act(TicketAssign, idempotency="set")
    def assign(self, action: Action, call: Call) -> Outcome:
        """Give a case to a user or a queue."""
        return records.assign(self.org, call)

    @act(TicketTag, idempotency="set")
    def tag(self, action: Action, call: Call) -> Outcome:
        """Add and take away topics of a case."""
        return topics.tag(self.org, call)

    @find(TicketTag)
    def find_tag(self, action: Action, call: Call) -> Found | Absent | CannotTell:
        """Say whether the case has these topics."""
        return topics.find_tag(self.org, call)

    @act(CustomerUpdate, idempotency="set")
    @act(CustomerUpdateAddress, idempotency="set")
    @act(CustomerChangeEmail, idempotency="set")
    @act(OrderUpdateShippingAddress, idempotency="set")
    def update(self, action: Action, call: Call) -> Outcome:
        """Set fields of the target's own record to the given values."""
        return records.update(self.org, call)

    @find(OrderCancel)
    @find(TicketAssign)
    @find(CustomerUpdate)
    @find(CustomerUpdateAddress)
    @find(CustomerChangeEmail)
    @find(OrderUpdateShippingAddress)
    def find_update(self, action: Action, call: Call) -> Found | Absent | CannotTell:
        """Say whether the record has the values; setting them again does no harm."""
        return records.find_update(self.org, call)

    @act(TicketSetStatus, idempotency="set", takes=("resolution", "note"))
    def set_status(self, action: Action, call: Call) -> Outcome:
        """Set the status, and comment on it for staff where that is asked for, all or nothing."""
        if "message" in call.parts:
            return cases.comment(self.org, call, public=False)
        return records.update(self.org, call)

    @find(TicketSetStatus)
    def find_set_status(self, action: Action, call: Call) -> Found | Absent | CannotTell:
        """Say whether the case has the status; with a note, whether the one note with this text is there, too."""
        if "message" in call.parts:
            return cases.find_comment(self.org, call, public=False)
        return records.find_update(self.org, call)

    @act(TicketCreate, idempotency="upsert")
    def create(self, action: Action, call: Call) -> Outcome:
        """Open a case under the run's key, with its first comment, both or neither."""
        return cases.create(self.org, call)

    @find(TicketCreate)
    def find_create(self, action: Action, call: Call) -> Found | Absent | CannotTell:
        """Look for the case under the run's key."""
        return cases.find_create(self.org, call)

    @act(TicketReply, idempotency="marker")
    def reply(self, action: Action, call: Call) -> Outcome:
        """Add a comment that the customer can read, and set the status where that is asked for."""
        return cases.comment(self.org, call, public=True)

    @act(TicketNote, idempotency="marker")
    def note(self, action: Action, call: Call) -> Outcome:
        """Add a comment that only staff can read."""
        return cases.comment(self.org, call, public=False)

    @act(TicketEscalate, idempotency="marker")
    def escalate(self, action: Action, call: Call) -> Outcome:
        """Raise the case's priority, mark it as escalated, and say why to staff, all or nothing."""
        return cases.comment(self.org, call, public=False)

    @find(TicketReply)
    def find_reply(self, action: Action, call: Call) -> Found | Absent | CannotTell:
        """Look for the one comment with this text by this user; comments hold no key, so none proves nothing."""
        return cases.find_comment(self.org, call, public=True)

    @find(TicketNote)
    @find(TicketEscalate)
    def find_note(self, action: Action, call: Call) -> Found | Absent | CannotTell:
        """Look for the one note with this text by this user."""
        return cases.find_comment(self.org, call, public=False)
