"""Undo what a run did, as its answer says it can be undone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from hub.access import Principal
from hub.errors import Conflict
from hub.ledger import Ledger
from hub.perform.envelope import Request, Result, stored

Act = Callable[[Request, Principal], Result]


@dataclass(frozen=True)
class Reversing:
    """Runs the actions that undo another run; they are judged and journaled like any other."""

    ledger: Ledger
    act: Act

    def reverse(self, run_id: str, by: Principal) -> Result:
        """
        Undo a run, and give the answer of the (last) run that did so. To ask again gives the same answer.

        Raises NotFound, and Conflict for a run that is not done, or that cannot be undone.
        """
        run = self.ledger.get(run_id)
        if run.result is None or run.state not in ("succeeded", "failed", "reversed"):
            raise Conflict(f"run {run.id} is {run.state}; only what was done can be undone", code="not_reversible")
        done = stored(run.result)
        if not done.reversal.possible or done.reversal.action is None:
            why = done.reversal.residue or "nothing undoes it"
            raise Conflict(f"run {run.id} cannot be undone: {why}", code="not_reversible", reason=run.state)
        if done.reversal.until is not None and datetime.fromisoformat(done.reversal.until) < datetime.now(UTC):
            text = f"run {run.id} could be undone until {done.reversal.until}"
            raise Conflict(text, code="not_reversible", reason=done.reversal.until)
        ways = [(done.reversal.action, done.reversal.input or {})]
        ways += [(way.action, way.input) for way in done.reversal.also]
        for number, (action, given) in enumerate(ways):
            request = Request(action, given, key=f"reverse-{run.id}-{number}", reason=f"undoes {run.id}", repeat=True)
            result = self.act(request, by)
            if result.status != "succeeded":
                return result
        done.status = "reversed"
        self.ledger.amend(run.id, run.state, done.as_json(), to="reversed")
        return result
