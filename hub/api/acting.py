"""The action endpoints: one typed route per action of the catalogue, and the runs they make."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Header, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, create_model

from hub import perform
from hub.access import require
from hub.actions import Action, Risk
from hub.api import deciding, problems
from hub.api.guard import principal
from hub.app import App
from hub.config import did_you_mean
from hub.errors import Invalid, NotFound, Unauthorized

AT_ONCE = 32
STATUS = {"queued": 202, "running": 202, "needs_approval": 202, "unknown": 202, "needs_attention": 202}
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", max_length=255, description="The same key never acts twice; required unless R0."),
]


class OnBehalfOf(BaseModel):
    """The customer an agent speaks for. A verification claimed here is recorded, it proves nothing."""

    model_config = ConfigDict(extra="forbid")

    customer_ref: str | None = Field(None, max_length=300)
    verification: Literal["none", "claimed", "otp", "session", "human"] = "none"
    channel: str | None = Field(None, max_length=255)
    conversation_ref: str | None = Field(None, max_length=300)


class Agent(BaseModel):
    """Who acts, as told; the key says who it is."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["ai", "human"] = "ai"
    conversation: str | None = Field(None, max_length=300)


class Envelope(BaseModel):
    """What every action takes beside its input."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["preview", "execute"] = "execute"
    reason: str | None = Field(None, max_length=2000)
    on_behalf_of: OnBehalfOf | None = None
    agent: Agent | None = None
    expected_version: str | None = Field(None, max_length=255)
    wait_ms: int | None = Field(None, ge=0, le=60_000)
    repeat: bool = Field(False, description="act although the same was just done under another key")


def install(routes: FastAPI, hub: App) -> None:
    """Make the routes of all actions, of the core and of plugins, and those of runs."""
    limiter = CapacityLimiter(AT_ONCE)
    _catalogue(routes, hub)
    for action in hub.plugins.actions.values():
        _add(routes, hub, action, limiter)
    _unknown(routes, hub)
    _runs(routes, hub)


def _catalogue(routes: FastAPI, hub: App) -> None:
    def actions(request: Request) -> Response:
        require(principal(request), "read")
        return _json({"data": hub.describe_actions()})

    def action(request: Request, name: Annotated[str, Path(max_length=100)]) -> Response:
        require(principal(request), "read")
        for line in hub.describe_actions():
            if line["name"] == name:
                return _json(line)
        raise _no_action(hub, name)

    routes.add_api_route("/v1/actions", actions, tags=["actions"], summary="List the actions with schemas and risk")
    routes.add_api_route("/v1/actions/{name}", action, tags=["actions"], summary="Describe one action")


def _add(routes: FastAPI, hub: App, action: type[Action], limiter: CapacityLimiter) -> None:
    routes.add_api_route(
        f"/v1/actions/{action.name}",
        _endpoint(hub, action, limiter),
        methods=["POST"],
        name=action.name.replace(".", "_"),
        operation_id=action.name.replace(".", "_"),
        summary=action.title,
        description=f"{action.__doc__ or action.title}\n\nRisk {action.risk.value}.",
        tags=["actions"],
        responses={
            200: {"description": "The result", "content": {"application/json": {"schema": _RESULT}}},
            202: {"description": "Not settled yet", "content": {"application/json": {"schema": _RESULT}}},
        },
        openapi_extra={"x-risk": action.risk.value, "x-needs-key": action.risk is not Risk.R0},
    )


_RESULT = {"$ref": "#/components/schemas/Result"}


def _endpoint(hub: App, action: type[Action], limiter: CapacityLimiter) -> Callable[..., Awaitable[Response]]:
    name = "".join(part.title() for part in action.name.replace("_", ".").split("."))
    model: Any = create_model(f"{name}Request", __base__=Envelope, input=(action, ...))

    async def endpoint(request: Request, body: model, key: Key = None) -> Response:
        wanted = _request(action, body, key)
        run = partial(hub.act, wanted, principal(request))
        return answer(await to_thread.run_sync(run, limiter=limiter))

    return endpoint


def _request(action: type[Action], body: Any, key: str | None) -> perform.Request:
    given = _plain(body, exclude={"input"})
    return perform.Request(action=action.name, input=_plain(body.input), key=key, **{"mode": "execute"} | given)


def _plain(model: BaseModel, **more: Any) -> dict[str, Any]:
    """Give what was sent as plain JSON values. Raises Invalid for text and numbers that no JSON can carry on."""
    try:
        found = model.model_dump(mode="json", by_alias=True, exclude_unset=True, **more)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as exc:
        raise Invalid("the body holds half a character or a number that is none", field_path="input") from exc
    return found


def answer(result: dict[str, Any]) -> Response:
    """Answer with a run's result; what was denied or failed is a problem that carries the run."""
    error = result.get("error")
    if result["status"] == "denied":
        return problems.problem(403, error or _denied(result), run=result)
    if result["status"] == "failed" and error:
        status = error.get("status", 502)
        return problems.problem(502 if status == Unauthorized.status else status, error, run=result)
    after = result.get("check_after_ms")
    headers = {"Retry-After": str(-(-after // 1000))} if after is not None else {}
    status = STATUS.get(result["status"], 200)
    if status == 202:
        headers["Location"] = f"/v1/runs/{result['run_id']}"
    return _json(result, status, headers)


def _denied(result: dict[str, Any]) -> dict[str, Any]:
    rule = (result.get("policy") or {}).get("rule")
    return {"code": "refused", "human_message": "policy denies this", "reason": rule}


def _unknown(routes: FastAPI, hub: App) -> None:
    def unknown(name: str) -> Response:
        raise _no_action(hub, name)

    routes.add_api_route("/v1/actions/{name}", unknown, methods=["POST"], include_in_schema=False)


def _no_action(hub: App, name: str) -> NotFound:
    return NotFound(f'there is no action "{name[:60]}"{did_you_mean(name, hub.plugins.actions)}', code="unknown_action")


def _runs(routes: FastAPI, hub: App) -> None:
    def runs(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=100)] = None,
    ) -> Response:
        require(principal(request), "read")
        return _json(hub.runs(limit=limit, cursor=cursor))

    def run(request: Request, id: Annotated[str, Path(max_length=100)]) -> Response:
        caller = principal(request)
        if hub.ledger.get(id).principal != caller.id:
            require(caller, "read")
        return _json(hub.run(id))

    deciding.install(routes, hub, answer)
    routes.add_api_route("/v1/runs", runs, tags=["runs"], summary="List runs, the latest first")
    routes.add_api_route(
        "/v1/runs/{id}", run, tags=["runs"], summary="Get one run", responses={200: {"description": "The result"}}
    )


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(value, ensure_ascii=False, default=str), status, headers, "application/json")
