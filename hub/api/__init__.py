"""The REST API: routes derived from the kinds and the catalogue, a key on all of them, problems for all errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from hub.api import acting, openapi, operating, problems, reading, webhooks
from hub.api.guard import Guard
from hub.app import App


def create_app(hub: App, *, worker: bool = False) -> FastAPI:
    """
    Make the ASGI application of an open hub, which the caller closes.

    With `worker` a worker process runs the syncs that are asked for and fetches what webhooks name; without, threads of
    this one do.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        hub.syncs.in_background(not worker)
        hub.webhooks.in_background(not worker)
        yield
        hub.syncs.in_background(False)
        hub.webhooks.in_background(False)

    app = FastAPI(
        title="Deskhub",
        version=openapi.version(),
        summary="One customer, one order, one ticket, and safe actions",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        responses=openapi.PROBLEMS,
    )
    for part in (operating, reading, acting, webhooks):
        part.install(app, hub)
    problems.install(app)
    app.add_middleware(Guard, hub=hub)
    openapi.install(app)
    return app
