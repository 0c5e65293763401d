"""Raw records: cut before they are stored, forgotten when they are old, and compacted when they are superseded."""

import json
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hub import remap
from hub.app import keeping
from hub.config import ConnectionSettings
from hub.errors import MappingError
from hub.mapping.never import cut
from hub.mapping.paths import parse_path
from hub.mapping.words import Place
from hub.store import Store, compacting, raw, retention
from tests.desk import MAPPING, Desk, made, ticket
from tests.stores import dump

SECRET = "k33p-me-0ut"
LIVE = "NOT deleted AND block IS NOT NULL"
TITLE = ('subject      = "subject"', 'subject      = "title"')
KEY = 'key        = "id"'


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    store = Store.open(database_url)
    yield Desk(store, made(MAPPING), ConnectionSettings(connector="desk"))
    store.close()


def without(record: Any, *paths: str) -> Any:
    raw = record if isinstance(record, bytes) else json.dumps(record).encode()
    return cut(raw, [parse_path(path, Place("test")).steps for path in paths])


def raws(desk: Desk) -> list[bytes]:
    """Give the raw record of each living row, as stored."""
    places = desk.rows(
        "SELECT block, idx FROM state WHERE NOT deleted AND block IS NOT NULL ORDER BY source_id, remote_id"
    )
    with desk.store.read() as tx:
        return raw.read(tx, places)


def everything(desk: Desk) -> bytes:
    """Give all bytes that the database keeps, its blocks opened."""
    with desk.store.read() as tx:
        blocks = raw.blocks(tx, [row[0] for row in tx.execute("SELECT block FROM raw").fetchall()])
        return dump(tx).encode() + b"".join(b"".join(records) for records in blocks.values())


def test_a_path_is_cut_out_and_every_other_byte_stays() -> None:
    kept = b'{"id": 1.10,  "a":{"c" : "\\u00e4"}, "x":[1, 2]}'
    assert without(kept, "secret", "a.b", "x.y") == kept
    assert without(b'{"id":1.10,"a":{"b":1,"c" : "\\u00e4"}}', "a.b") == b'{"id":1.10,"a":{"c":"\\u00e4"}}'
    assert json.loads(without({"l": [{"a": 1, "b": 2}, 3, [{"a": 4}]]}, "l[].a")) == {"l": [{"b": 2}, 3, [{}]]}
    assert json.loads(without({"l": [{"a": 1, "b": 2}]}, "l.a")) == {"l": [{"b": 2}]}
    fields = {"f": [{"id": 5, "value": 1}, {"id": "6"}]}
    assert json.loads(without(fields, "f[id=6]", "f[id=5].value")) == {"f": [{"id": 5}]}
    assert json.loads(without({"f": [1, 2, 3]}, "f[-1]", "f[0]")) == {"f": [2]}
    escaped = rb'{"s\u0065cret": 1, "secret": 2, "b": "\ud83d"}'
    assert json.loads(without(escaped, "secret")) in ({"b": "\ufffd"}, {"b": "\ud83d"})


@pytest.mark.parametrize("line", [b'{"secret": "x', b"\xff{", b'["too long a line", "x,secret"]', b"[1]", b"12", b""])
def test_of_a_line_that_cannot_be_cut_nothing_but_the_reason_is_kept(line: bytes) -> None:
    reason, text = json.loads(without(line, "secret"))
    assert text == ""
    assert "secret" not in reason
    assert reason == "too long a line" or "bytes are not kept" in reason


def test_what_is_never_to_be_stored_is_nowhere_in_the_database(desk: Desk) -> None:
    strict = desk.mapped_by((KEY, KEY + '\nnever = ["html", "notes[].html", "author.mail"]'))
    notes = [{"id": 7, "draft": False, "text": "hm", "html": SECRET}]
    page = [ticket(1, html=SECRET, notes=notes, author={"mail": SECRET, "name": "Ada"})]
    page += [ticket(2, html=SECRET, priority="odd"), ticket(3, html=SECRET, shape="chat"), [f"odd {1}", SECRET]]
    strict.put(page)
    strict.put([json.dumps(ticket(4, html=SECRET)).encode()[:-9]], minute=1)
    assert (set(strict.bodies()), set(strict.bodies("message"))) == ({"1"}, {"7"})
    assert desk.rows("SELECT count(*) FROM reject") == [(3,)]
    assert SECRET.encode() not in everything(desk)
    assert b'"name":"Ada"' in everything(desk).replace(b": ", b":")
    if isinstance(file := getattr(desk.store.database.kept, "path", None), Path):
        assert SECRET.encode() not in b"".join(one.read_bytes() for one in file.parent.glob("hub.db*"))


