"""
What the hub adds to an action: a refund with its three reads against a backend that takes 50 ms for each request.

The vendor's SDK alone does the same four requests, turn by turn with the hub's REST API, while a full sync of other
connections runs beside. Prints one JSON object; exits 1 where a number that must hold does not.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import requests
import stripe
from crash.intents import Intent, Size, Supply

from hub.app import App

TURNS, WARM, AT_ONCE, TOGETHER, ACCEPTED = 120, 5, 16, 240, 60
BACKEND_S = 0.05
LIMITS = {
    "added_p50_ms": 20.0, "added_p50_ratio": 0.10, "added_p99_ms": 120.0, "accept_p50_ms": 15.0, "per_second": 25.0,
}  # fmt: skip
HUB = (sys.executable, "-m", "hub.cli")
POLICY = '[[rule]]\nname = "all refunds"\naction = "payment.refund"\nverdict = "allow"\n'


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


@contextmanager
def running(*command: str, cwd: Path) -> Iterator[dict[str, Any]]:
    """Run a command that prints one JSON line when it is ready, for as long as the block lasts."""
    child = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(command)} did not start")
        yield json.loads(line) | {"pid": child.pid}
    finally:
        child.send_signal(signal.SIGTERM)
        child.communicate()


@contextmanager
def syncing(folder: Path) -> Iterator[list[float]]:
    """Run full syncs of the other connections, one after the other; collect what each took."""
    took: list[float] = []
    over = threading.Event()

    def again() -> None:
        while not over.is_set():
            began = time.monotonic()
            subprocess.run([*HUB, "sync", "zendesk", "legacy", "--full", "--json"], cwd=folder, check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
            took.append(round(time.monotonic() - began, 2))

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


class Direct:
    """The same four requests by the vendor's SDK, with nothing of the hub between."""

    def __init__(self, base: str) -> None:
        self.own = threading.local()
        self.base = base

    def __call__(self, intent: Intent) -> None:
        if not hasattr(self.own, "sdk"):
            http = stripe.RequestsClient(session=requests.Session())
            self.own.sdk = stripe.StripeClient(
                "sk_test_sandbox", base_addresses={"api": self.base}, http_client=http, max_network_retries=0
            )
        api, payment = self.own.sdk.v1, intent.input["payment_ref"].rpartition("/")[2]
        api.payment_intents.retrieve(payment, {"expand": ["latest_charge"]})
        body = {"payment_intent": payment, "amount": intent.input["amount"]["amount"]}
        made = api.refunds.create(body, options={"idempotency_key": f"direct-{intent.number}"})
        api.refunds.retrieve(made.id)
        api.payment_intents.retrieve(payment, {"expand": ["latest_charge"]})


class Through:
    """An action through the hub's REST API."""

    def __init__(self, url: str, key: str) -> None:
        self.own = threading.local()
        self.url, self.key = url, key

    def __call__(self, intent: Intent, *, wait_ms: int | None = None, status: int = 200) -> int:
        if not hasattr(self.own, "session"):
            self.own.session = requests.Session()
            self.own.session.headers["Authorization"] = f"Bearer {self.key}"
        body: dict[str, Any] = {"input": intent.input}
        if wait_ms is not None:
            body["wait_ms"] = wait_ms
        headers = {"Idempotency-Key": f"bench-{intent.number}"}
        answer = self.own.session.post(f"{self.url}/v1/actions/payment.refund", json=body, headers=headers, timeout=60)
        if answer.status_code not in (status, 200):
            raise SystemExit(f"an action was answered with {answer.status_code}: {answer.text[:300]}")
        return int(answer.status_code)


def timed(act: Callable[[Intent], object], intent: Intent) -> float:
    began = time.perf_counter()
    act(intent)
    return (time.perf_counter() - began) * 1000


