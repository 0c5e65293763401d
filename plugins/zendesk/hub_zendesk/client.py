"""The way to Zendesk: zenpy signs the hub's session, requests are judged here, errors become remedies."""

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import requests
from pydantic import SecretStr, field_validator, model_validator

from hub import (
    Conflict,
    ConnectorConfig,
    HubError,
    Invalid,
    NotFound,
    NotSent,
    RateLimited,
    Temporary,
    Unauthorized,
    Unknown,
    was_sent,
)

if TYPE_CHECKING:
    from zenpy import Zenpy

READS = frozenset({"GET", "HEAD"})
_ID = re.compile(r"[1-9][0-9]{0,18}")
_MOST_PAGES = 100


class ZendeskConfig(ConnectorConfig):
    """
    Settings of a Zendesk connection.

    Either `email` and `token` (an API token) or `oauth_token`. `force_close` lets `ticket.set_status` write `closed`,
    which Zendesk never takes back. `webhook_secret` is the signing secret of the webhook that posts to
    /webhooks/<connection>.
    """

    subdomain: str
    email: str | None = None
    token: SecretStr | None = None
    oauth_token: SecretStr | None = None
    force_close: bool = False
    webhook_secret: SecretStr | None = None

    @field_validator("subdomain")
    @classmethod
    def _one_label(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value.lower()):
            raise ValueError('expected the first part of the address only: "acme" of acme.zendesk.com')
        return value.lower()

    @model_validator(mode="after")
    def _one_way_in(self) -> "ZendeskConfig":
        by_token = bool(self.email) and self.token is not None
        if by_token == (self.oauth_token is not None) or (self.token is not None and not self.email):
            raise ValueError("expected either email and token, or oauth_token")
        return self


class Tail(msgspec.Struct):
    """Where a page of a list says whether more follows."""

    class Meta(msgspec.Struct):
        has_more: bool = False
        after_cursor: str | None = None

    meta: Meta | None = None
    next_page: str | None = None


class _Uploaded(msgspec.Struct):
    class Upload(msgspec.Struct):
        token: str

    upload: Upload


class _Problem(msgspec.Struct):
    """What an error body may say; its texts are never repeated, for they may quote a customer's data."""

    error: Any = None
    description: Any = None
    details: Any = None


def ident(value: object) -> str:
    """Give a Zendesk id as text. Raises Invalid unless it is a positive whole number."""
    text = str(value)
    if not _ID.fullmatch(text):
        raise Invalid("zendesk: an id is a whole number of up to 19 digits", code="invalid_id")
    return text


