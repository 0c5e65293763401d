"""Reading and writing the journal. Every method is one transaction, durable when it returns."""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.errors import Conflict, NotFound
from hub.ledger.rows import (
    OPEN,
    RUN_COLUMNS,
    STEP_COLUMNS,
    Run,
    RunState,
    Step,
    StepState,
    new_run_id,
    now,
    run_of,
    step_of,
)
from hub.store import Database, open_database

LEASE_S = 300.0
DUPLICATE_WINDOW_S = 600.0
_RUN = f"SELECT {', '.join(RUN_COLUMNS)} FROM run"  # noqa: S608
_STEP = f"SELECT {', '.join(STEP_COLUMNS)} FROM step"  # noqa: S608
_STEP_AT = _STEP + " WHERE run_id = ? AND number = ?"
_INSERT_RUN = f"INSERT INTO run ({', '.join(RUN_COLUMNS)}) VALUES ({', '.join('?' * len(RUN_COLUMNS))})"  # noqa: S608
_INSERT_STEP = f"INSERT INTO step ({', '.join(STEP_COLUMNS)}) VALUES ({', '.join('?' * len(STEP_COLUMNS))})"  # noqa: S608
_BEGIN = (
    "UPDATE step SET state = 'sending', attempt = attempt + 1, updated_at = ?, sent_at = ?,"
    " first_sent_at = COALESCE(first_sent_at, ?) WHERE run_id = ? AND number = ? AND attempt = ?"
    " AND state IN (?, ?, ?) AND EXISTS (SELECT 1 FROM run WHERE id = run_id AND lease_owner = ?)"
)
_SETTLE = (
    "UPDATE step SET state = ?, outcome = COALESCE(?, outcome), error = ?, updated_at = ? WHERE run_id = ?"
    " AND number = ? AND attempt = ? AND state IN ('planned', 'sending', 'unknown')"
)
_FINISH = "UPDATE run SET state = ?, result = ?, updated_at = ?, lease_owner = NULL, lease_until = NULL WHERE id = ?"
Closing = Callable[[Step], tuple[RunState, bytes]]


class Lost(Exception):
    """Somebody else moved this step first; read the run again."""


@dataclass(frozen=True)
class NewStep:
    """A step to be planned: what `connection` will be asked to do, as JSON."""

    connection: str
    call: bytes


@dataclass(frozen=True)
class NewRun:
    """
    A run to be written before anything is sent.

    `intent` names what it would do, to find the same under another key; None where a repeat does no harm.
    """

    action: str
    principal: str
    body_hash: str
    request: bytes
    plan: bytes
    mode: str = "execute"
    state: RunState = "running"
    idempotency_key: str | None = None
    intent: str | None = None
    repeat: bool = False
    connection: str | None = None
    target_id: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    steps: tuple[NewStep, ...] = ()
    result: bytes | None = None
    id: str = field(default_factory=new_run_id)


@dataclass(frozen=True)
class Move:
    """Where a step goes, with what it did or why it failed, as JSON."""

    state: StepState
    outcome: bytes | None = None
    error: bytes | None = None


