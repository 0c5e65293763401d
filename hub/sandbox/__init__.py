"""For authors of sandboxes: the frame, and the one world that all sandboxes imitate."""

from hub.sandbox.deliveries import Deliveries
from hub.sandbox.inhabitants import (
    Comment,
    Company,
    Dispute,
    Line,
    Order,
    Payment,
    Person,
    Refund,
    Staff,
    Subscription,
    Ticket,
)
from hub.sandbox.server import Entry, Fault, Request, Response, Sandbox, SchemaChange, route
from hub.sandbox.world import World

__all__ = [
    "Comment",
    "Company",
    "Deliveries",
    "Dispute",
    "Entry",
    "Fault",
    "Line",
    "Order",
    "Payment",
    "Person",
    "Refund",
    "Request",
    "Response",
    "Sandbox",
    "SchemaChange",
    "Staff",
    "Subscription",
    "Ticket",
    "World",
    "route",
]
