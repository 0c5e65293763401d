"""
The contract that a connector author reads: what a connector is, what it yields, and what it answers.

A connector is a class that speaks to one kind of system. Its methods carry marks (`@pull`, `@fetch`, `@follow`, `@act`,
`@find`, `@webhook`); what a connection can do is derived from them. Nothing here imports the rest of the hub but the
errors, the verbs and the nouns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from hub.actions import Action
from hub.errors import Unsupported

if TYPE_CHECKING:
    import requests

Deletes = Literal["feed", "scan", "none"]
Idempotency = Literal["native", "upsert", "marker", "set", "version", "ack"]
F = TypeVar("F", bound=Callable[..., Any])


class ConnectorConfig(BaseModel):
    """Settings of one connection, beyond those that every connection has. Secrets are SecretStr."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Stream:
    """
    What a connector is asked to pull, in the vendor's word, as the mapping uses it.

    `paths` are the vendor's paths the mapping reads, dotted, `[]` after a list that the mapping walks
    (`OrderItems.records[].Quantity`). `key` and `updated_at` are paths too. `options` holds the table's settings that
    belong to the connector (`Connector.table_options`), such as `changed_at` of a legacy table. `since` is the oldest
    time wanted, or None for everything.
    """

    name: str
    paths: tuple[str, ...] = ()
    key: tuple[str, ...] = ("id",)
    updated_at: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    since: datetime | None = None


@dataclass(frozen=True)
class Page:
    """
    One page of a pull or a fetch; it commits together with its `cursor`.

    Either `body` (bytes of a JSON document; `at` is the path of the list in it, "@" for the document itself) or
    `records` (dicts, or bytes of one JSON object each; a list `[reason, text]` stands for a line that is no record, and
    becomes a reject with that reason). `deleted` are ids the vendor says are gone, `merged` those that it joined into
    another record of the stream: they are gone too, and the other one, their value here, answers for them.
    `observed_at` is set where the records carry no time of their own. `complete=True` only where this page proves that
    a full scan of the stream closed. `cursor` comes from the response, never from a clock; None keeps the stored one.
    `total` is how many records the pull has in all, where the vendor says so.
    """

    body: bytes | None = None
    at: str = "@"
    records: Sequence[dict[str, Any] | bytes] | None = None
    cursor: str | None = None
    deleted: Sequence[str] = ()
    merged: Mapping[str, str] = field(default_factory=dict)
    observed_at: datetime | None = None
    complete: bool = False
    warnings: Sequence[str] = ()
    total: int | None = None


@dataclass(frozen=True)
class Target:
    """The record an action works on, in this connection. `data` is its mapped form as last stored."""

    connection: str
    table: str
    stream: str
    kind: str
    remote_id: str
    id: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ack:
    """Where a legacy system says what became of a request: a row of `table` where `where` holds."""

    table: str
    where: Mapping[str, Any]
    done: Mapping[str, Any]
    failed: Mapping[str, Any]
    within_s: float


@dataclass(frozen=True)
class Verb:
    """A legacy verb of the mapping, its values filled in: one of `insert`, `update` (a table) or `file` (a path)."""

    insert: str | None = None
    update: str | None = None
    file: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)
    ack: Ack | None = None


@dataclass(frozen=True)
class Call:
    """
    One attempt to carry out an action, prepared by the hub.

    `key` is derived from the run: send it as the vendor's idempotency key, or as a marker. `fields` is the input of
    the action's main kind in the vendor's words, through the mapping's write side: send all of it. `parts` holds the
    same per kind where an action writes several (`parts["ticket"]` of a reply that also sets the status).
    `input` is the action as given, with its references replaced by remote ids (`{"payment_ref": "pi_…"}`).
    Before an effect that does not go through the transport (SQL, a file) call `sending(...)` with what is about to
    be written: a preview stops there, a run notes it.
    """

    run_id: str
    key: str
    target: Target | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    input: Mapping[str, Any] = field(default_factory=dict)
    expected_version: str | None = None
    verb: Verb | None = None
    sending: Callable[[Mapping[str, Any]], None] = lambda request: None


