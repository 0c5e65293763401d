"""The path language of mapping files: names, positions, picks, and the parent of `each`."""

import re
from dataclasses import dataclass
from typing import Any

from hub.mapping.words import Place


@dataclass(frozen=True)
class Name:
    """A member of an object."""

    name: str


@dataclass(frozen=True)
class Index:
    """A position in a list, from the end if negative."""

    at: int


@dataclass(frozen=True)
class Pick:
    """The first element whose `key` has `value` as its JSON text; `quoted` says it is a string when written."""

    key: str
    value: str
    quoted: bool = False


@dataclass(frozen=True)
class All:
    """Every element of a list: what follows is collected into a list, nulls left out."""


Step = Name | Index | Pick | All


@dataclass(frozen=True)
class Path:
    """A parsed path: `ups` parents to climb, then the steps. No steps is the record itself."""

    text: str
    steps: tuple[Step, ...] = ()
    ups: int = 0

    @property
    def names_only(self) -> bool:
        return not self.ups and all(isinstance(step, Name) for step in self.steps)


_QUOTED = r"'((?:[^']|'')*)'"
_NAME = re.compile(rf"{_QUOTED}|([^\s.\[\]'\"=^@]+)")
_INDEX = re.compile(r"\[(-?\d+)\]")
_ALL = re.compile(r"\[\]")
_PICK = re.compile(rf"\[(?:{_QUOTED}|([^\s.\[\]'\"=^@]+))=(?:{_QUOTED}|([^\]'\"]+))\]")
_GRAMMAR = "names joined by dots, [0], [-1], [key=value], [], ^ first for the parent, @ for the record, '…' to quote"


def _unquote(quoted: str | None, plain: str | None) -> str:
    return quoted.replace("''", "'") if quoted is not None else plain or ""


def _bracket(text: str, at: int) -> tuple[Step, int] | None:
    if match := _INDEX.match(text, at):
        return Index(int(match[1])), match.end()
    if match := _ALL.match(text, at):
        return All(), match.end()
    if match := _PICK.match(text, at):
        value = _unquote(match[3], match[4])
        return Pick(_unquote(match[1], match[2]), value, match[3] is not None), match.end()
    return None


def _step(text: str, at: int, dotted: bool) -> tuple[Step, int] | None:
    if text[at] == "[":
        return _bracket(text, at)
    if dotted and (match := _NAME.match(text, at)):
        return Name(_unquote(match[1], match[2])), match.end()
    return None


def parse_path(text: Any, place: Place) -> Path:
    """Parse a path. Raises MappingError that shows where the syntax goes wrong."""
    if not isinstance(text, str) or not text:
        place.fail('expected a path such as "via.channel"')
    at, ups, steps = 0, 0, []
    dotted = True
    while text.startswith("^", at) and dotted:
        ups, at = ups + 1, at + 1
        dotted = text.startswith(".", at)
        at += dotted
    if not ups and text.startswith("@"):
        at = 1
        dotted = text.startswith(".", at)
        at += dotted
    bare = at == len(text) and not dotted
    while at < len(text):
        found = _step(text, at, dotted)
        if found is None:
            break
        step, at = found
        steps.append(step)
        dotted = text.startswith(".", at)
        at += dotted
    if at < len(text) or (dotted and not bare):
        place.fail(f'bad path "{text}" at position {min(at, len(text) - 1) + 1}; a path is {_GRAMMAR}')
    return Path(text, tuple(steps), ups)


def quote(name: str) -> str:
    """Write a name as it stands in a path."""
    return name if _NAME.fullmatch(name) and "'" not in name else "'" + name.replace("'", "''") + "'"


def dotted(steps: tuple[Step, ...]) -> list[str]:
    """
    Write steps as connectors read them: dotted, `[]` after every list that is walked.

    A pick names its key too, so two paths may come of one.
    """
    found, here = [], ""
    for step in steps:
        if isinstance(step, Name):
            here = f"{here}.{quote(step.name)}" if here else quote(step.name)
            continue
        here = f"{here}[]"
        if isinstance(step, Pick):
            found.append(f"{here}.{quote(step.key)}")
    return [*found, here] if here else found
