"""
The journal of runs: the only truth of what was asked, what was sent and what came of it.

A row is committed before anything is sent, and every change of a step is a compare-and-set.
"""

from hub.ledger.journal import Closing, Ledger, Lost, Move, NewRun, NewStep, new_owner, same_body
from hub.ledger.rows import CLOSED, OPEN, Run, RunState, Step, StepState, new_run_id, now

__all__ = [
    "CLOSED",
    "OPEN",
    "Closing",
    "Ledger",
    "Lost",
    "Move",
    "NewRun",
    "NewStep",
    "Run",
    "RunState",
    "Step",
    "StepState",
    "new_owner",
    "new_run_id",
    "now",
    "same_body",
]
