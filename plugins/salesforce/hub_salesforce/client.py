"""One Salesforce session through simple-salesforce, over the hub's transport; the only importer of the SDK."""

import json
import re
import threading
import time
from collections.abc import Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any
from xml.parsers.expat import ExpatError

import msgspec
import requests

from hub import Invalid, RateLimited, Temporary, Transport, Unauthorized, Unknown
from hub_salesforce.config import SalesforceConfig
from hub_salesforce.errors import translate

if TYPE_CHECKING:
    from simple_salesforce.api import Salesforce

ID = re.compile(r"[a-zA-Z0-9]{15}([a-zA-Z0-9]{3})?")
_NAMED_BY_VENDOR = re.compile(r"[a-z0-9][a-z0-9.-]*\.(salesforce|force)\.com")
_HEADERS = {"X-PrettyPrint": "0", "Sforce-Query-Options": "batchSize=2000"}


def valid_id(value: str) -> str:
    """
    Give a record id if it has the form of one. Raises Invalid before any request is made.

    The SDK joins ids into URLs without a look at them: a URL in place of an id would carry the session's token away.
    """
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise Invalid("a Salesforce id has 15 or 18 letters and digits", code="invalid_id")
    return value


class _Found(msgspec.Struct):
    """What a query answers."""

    records: list[dict[str, Any]]


