"""How a mapping file's faults are told: file, table, key, what was found, what would be right."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from hub.errors import MappingError


@dataclass(frozen=True)
class Place:
    """A place in a mapping file: the file, the table's header and the key under it."""

    file: str
    header: str = ""
    key: str = ""

    def at(self, header: str) -> "Place":
        return replace(self, header=header, key="")

    def under(self, key: str) -> "Place":
        return replace(self, key=f"{self.key}.{key}" if self.key else key)

    def __str__(self) -> str:
        header = f" [{self.header}]" if self.header else ""
        key = f" {self.key}" if self.key else ""
        return f"{self.file}:{header}{key}"

    def fail(self, problem: str) -> NoReturn:
        """Raise MappingError saying `problem` at this place."""
        raise MappingError(f"{self}: {problem}" if self.key else f"{self} {problem}", field_path=self.key or None)


def one_of(words: Iterable[str]) -> str:
    """List the words that would be right."""
    return ", ".join(sorted(words)) or "(none)"


def hint(found: str, words: Iterable[str]) -> str:
    """Suggest the word that was probably meant, else list them all."""
    known = list(words)
    close = difflib.get_close_matches(str(found), known, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else f"known: {one_of(known)}"


def unknown(place: Place, noun: str, found: str, words: Iterable[str]) -> NoReturn:
    """Raise MappingError for a word that is not in a closed list."""
    place.fail(f'unknown {noun} "{found}"; {hint(found, words)}')


def table(place: Place, value: Any, what: str = "a table") -> dict[str, Any]:
    """Give `value` if it is a TOML table, else raise MappingError."""
    if not isinstance(value, dict):
        place.fail(f"expected {what}, found {kind_of(value)}")
    return value


def string(place: Place, value: Any, what: str = "a string") -> str:
    """Give `value` if it is a string that is not empty, else raise MappingError."""
    if not isinstance(value, str) or not value:
        place.fail(f"expected {what}, found {kind_of(value)}")
    return value


def strings(place: Place, value: Any, what: str = "a list of strings") -> list[str]:
    """Give `value` if it is a list of strings, else raise MappingError."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        place.fail(f"expected {what}, found {kind_of(value)}")
    return value


def only(place: Place, found: Iterable[str], words: Iterable[str], noun: str = "key") -> None:
    """Raise MappingError if a key is not one of `words`."""
    known = set(words)
    for key in found:
        if key not in known:
            unknown(place, noun, key, known)


def kind_of(value: Any) -> str:
    """Name a TOML or JSON value's type for a message; never the value itself."""
    names = {bool: "a boolean", int: "an integer", float: "a number", list: "a list", dict: "a table"}
    if isinstance(value, str):
        return "an empty string" if not value else "a string"
    return "nothing" if value is None else names.get(type(value), f"a {type(value).__name__}")
