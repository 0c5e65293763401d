"""Pages of about as many records as go in at once: new, changed in one thing only, old, gone, or there twice."""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import xxhash

from hub.connector import Page
from hub.ingest import commit
from hub.mapping import CompiledMapping, TableRows
from hub.store import raw
from tests.test_ingest import NOON, Desk, desk, mapping, ticket, ticket_id  # noqa: F401 - fixtures

STORED = """
SELECT s.remote_id, s.version, s.read_at, s.deleted, s.mapped_hash, s.raw_hash, s.block, s.idx,
    r.body, r.deleted_at IS NOT NULL, r.updated_at, r.status, r.number, r.customer
FROM state AS s JOIN record AS r ON r.rid = s.rid AND r.remote_id = s.remote_id WHERE r.kind = 'ticket' AND r.head
"""


@dataclass
class Ticket:
    """What must be kept of a ticket: of its last raw record, and of the last one that mapped to something else."""

    body: bytes
    raw: bytes
    version: str | None
    read_at: int
    deleted: bool = False


@dataclass
class Plain:
    """What a page must leave, worked out record by record."""

    tickets: dict[str, Ticket] = field(default_factory=dict)
    told: Counter[tuple[str, str]] = field(default_factory=Counter)

    def put(self, table: TableRows, raws: list[bytes], read_at: int, named: set[str]) -> None:
        gone = dict(zip(table.untaken, table.untaken_index, strict=True))
        for id, index in zip(table.deleted, table.deleted_at, strict=True):
            gone[id] = max(index, gone.get(id, -1))
        newest: dict[str, Any] = {}
        for row in table.rows:
            stands = row.remote_id not in named and row.index >= gone.get(row.remote_id, -1)
            if stands and row.updated_at >= getattr(newest.get(row.remote_id), "updated_at", ""):
                newest[row.remote_id] = row
        for id, row in newest.items():
            self._meet(id, Ticket(row.body, raws[row.index], row.updated_at, read_at))
        for id in (gone.keys() | named) - newest.keys():
            old = self.tickets.get(id)
            if old and not old.deleted and old.read_at <= read_at:
                old.deleted, old.read_at = True, read_at
                self.told["deleted", id] += 1

    def _meet(self, id: str, new: Ticket) -> None:
        old = self.tickets.get(id)
        if old is None:
            self.tickets[id] = new
            self.told["created", id] += 1
        elif (old.body, old.raw, old.deleted) != (new.body, new.raw, False) and not self._stale(old, new):
            if (old.body, old.deleted) != (new.body, False):
                self.told["updated", id] += 1
            self.tickets[id] = new

    def _stale(self, old: Ticket, new: Ticket) -> bool:
        if old.version != new.version and not old.deleted:
            return (new.version or "") < (old.version or "")
        return new.read_at < old.read_at


def compare(desk: Desk, plain: Plain) -> None:  # noqa: F811
    """Hold all that is stored of tickets against what must be, column by column and byte by byte."""
    blocks = {block: raw.unpacked(data) for block, data in desk.rows("SELECT block, data FROM raw")}
    people = dict(desk.rows("SELECT name, id FROM source")).get("people")
    found = desk.rows(STORED)
    assert len(found) == len(plain.tickets)
    for id, version, read_at, deleted, mapped_hash, raw_hash, block, idx, *record in found:
        wanted = plain.tickets[id]
        assert (version, read_at, bool(deleted)) == (wanted.version, wanted.read_at, wanted.deleted), id
        assert mapped_hash == xxhash.xxh3_128_digest(wanted.body)
        assert raw_hash == xxhash.xxh3_128_digest(wanted.raw)
        assert (blocks[block][idx] if block else b"") in (wanted.raw, b"" if wanted.deleted else None), id
        body = json.loads(wanted.body)
        person = body["customer_ref"] and f"{people}:{body['customer_ref']['remote_id']}"
        told = wanted.body, wanted.deleted, body["updated_at"], body["status"], body["number"], person
        assert (record[0], bool(record[1]), record[2][:19], *record[3:]) == (*told[:2], told[2][:19], *told[3:]), id
    told_: Counter[tuple[str, str]] = Counter()
    for _, changes in desk.events():
        told_.update((change, entity) for change, entities in changes.items() for entity in entities)
    assert told_ == Counter({(change, ticket_id(int(id))): n for (change, id), n in plain.told.items()})


def other(dice: random.Random, id: int, old: dict[str, Any]) -> dict[str, Any]:
    """Change one thing of a ticket: its body, what reads filter by, its version, or only what no field maps."""
    minutes = dice.randint(-50, 50)
    return old | dice.choice(
        [
            {"subject": dice.choice("ab")},
            {"unmapped": dice.random()},
            {"changed": ticket(id, changed=minutes)["changed"]},
            {"changed": ticket(id, changed=minutes)["changed"], "subject": f"of {minutes}"},
            {"person": dice.randint(1, 9)},
            {"no": f"N-{dice.randint(1, 9)}"},
            {"state": dice.choice(["open", "closed", "deleted"])},
            {"shape": "of no table"},
        ]
    )


def page_of(dice: random.Random, known: dict[int, dict[str, Any]], size: int) -> list[dict[str, Any]]:
    share, page = dice.choice([0.0, 0.01, 0.5]), []
    for id in dice.sample(range(size + size // 3 + 1), size):
        record = known.get(id) or ticket(id, changed=dice.randint(0, 9))
        if dice.random() < share:
            record = other(dice, id, record)
            page += [other(dice, id, record)] if dice.random() < 0.1 else []
        known[id] = record if record["shape"] == "ticket" and record["state"] != "deleted" else ticket(id)
        page.append(record)
    return page


@pytest.mark.parametrize("size", [30, 999, 1000, 1001])
def test_pages_leave_what_each_of_their_records_would(
    desk: Desk,  # noqa: F811
    mapping: CompiledMapping,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    dice, plain, known = random.Random(size), Plain(), dict[int, dict[str, Any]]()
    for minute in range(6):
        records, read_at = page_of(dice, known, size), minute + dice.randint(0, 2)
        named = {str(dice.randint(0, size)) for _ in range(dice.randint(0, 2))}
        with monkeypatch.context() as broken:
            broken.setattr(commit, "tell", lambda work: work.tx.execute("SELECT no_such_column"))
            with pytest.raises(Exception, match="no_such_column"):
                desk.put(records, at=read_at, page={"deleted": sorted(named)})
        compare(desk, plain)
        desk.put(records, at=read_at, page={"deleted": sorted(named)})
        mapped = mapping.map_page("tickets", Page(records=records))
        plain.put(
            mapped.tables["tickets"], mapped.raws(), int((NOON + timedelta(minutes=read_at)).timestamp() * 1000), named
        )
        compare(desk, plain)
