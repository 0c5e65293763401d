"""/openapi.json: the routes, the nouns' own schemas, the bearer key, and problem documents for errors."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from hub.api.problems import MEDIA_TYPE
from hub.perform import Result
from hub.records import KINDS

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "code", "retryable"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": ["string", "null"]},
        "code": {"type": "string"},
        "retryable": {"type": "boolean"},
        "retry_after_ms": {"type": ["integer", "null"]},
        "reason": {"type": ["string", "null"]},
        "next_actions": {"type": "array", "items": {"type": "string"}},
        "field_path": {"type": ["string", "null"]},
        "run": {"$ref": "#/components/schemas/Result"},
    },
}
_ANSWER = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "The request was not served; the problem says why", "content": _ANSWER},
    "5XX": {"description": "The hub or a system behind it failed", "content": _ANSWER},
}


def version() -> str:
    """Give the version of Deskhub."""
    try:
        return installed("deskhub")
    except PackageNotFoundError:
        return "0"


def install(app: FastAPI) -> None:
    """Make /openapi.json of this application complete."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            app.openapi_schema = _complete(made)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(made: dict[str, Any]) -> dict[str, Any]:
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= _answers() | {"Problem": _PROBLEM}
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "an API key, hub_…"}}
    made["security"] = [{"key": []}]
    for path, methods in made["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            if path in ("/healthz", "/readyz", "/webhooks/{connection}"):
                operation["security"] = []
    return made


def _answers() -> dict[str, Any]:
    structs: list[Any] = [Result, *(kind.struct for kind in KINDS.values())]
    references, parts = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    found: dict[str, Any] = dict(parts)
    for kind, reference in zip(KINDS.values(), references[1:], strict=True):
        found[kind.name] = {"allOf": [reference, _ENTITY]}
        found[f"{kind.name}_page"] = {
            "type": "object",
            "required": ["data"],
            "properties": {
                "data": {"type": "array", "items": {"$ref": f"#/components/schemas/{kind.name}"}},
                "next_cursor": {"type": ["string", "null"]},
            },
        }
    return found


_ENTITY = {
    "type": "object",
    "required": ["id", "kind"],
    "properties": {
        "id": {"type": "string"},
        "kind": {"type": "string"},
        "connections": {"type": "array", "items": {"type": "object"}},
        "as_of": {"type": ["string", "null"]},
    },
}
