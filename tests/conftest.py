"""Fixtures that several test files share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.sandbox import Request, Response, Sandbox, World, route

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real recordings and specifications beside the checkout; tests that need it skip without it."""
    if not (SHARED / "recordings").is_dir():
        pytest.skip("needs ../shared (recordings and specifications) beside the checkout")
    return SHARED


class Echo(Sandbox):
    """Answers every request with what arrived; the plainest server the frame allows."""

    name = "echo"

    @route("GET", r"/.*")
    def read(self, request: Request) -> Any:
        return {"path": request.path, "query": request.query, "host": request.headers.get("host")}

    @route("POST", r"/.*")
    def write(self, request: Request) -> Any:
        request.effect("echo", body=request.body.decode())
        return Response({"ok": True}, 201)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo(World(customers=2)) as server:
        yield server  # type: ignore[misc]


@pytest.fixture
def clock() -> Callable[[float], None]:
    """A sleep that only remembers how long it was asked for, in `clock.slept`."""

    def sleep(seconds: float) -> None:
        sleep.slept.append(seconds)  # type: ignore[attr-defined]

    sleep.slept = []  # type: ignore[attr-defined]
    return sleep
