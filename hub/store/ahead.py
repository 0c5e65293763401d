"""Work on the next page while the one before is being written."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """
    Give what `items` gives, each made in a thread of its own while the one before is still in use.

    Never more than one ahead, and in order; what making one raises is raised where it would have been given. Whoever
    stops early waits until the one that is being made is done with.
    """
    try:
        with ThreadPoolExecutor(1, "ahead") as thread:
            take: Callable[[], T | None] = partial(copy_context().run, partial(next, items, None))
            coming = thread.submit(take)
            while (item := coming.result()) is not None:
                coming = thread.submit(take)
                yield item
    finally:
        items.close()
