"""
Write Python for a table of a mapping: one function that turns decoded records into rows.

The vocabulary is closed. No text of a mapping file becomes code: names and constants are bound as objects (`k0`), and
dict keys are written with `repr`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hub.mapping.paths import All, Index, Name, Path, Pick, Step
from hub.mapping.shape import Node
from hub.mapping.spec import Test, Where


class Code:
    """Lines of Python under construction, and the objects that they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 0
        self.names: dict[str, Any] = {}
        self.count = 0

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.line(head)
        self.depth += 1
        yield
        self.depth -= 1

    def var(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def const(self, value: Any) -> str:
        """Bind an object to a name."""
        name = f"k{len(self.names)}"
        self.names[name] = value
        return name


@dataclass(eq=False)
class Scope:
    """
    What paths start from: the record, or an element of a list. `sure` says that it is known to be an object.

    `cache` remembers which paths are in which variables already.
    """

    var: str
    node: Node
    parent: "Scope | None" = None
    sure: bool = True
    cache: dict[tuple[int, tuple[Step, ...]], str] = field(default_factory=dict)

    def up(self, ups: int) -> "Scope":
        scope = self
        for _ in range(ups):
            assert scope.parent is not None
            scope = scope.parent
        return scope


def fetch(code: Code, scope: Scope, path: Path) -> str:
    """Write what reads a path, once per scope; give the variable that holds its value."""
    base = scope.up(path.ups)
    var, node, sure = base.var, base.node, base.sure
    for at, step in enumerate(path.steps):
        key = (path.ups, path.steps[: at + 1])
        if isinstance(step, All):
            whole = (path.ups, path.steps)
            if whole not in scope.cache:
                scope.cache[whole] = _collect(code, var, node, path.steps[at + 1 :])
            return scope.cache[whole]
        if key not in scope.cache:
            scope.cache[key] = _step(code, var, node, step, sure=sure)
        var, node, sure = scope.cache[key], node.step(step), False
    return var


def _step(code: Code, var: str, node: Node, step: Step, *, sure: bool = False) -> str:
    if isinstance(step, Name):
        return _member(code, var, node, step.name, sure=sure)
    if isinstance(step, Index):
        enough = f" and len({var}) >= {step.at + 1 if step.at >= 0 else -step.at}"
        found = code.var()
        code.line(f"{found} = {var}[{step.at}] if {var}.__class__ is list{enough} else None")
        return found
    assert isinstance(step, Pick)
    return _pick(code, var, node, step)


def _member(code: Code, var: str, node: Node, name: str, *, sure: bool = False) -> str:
    found = code.var()
    if node.whole:
        read, check = f"{var}.get({name!r})", f"{var}.__class__ is dict"
    else:
        read, check = f"{var}.{node.slot(name)}", f"{var}.__class__ is {code.const(node.struct)}"
    code.line(f"{found} = {read}" if sure else f"{found} = {read} if {check} else None")
    return found


def _pick(code: Code, var: str, node: Node, step: Pick) -> str:
    assert node.items is not None
    found, item = code.var(), code.var()
    code.line(f"{found} = None")
    with code.block(f"if {var}.__class__ is list:"), code.block(f"for {item} in {var}:"):
        value = _member(code, item, node.items, step.key)
        with code.block(f"if {_equal(code, value, step.value)}:"):
            code.line(f"{found} = {item}")
            code.line("break")
    return found


def _equal(code: Code, var: str, wanted: str) -> str:
    if wanted.isascii() and wanted.isdecimal() and str(int(wanted)) == wanted:
        return f"{var}.__class__ is int and {var} == {int(wanted)} or {var} == {wanted!r}"
    return f"({var} if {var}.__class__ is str else json_text({var})) == {code.const(wanted)}"


def _collect(code: Code, var: str, node: Node, rest: tuple[Step, ...]) -> str:
    assert node.items is not None
    found, item = code.var(), code.var()
    code.line(f"{found} = None")
    with code.block(f"if {var}.__class__ is list:"):
        code.line(f"{found} = []")
        with code.block(f"for {item} in {var}:"):
            inner = Scope(item, node.items, sure=False)
            value = fetch(code, inner, Path("", rest))
            add = "extend" if any(isinstance(step, All) for step in rest) else "append"
            with code.block(f"if {value} is not None:"):
                code.line(f"{found}.{add}({value})")
    return found


def condition(code: Code, scope: Scope, where: Where) -> str:
    """Give the expression that is true if all conditions hold. Their paths must be fetched already."""
    return " and ".join(_test(code, scope, test) for test in where)


def _test(code: Code, scope: Scope, test: Test) -> str:
    var = fetch(code, scope, test.path)
    word = "not in" if test.negate else "in"
    return f"({var} if {var}.__class__ is str else json_text({var})) {word} {code.const(test.texts)}"
