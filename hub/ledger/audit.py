"""
The audit chain: rows that are only ever added, each sealed with a key and chained to the one before.

A row holds ids, names of fields and keyed hashes, never contents. It is written in the transaction of the change that
it tells of. The chain's head (length and last hash) is signed and kept in a file, so that a tail cut off is found.
"""

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from hub.errors import ConfigError, HubError
from hub.ledger.clerk import Clerk, Seen
from hub.ledger.rows import now
from hub.ledger.sealing import GENESIS, Files, Head, Seal, content_hash, seal_of
from hub.store import Database, Tx, is_postgres

KEY_FILE, HEAD_FILE = "audit.key", "audit.head"
NOTHING: Mapping[str, bytes | None] = {}
ROW_COLUMNS = "seq, at, kind, principal, run_id, facts, key, prev_hash, hash"
_INSERT = f"INSERT INTO audit ({ROW_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_LAST = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1"
_PAGE = f"SELECT {ROW_COLUMNS} FROM audit WHERE seq > ? AND at >= ? ORDER BY seq LIMIT 1000"  # noqa: S608
log = logging.getLogger("hub.audit")


class Row(NamedTuple):
    """A row of the chain. `facts` is JSON."""

    seq: int
    at: str
    kind: str
    principal: str | None
    run_id: str | None
    facts: str
    key: str
    prev_hash: str
    hash: str

    def as_dict(self) -> dict[str, Any]:
        """Give the row with its facts as plain JSON values."""
        return self._asdict() | {"facts": msgspec.json.decode(self.facts)}


def row_hash(row: Row, seal: Seal, *, seq: int | None = None) -> str:
    """Seal a row: all of it but its own hash (as if it stood at `seq`, where that is given)."""
    return seal_of(seal.rows, [row.seq if seq is None else seq, *row[1:8]])


