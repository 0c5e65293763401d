"""What an org has: sObjects as `describe` tells them, read once per connection."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from hub import Field, NotFound, Temporary, Unsupported
from hub_salesforce.client import Client


class Choice(msgspec.Struct):
    """One value of a picklist."""

    value: str
    active: bool = True


class Column(msgspec.Struct):
    """A field of an sObject; the keys that are used of some sixty."""

    name: str
    type: str = "string"
    custom: bool = False
    createable: bool = False
    updateable: bool = False
    externalId: bool = False
    unique: bool = False
    relationshipName: str | None = None
    referenceTo: list[str] = []
    picklistValues: list[Choice] = []


class Child(msgspec.Struct):
    """A relationship that leads to other sObjects' records."""

    childSObject: str
    relationshipName: str | None = None


class _Described(msgspec.Struct):
    name: str
    queryable: bool = True
    fields: list[Column] = []
    childRelationships: list[Child] = []


class SObject:
    """An sObject of this org: its columns, the objects they lead to, and its children, each by name."""

    def __init__(self, told: _Described) -> None:
        self.name = told.name
        self.queryable = told.queryable
        self.columns = {column.name: column for column in told.fields}
        self.parents = {c.relationshipName: c.referenceTo for c in told.fields if c.relationshipName}
        self.children = {c.relationshipName: c.childSObject for c in told.childRelationships if c.relationshipName}

    def clock(self) -> str | None:
        """Name the column that moves with every change, or None."""
        return next((c for c in ("SystemModstamp", "LastModifiedDate", "CreatedDate") if c in self.columns), None)

    def fields(self) -> list[Field]:
        """Give all that a mapping's path may start with."""
        own = [
            Field(c.name, c.type, tuple(v.value for v in c.picklistValues if v.active), c.updateable, c.custom)
            for c in self.columns.values()
        ]
        up = [Field(name, "object", writable=False) for name in self.parents]
        down = [Field(name, "list", writable=False) for name in self.children]
        return [*own, *up, *down, Field("attributes", "object", writable=False)]


_DECODER = msgspec.json.Decoder(_Described)
_KEPT_S = 900.0
_NAME = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"


class Schema:
    """Describes, kept for a while: administrators add fields. Thread-safe."""

    def __init__(self, client: Callable[[], Client]) -> None:
        self._client = client
        self._known: dict[str, tuple[float, SObject | None]] = {}
        self._lock = threading.RLock()

    def find(self, name: str) -> SObject | None:
        """Give an sObject, or None where this org has none of that name, or none that this user may query."""
        with self._lock:
            at, found = self._known.get(name, (float("-inf"), None))
            if time.monotonic() - at >= _KEPT_S:
                found = self._asked(name)
                self._known[name] = (time.monotonic(), found)
            return found

    def get(self, name: str) -> SObject:
        """Give an sObject. Raises Unsupported where this org has none of that name."""
        found = self.find(name)
        if found is None:
            raise Unsupported(f"Salesforce: this org has no {name}, or this user may not see it")
        return found

    def forget(self, name: str) -> None:
        """Ask anew next time: what was told is no longer so."""
        with self._lock:
            self._known.pop(name, None)

    def _asked(self, name: str) -> SObject | None:
        if not name or name.strip(_NAME):
            return None
        what = f"describe {name}"
        try:
            body = self._client().get(f"sobjects/{name}/describe", what)
        except NotFound:
            return None
        told = SObject(_decoded(body, what))
        return told if told.queryable else None


@dataclass(frozen=True)
class Org:
    """One org: how to reach it, and what it has."""

    client: Client
    schema: Schema


def _decoded(body: bytes, what: str) -> _Described:
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Temporary(f"Salesforce: {what}: the answer is not a describe") from exc
