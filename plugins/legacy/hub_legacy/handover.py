"""Hand a request file over exactly once: a reader never sees half of one, and a repeat finds that it was done."""

import csv
import io
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from hub import Conflict, Invalid, NotSent, Unknown
from hub_legacy.places import Place, beside

RECEIPTS = ".deskhub"


def handed_over(place: Place, name: str, content: bytes) -> bool:
    """
    Put a request file into place, once; False if that was done before.

    First it lies under a hidden name, then a receipt with the same content is written to the hidden folder `.deskhub`,
    then it is renamed. The receipt stays when the system takes the file away, so that a repeat finds it; one that
    finds receipt and hidden file ends what was begun. Raises Conflict if the name was used for another content,
    NotSent if nothing was handed over, Unknown if the connection broke while the file was renamed.
    """
    receipt, waiting = receipt_of(name), waiting_of(name)
    try:
        before, lying = place.content(receipt), place.content(name)
        if any(earlier not in (None, content) for earlier in (before, lying)):
            raise Conflict(f"{name}: a file of that name was handed over with another content")
        if lying is not None or (before is not None and place.content(waiting) != content):
            return False
        if before is None:
            place.put(waiting, content)
            place.write(receipt, content)
    except OSError as exc:
        raise _not_written(exc, name) from exc
    _appear(place, name, waiting)
    return True


def _appear(place: Place, name: str, waiting: str) -> None:
    try:
        place.rename(waiting, name)
    except (ConnectionError, TimeoutError) as exc:
        unknown = Unknown(f"{name}: the connection broke while the file was renamed; whether it was is not known")
        unknown.hub_sent = True  # type: ignore[attr-defined]
        raise unknown from exc
    except FileNotFoundError:
        return  # somebody who worked on the same run ended it a moment ago
    except OSError as exc:
        raise _not_written(exc, name) from exc


def is_pending(place: Place, name: str, content: bytes) -> bool:
    """Say whether a request was prepared and certainly not handed over: it still lies under its hidden name."""
    return place.content(name) is None and place.content(waiting_of(name)) == content


def receipt_of(name: str) -> str:
    return f"{RECEIPTS}/{name.replace('/', '__')}"


def waiting_of(name: str) -> str:
    return beside(name, "tmp")


def checked_name(name: str) -> str:
    """Check a file name that a mapping made. Raises Invalid for one that leaves the folder, or is hidden in it."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") for part in path.parts)
    if not name or path.is_absolute() or hidden or "\\" in name or not name.isprintable():
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


def _not_written(exc: OSError, name: str) -> NotSent:
    error = NotSent(f"{name}: could not be written ({type(exc).__name__}); nothing was handed over")
    error.hub_sent = False  # type: ignore[attr-defined]
    return error
