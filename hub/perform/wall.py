"""The wall around connectors: whatever else they raise becomes an error of the hub, without its text."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from hub.errors import HubError, NotSent, Temporary
from hub.transport import was_sent

log = logging.getLogger("hub.perform")


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
    log.error("%s: %s: the connector failed with %s at %s", connection, doing, name, _place(exc))
    return HubError(f"{connection}: {doing}: the connector failed with {name}", code="connector_failed")


def _place(exc: Exception) -> str:
    """Name the line that raised, without what it said."""
    frames = traceback.extract_tb(exc.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
