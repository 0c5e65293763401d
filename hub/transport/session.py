"""The session itself, and the adapter that guards, paces, retries and rewrites."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter

from hub.errors import Invalid
from hub.transport.flights import Captured, Flight, is_capturing, note, was_sent
from hub.transport.logins import Logins, OwnLogins
from hub.transport.pacing import Pace, Pass, Patience
from hub.transport.told import retry_after

READS = frozenset({"GET", "HEAD", "OPTIONS"})
RETRY_STATUS = frozenset({429, 500, 502, 503, 504})
SHOWN_HEADERS = frozenset({"content-type", "idempotency-key", "stripe-version", "if-match", "if-unmodified-since"})
_BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class _Adapter(HTTPAdapter):
    """Guards, paces, retries and rewrites; one per Transport."""

    def __init__(self, transport: "Transport") -> None:
        self.transport = transport
        super().__init__(pool_maxsize=16, max_retries=0)

    def send(self, request: requests.PreparedRequest, **kw: Any) -> requests.Response:  # type: ignore[override]
        own = self.transport
        own.guard(request.url or "")
        read = request.method in READS
        if not read and is_capturing():
            raise Captured(shown(request))
        if kw.get("timeout") is None:
            kw["timeout"] = own.patience.timeout_s
        return self._read(request, kw) if read else self._write(request, kw)

    def _write(self, request: requests.PreparedRequest, kw: dict[str, Any]) -> requests.Response:
        own = self.transport
        granted = own.enter(request)
        flight = Flight(request.method or "", _path(request.url))
        try:
            note(flight)
            response = self._sent(request, kw, flight)
        finally:
            own.pace.leave(granted)
        flight.sent, flight.status = True, response.status_code
        own.pace.heard(granted, response.status_code, response.headers, own.patience.backoff_s)
        return response

    def _sent(self, request: requests.PreparedRequest, kw: dict[str, Any], flight: Flight) -> requests.Response:
        try:
            return self._once(request, kw)
        except Exception as exc:
            flight.sent = was_sent(exc) is not False
            exc.hub_sent = flight.sent  # type: ignore[attr-defined]
            raise

    def _read(self, request: requests.PreparedRequest, kw: dict[str, Any]) -> requests.Response:
        own, patience, waited = self.transport, self.transport.patience, 0.0
        for attempt in range(1, patience.tries + 1):
            granted = own.enter(request, waited)
            waited, response, failure = granted.waited_s, None, None
            try:
                response = self._once(request, kw)
            except _BROKEN as exc:
                failure = exc
            finally:
                own.pace.leave(granted)
            pause = _pause(response, attempt, patience)
            if response is not None:
                own.pace.heard(granted, response.status_code, response.headers, pause)
                if response.status_code not in RETRY_STATUS:
                    return response
            if attempt == patience.tries or waited + pause > patience.now_s:
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
            _load(response)
        return response


class Transport(requests.Session):
    """
    A requests.Session for one connection.

    `hosts` are the hosts it owns ("acme.zendesk.com"); `base_url` sends all of them to a sandbox, proxy or test
    instead. `pace` keeps the vendor's limits; without one there are none.
    """

    def __init__(
        self,
        name: str,
        *,
        hosts: Sequence[str] = (),
        base_url: str | None = None,
        patience: Patience | None = None,
        pace: Pace | None = None,
        logins: Logins | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.owned = {host.lower() for host in hosts}
        self.base_url = base_url.rstrip("/") if base_url else None
        self.patience = patience or Patience()
        self.pace = pace or Pace(name)
        self.logins = logins or OwnLogins()
        self.sleep: Callable[[float], None] = time.sleep
        self.trust_env = base_url is None
        self.auth = _as_it_is  # or requests would let an entry in ~/.netrc replace the connector's own Authorization
        for prefix in ("https://", "http://"):
            self.mount(prefix, _Adapter(self))

    @property
    def account(self) -> str:
        """The vendor's account that the limits are kept for."""
        return self.pace.account

    def sign_in(self, make: Callable[[], str], *, secret: str, stale: str | None = None) -> str:
        """
        Give the token of this connection; `make` signs in where there is none yet, or where it is the `stale` one.

        All threads and processes of a hub share it, and one of them signs in for all. It is kept encrypted with
        `secret`, what the vendor was signed in to with. Raises what `make` raises, and Unauthorized where another
        process was refused meanwhile.
        """
        return self.logins.token(make, secret=secret, stale=stale)

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
        if parts.scheme == "http" and self.base_url is None and not is_loopback(url):
            raise Invalid(f"{self.name}: a request without TLS was refused", code="foreign_host")

    def rewritten(self, url: str) -> str:
        if self.base_url is None:
            return url
        base, parts = urlsplit(self.base_url), urlsplit(url)
        return urlunsplit((base.scheme, base.netloc, base.path + parts.path, parts.query, ""))

    def enter(self, request: requests.PreparedRequest, waited_s: float = 0.0) -> Pass:
        """
        Wait for the limits that this request counts against, no longer than patience has left after `waited_s`.

        Raises RateLimited.
        """
        what = f"{request.method} {_path(request.url)}"
        return self.pace.enter(what, self.patience.now_s, self.sleep, waited_s=waited_s)


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


def _load(response: requests.Response) -> None:
    """
    Read the body: one that breaks off must fail here, where it is retried or counted as doubtful.

    `response.content` would do the same in pieces of 10 kB, and cost three times as much for a page of an export.
    """
    _acknowledge(response)
    response._content = b"".join(response.iter_content(None))
    response._content_consumed = True  # type: ignore[attr-defined]


def _acknowledge(response: requests.Response) -> None:
    """
    Have the parts of an answer acknowledged as they are read.

    A server that holds the last, short part back until all before it is acknowledged (Nagle's algorithm) would else
    wait for our delayed acknowledgement: 40 ms for each page. Linux forgets it with the next request.
    """
    sock = getattr(getattr(response.raw, "connection", None), "sock", None)
    if sock is not None and _QUICK_ACK is not None:
        with contextlib.suppress(OSError, AttributeError):  # TLS within TLS has none; what came is read all the same
            sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)


def _pause(response: requests.Response | None, attempt: int, patience: Patience) -> float:
    told = retry_after(response.headers) if response is not None else None
    return told if told is not None else min(patience.backoff_s * 2 ** (attempt - 1), 8.0)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _path(url: str | None) -> str:
    return urlsplit(url or "").path


def is_loopback(url: str | None) -> bool:
    """Say whether a URL names this machine: what listens there is a sandbox, a proxy or a test."""
    host = (urlsplit(url).hostname or "") if url else ""
    return host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d+){3}", host))
