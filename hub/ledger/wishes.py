"""Runs and steps before they are written, and where a step is to go."""

from dataclasses import dataclass, field

from hub.ledger.questions import Question
from hub.ledger.rows import RunState, StepState, new_run_id

DUPLICATE_WINDOW_S = 600.0


@dataclass(frozen=True)
class NewStep:
    """A step to be planned: what `connection` will be asked to do, as JSON."""

    connection: str
    call: bytes


@dataclass(frozen=True)
class Reckoned:
    """The runs of some actions on these targets that a plan was reckoned with."""

    actions: tuple[str, ...]
    targets: tuple[str, ...]
    runs: frozenset[str]


@dataclass(frozen=True)
class NewRun:
    """
    A run to be written before anything is sent.

    `intent` names what it would do, to find the same under another key for `window_s`; None where a repeat does no
    harm. `question` is what a person must be asked first. `ceiling_minor` is the money in `currency` that this
    principal may move in a day; `guarded` runs are refused while money is frozen. One whose plan was reckoned with
    what runs did before is refused where another one came after those that it `knows`.
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
    window_s: float = DUPLICATE_WINDOW_S
    connection: str | None = None
    target_id: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    steps: tuple[NewStep, ...] = ()
    result: bytes | None = None
    question: Question | None = None
    ceiling_minor: int | None = None
    guarded: bool = False
    knows: Reckoned | None = None
    id: str = field(default_factory=new_run_id)


@dataclass(frozen=True)
class Move:
    """Where a step goes, with what it did or why it failed, as JSON."""

    state: StepState
    outcome: bytes | None = None
    error: bytes | None = None
