"""One store's rounds: everybody takes a turn, and is compared with the raw limit beside it."""

import shutil
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import proof
import tickets
from stage import HERE, HUB_PYTHON, Hub, Peers, Run, command, say, told

from hub.store import Store

REMAPS = {
    "remap_nothing": ('api = "api"', 'api = "api", sms = "sms"'),
    "remap_everything": ("[tickets.fields]", '[tickets.fields]\nform = { value = "bench" }'),
}
"""What is edited in the mapping: a word that no ticket has, and a field that every ticket gets."""


@dataclass
class Bench:
    """What the rounds of one store are run with; `few` is a smaller export for those that would take all day."""

    store: str
    folder: Path
    peers: Peers
    plain: str
    changed: str
    few: str
    new_database: Callable[[], str]
    records: int
    runs: dict[str, list[Run]] = field(default_factory=dict)
    beside: dict[str, list[Run]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    bytes_per_record: list[float] = field(default_factory=list)

    def round(self, number: int) -> None:
        """Let everybody take a turn, on an empty database each."""
        folder = self.folder / f"{self.store}-{number}"
        database = self.new_database() if self.store == "postgres" else "sqlite:///hub.db"
        hub = Hub(folder, database, self.plain)
        self._turn("full", lambda: hub.sync("--full"))
        before = self._after_full(hub)
        self._turn("unchanged", lambda: hub.sync("--full"))
        self._after_unchanged(hub, before)
        hub.point(self.changed)
        self._turn("one_percent", lambda: hub.sync("--full"))
        self._after_changed(hub, before)
        hub.settle()
        for name, edit in REMAPS.items():
            hub.edit(*edit)
            self._turn(name, lambda: told(command(*HUB_PYTHON, str(HERE / "remap.py"), cwd=hub.folder, env=hub.env)))
        self._after_remap()
        self._start_off(hub.start_cpu)
        for name in ("raw_payload", "dlt", "airbyte", "zenpy"):
            if name in self._others():
                self._turn(name, self._others()[name])
        shutil.rmtree(folder)

    def _others(self) -> dict[str, Callable[[], Run]]:
        place, folder = self._database(), self.folder
        run = self.peers.run
        others = {
            "raw_payload": lambda: run("raw", self._database(), self.plain, "payload", cwd=folder),
            "dlt": lambda: run("dlt_merge", place, self.few, cwd=folder),
        }
        if self.store == "sqlite":
            others["airbyte"] = lambda: run("airbyte", self.few, cwd=folder)
            others["zenpy"] = lambda: run("zenpy_sqlmodel", place, self.few, cwd=folder)
        return others

    def _database(self) -> str:
        """Give an empty place for somebody else's tables."""
        if self.store == "postgres":
            return self.new_database()
        for file in [*self.folder.glob("peer*.db*"), self.folder / "dlt", self.folder / "airbyte.jsonl"]:
            shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
        return "peer.db"

    def _raw(self) -> Run:
        return self.peers.run("raw", self._database(), self.plain, cwd=self.folder)

    def _turn(self, name: str, run: Callable[[], Run]) -> None:
        raw, own = self._raw(), run()
        self.beside.setdefault(name, []).append(raw)
        self.runs.setdefault(name, []).append(own)
        say(f"{self.store} {name}: {own.rate:,.0f} records/s, {own.rate / raw.rate:.2f} of raw, {own.rss_mb:.0f} MB")

    def _start_off(self, start_cpu: float) -> None:
        for name in ("full", "unchanged", "one_percent"):
            self.runs[name][-1] = self.runs[name][-1]._replace(cpu=self.runs[name][-1].cpu - start_cpu)

    def _expect(self, what: str, found: Any, wanted: Any) -> None:
        if found != wanted:
            self.wrong.append(f"{self.store}: {what}: {found}, expected {wanted}")

    def _after_full(self, hub: Hub) -> dict[str, proof.State]:
        store, run = Store.open(hub.url), self.runs["full"][-1]
        found = proof.states(store)
        self._expect("read and changed by the first pass", (run.records, run.changed), (self.records, self.records))
        self._expect("raw records that differ", proof.raws_differ(store, self.records, found), 0)
        self._expect("events of the first pass", proof.events(store)[1], {"created": self.records})
        self.bytes_per_record.append(proof.size(store, hub.folder, hub.url) / self.records)
        store.close()
        return found

    def _after_unchanged(self, hub: Hub, before: dict[str, proof.State]) -> None:
        store, run = Store.open(hub.url), self.runs["unchanged"][-1]
        self._expect("read and changed by a second pass", (run.records, run.changed), (self.records, 0))
        self._expect("rows that a second pass touched", proof.states(store) == before, True)
        self._expect("events of both passes", proof.events(store)[1], {"created": self.records})
        store.close()

    def _after_changed(self, hub: Hub, before: dict[str, proof.State]) -> None:
        store, run = Store.open(hub.url), self.runs["one_percent"][-1]
        wanted = {str(id) for id in range(1, self.records + 1) if tickets.is_changed(id)}
        now = proof.states(store)
        self._expect("changed by a pass over 1 %", (run.records, run.changed), (self.records, len(wanted)))
        self._expect("rows other than the 1 %", {id for id in now if now[id] != before[id]} == wanted, True)
        self._expect("events of 1 %", proof.events(store)[1], {"created": self.records, "updated": len(wanted)})
        self._expect("raw records that differ", proof.raws_differ(store, self.records, now, changed=True), 0)
        store.close()

    def _after_remap(self) -> None:
        for name, changed in (("remap_nothing", 0), ("remap_everything", self.records)):
            run = self.runs[name][-1]
            self._expect(name, (run.records, run.changed), (self.records, changed))

    def ratio(self, name: str, to: str | None = None) -> float:
        """Give the median, over the rounds, of a rate over that of the raw limit beside it, or over another's."""
        others = self.runs[to] if to else self.beside[name]
        return round(statistics.median(a.rate / b.rate for a, b in zip(self.runs[name], others, strict=True)), 3)

    def figures(self) -> dict[str, Any]:
        """Give the medians of everybody."""
        raws = [run for runs in self.beside.values() for run in runs]
        found = {name: _medians(runs) | {"of_raw": self.ratio(name)} for name, runs in self.runs.items()}
        found["raw"] = _medians(raws)
        found["full"]["bytes_per_record"] = round(statistics.median(self.bytes_per_record))
        return found


def _medians(runs: list[Run]) -> dict[str, Any]:
    return {
        "records": runs[0].records,
        "records_per_s": round(statistics.median(run.rate for run in runs)),
        "cpu_us": round(statistics.median(run.cpu_us for run in runs), 1),
        "peak_rss_mb": round(max(run.rss_mb for run in runs), 1),
    }
