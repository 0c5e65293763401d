"""Who and what lives in the world of the sandboxes: people, their orders, payments, subscriptions and tickets."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

OrderStatus = Literal["draft", "open", "completed", "canceled"]
PaymentStatus = Literal["succeeded", "requires_capture", "canceled", "requires_payment_method", "processing"]
SubscriptionStatus = Literal["active", "trialing", "past_due", "canceled", "paused"]
TicketStatus = Literal["new", "open", "pending", "hold", "solved", "closed"]
System = Literal["salesforce", "zendesk", "stripe", "legacy"]


@dataclass(frozen=True)
class Company:
    n: int
    number: str
    name: str
    domain: str
    place: tuple[str, ...]
    created: datetime


@dataclass(frozen=True)
class Staff:
    n: int
    given: str
    family: str
    email: str

    @property
    def name(self) -> str:
        return f"{self.given} {self.family}"


@dataclass(frozen=True)
class Person:
    """A customer. `systems` says who knows them; `twice_in_stripe` that Stripe holds two customers for them."""

    n: int
    number: str
    given: str
    family: str
    maiden: str | None
    email: str
    shared_mailbox: bool
    phone: str
    street: str
    place: tuple[str, ...]
    company: Company | None
    vip: bool
    created: datetime
    updated: datetime
    systems: frozenset[str]
    twice_in_stripe: bool

    @property
    def name(self) -> str:
        return f"{self.given} {self.family}"

    @property
    def currency(self) -> str:
        return self.place[8]

    def name_in(self, system: System) -> str:
        """The name as that system has it: the CRM was not told of a marriage."""
        return f"{self.given} {self.maiden}" if self.maiden and system == "salesforce" else self.name

    def email_in(self, system: System) -> str:
        """The e-mail as that system has it: some keep the case people type."""
        odd = self.n % 5 == 0 and system in ("salesforce", "legacy")
        return (
            self.email.replace(self.given[0].lower(), self.given[0], 1).replace("example", "Example")
            if odd
            else self.email
        )


@dataclass(frozen=True)
class Line:
    sku: str
    name: str
    quantity: int
    unit_minor: int

    @property
    def total_minor(self) -> int:
        return self.quantity * self.unit_minor


@dataclass(frozen=True)
class Order:
    """An order; legacy is its system of record, the CRM keeps a copy of some (`in_salesforce`)."""

    n: int
    number: str
    person: Person
    lines: tuple[Line, ...]
    status: OrderStatus
    shipped: bool
    placed: datetime
    updated: datetime
    in_salesforce: bool

    @property
    def currency(self) -> str:
        return self.person.currency

    @property
    def total_minor(self) -> int:
        return sum(line.total_minor for line in self.lines)


@dataclass(frozen=True)
class Refund:
    n: int
    amount_minor: int
    reason: str
    created: datetime


@dataclass(frozen=True)
class Dispute:
    n: int
    status: str
    reason: str
    created: datetime


@dataclass(frozen=True)
class Payment:
    n: int
    order: Order
    status: PaymentStatus
    brand: str
    last4: str
    created: datetime
    refunds: tuple[Refund, ...] = ()
    dispute: Dispute | None = None

    @property
    def amount_minor(self) -> int:
        return self.order.total_minor

    @property
    def refunded_minor(self) -> int:
        return sum(refund.amount_minor for refund in self.refunds)


@dataclass(frozen=True)
class Subscription:
    n: int
    person: Person
    plan: str
    unit_minor: int
    status: SubscriptionStatus
    cancel_at_period_end: bool
    started: datetime


@dataclass(frozen=True)
class Comment:
    n: int
    by: Literal["customer", "agent"]
    public: bool
    text: str
    at: datetime


@dataclass(frozen=True)
class Ticket:
    n: int
    system: Literal["zendesk", "salesforce"]
    person: Person
    staff: Staff
    order: Order | None
    subject: str
    status: TicketStatus
    priority: Literal["low", "normal", "high", "urgent"] | None
    type: Literal["question", "incident", "problem", "task"] | None
    channel: Literal["email", "web", "chat", "api", "voice"]
    created: datetime
    updated: datetime
    comments: tuple[Comment, ...] = ()
