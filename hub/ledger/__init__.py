"""
The journal of runs: the only truth of what was asked, what was sent and what came of it.

A row is committed before anything is sent, and every change of a step is a compare-and-set.
"""

from hub.ledger.approvals import Approvals, already
from hub.ledger.audit import Audit
from hub.ledger.clerk import seen, seen_in
from hub.ledger.freezing import Freeze, freeze, frozen, unfreeze
from hub.ledger.journal import Closing, Ledger, Lost, same_body
from hub.ledger.owners import new_owner
from hub.ledger.questions import Approval, ApprovalState, Question
from hub.ledger.rows import CLOSED, OPEN, Run, RunState, Step, StepState, new_run_id, now, stamp
from hub.ledger.sealing import Head
from hub.ledger.verifying import Problem, Verdict, verify
from hub.ledger.wishes import DUPLICATE_WINDOW_S, Move, NewRun, NewStep, Reckoned

__all__ = [
    "CLOSED",
    "DUPLICATE_WINDOW_S",
    "OPEN",
    "Approval",
    "ApprovalState",
    "Approvals",
    "Audit",
    "Closing",
    "Freeze",
    "Head",
    "Ledger",
    "Lost",
    "Move",
    "NewRun",
    "NewStep",
    "Problem",
    "Question",
    "Reckoned",
    "Run",
    "RunState",
    "Step",
    "StepState",
    "Verdict",
    "already",
    "freeze",
    "frozen",
    "new_owner",
    "new_run_id",
    "now",
    "same_body",
    "seen",
    "seen_in",
    "stamp",
    "unfreeze",
    "verify",
]
