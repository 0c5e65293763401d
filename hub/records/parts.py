"""The parts that records are made of: addresses, order lines, disputes, authors."""

from decimal import Decimal
from typing import Annotated, Any

from hub.money import Money
from hub.records.declare import PERSONAL, Noun, Personal, Ref, Time, declared
from hub.records.enums import AuthorType, DisputeStatus, ShipmentStatus


@declared
class Address(Noun):
    line1: Personal = None
    line2: Personal = None
    city: Personal = None
    region: Personal = None
    region_code: Personal = None
    postal_code: Personal = None
    country: str | None = None
    country_code: str | None = None
    recipient_name: Personal = None
    phone: Personal = None
    type: str | None = None
    formatted: Personal = None


AddressOrNone = Annotated[Address | None, PERSONAL]


@declared
class Email(Noun):
    value: Personal = None
    primary: bool | None = None
    verified: bool | None = None
    type: str | None = None


@declared
class Method(Noun):
    """How something was paid. Never more of a card than brand and last four digits."""

    type: str | None = None
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    wallet: str | None = None


@declared
class LineItem(Noun):
    remote_id: str | None = None
    line_no: str | None = None
    product_ref: str | None = None
    variant_ref: str | None = None
    sku: str | None = None
    name: str | None = None
    description: str | None = None
    quantity: Decimal | None = None
    unit_price: Money | None = None
    list_price: Money | None = None
    discount: Money | None = None
    tax: Money | None = None
    total: Money | None = None
    quantity_shipped: Decimal | None = None
    quantity_returned: Decimal | None = None
    quantity_refunded: Decimal | None = None
    refunded_amount: Money | None = None
    service_date: str | None = None
    end_date: str | None = None
    custom: dict[str, Any] | None = None


@declared
class Shipment(Noun):
    remote_id: str | None = None
    carrier: str | None = None
    tracking_number: str | None = None
    tracking_url: str | None = None
    status: ShipmentStatus | None = None
    service: str | None = None
    shipped_at: Time = None
    estimated_delivery_at: Time = None
    delivered_at: Time = None
    is_return: bool | None = None


@declared
class Dispute(Noun):
    remote_id: str | None = None
    amount: Money | None = None
    reason: str | None = None
    status: DisputeStatus | None = None
    evidence_due_at: Time = None
    is_refundable: bool | None = None


@declared
class Failure(Noun):
    code: str | None = None
    decline_code: str | None = None
    message: str | None = None
    advice: str | None = None


@declared
class Risk(Noun):
    level: str | None = None
    score: int | None = None


@declared
class SubscriptionItem(Noun):
    remote_id: str | None = None
    price_ref: str | None = None
    product_ref: str | None = None
    name: str | None = None
    quantity: Decimal | None = None
    unit_amount: Money | None = None
    interval: str | None = None
    interval_count: int | None = None
    period_start: Time = None
    period_end: Time = None


@declared
class Pause(Noun):
    behavior: str | None = None
    resumes_at: Time = None


@declared
class Cancellation(Noun):
    reason: str | None = None
    feedback: str | None = None
    comment: str | None = None


@declared
class Author(Noun):
    type: AuthorType | None = None
    ref: Ref = None
    name: Personal = None
    email: Personal = None


@declared
class Attachment(Noun):
    remote_id: str | None = None
    file_name: str | None = None
    content_type: str | None = None
    size: int | None = None
    url: str | None = None
    sha256: str | None = None


@declared
class Satisfaction(Noun):
    score: str | None = None
    comment: str | None = None
