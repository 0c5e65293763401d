"""The wall around connectors: whatever else they raise becomes an error of the hub, without its text."""

from collections.abc import Iterator
from contextlib import contextmanager

from hub.errors import HubError, NotSent, Temporary
from hub.transport import was_sent


@contextmanager
def wall(connection: str, doing: str) -> Iterator[None]:
    """Let HubErrors through and wrap all other exceptions; their text may hold data, so only the class is told."""
    try:
        yield
    except HubError:
        raise
    except Exception as exc:
        raise wrapped(exc, connection, doing) from exc


def wrapped(exc: Exception, connection: str, doing: str) -> HubError:
    """Name an exception of a connector: NotSent or Temporary where it is about the network, else a fault of its own."""
    name = type(exc).__name__
    sent = was_sent(exc)
    if sent is False:
        return NotSent(f"{connection}: {doing}: the system could not be reached ({name})")
    if sent is True or isinstance(exc, OSError):
        return Temporary(f"{connection}: {doing}: the connection broke ({name})")
    return HubError(f"{connection}: {doing}: the connector failed with {name}", code="connector_failed")
