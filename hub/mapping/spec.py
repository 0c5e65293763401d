"""What a mapping file says, once parsed: tables, rules and verbs as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hub.mapping.converters import Step as Convert
from hub.mapping.paths import Path
from hub.records import Field

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING", "__bool__": lambda self: False})()
REJECT: Any = type("RejectMark", (), {"__repr__": lambda self: "REJECT"})()


@dataclass(frozen=True)
class Test:
    """One condition: the value at `path`, as JSON text, is one of `texts` (or none of them, if `negate`)."""

    path: Path
    texts: frozenset[str]
    negate: bool = False


Where = tuple[Test, ...]


@dataclass(frozen=True)
class From:
    """A value out of the record: the first of `paths` that is not null, or all of them (`inputs`)."""

    paths: tuple[Path, ...]
    inputs: bool = False
    chain: tuple[Convert, ...] = ()
    values: Mapping[str, Any] | None = None
    default: Any = None
    otherwise: Any = MISSING


@dataclass(frozen=True)
class Value:
    """A constant."""

    value: Any


@dataclass(frozen=True)
class Refer:
    """A reference to a record of this connection (`table`), or to an entity by a unified field (`kind`, `by`)."""

    source: From
    table: str | None = None
    kind: str | None = None
    by: str | None = None


@dataclass(frozen=True)
class Amount:
    """Money: a number in `unit`, and where its currency comes from; `fallback` is the currency where there is none."""

    source: From
    currency: From | Value
    unit: Literal["minor", "major"]
    fallback: str | None = None


@dataclass(frozen=True)
class Each:
    """A list inside the record; `item` makes one element."""

    path: Path
    item: "Rule"
    where: Where = ()
    chain: tuple[Convert, ...] = ()


@dataclass(frozen=True)
class When:
    """The rule of the first case whose conditions all hold, else `otherwise`."""

    cases: tuple[tuple[Where, "Rule"], ...]
    otherwise: "Rule | None" = None


@dataclass(frozen=True)
class Object:
    """A nested object; null where all of its parts but constants are null."""

    entries: tuple["Entry", ...]


Rule = From | Value | Refer | Amount | Each | When | Object


@dataclass(frozen=True)
class Entry:
    """A field and how it is made. `path` is its dotted name in the table, as errors name it."""

    name: str
    path: str
    field: Field
    rule: Rule


@dataclass(frozen=True)
class WriteSpec:
    """A write rule: where a unified value goes, and how it is said there. `parts` are those of a nested object."""

    to: Path | None = None
    inputs: tuple[str, ...] = ()
    chain: tuple[Convert, ...] = ()
    values: Mapping[str, Any] | None = None
    default: Any = MISSING
    otherwise: Any = MISSING
    value: Any = MISSING
    unit: Literal["minor", "major"] | None = None
    parts: Mapping[str, "WriteSpec"] | None = None


@dataclass(frozen=True)
class Table:
    """
    One table of a mapping: which records of which stream become which kind, and how.

    `writable` names every field that can be sent back: those `listed` in the file, and those with a write rule.
    `raw_retention` is how long raw records are kept ("90d", "none"; None is for ever), `never` what is cut out of them
    before anything is stored; both hold for the whole stream.
    """

    name: str
    stream: str
    kind: str
    key: tuple[Path, ...]
    entries: tuple[Entry, ...]
    updated_at: From | None = None
    each: Path | None = None
    where: Where = ()
    deleted: Where = ()
    writable: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    write: Mapping[str, WriteSpec] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    raw_retention: str | None = None
    never: tuple[Path, ...] = ()

    def entry(self, name: str) -> Entry | None:
        """Give the entry of a top-level field, or None."""
        return next((entry for entry in self.entries if entry.name == name), None)


@dataclass(frozen=True)
class Expression:
    """A dotted expression into an action's context (`payment.remote_id`)."""

    text: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class AckSpec:
    table: str
    where: Mapping[str, Any]
    done: Mapping[str, Any]
    failed: Mapping[str, Any]
    within_s: float


@dataclass(frozen=True)
class VerbSpec:
    """A legacy verb as written: values are literals or Expressions."""

    action: str
    verb: Literal["insert", "update", "file"]
    name: str
    set: Mapping[str, Any] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)
    ack: AckSpec | None = None

    @property
    def roots(self) -> frozenset[str]:
        """The inputs and records that what is written is taken from."""
        parts = [value.parts for value in self.set.values() if isinstance(value, Expression)]
        return frozenset(part[1] if part[0] == "input" and len(part) > 1 else part[0] for part in parts)
