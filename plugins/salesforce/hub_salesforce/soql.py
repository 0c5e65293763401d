"""Queries: a stream's paths become a SELECT of what the org has, a cursor becomes a WHERE."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hub import Stream
from hub_salesforce.schema import Column, Schema, SObject

# Fields that only exist where a feature of the org is on; nothing is amiss where they are not there.
_OPTIONAL = re.compile(
    r"(^|\.)(IsPersonAccount|Person[A-Z]\w*|CurrencyIsoCode|\w+(State|Country)Code|SlaExitDate|RecordTypeId|Hub_\w+__p?c)$"
)
# An account has the names of a person only where person accounts are on.
_OPTIONAL_OF = frozenset(("Account.FirstName", "Account.LastName", "Account.Salutation"))
# What the pseudo object Name, which owners and other references to several sObjects lead to, has.
_OF_ANY_NAME = frozenset("Id Name Type Email FirstName LastName Alias Username IsActive Phone Title".split())
_BRACKETS = re.compile(r"\[[^\]]*\]")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:?\d\d)")


@dataclass(frozen=True)
class Select:
    """What to ask of one sObject: columns, columns of children, and the paths that the org cannot answer."""

    sobject: SObject
    columns: tuple[str, ...]
    children: tuple[tuple[str, tuple[str, ...]], ...] = ()
    missing: tuple[str, ...] = ()

    def text(self, where: str = "", order: str = "") -> str:
        """Write the query; all names in it are the org's own, from describe."""
        nested = [f"(SELECT {', '.join(columns)} FROM {name})" for name, columns in self.children]  # noqa: S608
        parts = [f"SELECT {', '.join([*self.columns, *nested])} FROM {self.sobject.name}"]  # noqa: S608
        parts += [f"WHERE {where}"] if where else []
        parts += [f"ORDER BY {order}"] if order else []
        return " ".join(parts)

    def warnings(self) -> list[str]:
        """Say what was left out, but for fields that belong to a feature of the org."""
        return [
            f"this org has no {self.sobject.name}.{path}, or this user may not see it; it is left out"
            for path in self.missing
            if not _OPTIONAL.search(path) and f"{self.sobject.name}.{path}" not in _OPTIONAL_OF
        ]


def select_for(stream: Stream, schema: Schema, *, dropped: Iterable[str] = ()) -> Select:
    """Plan the SELECT of a stream: its paths, and what pulling needs, as far as the org has them."""
    sobject, without = schema.get(stream.name), frozenset(dropped)
    columns: dict[str, None] = {}
    children: dict[str, dict[str, None]] = {}
    missing: dict[str, None] = {}
    for path in [*_needed(sobject), *stream.paths, *stream.key]:
        names = _names(path)
        child = sobject.children.get(names[0]) if names and names[0] not in sobject.columns else None
        if not names or "attributes" in names or (child is not None and len(names) == 1):
            continue
        below = schema.find(child) if child is not None else sobject
        column = _column(below, names if child is None else names[1:], schema) if below is not None else None
        if column is None or column in without:
            missing[".".join(names)] = None
        elif child is None:
            columns[column] = None
        else:
            children.setdefault(names[0], {"Id": None})[column] = None
    nested = tuple((name, tuple(found)) for name, found in children.items())
    return Select(sobject, tuple(columns), nested, tuple(missing))


def _needed(sobject: SObject) -> list[str]:
    clock = sobject.clock()
    return ["Id", *([clock] if clock else []), *(["IsDeleted"] if "IsDeleted" in sobject.columns else [])]


def _names(path: str) -> list[str]:
    """Split a path; the rows of a subquery (`OrderItems.records[].Quantity`) are named by its relationship alone."""
    plain = path.replace(".records[]", "").replace("'", "")
    return [name for name in _BRACKETS.sub("", plain).split(".") if name and name not in ("@", "^")]


def _column(sobject: SObject, names: Sequence[str], schema: Schema, *, depth: int = 0) -> str | None:
    """Give the SOQL name of a path, or None where the org does not have it. SOQL goes up at most five levels."""
    head, rest = names[0], names[1:]
    if head in sobject.columns:
        return head
    targets = sobject.parents.get(head)
    if not targets or not rest or depth == 5:
        return None
    if len(targets) > 1:
        return f"{head}.{rest[0]}" if rest[0] in _OF_ANY_NAME else None
    parent = schema.find(targets[0])
    below = _column(parent, rest, schema, depth=depth + 1) if parent is not None else None
    return f"{head}.{below}" if below else None


def literal(text: str) -> str:
    """Quote a text for SOQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def moment(value: str | datetime) -> str:
    """
    Write a time as SOQL wants it: unquoted, UTC, with milliseconds.

    Raises ValueError for what is no time, so that nothing else ever gets into a query.
    """
    if isinstance(value, str):
        if not _MOMENT.fullmatch(value):
            raise ValueError("no time")
        value = datetime.fromisoformat(value)
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"


def id_list(ids: Iterable[str]) -> str:
    """Write checked ids as a SOQL list."""
    return "(" + ", ".join(f"'{one}'" for one in ids) + ")"


def active_values(column: Column) -> set[str]:
    return {choice.value for choice in column.picklistValues if choice.active}
