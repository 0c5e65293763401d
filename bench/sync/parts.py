"""
Say what the statements of a sync or a remap take, by statement: microseconds a record, and how often it ran.

In a hub's folder: `python bench/sync/parts.py RECORDS sync --full` runs a command of the hub, `python
bench/sync/parts.py RECORDS remap` applies its mapping. SQLite inserts in a thread: what its inserts take is what is
waited for them.
"""

import atexit
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hub.cli
from hub.store import postgres, sqlite

took: dict[str, list[float]] = {}


def timed(method: Callable[..., Any]) -> Callable[..., Any]:
    """Measure a method by the beginning of the SQL that it is given."""

    def run(self: Any, sql: str, *values: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(self, sql, *values)
        finally:
            took.setdefault(" ".join(sql.split())[:70], []).append(time.perf_counter() - began)

    return run


def tell(records: int) -> None:
    """Print the dearest statements."""
    for sql, times in sorted(took.items(), key=lambda one: -sum(one[1]))[:20]:
        print(f"{sum(times) * 1e6 / records:7.2f} us {len(times):6d} {sql}", file=sys.stderr)


def main() -> None:
    """Measure what is named on the command line."""
    records, *words = sys.argv[1:]
    for kind in (sqlite.Connection, postgres.Transaction):
        for name in ("execute", "executemany"):
            setattr(kind, name, timed(getattr(kind, name)))
    atexit.register(tell, int(records))
    sys.argv = ["hub", *words]
    if words == ["remap"]:
        runpy.run_path(str(Path(__file__).with_name("remap.py")), run_name="__main__")
    else:
        hub.cli.main()


if __name__ == "__main__":
    main()
