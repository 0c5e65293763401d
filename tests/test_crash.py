"""The short form of the crash campaign, half of it on each store: `make crash` runs the long one on both."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_killed_workers_lose_nothing_and_double_nothing(store: str, request: pytest.FixtureRequest) -> None:
    left_out = ("HUB_", "COVERAGE_")  # what is killed writes no coverage, and what is measured is slow
    environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    database = request.getfixturevalue("empty_postgres")() if store == "postgres" else nullcontext()
    with database as url:
        child = subprocess.run(
            [sys.executable, "bench/crash", "--short", "--store", store, *(["--url", url] if url else [])],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert child.returncode == 0, child.stderr[-4000:]
    found = json.loads(child.stdout.splitlines()[-1])
    counted = found[store]["campaign"]
    assert found["failed"] == []
    assert counted["asked"]["payment.refund"] >= 100
    assert counted["kills"] >= 10
    assert (counted["lost"], counted["doubled"]) == (0, 0)
    assert counted["effect_before_crash_settled"] >= 25
    assert found[store]["control"]["doubled"] > 0
