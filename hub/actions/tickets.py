"""Verbs about tickets."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, StringConstraints, model_validator

from hub.actions.declare import FILES_BYTES, NO_FILES, Action, Files, On, Reference, Risk, Short, Text, Undo
from hub.records import TicketPriority, TicketStatus, TicketType

NEW = "new"
"""Stands for a record that an earlier step of the same run makes."""
FILES = f"files that go with it, of {FILES_BYTES:,} bytes together at most, where a system takes them"
Tag = Annotated[str, StringConstraints(pattern=r"^[^\s,]{1,80}$")]


class TicketCreate(Action):
    """Open a ticket for a customer."""

    name = "ticket.create"
    title = "Create a ticket"
    risk = Risk.R2
    on = On("customer", "customer_ref")
    reversal = "ticket.set_status"
    residue = "the ticket stays, as solved; whoever was told of it has read it"
    optional = frozenset({"order_refs"})

    customer_ref: Reference
    subject: Annotated[str, StringConstraints(min_length=1, max_length=150, strip_whitespace=True)]
    body: Text
    visibility: Literal["public", "internal"] = "public"
    priority: TicketPriority | None = None
    type: TicketType | None = None
    tags: list[Short] | None = None
    order_refs: list[Short] | None = Field(None, description="numbers of the orders it is about")
    connection: Short | None = Field(None, description="where to open it; needed only when several connections can")
    dedupe_window_h: Annotated[int, Field(strict=True, ge=1, le=168)] | None = Field(
        None, description="for how many hours the same ticket counts as a duplicate under another key"
    )

    def changes(self) -> dict[str, dict[str, Any]]:
        ticket: dict[str, Any] = {"subject": self.subject, "priority": self.priority, "type": self.type}
        ticket |= {"tags": self.tags, "order_refs": self.order_refs}
        return {
            "ticket": {k: v for k, v in ticket.items() if v is not None},
            "message": {"body_text": self.body, "visibility": self.visibility},
        }

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        if made is None:
            return "the new ticket is not known yet"
        return Undo("ticket.set_status", {"ticket_ref": made, "status": "solved"}, self.residue)


class TicketReply(Action):
    """Answer a ticket so that the customer reads it."""

    name = "ticket.reply"
    title = "Reply to a ticket"
    risk = Risk.R2
    on = On("ticket", "ticket_ref")
    residue = "what the customer has read stays read"
    optional = frozenset({"body_html"})
    special = MappingProxyType({"attachments": NO_FILES})

    ticket_ref: Reference
    body: Text
    html: Text | None = Field(
        None, description="the same with mark-up, where a system takes that; body is left as it is"
    )
    set_status: TicketStatus | None = None
    attachments: Files | None = Field(None, description=FILES)

    def changes(self) -> dict[str, dict[str, Any]]:
        html = {"body_html": self.html} if self.html is not None else {}
        message = {"message": {"body_text": self.body, **html, "visibility": "public"}}
        return message | ({"ticket": {"status": self.set_status.value}} if self.set_status else {})


class TicketNote(Action):
    """Leave a note that only staff can read."""

    name = "ticket.note"
    title = "Add an internal note"
    risk = Risk.R1
    on = On("ticket", "ticket_ref")
    residue = "the note stays; only staff can read it"
    special = MappingProxyType({"attachments": NO_FILES})

    ticket_ref: Reference
    body: Text
    attachments: Files | None = Field(None, description=FILES)

    def changes(self) -> dict[str, dict[str, Any]]:
        return {"message": {"body_text": self.body, "visibility": "internal"}}


RESOLUTION = "how it was settled: in the system's own field where there is one, else in a note for staff"


def _resolved(resolution: str | None, note: str | None) -> str | None:
    """Say in one note how a ticket was settled and what else there is to say."""
    said = [*([f"Resolution: {resolution}"] if resolution else []), *([note] if note else [])]
    return "\n\n".join(said) or None


SettableStatus = Literal["open", "pending", "on_hold", "solved", "closed"]


class TicketSetStatus(Action):
    """Move a ticket to another status."""

    name = "ticket.set_status"
    title = "Set a ticket's status"
    risk = Risk.R2
    on = On("ticket", "ticket_ref")
    reversal = "ticket.set_status"
    residue = "a ticket that was new becomes open; one that is closed for good stays closed"
    special = MappingProxyType(dict.fromkeys(("resolution", "note"), "ticket.note says it in a note"))

    ticket_ref: Reference
    status: SettableStatus
    resolution: Text | None = Field(None, description=RESOLUTION)
    note: Text | None = Field(None, description="why, for staff only, in the same update")

    def told(self) -> "TicketSetStatus":
        """Give the same with the resolution in the note."""
        return self.model_copy(update={"resolution": None, "note": _resolved(self.resolution, self.note)})

    def changes(self) -> dict[str, dict[str, Any]]:
        resolution = {"resolution": self.resolution} if self.resolution is not None else {}
        message = {"message": {"body_text": self.note, "visibility": "internal"}} if self.note is not None else {}
        return {"ticket": {"status": self.status, **resolution}, **message}

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        was = before.get("status")
        if target is None or was is None:
            return "the status before is not known"
        if self.status == "closed":
            return "closed may be final; open a new ticket"
        again, residue = ("open", "the ticket was new") if was == "new" else (was, None)
        if self.note is not None or self.resolution is not None:
            residue = "; ".join(filter(None, (residue, "what was noted stays")))
        if again not in get_args(SettableStatus):
            return f"{again} is no status that can be set"
        return Undo("ticket.set_status", {"ticket_ref": target, "status": again}, residue)


class _Move(Action):
    """A move to one status, with a note for staff where one is given."""

    risk = Risk.R2
    on = On("ticket", "ticket_ref")
    reversal = "ticket.set_status"
    needs = "ticket.set_status"
    to: ClassVar[SettableStatus]

    ticket_ref: Reference
    note: Text | None = Field(None, description="why, for staff only")

    def parts(self, target: str) -> tuple[Action, ...]:
        move = TicketSetStatus(ticket_ref=target, status=self.to)
        return (move,) if self.note is None else (move, TicketNote(ticket_ref=target, body=self.note))


class TicketSolve(_Move):
    """Call a ticket solved; the customer may still answer."""

    name = "ticket.solve"
    title = "Solve a ticket"
    residue = "a ticket that was new becomes open; a note stays"
    to = "solved"

    resolution: Text | None = Field(None, description=RESOLUTION)

    def told(self) -> "TicketSolve":
        """Give the same with the resolution in the note."""
        return self.model_copy(update={"resolution": None, "note": _resolved(self.resolution, self.note)})

    def parts(self, target: str) -> tuple[Action, ...]:
        move, *note = super().parts(target)
        return (move.model_copy(update={"resolution": self.resolution}), *note)


class TicketReopen(_Move):
    """Take a ticket up again; one that is closed for good needs a new one."""

    name = "ticket.reopen"
    title = "Reopen a ticket"
    residue = "a note stays"
    to = "open"


class TicketAssign(Action):
    """Give a ticket to a member of staff, or to a group."""

    name = "ticket.assign"
    title = "Assign a ticket"
    risk = Risk.R1
    on = On("ticket", "ticket_ref")
    reversal = "ticket.assign"
    residue = "a ticket that nobody had cannot be made nobody's again"

    ticket_ref: Reference
    assignee: Short | None = Field(None, description="the member of staff, by the id that the ticket's system gives")
    group: Short | None = Field(None, description="the group or queue, by the id that the ticket's system gives")

    @model_validator(mode="after")
    def _somebody(self) -> "TicketAssign":
        if self.assignee is None and self.group is None:
            raise ValueError("give assignee, group, or both")
        return self

    def changes(self) -> dict[str, dict[str, Any]]:
        wanted = {"assignee_ref": self.assignee, "group_ref": self.group}
        return {"ticket": {name: value for name, value in wanted.items() if value is not None}}

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        had = {"assignee": _id(before.get("assignee_ref")), "group": _id(before.get("group_ref"))}
        known = {name: value for name, value in had.items() if value is not None}
        if target is None or not known:
            return "nobody had the ticket before"
        return Undo("ticket.assign", {"ticket_ref": target, **known})


def _id(ref: Any) -> str | None:
    """Give the remote id of a reference as records hold it: an object, or the id alone."""
    found = ref.get("remote_id") if isinstance(ref, Mapping) else ref
    return str(found) if found is not None else None


class TicketTag(Action):
    """Add tags to a ticket, and take tags away."""

    name = "ticket.tag"
    title = "Tag a ticket"
    risk = Risk.R1
    on = On("ticket", "ticket_ref")
    reversal = "ticket.tag"
    residue = "a tag that was there before goes too, where it was added again"

    ticket_ref: Reference
    add: list[Tag] = Field(default_factory=list, max_length=50)
    remove: list[Tag] = Field(default_factory=list, max_length=50)

    @model_validator(mode="after")
    def _something(self) -> "TicketTag":
        if not self.add and not self.remove:
            raise ValueError("give add, remove, or both")
        if set(self.add) & set(self.remove):
            raise ValueError("a tag is either added or removed")
        return self

    def undo(self, target: str | None, before: Mapping[str, Any], made: str | None) -> Undo | str | None:
        return Undo("ticket.tag", {"ticket_ref": target, "add": self.remove, "remove": self.add}, self.residue)


class TicketEscalate(Action):
    """Raise a ticket's priority, mark it as escalated where a system knows that, and tell staff why in a note."""

    name = "ticket.escalate"
    title = "Escalate a ticket"
    risk = Risk.R1
    on = On("ticket", "ticket_ref")
    residue = "the note stays; set the priority back where the ticket lives"
    optional = frozenset({"is_escalated"})

    ticket_ref: Reference
    level: Literal["high", "urgent"] = "high"
    reason: Text

    def changes(self) -> dict[str, dict[str, Any]]:
        ticket = {"priority": self.level, "is_escalated": True}
        return {"ticket": ticket, "message": {"body_text": self.reason, "visibility": "internal"}}


