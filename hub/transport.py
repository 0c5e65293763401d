"""
The one HTTP session of a connection: every request of every vendor SDK goes through it.

It refuses hosts the connection does not own (before anything is rewritten to `base_url`), keeps limits, sets timeouts,
retries reads and never writes, and knows of each write whether its bytes left.
"""

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import requests
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
)

from hub.connector import Limit
from hub.errors import Invalid, RateLimited

READS = frozenset({"GET", "HEAD", "OPTIONS"})
RETRY_STATUS = frozenset({429, 500, 502, 503, 504})
SHOWN_HEADERS = frozenset({"content-type", "idempotency-key", "stripe-version", "if-match", "if-unmodified-since"})
_NEVER_SENT = (NewConnectionError, ConnectTimeoutError, NameResolutionError, LocationParseError, ProxyError)
_BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
_LIMITS = MemoryStorage()


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
_capturing: ContextVar[bool] = ContextVar("hub_capturing", default=False)


@contextlib.contextmanager
def watch() -> Iterator[list[Flight]]:
    """Collect the writes that this thread attempts inside the block."""
    flights: list[Flight] = []
    token = _flights.set(flights)
    try:
        yield flights
    finally:
        _flights.reset(token)


@contextlib.contextmanager
def capturing() -> Iterator[None]:
    """Let reads out and raise Captured on the first write inside the block."""
    token = _capturing.set(True)
    try:
        yield
    finally:
        _capturing.reset(token)


def announce(request: Mapping[str, Any]) -> None:
    """Tell of a write that goes another way than HTTP: raises Captured in a preview, else counts as sent."""
    if _capturing.get():
        raise Captured(request)
    flights = _flights.get()
    if flights is not None:
        flights.append(Flight("WRITE", str(next(iter(request.values()), "")), sent=True))


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


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Read Retry-After in seconds, from either of its forms (RFC 9110 10.2.3); None where absent or unreadable."""
    value = (headers.get("Retry-After") or headers.get("retry-after") or "").strip()
    if not value:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError, TypeError):
        when = parsedate_to_datetime(value)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
    return None


@dataclass(frozen=True)
class Patience:
    """How long reads may take: `timeout_s` (connect, read), `tries` in all, `wait_s` at most for limits and retries."""

    timeout_s: tuple[float, float] = (5.0, 60.0)
    tries: int = 4
    backoff_s: float = 0.5
    wait_s: float = 60.0


class _Adapter(HTTPAdapter):
    """Guards, paces, retries and rewrites; one per Transport."""

    def __init__(self, transport: "Transport") -> None:
        self.transport = transport
        super().__init__(pool_maxsize=16, max_retries=0)

    def send(self, request: requests.PreparedRequest, **kw: Any) -> requests.Response:  # type: ignore[override]
        own = self.transport
        own.guard(request.url or "")
        read = request.method in READS
        if not read and _capturing.get():
            raise Captured(shown(request))
        if kw.get("timeout") is None:
            kw["timeout"] = own.patience.timeout_s
        return self._read(request, kw) if read else self._write(request, kw)

    def _write(self, request: requests.PreparedRequest, kw: dict[str, Any]) -> requests.Response:
        own = self.transport
        own.pace(request)
        flight = Flight(request.method or "", _path(request.url))
        flights = _flights.get()
        if flights is not None:
            flights.append(flight)
        try:
            response = self._once(request, kw)
        except Exception as exc:
            flight.sent = was_sent(exc) is not False
            exc.hub_sent = flight.sent  # type: ignore[attr-defined]
            raise
        flight.sent, flight.status = True, response.status_code
        return response

    def _read(self, request: requests.PreparedRequest, kw: dict[str, Any]) -> requests.Response:
        own, patience, waited = self.transport, self.transport.patience, 0.0
        for attempt in range(1, patience.tries + 1):
            waited += own.pace(request)
            response, failure = None, None
            try:
                response = self._once(request, kw)
            except _BROKEN as exc:
                failure = exc
            if response is not None and response.status_code not in RETRY_STATUS:
                return response
            pause = _pause(response, attempt, patience)
            if attempt == patience.tries or waited + pause > patience.wait_s:
                break
            own.sleep(pause)
            waited += pause
        if failure is not None:
            raise failure
        assert response is not None
        return response

    def _once(self, request: requests.PreparedRequest, kw: dict[str, Any]) -> requests.Response:
        """Send a rewritten copy, so that SDKs which look at `response.request` see the vendor's own address."""
        target = self.transport.rewritten(request.url or "")
        copy = request.copy()
        copy.url = target
        copy.headers.pop("Host", None)
        response = super().send(copy, **(kw if target == request.url else {**kw, "proxies": None}))
        response.request, response.url = request, request.url or ""
        if not kw.get("stream"):
            _ = response.content  # a body that breaks off must fail here, where it is retried or counted as doubtful
        return response


