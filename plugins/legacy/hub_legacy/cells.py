"""Cells of CSV files: empty ones are null, numbers with a decimal comma and dates in a house format are put right."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

_WITH_COMMA = re.compile(r"[+-]?(?:0|[1-9]\d{0,2}(?:\.\d{3})+|\d+)(?:,\d+)?")
_TIME = re.compile(r"%[HIMSfpzZTXcs]")
_DIGITS = {
    "d": r"\d{1,2}",
    "m": r"\d{1,2}",
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "H": r"\d{1,2}",
    "M": r"\d{1,2}",
    "S": r"\d{1,2}",
    "f": r"\d{1,6}",
}

Convert = Callable[[Sequence[str]], dict[str, Any]]


@dataclass(frozen=True)
class Cells:
    """What is done to the cells of a file. Without columns named, a rule holds for all of them."""

    comma: bool = False
    comma_columns: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    date_columns: tuple[str, ...] = ()
    zone: str = "UTC"

    def of(self, names: Sequence[str]) -> Convert:
        """Give the function that makes a record of a row of these columns."""
        steps: list[tuple[str, Callable[[str], str]]] = []
        if self.comma:
            steps += [(name, with_point) for name in self.comma_columns or names if name in names]
        if self.dates:
            date = dates(self.dates, ZoneInfo(self.zone))
            steps += [(name, date) for name in self.date_columns or names if name in names]
        names = tuple(names)
        if not steps:
            return lambda row: {name: cell or None for name, cell in zip(names, row, strict=True)}

        def convert(row: Sequence[str]) -> dict[str, Any]:
            record = {name: cell or None for name, cell in zip(names, row, strict=True)}
            for name, step in steps:
                cell = record[name]
                if cell is not None:
                    record[name] = step(cell)
            return record

        return convert


def with_point(cell: str) -> str:
    """Turn 1.234,50 into 1234.50; what is no number in that notation stays as it is."""
    text = cell.strip()
    return text.replace(".", "").replace(",", ".") if _WITH_COMMA.fullmatch(text) else cell


def dates(formats: Sequence[str], zone: ZoneInfo) -> Callable[[str], str]:
    """Give the function that turns a date or time in one of the formats into ISO 8601, times into UTC."""
    known = [(format_, _shape(format_), bool(_TIME.search(format_))) for format_ in formats]

    def convert(cell: str) -> str:
        text = cell.strip()
        for format_, shape, timed in known:
            if not shape.fullmatch(text):
                continue
            try:
                moment = datetime.strptime(text, format_)
            except ValueError:
                continue
            if not timed:
                return moment.date().isoformat()
            moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
            return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return cell

    return convert


def _shape(format_: str) -> re.Pattern[str]:
    """Make a quick test for texts that a format may fit; strptime decides."""
    pieces = re.split(r"(%.)", format_)
    return re.compile(
        "".join(_DIGITS.get(p[1], ".+?") if p[:1] == "%" and len(p) == 2 else re.escape(p) for p in pieces)
    )
