"""Approvals: who is asked to decide a run, by the hash of its plan, and what they said. Each counts once."""

from collections.abc import Iterable
from typing import Any

from hub.errors import Conflict, NotFound
from hub.ledger import bounds, trail
from hub.ledger.journal import Ledger, insert_steps
from hub.ledger.questions import SELECT, Approval, ApprovalState, approval_of, ask
from hub.ledger.rows import RunState, now
from hub.ledger.wishes import NewRun
from hub.store import Tx

_DECIDE = "UPDATE approval SET state = ?, decided_by = ?, decided_at = ? WHERE id = ? AND state = 'pending'"
_MOVE = (
    "UPDATE run SET state = ?, result = COALESCE(?, result), updated_at = ?, lease_owner = ?, lease_until = ?"
    " WHERE id = ? AND state = 'needs_approval'"
)
_RENEW = (
    "UPDATE run SET plan = ?, intent = ?, connection = ?, target_id = ?, amount_minor = ?, currency = ?, updated_at = ?"
    " WHERE id = ? AND state = 'needs_approval'"
)


class Approvals:
    """The questions in a ledger. Every method is one transaction, durable when it returns."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def of(self, run_id: str) -> Approval:
        """Give the last question about a run. Raises NotFound where there never was one."""
        with self.ledger.database.read() as tx:
            row = tx.execute(SELECT + " WHERE run_id = ? ORDER BY created_at DESC, id LIMIT 1", (run_id,)).fetchone()
        if row is None:
            raise NotFound(f"run {run_id[:40]} waits for no approval", code="no_approval")
        return approval_of(row)

    def find(self, reference: str) -> Approval:
        """Give the question with this id, or the last one about the run with this id. Raises NotFound."""
        if not reference.startswith("apr_"):
            return self.of(reference)
        with self.ledger.database.read() as tx:
            row = tx.execute(SELECT + " WHERE id = ?", (reference,)).fetchone()
        if row is None:
            raise NotFound(f"there is no approval {reference[:40]}", code="no_approval")
        return approval_of(row)

    def list(self, *, pending: bool = True, limit: int = 200) -> list[Approval]:
        """List questions, the newest first; only those that wait for an answer, unless told otherwise."""
        where = " WHERE state = 'pending'" if pending else ""
        with self.ledger.database.read() as tx:
            rows = tx.execute(f"{SELECT}{where} ORDER BY created_at DESC, id LIMIT ?", (limit,)).fetchall()
        return [approval_of(row) for row in rows]

    def overdue(self) -> Iterable[str]:
        """Name the runs whose question nobody answered in time."""
        sql = "SELECT run_id FROM approval WHERE state = 'pending' AND expires_at <= ?"
        with self.ledger.database.read() as tx:
            return [row[0] for row in tx.execute(sql, (now(),)).fetchall()]

    def grant(self, approval: Approval, new: NewRun, *, by: str, owner: str, silence: bool = False) -> None:
        """
        Count a yes (or silence that means it) and take the run's lease; `new` is the run as it is planned now.

        Raises Conflict where somebody was first, or where a run came that it was not reckoned with, and Refused while
        money is frozen, for a run that is guarded.
        """
        with self.ledger.database.write() as tx:
            bounds.unfrozen(tx, guarded=new.guarded)
            if new.knows is not None:
                bounds.nothing_since(tx, new.knows, but=approval.run_id)
            self._decide(tx, approval, "expired" if silence else "approved", by)
            until = now(plus_s=self.ledger.lease_s)
            self._moved(tx, approval, ("running", None, now(), owner, until, approval.run_id))
        self.ledger.audit.sign_soon()

    def close(self, approval: Approval, state: ApprovalState, *, by: str, run: RunState, result: bytes) -> None:
        """End a question, and its run in the same transaction, without anything being sent."""
        with self.ledger.database.write() as tx:
            self._decide(tx, approval, state, by)
            self._moved(tx, approval, (run, result, now(), None, None, approval.run_id))
            trail.ended(self.ledger.audit, tx, approval.run_id, run, result)
        self.ledger.audit.sign_soon()

    def renew(self, approval: Approval, new: NewRun) -> Approval:
        """
        Put another plan, with its amount, in the place of the one that was asked about, and ask anew.

        Raises Conflict where somebody was first, and Refused where this moves more than its principal may today.
        """
        assert new.question is not None
        about = (new.plan, new.intent, new.connection, new.target_id, new.amount_minor, new.currency)
        with self.ledger.database.write() as tx:
            self._decide(tx, approval, "changed", "hub")
            tx.execute(_RENEW, (*about, now(), approval.run_id))
            bounds.within_ceiling(tx, new, counted=True)
            tx.execute("DELETE FROM step WHERE run_id = ? AND state = 'planned'", (approval.run_id,))
            insert_steps(tx, approval.run_id, new.steps)
            again = ask(tx, approval.run_id, approval.asked_by, new.question)
            self.ledger.audit.append(tx, "approval_asked", run_id=approval.run_id, **_facts(again))
        self.ledger.audit.sign_soon()
        return again

    def _decide(self, tx: Tx, approval: Approval, state: ApprovalState, by: str) -> None:
        if not tx.execute(_DECIDE, (state, by, now(), approval.id)).rowcount:
            raise already(approval)
        facts = _facts(approval) | {"state": state}
        self.ledger.audit.append(tx, "approval_decided", principal=by, run_id=approval.run_id, **facts)

    def _moved(self, tx: Tx, approval: Approval, values: tuple[object, ...]) -> None:
        if not tx.execute(_MOVE, values).rowcount:
            raise already(approval)


def already(approval: Approval) -> Conflict:
    """Say that a question was answered before: an answer counts once."""
    text = f"approval {approval.id} was decided already; an answer counts once"
    return Conflict(text, code="already_decided", reason=approval.state)


def _facts(approval: Approval) -> dict[str, Any]:
    return {"approval": approval.id, "plan_hash": approval.plan_hash, "group": approval.group}
