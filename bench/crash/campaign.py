"""One campaign: agents ask, workers act and are killed, others carry on, until nothing is open any more."""

import os
import random
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

from intents import Intent, Size
from stage import Stage, say

from hub.access import OPERATOR

WORKERS, OUTSTANDING = 2, 8
AIMED = 0.8
"""The share of kills that wait for a step in `sending`; the others come at any moment."""
EPOCH_S, MID_AIR = 3.0, 3
ROUNDS, PATIENCE_S = 6, 180.0
SETTLE = 10
"""How many times as long as a request may be under way the last runs get to settle, before a day goes by."""
OPEN = (
    "SELECT run.id, run.lease_owner, step.state, step.connection, run.idempotency_key FROM run"
    " JOIN step ON step.run_id = run.id WHERE run.state IN ('running', 'unknown')"
)
WRITES = {"stripe": "POST /v1/refunds", "zendesk": "PUT /api/v2/tickets", "legacy": "INSERT /change_requests"}
EPOCH = {
    "stripe": (
        ("late:0.4s", 5),
        ("slow:0.3s", 2),
        ("drop_before", 1),
        ("drop_after", 1),
        ("status:500", 0.5),
        ("drop_late:0.4s", 0.5),
    ),
    "zendesk": (
        ("late:0.4s", 2),
        ("slow:0.3s", 0.5),
        ("drop_before", 0.4),
        ("drop_after", 0.4),
        ("status:500", 0.3),
        ("drop_late:0.4s", 0.3),
    ),
    "legacy": (("slow:0.4s", 0.5), ("status:500", 0.15)),
}


@dataclass
class Kill:
    """What a killed process left: its open steps by state, and of those in `sending` the runs with an effect."""

    steps: Counter[str] = field(default_factory=Counter)
    happened: set[str] = field(default_factory=set)

    @property
    def moment(self) -> str:
        """Say when it came: a step that is `sending` counts for more than one that is not."""
        if self.happened:
            return "sending, effect there"
        return next((name for name in ("sending", "planned", "unknown") if self.steps[name]), "between runs")


@dataclass
class Crew:
    """A worker process and what it was asked."""

    pid: int
    ear: Connection
    busy: dict[int, Intent] = field(default_factory=dict)


