"""Call a connector once, and judge what became of it: done, failed, or nobody knows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hub.actions import Action
from hub.connections import Connection, wall, wrapped
from hub.connector import Absent, Call, CannotTell, Found, Outcome
from hub.errors import (
    Conflict,
    HubError,
    Invalid,
    NotFound,
    NotSent,
    RateLimited,
    Refused,
    Unauthorized,
    Unknown,
    Unsupported,
)
from hub.transport import Captured, Flight, capturing, was_sent, watch

_DEFINITE = (Conflict, Invalid, NotFound, NotSent, RateLimited, Refused, Unauthorized, Unsupported)
_NOT_HTTP = "WRITE"


@dataclass(frozen=True)
class Done:
    """The effect is there."""

    outcome: Outcome


@dataclass(frozen=True)
class Failed:
    """The effect is not there; `accepted` counts writes of this attempt that the vendor had taken before."""

    error: HubError
    accepted: int = 0


@dataclass(frozen=True)
class Doubtful:
    """A write was sent and nobody knows. `resend` is False where the connector itself said that it cannot know."""

    error: HubError
    outcome: Outcome | None = None
    resend: bool = True


def attempt(
    connection: Connection, action: Action, call: Call, *, within_s: float | None = None
) -> Done | Failed | Doubtful:
    """Let the connector act, once; its writes leave `within_s` or not at all. Never raises what a connector raises."""
    method = _method(connection, action)
    with watch(within_s) as flights:
        try:
            with connection.call():
                outcome = method(action, call)
        except HubError as exc:
            return _judged(exc, exc, flights)
        except Exception as exc:  # noqa: BLE001 - the wall around connector calls
            return _judged(wrapped(exc, f"{connection.name}: {action.name}"), exc, flights)
    if not isinstance(outcome, Outcome):
        error = HubError(f"{connection.name}: {action.name}: the connector gave no Outcome", code="connector_failed")
        return _judged(error, error, flights)
    if outcome.status == "unknown":
        text = f"{connection.name}: {action.name}: handed over; whether it was carried out is not known yet"
        return Doubtful(Unknown(text), outcome, resend=False)
    return Done(outcome)


def _judged(error: HubError, cause: Exception, flights: Sequence[Flight]) -> Failed | Doubtful:
    """
    Decide whether an error leaves doubt.

    A write that was sent and got no answer, or a server error, is doubtful whatever was raised. A write that does not
    go over HTTP is doubtful unless the connector raised an error that says it did not happen.
    """
    definite = isinstance(error, _DEFINITE)
    over_http = [flight for flight in flights if flight.method != _NOT_HTTP]
    lost = any(flight.doubtful for flight in over_http)
    taken = sum(flight.status is not None and flight.status < 400 for flight in over_http)
    elsewhere = len(over_http) < len(flights)
    if lost or isinstance(error, Unknown):
        return Doubtful(error)
    if not definite and (elsewhere or taken or (not flights and was_sent(cause) is True)):
        return Doubtful(error)
    return Failed(error, taken)


def ask(connection: Connection, action: Action, call: Call) -> Found | Absent | CannotTell:
    """Ask the connector whether a lost write happened. Whatever goes wrong there means that nobody can tell."""
    method: Callable[..., Any] | None = connection.connector.method("find", action.name)
    if method is None:
        return CannotTell("this connector has no way to look it up")
    try:
        with wall(f"{connection.name}: looking up {action.name}"), connection.call():
            found = method(action, call)
    except HubError as exc:
        return CannotTell(exc.message)
    if isinstance(found, (Found, Absent, CannotTell)):
        return found
    return CannotTell("the connector gave no answer")


def caught(connection: Connection, action: Action, call: Call) -> tuple[dict[str, Any] | None, HubError | None]:
    """Let the connector act in a preview: give the first write it would send, or the error it would end with."""
    method = _method(connection, action)
    try:
        with capturing(), wall(f"{connection.name}: previewing {action.name}"), connection.call():
            method(action, call)
    except Captured as stopped:
        return stopped.request, None
    except HubError as exc:
        return None, exc
    return None, None


def _method(connection: Connection, action: Action) -> Callable[..., Any]:
    method = connection.connector.method("act", action.name)
    if method is None:
        raise Unsupported(f"{connection.name}: cannot do {action.name}")
    return method
