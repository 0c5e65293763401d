"""The wall around what connectors do: what they raise comes out as an error of the hub."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from hub.errors import HubError, NotSent, Temporary
from hub.plugins import own_frame
from hub.transport import was_sent

log = logging.getLogger("hub.connections")
_CHAIN = 20
"""How far back to look for the request behind an exception."""


@contextmanager
def wall(doing: str) -> Iterator[None]:
    """
    Let HubErrors through and turn all else that a connector raises into one.

    `doing` names the connection and what it was at. The text of a foreign exception may hold data: only its class and
    the line of the plugin it came from are told.
    """
    try:
        yield
    except HubError as exc:
        host = _host(exc) if isinstance(exc, NotSent) else None
        if host and host not in exc.message:
            exc.message = f"{exc.message} ({host})"
            exc.args = (exc.message,)
        raise
    except Exception as exc:
        raise wrapped(exc, doing) from exc


def wrapped(exc: Exception, doing: str) -> HubError:
    """Name an exception of a connector: NotSent or Temporary where it is about the network, else a fault of its own."""
    name, frames = type(exc).__name__, traceback.extract_tb(exc.__traceback__)
    log.debug("%s: %s at %s", doing, name, " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames)))
    sent, host = was_sent(exc), _host(exc)
    if sent is False:
        return NotSent(f"{doing}: {host or 'the system'} could not be reached ({name})")
    if sent or isinstance(exc, OSError):
        return Temporary(f"{doing}: the connection{f' to {host}' if host else ''} broke ({name})")
    place = own_frame(exc)
    where = f" at {place}" if place else ""
    return HubError(f"{doing}: the connector failed with {name}{where}", code="connector_failed")


def _host(exc: BaseException | None) -> str | None:
    """Name host and port of the request behind an exception, without credentials."""
    for _ in range(_CHAIN):
        if exc is None:
            return None
        url = getattr(getattr(exc, "request", None), "url", None)
        if isinstance(url, str):
            return urlsplit(url).netloc.rpartition("@")[2] or None
        exc = exc.__cause__ or exc.__context__
    return None
