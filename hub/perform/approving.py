"""Let a person decide a run that policy holds: by the hash of its plan, in time, once, and not the one who asked."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from hub.access import ADMIN, Principal, allows, require
from hub.errors import Conflict, HubError, Refused
from hub.ledger import Approval, Approvals, ApprovalState, Ledger, Question, Run, already, new_owner
from hub.perform import answers
from hub.perform.envelope import Result
from hub.perform.plan import Plan
from hub.perform.written import kept_json, plan_hash, steps_of

HUB = "hub"


@dataclass(frozen=True)
class Approving:
    """Decides runs. `replan` plans one again, `work` works one whose lease is ours, `show` answers one as it stands."""

    ledger: Ledger
    replan: Callable[[Run, Principal], Plan]
    work: Callable[[Run, str], Result]
    show: Callable[[Run], Result]
    opening: Callable[[Run], Result]

    @property
    def approvals(self) -> Approvals:
        return Approvals(self.ledger)

    def approve(self, reference: str, by: Principal, *, asker: Principal, seen: str | None = None) -> Result:
        """
        Say yes to a run (or to the approval of that id), and do it.

        `seen` is the hash of the plan that the approver looked at. Raises Refused without the scope
        `approve:<group>` and for one's own run under four eyes, Conflict where it was decided before, came too late, or
        the plan has changed: then the group is asked anew.
        """
        approval = self._decidable(reference, by)
        if approval.four_eyes and by.id == approval.asked_by:
            raise Refused("four eyes: who asked for a run cannot approve it", code="own_run")
        if seen is not None and seen != approval.plan_hash:
            raise _changed(approval)
        run = self.ledger.get(approval.run_id)
        plan = self.replan(run, replace(asker, ceilings=()))
        if plan.verdict.verdict == "deny":
            raise answers.refused(plan)
        self._same_plan(approval, plan)
        owner = new_owner()
        self.approvals.grant(approval, by=by.id, owner=owner)
        return self.work(self.ledger.get(run.id), owner)

    def deny(self, reference: str, by: Principal, *, reason: str | None = None) -> Result:
        """Say no to a run; nothing is sent. Raises as `approve` does, but for four eyes: anyone may say no."""
        approval = self._decidable(reference, by)
        text = f"{reason}" if reason else "a person said no"
        return self._close(approval, "denied", Refused(text, code="approval_denied", reason=reason), by=by.id)

    def cancel(self, run_id: str, by: Principal) -> Result:
        """Take back a run that still waits. Raises Conflict once it was decided, Refused for somebody else's run."""
        run = self.ledger.get(run_id)
        if by.id != run.principal and not allows(by, ADMIN):
            raise Refused("only who asked for a run, or an admin, may cancel it", code="missing_scope", reason=ADMIN)
        if run.state != "needs_approval":
            text = f"run {run.id} is {run.state}; only one that waits for an approval can be cancelled"
            raise Conflict(text, code="not_cancelable", reason=run.state)
        approval = self.approvals.of(run_id)
        return self._close(approval, "canceled", Conflict("the run was cancelled", code="canceled"), by=by.id)

    def expire(self, run: Run) -> Result:
        """Act on silence where the time is up; answer as it stands where it is not."""
        approval = self.approvals.of(run.id)
        if approval.state != "pending" or not approval.expired:
            return self.show(run)
        try:
            if approval.on_expiry == "allow":
                owner = new_owner()
                self.approvals.grant(approval, by=HUB, owner=owner, silence=True)
                return self.work(self.ledger.get(run.id), owner)
            return self._close(approval, "expired", _too_late(approval), by=HUB)
        except Conflict:  # somebody decided at this very moment
            return self.show(self.ledger.get(run.id))

    def _decidable(self, reference: str, by: Principal) -> Approval:
        approval = self.approvals.find(reference)
        require(by, f"approve:{approval.group}")
        if approval.expired:
            self.expire(self.ledger.get(approval.run_id))
            raise _too_late(approval)
        if approval.state == "changed":
            raise _changed(approval)
        if approval.state != "pending":
            raise already(approval)
        return approval

    def _same_plan(self, approval: Approval, plan: Plan) -> None:
        found = plan_hash(plan)
        if found == approval.plan_hash:
            return
        seconds = (plan.verdict.approval.expires_s if plan.verdict.approval else None) or 14_400.0
        question = Question(
            plan_hash=found,
            group=plan.verdict.approval.group if plan.verdict.approval else approval.group,
            expires_s=seconds,
            on_expiry=approval.on_expiry,
            four_eyes=approval.four_eyes,
        )
        where = plan.steps[0].connection
        self.approvals.renew(approval, question, plan=kept_json(plan), steps=steps_of(plan), connection=where)
        raise _changed(approval)

    def _close(self, approval: Approval, state: ApprovalState, error: HubError, *, by: str) -> Result:
        run = self.ledger.get(approval.run_id)
        decided = msgspec.structs.replace(approval, state=state, decided_by=by)
        result = answers.stopped(self.opening(run), error, decided)
        self.approvals.close(approval, state, by=by, run=result.status, result=result.as_json())
        return result


def _too_late(approval: Approval) -> Conflict:
    text = f"approval {approval.id} expired at {approval.expires_at}"
    return Conflict(text, code="approval_expired", reason=approval.expires_at)


def _changed(approval: Approval) -> Conflict:
    text = "the plan has changed since; look at it again, then decide"
    return Conflict(text, code="plan_changed", reason=approval.run_id)


def shown(approval: Approval) -> dict[str, Any]:
    """Give an approval as plain JSON values."""
    found: dict[str, Any] = msgspec.to_builtins(approval)
    return found
