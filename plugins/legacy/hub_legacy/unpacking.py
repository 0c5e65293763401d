"""Packed drop files: unpacked into a temporary file first, so that reading can go on in the middle of one."""

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO, cast

from hub import Invalid


@contextmanager
def unpacked(file: IO[bytes], name: str) -> Iterator[tuple[BinaryIO, int]]:
    """
    Give the content of a gzip file, and how many bytes it has.

    Raises Invalid for one that is broken or ends early: it stays unread, and a pull that finds it whole reads it.
    """
    with tempfile.TemporaryFile(prefix="deskhub-") as whole:
        try:
            with gzip.GzipFile(fileobj=file, mode="rb") as content:
                shutil.copyfileobj(content, whole, 1 << 20)
        except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
            raise Invalid(f"{name}: is no whole gzip file; it stays unread until it is") from exc
        size = whole.tell()
        whole.seek(0)
        yield cast(BinaryIO, whole), size
