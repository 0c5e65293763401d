"""
Find what is wrong with an audit chain: which row was changed, removed, inserted, moved, replaced or cut off.

A row is genuine where its hash is the seal of what it says at its place. The first genuine rows in order are passed
over quickly; from the first that is not, the places where genuine rows were written tell what happened to the others.
"""

import hmac
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from hub.ledger.audit import ROW_COLUMNS, Audit, Row, row_hash
from hub.ledger.sealing import GENESIS, Head, Seal
from hub.store import Tx

What = Literal["changed", "removed", "inserted", "moved", "replaced", "cut_off", "head"]
_NEAR = 16
_ALL = f"SELECT {ROW_COLUMNS} FROM audit WHERE seq > ? ORDER BY seq"  # noqa: S608
_ONE = f"SELECT {ROW_COLUMNS} FROM audit WHERE seq = ?"  # noqa: S608


class Problem(msgspec.Struct, kw_only=True, frozen=True):
    """What is wrong with a row, or with all from `seq` to `last`; `seq` is None where it is about the head alone."""

    seq: int | None
    last: int | None
    what: What
    text: str


class Verdict(msgspec.Struct, kw_only=True, frozen=True):
    """What `verify` found: how many rows there are, the signed head, how many rows came after it, all problems."""

    ok: bool
    rows: int
    head: Head | None
    unsigned: int
    problems: list[Problem]


class Place(NamedTuple):
    """A row where it stands, and where it was written: `origin` is None for one that the key did not seal so."""

    seq: int
    origin: int | None
    prev_hash: str
    hash: str


def verify(audit: Audit, *, head: Head | None = None) -> Verdict:
    """
    Check the whole chain against its keys and its signed head; `head` may be one that was kept elsewhere.

    May run while the hub works. Raises ConfigError where the key is missing.
    """
    ring = audit.files.ring()
    problems: list[Problem] = []
    if head is None:
        head, problems = _known_head(audit, ring)
    elif not audit.files.genuine(head, ring):
        head, problems = None, [_about_head("the head given was not signed with one of these keys")]
    with audit.database.read() as tx:
        (rows,) = tx.execute("SELECT count(*) FROM audit").fetchone()
        if rows and not ring:
            audit.files.seal(fresh=False)  # raises: the key is missing
        problems = _checked(tx, ring, head) + problems
    unsigned = rows - head.count if head and not problems else 0
    return Verdict(ok=not problems, rows=rows, head=head, unsigned=unsigned, problems=problems)


def _known_head(audit: Audit, ring: Mapping[str, Seal]) -> tuple[Head | None, list[Problem]]:
    """Read the head before the rows, so that a chain that grows meanwhile is never too short for it."""
    try:
        head = audit.files.read_head()
    except (ValueError, OSError):
        return None, [_about_head(f"{audit.files.head.name} cannot be read; nobody can tell whether rows were cut off")]
    if head is None:
        with audit.database.read() as tx:
            empty = tx.execute("SELECT 1 FROM audit LIMIT 1").fetchone() is None
        text = f"{audit.files.head.name} is missing; nobody can tell whether rows were cut off"
        return None, [] if empty else [_about_head(text)]
    if not audit.files.genuine(head, dict(ring)):
        return None, [_about_head(f"{audit.files.head.name} was not signed with one of these keys")]
    return head, []


def _about_head(text: str) -> Problem:
    return Problem(seq=None, last=None, what="head", text=text)


def _checked(tx: Tx, ring: Mapping[str, Seal], head: Head | None) -> list[Problem]:
    done, at_head = Place(0, 0, "", GENESIS), GENESIS if head and head.count == 0 else None
    for place in _in_order(tx, ring):
        done = place
        if head is not None and place.seq == head.count:
            at_head = place.hash
    rest = list(_places(tx, ring, done.seq))
    found = {place.origin: place for place in rest}
    if head is not None and head.count in found:
        at_head = found[head.count].hash
    problems = _diagnosed(rest, done, head) if rest or (head and head.count > done.seq) else []
    if head is not None and at_head is not None and at_head != head.hash:
        text = f"row {head.count} is not the one that was signed as the head"
        problems.append(Problem(seq=head.count, last=head.count, what="replaced", text=text))
    return problems


def _in_order(tx: Tx, ring: Mapping[str, Seal]) -> Iterator[Place]:
    """Give the rows from the first on, as long as all is well."""
    seq, before = 0, GENESIS
    try:
        for values in tx.execute(_ALL, (0,)):
            row = Row(*values)
            if row.seq != seq + 1 or row.prev_hash != before or not _genuine(row, ring, row.seq):
                return
            seq, before = row.seq, row.hash
            yield Place(seq, seq, row.prev_hash, before)
    except sqlite3.Error:
        return  # a row that cannot even be read: looked at one by one


