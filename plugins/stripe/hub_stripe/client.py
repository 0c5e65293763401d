"""
The way to Stripe: page bytes for reads, the SDK for writes, both over the hub's transport, and one `translate`.

Reads skip the SDK's objects, which cost 20 to 100 times the page; they send the headers that the SDK sends
(https://docs.stripe.com/api/authentication, https://docs.stripe.com/api/versioning).
"""

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import requests
from pydantic import SecretStr

from hub import (
    Conflict,
    ConnectorConfig,
    HubError,
    Invalid,
    NotFound,
    NotSent,
    RateLimited,
    Refused,
    Temporary,
    Unauthorized,
    Unknown,
    was_sent,
)

if TYPE_CHECKING:
    import stripe

API = "https://api.stripe.com"
HOST = "api.stripe.com"
VERSION = "2026-06-24.dahlia"  # the newest that was recorded; the SDK's own default moves with each of its releases
T = TypeVar("T")
Params = Sequence[tuple[str, str]]


class StripeConfig(ConnectorConfig):
    """`api_key` is a secret or restricted key; `webhook_secret` (whsec_…) belongs to one webhook endpoint."""

    api_key: SecretStr
    webhook_secret: SecretStr | None = None
    stripe_version: str = VERSION


@dataclass(frozen=True)
class Answer:
    """A body with the second at which Stripe says it answered (its Date header), if it says so."""

    body: bytes
    at: int | None


@dataclass(frozen=True)
class Fault:
    """What is known of a failure: an HTTP status (None: no answer) and the members of Stripe's error object."""

    status: int | None
    type: str = ""
    code: str = ""
    param: str = ""
    text: str = ""
    request_id: str = ""
    retry_after_s: float | None = None


class Client:
    """One account at Stripe. `sdk` is made on first use; threads may share it."""

    def __init__(self, config: StripeConfig, transport: requests.Session) -> None:
        self.config = config
        self.transport = transport
        self._lock = threading.Lock()
        self._sdk: stripe.StripeClient | None = None

    @property
    def sdk(self) -> "stripe.StripeClient":
        """The SDK's client on the hub's transport: no retries, no telemetry, the pinned API version."""
        with self._lock:
            if self._sdk is None:
                self._sdk = _sdk(self.config, self.transport)
            return self._sdk

    @cached_property
    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self.config.api_key.get_secret_value()}",
            "Stripe-Version": self.config.stripe_version,
            "User-Agent": "Deskhub",
        }

    def get(self, path: str, params: Params = (), *, what: str = "") -> Answer:
        """Read `path` as bytes. `what` names the request in errors, without ids. Raises by remedy."""
        what = f"GET {what or path}"
        try:
            response = self.transport.get(API + path, params=list(params), headers=self._headers)
        except requests.RequestException as exc:
            raise translate(exc, what=what) from exc
        if response.status_code != 200:
            raise verdict(fault_of(response.status_code, response.content, response.headers), what=what, write=False)
        return Answer(response.content, _date(response.headers))

    @contextlib.contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Run one write through the SDK; what it raises comes out as the hub's errors."""
        import stripe

        try:
            yield
        except stripe.StripeError as exc:
            raise translate(exc, what=what, write=True) from exc


def decode(body: bytes, shape: type[T], what: str) -> T:
    """Decode what is needed of a body. Raises Temporary where it is no JSON of that shape (a proxy's HTML, half)."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Temporary(f"stripe: GET {what} answered with something that is no such JSON document") from exc


def translate(exc: Exception, *, what: str, write: bool = False) -> HubError:
    """Turn an error of requests or of the SDK into the hub's, by what to do next; `what` is "METHOD /path"."""
    inner: BaseException | None = exc
    while inner is not None:  # the SDK wraps whatever its session raises, the hub's own errors too
        if isinstance(inner, HubError):
            return inner
        inner = inner.__cause__
    status = getattr(exc, "http_status", None)
    if status is None:
        return _unanswered(exc, what, write)
    body = getattr(exc, "http_body", None) or ""
    return verdict(fault_of(status, body.encode(), getattr(exc, "headers", None) or {}), what=what, write=write)


def _unanswered(exc: Exception, what: str, write: bool) -> HubError:
    if was_sent(exc) is False:
        return NotSent(f"stripe: {what} could not be sent; is api.stripe.com (or base_url) reachable?")
    if write:
        return Unknown(f"stripe: the answer to {what} was lost; look it up before anything is sent again")
    return Temporary(f"stripe: no answer to {what}")


