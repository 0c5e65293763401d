"""Write the loop over a table's records, and make a function of it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import xxhash

from hub.mapping import runtime
from hub.mapping.code import Code, Scope, condition, fetch
from hub.mapping.emit import Writer, items_of
from hub.mapping.rows import PROMOTED, Reject, Row
from hub.mapping.shape import Node
from hub.mapping.spec import MISSING, Entry, Table
from hub.records import Field

_encode = msgspec.json.Encoder().encode
_LISTS = "rows deleted deleted_at untaken untaken_at untaken_index rejects".split()


def compile_table(table: Table, root: Node) -> Callable[[list[Any]], tuple[Any, ...]]:
    """
    Make the function that maps decoded records for a table.

    It gives (read, rows, deleted, deleted_at, untaken, untaken_at, untaken_index, rejects).
    """
    code = Code()
    writer = Writer(code)
    with code.block("def run(records):"):
        code.line("; ".join(f"{name} = []" for name in _LISTS))
        code.line("n = 0")
        with code.block("for i, r in enumerate(records):"):
            code.line(f"if r.__class__ is not {writer.object_class(root)}: continue")
            scope = Scope("r", root)
            if table.each is None:
                _record(writer, table, scope)
            else:
                _elements(writer, table, scope)
        code.line(f"return n, {', '.join(_LISTS)}")
    names = {name: getattr(runtime, name) for name in runtime.__all__}
    namespace: dict[str, Any] = names | code.names | {
        "Row": Row, "Reject": Reject, "encode": _encode, "digest": xxhash.xxh3_128_digest,
        "MISSING": MISSING, "TABLE": table.name,
    }  # fmt: skip
    exec(compile("\n".join(code.lines), f"<mapping {table.name!r}>", "exec"), namespace)  # noqa: S102
    return namespace["run"]  # type: ignore[no-any-return]


def promoted(table: Table) -> tuple[str, ...]:
    """Name the values that the table's rows hand out beside their bodies."""
    filled = {entry.name for entry in table.entries}
    return tuple(name for name in PROMOTED if name in filled)


def _elements(writer: Writer, table: Table, scope: Scope) -> None:
    assert table.each is not None
    code = writer.code
    source = fetch(code, scope, table.each)
    node = items_of(scope, table.each)
    code.line(f"if {source}.__class__ is not list: continue")
    with code.block(f"for e in {source}:"):
        with code.block(f"if e.__class__ is not {writer.object_class(node)}:"):
            code.line('n += 1; rejects.append(Reject(TABLE, None, None, "the element is no object", i)); continue')
        _record(writer, table, Scope("e", node, scope))


def _record(writer: Writer, table: Table, scope: Scope) -> None:
    code = writer.code
    code.line("n += 1; k = None; f = 'remote_id'")
    with code.block("try:"):
        key = _key(writer, table, scope)
        for test in table.where:
            fetch(code, scope, test.path)
        if table.where:
            with code.block(f"if not ({condition(code, scope, table.where)}):"):
                code.line("untaken_at.append(n)")
                code.line("if k: untaken.append(k); untaken_index.append(i)")
                code.line("continue")
        code.line(f"if not k: raise no_key({key})")
        if table.deleted:
            for test in table.deleted:
                fetch(code, scope, test.path)
            with code.block(f"if {condition(code, scope, table.deleted)}:"):
                code.line("deleted.append(k); deleted_at.append(i)")
                code.line("continue")
        stamp = _stamp(writer, table, scope)
        pairs, _ = writer.members(table.entries, scope, "")
        code.line(f"b = encode({_body(code, pairs)})")
        made = dict(pairs)
        handed = "".join(f"{made[name]}, " for name in promoted(table))
        code.line(f"rows.append(Row(k, b, digest(b), {stamp}, i, ({handed})))")
    with code.block("except ERRORS as x:"):
        code.line("rejects.append(Reject(TABLE, k, f, reason(x), i))")


def _body(code: Code, pairs: list[tuple[str, str]]) -> str:
    """Write the record to encode: a struct, which is made and encoded faster than a dict of the same members."""
    names = ["remote_id", *(name for name, _ in pairs)]
    slots = [f"g{at}" for at in range(len(names))]
    made = msgspec.defstruct("Body", slots, rename=dict(zip(slots, names, strict=True)), gc=False)
    return f"{code.const(made)}({', '.join(['k', *(value for _, value in pairs)])})"


def _key(writer: Writer, table: Table, scope: Scope) -> str:
    code = writer.code
    found = [fetch(code, scope, path) for path in table.key]
    if len(found) == 1:
        value = found[0]
        code.line(f"k = str({value}) if {value}.__class__ is int else key_text({value})")
        return found[0]
    parts = [code.var() for _ in found]
    for part, value in zip(parts, found, strict=True):
        code.line(f"{part} = key_text({value})")
    code.line(f"k = ':'.join(({', '.join(parts)})) if {' and '.join(parts)} else None")
    return _missing(parts, found)


def _missing(parts: list[str], found: list[str]) -> str:
    """Write an expression for the first part of a key that is bad."""
    expression = found[-1]
    for part, value in list(zip(parts, found, strict=True))[-2::-1]:
        expression = f"({value} if not {part} else {expression})"
    return expression


def _stamp(writer: Writer, table: Table, scope: Scope) -> str:
    if table.updated_at is None:
        return "None"
    entry = Entry("updated_at", "updated_at", Field("updated_at", datetime), table.updated_at)
    value, _ = writer.entry(entry, scope)
    writer.stamp, code = (table.updated_at, value), writer.code
    code.line(f"u = {value}[:19] + '.000000Z' if {value} is not None and len({value}) == 20 else stamp({value})")
    return "u"
