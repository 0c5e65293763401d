"""
Full, unchanged and slightly changed syncs of Zendesk-like tickets, beside the raw limit, dlt, airbyte-cdk and zenpy.

Everybody reads the same pages from one server in a process of its own, with the same pragmas and a commit a page, turn
by turn. Progress goes to stderr; the last line of stdout is one JSON object. Exits 1 where a number that must hold does
not. `python bench/sync --records 20000 --growth 0` is a quick look.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from crowd import crowd
from rounds import Bench
from stage import Hub, Peers, postgres, say, server

PEERS = Path(__file__).parents[2] / ".venv-peers"
MUST = {
    "sqlite": {
        "full": {
            "of_raw": 0.35, "of_dlt": 7.0, "of_airbyte": 6.0, "of_zenpy": 15.0, "cpu_us": -35.0, "peak_rss_mb": -130.0,
        },
        "unchanged": {"of_raw": 0.9}, "one_percent": {"of_raw": 0.7}, "remap_nothing": {"of_raw": 1.1},
        "remap_everything": {"of_raw": 0.40},
    },
    "postgres": {
        "full": {"of_raw": 0.30, "of_dlt": 5.0, "peak_rss_mb": -130.0}, "unchanged": {"of_raw": 0.8},
        "one_percent": {"of_raw": 0.7}, "remap_nothing": {"of_raw": 0.7}, "remap_everything": {"of_raw": 0.25},
    },
    "growth": {"ratio": -1.25},
    "crowd": {"first_page_s": -30.0, "idle_share": -0.05},
}  # fmt: skip
"""What must be reached; a limit with a minus in front must not be passed."""


def compared(bench: Bench) -> dict[str, Any]:
    """Give a store's figures, the full pass also beside the peers."""
    found = bench.figures()
    for peer in ("dlt", "airbyte", "zenpy"):
        if peer in bench.runs:
            found["full"][f"of_{peer}"] = bench.ratio("full", to=peer)
    return found


def grown(folder: Path, records: int) -> dict[str, Any]:
    """Compare what a record costs in a large first pass with what it costs in one of 50,000, before and after it."""
    with server(folder / "large", records) as (large,), server(folder / "small", 50_000) as (small,):
        runs = []
        for name, url in (("a", small), ("b", small), ("large", large), ("c", small), ("d", small)):
            hub = Hub(folder / f"grow-{name}", "sqlite:///hub.db", url)
            runs.append((name, hub.sync("--full")))
            say(f"growth {name}: {runs[-1][1].records} records, {runs[-1][1].rate:,.0f} records/s")
    few = statistics.median(run.seconds / run.records for name, run in runs if name != "large") * 1e6
    ((many, cpu),) = [(run.seconds / run.records * 1e6, run.cpu_us) for name, run in runs if name == "large"]
    return {"records": records, "us_at_50000": round(few, 1), "us": round(many, 1), "ratio": round(many / few, 3),
            "cpu_us": round(cpu, 1)}  # fmt: skip


def missed(figures: dict[str, Any]) -> list[str]:
    """Name the numbers that must hold and do not."""
    found = []
    for part, lines in MUST.items():
        if part not in figures:
            continue
        for name, limits in lines.items():
            told = figures[part][name] if isinstance(limits, dict) else figures[part]
            for key, limit in limits.items() if isinstance(limits, dict) else [(name, limits)]:
                if key in told and (told[key] > -limit if limit < 0 else told[key] < limit):
                    found.append(f"{part} {name} {key}: {told[key]}, must be {'≤' if limit < 0 else '≥'} {abs(limit)}")
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/sync", description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument(
        "--few", type=int, default=20_000, help="records for dlt, airbyte-cdk and zenpy, which are slow"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth", type=int, default=1_000_000, help="records of the large pass; 0 leaves it out")
    parser.add_argument("--connections", type=int, default=1000, help="connections due at once; 0 leaves it out")
    parser.add_argument("--store", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--peers", type=Path, default=PEERS, help="the peers' venv, made where it is missing")
    return parser.parse_args()


def main() -> int:
    """Run everything and print the figures."""
    given = arguments()
    peers = Peers(given.peers.absolute())
    peers.ready()
    figures: dict[str, Any] = {
        "bench": "sync",
        "records": given.records,
        "rounds": given.rounds,
        "cores": os.cpu_count(),
    }
    wrong: list[str] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deskhub-bench-")))
        plain, changed = stack.enter_context(server(folder / "pages", given.records, "changed"))
        (few,) = stack.enter_context(server(folder / "few", min(given.few, given.records)))
        for store in ("sqlite", "postgres") if given.store == "both" else (given.store,):
            new = stack.enter_context(postgres(folder)) if store == "postgres" else str
            work = folder / f"{store}-others"
            work.mkdir()
            bench = Bench(store, work, peers, plain, changed, few, new, given.records)
            for number in range(given.rounds):
                bench.round(number)
            figures[store] = compared(bench)
            wrong += bench.wrong
        if given.growth:
            figures["growth"] = grown(folder, given.growth)
        if given.connections:
            figures["crowd"] = crowd(folder, given.connections)
    failed = [*wrong, *missed(figures)]
    for text in failed:
        say(f"does not hold: {text}")
    print(json.dumps({**figures, "holds": not failed, "failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
