"""The endpoints where people decide: approve, deny, cancel and reverse a run; what waits; the freeze of money."""

import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from hub.access import ADMIN, require
from hub.api.guard import principal
from hub.app import App

Id = Annotated[str, Path(max_length=100, description="a run (run_…), or an approval (apr_…)")]
Answer = Callable[[dict[str, Any]], Response]


class Approve(BaseModel):
    """`plan_hash` as it was looked at: another plan is refused."""

    model_config = ConfigDict(extra="forbid")

    plan_hash: str | None = Field(None, max_length=100)


class Why(BaseModel):
    """Why, in words for the one who asked."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(None, max_length=2000)


def install(routes: FastAPI, hub: App, answer: Answer) -> None:
    """Make the routes. `answer` turns the result of a run into a response."""

    def approve(request: Request, id: Id, body: Approve | None = None) -> Response:
        return answer(hub.approve(id, principal(request), seen=body.plan_hash if body else None))

    def deny(request: Request, id: Id, body: Why | None = None) -> Response:
        return _json(hub.deny(id, principal(request), reason=body.reason if body else None))

    def cancel(request: Request, id: Id) -> Response:
        return _json(hub.cancel(id, principal(request)))

    def reverse(request: Request, id: Id) -> Response:
        return answer(hub.reverse(id, principal(request)))

    def approvals(request: Request, pending: Annotated[bool, Query(description="only what still waits")] = True) -> Any:
        require(principal(request), "read")
        return _json(hub.approvals(pending=pending))

    for name, endpoint, summary in (
        ("approve", approve, "Approve a run that waits, and do it"),
        ("deny", deny, "Deny a run that waits"),
        ("cancel", cancel, "Take back a run that waits"),
        ("reverse", reverse, "Undo what a run did, as its `reversal` says"),
    ):
        routes.add_api_route(
            f"/v1/runs/{{id}}/{name}",
            endpoint,
            methods=["POST"],
            tags=["runs"],
            summary=summary,
            responses={200: _RESULT},
        )
    routes.add_api_route("/v1/approvals", approvals, tags=["runs"], summary="List what waits for a person")
    _freezing(routes, hub)


_RESULT: dict[str, Any] = {
    "description": "The result",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Result"}}},
}


def _freezing(routes: FastAPI, hub: App) -> None:
    def frozen(request: Request) -> Response:
        require(principal(request), "read")
        return _json({"frozen": hub.frozen()})

    def freeze(request: Request, body: Why | None = None) -> Response:
        require(principal(request), ADMIN)
        return _json({"frozen": hub.freeze(principal(request), reason=body.reason if body else None)})

    def unfreeze(request: Request) -> Response:
        require(principal(request), ADMIN)
        hub.unfreeze(principal(request))
        return _json({"frozen": None})

    routes.add_api_route("/v1/freeze", frozen, tags=["runs"], summary="Is money frozen, by whom, since when")
    routes.add_api_route("/v1/freeze", freeze, methods=["POST"], tags=["runs"], summary="Hold back all money")
    routes.add_api_route("/v1/freeze", unfreeze, methods=["DELETE"], tags=["runs"], summary="Let money move again")


def _json(value: Any) -> Response:
    return Response(json.dumps(value, ensure_ascii=False, default=str), media_type="application/json")
