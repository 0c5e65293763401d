"""What the README tells to type works as it is told."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def bash(script, **env):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PATH": path, **env},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_first_two_blocks_are_the_two_commands():
    assert BLOCKS[:2] == ["make demo\n", "make test\n"]


@pytest.mark.timeout(300)
@pytest.mark.skipif(not (ROOT / ".venv/.stamp").exists(), reason="make demo needs the .venv that make builds")
def test_make_demo_runs():
    shown = bash(BLOCKS[0])
    for part in ("salesforce", "zendesk", "stripe", "legacy", "refund", "address"):
        assert part in shown.lower()


@pytest.mark.timeout(300)
def test_the_tour_runs_as_it_is_told(tmp_path, databases):
    port = free_port()
    script = "\n".join(BLOCKS[2:])
    assert script.count('cd "$(mktemp -d)"\n') == 1
    assert script.count("8321") == 1
    script = script.replace("source .venv/bin/activate\n", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n")
    script = script.replace('cd "$(mktemp -d)"', f"cd {tmp_path}").replace("8321", str(port))
    with databases() as url:
        shown = bash(script, HUB_HUB__PORT=str(port), **({} if "sqlite" in url else {"HUB_HUB__DATABASE_URL": url}))
    assert '"status": "previewed"' in shown
    assert re.findall(r'"replayed": (true|false)', shown) == ["false", "false", "true"]