def _places(tx: Tx, ring: Mapping[str, Seal], after: int) -> Iterator[Place]:
    shift = 0
    early = tx.execute("SELECT seq FROM audit WHERE seq < 1 ORDER BY seq").fetchall()
    for (seq,) in early + tx.execute("SELECT seq FROM audit WHERE seq > ? ORDER BY seq", (after,)).fetchall():
        try:
            row = Row(*tx.execute(_ONE, (seq,)).fetchone())
        except sqlite3.Error:
            yield Place(seq, None, "", "")
            continue
        origin = _origin(row, ring, shift)
        shift = shift if origin is None else origin - seq
        yield Place(seq, origin, str(row.prev_hash), str(row.hash))


def _origin(row: Row, ring: Mapping[str, Seal], shift: int) -> int | None:
    """Say at which place a row was written: its own, or one near it where rows were renumbered."""
    near = range(row.seq - _NEAR, row.seq + _NEAR + 1)
    return next((seq for seq in (row.seq, row.seq + shift, *near) if _genuine(row, ring, seq)), None)


def _genuine(row: Row, ring: Mapping[str, Seal], seq: int) -> bool:
    seal = ring.get(row.key)
    if seal is None or not isinstance(row.hash, str) or any(isinstance(value, (bytes, float)) for value in row):
        return False
    try:
        return hmac.compare_digest(row_hash(row, seal, seq=seq).encode(), row.hash.encode())
    except UnicodeEncodeError:
        return False


def _diagnosed(rest: list[Place], done: Place, head: Head | None) -> list[Problem]:
    """Say what happened to the rows after `done`, the last one in order."""
    present: dict[int, Place] = {}
    copies: list[Place] = []
    for place in rest:
        if place.origin is None:
            continue
        known = present.get(place.origin)
        if place.origin <= done.seq or (known is not None and place.seq != place.origin):
            copies.append(place)
        else:
            copies += [known] if known is not None else []
            present[place.origin] = place
    top = max(present, default=done.seq)
    end = max(top, head.count if head else 0)
    false = {place.seq for place in rest if place.origin is None}
    changed = {seq for seq in false if done.seq < seq <= end and seq not in present}
    tip = max([top, *changed])
    missing = [seq for seq in range(done.seq + 1, end + 1) if seq not in present and seq not in changed]
    return [
        *_ranges(changed, "changed", "{} changed after being written"),
        *_ranges((seq for seq in missing if seq < tip), "removed", "{} removed"),
        *_ranges(false - changed, "inserted", "{} inserted: the key did not seal it"),
        *_ranges((place.seq for place in copies), "inserted", "{} inserted: a copy of an older row"),
        *_moved(present.values()),
        *_broken(present, done),
        *_ranges((seq for seq in missing if seq > tip), "cut_off", "{} cut off from the end"),
    ]


def _ranges(numbers: Iterable[int], what: What, text: str) -> Iterator[Problem]:
    first = last = None
    for number in [*sorted(numbers), None]:
        if first is not None and last is not None and number != last + 1:
            one = first == last
            named = f"row {first} was" if one else f"rows {first} to {last} were"
            yield Problem(seq=first, last=last, what=what, text=text.format(named))
            first = None
        first = number if first is None else first
        last = number


def _moved(places: Iterable[Place]) -> Iterator[Problem]:
    by_shift: dict[int, list[int]] = {}
    for place in places:
        if place.origin is not None and place.origin != place.seq:
            by_shift.setdefault(place.origin - place.seq, []).append(place.seq)
    for shift, numbers in by_shift.items():
        far = "1 place" if abs(shift) == 1 else f"{abs(shift)} places"
        text = f"{{}} renumbered: written {far} further {'on' if shift > 0 else 'back'}"
        yield from _ranges(numbers, "moved", text)


def _broken(present: Mapping[int, Place], done: Place) -> Iterator[Problem]:
    """Name genuine rows that do not follow the one before: of another history, such as an older copy's."""
    for origin, place in present.items():
        before = done if origin == done.seq + 1 else present.get(origin - 1)
        if before is not None and place.prev_hash != before.hash:
            text = f"row {place.seq} does not follow the row before it: one of them is of another copy of this ledger"
            yield Problem(seq=place.seq, last=place.seq, what="replaced", text=text)