class Ledger:
    """
    The journal in one database.

    `lease_s` is how long a run belongs to who works it; longer than any one send may take.
    """

    def __init__(self, database: Database, *, lease_s: float = LEASE_S) -> None:
        self.database = database
        self.lease_s = lease_s

    @classmethod
    def open(cls, url: str, *, lease_s: float = LEASE_S) -> "Ledger":
        """Open (and where needed create and migrate) the ledger's database."""
        return cls(open_database(url, branch="ledger"), lease_s=lease_s)

    def close(self) -> None:
        self.database.close()

    def find(self, principal: str, action: str, key: str) -> Run | None:
        """Give the run that this key names, or None."""
        with self.database.read() as tx:
            return _one(tx, " WHERE principal = ? AND action = ? AND idempotency_key = ?", (principal, action, key))

    def get(self, run_id: str) -> Run:
        """Give a run with its steps. Raises NotFound."""
        with self.database.read() as tx:
            run = _one(tx, " WHERE id = ?", (run_id,))
        if run is None:
            raise NotFound(f"there is no run {run_id[:40]}")
        return run

    def runs(self, *, limit: int = 50, before: str | None = None, state: str | None = None) -> list[Run]:
        """List runs without their steps, newest first; `before` is the last id of the page before."""
        sql, values = _RUN + " WHERE id < ?", [before or "run_~"]
        if state is not None:
            sql, values = sql + " AND state = ?", [*values, state]
        with self.database.read() as tx:
            return [run_of(row) for row in tx.execute(f"{sql} ORDER BY id DESC LIMIT {int(limit)}", values).fetchall()]

    def waiting(self) -> list[str]:
        """Name the open runs that nobody works on: what `advance` is for."""
        free = "(lease_until IS NULL OR lease_until < ?)"
        sql = f"SELECT id FROM run WHERE state IN ('running', 'unknown') AND {free} ORDER BY id"  # noqa: S608
        with self.database.read() as tx:
            return [row[0] for row in tx.execute(sql, (now(),)).fetchall()]

    def claim(self, new: NewRun, *, owner: str) -> tuple[Run, bool]:
        """
        Take the right to act on the key, or give the run that it named before; the flag says whether it is new.

        The row and its planned steps are committed when this returns, so that a crash later cannot act twice.
        Raises Conflict if the key was used with another body (`idempotency_key_reused`), or if the same was asked
        under another key a moment ago (`possible_duplicate`) and `repeat` is not set.
        """
        with self.database.write() as tx:
            where = " WHERE principal = ? AND action = ? AND idempotency_key = ?"
            earlier = _one(tx, where, (new.principal, new.action, new.idempotency_key)) if new.idempotency_key else None
            if earlier is not None:
                same_body(earlier, new.body_hash)
                return earlier, False
            if new.intent and not new.repeat and new.state == "running":
                _no_duplicate(tx, new)
            return self._insert(tx, new, owner), True

    def _insert(self, tx: Any, new: NewRun, owner: str) -> Run:
        at, open_ = now(), new.state in OPEN
        given: dict[str, Any] = {name: getattr(new, name, None) for name in RUN_COLUMNS}
        given |= {"created_at": at, "updated_at": at, "lease_owner": owner if open_ else None}
        given["lease_until"] = now(plus_s=self.lease_s) if open_ else None
        tx.execute(_INSERT_RUN, tuple(given.values()))
        run = Run(**given)
        for number, step in enumerate(new.steps):
            made: dict[str, Any] = dict.fromkeys(STEP_COLUMNS)
            made |= {"run_id": new.id, "number": number, "connection": step.connection}
            made |= {"state": "planned", "attempt": 0, "vendor_key": vendor_key(new.id, number)}
            made |= {"call": step.call, "updated_at": at}
            row = tuple(made.values())
            tx.execute(_INSERT_STEP, row)
            run.steps.append(step_of(row))
        return run

    def take(self, run: Run, *, owner: str) -> bool:
        """Take over an open run whose lease has ended or whose owner has died; False where somebody else works it."""
        if run.lease_until is not None and run.lease_until > now() and _alive(run.lease_owner):
            return False
        sql = (
            "UPDATE run SET lease_owner = ?, lease_until = ? WHERE id = ? AND state IN ('running', 'unknown')"
            " AND lease_owner IS ? AND lease_until IS ?"
        )
        values = (owner, now(plus_s=self.lease_s), run.id, run.lease_owner, run.lease_until)
        with self.database.write() as tx:
            return bool(tx.execute(sql, values).rowcount)

    def release(self, run_id: str, *, owner: str) -> None:
        """Give a run's lease back without an answer, so that `advance` may go on with it."""
        sql = "UPDATE run SET lease_owner = NULL, lease_until = NULL WHERE id = ? AND lease_owner = ?"
        with self.database.write() as tx:
            tx.execute(sql, (run_id, owner))

    def begin(self, step: Step, *, owner: str, again: bool = False) -> Step:
        """
        Move a step from planned to sending and commit, before a byte is sent.

        `again` moves one that the resolver permits to be sent once more, with the same key. Raises Lost where the
        step has moved meanwhile or the lease is another's.
        """
        states = ("sending", "unknown", "absent") if again else ("planned",) * 3
        at = now()
        with self.database.write() as tx:
            moved = tx.execute(_BEGIN, (at, at, at, step.run_id, step.number, step.attempt, *states, owner)).rowcount
            if not moved:
                raise Lost
            until = (now(plus_s=self.lease_s), step.run_id)
            tx.execute("UPDATE run SET state = 'running', lease_until = ? WHERE id = ?", until)
            return step_of(tx.execute(_STEP_AT, (step.run_id, step.number)).fetchone())

    def settle(self, step: Step, move: Move, *, closing: Closing | None = None) -> Step:
        """
        Write down what became of a step that was sending or unknown.

        `closing` is given the step as settled and says the run's state and answer, which are written in the same
        transaction. Raises Lost where the step has moved meanwhile.
        """
        values = (move.state, move.outcome, move.error, now(), step.run_id, step.number, step.attempt)
        with self.database.write() as tx:
            if not tx.execute(_SETTLE, values).rowcount:
                raise Lost
            settled = step_of(tx.execute(_STEP_AT, (step.run_id, step.number)).fetchone())
            if closing is not None:
                state, result = closing(settled)
                tx.execute(_FINISH, (state, result, now(), step.run_id))
            return settled

    def finish(self, run_id: str, state: RunState, result: bytes) -> None:
        """Write the run's state and answer, and give its lease back."""
        with self.database.write() as tx:
            tx.execute(_FINISH, (state, result, now(), run_id))

    def amend(self, run_id: str, state: RunState, result: bytes) -> None:
        """Replace the answer of a run that is still as it was left: in this state, and in nobody's hands."""
        sql = "UPDATE run SET result = ? WHERE id = ? AND state = ? AND lease_owner IS NULL"
        with self.database.write() as tx:
            tx.execute(sql, (result, run_id, state))


