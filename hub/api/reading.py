"""The read endpoints: entities by kind and by id, answered as the bytes the store keeps."""

from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import Response

from hub.access import require
from hub.api.guard import principal
from hub.app import App
from hub.config import did_you_mean
from hub.errors import Invalid, NotFound
from hub.records import KINDS, Kind

INCLUDES = ("raw", "provenance")
Id = Annotated[str, Path(min_length=3, max_length=300, description="a hub id, such as cus_…")]
Include = Annotated[str | None, Query(description="raw, provenance, or both with a comma between")]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=1000, description="`next_cursor` of the page before")]
Since = Annotated[str | None, Query(description="only what changed at or after this time (RFC 3339)")]


def install(routes: FastAPI, hub: App) -> None:
    """Make two routes for each kind."""
    for kind in KINDS.values():
        _add(routes, hub, kind)


def _add(routes: FastAPI, hub: App, kind: Kind) -> None:
    known = {"limit", "cursor", "updated_since", *hub.filters(kind.name)}

    def many(request: Request, limit: Limit = 50, cursor: Cursor = None, updated_since: Since = None) -> Response:
        require(principal(request), f"read:{kind.name}")
        filters = _filters(request, known)
        if updated_since:
            filters["updated_since"] = updated_since
        return _json(hub.list(kind.name, filters, limit=limit, cursor=cursor, principal=principal(request)))

    def one(request: Request, id: Id, include: Include = None) -> Response:
        require(principal(request), f"read:{kind.name}")
        _only(request, {"include"})
        body = hub.get(kind.name, id, include=_included(include), principal=principal(request))
        if body is None:
            raise NotFound(f"there is no {kind.name} with this id")
        return _json(body)

    parameters = [_parameter(name) for name in sorted(hub.filters(kind.name) - {"updated_since"})]
    routes.add_api_route(
        f"/v1/{kind.plural}",
        many,
        name=f"list_{kind.plural}",
        summary=f"List {kind.plural}",
        tags=["records"],
        responses={200: _described("A page", f"{kind.name}_page")},
        openapi_extra={"parameters": parameters},
    )
    routes.add_api_route(
        f"/v1/{kind.plural}/{{id}}",
        one,
        name=f"get_{kind.name}",
        summary=f"Get one {kind.name}",
        tags=["records"],
        responses={200: _described("The record", kind.name)},
    )


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}


def _described(text: str, name: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _filters(request: Request, known: set[str]) -> dict[str, str]:
    _only(request, known)
    found = {}
    for name in request.query_params:
        values = request.query_params.getlist(name)
        if len(values) > 1:
            raise Invalid(f"{name}: given {len(values)} times; once is right", field_path=name)
        if name not in ("limit", "cursor", "updated_since"):
            found[name] = values[0]
    return found


def _only(request: Request, known: set[str]) -> None:
    for name in request.query_params:
        if name not in known:
            raise Invalid(f"{name[:60]}: unknown query parameter{did_you_mean(name, known)}", field_path=name[:60])


def _included(text: str | None) -> tuple[str, ...]:
    names = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    for name in names:
        if name not in INCLUDES:
            raise Invalid(f"include: unknown part {name[:60]!r}{did_you_mean(name, INCLUDES)}", field_path="include")
    return names