class Transport(requests.Session):
    """
    A requests.Session for one connection.

    `hosts` are the hosts it owns ("acme.zendesk.com"); `base_url` sends all of them to a sandbox, proxy or test
    instead. `limits` are kept per `account`, which is the connection's name until `check()` tells better; they do not
    apply where `base_url` is a loopback address, for that is not the vendor.
    """

    def __init__(
        self,
        name: str,
        *,
        hosts: Sequence[str] = (),
        base_url: str | None = None,
        limits: Sequence[Limit] = (),
        patience: Patience | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.account = name
        self.owned = {host.lower() for host in hosts}
        self.base_url = base_url.rstrip("/") if base_url else None
        self.limits = () if _loopback(self.base_url) else tuple(limits)
        self.patience = patience or Patience()
        self.sleep: Callable[[float], None] = time.sleep
        self._limiter = MovingWindowRateLimiter(_LIMITS)
        self._lock = threading.Lock()
        self.trust_env = base_url is None
        self.auth = _as_it_is  # or requests would let an entry in ~/.netrc replace the connector's own Authorization
        for prefix in ("https://", "http://"):
            self.mount(prefix, _Adapter(self))

    def own(self, host: str) -> None:
        """Add a host that the vendor itself named after signing in, such as Salesforce's instance."""
        self.owned.add(host.lower())

    def guard(self, url: str) -> None:
        """Refuse a host that is not this connection's. Raises Invalid; the message holds no credentials."""
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or (parts.hostname or "").lower() not in self.owned:
            raise Invalid(
                f"{self.name}: a request to a host that this connection does not own was refused", code="foreign_host"
            )
        if parts.scheme == "http" and self.base_url is None and not _loopback(url):
            raise Invalid(f"{self.name}: a request without TLS was refused", code="foreign_host")

    def rewritten(self, url: str) -> str:
        if self.base_url is None:
            return url
        base, parts = urlsplit(self.base_url), urlsplit(url)
        return urlunsplit((base.scheme, base.netloc, base.path + parts.path, parts.query, ""))

    def pace(self, request: requests.PreparedRequest) -> float:
        """Wait for the limits that this request counts against; give the seconds waited. Raises RateLimited."""
        waited = 0.0
        what = f"{request.method} {_path(request.url)}"
        for limit in self.limits:
            if re.search(limit.match, what):
                waited += self._take(limit)
        return waited

    def _take(self, limit: Limit) -> float:
        item, waited = RateLimitItemPerSecond(limit.count, limit.per_s), 0.0
        while not self._limiter.hit(item, limit.name, self.account):
            reset = self._limiter.get_window_stats(item, limit.name, self.account).reset_time - time.time()
            pause = max(reset, 0.05)
            if waited + pause > self.patience.wait_s:
                raise RateLimited(f"{self.name}: the limit {limit.name} is used up", retry_after_s=pause)
            self.sleep(pause)
            waited += pause
        return waited


def shown(request: requests.PreparedRequest) -> dict[str, Any]:
    """Describe a request for a preview: no credentials, the body parsed where it can be."""
    headers = {k: v for k, v in request.headers.items() if k.lower() in SHOWN_HEADERS}
    return {"method": request.method, "url": request.url, "headers": headers, "body": _parsed(request)}


def _parsed(request: requests.PreparedRequest) -> Any:
    body = request.body
    if body is None:
        return None
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
    kind = str(request.headers.get("Content-Type", ""))
    if "json" in kind:
        with contextlib.suppress(ValueError):
            return json.loads(text)
    if "x-www-form-urlencoded" in kind:
        return dict(parse_qsl(text, keep_blank_values=True))
    return text


def _pause(response: requests.Response | None, attempt: int, patience: Patience) -> float:
    told = retry_after(response.headers) if response is not None else None
    return told if told is not None else min(patience.backoff_s * 2 ** (attempt - 1), 8.0)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _path(url: str | None) -> str:
    return urlsplit(url or "").path


def _loopback(url: str | None) -> bool:
    host = (urlsplit(url).hostname or "") if url else ""
    return host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d+){3}", host))
