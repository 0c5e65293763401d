"""
The one HTTP session of a connection: every request of every vendor SDK goes through it.

It refuses hosts the connection does not own (before anything is rewritten to `base_url`), keeps limits, sets timeouts,
retries reads and never writes, and knows of each write whether its bytes left.
"""

from hub.transport.flights import Captured, Flight, announce, aside, capturing, was_sent, watch
from hub.transport.logins import Logins, OwnLogins
from hub.transport.pacing import Alone, Pace, Patience, Traffic, is_yielding, yielding
from hub.transport.session import SHOWN_HEADERS, Transport, is_loopback, shown
from hub.transport.told import Quota, quotas, retry_after

__all__ = [
    "SHOWN_HEADERS",
    "Alone",
    "Captured",
    "Flight",
    "Logins",
    "OwnLogins",
    "Pace",
    "Patience",
    "Quota",
    "Traffic",
    "Transport",
    "announce",
    "aside",
    "capturing",
    "is_loopback",
    "is_yielding",
    "quotas",
    "retry_after",
    "shown",
    "was_sent",
    "watch",
    "yielding",
]
