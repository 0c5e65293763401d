"""The closed sets of the unified model. All have `unknown`, but Visibility, Direction and AuthorType."""

from enum import StrEnum


class CustomerStatus(StrEnum):
    active = "active"
    prospect = "prospect"
    suspended = "suspended"
    archived = "archived"
    erased = "erased"
    unknown = "unknown"


class OrderStatus(StrEnum):
    draft = "draft"
    open = "open"
    on_hold = "on_hold"
    completed = "completed"
    canceled = "canceled"
    unknown = "unknown"


class OrderPaymentStatus(StrEnum):
    unpaid = "unpaid"
    authorized = "authorized"
    partially_paid = "partially_paid"
    paid = "paid"
    partially_refunded = "partially_refunded"
    refunded = "refunded"
    voided = "voided"
    failed = "failed"
    disputed = "disputed"
    unknown = "unknown"


class FulfillmentStatus(StrEnum):
    unfulfilled = "unfulfilled"
    partially_shipped = "partially_shipped"
    shipped = "shipped"
    partially_delivered = "partially_delivered"
    delivered = "delivered"
    partially_returned = "partially_returned"
    returned = "returned"
    canceled = "canceled"
    unknown = "unknown"


class ShipmentStatus(StrEnum):
    pending = "pending"
    label_created = "label_created"
    in_transit = "in_transit"
    out_for_delivery = "out_for_delivery"
    delivered = "delivered"
    delivery_attempted = "delivery_attempted"
    exception = "exception"
    held = "held"
    returned = "returned"
    canceled = "canceled"
    unknown = "unknown"


class PaymentStatus(StrEnum):
    requires_action = "requires_action"
    pending = "pending"
    authorized = "authorized"
    succeeded = "succeeded"
    failed = "failed"
    canceled = "canceled"
    unknown = "unknown"


class DisputeStatus(StrEnum):
    warning = "warning"
    needs_response = "needs_response"
    under_review = "under_review"
    won = "won"
    lost = "lost"
    prevented = "prevented"
    unknown = "unknown"


class RefundStatus(StrEnum):
    pending = "pending"
    requires_action = "requires_action"
    succeeded = "succeeded"
    failed = "failed"
    canceled = "canceled"
    unknown = "unknown"


class RefundReason(StrEnum):
    requested_by_customer = "requested_by_customer"
    duplicate = "duplicate"
    fraudulent = "fraudulent"
    not_received = "not_received"
    damaged = "damaged"
    not_as_described = "not_as_described"
    late_delivery = "late_delivery"
    order_change = "order_change"
    goodwill = "goodwill"
    other = "other"
    unknown = "unknown"


class RefundDestination(StrEnum):
    original = "original"
    store_credit = "store_credit"
    bank = "bank"
    other = "other"
    unknown = "unknown"


class SubscriptionStatus(StrEnum):
    scheduled = "scheduled"
    incomplete = "incomplete"
    trialing = "trialing"
    active = "active"
    past_due = "past_due"
    unpaid = "unpaid"
    paused = "paused"
    canceled = "canceled"
    expired = "expired"
    unknown = "unknown"


class TicketStatus(StrEnum):
    new = "new"
    open = "open"
    pending = "pending"
    on_hold = "on_hold"
    solved = "solved"
    closed = "closed"
    unknown = "unknown"


class TicketPriority(StrEnum):
    low = "low"
    normal = "normal"
    high = "high"
    urgent = "urgent"
    none = "none"
    unknown = "unknown"


class TicketType(StrEnum):
    question = "question"
    incident = "incident"
    problem = "problem"
    task = "task"
    request = "request"
    complaint = "complaint"
    other = "other"
    none = "none"
    unknown = "unknown"


class Channel(StrEnum):
    email = "email"
    web_form = "web_form"
    portal = "portal"
    chat = "chat"
    messaging = "messaging"
    phone = "phone"
    sms = "sms"
    social = "social"
    api = "api"
    in_app = "in_app"
    other = "other"
    unknown = "unknown"


class Visibility(StrEnum):
    """Who may read a message. There is no `unknown`: what cannot be mapped is internal."""

    public = "public"
    internal = "internal"


class Direction(StrEnum):
    inbound = "inbound"
    outbound = "outbound"
    system = "system"


class AuthorType(StrEnum):
    customer = "customer"
    agent = "agent"
    bot = "bot"
    system = "system"
