"""Fixtures that several test files share."""

import importlib.util
import re
import sys
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


class AcmeSandbox(Sandbox):
    """The imaginary help desk of docs/connectors.md, with ninety cases of two notes each."""

    name = "acme"

    def fill(self) -> None:
        self.cases = [self.case(n) for n in range(1, 91)]
        self.kept: dict[str, Any] = {}

    def case(self, n: int) -> dict[str, Any]:
        notes = [
            {"id": f"N-{n}-1", "text": "How long will it take?", "audience": "everyone"},
            {"id": f"N-{n}-2", "text": "warehouse says Tuesday", "audience": "staff"},
        ]
        return {
            "ref": f"AC-{n}",
            "title": f"Case {n}",
            "state": "NWD"[n % 3],
            "changed": "2026-10-01T08:00:00Z",
            "notes": notes,
        }

    def settings(self) -> dict[str, Any]:
        return {"connector": "acme", "base_url": self.url, "token": "good-token"}

    def authorized(self, request: Request) -> Response | None:
        good = request.headers.get("authorization") == "Bearer good-token"
        return None if good else Response({"error": "bad token"}, 401)

    @route("GET", "/me")
    def me(self, request: Request) -> Any:
        return {"account": "acme-1", "live": False}

    @route("GET", "/cases")
    def page(self, request: Request) -> Any:
        after = int(request.arg("after", "0"))
        cases = self.cases[after : after + 40]
        return {"cases": cases, "after": str(after + len(cases)) if cases else None}

    @route("GET", r"/cases/(?P<ref>[^/]+)")
    def one(self, request: Request) -> Any:
        found = [case for case in self.cases if case["ref"] == request.args["ref"]]
        return found[0] if found else Response({"error": "no case"}, 404)

    @route("POST", r"/cases/(?P<ref>[^/]+)/notes")
    def note(self, request: Request) -> Any:
        key, case = request.headers.get("idempotency-key", ""), self.one(request)
        if isinstance(case, Response) or key in self.kept:
            return self.kept.get(key, case)
        note = {"id": f"N-new-{len(self.ledger)}", **request.json()}
        case["notes"].append(note)
        request.effect(f"note {case['ref']}", note=note["id"], audience=note.get("audience"))
        self.kept[key] = note
        return note


def blocks(page: str, language: str) -> list[str]:
    """Give the fenced blocks of a language in a page of docs/."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)


@pytest.fixture(scope="session")
def acme_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three files of docs/connectors.md, written out as a project folder."""
    folder = tmp_path_factory.mktemp("deskhub-acme")
    project, mapping = blocks("connectors.md", "toml")[:2]
    (folder / "pyproject.toml").write_text(project)
    (folder / "acme.toml").write_text(mapping)
    (folder / "hub_acme.py").write_text(blocks("connectors.md", "python")[0])
    return folder


@pytest.fixture(scope="session")
def acme(acme_folder: Path) -> Any:
    """The module hub_acme, imported from where it was written."""
    spec = importlib.util.spec_from_file_location("hub_acme", acme_folder / "hub_acme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hub_acme"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def acme_sandbox() -> Iterator[AcmeSandbox]:
    with AcmeSandbox(World(customers=2)) as server:
        yield server  # type: ignore[misc]