class Campaign:
    """Runs the agents and the killer; `mode` is hub, ignore_keys or control."""

    def __init__(self, stage: Stage, size: Size, *, mode: str, seed: int) -> None:
        self.stage, self.size, self.mode = stage, size, mode
        self.dice = random.Random(seed)
        self.intents = stage.supply.take(size)
        self.todo = deque(self.intents)
        self.effects = {intent.effect: intent for intent in self.intents}
        self.crews: list[Crew] = []
        self.kills: list[Kill] = []
        self.fed = 0
        self.died_alone = 0
        self.seconds = 0.0

    def run(self) -> "Campaign":
        """Run to the end; afterwards `kills`, `intents`, the journal and the vendors' ledgers tell what happened."""
        began = time.monotonic()
        if self.mode == "ignore_keys":
            self.stage.fault("stripe", WRITES["stripe"], "ignore_keys", 1_000_000)
        self.crews = [Crew(*self.stage.worker()) for _ in range(WORKERS)]
        while len(self.kills) < self.size.kills:
            self._epoch()
            if len(self.kills) % 10 == 0:
                say(f"{self.mode}: {len(self.kills)} kills, {self.fed} of {len(self.intents)} asked")
        self._finish()
        for crew in self.crews:
            crew.ear.send("stop")
        for crew in self.crews:
            self._left_alone(crew)
        self.seconds = round(time.monotonic() - began, 1)
        return self

    def _left_alone(self, crew: Crew) -> None:
        """Wait until a worker that was told to stop has done what it was asked: nothing is counted before."""
        end = time.monotonic() + PATIENCE_S
        while os.path.exists(f"/proc/{crew.pid}") and time.monotonic() < end:
            time.sleep(0.01)
        crew.ear.close()

    def _epoch(self) -> None:
        """Set faults, let agents ask for their share, then kill one worker at a chosen moment."""
        self._faults()
        share = len(self.intents) * (len(self.kills) + 1) // self.size.kills
        victim = self.dice.choice(self.crews)
        until = time.monotonic() + EPOCH_S
        while self.fed < share - OUTSTANDING and time.monotonic() < until:
            self._talk(share)
        if self.dice.random() < AIMED:
            while not self._mid_air(victim) and time.monotonic() < until:
                self._talk(share)
        pause = time.monotonic() + self.dice.uniform(0, 0.2)
        while time.monotonic() < pause:
            self._talk(share)
        self._kill(victim)

    def _mid_air(self, victim: Crew) -> bool:
        """Say whether a worker has several steps in `sending` (without a journal: several things to do)."""
        if self.mode == "control":
            return len(victim.busy) > 3
        return sum(state == "sending" for _, _, state, _, _ in self._left(victim)) >= MID_AIR

    def _faults(self) -> None:
        for system, faults in EPOCH.items():
            for do, often in faults:
                times = int(often) + (self.dice.random() < often % 1)
                forgets = self.mode == "ignore_keys" and system == "stripe"
                if times and not (forgets and do.startswith("drop_late")):  # one such fault at a time
                    self.stage.fault(system, WRITES[system], do, times)
        unsaid = 0.01 * (self.size.messages + self.size.orders)
        if self.mode == "hub" and self.size.orders and len(self.kills) < int(unsaid):
            do = "drop_after" if len(self.kills) % 2 == 0 else "drop_before"
            self.stage.fault("legacy", WRITES["legacy"], do)

    def _talk(self, share: int | None = None) -> None:
        """Hear what workers say, and ask for more as long as the share is not used up."""
        for crew in self.crews:
            while self.todo and len(crew.busy) < OUTSTANDING and (share is None or self.fed < share):
                self._ask(crew, self.todo.popleft())
        for ear in wait([crew.ear for crew in self.crews], timeout=0.002):
            crew = next(crew for crew in self.crews if crew.ear is ear)
            self._hear(crew)

    def _ask(self, crew: Crew, intent: Intent) -> None:
        self.fed += not intent.tries and intent.told is None
        intent.told = "asked"
        crew.busy[intent.number] = intent
        crew.ear.send((intent.number, self.mode, intent.action, intent.input, intent.key))

    def _hear(self, crew: Crew) -> None:
        try:
            number, told, run_id = crew.ear.recv()
        except (EOFError, ConnectionError):
            return
        intent = crew.busy.pop(number)
        intent.told = told
        if run_id is not None:
            intent.runs.append(run_id)
        if told.startswith("raised"):
            self.todo.append(intent)  # nothing came of it: the agent asks again under the same key
        elif told == "failed" and intent.tries < ROUNDS:
            intent.tries += 1
            self.todo.append(intent)

    def _left(self, victim: Crew) -> Iterator[tuple[str, str, str, str, str]]:
        with self.stage.watching.read() as tx:
            rows = list(tx.execute(OPEN))
        return (row for row in rows if row[1] and f":{victim.pid}:" in row[1])

    def _kill(self, victim: Crew) -> None:
        """Kill a worker, note what it left, start another; half of the lost callers ask again with the same key."""
        try:
            os.kill(victim.pid, signal.SIGKILL)
        except ProcessLookupError:
            self.died_alone += 1
            say(f"{self.mode}: worker {victim.pid} had died by itself")
        at = time.time()
        while os.path.exists(f"/proc/{victim.pid}"):
            time.sleep(0.001)
        while victim.ear.poll() and victim.busy:
            before = len(victim.busy)
            self._hear(victim)
            if len(victim.busy) == before:
                break
        self.kills.append(self._noted(victim, at))
        self.crews[self.crews.index(victim)] = Crew(*self.stage.worker())
        victim.ear.close()
        for intent in victim.busy.values():
            if self.mode == "control" or self.dice.random() < 0.5 or not self._journaled(intent):
                intent.told = "asked"
                self.todo.appendleft(intent)

    def _noted(self, victim: Crew, at: float) -> Kill:
        kill, mine = Kill(), {intent.key: intent for intent in self.intents}
        left = list(self._left(victim))
        systems = {connection for _, _, state, connection, _ in left if state == "sending"}
        there = {entry["intent"] for name in systems for entry in self.stage.ledger(name) if entry["at"] <= at}
        for run_id, _, state, _, key in left:
            kill.steps[state] += 1
            if state == "sending" and key in mine and mine[key].effect in there:
                kill.happened.add(run_id)
        return kill

    def _journaled(self, intent: Intent) -> bool:
        return self.stage.app.ledger.find(OPERATOR.id, intent.action, intent.key) is not None

    def _finish(self) -> None:
        """Let everything be asked and settled; where a run ended in a definite failure, its agent asks anew."""
        self.stage.calm()
        if self.mode == "ignore_keys":
            self.stage.fault("stripe", WRITES["stripe"], "ignore_keys", 1_000_000)
        end, quiet = time.monotonic() + PATIENCE_S, 0.0
        while time.monotonic() < end:
            self._talk()
            if self.todo or any(crew.busy for crew in self.crews):
                quiet = 0.0
                continue
            quiet = quiet or time.monotonic()
            if self.mode != "control":
                if self._open() and time.monotonic() < quiet + SETTLE * self.size.in_flight_s:
                    time.sleep(0.05)
                    continue
                self._a_day_later()
                self.todo.extend(self._unfinished())
            if not self.todo:
                return
        say(f"{self.mode}: patience ended with {len(self.todo)} still to ask")

    def _open(self) -> int:
        with self.stage.watching.read() as tx:
            return len(tx.execute("SELECT id FROM run WHERE state IN ('running', 'unknown')").fetchall())

    def _a_day_later(self) -> None:
        """Let a day pass for runs that are still unknown, and wait until the sweep has seen it."""
        with self.stage.watching.write() as tx:
            sql = "UPDATE run SET created_at = '2020-01-01T00:00:00.000Z' WHERE state = 'unknown'"
            aged = tx.execute(sql).rowcount
        until = time.monotonic() + 10
        while aged and self._open() and time.monotonic() < until:
            self._talk()
            time.sleep(0.05)

    def _unfinished(self) -> Iterator[Intent]:
        for intent in self.intents:
            run = self.stage.app.ledger.find(OPERATOR.id, intent.action, intent.key)
            if run is None or (run.state == "failed" and intent.tries < ROUNDS):
                intent.tries += run is not None
                yield intent
