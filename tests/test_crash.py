"""The short form of the crash campaign: `make crash` runs the long one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.timeout(300)
def test_killed_workers_lose_nothing_and_double_nothing() -> None:
    left_out = ("HUB_", "COVERAGE_")  # what is killed writes no coverage, and what is measured is slow
    environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    child = subprocess.run(
        [sys.executable, "bench/crash", "--short"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr[-4000:]
    found = json.loads(child.stdout.splitlines()[-1])
    counted = found["campaign"]
    assert found["failed"] == []
    assert counted["asked"]["payment.refund"] >= 200
    assert counted["kills"] >= 20
    assert (counted["lost"], counted["doubled"]) == (0, 0)
    assert counted["effect_before_crash_settled"] >= 50
    assert found["control"]["doubled"] > 0
