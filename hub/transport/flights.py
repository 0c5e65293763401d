"""What is known of requests that went out, or were kept from going out: for actions and their previews."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
)

from hub.errors import NotSent

_NEVER_SENT = (NewConnectionError, ConnectTimeoutError, NameResolutionError, LocationParseError, ProxyError)


@dataclass
class Flight:
    """A write that was attempted: `sent` once its bytes may have left, `status` once an answer came."""

    method: str
    url: str
    sent: bool = False
    status: int | None = None

    @property
    def doubtful(self) -> bool:
        """Say whether nobody knows what became of it: sent without an answer, or answered with a server error."""
        return self.sent and (self.status is None or self.status >= 500)


class Captured(BaseException):
    """The first write of a preview, caught before it left. A BaseException, since SDKs wrap Exception."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        super().__init__("captured")
        self.request = dict(request)


_flights: ContextVar[list[Flight] | None] = ContextVar("hub_flights", default=None)
_until: ContextVar[float | None] = ContextVar("hub_until", default=None)
_capturing: ContextVar[bool] = ContextVar("hub_capturing", default=False)
_aside: ContextVar[bool] = ContextVar("hub_aside", default=False)


@contextlib.contextmanager
def watch(within_s: float | None = None) -> Iterator[list[Flight]]:
    """
    Collect the writes that this thread attempts inside the block.

    One that would leave later than `within_s` seconds after the block began is refused with NotSent: a process that
    slept, or waited for a limit, must not send what others look up and send in its place by then.
    """
    flights: list[Flight] = []
    tokens = _flights.set(flights), _until.set(None if within_s is None else _awake() + within_s)
    try:
        yield flights
    finally:
        _flights.reset(tokens[0])
        _until.reset(tokens[1])


def _awake() -> float:
    """Give a clock that goes on while the machine is suspended, and never jumps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@contextlib.contextmanager
def capturing() -> Iterator[None]:
    """Let reads out and raise Captured on the first write inside the block."""
    token = _capturing.set(True)
    try:
        yield
    finally:
        _capturing.reset(token)


@contextlib.contextmanager
def aside() -> Iterator[bool]:
    """
    Be around writes that nobody sees by themselves, such as the upload of a file that nothing refers to yet.

    One whose answer is lost leaves no doubt and may be sent again. Gives False in a preview: nothing leaves then; go on
    with words that stand for the answer.
    """
    token = _aside.set(True)
    try:
        yield not _capturing.get()
    finally:
        _aside.reset(token)


def is_capturing() -> bool:
    """Say whether this thread is in a preview, where no write may leave."""
    return _capturing.get()


def note(flight: Flight) -> None:
    """Tell whoever watches this thread that a write is about to leave. Raises NotSent where it is too late for that."""
    until, flights = _until.get(), _flights.get()
    if until is not None and _awake() > until:
        raise NotSent(f"{flight.method} {flight.url}: it was too late to send this; nothing left", code="too_late")
    if flights is not None and not _aside.get():
        flights.append(flight)


def announce(request: Mapping[str, Any]) -> None:
    """Tell of a write that goes another way than HTTP: raises Captured in a preview, else counts as sent."""
    if _capturing.get():
        raise Captured(request)
    note(Flight("WRITE", str(next(iter(request.values()), "")), sent=True))


def was_sent(exc: BaseException) -> bool | None:
    """Say whether the request behind an exception left this machine; None where the exception is not about one."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [exc]
    while todo:
        link = todo.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        if hasattr(link, "hub_sent"):
            return bool(link.hub_sent)
        if isinstance(link, _NEVER_SENT):
            return False
        todo += [link.__cause__, link.__context__, *(a for a in link.args if isinstance(a, BaseException))]
        todo += [getattr(link, "reason", None)] if isinstance(link, MaxRetryError) else []
    return None
