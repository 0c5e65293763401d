"""Write files so that a reader never sees half of one, and hand a request over exactly once."""

import contextlib
import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from hub import Conflict, Invalid, NotSent

RECEIPTS = ".deskhub"


def written(target: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, force it to disk, and rename it into place."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    _forced(temporary, content)
    os.replace(temporary, target)
    _force_folder(target.parent)


def handed_over(folder: Path, name: str, content: bytes) -> bool:
    """
    Put a request file into place, once; False if that was done before.

    A receipt with the same content, in the hidden folder `.deskhub`, is on disk before the file appears. It stays
    when the system takes the file away, so that a repeat finds it. Raises Conflict if the name was used for another
    content, NotSent if nothing was written.
    """
    target, receipt = folder / name, receipt_of(folder, name)
    for earlier in (receipt, target):
        if earlier.exists():
            if earlier.read_bytes() != content:
                raise Conflict(f"{name}: a file of that name was handed over with another content")
            return False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        receipt.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        _forced(temporary, content)
        written(receipt, content)
    except OSError as exc:
        raise _not_written(exc, name) from exc
    try:
        os.replace(temporary, target)
    except OSError as exc:
        with contextlib.suppress(OSError):
            receipt.unlink()
        raise _not_written(exc, name) from exc
    _force_folder(target.parent)
    return True


def receipt_of(folder: Path, name: str) -> Path:
    return folder / RECEIPTS / name.replace("/", "__")


def checked_name(name: str) -> str:
    """Check a file name that a mapping made. Raises Invalid for one that leaves the folder."""
    parts = Path(name).parts
    if not name or Path(name).is_absolute() or ".." in parts or "\\" in name or not name.isprintable():
        raise Invalid(
            "the mapping's `file` does not name a file inside the folder; expected such as out/request-{run.id}.csv"
        )
    return name


def content_of(name: str, values: Mapping[str, Any], encoding: str, delimiter: str) -> bytes:
    """Give the bytes of a request: a header and a row of CSV, or one line of JSON. Raises Invalid naming the column."""
    if name.lower().endswith((".ndjson", ".jsonl", ".json")):
        return msgspec.json.encode(dict(values), order=None) + b"\n"
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(values)
    writer.writerow([_cell(value) for value in values.values()])
    try:
        return text.getvalue().encode(encoding)
    except UnicodeEncodeError as exc:
        column = next(k for k, v in values.items() if not _fits(_cell(v), encoding))
        raise Invalid(
            f"{column}: has a character that {encoding} lacks; files of this connection are written in it"
        ) from exc


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return msgspec.json.encode(value).decode() if isinstance(value, (dict, list)) else str(value)


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _forced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _force_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _not_written(exc: OSError, name: str) -> NotSent:
    error = NotSent(f"{name}: could not be written ({type(exc).__name__}); nothing was handed over")
    error.hub_sent = False  # type: ignore[attr-defined]
    return error
