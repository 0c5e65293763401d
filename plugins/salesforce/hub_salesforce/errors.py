"""What Salesforce's error answers mean to the hub. Only error codes and field names leave this module, never data."""

import re
from typing import Any

import requests

from hub import (
    Conflict,
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

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,120}")
_CODE = re.compile(r"[A-Z][A-Z0-9_]{2,79}")
_NO_COLUMN = re.compile(r"No such column '([A-Za-z0-9_.]+)' on")
_NO_RELATION = re.compile(r"Didn't understand relationship '([A-Za-z0-9_]+)'")
TEMPORARY = frozenset(
    "UNABLE_TO_LOCK_ROW QUERY_TIMEOUT SERVER_UNAVAILABLE CONCURRENT_REQUEST_LIMIT_EXCEEDED UNKNOWN_EXCEPTION "
    "ORG_LOCKED OPERATION_TOO_LARGE TXN_SECURITY_METERING_ERROR".split()
)
NOT_LET_IN = frozenset(
    "INVALID_SESSION_ID INVALID_AUTH_HEADER INVALID_LOGIN INVALID_OPERATION_WITH_EXPIRED_PASSWORD PASSWORD_LOCKOUT "
    "invalid_grant".split()
)
DENIED = frozenset(
    "INSUFFICIENT_ACCESS INSUFFICIENT_ACCESS_OR_READONLY INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY "
    "API_DISABLED_FOR_ORG API_CURRENTLY_DISABLED FORBIDDEN FUNCTIONALITY_NOT_ENABLED".split()
)
GONE = frozenset("NOT_FOUND ENTITY_IS_DELETED DATA_NOT_FOUND".split())
LIMITS = frozenset("REQUEST_LIMIT_EXCEEDED LIMIT_EXCEEDED EXCEEDED_MAX_CONCURRENT_REQUESTS".split())
_WAIT_FOR_QUOTA_S = 900.0
_WAIT_FOR_SLOT_S = 20.0


def details(content: Any) -> tuple[str | None, tuple[str, ...], str]:
    """Give (error code, field names, message) of an error body; the message must not leave the connector."""
    first = content[0] if isinstance(content, list) and content else content
    if not isinstance(first, dict):
        return None, (), ""
    code = first.get("errorCode") or first.get("error")
    fields = first.get("fields") or ()
    names = tuple(f for f in fields if isinstance(f, str) and _NAME.fullmatch(f)) if isinstance(fields, list) else ()
    return (str(code) if code else None), names, str(first.get("message") or "")


def missing_name(content: Any) -> str | None:
    """Give the field or relationship that an INVALID_FIELD answer complains of."""
    message = details(content)[2]
    found = _NO_COLUMN.search(message) or _NO_RELATION.search(message)
    return found[1] if found else None


def translate(exc: Exception, what: str, *, write: bool = False) -> HubError:
    """Turn whatever the SDK or requests raised into the hub's error; `what` says which call, without ids or data."""
    if isinstance(exc, HubError):
        return exc
    if isinstance(exc, requests.RequestException) and not isinstance(exc, requests.exceptions.InvalidJSONError):
        return _unreachable(exc, what)
    status, content = getattr(exc, "status", None), getattr(exc, "content", None)
    if isinstance(status, int):
        if type(exc).__name__ == "SalesforceAuthenticationFailed":
            return _sign_in_refused(getattr(exc, "code", None), what)
        return judged(status, content, what, write=write)
    return Temporary(f"Salesforce: {what}: the answer makes no sense ({type(exc).__name__})")


def judged(status: int, content: Any, what: str, *, write: bool = False) -> HubError:
    """Judge an error answer by its status and error code."""
    code, fields, message = details(content)
    shown = code if code and _CODE.fullmatch(code) else f"HTTP {status}"
    where = f" ({', '.join(fields)})" if fields else ""
    text = f"Salesforce: {what}: {shown}{where}"
    more: dict[str, Any] = {"reason": shown, "field_path": fields[0] if fields else None}
    if status == 401 or code in NOT_LET_IN:
        return Unauthorized(f"{text}; renew the credentials", **more)
    if code in DENIED:
        return Unauthorized(f"{text}; give this user the permission", code="forbidden", **more)
    if code in LIMITS or status == 429:
        wait = _WAIT_FOR_QUOTA_S if "TotalRequests" in message else _WAIT_FOR_SLOT_S
        return RateLimited(f"{text}; the org's API limit is used up", retry_after_s=wait, **more)
    if code in GONE or status == 404:
        return NotFound(f"{text}; it is not there, or not visible to this user", **more)
    if status in (300, 409, 412):
        return Conflict(f"{text}; it changed meanwhile, or is not the only one", **more)
    if status >= 500 and write:
        return Unknown(f"{text}; it is not known whether this was carried out", **more)
    if status >= 500 or code in TEMPORARY:
        return Temporary(text, **more)
    if status == 403:
        return Unauthorized(f"{text}; this user may not do that", code="forbidden", **more)
    return Invalid(text, **more)


def _unreachable(exc: requests.RequestException, what: str) -> HubError:
    sent = was_sent(exc)
    if sent:
        return Unknown(f"Salesforce: {what}: sent, but the answer was lost")
    if sent is False:
        return NotSent(f"Salesforce: {what}: the server could not be reached; nothing was sent")
    return Temporary(f"Salesforce: {what}: the connection broke off")


def _sign_in_refused(code: Any, what: str) -> HubError:
    text = str(code)
    if text.isdigit() and int(text) >= 500:
        return Temporary(f"Salesforce: {what}: the log-in server answered HTTP {text}")
    if text in TEMPORARY:
        return Temporary(f"Salesforce: {what}: {text}", reason=text)
    shown = text if re.fullmatch(r"[A-Za-z_]{3,60}", text) else "refused"
    return Unauthorized(f"Salesforce: {what}: {shown}; check the credentials of this connection", reason=shown)
