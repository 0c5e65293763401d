"""
The 500-customer world through all four connectors: seconds, memory, and what a second full pass changes.

Sandboxes run in a process of their own. Prints one JSON object; exits 1 where a number that must hold does not.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
LIMITS = {"full_seconds": 15.0, "peak_rss_mb": 200.0, "demo_seconds": 20.0, "help_ratio": 7.0, "changed_again": 0}
HUB = (sys.executable, "-m", "hub.cli")


def measured(*command: str, cwd: Path) -> tuple[float, float, str]:
    """Run a command; give its seconds, its peak memory in MB and what it printed."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, cwd=cwd, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        printed = out.read()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024, printed


def synced(folder: Path, *words: str) -> tuple[float, float, dict[str, int]]:
    """Sync everything; give seconds, memory, and the totals over all tables."""
    seconds, memory, printed = measured(*HUB, "sync", *words, "--json", cwd=folder)
    lines = [line for tables in json.loads(printed)["connections"].values() for line in tables.values()]
    return seconds, memory, {key: sum(line[key] for line in lines) for key in ("read", "changed", "rejected")}


def rounds(folder: Path) -> dict[str, object]:
    """Measure the first, the second and the incremental pass, each round on an empty database."""
    full, again, little, peak = [], [], [], 0.0
    totals: dict[str, int] = {}
    changed_again = 0
    for n in range(ROUNDS):
        for file in folder.glob("*.db*"):
            file.unlink()
        seconds, memory, totals = synced(folder, "--full")
        full.append(seconds)
        more, memory_2, second = synced(folder, "--full")
        again.append(more)
        last, _, _ = synced(folder)
        little.append(last)
        changed_again += second["changed"]
        peak = max(peak, memory, memory_2)
        sys.stderr.write(f"round {n + 1}: full {seconds:.2f} s, again {more:.2f} s, incremental {last:.2f} s\n")
    return {
        "read": totals["read"],
        "rejected": totals["rejected"],
        "full_seconds": round(statistics.median(full), 2),
        "again_seconds": round(statistics.median(again), 2),
        "incremental_seconds": round(statistics.median(little), 2),
        "changed_again": changed_again,
        "peak_rss_mb": round(peak, 1),
    }


def start_up(folder: Path) -> dict[str, float]:
    """Compare `hub --help` with an interpreter that imports three modules, interleaved."""
    helps, bases = [], []
    for _ in range(7):
        helps.append(measured(*HUB, "--help", cwd=folder)[0])
        bases.append(measured(sys.executable, "-c", "import json, argparse, asyncio", cwd=folder)[0])
    return {"help_ratio": round(statistics.median(helps) / statistics.median(bases), 2)}


def main() -> int:
    """Run everything and print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [*HUB, "sandbox", "up", "--customers", "500", "--write", "config.toml"]
        sandboxes = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not (folder / "config.toml").exists() or not (folder / "config.toml").read_text():
                time.sleep(0.1)
            figures: dict[str, object] = rounds(folder)
        finally:
            sandboxes.terminate()
            sandboxes.wait(20)
        figures |= start_up(folder)
        seconds, memory, _ = measured(*HUB, "demo", "--json", cwd=folder)
        figures |= {"demo_seconds": round(seconds, 2), "demo_rss_mb": round(memory, 1)}
    missed = {key: limit for key, limit in LIMITS.items() if float(str(figures[key])) > limit}
    print(json.dumps({**figures, "limits": LIMITS, "missed": missed}))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
