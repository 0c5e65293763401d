"""Limits: shared by threads and processes on one account, actions before syncs, the vendor's word respected."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hub.connector import Limit
from hub.errors import ConfigError, RateLimited, Temporary
from hub.sandbox import Request, Response, Sandbox, World
from hub.store.traffic import Traffic, TrafficFile, beside
from hub.transport import Alone, Pace, Patience, Quota, Transport, quotas, yielding
from tests.conftest import Databases

URL = "https://acme.vendor.example"
PER_S = 12
SENDER = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
from hub.connector import Limit
from hub.store.traffic import Traffic
from hub.transport import Pace, Transport
traffic = Traffic(sys.argv[1])
pace = Pace("acme", [Limit("api", {PER_S}, per_s=1)], traffic)
print("ready", flush=True)
sys.stdin.readline()
with Transport("acme", hosts=["acme.vendor.example"], base_url=sys.argv[2], pace=pace) as transport:
    with ThreadPoolExecutor(3) as pool:
        codes = list(pool.map(lambda n: transport.get("{URL}/x").status_code, range(12)))
assert codes == [200] * 12, codes
traffic.close()
"""


class Vendor(Sandbox):
    """Writes down when each request came, and answers as `reply` says."""

    name = "vendor"

    def fill(self) -> None:
        self.came: list[float] = []
        self.reply: Callable[[Request], Response] = lambda _: Response({"ok": True})

    def answer(self, request: Request) -> Response:
        with self.lock:
            self.came.append(time.monotonic())
            return self.reply(request)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with Vendor(World(customers=1)) as server:
        yield server  # type: ignore[misc]


@pytest.fixture
def url(database_url: str) -> str:
    return beside(database_url)


@pytest.fixture
def opened(url: str) -> Iterator[Callable[[], Traffic]]:
    """Opens the same traffic as often as is wanted, as several processes do."""
    made: list[Traffic] = []

    def one() -> Traffic:
        made.append(Traffic(url))
        return made[-1]

    yield one
    for traffic in made:
        traffic.close()


def transport(vendor: Vendor, traffic: Any, *limits: Limit, **patience: float) -> Transport:
    pace = Pace("acme", limits, traffic, on=True)
    how = Patience(**{"backoff_s": 0.05, **patience})  # type: ignore[arg-type]
    return Transport("acme", hosts=["acme.vendor.example"], base_url=vendor.url, pace=pace, patience=how)


def test_two_processes_with_threads_never_exceed_a_window_of_the_account(url: str, vendor: Vendor) -> None:
    command = [sys.executable, "-c", SENDER, url, vendor.url]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.communicate("go\n", timeout=60)
    assert [process.returncode for process in running] == [0, 0]
    came = sorted(vendor.came)
    assert len(came) == 24
    assert all(later - earlier >= 1.0 for earlier, later in zip(came, came[PER_S:], strict=False))


@pytest.fixture(params=["alone", "sqlite", "postgres"])
def traffic(request: pytest.FixtureRequest) -> Iterator[Any]:
    """What keeps slots, of whichever sort."""
    if request.param == "alone":
        yield Alone()
        return
    with request.getfixturevalue(f"{request.param}_databases")() as database:
        shared = Traffic(beside(database))
        yield shared
        shared.close()


def test_a_sync_leaves_the_last_slots_to_actions(traffic: Any) -> None:
    limit = Limit("api", 20, per_s=60)
    taken = [traffic.take("a", limit, sync=True, lasts_s=60)[0] for _ in range(19)]
    assert taken[-1] is None
    assert len({slot for slot in taken if slot is not None}) == 18
    slot, wait = traffic.take("a", limit, sync=True, lasts_s=60)
    assert slot is None
    assert 50 < wait <= 60
    assert traffic.take("a", limit, sync=False, lasts_s=60)[0] is not None
    assert traffic.take("another account", limit, sync=True, lasts_s=60)[0] is not None


def test_a_limit_without_reserve_is_used_whole_by_syncs(traffic: Any) -> None:
    limit = Limit("export", 10, per_s=60, reserve=0)
    assert None not in [traffic.take("a", limit, sync=True, lasts_s=60)[0] for _ in range(10)]


def test_a_slot_that_was_answered_late_is_booked_from_then_on(traffic: Any) -> None:
    limit = Limit("api", 1, per_s=60)
    slot, _ = traffic.take("a", limit, sync=False, lasts_s=1)
    traffic.answered("a", limit, slot)
    assert 50 < traffic.take("a", limit, sync=False, lasts_s=1)[1] <= 60