class Audit:
    """
    The chain in a ledger's database, with its key and head files.

    Both are beside a file; `key_file` may name another place for the key. On Postgres it must, and the head is beside
    the key.
    """

    def __init__(self, database: Database, *, key_file: Path | None = None) -> None:
        self.database = database
        self.files = _files(database, key_file)
        self.clerk = Clerk(self.append, self.sign, database)
        self._told = False

    def append(
        self,
        tx: Tx,
        kind: str,
        *,
        principal: str | None = None,
        run_id: str | None = None,
        hashed: Mapping[str, bytes | None] = NOTHING,
        **facts: Any,
    ) -> Row:
        """
        Add a row in a write transaction of the ledger. Sign soon after the commit.

        `facts` are ids and names only; contents go into `hashed`, of which a keyed hash is kept. What is None is left
        out. Raises ConfigError where the key is missing, so that the change is not made either.
        """
        last = tx.execute(_LAST).fetchone()
        seal = self.files.seal(fresh=last is None)
        seq, before = (last[0] + 1, last[1]) if last else (1, GENESIS)
        row = Row(seq, now(), kind, principal, run_id, _facts(seal, facts, hashed), seal.id, before, "")
        row = row._replace(hash=row_hash(row, seal))
        tx.execute(_INSERT, row)
        return row

    def note(self, kind: str, *, hashed: Mapping[str, bytes | None] = NOTHING, **facts: Any) -> bool:
        """Add a row in a transaction of its own, unless the last of this kind says the same."""
        with self.database.read() as tx:
            said = tx.execute("SELECT facts FROM audit WHERE kind = ? ORDER BY seq DESC LIMIT 1", (kind,)).fetchone()
        if said is not None and said[0] == _facts(self.files.seal(fresh=False), facts, hashed):
            return False
        with self.database.write() as tx:
            self.append(tx, kind, hashed=hashed, **facts)
        self.sign_soon()
        return True

    def sign_soon(self) -> None:
        """Sign the head in a moment, without holding up the caller."""
        self.clerk.sign_soon()

    def saw(self, seen: Seen) -> None:
        """Note that somebody was shown something; chained within a second, and before `close` returns."""
        self.clerk.saw(seen)

    def close(self) -> None:
        """Chain what was shown, sign the head, and end the thread that does so."""
        self.clerk.close()

    def rows(self, *, since: datetime | None = None) -> Iterator[Row]:
        """Give the rows in order, from a time on; in pages, so that nothing is held up meanwhile."""
        at = since.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if since else ""
        seq = 0
        while True:
            with self.database.read() as tx:
                page = [Row(*row) for row in tx.execute(_PAGE, (seq, at)).fetchall()]
            if not page:
                return
            yield from page
            seq = page[-1].seq

    def head(self) -> dict[str, Any] | None:
        """Give the signed head as its file has it, to be kept elsewhere; None where there is none."""
        try:
            head = self.files.read_head()
        except ValueError:
            return None
        return msgspec.to_builtins(head) if head else None

    def sign(self) -> None:
        """
        Sign the chain as long as it is now, and write that to the head file.

        A head that the chain no longer bears out is left as it is: it is the evidence. What goes wrong is logged,
        for what happened has happened; the next signing makes up for it.
        """
        try:
            with self.files.locked():
                self._sign()
        except (OSError, ValueError, sqlite3.Error, HubError) as exc:
            why = exc.message if isinstance(exc, HubError) else type(exc).__name__
            log.error("audit: the head could not be signed: %s", why)

    def accept(self, *, new_key: bool = False) -> Row:
        """
        Go on from the chain as it stands, after a person has looked at what is wrong with it.

        The old head is kept beside the new one, and a row tells what it said. Raises ConfigError without a key.
        """
        with self.database.read() as tx:
            fresh = tx.execute(_LAST).fetchone() is None
        seal = self.files.add_key() if new_key else self.files.seal(fresh=fresh)
        old = self._set_aside()
        with self.database.write() as tx:
            row = self.append(tx, "accepted", principal="local", before=old, new_key=seal.id if new_key else None)
        with self.files.locked():
            self.files.write_head(Head(count=row.seq, hash=row.hash, at=now(), key=seal.id).signed(seal))
        return row

    def _set_aside(self) -> dict[str, Any] | None:
        with self.files.locked():
            if not self.files.head.exists():
                return None
            kept = self.files.head.with_name(f"{HEAD_FILE}.{now().replace(':', '')}")
            kept.write_bytes(self.files.head.read_bytes())
        try:
            head = self.files.read_head()
        except ValueError:
            return {"kept": kept.name}
        return {"kept": kept.name, "count": head.count, "hash": head.hash} if head else None

    def _sign(self) -> None:
        known = self.files.read_head()
        with self.database.read() as tx:
            last = tx.execute(_LAST).fetchone()
            there = tx.execute("SELECT hash FROM audit WHERE seq = ?", (known.count if known else 0,)).fetchone()
        if last is None or (known is not None and last == (known.count, known.hash)):
            return
        genuine = known is not None and self.files.genuine(known, self.files.ring())
        if known is not None and genuine and (known.count == 0 or there == (known.hash,)):
            seal = self.files.seal(fresh=False)
            self.files.write_head(Head(count=last[0], hash=last[1], at=now(), key=seal.id).signed(seal))
            return
        if not self._told:
            self._told = True
            log.error("audit: the chain is not the one that was signed; `hub audit verify` says what is wrong")


def _files(database: Database, key_file: Path | None) -> Files:
    if not is_postgres(database.url):
        return Files(key_file or database.path.with_name(KEY_FILE), database.path.with_name(HEAD_FILE))
    if key_file is None:
        raise ConfigError("[hub] audit_key_file: expected a file, as the ledger is on Postgres")
    return Files(key_file, key_file.with_name(HEAD_FILE))


def _facts(seal: Seal, facts: Mapping[str, Any], hashed: Mapping[str, bytes | None]) -> str:
    found = {name: value for name, value in facts.items() if value is not None}
    hashes = {name: content_hash(seal, data) for name, data in hashed.items() if data is not None}
    return msgspec.json.encode(found | ({"hashes": hashes} if hashes else {})).decode()
