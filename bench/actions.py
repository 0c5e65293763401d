"""
What the hub adds to an action: a refund with its three reads against a backend that takes 50 ms for each request.

The vendor's SDK alone does the same four requests, turn by turn with the hub's REST API, while a full sync of other
connections runs beside; on SQLite, then on Postgres. Before that, the API and its worker are measured at rest. The last
line of stdout is one JSON object; exits 1 where a number that must hold does not.
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
from stores import arguments, chosen, database, hub_table

from hub.app import App

TURNS, WARM, AT_ONCE, TOGETHER, ACCEPTED = 120, 5, 16, 240, 60
BACKEND_S = 0.05
SETTLE_S, REST_S = 8.0, 12.0
LIMITS = {
    "added_p50_ms": 20.0, "added_p50_ratio": 0.10, "added_p99_ms": 120.0, "accept_p50_ms": 15.0, "per_second": 25.0,
    "idle_mb": 250.0, "idle_core": 0.05,
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
    """Ask for actions without waiting for their end (`wait_ms` 0): what it takes until the run is on the disk."""
    took = []
    for intent in many_of(supply, ACCEPTED):
        began = time.perf_counter()
        if through(intent, wait_ms=0, status=202) != 202:
            raise SystemExit("an action was not accepted but worked to its end")
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(4 * BACKEND_S)  # the run is worked meanwhile
    return {"accept_p50_ms": spread(took)["p50_ms"], "accept_p99_ms": spread(took)["p99_ms"]}


def resting(api: int) -> dict[str, float]:
    """Measure the API and its worker while nobody asks for anything: resident memory, and their share of a core."""
    children = Path(f"/proc/{api}/task/{api}/children").read_text().split()
    if len(children) != 1:
        raise SystemExit(f"expected the API to have one worker, not {len(children)}")
    both = (api, int(children[0]))
    time.sleep(SETTLE_S)
    before, began = sum(map(_seconds, both)), time.monotonic()
    time.sleep(REST_S)
    share = (sum(map(_seconds, both)) - before) / (time.monotonic() - began)
    return {"idle_mb": round(sum(map(_resident_mb, both)), 1), "idle_core": round(share, 4)}


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def synchronous(app: App, url: str | None) -> str:
    """See that the ledger waits for the disk at each commit, and give what says so."""
    wanted = {"synchronous": "2"} if url is None else {"synchronous_commit": "on", "fsync": "on"}
    with app.ledger.database.write() as tx:
        for name, value in wanted.items():
            found = str(tx.execute(f"{'SHOW' if url else 'PRAGMA'} {name}").fetchone()[0])
            if found != value:
                raise SystemExit(f"the ledger does not wait for the disk: {name} is {found}")
    return "FULL" if url is None else "synchronous_commit and fsync on"


def measured(folder: Path, *, url: str | None, many: int) -> dict[str, Any]:
    """Set everything up and measure."""
    with running(
        *HUB, "sandbox", "up", "stripe", "zendesk", "legacy", "--customers", "400", "--json", cwd=folder
    ) as up:
        (folder / "config.toml").write_text(hub_table(url) + up["config"])
        (folder / "policy.toml").write_text(POLICY)
        with App.open(folder / "config.toml") as app:
            app.sync()
            supply, key = Supply(app), app.create_key("bench", ["admin"])["key"]
            asserted = synchronous(app, url)
            stripe_url = up["sandboxes"]["stripe"]
            slow = {"match": " /v1/", "do": f"slow:{BACKEND_S}s", "times": 10**9}
            urlopen(Request(f"{stripe_url}/_sandbox/faults", json.dumps(slow).encode()), timeout=10).close()
            with running(*HUB, "serve", "--port", "0", "--json", cwd=folder) as served:
                direct, through = Direct(stripe_url), Through(served["url"], key)
                through(many_of(supply, 1)[0])
                say("at rest")
                found = resting(served["pid"])
                with syncing(folder) as syncs:
                    found |= turns(direct, through, supply, many)
                    say("at once")
                    found["direct_per_second"] = together(direct, supply)
                    found["per_second"] = together(through, supply)
                    say("accepting")
                    found |= accepting(through, supply)
            return found | {"full_syncs_beside": len(syncs), "synchronous": asserted}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    arguments(parser)
    parser.add_argument("--turns", type=int, default=TURNS)
    given = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("HUB_") and name != "HUB_TEST_PG_URL"]:
        del os.environ[name]
    stores: dict[str, dict[str, Any]] = {}
    for store in chosen(given):
        say(store)
        with database(store, given.url) as url, tempfile.TemporaryDirectory(prefix="deskhub-actions-") as folder:
            stores[store] = measured(Path(folder), url=url, many=given.turns)
    failed = [
        f"{store}: {name}" for store, found in stores.items() for name, limit in LIMITS.items()
        if not _holds(name, found[name], limit)
    ]  # fmt: skip
    print(json.dumps({"bench": "actions", "holds": not failed, "failed": failed, "limits": LIMITS, **stores}))
    return 1 if failed else 0


def _holds(name: str, value: float, limit: float) -> bool:
    return value >= limit if name == "per_second" else value <= limit


if __name__ == "__main__":
    sys.exit(main())
