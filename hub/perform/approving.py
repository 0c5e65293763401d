"""Let a person decide a run that policy holds: by the hash of its plan, in time, once, and not the one who asked."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from hub.access import ADMIN, Principal, allows, require
from hub.errors import Conflict, HubError, Refused, Temporary
from hub.ledger import Approval, Approvals, ApprovalState, Ledger, NewRun, Question, Run, already, new_owner
from hub.perform import answers
from hub.perform.envelope import Result
from hub.perform.plan import Plan
from hub.perform.written import plan_hash

HUB = "hub"
ASKED_AGAIN_S = 14_400.0


@dataclass(frozen=True)
class Approving:
    """
    Decides runs. `replan` plans one again, `written` gives what the journal is told of that, `work` works one whose
    lease is ours, `show` answers one as it stands, `who` gives who asked as they may act by now.
    """

    ledger: Ledger
    replan: Callable[[Run, Principal], Plan]
    written: Callable[[Run, Plan, Principal], NewRun]
    who: Callable[[str], Principal]
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
        return self._granted(approval, asker, by=by.id)

    def _granted(self, approval: Approval, asker: Principal, *, by: str, silence: bool = False) -> Result:
        """Plan the run again, and do it where it is still the run that was asked about."""
        run = self.ledger.get(approval.run_id)
        plan = self.replan(run, replace(asker, ceilings=()))  # what this run moves counts as moved already
        if plan.verdict.verdict == "deny":
            raise answers.refused(plan)
        new = self.written(run, plan, asker)
        self._same_plan(approval, new, plan_hash(plan))
        owner = new_owner()
        self.approvals.grant(approval, new, by=by, owner=owner, silence=silence)
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
                return self._silent_yes(approval, run)
            return self._close(approval, "expired", _too_late(approval), by=HUB)
        except Conflict:  # somebody decided at this very moment, or is asked anew
            return self.show(self.ledger.get(run.id))

    def _silent_yes(self, approval: Approval, run: Run) -> Result:
        """Do what silence allows, if policy and the facts still do; what cannot be looked at now is looked at again."""
        try:
            return self._granted(approval, self.who(run.principal), by=HUB, silence=True)
        except Temporary:
            return self.show(run)
        except HubError as exc:
            if exc.error_code in ("plan_changed", "already_decided"):
                raise
            return self._close(approval, "expired", exc, by=HUB)

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

    def _same_plan(self, approval: Approval, new: NewRun, found: str) -> None:
        """Raise Conflict where the run, or who must be asked about it, is another by now; those are asked then."""
        asked = new.question
        stricter = asked is not None and (asked.group != approval.group or asked.four_eyes > approval.four_eyes)
        if found == approval.plan_hash and not stricter:
            return
        again = asked or Question(
            plan_hash=found,
            group=approval.group,
            expires_s=ASKED_AGAIN_S,
            on_expiry="deny",
            four_eyes=approval.four_eyes,
        )
        self.approvals.renew(approval, replace(new, question=again))
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
