"""
Deskhub: one customer, one order, one ticket, and a catalogue of safe actions.

What plugin authors may use is re-exported here, lazily. Sandboxes come from `hub.sandbox`, test tools from
`hub.testing`.
"""

import importlib
from typing import TYPE_CHECKING, Any

_FROM = {
    "hub.connector": (
        "Absent", "Ack", "Call", "CannotTell", "Change", "Checked", "Connector", "ConnectorConfig", "Effect", "Field",
        "Found", "Limit", "Outcome", "Page", "Stream", "Target", "Verb", "act", "fetch", "find", "follow", "pull",
        "webhook",
    ),
    "hub.actions": (
        "Action", "AgentHandoff", "CreditGrant", "CreditTakeBack", "CustomerArchive", "CustomerChangeEmail",
        "CustomerCreate", "CustomerLookup", "CustomerUpdate", "CustomerUpdateAddress", "File", "Item", "On",
        "OrderCancel", "OrderGet", "OrderTrack", "OrderUpdateShippingAddress", "PaymentRefund",
        "PaymentVoidAuthorization", "Risk", "SubscriptionCancel", "SubscriptionChangePlan",
        "SubscriptionChangeQuantity", "SubscriptionPause", "SubscriptionResume",
        "SubscriptionUncancel", "TicketAssign", "TicketCreate", "TicketEscalate", "TicketNote", "TicketReopen",
        "TicketReply", "TicketSetStatus", "TicketSolve", "TicketTag", "Undo",
    ),
    "hub.errors": (
        "ConfigError", "Conflict", "HubError", "Invalid", "MappingError", "NotFound", "NotSent", "RateLimited",
        "Refused", "Temporary", "Unauthorized", "Unknown", "Unsupported",
    ),
    "hub.hookspecs": ("hookimpl",),
    "hub.money": ("Money",),
    "hub.transport": ("Transport", "aside", "was_sent"),
}  # fmt: skip
_HOME = {name: module for module, names in _FROM.items() for name in names}
__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from hub.actions import Action as Action
    from hub.actions import AgentHandoff as AgentHandoff
    from hub.actions import CreditGrant as CreditGrant
    from hub.actions import CreditTakeBack as CreditTakeBack
    from hub.actions import CustomerArchive as CustomerArchive
    from hub.actions import CustomerChangeEmail as CustomerChangeEmail
    from hub.actions import CustomerCreate as CustomerCreate
    from hub.actions import CustomerLookup as CustomerLookup
    from hub.actions import CustomerUpdate as CustomerUpdate
    from hub.actions import CustomerUpdateAddress as CustomerUpdateAddress
    from hub.actions import File as File
    from hub.actions import Item as Item
    from hub.actions import On as On
    from hub.actions import OrderCancel as OrderCancel
    from hub.actions import OrderGet as OrderGet
    from hub.actions import OrderTrack as OrderTrack
    from hub.actions import OrderUpdateShippingAddress as OrderUpdateShippingAddress
    from hub.actions import PaymentRefund as PaymentRefund
    from hub.actions import PaymentVoidAuthorization as PaymentVoidAuthorization
    from hub.actions import Risk as Risk
    from hub.actions import SubscriptionCancel as SubscriptionCancel
    from hub.actions import SubscriptionChangePlan as SubscriptionChangePlan
    from hub.actions import SubscriptionChangeQuantity as SubscriptionChangeQuantity
    from hub.actions import SubscriptionPause as SubscriptionPause
    from hub.actions import SubscriptionResume as SubscriptionResume
    from hub.actions import SubscriptionUncancel as SubscriptionUncancel
    from hub.actions import TicketAssign as TicketAssign
    from hub.actions import TicketCreate as TicketCreate
    from hub.actions import TicketEscalate as TicketEscalate
    from hub.actions import TicketNote as TicketNote
    from hub.actions import TicketReopen as TicketReopen
    from hub.actions import TicketReply as TicketReply
    from hub.actions import TicketSetStatus as TicketSetStatus
    from hub.actions import TicketSolve as TicketSolve
    from hub.actions import TicketTag as TicketTag
    from hub.actions import Undo as Undo
    from hub.connector import Absent as Absent
    from hub.connector import Ack as Ack
    from hub.connector import Call as Call
    from hub.connector import CannotTell as CannotTell
    from hub.connector import Change as Change
    from hub.connector import Checked as Checked
    from hub.connector import Connector as Connector
    from hub.connector import ConnectorConfig as ConnectorConfig
    from hub.connector import Effect as Effect
    from hub.connector import Field as Field
    from hub.connector import Found as Found
    from hub.connector import Limit as Limit
    from hub.connector import Outcome as Outcome
    from hub.connector import Page as Page
    from hub.connector import Stream as Stream
    from hub.connector import Target as Target
    from hub.connector import Verb as Verb
    from hub.connector import act as act
    from hub.connector import fetch as fetch
    from hub.connector import find as find
    from hub.connector import follow as follow
    from hub.connector import pull as pull
    from hub.connector import webhook as webhook
    from hub.errors import ConfigError as ConfigError
    from hub.errors import Conflict as Conflict
    from hub.errors import HubError as HubError
    from hub.errors import Invalid as Invalid
    from hub.errors import MappingError as MappingError
    from hub.errors import NotFound as NotFound
    from hub.errors import NotSent as NotSent
    from hub.errors import RateLimited as RateLimited
    from hub.errors import Refused as Refused
    from hub.errors import Temporary as Temporary
    from hub.errors import Unauthorized as Unauthorized
    from hub.errors import Unknown as Unknown
    from hub.errors import Unsupported as Unsupported
    from hub.hookspecs import hookimpl as hookimpl
    from hub.money import Money as Money
    from hub.transport import Transport as Transport
    from hub.transport import aside as aside
    from hub.transport import was_sent as was_sent


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hub' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