class AgentHandoff(Action):
    """
    Hand a conversation over to people: a note for staff, tags, the queue, and the ticket open.

    A customer without a ticket gets one first. Several steps: what one system cannot do is left out and told; what is
    done stays visible where a later step fails.
    """

    name = "agent.handoff"
    title = "Hand over to people"
    risk = Risk.R1
    on = On("ticket", "ticket_ref")
    reversal = "ticket.tag"
    residue = "the note stays; only staff can read it"
    needs = "ticket.note"

    ticket_ref: Reference | None = None
    customer_ref: Reference | None = Field(None, description="where there is no ticket yet: one is opened")
    connection: Short | None = Field(None, description="where to open it; needed only when several connections can")
    summary: Text
    reason: Short
    queue: Short | None = Field(None, description="the group, by the id that the ticket's system gives")
    urgency: Literal["normal", "high", "urgent"] = "normal"
    facts: list[Short] = Field(default_factory=list, max_length=50)

    @model_validator(mode="after")
    def _exactly_one(self) -> "AgentHandoff":
        if (self.ticket_ref is None) == (self.customer_ref is None):
            raise ValueError("give exactly one of ticket_ref, customer_ref")
        return self

    def works_on(self) -> On | None:
        return self.on if self.ticket_ref is not None else On("customer", "customer_ref")

    def parts(self, target: str) -> tuple[Action, ...]:
        """Give the steps on the ticket; for a customer, whose id is `target`, the ticket is made by the first."""
        opening: list[Action] = []
        if self.customer_ref is not None:
            subject = f"Handed over: {self.reason}"[:150]
            opening.append(TicketCreate(customer_ref=target, subject=subject, body=subject, visibility="internal"))
            target = NEW
        lines = [f"Handed over: {self.reason}", "", self.summary, *(f"- {fact}" for fact in self.facts)]
        steps: list[Action] = [*opening, TicketNote(ticket_ref=target, body="\n".join(lines))]
        if self.queue is not None:
            steps.append(TicketAssign(ticket_ref=target, assignee=None, group=self.queue))
        steps += [TicketTag(ticket_ref=target, add=self._tags()), TicketSetStatus(ticket_ref=target, status="open")]
        return tuple(steps)

    def _tags(self) -> list[str]:
        return ["handoff"] if self.urgency == "normal" else ["handoff", self.urgency]
