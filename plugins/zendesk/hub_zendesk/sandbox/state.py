"""What the sandbox knows, and how it changes: records, comments, audits, a clock that ticks with every write."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from hub.sandbox import World
from hub_zendesk.sandbox import hooks, shapes

Record = dict[str, Any]
_START = datetime.fromisoformat("2026-11-01T12:00:00Z")


class State:
    """
    One account.

    `now` is the sandbox's own clock: the end of the world's story, a second further with every write, so that versions
    always grow. `events` are what webhooks would tell of what happened since.
    """

    def __init__(self, world: World) -> None:
        self.now = _START
        self.users: dict[int, Record] = {}
        self.identities: dict[int, list[str]] = {}
        self.organizations = {o["id"]: o for o in map(shapes.organization, world.companies)}
        self.tickets: dict[int, Record] = {}
        self.comments: dict[int, dict[int, Record]] = {}
        self.audits: dict[int, list[Record]] = {}
        self.deleted: dict[int, Record] = {}
        self.answers: dict[str, tuple[bytes, Record]] = {}
        self.events: list[Record] = []
        self.uploads: dict[str, Record] = {}
        self._next = 33150000000019
        self._people(world)
        for told in world.tickets:
            if told.system == "zendesk":
                self._known_ticket(told)

    def _people(self, world: World) -> None:
        asking = {told.person.n for told in world.tickets if told.system == "zendesk"}
        for staff in world.staff:
            self.users[shapes.staff_id(staff.n)] = shapes.agent(staff, world.companies[0].created)
        taken: set[str] = set()  # an e-mail address belongs to one user only: shared mailboxes stay with the first
        for person in world.people:
            if "zendesk" in person.systems or person.n in asking:
                email = person.email_in("zendesk")
                self.users[shapes.user_id(person.n)] = shapes.customer(person, None if email in taken else email)
                taken.add(email)

    def _known_ticket(self, told: Any) -> None:
        one = shapes.known_ticket(told)
        self.tickets[one["id"]] = one
        self.comments[one["id"]] = {}
        self.audits[one["id"]] = []
        for n, said in enumerate(told.comments):
            comment = shapes.known_comment(told, said)
            events = [shapes.comment_event(comment)]
            if n == 0:
                events.append(
                    {"id": comment["id"] + 64, "type": "Create", "value": one["status"], "field_name": "status"}
                )
            self.comments[one["id"]][comment["id"]] = comment
            self.audits[one["id"]].append(
                shapes.audit(comment["audit_id"], one["id"], comment["author_id"], comment["created_at"], events)
            )

    def tick(self) -> str:
        self.now += timedelta(seconds=1)
        return shapes.stamp(self.now)

    def new_id(self) -> int:
        self._next += 256
        return self._next

    def holder(self, address: str) -> int | None:
        """Name the user who has an address, as the first or as another one."""
        return next((one for one in self.users if address in (a.lower() for a in self.addresses(one))), None)

    def make_primary(self, one: int, address: str) -> None:
        """Make one of a user's addresses the first; the one that was it stays."""
        user, others = self.users[one], self.identities.setdefault(one, [])
        if user["email"] != address:
            others[:] = [*(a for a in others if a != address), *([user["email"]] if user["email"] else [])]
            user |= {"email": address, "updated_at": self.tick()}
            self.happened("user", "details_changed", user)

    def put_user(self, wanted: Mapping[str, Any], known: Record | None) -> tuple[Record, bool]:
        """Make an end-user, or change the one that is known; say which it was."""
        at, new = self.tick(), known is None
        if known is None:
            one = max(self.users) + 128
            known = self.users[one] = shapes.user(one, str(wanted["name"]), None, at)
        known |= {k: v for k, v in wanted.items() if k in known and k not in ("id", "url", "role")}
        known["updated_at"] = at
        self.happened("user", "created" if new else "details_changed", known)
        return known, new

    def happened(self, noun: str, what: str, record: Record) -> None:
        """Note an event about a record as it is now."""
        self.events.append(hooks.event(len(self.events), noun, what, record, shapes.stamp(self.now)))

    def add_ticket(self, wanted: Mapping[str, Any], author: int) -> tuple[Record, Record]:
        """Open a ticket; give it with its first audit."""
        at, one = self.tick(), max(self.tickets, default=shapes.ticket_id(0)) + 1
        said = dict(wanted.get("comment") or {"body": wanted.get("description", "")})
        requester = int(wanted.get("requester_id") or author)
        kept = {k: v for k, v in wanted.items() if k in SETTABLE}
        subject = wanted.get("subject")
        made = shapes.ticket(
            one, at, **{"requester_id": requester, "submitter_id": author, "subject": subject, "raw_subject": subject,
                        "description": said.get("body"), "organization_id": self.users[requester]["organization_id"],
                        "is_public": said.get("public", True), **kept},
        )  # fmt: skip
        self.tickets[one], self.comments[one], self.audits[one] = made, {}, []
        events = [{"id": self.new_id(), "type": "Create", "value": made["status"], "field_name": "status"}]
        self.happened("ticket", "created", made)
        return made, self._audit(one, author, at, [self._say(one, said, author, at), *events], wanted)

    def change_ticket(self, one: int, wanted: Mapping[str, Any], author: int) -> Record:
        """Apply an update; give its audit."""
        at, ticket = self.tick(), self.tickets[one]
        events: list[Record] = []
        if said := wanted.get("comment"):
            events.append(self._say(one, dict(said), author, at))
        for name, value in wanted.items():
            if name in SETTABLE and ticket.get(name) != value:
                change = {"type": "Change", "value": value, "field_name": name, "previous_value": ticket.get(name)}
                events.append({"id": self.new_id(), **change})
                ticket[name] = value
                if name == "subject":
                    ticket["raw_subject"] = value
        ticket["updated_at"] = at
        for event in events:
            what = "comment_added" if event["type"] == "Comment" else f"{event['field_name']}_changed"
            self.happened("ticket", what, ticket)
        return self._audit(one, author, at, events, wanted)

    def _say(self, one: int, said: Mapping[str, Any], author: int, at: str) -> Record:
        comment_id = self.new_id()
        body, public = str(said.get("body") or said.get("html_body") or ""), bool(said.get("public", True))
        comment = shapes.comment(comment_id, int(said.get("author_id") or author), body, public, at)
        comment["attachments"] = [self.uploads.pop(token) for token in said.get("uploads") or ()]
        self.comments[one][comment_id] = comment
        return shapes.comment_event(comment)

    def _audit(self, one: int, author: int, at: str, events: list[Record], wanted: Mapping[str, Any]) -> Record:
        first = events[0]["id"] if events else self.new_id()
        audit = shapes.audit(first - 128, one, author, at, events)
        audit["metadata"]["custom"] = dict(wanted.get("metadata") or {})
        self.audits[one].append(audit)
        return audit

    def hide_comment(self, one: int, comment: int, author: int) -> None:
        """Make a public comment internal, as an agent may afterwards."""
        at = self.tick()
        self.comments[one][comment]["public"] = False
        self.tickets[one]["updated_at"] = at
        event = {"id": self.new_id(), "type": "CommentPrivacyChange", "comment_id": comment, "public": False}
        self._audit(one, author, at, [event], {})
        self.happened("ticket", "comment_made_private", self.tickets[one])

    def redact_comment(self, one: int, comment: int, author: int) -> None:
        """Take the words out of a comment for good."""
        at, said = self.tick(), self.comments[one][comment]
        said |= dict.fromkeys(("body", "plain_body", "html_body"), "\N{LOWER SEVEN EIGHTHS BLOCK}" * 8)
        self.tickets[one]["updated_at"] = at
        self._audit(
            one, author, at, [{"id": self.new_id(), "type": "CommentRedactionEvent", "comment_id": comment}], {}
        )

    def delete_ticket(self, one: int, author: int) -> None:
        """Delete softly: the export says status deleted, the feed of deleted tickets names it."""
        at, ticket = self.tick(), self.tickets[one]
        self.deleted[one] = {
            "id": one, "subject": ticket["subject"], "deleted_at": at, "previous_state": ticket["status"],
            "actor": {"id": author, "name": self.users[author]["name"]},
        }  # fmt: skip
        ticket |= {"status": "deleted", "updated_at": at}
        self.happened("ticket", "soft_deleted", ticket)

    def restore_ticket(self, one: int) -> None:
        ticket, was = self.tickets[one], self.deleted.pop(one)
        ticket |= {"status": was["previous_state"], "updated_at": self.tick()}
        self.happened("ticket", "undeleted", ticket)

    def delete_user(self, one: int) -> None:
        self.users[one] |= {"active": False, "permanently_deleted": False, "email": None, "updated_at": self.tick()}
        self.happened("user", "active_changed", self.users[one])

    def merge_user(self, one: int, into: int) -> None:
        """Merge an end-user into another: tickets and addresses go over, the user that is given up is deleted."""
        email, at = self.users[one]["email"], self.tick()
        self.identities.setdefault(into, []).extend([*self.identities.pop(one, []), *([email] if email else [])])
        for ticket in self.tickets.values():
            if ticket["requester_id"] == one:
                ticket |= {"requester_id": into, "updated_at": at}
        self.users[into]["updated_at"] = at
        self.users[one] |= {"active": False, "permanently_deleted": False, "email": None, "updated_at": at}
        self.happened("user", "merged", self.users[one])

    def addresses(self, one: int) -> list[str]:
        """Give all e-mail addresses of a user, the first one first."""
        first = self.users[one]["email"]
        return [*([first] if first else []), *self.identities.get(one, [])]

    def erase_user(self, one: int) -> None:
        """Delete for good a user who was deleted before."""
        gone = {"name": "Permanently Deleted User", "email": None, "phone": None, "permanently_deleted": True}
        self.users[one] |= {**gone, "updated_at": self.tick()}
        self.happened("user", "deleted", self.users[one])

    def delete_organization(self, one: int) -> None:
        at = self.tick()
        self.organizations[one] |= {"deleted_at": at, "updated_at": at}
        self.happened("organization", "deleted", self.organizations[one])


SETTABLE = frozenset({
    "subject", "status", "priority", "type", "tags", "external_id", "assignee_id", "group_id", "custom_fields",
    "due_at", "problem_id", "brand_id", "ticket_form_id",
})  # fmt: skip
