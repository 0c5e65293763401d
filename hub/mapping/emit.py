"""Write Python for the rules of a mapping."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from hub.mapping.code import Code, Scope, condition, fetch
from hub.mapping.constants import shape_of
from hub.mapping.paths import Path
from hub.mapping.reads import paths_of
from hub.mapping.shape import Node, Skip
from hub.mapping.spec import MISSING, REJECT, Amount, Each, Entry, From, Object, Refer, Rule, Value, When
from hub.records import Field, Visibility

_TIMES = frozenset(("epoch_seconds", "epoch_millis", "iso8601", "datetime"))
_COERCE = {"text": "text", "time": "time", "decimal": "number", "int": "whole", "bool": "truth"}
Made = tuple[str, str]
"""The variables (or literals) of a value and of its raw word."""


class Writer:
    """Writes the code of rules; every method leaves the value in a variable and names it."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.stamp: tuple[From, str] | None = None

    def entry(self, entry: Entry, scope: Scope) -> Made:
        """Write a field: its paths first, unconditionally, so that branches can share them."""
        if self.stamp is not None and entry.field.type is datetime and entry.rule == self.stamp[0]:
            return self.stamp[1], "None"
        for path in paths_of(entry.rule):
            fetch(self.code, scope, path)
        return self.rule(entry.rule, entry, scope)

    def rule(self, rule: Rule, entry: Entry, scope: Scope) -> Made:
        made: Any = _WRITERS[type(rule)](self, rule, entry, scope)
        return made if isinstance(made, tuple) else (made, "None")

    def value(self, rule: Value, entry: Entry, scope: Scope) -> str:
        if rule.value is REJECT:
            self.mark(entry)
            self.code.line('raise Bad("no case takes this record; add one under when")')
            return "None"
        return self.literal(rule.value)

    def literal(self, value: Any) -> str:
        return repr(value) if value is None or isinstance(value, (str, bool, int)) else self.code.const(value)

    def mark(self, entry: Entry) -> None:
        """Note which field is being made, for the reject that may come of it."""
        self.code.line(f"f = {entry.path!r}")

    def first(self, paths: tuple[Path, ...], scope: Scope) -> str:
        """Write the first of several paths that is not null."""
        found = [fetch(self.code, scope, path) for path in paths]
        var = self.code.var()
        self.code.line(f"{var} = {found[0]}")
        for other in found[1:]:
            self.code.line(f"if {var} is None: {var} = {other}")
        return var

    def source(self, rule: From, entry: Entry, scope: Scope) -> str:
        """Write where a value comes from and its converters; nothing about the field's type."""
        if rule.inputs:
            var = self.code.var()
            self.code.line(f"{var} = [{', '.join(fetch(self.code, scope, path) for path in rule.paths)}]")
        else:
            var = self.first(rule.paths, scope)
        self.convert(var, rule.chain, entry)
        return var

    def convert(self, var: str, chain: tuple[Any, ...], entry: Entry) -> None:
        if chain:
            self.mark(entry)
        for step in chain:
            self.code.line(f"if {var} is not None: {var} = {self.code.const(step.forward())}({var})")

    def plain(self, rule: From, entry: Entry, scope: Scope) -> Made:
        field = entry.field
        if field.enum is not None:
            return self.enum(rule, entry, scope)
        var = self.source(rule, entry, scope)
        if rule.values is None:
            self.coerce(var, entry, done=bool(rule.chain) and rule.chain[-1].converter.name in _TIMES)
        elif field.many and rule.otherwise is not REJECT:
            other = None if rule.otherwise is MISSING else rule.otherwise
            names = self.code.const(dict(rule.values)), self.literal(other)
            self.code.line(f"if {var} is not None: {var} = meanings({var}, {', '.join(names)})")
        else:
            self.listed(var, rule.values, None if rule.otherwise is MISSING else rule.otherwise, entry)
        if rule.default is not None:
            self.code.line(f"if {var} is None: {var} = {self.literal(rule.default)}")
        return var, "None"

    def coerce(self, var: str, entry: Entry, *, done: bool = False) -> None:
        """Write what makes a value fit the field's type."""
        shape = shape_of(entry.field)
        how = _COERCE.get(shape)
        if how is None or (shape == "time" and done):
            return
        if how in ("time", "number"):
            self.mark(entry)
        if entry.field.many:
            made = f"texts({var})" if how == "text" else f"several({how}, {var})"
            self.code.line(f"if {var} is not None: {var} = {made}")
        elif how == "text":
            self.as_text(var)
        elif how == "time":
            self.as_time(var)
        else:
            self.code.line(f"if {var} is not None: {var} = {how}({var})")

    def as_text(self, var: str, how: str = "text") -> None:
        """Write what turns a scalar into its JSON text, quickest for what is most frequent."""
        with self.code.block(f"if {var} is not None and {var}.__class__ is not str:"):
            self.code.line(f"{var} = str({var}) if {var}.__class__ is int else {how}({var})")

    def as_time(self, var: str) -> None:
        """Write what checks a time; the usual form stays as it is, without a call of Python's."""
        usual = f"{var}.__class__ is str and len({var}) == 20 and {var}[10] == 'T' and {var}[13] == ':'"
        with self.code.block(f"if {var} is not None:"):
            with self.code.block("try:"):
                self.code.line(f"if {usual} and {var}[19] == 'Z': exists({var})")
                self.code.line(f"else: {var} = time({var})")
            self.code.line(f"except ValueError: {var} = time({var})")

    def listed(self, var: str, values: Any, otherwise: Any, entry: Entry) -> None:
        """Write the look-up of a word among `values`."""
        table = self.code.const(dict(values))
        with self.code.block(f"if {var} is not None:"):
            word = f"{var} if {var}.__class__ is str else json_text({var})"
            if otherwise is REJECT:
                self.mark(entry)
                meaning = self.code.var()
                self.code.line(f"{meaning} = {table}.get({word}, MISSING)")
                self.code.line(f"if {meaning} is MISSING: raise no_meaning({var})")
                self.code.line(f"{var} = {meaning}")
            elif otherwise is None:
                self.code.line(f"{var} = {table}.get({word})")
            else:
                self.code.line(f"{var} = {table}.get({word}, {self.literal(otherwise)})")

    def enum(self, rule: From, entry: Entry, scope: Scope) -> Made:
        """Write an enum and its raw word; null answers `default`, an unlisted word `otherwise`."""
        raw, var = self.first(rule.paths, scope), self.code.var()
        if rule.inputs:
            self.code.line(f"{raw} = [{', '.join(fetch(self.code, scope, path) for path in rule.paths)}]")
        self.code.line(f"{var} = {raw}")
        self.convert(var, rule.chain, entry)
        values = rule.values
        if values is None:
            values = {member.value: member.value for member in entry.field.enum or ()}
        self.listed(var, values, fallback(rule, entry.field), entry)
        null = closed_null(rule.default, entry.field)
        if null is not None:
            self.code.line(f"if {var} is None: {var} = {self.literal(null)}")
        if rule.inputs:
            return var, "None"
        self.code.line(f"if {raw}.__class__ is not str and {raw} is not None: {raw} = json_text({raw})")
        return var, raw

    def refer(self, rule: Refer, entry: Entry, scope: Scope) -> str:
        var = self.source(rule.source, entry, scope)
        if rule.table is not None:
            names, fixed = ("table", "remote_id"), (rule.table,)
        else:
            names, fixed = ("kind", "by", "value"), (str(rule.kind), str(rule.by))  # type: ignore[assignment]
        if entry.field.many:
            self.code.line(f"{var} = refs({var}, {names!r}, {fixed!r})")
            return var
        self.as_text(var, "text" if rule.table is None else "key_text")
        known = ", ".join(f"{name!r}: {value!r}" for name, value in zip(names, fixed, strict=False))
        self.code.line(f"{var} = {{{known}, {names[-1]!r}: {var}}} if {var} else None")
        return var

    def amount(self, rule: Amount, entry: Entry, scope: Scope) -> str:
        var = self.source(rule.source, entry, scope)
        text = Entry("currency", f"{entry.path}.currency", Field("currency", str), rule.currency)
        currency, _ = self.rule(rule.currency, text, scope)
        if rule.fallback is not None:
            name = self.code.var()
            self.code.line(f"{name} = {currency} or {rule.fallback!r}")
            currency = name
        self.mark(entry)
        self.code.line(f"if {var} is not None: {var} = {rule.unit}({var}, {currency})")
        return var

    def each(self, rule: Each, entry: Entry, scope: Scope) -> str:
        source = fetch(self.code, scope, rule.path)
        var, item = self.code.var(), self.code.var()
        node = items_of(scope, rule.path)
        whole_object = isinstance(rule.item, Object)
        self.code.line(f"{var} = None")
        with self.code.block(f"if {source}.__class__ is list:"):
            self.code.line(f"{var} = []")
            with self.code.block(f"for {item} in {source}:"):
                inner = Scope(item, node, scope, sure=whole_object)
                if whole_object:
                    self.code.line(f"if {item}.__class__ is not {self.object_class(node)}: continue")
                self.element(rule, entry, inner, var)
        self.convert(var, rule.chain, entry)
        if rule.chain:
            self.coerce(var, entry)
        return var

    def element(self, rule: Each, entry: Entry, inner: Scope, into: str) -> None:
        for test in rule.where:
            fetch(self.code, inner, test.path)
        if rule.where:
            self.code.line(f"if not ({condition(self.code, inner, rule.where)}): continue")
        one = Field(entry.field.name, entry.field.type, False, entry.field.ref, fields=entry.field.fields)
        if rule.chain:
            one = Field(entry.field.name, object)
        value, _ = self.entry(Entry(entry.name, entry.path, one, rule.item), inner)
        made = self.code.var()
        self.code.line(f"{made} = {value}")
        self.code.line(f"if {made} is not None: {into}.append({made})")

    def object_class(self, node: Node) -> str:
        if node.whole:
            return "dict"
        return self.code.const(node.struct or Skip)

    def when(self, rule: When, entry: Entry, scope: Scope) -> Made:
        var, raw = self.code.var(), self.code.var()
        usual = rule.otherwise.paths if isinstance(rule.otherwise, From) else ()
        word = "if"
        for where, then in rule.cases:
            with self.code.block(f"{word} {condition(self.code, scope, where)}:"):
                value, _ = self.rule(then, entry, scope)
                seen = self.first(usual, scope) if usual else fetch(self.code, scope, where[0].path)
                self.code.line(f"{var} = {value}")
                self.code.line(f"{raw} = {seen}")
            word = "elif"
        with self.code.block("else:"):
            value, seen = ("None", "None") if rule.otherwise is None else self.rule(rule.otherwise, entry, scope)
            self.code.line(f"{var} = {value}")
            self.code.line(f"{raw} = {seen}")
        if entry.field.enum is None:
            return var, "None"
        null = closed_null(None, entry.field)
        if null is not None:
            self.code.line(f"if {var} is None: {var} = {null!r}")
        self.code.line(f"if {raw}.__class__ is not str and {raw} is not None: {raw} = json_text({raw})")
        return var, raw

    def object(self, rule: Object, entry: Entry, scope: Scope) -> str:
        pairs, parts = self.members(rule.entries, scope, f"{entry.path}.")
        var, made = self.code.var(), f"{{{', '.join(f'{name!r}: {value}' for name, value in pairs)}}}"
        if parts and entry.path != "custom":
            null = " and ".join(f"{part} is None" for part in parts)
            self.code.line(f"{var} = None if {null} else {made}")
        else:
            self.code.line(f"{var} = {made}")
        return var

    def members(self, entries: tuple[Entry, ...], scope: Scope, prefix: str) -> tuple[list[tuple[str, str]], list[str]]:
        """Write the parts of an object; give its pairs, and the variables that are not constants."""
        explicit = {entry.name for entry in entries}
        pairs: list[tuple[str, str]] = []
        parts: list[str] = []
        for entry in entries:
            named = Entry(entry.name, f"{prefix}{entry.name}", entry.field, entry.rule)
            value, raw = self.entry(named, scope)
            pairs.append((entry.name, value))
            if not isinstance(entry.rule, Value):
                parts.append(value)
            if entry.field.enum is not None and f"{entry.name}_raw" not in explicit:
                pairs.append((f"{entry.name}_raw", raw))
        return pairs, parts


_WRITERS: dict[Any, Callable[..., Any]] = {
    From: Writer.plain, Value: Writer.value, Refer: Writer.refer, Amount: Writer.amount, Each: Writer.each,
    When: Writer.when, Object: Writer.object,
}  # fmt: skip


def fallback(rule: From, field: Field) -> Any:
    """Give what an unlisted word becomes: `otherwise`, else `unknown` where the enum has it, else a reject."""
    if rule.otherwise is not MISSING:
        return rule.otherwise
    if field.type is Visibility:
        return Visibility.internal.value
    return "unknown" if field.enum is not None and "unknown" in field.enum.__members__ else REJECT


def closed_null(default: Any, field: Field) -> Any:
    """Give what null becomes: `default`; a visibility that nobody states is internal."""
    return Visibility.internal.value if default is None and field.type is Visibility else default


def items_of(scope: Scope, path: Path) -> Node:
    """Give the node of a list's elements."""
    node = scope.up(path.ups).node
    for step in path.steps:
        node = node.step(step)
    assert node.items is not None
    return node.items
