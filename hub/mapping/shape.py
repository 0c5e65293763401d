"""The used paths of a stream as a tree, and the msgspec types that decode just them."""

from dataclasses import dataclass, field
from typing import Any, Union

import msgspec

from hub.mapping.paths import Name, Pick, Step

Skip = msgspec.defstruct("Skip", [], gc=False)
_SCALARS = (str, int, float, bool, None)


@dataclass(eq=False)
class Node:
    """A place in the vendor's JSON. A leaf is decoded whole; of anything else only what is below."""

    leaf: bool = False
    names: dict[str, "Node"] = field(default_factory=dict)
    items: "Node | None" = None
    struct: Any = None
    whole: bool = False

    def add(self, steps: tuple[Step, ...], *, leaf: bool = True) -> "Node":
        """Mark a path as used and give its node."""
        node = self
        for step in steps:
            node = node.step(step)
        node.leaf = node.leaf or leaf
        return node

    def step(self, step: Step) -> "Node":
        if isinstance(step, Name):
            return self.names.setdefault(step.name, Node())
        self.items = self.items or Node()
        if isinstance(step, Pick):
            self.items.names.setdefault(step.key, Node()).leaf = True
        return self.items

    def slot(self, name: str) -> str:
        """Name the struct's attribute for a member."""
        return f"f{list(self.names).index(name)}"

    def settle(self, whole: bool = False) -> Any:
        """Build the types bottom-up, once all paths are added; give this node's. Any JSON value decodes into it."""
        self.whole = whole or self.leaf
        below = {name: node.settle(self.whole) for name, node in self.names.items()}
        items = self.items.settle(self.whole) if self.items else Any
        if self.whole:
            return Any
        if below:
            self.struct = _struct(below)
        members = (list[items], self.struct or Skip, *_SCALARS)  # type: ignore[valid-type]
        return Union[members]  # noqa: UP007


def _struct(members: dict[str, Any]) -> Any:
    fields = [(f"f{at}", Union[kind, None], None) for at, kind in enumerate(members.values())]  # noqa: UP007
    return msgspec.defstruct("Used", fields, rename={f"f{at}": name for at, name in enumerate(members)}, gc=False)
