"""A hub that is told what to do by its command line, and what it answered."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.app.sandboxes import Sandboxes
from hub.cli import run

ROOT = Path(__file__).parents[2]
MARKET = ROOT / "tests" / "market"
Hub = Callable[..., "Ran"]


class Ran:
    """What a command answered."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        assert self.out.count("\n") == 1, "stdout holds one JSON object and nothing else"
        return json.loads(self.out)

    def failed(self, code: int, text: str) -> None:
        """Hold that it failed with one line that contains the text."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert self.code == code, self.err
        assert len(lines) == 1
        assert text in lines[0]
        assert "Traceback" not in self.err + self.out


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Hub:
    """Run `hub` in an empty folder with the Market plugin installed."""
    monkeypatch.syspath_prepend(str(MARKET))
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("HUB_"):
            monkeypatch.delenv(name)

    def ran(*args: str) -> Ran:
        capfd.readouterr()
        code = run(list(args))
        captured = capfd.readouterr()
        return Ran(code, captured.out, captured.err)

    return ran


@pytest.fixture
def stored(hub: Hub, monkeypatch: pytest.MonkeyPatch, database_url: str) -> str:
    """Let the hub keep what it has in an empty database, of this URL; on both stores in turn."""
    monkeypatch.setenv("HUB_HUB__DATABASE_URL", database_url)
    return database_url


@pytest.fixture
def sandboxes(hub: Hub) -> Iterator[Sandboxes]:
    """A sandbox of Market, up."""
    with Sandboxes.start(["market"], customers=12) as up:
        yield up


@pytest.fixture
def market(stored: str, sandboxes: Sandboxes, tmp_path: Path) -> Any:
    """A sandbox of Market, and a config.toml that points to it."""
    (tmp_path / "config.toml").write_text(sandboxes.toml())
    return sandboxes.sandboxes["market"]