def test_a_page_as_bytes_is_cut_as_well_and_unchanged_it_writes_nothing(desk: Desk) -> None:
    strict = desk.mapped_by((KEY, KEY + '\nnever = ["html"]'))
    for minute in (1, 2):
        body = json.dumps({"rows": [ticket(1, html=f"{SECRET}{minute}"), ticket(2)]}).encode()
        strict.put(None, minute=minute, body=body, at="rows")
    assert desk.rows("SELECT count(*), sum(count) FROM raw") == [(1, 2)]
    assert SECRET.encode() not in everything(desk)


def test_a_mapping_may_not_read_what_is_never_stored() -> None:
    for path in ("subject", "notes[].text", "notes", "id"):
        with pytest.raises(MappingError, match="is cut out of all records, but the mapping reads"):
            made(MAPPING.replace(KEY, f'{KEY}\nnever = ["{path}"]'))
    with pytest.raises(MappingError, match="must start at the stream's record"):
        made(MAPPING.replace(KEY, f'{KEY}\nnever = ["^.x"]'))


def test_map_apply_cuts_what_is_kept_already(desk: Desk) -> None:
    desk.put([ticket(1, html=SECRET), ticket(2, html=SECRET, priority="odd"), ticket(3, html=SECRET, shape="chat")])
    desk.put([ticket(1, 1, html=SECRET)], minute=1)
    assert SECRET.encode() in everything(desk)
    desk.mapped_by((KEY, KEY + '\nnever = ["html"]')).apply()
    assert SECRET.encode() not in everything(desk)
    assert set(desk.bodies()) == {"1"}


def test_retention_is_checked_where_it_is_written() -> None:
    with pytest.raises(MappingError, match='expected how long raw records are kept, such as "90d", or "none"'):
        made(MAPPING.replace(KEY, f'{KEY}\nraw_retention = "soon"'))
    both = MAPPING.replace(KEY, f'{KEY}\nraw_retention = "9d"').replace("each   =", 'raw_retention = "8d"\neach   =')
    with pytest.raises(MappingError, match='another table of stream tickets says "9d"'):
        made(both)


def test_raw_records_that_are_too_old_are_forgotten_and_their_rows_stay(desk: Desk) -> None:
    desk.put([ticket(1), ticket(2, shape="chat"), ticket(3, priority="odd")])
    desk.put([ticket(4), ticket(5, shape="chat")], minute=60)
    database = desk.store.database
    half_past = desk.rows("SELECT min(read_at) FROM state")[0][0] + 30 * 60_000
    assert retention.expire(database, "desk", "tickets", before=half_past) == 1
    assert desk.rows("SELECT remote_id FROM state WHERE block IS NULL") == [("1",)]
    assert desk.rows("SELECT key FROM untaken") == [("5",)]
    assert desk.rows("SELECT length(data) FROM reject") == [(0,)]
    assert remap.replay(desk.store, desk)["tickets"]["tried"] == 0
    compacting.compact(database)
    assert set(desk.bodies()) == {"1", "4"}
    report = desk.mapped_by(TITLE).apply()["tickets"]
    assert (report["changed"], report["without_raw"]) == (1, 1)


def superseded(desk: Desk) -> None:
    """Store 300 tickets, some anew one by one, most of them a second time, some gone."""
    for page in range(3):
        ids = range(page * 100, page * 100 + 100)
        desk.put([ticket(n, notes=[{"id": n, "draft": False}]) for n in ids], minute=page)
    desk.put([ticket(n, 9, notes=[{"id": n, "draft": False}]) for n in range(95)], minute=9)
    for n in range(100, 175):
        desk.put([ticket(n, n, title="single")], minute=n)
    desk.put([ticket(n, 300, shape="chat") for n in range(290, 295)], minute=300)
    desk.put([], deleted=["280"], minute=301)


