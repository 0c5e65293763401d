"""Many rows of one statement, column by column."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat
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

    @classmethod
    def of(cls, rows: Iterable[Sequence[Any]]) -> "Columns":
        """Turn rows into columns."""
        return cls(zip(*rows, strict=True))

    def mapped(self, change: Callable[[Sequence[Any]], Sequence[Any]]) -> "Columns":
        """Give the same rows with each column changed; of one that is the same in all rows, its value."""
        return Columns(
            repeat(change([next(column)])[0]) if isinstance(column, repeat) else change(column)
            for column in self.columns
        )

    def lists(self) -> list[list[Any]]:
        """Give each column as a list."""
        return [list(islice(column, self.count)) for column in self.columns]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return zip(*self.columns, strict=False) if self.count else iter(())


def is_empty(column: "repeat[Any] | Sequence[Any]") -> bool:
    """Tell whether a column is null in every row."""
    if isinstance(column, repeat):
        return next(column) is None
    return column[0] is None and column[-1] is None and column.count(None) == len(column)