@dataclass(frozen=True)
class Effect:
    """One change in the outside system. `op` is create, update or delete; `before`/`after` hold changed fields only."""

    object: str
    remote_id: str
    op: Literal["create", "update", "delete"]
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Outcome:
    """
    What an action did. `touched` names (stream, id) that the hub fetches anew through `@fetch`.

    `status` is "unknown" where the system cannot say (a file handed over without acknowledgement); `answer` is what a
    reading action found.
    """

    effects: Sequence[Effect] = ()
    touched: Sequence[tuple[str, str]] = ()
    status: Literal["succeeded", "unknown"] = "succeeded"
    answer: Any = None


@dataclass(frozen=True)
class Found:
    """After a lost answer: it did happen, and this is what it did."""

    outcome: Outcome


@dataclass(frozen=True)
class Absent:
    """After a lost answer: it did not happen. Only from a strongly consistent read made after the send timed out."""


@dataclass(frozen=True)
class CannotTell:
    """After a lost answer: nobody can say from here."""

    reason: str


@dataclass(frozen=True)
class Change:
    """What a webhook names: something of this stream changed. The hub fetches it."""

    stream: str
    id: str
    event_id: str | None = None
    deleted: bool = False


@dataclass(frozen=True)
class Checked:
    """Who we are at the vendor. `account` keys the limits; `live` is None where the vendor does not say."""

    account: str
    live: bool | None = None
    scopes: tuple[str, ...] = ()
    api_version: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Field:
    """One field of a stream, as the vendor describes it, or as recorded."""

    name: str
    type: str
    values: tuple[str, ...] = ()
    writable: bool | None = None
    custom: bool = False


