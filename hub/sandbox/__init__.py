"""For authors of sandboxes: the frame, and the one world that all sandboxes imitate."""

from hub.sandbox.server import Entry, Fault, Request, Response, Sandbox, route
from hub.sandbox.world import (
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
    World,
)

__all__ = [
    "Comment",
    "Company",
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
    "Staff",
    "Subscription",
    "Ticket",
    "World",
    "route",
]
