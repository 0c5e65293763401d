"""Runs and steps as the journal gives them, and their states."""

import base64
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

RunState = Literal[
    "previewed",
    "denied",
    "needs_approval",
    "queued",
    "running",
    "succeeded",
    "failed",
    "unknown",
    "needs_attention",
    "reversed",
]
StepState = Literal["planned", "sending", "done", "failed", "absent", "unknown"]
OPEN: frozenset[str] = frozenset({"queued", "running", "unknown"})
CLOSED: frozenset[str] = frozenset({"previewed", "denied", "succeeded", "failed", "needs_attention", "reversed"})


class Step(msgspec.Struct, kw_only=True):
    """One effect in one connection. `call`, `outcome` and `error` are JSON."""

    run_id: str
    number: int
    connection: str
    state: StepState
    attempt: int
    vendor_key: str
    call: bytes
    outcome: bytes | None
    error: bytes | None
    first_sent_at: str | None
    sent_at: str | None
    updated_at: str


class Run(msgspec.Struct, kw_only=True):
    """One execution of an action. `request`, `plan` and `result` are JSON; times are RFC 3339 UTC."""

    id: str
    action: str
    principal: str
    idempotency_key: str | None
    body_hash: str
    mode: str
    state: RunState
    intent: str | None
    connection: str | None
    target_id: str | None
    amount_minor: int | None
    currency: str | None
    request: bytes
    plan: bytes
    result: bytes | None
    created_at: str
    updated_at: str
    lease_owner: str | None
    lease_until: str | None
    steps: list[Step] = []

    @property
    def closed(self) -> bool:
        return self.state in CLOSED


RUN_COLUMNS = tuple(name for name in Run.__struct_fields__ if name != "steps")
STEP_COLUMNS = Step.__struct_fields__


def run_of(row: Any) -> Run:
    """Build a run from a row selected as RUN_COLUMNS."""
    return Run(**dict(zip(RUN_COLUMNS, row, strict=True)))


def step_of(row: Any) -> Step:
    """Build a step from a row selected as STEP_COLUMNS."""
    return Step(**dict(zip(STEP_COLUMNS, row, strict=True)))


def stamp(moment: datetime) -> str:
    """Write a time so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now(*, plus_s: float = 0.0) -> str:
    """Give the time now (or `plus_s` seconds from now) as the journal writes it."""
    return stamp(datetime.now(UTC) + timedelta(seconds=plus_s))


def new_run_id() -> str:
    """Make an id that nobody can guess and that sorts by time: 48 bits of milliseconds, 72 random ones."""
    head = int(time.time() * 1000).to_bytes(6, "big")
    return "run_" + base64.b32hexencode(head + os.urandom(9)).decode().lower()
