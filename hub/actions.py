"""
The verbs of the unified catalogue, each declared once.

REST routes, CLI commands, tool schemas and the docs table are derived from these classes. Names, effects and risk
follow docs/actions.md. References take a hub id (`tkt_…`) or `connection/stream/remote_id`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from hub.errors import Invalid
from hub.money import Money, parse
from hub.records import RefundReason, TicketPriority, TicketStatus, TicketType

Text = Annotated[str, StringConstraints(min_length=1, max_length=32_000, strip_whitespace=True)]
Short = Annotated[str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True)]
Reference = Annotated[str, StringConstraints(min_length=3, max_length=300)]


class Risk(StrEnum):
    """R0 read, R1 internal write, R2 customer-visible or reversible, R3 money or entitlement, R4 irreversible."""

    R0 = "R0"
    R1 = "R1"
    R2 = "R2"
    R3 = "R3"
    R4 = "R4"


@dataclass(frozen=True)
class On:
    """What an action works on: the kind, and the input field that refers to it."""

    kind: str
    field: str


class Action(BaseModel):
    """
    A verb: typed input plus what the hub must know to run it safely.

    `on` names the target, `reveals` the unified fields an answer may show, `reversal` the action (or words) that
    undoes it, or None. `changes()` tells what the input means in unified fields, per kind, the main kind first: the
    mapping's write side turns that into the vendor's words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    title: ClassVar[str]
    risk: ClassVar[Risk]
    on: ClassVar[On | None] = None
    reveals: ClassVar[tuple[str, ...]] = ()
    reversal: ClassVar[str | None] = None

    def changes(self) -> dict[str, dict[str, Any]]:
        """Give {kind: {unified field: value}} that this input asks for."""
        return {}

    @property
    def amount_of_money(self) -> Money | None:
        """The money this moves, or None; policy bands look at it."""
        return None