# https://docs.stripe.com/error-codes. Stripe's own messages are left out: they may quote what was sent.
_BY_CODE: dict[str, tuple[type[HubError], str, str]] = {
    "resource_missing": (NotFound, "not_found", "there is no such object"),
    "charge_already_refunded": (Conflict, "charge_already_refunded", "all of it has been refunded already"),
    "charge_disputed": (Refused, "charge_disputed", "the payment is disputed; answer the dispute instead"),
    "refund_disputed_payment": (Refused, "charge_disputed", "the payment is disputed; answer the dispute instead"),
    "charge_not_refundable": (Refused, "charge_not_refundable", "Stripe does not allow a refund of this payment"),
    "payment_intent_unexpected_state": (
        Conflict,
        "payment_not_authorized",
        "the payment is in a state in which this cannot be done",
    ),
    "amount_too_large": (Invalid, "amount_exceeds_refundable", "the amount is above what is left to refund"),
    "lock_timeout": (Temporary, "temporary", "another request was changing the same object"),
    "idempotency_key_in_use": (Unknown, "unknown", "the first request with this key is still being worked on"),
}
_OVER = re.compile(r"^Refund amount \(.*\) is greater than ")


def verdict(fault: Fault, *, what: str, write: bool) -> HubError:
    """Choose the hub's error for a refusal by Stripe. A 5xx or an unreadable answer to a write is Unknown."""
    where = f"stripe: {what}" + (f" ({fault.request_id})" if fault.request_id else "")
    known = _BY_CODE.get(fault.code)
    if known is None and fault.param == "amount" and _OVER.match(fault.text):
        known = _BY_CODE["amount_too_large"]  # older API versions give this refusal no code
    if known is not None and (fault.status or 0) < 500:
        kind, code, words = known
        return kind(f"{where}: {words}", code=code, field_path=fault.param or None)
    return _by_status(fault, where, write)


def _by_status(fault: Fault, where: str, write: bool) -> HubError:
    status, named = fault.status or 0, " ".join(x for x in (fault.code or fault.type, fault.param) if x)
    if status == 401:
        return Unauthorized(f"{where}: Stripe does not accept api_key ({named or 401}); set a valid secret key")
    if status == 403:
        return Unauthorized(
            f"{where}: the key lacks a permission; give the restricted key access to this resource",
            code="forbidden",
            reason="permission",
        )
    if status == 429:
        return RateLimited(f"{where}: Stripe's rate limit is used up", retry_after_s=fault.retry_after_s)
    if status >= 500 or status < 300:
        if write:
            return Unknown(f"{where}: Stripe failed with {status}; the effect is not known, look it up")
        return Temporary(f"{where}: Stripe failed with {status}")
    if status == 404:
        return NotFound(f"{where}: there is no such object")
    if fault.type == "idempotency_error":
        return Conflict(f"{where}: the key was used for another request", code="idempotency_conflict")
    if status == 409:
        return Conflict(f"{where}: another request came first ({named})")
    return Invalid(f"{where}: Stripe refused it ({named or status})", reason=fault.code or None, field_path=fault.param)


def fault_of(status: int, body: bytes, headers: Mapping[str, str]) -> Fault:
    """Read what an answer says of a failure; a body that is none of Stripe's leaves the members empty."""
    try:
        error = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = None
    said = error if isinstance(error, dict) else {}
    words = {k: str(said.get(k) or "") for k in ("type", "code", "param")}
    lower = {k.lower(): v for k, v in headers.items()}
    after = lower.get("retry-after", "")
    return Fault(
        status,
        **words,
        text=str(said.get("message") or ""),
        request_id=lower.get("request-id", ""),
        retry_after_s=float(after) if after.isdigit() else None,
    )


def _date(headers: Mapping[str, str]) -> int | None:
    with contextlib.suppress(ValueError, TypeError):
        return int(parsedate_to_datetime(headers.get("Date") or "").timestamp())
    return None


def _sdk(config: StripeConfig, transport: requests.Session) -> "stripe.StripeClient":
    import stripe

    stripe.enable_telemetry = False  # else it writes ~/.config/stripe/telemetry_id and reports earlier requests

    class Http(stripe.RequestsClient):
        """Leaves out what the SDK tells of its caller's machine and environment in two headers."""

        def request(  # type: ignore[override]  # the SDK's own classes disagree on the type of a body
            self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
        ) -> tuple[bytes, int, Mapping[str, str]]:
            plain = {k: v for k, v in (headers or {}).items() if k != "X-Stripe-Client-User-Agent"}
            return super().request(method, url, {**plain, "User-Agent": "Deskhub"}, post_data)

    return stripe.StripeClient(
        config.api_key.get_secret_value(),
        stripe_version=config.stripe_version,
        max_network_retries=0,
        http_client=Http(session=transport, timeout=(5.0, 60.0)),
    )
