"""Answer what is known: one entity, a list of them, who a customer is, what a reference means, how fresh it all is."""

from hub.reads.entities import get
from hub.reads.finding import find_customer, resolve_target
from hub.reads.freshness import freshness
from hub.reads.listing import filters, list_
from hub.reads.waiting import waiting

__all__ = ["filters", "find_customer", "freshness", "get", "list_", "resolve_target", "waiting"]
