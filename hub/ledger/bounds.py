"""What a principal may have done, looked at in the transaction that makes or plans a run: two at once obey it too."""

from collections.abc import Iterable

from hub.errors import Conflict, Refused
from hub.ledger.freezing import frozen_in
from hub.ledger.rows import now
from hub.ledger.wishes import NewRun, Reckoned
from hub.store import Tx

ACTS = frozenset({"running", "needs_approval"})
_PARTLY = " OR (state = 'failed' AND EXISTS (SELECT 1 FROM step WHERE step.run_id = run.id AND step.state = 'done'))"
"""One of several steps may have moved money, or told the customer, before another failed."""
_PLANS = f"""
SELECT id, plan FROM run WHERE action = ? AND target_id = ? AND mode = 'execute'
AND (state IN ('running', 'succeeded', 'unknown', 'needs_attention', 'reversed'){_PARTLY})
"""  # noqa: S608
_MOVED = f"""
SELECT COALESCE(SUM(amount_minor), 0) FROM run
WHERE principal = ? AND currency = ? AND created_at >= ? AND mode = 'execute'
AND (state IN ('running', 'succeeded', 'unknown', 'needs_attention', 'needs_approval', 'reversed'){_PARTLY})
"""  # noqa: S608
_SAME = f"""
SELECT id FROM run WHERE principal = ? AND intent = ? AND created_at > ? AND id <> ?
AND (state IN ('running', 'succeeded', 'unknown', 'needs_attention', 'needs_approval'){_PARTLY})
ORDER BY id DESC LIMIT 1
"""  # noqa: S608


def check(tx: Tx, new: NewRun) -> None:
    """Refuse a run that is to act and may not. Raises Refused (frozen, ceiling), Conflict (`possible_duplicate`)."""
    if new.state in ACTS:
        may_act(tx, new)
        if new.intent and not new.repeat:
            no_duplicate(tx, new)
        if new.knows is not None:
            nothing_since(tx, new.knows, but=new.id)


def plans_of(tx: Tx, actions: Iterable[str], targets: Iterable[str]) -> list[tuple[str, bytes]]:
    """Give (id, plan) of the runs of these actions on these targets that did something, or may have."""
    pairs = [(action, target) for target in targets for action in actions]
    return [(row[0], row[1]) for pair in pairs for row in tx.execute(_PLANS, pair).fetchall()]


def nothing_since(tx: Tx, known: Reckoned, *, but: str) -> None:
    """Raise Conflict where a run came on the same targets that this one was not reckoned with."""
    others = {run for run, _ in plans_of(tx, known.actions, known.targets)} - known.runs - {but}
    if others:
        text = f"run {min(others)} came first on the same order or payments; ask again, so that it is reckoned anew"
        raise Conflict(text, reason=min(others))


def may_act(tx: Tx, new: NewRun) -> None:
    """Raise Refused while money is frozen, and where the run would move more than its principal may today."""
    unfrozen(tx, guarded=new.guarded)
    within_ceiling(tx, new)


def unfrozen(tx: Tx, *, guarded: bool) -> None:
    """Raise Refused while money is frozen, for a run that moves some (or does what cannot be undone)."""
    if guarded and (on := frozen_in(tx)) is not None:
        raise Refused(f"money is frozen since {on.at} by {on.by}", code="money_frozen", reason=on.reason)


def within_ceiling(tx: Tx, new: NewRun, *, counted: bool = False) -> None:
    """Raise Refused where a run (`counted`: one that is in the journal) moves more than its principal may today."""
    if new.ceiling_minor is None or new.amount_minor is None or new.currency is None:
        return
    more = 0 if counted else new.amount_minor
    if moved_today(tx, new.principal, new.currency) + more > new.ceiling_minor:
        text = f"{new.action}: with this the key would move more {new.currency} today than it may"
        raise Refused(text, code="daily_ceiling", retry_after_s=None)


def moved_today(tx: Tx, principal: str, currency: str) -> int:
    """Sum up what the runs of today (UTC) move, or may yet move."""
    return int(tx.execute(_MOVED, (principal, currency, f"{now()[:10]}T00:00:00.000Z")).fetchone()[0])


def no_duplicate(tx: Tx, new: NewRun) -> None:
    """Raise Conflict where the same was done, in part at least, under another key a moment ago."""
    row = tx.execute(_SAME, (new.principal, new.intent, now(plus_s=-new.window_s), new.id)).fetchone()
    if row is not None:
        raise Conflict(
            f"run {row[0]} did the same a moment ago under another Idempotency-Key; use its key to see its answer, "
            "or set repeat to true if it is to happen again",
            code="possible_duplicate",
            reason=row[0],
        )
