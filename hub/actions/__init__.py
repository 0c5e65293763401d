"""
The verbs of the unified catalogue, each declared once.

REST routes, CLI commands, tool schemas and the docs table are derived from these classes. Names, effects and risk
follow docs/actions.md. References take a hub id (`tkt_…`) or `connection/stream/remote_id`.
"""

from hub.actions.customers import (
    CustomerChangeEmail,
    CustomerChanges,
    CustomerCreate,
    CustomerLookup,
    CustomerUpdate,
    CustomerUpdateAddress,
)
from hub.actions.declare import Action, Address, Amount, On, Reference, Risk, Short, Text, Undo, address_of
from hub.actions.orders import OrderCancel, OrderGet, OrderTrack, OrderUpdateShippingAddress
from hub.actions.payments import CreditGrant, PaymentRefund, PaymentVoidAuthorization
from hub.actions.subscriptions import (
    SubscriptionCancel,
    SubscriptionChangePlan,
    SubscriptionChangeQuantity,
    SubscriptionPause,
    SubscriptionResume,
    SubscriptionUncancel,
)
from hub.actions.tickets import (
    NEW,
    AgentHandoff,
    TicketAssign,
    TicketCreate,
    TicketEscalate,
    TicketNote,
    TicketReopen,
    TicketReply,
    TicketSetStatus,
    TicketSolve,
    TicketTag,
)

__all__ = [
    "CATALOGUE",
    "NEW",
    "Action",
    "Address",
    "AgentHandoff",
    "Amount",
    "CreditGrant",
    "CustomerChangeEmail",
    "CustomerChanges",
    "CustomerCreate",
    "CustomerLookup",
    "CustomerUpdate",
    "CustomerUpdateAddress",
    "On",
    "OrderCancel",
    "OrderGet",
    "OrderTrack",
    "OrderUpdateShippingAddress",
    "PaymentRefund",
    "PaymentVoidAuthorization",
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
    "TicketReopen",
    "TicketReply",
    "TicketSetStatus",
    "TicketSolve",
    "TicketTag",
    "Undo",
    "address_of",
]

CATALOGUE: tuple[type[Action], ...] = (
    CustomerLookup,
    CustomerCreate,
    CustomerUpdate,
    CustomerUpdateAddress,
    CustomerChangeEmail,
    TicketCreate,
    TicketReply,
    TicketNote,
    TicketSetStatus,
    TicketSolve,
    TicketReopen,
    TicketAssign,
    TicketTag,
    TicketEscalate,
    AgentHandoff,
    OrderGet,
    OrderTrack,
    OrderCancel,
    OrderUpdateShippingAddress,
    PaymentRefund,
    PaymentVoidAuthorization,
    CreditGrant,
    SubscriptionCancel,
    SubscriptionUncancel,
    SubscriptionPause,
    SubscriptionResume,
    SubscriptionChangePlan,
    SubscriptionChangeQuantity,
)