def test_compaction_keeps_every_raw_record_that_counts_and_drops_the_rest(desk: Desk) -> None:
    superseded(desk)
    before, rows, aside = raws(desk), dump_of(desk), desk.rows("SELECT key, raw_hash FROM untaken ORDER BY 1")
    room = compacting.compact(desk.store.database)
    assert room.superseded > 0.15
    assert room.freed_bytes > 0
    assert (raws(desk), dump_of(desk)) == (before, rows)
    assert desk.rows("SELECT key, raw_hash FROM untaken ORDER BY 1") == aside
    after, _ = compacting.look(desk.store.database)
    assert after.live == room.live
    assert after.superseded < 0.1
    assert after.blocks < room.blocks / 4
    again = compacting.compact(desk.store.database)
    assert again.dropped_blocks == 0
    assert raws(desk) == before
    desk.mapped_by(TITLE).apply()
    assert desk.bodies()["150"]["subject"] == "single"


def dump_of(desk: Desk) -> list[Any]:
    return desk.rows("SELECT remote_id, rid, mapped_hash, raw_hash, version, read_at, deleted FROM state ORDER BY 1, 2")


def test_pulls_between_the_steps_of_a_compaction_lose_nothing(desk: Desk) -> None:
    superseded(desk)
    rolls = random.Random(4)
    at = [400]

    def pull(done: int, of: int) -> None:
        at[0] += 1
        desk.put([ticket(rolls.randrange(300), at[0], title=f"now {at[0]}") for _ in range(3)], minute=at[0])

    compacting.compact(desk.store.database, tell=pull)
    assert at[0] > 401
    places = desk.rows(f"SELECT block, idx FROM state WHERE {LIVE} AND source_id = 1")
    with desk.store.read() as tx:
        found = {str(one["id"]): one["title"] for one in map(json.loads, raw.read(tx, places))}
    desk.mapped_by(TITLE).apply()
    assert {id: body["subject"] for id, body in desk.bodies().items()} == found


def test_a_stream_that_is_being_remapped_is_left_alone(desk: Desk) -> None:
    superseded(desk)
    changed = desk.mapped_by(TITLE)
    seen = []

    def compacted(step: remap.Progress) -> None:
        if not step.done:
            seen.append(compacting.compact(desk.store.database).freed_bytes)

    changed.apply(progress=compacted, streams=["tickets"])
    assert seen[0] == 0
    assert compacting.compact(desk.store.database).freed_bytes > 0


def test_given_raw_records_can_be_taken_out_of_their_blocks_for_good(desk: Desk) -> None:
    desk.put([ticket(n, title=f"{SECRET}{n}") for n in range(150)])
    places = desk.rows("SELECT block, idx FROM state WHERE remote_id IN ('7', '120')")
    with desk.store.write() as tx:
        raw.without(tx, places)
    stored = everything(desk)
    assert f'{SECRET}7"'.encode() not in stored
    assert f"{SECRET}120".encode() not in stored
    assert stored.count(SECRET.encode()) == 148
    with desk.store.read() as tx:
        assert raw.read(tx, places) == [b"", b""]


def test_a_shrunk_file_is_smaller_and_a_reader_is_not_disturbed(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'hub.db'}")
    desk = Desk(store, made(MAPPING), ConnectionSettings(connector="desk"))
    rolls = random.Random(5)
    for at in range(4):
        desk.put([ticket(n, at, noise=rolls.randbytes(300).hex()) for n in range(600)], minute=at)
    compacting.compact(store.database)
    size, free = store.database.size()
    assert free > size / 3
    with store.read() as tx:
        (count,) = tx.execute("SELECT count(*) FROM state").fetchone()
    store.database.shrink()
    after, free = store.database.size()
    assert (count, free) == (600, 0)
    assert after < size * 0.7
    assert sqlite3.connect(tmp_path / "hub.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.close()


def test_the_worker_compacts_only_where_enough_is_superseded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    app: Any = SimpleNamespace(store=desk.store)
    desk.put([ticket(n) for n in range(120)])
    desk.put([ticket(n, 1) for n in range(120)], minute=1)
    assert not keeping.compact_if_due(app)
    monkeypatch.setattr(keeping, "LEAST", 100)
    assert keeping.compact_if_due(app)
    assert not keeping.compact_if_due(app)
    assert len(raws(desk)) == 120
