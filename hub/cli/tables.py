"""Tables for people: aligned columns, ids whole, free text wrapped where a terminal is narrow."""

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from hub.cli import out

_GAP = "  "
_NARROWEST = 16
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(?:Z|\+00:00)")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, none: str, spare: Sequence[str] = ()) -> None:
    """
    Print a table on stdout; where it has no rows, say on stderr that there is `none`.

    On a terminal that is too narrow the columns `spare` are left out, the first one first, and text with blanks in it
    is wrapped; ids never are. Elsewhere every row is one line.
    """
    names, body = list(columns), [list(row) for row in rows]
    if not body:
        out.say(none)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for name in spare:
        if width is None or _total(_widths(names, body)) <= width:
            break
        at = names.index(name)
        names, body = _without(names, at), [_without(row, at) for row in body]
    _print(names, body, width)


def _total(widths: list[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _without(values: list[Any], at: int) -> list[Any]:
    return values[:at] + values[at + 1 :]


def _widths(names: list[str], rows: list[list[Any]]) -> list[int]:
    return [
        max(len(name), *(len(_cell(row[at])) for row in rows)) if rows else len(name) for at, name in enumerate(names)
    ]


def _print(names: list[str], rows: list[list[Any]], width: int | None) -> None:
    widths = _fitting(names, rows, width) if width else _widths(names, rows)
    right = [bool(rows) and all(_number(row[at]) for row in rows) for at in range(len(names))]
    for row in [names, *rows]:
        cells = [_wrapped(_cell(value), room) for value, room in zip(row, widths, strict=True)]
        for n in range(max(map(len, cells))):
            line = (cell[n] if n < len(cell) else "" for cell in cells)
            parts = (t.rjust(w) if r else t.ljust(w) for t, w, r in zip(line, widths, right, strict=True))
            out.write(_GAP.join(parts).rstrip())


def _fitting(names: list[str], rows: list[list[Any]], width: int) -> list[int]:
    """Narrow the columns of free text, the widest first, as far as they can be."""
    widths = _widths(names, rows)
    floors = [
        max([len(name), *(len(word) for row in rows for word in _cell(row[at]).split())], default=0)
        for at, name in enumerate(names)
    ]
    floors = [min(room, max(floor, _NARROWEST)) for room, floor in zip(widths, floors, strict=True)]
    over = _total(widths) - width
    while over > 0:
        at = max(range(len(widths)), key=lambda n: widths[n] - floors[n])
        if widths[at] <= floors[at]:
            break
        widths[at], over = widths[at] - 1, over - 1
    return widths


def _wrapped(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [text]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if value is None or value == "" or value == [] or value == ():
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    found = _TIME.fullmatch(str(value))
    return f"{found[1]} {found[2]}Z" if found else " ".join(str(value).split())


def counted(number: int, one: str, many: str | None = None) -> str:
    """Say how many there are: "1 remark", "2 remarks"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