def decode(body: bytes, kind: type[Any], where: str) -> Any:
    """Decode the few parts of an answer that the connector itself needs. Raises Temporary if it is no such JSON."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Temporary(f"zendesk: {where} did not answer with the JSON expected; was it a proxy's page?") from exc


class Client:
    """One connection's requests. `sdk` (zenpy) is made at the first of them; it signs the session."""

    def __init__(self, config: ZendeskConfig, transport: requests.Session) -> None:
        self.config = config
        self.session = transport
        from zenpy import Zenpy

        self._sdk_class = Zenpy
        self._lock = threading.Lock()
        self._sdk: Zenpy | None = None

    @property
    def sdk(self) -> "Zenpy":
        with self._lock:
            if self._sdk is None:
                self._sdk = _sign_in(self._sdk_class, self.config, self.session)
            return self._sdk

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> bytes:
        """Read a path below /api/v2. Raises by remedy; gives the bytes of a JSON object."""
        return self._send("GET", path, params=params).content

    def write(
        self, method: str, path: str, body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Send a write once. Raises NotSent or Unknown where no answer came, else by remedy."""
        answer = self._send(method, path, json=body, headers=headers)
        try:
            found = msgspec.json.decode(answer.content, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise Unknown(f"zendesk: {method} {_shape(path)} was taken, but its answer cannot be read") from exc
        return found

    def upload(self, name: str, content_type: str, data: bytes) -> str:
        """Upload a file and give its token, which is good for three days. Nobody sees it until a comment names it."""
        headers = {"Content-Type": content_type}
        answer = self._send("POST", "/uploads.json", params={"filename": name}, data=data, headers=headers)
        token: str = decode(answer.content, _Uploaded, "/api/v2/uploads").upload.token
        return token

    def pages(self, path: str, params: Mapping[str, Any] | None = None, *, most: int = _MOST_PAGES) -> Iterator[bytes]:
        """
        Read a list page by page, `most` at the utmost.

        Of the links only the cursor (or the query of an old `next_page`) is followed, always on our own host: they
        may name another.
        """
        query: dict[str, Any] = {"page[size]": 100, **(params or {})}
        for _ in range(most):
            body = self.get(path, query)
            yield body
            following = _following(decode(body, Tail, _shape(path)), query)
            if following is None or following == query:
                return
            query = following

    def _send(self, method: str, path: str, **more: Any) -> requests.Response:
        session = self.sdk.tickets.session
        url = f"https://{self.config.subdomain}.zendesk.com/api/v2{path}"
        what = f"{method} {_shape(path)}"
        try:
            answer: requests.Response = session.request(method, url, allow_redirects=False, **more)
        except requests.RequestException as exc:
            raise translate(exc, what) from exc
        error = judge(answer, what, write=method not in READS)
        if error is not None:
            raise error
        return answer


def _sign_in(sdk: "type[Zenpy]", config: ZendeskConfig, session: requests.Session) -> "Zenpy":
    secret = config.token or config.oauth_token
    assert secret is not None
    how = {"email": config.email, "token": secret.get_secret_value()}
    if config.oauth_token is not None:
        how = {"oauth_token": config.oauth_token.get_secret_value()}
    return sdk(subdomain=config.subdomain, session=session, disable_cache=True, **how)


def _following(tail: Tail, query: Mapping[str, Any]) -> dict[str, Any] | None:
    if tail.meta is not None:
        more = tail.meta.has_more and tail.meta.after_cursor
        return {**query, "page[after]": tail.meta.after_cursor} if more else None
    return dict(parse_qsl(urlsplit(tail.next_page).query)) if tail.next_page else None


def translate(exc: requests.RequestException, what: str) -> HubError:
    """Turn a request that got no answer into what to do next; only what was sent may have happened."""
    sent = was_sent(exc)
    if sent is False:
        return NotSent(f"zendesk: {what} did not leave this machine; is the address reachable?")
    if sent is True and not what.startswith(("GET ", "HEAD ")):
        return Unknown(f"zendesk: {what} was sent, but no answer came")
    return Temporary(f"zendesk: {what} failed on the way")


def judge(answer: requests.Response, what: str, *, write: bool = False) -> HubError | None:
    """Say what an answer's status asks us to do, or None where it is a JSON object with a status of 2xx."""
    status = answer.status_code
    if 200 <= status < 300:
        return _unreadable(answer, what, write)
    if status in (409, 429) or status >= 500:
        return _later(answer, what, write)
    said = _said(answer)
    if status == 401 or 300 <= status < 400:
        hint = "check email and token" if status == 401 else "it redirects; check the subdomain"
        return Unauthorized(f"zendesk: {what} was not let in; {hint}")
    if status == 403:
        return Unauthorized(f"zendesk: {what} is forbidden{said}; exports need an admin's token", code="forbidden")
    if status == 404:
        return NotFound(f"zendesk: {what} found nothing")
    if _problem(answer) == "IdempotentRequestError":
        return Conflict(f"zendesk: {what}: this key was used for another request", code="idempotency_conflict")
    code = "too_recent" if b"oo recent start_time" in answer.content else None
    return Invalid(f"zendesk: {what} was refused ({status}{said})", code=code, reason=_problem(answer))


def _later(answer: requests.Response, what: str, write: bool) -> HubError:

    wait = _retry_after(answer)
    if answer.status_code == 429:
        return RateLimited(f"zendesk: {what}: too many requests", retry_after_s=wait)
    if answer.status_code == 409:
        if _problem(answer) == "DatabaseConflict":
            return Temporary(f"zendesk: {what} met another write; nothing was changed", retry_after_s=wait)
        return Conflict(f"zendesk: {what}: the record changed in the meantime; read it again", code="version_conflict")
    if write:
        return Unknown(f"zendesk: {what} ended in a server error ({answer.status_code}); it may have happened")
    return Temporary(f"zendesk: {what} ended in a server error ({answer.status_code})", retry_after_s=wait)


def _retry_after(answer: requests.Response) -> float | None:
    """Read Retry-After in either of its forms (RFC 9110 10.2.3)."""
    value = answer.headers.get("Retry-After", "")
    if re.fullmatch(r"\d{1,6}(\.\d+)?", value):
        return float(value)
    parsed = parsedate_tz(value)
    return None if parsed is None else max(0.0, mktime_tz(parsed) - time.time())


def _unreadable(answer: requests.Response, what: str, write: bool) -> HubError | None:
    if answer.status_code == 204 or answer.content[:64].lstrip()[:1] == b"{":
        return None
    said = f"zendesk: {what} answered with something other than JSON"
    return Unknown(said) if write else Temporary(f"{said}; is it a login or maintenance page?")


def _problem(answer: requests.Response) -> str | None:
    """Give the code word of an error body (RecordInvalid), if it is one."""
    try:
        error = msgspec.json.decode(answer.content, type=_Problem).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    word = error.get("title") if isinstance(error, dict) else error
    return word if isinstance(word, str) and re.fullmatch(r"[A-Za-z]{1,40}", word) else None


def _said(answer: requests.Response) -> str:
    """Name the code and the fields an error body complains of; never its texts."""
    word = _problem(answer)
    if word is None:
        return ""
    details = msgspec.json.decode(answer.content, type=_Problem).details
    names = sorted(k for k in details if re.fullmatch(r"[a-z_]{1,40}", k)) if isinstance(details, dict) else []
    codes = sorted({c for name in names for c in _codes(details[name])})
    return f" {word}" + (f" on {', '.join(names)}" if names else "") + (f": {', '.join(codes)}" if codes else "")


def _codes(complaints: Any) -> Sequence[str]:
    found = [c.get("error") for c in complaints if isinstance(c, dict)] if isinstance(complaints, list) else []
    return [c for c in found if isinstance(c, str) and re.fullmatch(r"[A-Za-z]{1,40}", c)]


def _shape(path: str) -> str:
    """Give a path without ids, for messages."""
    return "/api/v2" + re.sub(r"/\d+", "/{id}", path)
