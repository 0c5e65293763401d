"""docs/rest.md holds: its examples run, in order, against a real hub on a sandbox."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn

from hub.api import create_app
from hub.api.acting import Envelope
from hub.app import App
from hub.app.sandboxes import Sandboxes
from hub.perform import Result
from hub.records import KINDS
from tests.conftest import Databases

ROOT = Path(__file__).parents[1]
MARKET = ROOT / "tests" / "market"
PAGE = (ROOT / "docs" / "rest.md").read_text("utf-8")
EXAMPLES = re.findall(r"```http\n(.*?)```", PAGE, re.S)
ANY = "…"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[tuple[str, str]]:
    """A served hub on a Market sandbox, synced: its URL and a key."""
    folder = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(MARKET))
        with Sandboxes.start(["market"], customers=12) as up, databases() as url:
            (folder / "config.toml").write_text(f'[hub]\ndatabase_url = "{url}"\n{up.toml()}')
            with App.open(folder / "config.toml") as app:
                app.sync()
                server = uvicorn.Server(uvicorn.Config(create_app(app), "127.0.0.1", 0, log_level="critical"))
                listening = server.config.bind_socket()
                thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
                listening.listen()
                thread.start()
                key = app.create_key("docs", ["read", "act:*"])["key"]
                yield f"http://127.0.0.1:{listening.getsockname()[1]}", key
                server.should_exit = True
                thread.join()
                listening.close()


def call(api: tuple[str, str], example: str, ids: dict[str, str]) -> tuple[requests.Response, int, Any]:
    """Make the call of an example; give the answer, and the status and the part of the body it should have."""
    for name, value in ids.items():
        example = example.replace(f"{{{name}}}", value)
    head, *parts = example.strip().split("\n\n")
    (method, path), *headers = (line.split(" ", 1) for line in head.splitlines())
    body = parts.pop(0) if method == "POST" else None
    (shown,) = parts
    status, text = shown.split("\n", 1) if shown[:1].isdigit() else ("200", shown)
    sent = {name.rstrip(":"): value for name, value in headers} | {"Authorization": f"Bearer {api[1]}"}
    sent |= {"Content-Type": "application/json"} if body else {}
    answer = requests.request(method, api[0] + path, headers=sent, data=body and body.encode(), timeout=30)
    return answer, int(status), json.loads(text)


def holds(found: Any, shown: Any) -> bool:
    """Say whether an answer has all that is shown of it."""
    if shown == ANY:
        return found is not None
    if isinstance(shown, dict):
        return isinstance(found, dict) and all(name in found and holds(found[name], v) for name, v in shown.items())
    if isinstance(shown, list):
        return isinstance(found, list) and len(found) == len(shown) and all(map(holds, found, shown))
    return bool(found == shown)


def test_the_examples_run_as_they_are_shown(api: tuple[str, str]) -> None:
    key = {"Authorization": f"Bearer {api[1]}"}
    ids = {
        name: requests.get(f"{api[0]}/v1/{name}s?limit=1", headers=key, timeout=30).json()["data"][0]["id"]
        for name in ("customer", "ticket")
    }
    assert len(EXAMPLES) >= 9
    for example in EXAMPLES:
        answer, status, shown = call(api, example, ids)
        assert answer.status_code == status, f"{example}\n{answer.text}"
        assert holds(answer.json(), shown), f"{example}\n{answer.text}"


def test_every_route_is_on_the_page(api: tuple[str, str]) -> None:
    paths = requests.get(f"{api[0]}/openapi.json", headers={"Authorization": f"Bearer {api[1]}"}, timeout=30).json()
    plurals = {kind.plural for kind in KINDS.values()}
    for path in paths["paths"]:
        first = path.removeprefix("/v1/").partition("/")[0]
        if first in plurals:
            assert f"`{first}`" in PAGE or f"/v1/{first}`" in PAGE
        elif not path.startswith(("/v1/actions/", "/webhooks/")):
            assert f"{path}`" in PAGE, path


def test_the_page_of_actions_names_every_member_of_what_is_asked_and_answered() -> None:
    page = (ROOT / "docs" / "actions.md").read_text("utf-8")
    asked, answered = page.partition("## Answers")[0], page.partition("## Answers")[2].partition("## Preview")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", asked, re.M)) == set(Envelope.model_fields) | {"input"}
    members = set(re.findall(r"^\| `(\w+)` \|", answered.partition("always the same members")[2], re.M))
    assert members == set(Result.__struct_fields__)
