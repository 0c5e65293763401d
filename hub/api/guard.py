"""Who may come in: a Bearer key on everything but health, looked up before anything else is read."""

from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.access import Principal
from hub.api import problems
from hub.app import App
from hub.errors import HubError

OPEN = frozenset({"/healthz", "/readyz"})


class Guard:
    """ASGI middleware that puts the caller's Principal into the request, or answers 401."""

    def __init__(self, inner: ASGIApp, hub: App) -> None:
        self.inner = inner
        self.hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            return await self.inner(scope, receive, send)
        kind, _, key = HTTPConnection(scope).headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not key.strip():
            refusal = problems.unauthorized("a key is needed: Authorization: Bearer hub_…")
            return await refusal(scope, receive, send)
        try:
            principal = await run_in_threadpool(partial(self.hub.principal, key.strip()))
        except HubError as exc:
            refusal = problems.of_error(exc) if exc.status != 401 else problems.unauthorized(exc.message)
            return await refusal(scope, receive, send)
        scope.setdefault("state", {})["principal"] = principal
        return await self.inner(scope, receive, send)


def principal(request: Request) -> Principal:
    """Give the caller whom the guard let in."""
    found: Principal = request.state.principal
    return found
