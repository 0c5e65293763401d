"""
The verbs of the unified catalogue, each declared once.

REST routes, CLI commands, tool schemas and the docs table are derived from these classes. Names, effects and risk
follow docs/actions.md. References take a hub id (`tkt_…`) or `connection/stream/remote_id`.
"""

from hub.actions.customers import CustomerChanges, CustomerLookup, CustomerUpdate
from hub.actions.declare import Action, Address, Amount, On, Reference, Risk, Short, Text, Undo, address_of
from hub.actions.orders import OrderGet, OrderTrack, OrderUpdateShippingAddress
from hub.actions.payments import CreditGrant, PaymentRefund
from hub.actions.subscriptions import (
    SubscriptionCancel,
    SubscriptionChangePlan,
    SubscriptionChangeQuantity,
    SubscriptionPause,
    SubscriptionResume,
    SubscriptionUncancel,
)
from hub.actions.tickets import (
    AgentHandoff,
    TicketAssign,
    TicketCreate,
    TicketEscalate,
    TicketNote,
    TicketReply,
    TicketSetStatus,
    TicketTag,
)

__all__ = [
    "CATALOGUE",
    "Action",
    "Address",
    "AgentHandoff",
    "Amount",
    "CreditGrant",
    "CustomerChanges",
    "CustomerLookup",
    "CustomerUpdate",
    "On",
    "OrderGet",
    "OrderTrack",
    "OrderUpdateShippingAddress",
    "PaymentRefund",
    "Reference",
    "Risk",
    "Short",
    "SubscriptionCancel",
    "SubscriptionChangePlan",
    "SubscriptionChangeQuantity",
    "SubscriptionPause",
    "SubscriptionResume",
    "SubscriptionUncancel",
    "Text",
    "TicketAssign",
    "TicketCreate",
    "TicketEscalate",
    "TicketNote",
    "TicketReply",
    "TicketSetStatus",
    "TicketTag",
    "Undo",
    "address_of",
]

CATALOGUE: tuple[type[Action], ...] = (
    CustomerLookup,
    CustomerUpdate,
    TicketCreate,
    TicketReply,
    TicketNote,
    TicketSetStatus,
    TicketAssign,
    TicketTag,
    TicketEscalate,
    AgentHandoff,
    OrderGet,
    OrderTrack,
    OrderUpdateShippingAddress,
    PaymentRefund,
    CreditGrant,
    SubscriptionCancel,
    SubscriptionUncancel,
    SubscriptionPause,
    SubscriptionResume,
    SubscriptionChangePlan,
    SubscriptionChangeQuantity,
)
