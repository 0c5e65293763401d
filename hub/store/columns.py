"""Many rows of one statement, column by column."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any

Column = Iterable[Any]


class Columns:
    """
    The rows that a statement is run for, as columns: what is the same in every row is a `repeat`, told once.

    A store that takes columns saves making rows of them and columns again; any other iterates over the rows.
    """

    __slots__ = ("columns", "count")

    def __init__(self, columns: Iterable[Column]) -> None:
        self.columns: list[repeat[Any] | Sequence[Any]] = [
            column if isinstance(column, (repeat, list, tuple)) else list(column) for column in columns
        ]
        self.count = min((len(column) for column in self.columns if not isinstance(column, repeat)), default=0)

    def mapped(self, change: Callable[[Sequence[Any]], Sequence[Any]]) -> "Columns":
        """Give the same rows with other columns; `change` is asked for each that is told row by row."""
        return Columns(column if isinstance(column, repeat) else change(column) for column in self.columns)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return zip(*self.columns, strict=False) if self.count else iter(())