@dataclass(frozen=True)
class Limit:
    """
    `count` requests per `per_s` whole seconds, of those whose "METHOD /path" matches the pattern `match`.

    Syncs leave `reserve` of them to actions: by default a tenth, 0 for what no action asks for. Name the narrow ones
    first: a refusal by the vendor (429) stops the first one that matches.
    """

    name: str
    count: int
    per_s: int
    match: str = ""
    reserve: int | None = None

    @property
    def spare(self) -> int:
        """How many slots of a window a sync leaves free."""
        return min(self.count // 10 if self.reserve is None else self.reserve, self.count - 1)


@dataclass(frozen=True)
class Mark:
    """What a marked method is for; `idempotency`, `takes` belong to `act`, `deletes`, `ahead`, `rising` to `pull`."""

    role: Literal["pull", "fetch", "follow", "act", "find", "webhook"]
    name: str
    method: str
    deletes: Deletes = "none"
    idempotency: Idempotency | None = None
    takes: tuple[str, ...] = ()
    order: int = 0
    ahead: bool = False
    rising: bool = False


def _mark(role: Any, name: str, **more: Any) -> Callable[[F], F]:
    def put(method: F) -> F:
        marks = [*getattr(method, "hub_marks", ()), Mark(role, name, method.__name__, **more)]
        method.hub_marks = marks  # type: ignore[attr-defined]
        return method

    return put


def pull(stream: str, *, deletes: Deletes = "none", ahead: bool = False, rising: bool = False) -> Callable[[F], F]:
    """
    Mark `method(self, stream, cursor) -> Iterator[Page]` as the pull of a stream, "*" for any the mapping names.

    `cursor` is what the last committed page carried, or None. `deletes` says how deletions arrive: `feed` (pages
    carry `deleted`), `scan` (a page with `complete=True` closes a full scan), `none`.

    `ahead` permits the setting `sync.ahead`, for a pull that only reads: the next page is taken, in another thread,
    while the one before is being written. Without it, what comes after a `yield` runs when that page is committed.
    `rising` says that pages come in order of change, the oldest first, so that the newest time read tells how far a
    first load is.
    """
    return _mark("pull", stream, deletes=deletes, ahead=ahead, rising=rising)


def fetch(stream: str) -> Callable[[F], F]:
    """Mark `method(self, stream, ids) -> Page`: these records as they are now; ids that are gone go into `deleted`."""
    return _mark("fetch", stream)


def follow(stream: str) -> Callable[[F], F]:
    """
    Mark `method(self, stream, known) -> Mapping[str, str]`: which customers live on in another record, and in which.

    Only where the system merges without saying so (else use `Page.merged`). `known` are ids of records that a page
    shows archived, each with the e-mail address that it had until then.
    """
    return _mark("follow", stream)


def act(
    action: type[Action] | Literal["*"], *, idempotency: Idempotency, takes: Sequence[str] = ()
) -> Callable[[F], F]:
    """
    Mark `method(self, action, call) -> Outcome`. "*" takes every action for which the mapping has a legacy verb.

    `idempotency` is how a repeat is kept from acting twice: `native` key, `upsert` on an external id, `marker` with
    read-back, `set` to a value, `version` check, `ack` row or file. `takes` names the special inputs of the action that
    the method heeds; without them it is never asked to (a legacy verb takes those that it names).
    """
    name = action if isinstance(action, str) else action.name
    return _mark("act", name, idempotency=idempotency, takes=tuple(takes))


def find(action: type[Action] | Literal["*"]) -> Callable[[F], F]:
    """Mark `method(self, action, call) -> Found | Absent | CannotTell`: after a lost answer, did it happen?"""
    return _mark("find", action if isinstance(action, str) else action.name)


def webhook(method: F) -> F:
    """Mark `method(self, body: bytes, headers) -> list[Change]`: verify the signature, name what changed."""
    return _mark("webhook", "*")(method)


class Connector:
    """
    One configured connection to a system.

    `name` names everything of the connector: configuration, mapping file, cassettes, sandbox. `transport` is the
    hub's requests.Session for this connection: it refuses hosts outside `hosts(config)`, retries reads, never writes.
    Import vendor SDKs inside methods, not at module level. `mapping` is the default mapping: TOML text, or the name
    of a file beside the connector's module; None looks for mapping.toml there.
    """

    name: ClassVar[str]
    Config: ClassVar[type[ConnectorConfig]] = ConnectorConfig
    sandbox: ClassVar[str | None] = None
    mapping: ClassVar[str | None] = None
    limits: ClassVar[tuple[Limit, ...]] = ()
    table_options: ClassVar[frozenset[str]] = frozenset()
    marks: ClassVar[tuple[Mark, ...]] = ()

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        found: dict[tuple[str, str], Mark] = {}
        for base in reversed(cls.__mro__):
            for value in vars(base).values():
                for mark in getattr(value, "hub_marks", ()):
                    found[mark.role, mark.name] = mark
        cls.marks = tuple(found.values())

    def __init__(self, config: Any, transport: "requests.Session") -> None:
        self.config = config
        self.transport = transport

    @classmethod
    def hosts(cls, config: Any) -> tuple[str, ...]:
        """Name the hosts this connection owns; the transport refuses all others."""
        return ()

    def check(self) -> Checked:
        """Do one cheap read and say who we are. Raises Unauthorized, Temporary."""
        raise Unsupported(f"{self.name}: check is not implemented")

    def describe(self, stream: str) -> list[Field]:
        """Name the fields of a stream with types and enum values, as the vendor tells them or as recorded."""
        return []

    def close(self) -> None:
        """Release what the connection holds (database engines, files)."""

    @classmethod
    def mark(cls, role: str, name: str) -> Mark | None:
        """Give the mark for a stream or action, the "*" one where there is no own."""
        fallback = None
        for mark in cls.marks:
            if mark.role == role and mark.name == name:
                return mark
            if mark.role == role and mark.name == "*":
                fallback = mark
        return fallback

    def method(self, role: str, name: str) -> Callable[..., Any] | None:
        """Give the bound method for a stream or action, or None."""
        mark = self.mark(role, name)
        return None if mark is None else getattr(self, mark.method)