class Client:
    """Signs in when first asked and gives raw answers. Thread-safe."""

    def __init__(self, config: SalesforceConfig, transport: requests.Session) -> None:
        self.config = config
        self.transport = transport
        self._sf: Salesforce | None = None
        self._token: str | None = None
        self._stale: str | None = None
        self._refused: tuple[float, str] = (0.0, "")
        self._lock = threading.RLock()

    def get(self, path: str, what: str, params: Mapping[str, str] | None = None) -> bytes:
        """Read a path below the API's root, or one starting with "/", and give the JSON answer's bytes."""
        return self._json(self._call("GET", path, what, params=params), what)

    def value(self, path: str, what: str, params: Mapping[str, str] | None = None) -> Any:
        """Read a path and decode the answer. Raises Temporary where it is cut off."""
        return _decoded(self.get(path, what, params), Any, what)

    def query(self, soql: str, what: str) -> list[dict[str, Any]]:
        """Give the records of a small query's first page."""
        found: _Found = _decoded(self.get("query", what, {"q": soql}), _Found, what)
        return found.records

    def write(
        self, method: str, path: str, body: Mapping[str, Any], what: str, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Send one write, once. Raises Unknown where nobody can say whether it was carried out."""
        data = json.dumps(body, ensure_ascii=False).encode()
        return self._call(method, path, what, write=True, data=data, headers=headers)

    def root(self) -> str:
        """Give the path that all of this API's paths start with."""
        return f"/services/data/v{self.config.api_version}/"

    @property
    def instance(self) -> str:
        return self._session().sf_instance

    def organization_of_token(self) -> str | None:
        """Give the org's id, which a session id starts with, or None for another sort of token."""
        start = self._session().session_id.partition("!")[0]
        return start if ID.fullmatch(start) and start.startswith("00D") else None

    def used_percent(self) -> float | None:
        """Give how much of the org's daily API quota is used, as of the last answer that said so."""
        usage = self._session().api_usage.get("api-usage")
        return 100.0 * usage.used / usage.total if usage and usage.total else None

    def leave_quota(self) -> None:
        """Raise RateLimited when pulls would use up what is kept for actions."""
        used = self.used_percent()
        if used is not None and used > 100 - self.config.quota_reserve_percent:
            raise RateLimited(
                f"Salesforce: {used:.0f} % of the org's daily API calls are used; the rest is kept for actions",
                retry_after_s=900,
            )

    def _call(
        self, method: str, path: str, what: str, *, write: bool = False, renew: bool = True, **kw: Any
    ) -> requests.Response:
        """Ask once; a session that expired is renewed once, for a 401 was not carried out."""
        sf = self._session()
        url = f"https://{sf.sf_instance}{path if path.startswith('/') else self.root() + path}"
        headers = {**_HEADERS, **(kw.pop("headers", None) or {})}
        if not write and kw.get("params") is None:
            kw.pop("params", None)
        try:
            return sf._call_salesforce(method, url, headers=headers, **kw)
        except sdk_faults() as exc:
            error = translate(exc, what, write=write)
            if renew and error.reason == "INVALID_SESSION_ID" and self.config.sign_in != "session":
                self._expired(sf)
                return self._call(method, path, what, write=write, renew=False, **kw, headers=headers)
            raise error from exc

    @staticmethod
    def _json(response: requests.Response, what: str) -> bytes:
        body = response.content
        if body.lstrip()[:1] not in (b"{", b"["):
            raise Temporary(f"Salesforce: {what}: the answer is no JSON")
        return body

    def _session(self) -> "Salesforce":
        begun = time.monotonic()
        with self._lock:
            if self._sf is None:
                at, told = self._refused
                if at > begun:  # another thread was refused while this one waited: wrong passwords lock users out
                    raise Unauthorized(told)
                # A context of its own: a log-in is no write of the action that needs it. It is sent even in a preview,
                # never shown there (it holds the password), and tried once.
                self._sf = Context().run(self._signed_in)
            return self._sf

    def _expired(self, sf: "Salesforce") -> None:
        with self._lock:
            if self._sf is sf:
                self._sf, self._stale = None, self._token

    def _signed_in(self) -> "Salesforce":
        try:
            return self._with_token()
        except Unauthorized as exc:
            self._refused = (time.monotonic(), exc.message)
            raise

    def _with_token(self) -> "Salesforce":
        if self.config.sign_in == "session":
            return self._salesforce(self._credentials())
        if not isinstance(self.transport, Transport):
            self._token = self._log_in()
        else:
            self._token = self.transport.sign_in(self._log_in, secret=self._secret(), stale=self._stale)
        return self._salesforce(json.loads(self._token))

    def _log_in(self) -> str:
        """Sign in, and give what a session needs."""
        sf = self._salesforce(self._credentials())
        return json.dumps({"instance": sf.sf_instance, "session_id": sf.session_id})

    def _salesforce(self, how: Mapping[str, Any]) -> "Salesforce":
        from simple_salesforce.api import Salesforce

        try:
            sf = Salesforce(version=self.config.api_version, session=self.transport, object_pairs_hook=None, **how)
        except sdk_faults() as exc:
            if self.config.sign_in == "jwt" and not _from_vendor(exc):
                raise Unauthorized("Salesforce: log-in: private_key_file holds no RSA key in PEM form") from exc
            error = translate(exc, "log-in")
            raise (Temporary(error.message) if isinstance(error, Unknown) else error) from exc
        sf._salesforce_login_partial = None  # the SDK would sign in again by itself, in the midst of anything
        self._own(sf.sf_instance)
        return sf

    def _secret(self) -> str:
        """Give what is signed in with, which keeps the session where all processes find it."""
        own = self.config
        if own.sign_in == "jwt":
            return self._private_key()
        return _secret(own.password if own.sign_in == "password" else own.client_secret)

    def _credentials(self) -> dict[str, Any]:
        own, way = self.config, self.config.sign_in
        if way == "session":
            return {"instance": own.instance, "session_id": _secret(own.session_id)}
        if way == "password":
            return {
                "username": own.username,
                "password": _secret(own.password),
                "security_token": own.security_token.get_secret_value(),
                "domain": own.domain,
            }
        if way == "jwt":
            return {
                "username": own.username,
                "consumer_key": own.client_id,
                "privatekey": self._private_key(),
                "domain": own.domain,
            }
        return {
            "consumer_key": own.client_id,
            "consumer_secret": _secret(own.client_secret),
            "domain": own.login_domain,
        }

    def _private_key(self) -> str:
        assert self.config.private_key_file is not None
        try:
            return self.config.private_key_file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as exc:
            raise Unauthorized("Salesforce: private_key_file cannot be read; expected a PEM file") from exc

    def _own(self, host: str) -> None:
        """Take the instance that the log-in named, if it is one of Salesforce's; the configured one is owned."""
        named = host.lower()
        if isinstance(self.transport, Transport) and named not in self.transport.owned:
            if not _NAMED_BY_VENDOR.fullmatch(named):
                raise Unauthorized("Salesforce: the log-in named an instance that is not under salesforce.com")
            self.transport.own(named)


def _decoded(body: bytes, kind: Any, what: str) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Temporary(f"Salesforce: {what}: the answer is cut off or has another form") from exc


def sdk_faults() -> tuple[type[Exception], ...]:
    """Name what the SDK raises; the plain ones come of answers it did not expect."""
    from jwt.exceptions import PyJWTError
    from simple_salesforce.exceptions import SalesforceError

    plain = (ValueError, LookupError, AttributeError, TypeError, ExpatError)
    return (SalesforceError, requests.RequestException, PyJWTError, *plain)


def _from_vendor(exc: Exception) -> bool:
    from simple_salesforce.exceptions import SalesforceError

    return isinstance(exc, (SalesforceError, requests.RequestException))


def _secret(value: Any) -> str:
    return str(value.get_secret_value())
