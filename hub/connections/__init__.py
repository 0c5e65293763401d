"""
Open a connection: its settings, mapping, transport and connector class, put together once and kept.

What a connector raises passes the wall here: it comes out as an error of the hub. What becomes of its calls decides how
the connection stands: well, degraded, or in need of new credentials.
"""

from hub.connections.opening import Connection, Connections, compile_for, load_sandbox, meet_structs
from hub.connections.standing import Breaker, Standings
from hub.connections.walls import wall, wrapped

__all__ = [
    "Breaker",
    "Connection",
    "Connections",
    "Standings",
    "compile_for",
    "load_sandbox",
    "meet_structs",
    "wall",
    "wrapped",
]