def vendor_key(run_id: str, number: int) -> str:
    """Derive the key that goes to the vendor: the same for every send of a step."""
    return f"hub-{run_id}" if number == 0 else f"hub-{run_id}-{number}"


def same_body(earlier: Run, body_hash: str) -> None:
    """Raise Conflict where the key was used with another body."""
    if earlier.body_hash != body_hash:
        raise Conflict(
            f"this Idempotency-Key already names run {earlier.id} of {earlier.action} with another body; "
            "repeat that body, or use a new key",
            code="idempotency_key_reused",
            reason=earlier.id,
        )


def new_owner() -> str:
    """Name who works on a run: this process, and a number nobody else has."""
    return f"{_NODE}:{os.getpid()}:{os.urandom(6).hex()}"


def _node() -> str:
    """Tell this machine, and its process table, from others; without a process table nobody is known to be dead."""
    space = Path("/proc/self/ns/pid")
    return f"{platform.node()}/{space.stat().st_ino}" if space.exists() else ""


_NODE = _node()


def _alive(owner: str | None) -> bool:
    if owner is None:
        return False
    node, _, rest = owner.rpartition(":")[0].rpartition(":")
    if not _NODE or node != _NODE or not rest.isdigit():
        return True
    return Path(f"/proc/{rest}").exists()


def _one(tx: Any, where: str, values: tuple[Any, ...]) -> Run | None:
    row = tx.execute(_RUN + where, values).fetchone()
    if row is None:
        return None
    run = run_of(row)
    run.steps = [step_of(s) for s in tx.execute(_STEP + " WHERE run_id = ? ORDER BY number", (run.id,)).fetchall()]
    return run


def _no_duplicate(tx: Any, new: NewRun) -> None:
    sql = (
        "SELECT id FROM run WHERE principal = ? AND intent = ? AND created_at > ?"
        " AND state IN ('running', 'succeeded', 'unknown', 'needs_attention') ORDER BY id DESC LIMIT 1"
    )
    row = tx.execute(sql, (new.principal, new.intent, now(plus_s=-DUPLICATE_WINDOW_S))).fetchone()
    if row is not None:
        raise Conflict(
            f"run {row[0]} did the same a moment ago under another Idempotency-Key; use its key to see its answer, "
            "or set repeat to true if it is to happen again",
            code="possible_duplicate",
            reason=row[0],
        )