def turns(direct: Direct, through: Through, supply: Supply, many: int) -> dict[str, Any]:
    """Do one directly, one through the hub, and so on."""
    mine, theirs = [], []
    for intent in many_of(supply, 2 * WARM):
        (direct if intent.number % 2 else through)(intent)
    for n, intent in enumerate(many_of(supply, 2 * many)):
        (mine if n % 2 else theirs).append(timed(through if n % 2 else direct, intent))
        if n % 80 == 79:
            say(f"{n + 1} of {2 * many} turns")
    found = {"direct": spread(theirs), "hub": spread(mine)}
    found["added_p50_ms"] = round(found["hub"]["p50_ms"] - found["direct"]["p50_ms"], 1)
    found["added_p50_ratio"] = round(found["added_p50_ms"] / found["direct"]["p50_ms"], 3)
    found["added_p99_ms"] = round(found["hub"]["p99_ms"] - found["direct"]["p99_ms"], 1)
    return found


def spread(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50_ms": round(cuts[49], 1), "p90_ms": round(cuts[89], 1), "p99_ms": round(cuts[98], 1)}


def many_of(supply: Supply, many: int) -> list[Intent]:
    return supply.take(Size(many, 0, 0, 0, 0))


def together(act: Callable[[Intent], object], supply: Supply) -> float:
    """Do many at once; give how many a second."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(act, many_of(supply, AT_ONCE)))
        began = time.perf_counter()
        list(pool.map(act, many_of(supply, TOGETHER)))
        return round(TOGETHER / (time.perf_counter() - began), 1)


def accepting(through: Through, supply: Supply) -> dict[str, Any]:
    """Ask for actions without waiting for their end (`wait_ms` 0, answered with 202), where the hub offers it."""
    took, accepted = [], 0
    for intent in many_of(supply, ACCEPTED):
        began = time.perf_counter()
        accepted += through(intent, wait_ms=0, status=202) == 202
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(BACKEND_S)
    offered = accepted > ACCEPTED // 2
    return {"offered": offered, "accept_p50_ms": spread(took)["p50_ms"] if offered else None}


def measured(folder: Path, *, url: str | None, many: int) -> dict[str, Any]:
    """Set everything up and measure."""
    own = f'[hub]\ndatabase_url = "{url}"\n' if url else ""
    with running(
        *HUB, "sandbox", "up", "stripe", "zendesk", "legacy", "--customers", "400", "--json", cwd=folder
    ) as up:
        (folder / "config.toml").write_text(own + up["config"])
        (folder / "policy.toml").write_text(POLICY)
        with App.open(folder / "config.toml") as app:
            app.sync()
            supply, key = Supply(app), app.create_key("bench", ["admin"])["key"]
            with app.ledger.database.write() as tx:
                if not url and tx.execute("PRAGMA synchronous").fetchone()[0] != 2:
                    raise SystemExit("the ledger does not wait for the disk: synchronous is not FULL")
            stripe_url = up["sandboxes"]["stripe"]
            slow = {"match": " /v1/", "do": f"slow:{BACKEND_S}s", "times": 10**9}
            urlopen(Request(f"{stripe_url}/_sandbox/faults", json.dumps(slow).encode()), timeout=10).close()
            with running(*HUB, "serve", "--port", "0", "--json", cwd=folder) as served, syncing(folder) as syncs:
                direct, through = Direct(stripe_url), Through(served["url"], key)
                found = turns(direct, through, supply, many)
                say("at once")
                found["direct_per_second"] = together(direct, supply)
                found["per_second"] = together(through, supply)
                found |= accepting(through, supply)
            return found | {"full_syncs_beside": len(syncs), "synchronous": "server" if url else "FULL"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a database of its own to use, postgresql://…; default: SQLite in a new folder")
    parser.add_argument("--turns", type=int, default=TURNS)
    given = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("HUB_") and name != "HUB_TEST_PG_URL"]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="deskhub-actions-") as folder:
        found = measured(Path(folder), url=given.url, many=given.turns)
    failed = [name for name, limit in LIMITS.items() if not _holds(name, found.get(name), limit)]
    store = given.url.partition(":")[0] if given.url else "sqlite"
    print(json.dumps({"bench": "actions", "store": store, "holds": not failed, "failed": failed, "limits": LIMITS,
                      **found}))  # fmt: skip
    return 1 if failed else 0


def _holds(name: str, value: float | None, limit: float) -> bool:
    if value is None:
        return False
    return value >= limit if name == "per_second" else value <= limit


if __name__ == "__main__":
    sys.exit(main())
