"""The kinds themselves, field by field. What no connector fills is not declared."""

from typing import Annotated, Any

from hub.money import Money
from hub.records.declare import PERSONAL, Noun, Personal, Ref, Refs, Time, declared
from hub.records.enums import (
    Channel,
    CustomerStatus,
    Direction,
    FulfillmentStatus,
    OrderPaymentStatus,
    OrderStatus,
    PaymentStatus,
    RefundDestination,
    RefundReason,
    RefundStatus,
    SubscriptionStatus,
    TicketPriority,
    TicketStatus,
    TicketType,
    Visibility,
)
from hub.records.parts import (
    AddressOrNone,
    Attachment,
    Author,
    Cancellation,
    Dispute,
    Email,
    Failure,
    LineItem,
    Method,
    Pause,
    Risk,
    Satisfaction,
    Shipment,
    SubscriptionItem,
)


class Record(Noun):
    """Fields that every kind has. `remote_id` is filled from the table's key."""

    remote_id: str | None = None
    external_ref: str | None = None
    url: str | None = None
    version: str | None = None
    created_at: Time = None
    updated_at: Time = None
    custom: dict[str, Any] | None = None


@declared
class Customer(Record):
    """A person who buys or asks."""

    display_name: Personal = None
    given_name: Personal = None
    family_name: Personal = None
    salutation: str | None = None
    email: Personal = None
    emails: list[Email] | None = None
    phone: Personal = None
    mobile: Personal = None
    phone_other: Personal = None
    language: str | None = None
    timezone: str | None = None
    account_ref: Ref = None
    job_title: str | None = None
    default_address: AddressOrNone = None
    shipping_address: AddressOrNone = None
    status: CustomerStatus | None = None
    is_blocked: bool | None = None
    verified_email: bool | None = None
    opt_out_email: bool | None = None
    do_not_call: bool | None = None
    tags: list[str] | None = None
    notes: Personal = None
    owner_agent_ref: Ref = None
    lifecycle: str | None = None
    billing_balance: Money | None = None
    billing_delinquent: bool | None = None
    default_payment_method: Method | None = None
    last_seen_at: Time = None
    merged_into: Ref = None


@declared
class Account(Record):
    """An organisation that customers belong to."""

    name: str | None = None
    domains: list[str] | None = None
    phone: Personal = None
    industry: str | None = None
    size: int | None = None
    tier: str | None = None
    tags: list[str] | None = None
    parent_ref: Ref = None
    billing_address: AddressOrNone = None
    shipping_address: AddressOrNone = None
    notes: Personal = None
    owner_agent_ref: Ref = None
    merged_into: Ref = None


@declared
class Order(Record):
    """What somebody bought. Lifecycle, payment and fulfilment are separate axes."""

    number: str | None = None
    customer_ref: Ref = None
    account_ref: Ref = None
    placed_at: Time = None
    status: OrderStatus | None = None
    payment_status: OrderPaymentStatus | None = None
    fulfillment_status: FulfillmentStatus | None = None
    currency: str | None = None
    subtotal: Money | None = None
    discount_total: Money | None = None
    shipping_total: Money | None = None
    tax_total: Money | None = None
    total: Money | None = None
    refunded_total: Money | None = None
    billing_address: AddressOrNone = None
    shipping_address: AddressOrNone = None
    po_number: str | None = None
    note: Personal = None
    source: str | None = None
    parent_ref: Ref = None
    lines: list[LineItem] | None = None
    shipments: list[Shipment] | None = None


@declared
class Payment(Record):
    """One attempt to take money, with what came of it."""

    charge_id: str | None = None
    number: str | None = None
    order_ref: Ref = None
    customer_ref: Ref = None
    invoice_ref: Ref = None
    subscription_ref: Ref = None
    amount: Money | None = None
    amount_captured: Money | None = None
    amount_refunded: Money | None = None
    currency: str | None = None
    status: PaymentStatus | None = None
    description: Personal = None
    method: Method | None = None
    authorized_at: Time = None
    captured_at: Time = None
    failure: Failure | None = None
    risk: Risk | None = None
    statement_descriptor: str | None = None
    receipt_url: str | None = None
    disputed: bool | None = None
    disputes: list[Dispute] | None = None
    refundable_amount: Money | None = None


@declared
class Refund(Record):
    """Money given back."""

    payment_ref: Ref = None
    order_ref: Ref = None
    amount: Money | None = None
    currency: str | None = None
    status: RefundStatus | None = None
    reason: RefundReason | None = None
    reason_note: Personal = None
    destination: RefundDestination | None = None
    requested_by: str | None = None
    arrived_hint: str | None = None
    failure_reason: str | None = None
    reference: str | None = None


@declared
class Subscription(Record):
    """A standing agreement to pay."""

    name: str | None = None
    customer_ref: Ref = None
    status: SubscriptionStatus | None = None
    items: list[SubscriptionItem] | None = None
    currency: str | None = None
    amount_per_period: Money | None = None
    started_at: Time = None
    current_period_start: Time = None
    current_period_end: Time = None
    next_billing_at: Time = None
    trial_end: Time = None
    cancel_at_period_end: bool | None = None
    cancel_at: Time = None
    canceled_at: Time = None
    ended_at: Time = None
    cancellation: Cancellation | None = None
    pause: Pause | None = None
    collection: str | None = None
    payment_method: Method | None = None
    last_payment_status: str | None = None
    discounts: list[str] | None = None


@declared
class Ticket(Record):
    """A request for help, wherever it is worked on."""

    number: str | None = None
    subject: Personal = None
    description: Personal = None
    status: TicketStatus | None = None
    priority: TicketPriority | None = None
    type: TicketType | None = None
    reason: str | None = None
    channel: Channel | None = None
    customer_ref: Ref = None
    account_ref: Ref = None
    assignee_ref: Ref = None
    group_ref: str | None = None
    tags: list[str] | None = None
    cc: Annotated[list[str] | None, PERSONAL] = None
    parent_ref: Ref = None
    order_refs: Refs = None
    is_escalated: bool | None = None
    due_at: Time = None
    first_response_at: Time = None
    solved_at: Time = None
    closed_at: Time = None
    resolution: str | None = None
    satisfaction: Satisfaction | None = None
    brand: str | None = None
    form: str | None = None
    is_spam: bool | None = None


@declared
class Message(Record):
    """One contribution to a ticket. `visibility` is required and fails closed."""

    visibility: Visibility = Visibility.internal
    ticket_ref: Ref = None
    subject: Personal = None
    body_text: Personal = None
    body_html: Personal = None
    direction: Direction | None = None
    channel: Channel | None = None
    author: Author | None = None
    to: Annotated[list[str] | None, PERSONAL] = None
    cc: Annotated[list[str] | None, PERSONAL] = None
    attachments: list[Attachment] | None = None
    redacted: bool | None = None


@declared
class Agent(Record):
    """A member of the vendor's staff. Assignees and authors point to it; it is no customer."""

    display_name: Personal = None
    email: Personal = None
    role: str | None = None
    is_active: bool | None = None
