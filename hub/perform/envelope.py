"""What an action is asked with and answered with; the same for REST, MCP and the command line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from hub.errors import HubError
from hub.ledger import RunState, now

_SECRET = re.compile(r"passw|secret|token|api_?key|authorization|session_?id|credential|private_?key", re.IGNORECASE)
HIDDEN = "***"


@dataclass(frozen=True)
class Request:
    """
    One call of an action.

    `key` is the Idempotency-Key; `wait_ms` how long to wait for the answer (None: to the end). `reason`,
    `on_behalf_of` and `agent` are recorded. `repeat` says that the same is meant to happen a second time.
    """

    action: str
    input: Mapping[str, Any] = field(default_factory=dict)
    mode: Literal["preview", "execute"] = "execute"
    key: str | None = None
    reason: str | None = None
    on_behalf_of: Mapping[str, Any] | None = None
    agent: Mapping[str, Any] | None = None
    expected_version: str | None = None
    wait_ms: int | None = None
    repeat: bool = False


class EffectSeen(msgspec.Struct, kw_only=True, frozen=True):
    """
    One change in an outside system. `connector` is the kind of system, `connection` which one.

    `id` is the hub's own id of a record that was created, where it is known.
    """

    connector: str
    connection: str
    object: str
    remote_id: str
    op: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    id: str | None = None


class MoneyMoved(msgspec.Struct, kw_only=True, frozen=True):
    """`amount` in minor units; `direction` "out" is money given back to the customer."""

    amount: int
    currency: str
    direction: Literal["out", "in"] = "out"


class Way(msgspec.Struct, kw_only=True, frozen=True):
    """An action of the catalogue with its input."""

    action: str
    input: dict[str, Any] = {}


class Reversal(msgspec.Struct, kw_only=True, frozen=True):
    """
    How this can be undone: `action` with `input`, then those of `also`, until the time `until`.

    `residue` says in words what stays, or why nothing undoes it.
    """

    possible: bool
    action: str | None = None
    input: dict[str, Any] | None = None
    also: list[Way] = []
    until: str | None = None
    residue: str | None = None


class PolicySaid(msgspec.Struct, kw_only=True, frozen=True):
    """
    The verdict, the rule that gave it, the facts it saw, and what would pass instead.

    `shadow` tells what a rule in shadow would have said; it decided nothing.
    """

    verdict: str
    rule: str
    reason: str | None = None
    facts: dict[str, Any] = {}
    needs: list[str] = []
    shadow: dict[str, str] | None = None


class Approval(msgspec.Struct, kw_only=True, frozen=True):
    """Who is to decide, until when, and the hash of the plan that they are asked about."""

    id: str
    group: str
    state: str
    expires_at: str
    four_eyes: bool
    plan_hash: str
    decided_by: str | None = None


class Upstream(msgspec.Struct, kw_only=True, frozen=True):
    """
    A request as it would go out, without credentials.

    `request` is null where nothing would be sent; `note` then says why, or what depends on the answer.
    """

    connection: str
    request: dict[str, Any] | None = None
    note: str | None = None


class Predicted(msgspec.Struct, kw_only=True, frozen=True):
    """What would change, in unified fields."""

    connection: str
    kind: str
    remote_id: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] = {}


class Skipped(msgspec.Struct, kw_only=True, frozen=True):
    """A system that an action left as it is, and why."""

    connection: str
    action: str
    reason: str


class Preview(msgspec.Struct, kw_only=True, frozen=True):
    requests: list[Upstream] = []
    changes: list[Predicted] = []


class On(msgspec.Struct, kw_only=True, frozen=True):
    """What the action worked on."""

    kind: str
    id: str


class Result(msgspec.Struct, kw_only=True):
    """
    The answer to a call of an action.

    `status` "unknown" means that a write was sent and its answer was lost: ask again with the same key after
    `check_after_ms`. `replayed` marks the first answer given again. `answer` is what a reading action found, or where
    to find what was made. `skipped` names the systems that an action for several left as they are.
    """

    run_id: str | None
    action: str
    status: RunState
    check_after_ms: int | None = None
    replayed: bool = False
    target: On | None = None
    effects: list[EffectSeen] = []
    money: MoneyMoved | None = None
    reversal: Reversal = Reversal(possible=False)
    policy: PolicySaid | None = None
    approval: Approval | None = None
    error: dict[str, Any] | None = None
    preview: Preview | None = None
    answer: Any = None
    skipped: list[Skipped] = []
    warnings: list[str] = []
    as_of: str = msgspec.field(default_factory=now)

    def as_dict(self) -> dict[str, Any]:
        """Give the answer as plain JSON values."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    def as_json(self) -> bytes:
        return msgspec.json.encode(self)


_RESULT = msgspec.json.Decoder(Result)


def stored(result: bytes) -> Result:
    """Read an answer that was kept."""
    return _RESULT.decode(result)


def plain(value: Any) -> Any:
    """Turn what a connector hands over into JSON values, with secrets taken out by the name of their field."""
    return without_secrets(msgspec.to_builtins(value, enc_hook=str, str_keys=True))


def without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: HIDDEN if _SECRET.search(k) and v is not None else without_secrets(v) for k, v in value.items()}
    return [without_secrets(inner) for inner in value] if isinstance(value, list) else value


def told(exc: HubError) -> dict[str, Any]:
    """Give an error as the member `error` of a result has it; `status` is the HTTP status it stands for."""
    return exc.as_dict() | {"status": exc.status}
