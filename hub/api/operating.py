"""Endpoints for operators: connections, syncs, health."""

import json
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from hub.access import require
from hub.api.guard import principal
from hub.app import App
from hub.errors import HubError

_STALE = "the file is wrong, the policy before it stays; the log says why"
Name = Annotated[str, Path(max_length=100)]


class SyncRequest(BaseModel):
    """What to pull; everything new of all streams by default."""

    model_config = ConfigDict(extra="forbid")

    streams: list[str] | None = Field(None, min_length=1, max_length=100)
    full: bool = Field(False, description="read everything again")


def install(routes: FastAPI, hub: App) -> None:
    """Make the routes of connections, syncs and health."""
    _health(routes, hub)

    def connections(request: Request) -> Response:
        require(principal(request), "read")
        return _json({"data": [{"name": name, **found} for name, found in hub.status().items()]})

    def sync(request: Request, name: Name, body: SyncRequest | None = None) -> Response:
        require(principal(request), "admin")
        wanted = body or SyncRequest()
        asked = hub.syncs.ask(name, streams=wanted.streams, full=wanted.full)
        return _json(asked, 202, {"Location": f"/v1/syncs/{asked['id']}"})

    def syncs(request: Request, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Response:
        require(principal(request), "read")
        return _json({"data": hub.syncs.latest(limit)})

    def one(request: Request, id: Annotated[str, Path(max_length=100)]) -> Response:
        require(principal(request), "read")
        return _json(hub.syncs.one(id))

    routes.add_api_route(
        "/v1/connections", connections, tags=["connections"], summary="Connections and their freshness"
    )
    routes.add_api_route(
        "/v1/connections/{name}/sync",
        sync,
        methods=["POST"],
        status_code=202,
        tags=["connections"],
        summary="Ask for a sync; it runs in the worker",
    )
    routes.add_api_route("/v1/syncs", syncs, tags=["connections"], summary="List syncs, the latest first")
    routes.add_api_route("/v1/syncs/{id}", one, tags=["connections"], summary="Get one sync with its report")


def _health(routes: FastAPI, hub: App) -> None:
    def healthz() -> Response:
        return _json({"status": "ok"})

    def readyz() -> Response:
        try:
            found = {"status": "ready", "databases": hub.ready()}
            hub.policy.current()
            return _json(found | ({"policy": _STALE} if hub.policy.trouble else {}))
        except HubError as exc:
            return _json({"status": "not ready", "code": exc.error_code}, 503)

    down: dict[int | str, dict[str, Any]] = {503: {"description": "Not ready"}}
    routes.add_api_route("/healthz", healthz, tags=["health"], summary="The process is up")
    routes.add_api_route("/readyz", readyz, tags=["health"], summary="The databases answer", responses=down)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(value, ensure_ascii=False, default=str), status, headers, "application/json")
