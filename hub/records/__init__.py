"""
The nouns of the unified model, each declared once.

Tables, JSON schemas, mapping checks and decoders are derived from `KINDS`. Field names, enums and vendor fields are
those of docs/unified-model.md. An enum field `x` has a companion `x_raw` with the vendor's own word.
"""

from hub.records.declare import EntityRef, RecordRef
from hub.records.enums import (
    AuthorType,
    Channel,
    CustomerStatus,
    Direction,
    DisputeStatus,
    FulfillmentStatus,
    OrderPaymentStatus,
    OrderStatus,
    PaymentStatus,
    RefundDestination,
    RefundReason,
    RefundStatus,
    ShipmentStatus,
    SubscriptionStatus,
    TicketPriority,
    TicketStatus,
    TicketType,
    Visibility,
)
from hub.records.kinds import KINDS, PREFIXES, Field, Kind, KindName, birth_id, birth_ids, json_schema

__all__ = [
    "KINDS",
    "PREFIXES",
    "AuthorType",
    "Channel",
    "CustomerStatus",
    "Direction",
    "DisputeStatus",
    "EntityRef",
    "Field",
    "FulfillmentStatus",
    "Kind",
    "KindName",
    "OrderPaymentStatus",
    "OrderStatus",
    "PaymentStatus",
    "RecordRef",
    "RefundDestination",
    "RefundReason",
    "RefundStatus",
    "ShipmentStatus",
    "SubscriptionStatus",
    "TicketPriority",
    "TicketStatus",
    "TicketType",
    "Visibility",
    "birth_id",
    "birth_ids",
    "json_schema",
]
