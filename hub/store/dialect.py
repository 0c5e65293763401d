"""
What SQLite says in its own way, and the same in Postgres's words.

Rooms write their SQL once, for SQLite, with the words below where the two differ; `for_postgres` says it again. Apart
from these, statements keep to what both understand.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import count
from typing import NamedTuple

import msgspec

ANY = "(SELECT value FROM json_each(?))"
"""Membership of a list given as one parameter: `id IN {ANY}` with `array(ids)`."""

EACH = "json_each(?)"
"""The same list, of texts, as rows with a column `value`: `FROM {EACH} AS wanted`."""

LOT_BITS = 16
LOT = f"(rid >> {LOT_BITS})"
"""
The lot of a record in the index by customer: records whose rid differs in the last bits only.

Customers come in no order: in one index of all records each new one would land on a page of its own, and a page of a
million tickets would write a thousand of them. Who looks a customer up looks into every lot.
"""

EACH_ROW, SAME, NOTHING = "e", "s", "n"
"""What a column of many rows holds, for `inserting`."""

_encode = msgspec.json.Encoder().encode


class Array(str):
    """A list as one parameter: JSON text, which remembers what it was made of."""

    __slots__ = ("values",)
    values: list[str] | list[int]


def array(values: Iterable[str] | Iterable[int]) -> Array:
    """Give a list as one parameter for ANY."""
    listed = list(values)
    made = Array(_encode(listed).decode())
    made.values = listed  # type: ignore[assignment]
    return made


def using(index: str) -> str:
    """Name the index that a statement must take: `FROM record {using("record_email")}`."""
    return f"INDEXED BY {index}"


def few(inner: str, limit: int) -> str:
    """Join, as `r`, the records that a statement names for each row before it, and no more than some of them."""
    return f"CROSS JOIN record AS r ON r.rid IN ({inner} LIMIT {limit})"


_POSTGRES = [
    (re.compile(pattern), said)
    for pattern, said in (
        (r"%", "%%"),
        (r"IN \(SELECT value FROM json_each\(\?\)\)", "= ANY(?)"),
        (r"json_each\(\?\) AS (\w+)", r"unnest(?::text[]) AS \1(value)"),
        (r" INDEXED BY \w+", ""),
        (
            r"CROSS JOIN record AS r ON r\.rid IN \((.*) LIMIT (\d+)\)",
            r"CROSS JOIN LATERAL (\1 LIMIT \2) AS few JOIN record AS r ON r.rid = few.rid",
        ),
        (r"CROSS JOIN (\w+ AS \w+ ON)", r"JOIN \1"),
        (r"\bmax\(\?, ", "greatest(?, "),
        (r"\bmax\((\w+\.\w+), ", r"greatest(\1, "),
        (r"\bepoch\(\)", "extract(epoch FROM clock_timestamp())::float8"),
        (r"\b(FROM|INTO|UPDATE|JOIN) (freeze)\b", r'\1 "\2"'),  # a word of Postgres's own
        (r"\bIS \?", "IS NOT DISTINCT FROM ?"),
        (r"\?", "%s"),
    )
]
_PLAIN_INSERT = re.compile(r"\s*INSERT INTO (\w+) \(([\w\s,]+)\)\s*VALUES \(((?:\?, )*\?)((?:, TRUE|, FALSE)*)\)\s*")
_PLAIN_UPDATE = re.compile(r"\s*UPDATE (\w+) SET (.*)\s+WHERE ((?:\w+ = \?)(?: AND \w+ = \?)*)\s*", re.DOTALL)
_BINARY = "FROM STDIN (FORMAT BINARY)"
_COMMA = re.compile(r",\s*(?=\w+ = )")


@lru_cache(maxsize=1000)
def for_postgres(sql: str) -> str:
    """Say a statement in Postgres's words."""
    for pattern, said in _POSTGRES:
        sql = pattern.sub(said, sql)
    return sql


