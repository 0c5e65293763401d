"""Every error the API answers is a problem document (RFC 9457) with what a caller must know to go on."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from hub.api.codes import CODES
from hub.config import plain
from hub.errors import HubError, Unauthorized

log = logging.getLogger("hub.api")
MEDIA_TYPE = "application/problem+json"
_OF_STATUS = {400: "malformed", 404: "no_such_route", 405: "method_not_allowed", 413: "too_large", 415: "not_json"}


def problem(
    status: int,
    error: Mapping[str, Any],
    *,
    headers: Mapping[str, str] | None = None,
    run: Mapping[str, Any] | None = None,
) -> Response:
    """Make a problem document of an error as `HubError.as_dict` gives it; `run` is the run it happened in."""
    code = error["code"]
    body = {
        "type": f"urn:deskhub:error:{code}",
        "title": CODES[code].title if code in CODES else HTTPStatus(status).phrase,
        "status": status,
        "detail": error.get("human_message"),
        "code": code,
        "retryable": bool(error.get("retryable")),
        "retry_after_ms": error.get("retry_after_ms"),
        "reason": error.get("reason"),
        "next_actions": list(error.get("next_actions") or ()),
        "field_path": error.get("field_path"),
    }
    sent = dict(headers or {})
    if body["retry_after_ms"] is not None:
        sent["Retry-After"] = str(-(-int(body["retry_after_ms"]) // 1000))
    if run is not None:
        body["run"] = run
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    return Response(text, status, sent, MEDIA_TYPE)


def unauthorized(exc: Unauthorized) -> Response:
    """Answer a request whose own key is missing or wrong (RFC 6750: a challenge goes with it)."""
    return problem(401, exc.as_dict(), headers={"WWW-Authenticate": 'Bearer realm="deskhub"'})


def of_error(exc: HubError, run: Mapping[str, Any] | None = None) -> Response:
    """Answer an error of the hub. A system's refusal of the hub's credentials is 502: the caller's key is good."""
    error = exc.as_dict()
    return problem(502 if isinstance(exc, Unauthorized) else exc.status, error, run=run)


def install(app: FastAPI) -> None:
    """Make every error of this application a problem document."""
    app.add_exception_handler(HubError, _hub_error)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _internal)


def _own(code: str, message: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "human_message": message, **more}


def _hub_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HubError)
    if exc.status >= 500:
        log.warning("%s %s: %s", request.method, _pattern(request), exc.error_code)
    return of_error(exc)


def _validation(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    first = exc.errors()[0]
    if first["type"] == "json_invalid":
        what = f"{first['ctx']['error']} at character {first['loc'][-1]}"
        return problem(400, _own("malformed", f"the body is not JSON: {what}"))
    body = first["loc"] == ("body",)
    if body and first["type"] != "missing" and "json" not in request.headers.get("content-type", ""):
        return problem(415, _own("not_json", "send the body as Content-Type: application/json"))
    more = f" (and {len(exc.errors()) - 1} more)" if len(exc.errors()) > 1 else ""
    told = [error | {"loc": error["loc"][1:]} for error in exc.errors()]
    path, message = plain(told, _body_of(request))
    spot = f"{path}: " if path else f"{first['loc'][0]}: "
    return problem(422, _own("invalid", f"{spot}{message}{more}", field_path=path or None))


def _body_of(request: Request) -> Any:
    """Give the model of this route's body, or None."""
    field = getattr(request.scope.get("route"), "body_field", None)
    return field.field_info.annotation if field is not None else None


def _http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    status, headers = exc.status_code, dict(exc.headers or {})
    if status == 405:
        allowed = _allowed(request)
        headers = {"Allow": ", ".join(allowed)}
        message = f"{request.method} is not possible here; possible: {', '.join(allowed)}"
    elif status == 404:
        message = "there is no such route; see /openapi.json"
    else:
        message = str(exc.detail)
    return problem(status, _own(_OF_STATUS.get(status, "http_error"), message), headers=headers)


def _internal(request: Request, exc: Exception) -> Response:
    log.error("%s %s failed: %s", request.method, _pattern(request), type(exc).__name__, exc_info=exc)
    return problem(500, _own("internal", "the hub failed; its log says why"))


def _pattern(request: Request) -> str:
    """Name the route, not the path: paths hold ids."""
    route = request.scope.get("route")
    return route.path if isinstance(route, Route) else "unknown route"


def _allowed(request: Request) -> list[str]:
    """Name all methods of this path: each route knows only its own."""
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= set(route.methods or ())
    return sorted(methods)
