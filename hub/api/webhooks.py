"""Where vendors post their webhooks: no key but the vendor's signature, an answer at once, work afterwards."""

import json
from functools import partial
from typing import Annotated

from fastapi import FastAPI, Path, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from hub.api import problems
from hub.app import App
from hub.errors import Invalid, Unauthorized

PREFIX = "/webhooks/"


def install(routes: FastAPI, hub: App) -> None:
    """Make the route of webhooks."""

    async def webhook(request: Request, connection: Annotated[str, Path(max_length=100)]) -> Response:
        body, headers = await request.body(), dict(request.headers)
        try:
            taken = await run_in_threadpool(partial(hub.webhooks.take, connection, body, headers))
        except Unauthorized as exc:
            challenge = {"WWW-Authenticate": 'Signature realm="deskhub"'}
            return problems.problem(401, exc.as_dict(), headers=challenge)
        except Invalid as exc:
            return problems.problem(400, exc.as_dict())
        answer = json.dumps({"status": taken.status, "changes": taken.changes})
        return Response(answer, 202 if taken.status == "accepted" else 200, media_type="application/json")

    routes.add_api_route(
        PREFIX + "{connection}",
        webhook,
        methods=["POST"],
        status_code=202,
        tags=["webhooks"],
        summary="A signed webhook of a vendor; what it names is fetched afterwards",
    )