class Copied(NamedTuple):
    """
    An insert of many rows as a COPY, with these values behind each.

    `shape` asks for no row of what is copied into: its columns tell the types.
    """

    shape: str
    copy: str
    constants: tuple[bool, ...]


class Joined(NamedTuple):
    """
    An update of many rows, each once at most, as one join with what is told of them.

    `shape` asks for no row with a column for each value told: those tell the types. `update` lacks the lists
    themselves, to be put in the place of `{}`.
    """

    shape: str
    update: str


@lru_cache(maxsize=1000)
def copying(sql: str, kinds: str) -> Copied:
    """Say a plain insert as a COPY of the columns that hold something (see `inserting`), in Postgres's words."""
    found = _PLAIN_INSERT.fullmatch(sql)
    assert found is not None
    table, columns, _, constants = found.groups()
    names = [name.strip() for name in columns.split(",")]
    told = [name for name, kind in zip(names, kinds, strict=False) if kind != NOTHING]
    written = ", ".join([*told, *names[len(kinds) :]])
    shape = f"SELECT {written} FROM {table} LIMIT 0"  # noqa: S608
    return Copied(shape, f"COPY {table} ({written}) {_BINARY}", _constants(constants))


@lru_cache(maxsize=1000)
def joined(sql: str) -> Joined | None:
    """Say a plain update as a join with lists, in Postgres's words; None for any other statement."""
    found = _PLAIN_UPDATE.fullmatch(sql)
    return _update(*found.groups()) if found else None


@lru_cache(maxsize=1000)
def plain_insert(sql: str) -> bool:
    """Tell whether a statement inserts the values it is given and does nothing else."""
    return _PLAIN_INSERT.fullmatch(sql) is not None


@lru_cache(maxsize=100)
def inserting(sql: str, kinds: str, rows: int) -> str:
    """
    Say a plain insert for so many rows at once, in SQLite's words.

    `kinds` says of each column whether its value is told for EACH_ROW, is the SAME in all (told once, before the
    others) or is NOTHING. A failure leaves the rows before it (OR FAIL), for a transaction that fails is rolled back:
    SQLite would keep copies of all pages that the statement touches.
    """
    found = _PLAIN_INSERT.fullmatch(sql)
    assert found is not None
    table, columns, _, constants = found.groups()
    names = [name.strip() for name in columns.split(",")]
    told = [(name, kind) for name, kind in zip(names, kinds, strict=False) if kind != NOTHING]
    same, each = count(1), count(kinds.count(SAME) + 1)
    once = {name: f"?{next(same)}" for name, kind in told if kind == SAME}
    lines = []
    for _ in range(rows):
        values = ", ".join(once.get(name) or f"?{next(each)}" for name, _ in told)
        lines.append(f"({values}{constants})")
    written = ", ".join([*(name for name, _ in told), *names[len(kinds) :]])
    return f"INSERT OR FAIL INTO {table} ({written}) VALUES {', '.join(lines)}"  # noqa: S608


def _constants(words: str) -> tuple[bool, ...]:
    return tuple(word == "TRUE" for word in words.split(", ")[1:])


def _update(table: str, changes: str, key: str) -> Joined | None:
    parts = [part for part in (*_COMMA.split(changes), *key.split(" AND ")) if "?" in part]
    if any(part.count("?") != 1 for part in parts):
        return None
    told = ", ".join(f"{part.split('=')[0].strip()} AS p{n}" for n, part in enumerate(parts))
    names = ", ".join(f"p{n}" for n in range(len(parts)))
    numbers = count()
    update = for_postgres(f"UPDATE {table} SET {changes} FROM unnest({{}}) AS many({names}) WHERE {key}")  # noqa: S608
    return Joined(
        f"SELECT {told} FROM {table} LIMIT 0",  # noqa: S608
        re.sub("%s", lambda _: f"many.p{next(numbers)}", update),
    )