def test_an_action_that_waits_goes_before_a_saturating_sync(opened: Callable[[], Traffic], vendor: Vendor) -> None:
    limit, order, over = Limit("api", 4, per_s=1, reserve=1), list[str](), threading.Event()
    vendor.reply = lambda request: order.append(request.path) or Response({})  # type: ignore[func-returns-value]

    def pull() -> None:
        with transport(vendor, opened(), limit) as session, yielding():
            while not over.is_set():
                session.get(f"{URL}/pull")

    with ThreadPoolExecutor(3) as pool, transport(vendor, opened(), limit) as acting:
        pulls = [pool.submit(pull) for _ in range(3)]
        while len(order) < 3:
            time.sleep(0.01)
        for _ in range(3):  # more than is left to it at once: it has to wait, and no sync goes before
            acting.get(f"{URL}/act")
        between = order[order.index("/act") :]
        over.set()
        assert [one.result() for one in pulls] == [None] * 3
    assert "/pull" not in between[: len(between) - between[::-1].index("/act")]


def test_a_429_seen_by_one_process_makes_the_others_wait(opened: Callable[[], Traffic], vendor: Vendor) -> None:
    export, api = Limit("export", 10, per_s=60, match="/export", reserve=0), Limit("api", 400, per_s=60)
    vendor.reply = lambda _: Response({}, 429, {"Retry-After": "150"})
    with transport(vendor, opened(), export, api) as one, transport(vendor, opened(), export, api) as other:
        assert one.get(f"{URL}/export").status_code == 429
        vendor.reply = lambda _: Response({})
        with pytest.raises(RateLimited) as caught, yielding():
            other.get(f"{URL}/export")
        assert 140 < (caught.value.retry_after_s or 0) <= 150
        assert other.get(f"{URL}/other").status_code == 200
    assert len(vendor.came) == 2


def test_a_storm_of_429_ends(opened: Callable[[], Traffic], vendor: Vendor) -> None:
    until = time.monotonic() + 0.5
    vendor.reply = lambda _: Response({}, 200 if time.monotonic() > until else 429)  # as Stripe: no Retry-After
    limit = Limit("api", 100, per_s=1)
    with ThreadPoolExecutor(6) as pool:
        sessions = [transport(vendor, opened(), limit, backoff_s=0.2, tries=8) for _ in range(2)]
        codes = list(pool.map(lambda n: sessions[n % 2].get(f"{URL}/x").status_code, range(12)))
        for session in sessions:
            session.close()
    assert codes == [200] * 12
    assert len(vendor.came) < 12 + 6 * 6


def test_a_wait_is_bounded_and_then_rate_limited(traffic: Any, vendor: Vendor, clock: Any) -> None:
    with transport(vendor, traffic, Limit("export", 2, per_s=60, match="^GET /export"), wait_s=1) as session:
        session.sleep = clock
        for _ in range(2):
            session.get(f"{URL}/export")
        with pytest.raises(RateLimited) as caught:
            session.get(f"{URL}/export")
        assert 50 < (caught.value.retry_after_s or 0) <= 62
        assert clock.slept == []
        assert session.get(f"{URL}/other").status_code == 200
        session.pace.account = "another"
        assert session.get(f"{URL}/export").status_code == 200


