"""Reading and writing the journal. Every method is one transaction, durable when it returns."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from hub.errors import ConfigError, Conflict, NotFound
from hub.ledger import bounds, trail
from hub.ledger.audit import Audit
from hub.ledger.keeping import Keeper
from hub.ledger.owners import alive
from hub.ledger.questions import ask
from hub.ledger.rows import (
    OPEN,
    RUN_COLUMNS,
    STEP_COLUMNS,
    Run,
    RunState,
    Step,
    now,
    run_of,
    step_of,
)
from hub.ledger.wishes import Move, NewRun, NewStep
from hub.store import Database, Tx

LEASE_S = 30.0
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
_PLAN = (
    "UPDATE run SET state = ?, plan = ?, result = ?, intent = ?, connection = ?, target_id = ?, amount_minor = ?,"
    " currency = ?, updated_at = ?, lease_owner = ?, lease_until = ?"
    " WHERE id = ? AND state = 'queued' AND lease_owner = ?"
)
Closing = Callable[[Step], tuple[RunState, bytes]]


class Lost(Exception):
    """Somebody else moved this step first; read the run again."""


class Ledger:
    """
    The journal in one database.

    `lease_s` is how long a run belongs to who works it, and is heard of no more; `keeper` renews it meanwhile.
    """

    def __init__(self, database: Database, *, lease_s: float = LEASE_S, audit_key: Path | None = None) -> None:
        self.database = database
        self.lease_s = lease_s
        self.audit = Audit(database, key_file=audit_key)
        self.keeper = Keeper(self)

    @classmethod
    def open(cls, url: str, *, lease_s: float = LEASE_S, audit_key: Path | None = None) -> "Ledger":
        """Open (and where needed create and migrate) the ledger's database; `audit_key` is the file of its key."""
        database = Database(url, "ledger")
        try:
            return cls(database, lease_s=lease_s, audit_key=audit_key)
        except ConfigError:
            database.close()
            raise

    def close(self) -> None:
        """Chain and sign what is waiting, then close the database."""
        self.keeper.close()
        self.audit.close()
        self.database.close()

    @contextmanager
    def _write(self, *, ends: bool) -> Iterator[Tx]:
        """Open a write transaction; one that ends a run has the audit's head signed soon after."""
        with self.database.write() as tx:
            yield tx
        if ends:
            self.audit.sign_soon()

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
        """Name the open runs that nobody works on, those of a process known to be dead among them."""
        sql = "SELECT id, lease_owner, lease_until FROM run WHERE state IN ('queued', 'running', 'unknown') ORDER BY id"
        with self.database.read() as tx:
            rows, at = tx.execute(sql).fetchall(), now()
        return [id for id, owner, until in rows if until is None or until < at or not alive(owner)]

    def claim(self, new: NewRun, *, owner: str) -> tuple[Run, bool]:
        """
        Take the right to act on the key, or give the run that it named before; the flag says whether it is new.

        The row and its planned steps are committed when this returns, so that a crash later cannot act twice.
        Raises Conflict if the key was used with another body (`idempotency_key_reused`), or if the same was asked
        under another key a moment ago (`possible_duplicate`) and `repeat` is not set.
        """
        with self._write(ends=new.state not in OPEN) as tx:
            where = " WHERE principal = ? AND action = ? AND idempotency_key = ?"
            earlier = _one(tx, where, (new.principal, new.action, new.idempotency_key)) if new.idempotency_key else None
            if earlier is not None:
                same_body(earlier, new.body_hash)
                return earlier, False
            bounds.check(tx, new)
            return self._insert(tx, new, owner), True

    def _insert(self, tx: Any, new: NewRun, owner: str) -> Run:
        at, open_ = now(), new.state in OPEN
        given: dict[str, Any] = {name: getattr(new, name, None) for name in RUN_COLUMNS}
        given |= {"created_at": at, "updated_at": at, "lease_owner": owner if open_ else None}
        given["lease_until"] = now(plus_s=self.lease_s) if open_ else None
        tx.execute(_INSERT_RUN, tuple(given.values()))
        run = Run(**given)
        run.steps = insert_steps(tx, new.id, new.steps)
        trail.created(self.audit, tx, run)
        self._asked(tx, new)
        return run

    def _asked(self, tx: Tx, new: NewRun) -> None:
        if new.question is not None:
            asked = ask(tx, new.id, new.principal, new.question)
            facts: dict[str, Any] = {"approval": asked.id, "plan_hash": asked.plan_hash, "group": asked.group}
            self.audit.append(tx, "approval_asked", principal=new.principal, run_id=new.id, **facts)

    def plan(self, new: NewRun, *, owner: str) -> Run:
        """
        Give a queued run of ours its plan and its steps, and the state that `new` has.

        Raises Lost where the lease is another's, and Refused and Conflict as `claim` does; the run is queued then.
        """
        at, acts = now(), new.state == "running"
        lease = (owner, now(plus_s=self.lease_s)) if acts else (None, None)
        money = (new.amount_minor, new.currency)
        what = (new.state, new.plan, new.result, new.intent, new.connection, new.target_id, *money)
        with self._write(ends=not acts) as tx:
            bounds.check(tx, new)
            if not tx.execute(_PLAN, (*what, at, *lease, new.id, owner)).rowcount:
                raise Lost
            insert_steps(tx, new.id, new.steps)
            run = _one(tx, " WHERE id = ?", (new.id,))
            assert run is not None
            trail.planned(self.audit, tx, run)
            self._asked(tx, new)
            return run

    def count(self, action: str, targets: Iterable[str], *, since: str) -> int:
        """Count the runs of an action on these targets that did something, or may have, since a time."""
        sql = (
            "SELECT target_id FROM run WHERE action = ? AND created_at >= ?"
            " AND state IN ('running', 'succeeded', 'unknown', 'needs_attention')"
        )
        wanted = set(targets)
        with self.database.read() as tx:
            return sum(row[0] in wanted for row in tx.execute(sql, (action, since)))

    def plans(self, actions: Iterable[str], targets: Iterable[str]) -> list[tuple[str, bytes]]:
        """Give (id, plan) of an action's runs on these targets that did something, or may have."""
        with self.database.read() as tx:
            return bounds.plans_of(tx, actions, targets)

    def made(self, action: str, connection: str, *, within_s: float) -> set[str]:
        """Give the vendor's ids of what runs of an action made in a connection lately."""
        sql = (
            "SELECT step.outcome FROM step JOIN run ON run.id = step.run_id WHERE run.action = ?"
            " AND run.created_at >= ? AND step.connection = ? AND step.state = 'done'"
        )
        with self.database.read() as tx:
            rows = tx.execute(sql, (action, now(plus_s=-within_s), connection)).fetchall()
        effects = [effect for (outcome,) in rows for effect in msgspec.json.decode(outcome)["effects"]]
        return {effect["remote_id"] for effect in effects if effect["op"] == "create"}

    def moved_today(self, principal: str, currency: str) -> int:
        """Sum up the money in minor units that a principal's runs of today (UTC) move, or may yet move."""
        with self.database.read() as tx:
            return bounds.moved_today(tx, principal, currency)

    def take(self, run: Run, *, owner: str) -> bool:
        """Take over an open run whose lease has ended or whose owner has died; False where somebody else works it."""
        if run.lease_until is not None and run.lease_until > now() and alive(run.lease_owner):
            return False
        sql = (
            "UPDATE run SET lease_owner = ?, lease_until = ? WHERE id = ? AND state IN ('queued', 'running', 'unknown')"
            " AND lease_owner IS ? AND lease_until IS ?"
        )
        values = (owner, now(plus_s=self.lease_s), run.id, run.lease_owner, run.lease_until)
        with self.database.write() as tx:
            return bool(tx.execute(sql, values).rowcount)

    def renew(self, held: Iterable[tuple[str, str]]) -> None:
        """Let the leases of these owners, each of a run, end later; those that are another's by now stay so."""
        until = now(plus_s=self.lease_s)
        sql = "UPDATE run SET lease_until = ? WHERE id = ? AND lease_owner = ?"
        with self.database.write() as tx:
            tx.executemany(sql, [(until, run_id, owner) for owner, run_id in held])

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
            sent = step_of(tx.execute(_STEP_AT, (step.run_id, step.number)).fetchone())
            trail.sending(self.audit, tx, sent)
            return sent

    def settle(self, step: Step, move: Move, *, closing: Closing | None = None) -> Step:
        """
        Write down what became of a step that was sending or unknown.

        `closing` is given the step as settled and says the run's state and answer, which are written in the same
        transaction. Raises Lost where the step has moved meanwhile.
        """
        values = (move.state, move.outcome, move.error, now(), step.run_id, step.number, step.attempt)
        with self._write(ends=closing is not None) as tx:
            if not tx.execute(_SETTLE, values).rowcount:
                raise Lost
            settled = step_of(tx.execute(_STEP_AT, (step.run_id, step.number)).fetchone())
            trail.settled(self.audit, tx, settled)
            if closing is not None:
                state, result = closing(settled)
                tx.execute(_FINISH, (state, result, now(), step.run_id))
                trail.ended(self.audit, tx, step.run_id, state, result)
            return settled

    def finish(self, run_id: str, state: RunState, result: bytes) -> None:
        """Write the run's state and answer, and give its lease back."""
        with self._write(ends=True) as tx:
            tx.execute(_FINISH, (state, result, now(), run_id))
            trail.ended(self.audit, tx, run_id, state, result)

    def amend(self, run_id: str, state: RunState, result: bytes, *, to: RunState | None = None) -> None:
        """Replace the answer (and state) of a run that is still as it was left: so, and in nobody's hands."""
        sql = "UPDATE run SET result = ?, state = ? WHERE id = ? AND state = ? AND lease_owner IS NULL"
        with self._write(ends=True) as tx:
            if tx.execute(sql, (result, to or state, run_id, state)).rowcount:
                trail.amended(self.audit, tx, run_id, to or state, result)


def insert_steps(tx: Tx, run_id: str, steps: Iterable[NewStep]) -> list[Step]:
    """Write a run's steps down as planned."""
    made = []
    for number, step in enumerate(steps):
        values: dict[str, Any] = dict.fromkeys(STEP_COLUMNS)
        values |= {"run_id": run_id, "number": number, "connection": step.connection}
        values |= {"state": "planned", "attempt": 0, "vendor_key": vendor_key(run_id, number)}
        values |= {"call": step.call, "updated_at": now()}
        row = tuple(values.values())
        tx.execute(_INSERT_STEP, row)
        made.append(step_of(row))
    return made


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


def _one(tx: Any, where: str, values: tuple[Any, ...]) -> Run | None:
    row = tx.execute(_RUN + where, values).fetchone()
    if row is None:
        return None
    run = run_of(row)
    run.steps = [step_of(s) for s in tx.execute(_STEP + " WHERE run_id = ? ORDER BY number", (run.id,)).fetchall()]
    return run
