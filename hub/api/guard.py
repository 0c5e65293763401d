"""
Who and what may come in: a Bearer key, looked up first, and no body beyond a limit.

Health needs no key; a webhook carries its vendor's signature instead.
"""

from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.access import Principal
from hub.api import problems
from hub.app import App
from hub.errors import HubError, Unauthorized

OPEN = frozenset({"/healthz", "/readyz"})
SIGNED = "/webhooks/"
MAX_BODY = 1_000_000


class Guard:
    """ASGI middleware that puts the caller's Principal into the request, or answers 401."""

    def __init__(self, inner: ASGIApp, hub: App) -> None:
        self.inner = inner
        self.hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _open(scope["path"]):
            refusal = await self._let_in(scope)
            if refusal is not None:
                return await refusal(scope, receive, send)
        return await self.inner(scope, _limited(receive), send)

    async def _let_in(self, scope: Scope) -> Response | None:
        kind, _, key = HTTPConnection(scope).headers.get("authorization", "").partition(" ")
        try:
            if kind.lower() != "bearer" or not key.strip():
                raise Unauthorized("a key is needed: Authorization: Bearer hub_…")
            found = await run_in_threadpool(partial(self.hub.principal, key.strip()))
        except Unauthorized as exc:
            return problems.unauthorized(exc)
        except HubError as exc:
            return problems.of_error(exc)
        scope.setdefault("state", {})["principal"] = found
        return None


def _open(path: str) -> bool:
    return path in OPEN or path.startswith(SIGNED)


def _limited(receive: Receive) -> Receive:
    got = 0

    async def counted() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > MAX_BODY:
            raise HTTPException(413, f"the body is larger than {MAX_BODY:,} bytes")
        return message

    return counted


def principal(request: Request) -> Principal:
    """Give the caller whom the guard let in."""
    found: Principal = request.state.principal
    return found