def test_a_pull_at_full_speed_waits_for_the_next_window_and_goes_on(vendor: Vendor) -> None:
    now, slept = [1_000_000.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    limit = Limit("export", 10, per_s=60, reserve=0)
    pace = Pace("acme", [limit], Alone(lambda: now[0]))
    with Transport("acme", hosts=["acme.vendor.example"], base_url=vendor.url, pace=pace) as session, yielding():
        session.sleep = sleep
        assert {session.get(f"{URL}/export").status_code for _ in range(25)} == {200}
    assert sum(slept) == pytest.approx(2 * 60, abs=5)


@pytest.mark.parametrize(
    ("headers", "remaining", "syncs", "actions"),
    [
        ({"X-Rate-Limit": "700", "X-Rate-Limit-Remaining": "30"}, 30, 5, 0),
        ({"ratelimit-limit": "700", "ratelimit-remaining": "30", "ratelimit-reset": "41"}, 30, 41, 0),
        ({"RateLimit": "limit=700, remaining=0, reset=41"}, 0, 41, 41),
        ({"RateLimit": '"default";r=30;t=41', "RateLimit-Policy": '"default";q=700;w=60'}, 30, 41, 0),
        ({"ratelimit-limit": "700, 700;w=60", "ratelimit-remaining": "600", "ratelimit-reset": "41"}, 600, 0, 0),
        ({"Sforce-Limit-Info": "api-usage=99990/100000"}, 10, 0, 0),
    ],
)
def test_a_sync_leaves_what_is_left_of_the_vendors_own_quota_to_actions(
    vendor: Vendor, headers: dict[str, str], remaining: int, syncs: int, actions: int
) -> None:
    traffic = Alone()
    vendor.reply = lambda _: Response({}, 200, headers)
    with transport(vendor, traffic, Limit("api", 400, per_s=60)) as session:
        session.get(f"{URL}/x")
    (told,) = traffic.quotas.values()
    assert told.remaining == remaining
    assert traffic.held("acme", "api", sync=True) == pytest.approx(syncs, abs=1)
    assert traffic.held("acme", "api", sync=False) == pytest.approx(actions, abs=1)


def test_quotas_of_single_endpoints_are_told_and_hold_nobody() -> None:
    headers = {
        "x-rate-limit": "700",
        "x-rate-limit-remaining": "699",
        "zendesk-ratelimit-tickets-index": "total=100; remaining=0; resets=41",
    }
    assert quotas(headers) == [Quota("api", 699, 700), Quota("tickets-index", 0, 100, 41, general=False)]
    assert quotas({"RateLimit": "nonsense", "Sforce-Limit-Info": "?", "ratelimit-remaining": "many"}) == []


def test_what_the_vendor_told_is_known_to_all(opened: Callable[[], Traffic]) -> None:
    opened().tell("a", Quota("daily", 400, 1000))
    opened().tell("a", Quota("api", 30, 700, 41.0))
    seen = opened().quotas("a")
    assert [(one.name, one.remaining, one.total) for one in seen] == [("api", 30, 700), ("daily", 400, 1000)]
    assert seen[0].resets_s == pytest.approx(41, abs=1)
    assert seen[1].resets_s is None
    assert 0 <= seen[1].age_s < 10


def test_a_free_slot_is_counted_once(opened: Callable[[], Traffic]) -> None:
    limit, traffics = Limit("api", 25, per_s=60), [opened() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda n: traffics[n % 4].take("a", limit, sync=False, lasts_s=60)[0], range(60)))
    slots = [slot for slot in got if slot is not None]
    while len(slots) < 25:  # a slot that another process looks at just then is passed over, not lost
        slot = traffics[0].take("a", limit, sync=False, lasts_s=60)[0]
        assert slot is not None
        slots.append(slot)
    assert sorted(slots) == list(range(25))
    assert traffics[0].free("a", limit) == 0


def test_a_clock_that_went_back_blocks_nobody_for_long(tmp_path: Path) -> None:
    now = [1_000_000.0]
    traffic = Traffic("", TrafficFile(tmp_path / "traffic.db", lambda: now[0]))
    limit = Limit("api", 1, per_s=1)
    assert traffic.take("a", limit, sync=False, lasts_s=1)[0] == 0
    now[0] -= 3600
    assert traffic.take("a", limit, sync=False, lasts_s=1)[0] is None
    assert traffic.take("a", limit, sync=False, lasts_s=1)[0] == 0
    traffic.close()


def test_a_file_that_is_no_traffic_is_named(tmp_path: Path) -> None:
    (tmp_path / "traffic.db").write_bytes(b"no database at all, but long enough to be looked at" * 30)
    with pytest.raises(Temporary, match=r"traffic\.db: cannot be used .* may be deleted"):
        Traffic(f"sqlite:///{tmp_path}/traffic.db")
    with pytest.raises(ConfigError):
        Traffic("mysql://localhost/x")


def test_a_dropped_connection_is_made_anew(postgres_databases: Databases) -> None:
    from tests.stores import OTHERS

    with postgres_databases() as url:
        traffic, other = Traffic(url), Traffic(url)
        other._kept.run(OTHERS)
        assert traffic.take("a", Limit("api", 2, per_s=60), sync=False, lasts_s=60)[0] is not None
        for one in (traffic, other):
            one.close()