class Address(BaseModel):
    """A postal address; `country_code` is ISO 3166-1 alpha-2."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    line1: Short
    line2: Short | None = None
    city: Short
    region: Short | None = None
    postal_code: Annotated[str, StringConstraints(min_length=1, max_length=20, strip_whitespace=True)]
    country_code: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    recipient_name: Short | None = None
    phone: Short | None = None


class Amount(BaseModel):
    """
    Money to move, as the unified model has it: `{"amount": 1250, "currency": "EUR"}`, `amount` in minor units.

    The string "12.50 EUR" is taken too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    amount: Annotated[int, Field(strict=True, gt=0, le=10**12)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            money = parse(value)
        except Invalid as exc:
            raise ValueError(exc.message) from exc
        return {"amount": money.amount, "currency": money.currency}

    def money(self) -> Money:
        return Money(self.amount, self.currency)


class CustomerLookup(Action):
    """Find the one customer that an e-mail, phone, order number, ticket or external id belongs to."""

    name = "customer.lookup"
    title = "Look up a customer"
    risk = Risk.R0
    reveals = ("id", "display_name", "email", "phone", "status", "connections")

    email: Short | None = None
    phone: Short | None = None
    order_number: Short | None = None
    ticket_id: Short | None = None
    external_ref: Short | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "CustomerLookup":
        if len(self.model_fields_set & {k for k, v in self if v is not None}) != 1:
            raise ValueError("give exactly one of email, phone, order_number, ticket_id, external_ref")
        return self


class CustomerChanges(BaseModel):
    """The harmless fields of a customer. Contact data has actions of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    display_name: Short | None = None
    given_name: Short | None = None
    family_name: Short | None = None
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] | None = None
    timezone: Short | None = None
    job_title: Short | None = None
    custom: dict[str, Any] | None = None


class CustomerUpdate(Action):
    """Change a customer's name, language, time zone, job title or custom fields."""

    name = "customer.update"
    title = "Update a customer"
    risk = Risk.R2
    on = On("customer", "customer_ref")
    reversal = "customer.update with the previous values"

    customer_ref: Reference
    changes_: Annotated[CustomerChanges, Field(alias="changes")]
    targets: list[Short] | None = Field(
        None, description="connections to write to; all that hold the customer by default"
    )

    @model_validator(mode="after")
    def _something(self) -> "CustomerUpdate":
        if not self.changes_.model_dump(exclude_none=True):
            raise ValueError("changes: name at least one field")
        return self

    def changes(self) -> dict[str, dict[str, Any]]:
        return {"customer": self.changes_.model_dump(exclude_none=True)}


class TicketCreate(Action):
    """Open a ticket for a customer."""

    name = "ticket.create"
    title = "Create a ticket"
    risk = Risk.R2
    on = On("customer", "customer_ref")
    reversal = "ticket.set_status closed"

    customer_ref: Reference
    subject: Annotated[str, StringConstraints(min_length=1, max_length=150, strip_whitespace=True)]
    body: Text
    visibility: Literal["public", "internal"] = "public"
    priority: TicketPriority | None = None
    type: TicketType | None = None
    tags: list[Short] | None = None
    connection: Short | None = Field(None, description="where to open it; needed only when several connections can")

    def changes(self) -> dict[str, dict[str, Any]]:
        ticket = {"subject": self.subject, "priority": self.priority, "type": self.type, "tags": self.tags}
        return {
            "ticket": {k: v for k, v in ticket.items() if v is not None},
            "message": {"body_text": self.body, "visibility": self.visibility},
        }


class TicketReply(Action):
    """Answer a ticket so that the customer reads it."""

    name = "ticket.reply"
    title = "Reply to a ticket"
    risk = Risk.R2
    on = On("ticket", "ticket_ref")

    ticket_ref: Reference
    body: Text
    set_status: TicketStatus | None = None

    def changes(self) -> dict[str, dict[str, Any]]:
        message = {"message": {"body_text": self.body, "visibility": "public"}}
        return message | ({"ticket": {"status": self.set_status.value}} if self.set_status else {})


class TicketNote(Action):
    """Leave a note that only staff can read."""

    name = "ticket.note"
    title = "Add an internal note"
    risk = Risk.R1
    on = On("ticket", "ticket_ref")

    ticket_ref: Reference
    body: Text

    def changes(self) -> dict[str, dict[str, Any]]:
        return {"message": {"body_text": self.body, "visibility": "internal"}}


class TicketSetStatus(Action):
    """Move a ticket to another status."""

    name = "ticket.set_status"
    title = "Set a ticket's status"
    risk = Risk.R2
    on = On("ticket", "ticket_ref")
    reversal = "ticket.set_status with the previous status"

    ticket_ref: Reference
    status: Literal["open", "pending", "on_hold", "solved", "closed"]

    def changes(self) -> dict[str, dict[str, Any]]:
        return {"ticket": {"status": self.status}}


class PaymentRefund(Action):
    """Give money of a payment back to the customer, all that is refundable unless an amount is named."""

    name = "payment.refund"
    title = "Refund a payment"
    risk = Risk.R3
    on = On("payment", "payment_ref")
    reveals = ("amount", "status", "reference")

    payment_ref: Reference
    amount: Amount | None = None
    reason: RefundReason
    note: Short | None = None

    def changes(self) -> dict[str, dict[str, Any]]:
        refund: dict[str, Any] = {"reason": self.reason.value}
        if self.amount:
            money = self.amount.money()
            refund["amount"] = {"amount": money.amount, "currency": money.currency}
        return {"refund": refund}

    @property
    def amount_of_money(self) -> Money | None:
        return self.amount.money() if self.amount else None


class OrderUpdateShippingAddress(Action):
    """Send an order that has not shipped to another address."""

    name = "order.update_shipping_address"
    title = "Change an order's shipping address"
    risk = Risk.R2
    on = On("order", "order_ref")
    reversal = "order.update_shipping_address with the previous address, until it is picked"

    order_ref: Reference
    address: Address

    def changes(self) -> dict[str, dict[str, Any]]:
        return {"order": {"shipping_address": self.address.model_dump(exclude_none=True)}}


CATALOGUE: tuple[type[Action], ...] = (
    CustomerLookup,
    CustomerUpdate,
    TicketCreate,
    TicketReply,
    TicketNote,
    TicketSetStatus,
    PaymentRefund,
    OrderUpdateShippingAddress,
)
