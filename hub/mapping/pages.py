"""Read pages: the typed decode of just the used paths, and the slow way that isolates a record that is broken."""

import re
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from typing import Any, Union

import msgspec

from hub.connector import Page
from hub.errors import MappingError, Temporary
from hub.mapping.paths import Name, parse_path
from hub.mapping.words import Place

_FAULTS = (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError)
_Members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_List = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder(float_hook=Decimal)
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Broken:
    """Stands for a raw record that cannot be read; `reason` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Reader:
    """Decodes pages of one stream into records of the stream's type, `Broken` in place of what cannot be read."""

    def __init__(self, stream: str, record: Any, root: Any) -> None:
        self.stream = stream
        self.record = record
        self.root = root
        self.decoders: dict[str, Any] = {}
        self.single = msgspec.json.Decoder(record, float_hook=Decimal)
        self.several = msgspec.json.Decoder(list[record], float_hook=Decimal)

    def read(self, page: Page) -> list[Any]:
        """
        Decode all records of a page.

        Raises Temporary if the body is no JSON or lacks its list: then nothing is known about any record.
        """
        if page.body is None:
            return self._records(page.records or ())
        body = page.body.removeprefix(b"\xef\xbb\xbf")
        try:
            return self._listed(self._decoder(page.at).decode(body), page.at)
        except _FAULTS:
            return [self._one(raw) for raw in split(body, page.at, self.stream)]

    def _listed(self, document: Any, at: str) -> list[Any]:
        for _ in _names(at, self.stream):
            document = document.list
        if document.__class__ is list:
            return document
        if document.__class__ is self.root:
            return [document]
        raise ValueError("neither a list nor an object")

    def _decoder(self, at: str) -> Any:
        if at not in self.decoders:
            record: Any = self.record
            kind: Any = Any if record is Any else Union[list.__class_getitem__(record), self.root]  # noqa: UP007
            for name in reversed(_names(at, self.stream)):
                kind = msgspec.defstruct("Envelope", [("list", kind)], rename={"list": name})
            self.decoders[at] = msgspec.json.Decoder(kind, float_hook=Decimal)
        return self.decoders[at]

    def _records(self, records: Sequence[dict[str, Any] | bytes]) -> list[Any]:
        plain = all(record.__class__ is bytes for record in records)
        raws: Sequence[Any] = records if plain else [raw_of(record) for record in records]
        try:
            found = self.several.decode(_list_of(raws))
            if len(found) == len(raws):
                return found
        except _FAULTS:
            pass
        return [self._one(raw) for raw in raws]

    def _one(self, raw: bytes | msgspec.Raw) -> Any:
        if not raw:
            return Broken("the record cannot be written as JSON")
        try:
            return self.single.decode(raw)
        except _FAULTS:
            return self._mended(bytes(raw))

    def _mended(self, raw: bytes) -> Any:
        try:
            raw.decode()
            return self.single.decode(mend(raw))
        except UnicodeDecodeError:
            return Broken("the record is not UTF-8")
        except _FAULTS:
            return Broken("the record is no JSON that can be read")


def _list_of(raws: Sequence[bytes]) -> bytes:
    """Write records as one JSON list, copying each once: a page is megabytes long."""
    if not raws:
        return b"[]"
    return b",".join([b"[" + raws[0], *raws[1:-1], raws[-1] + b"]"] if len(raws) > 1 else [b"[" + raws[0] + b"]"])


_SURROGATE = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def mend(raw: bytes) -> bytes:
    """Replace halves of surrogate pairs, which are no JSON text, by U+FFFD; vendors that cut texts cut emojis so."""
    return _SURROGATE.sub(lambda match: b"\\ufffd" if len(match[0]) == 6 else match[0], raw)


def raw_of(record: dict[str, Any] | bytes) -> bytes:
    """Give a record as bytes of JSON; empty for a dict that has no JSON form (the record is rejected)."""
    if isinstance(record, (bytes, bytearray, memoryview)):
        return bytes(record)
    try:
        return _encode(record)
    except (TypeError, ValueError, UnicodeError, OverflowError, RecursionError):
        return b""


def parts_of(page: Page, stream: str) -> Sequence[bytes | msgspec.Raw]:
    """Give every raw record of a page, in order."""
    if page.body is None:
        return [raw_of(record) for record in page.records or ()]
    return split(page.body.removeprefix(b"\xef\xbb\xbf"), page.at, stream)


def _names(at: str, stream: str) -> list[str]:
    if at == "@":
        return []
    path = parse_path(at, Place(f"stream {stream}").under("at"))
    if not path.names_only:
        raise MappingError(f"stream {stream}: a page's `at` is made of names, found {at!r}")
    return [step.name for step in path.steps if isinstance(step, Name)]


def split(body: bytes, at: str, stream: str) -> list[bytes | msgspec.Raw]:
    """Split a body into its raw records. Raises Temporary that names the stream and what came, never content."""
    names = _names(at, stream)
    try:
        return list(_split(body, names))
    except (*_FAULTS, LookupError) as exc:
        mended = mend(body)
        if mended != body and (found := _split_mended(body, mended, names)):
            return found
        wanted = "a JSON list or object" if at == "@" else f"a JSON document with a list at `{at}`"
        raise Temporary(f"stream {stream}: expected {wanted}, got {what_came(mended, at)}") from exc


@lru_cache(maxsize=100)
def _splitter(names: tuple[str, ...]) -> Any:
    """Make what splits the usual body in one go: a list at some place of an object."""
    kind: Any = list[msgspec.Raw]
    for name in reversed(names):
        kind = msgspec.defstruct("Envelope", [("list", kind)], rename={"list": name})
    return msgspec.json.Decoder(kind).decode


def _split(body: bytes, names: list[str]) -> list[msgspec.Raw]:
    with suppress(*_FAULTS):
        document = _splitter(tuple(names))(body)
        for _ in names:
            document = document.list
        found: list[msgspec.Raw] = document
        return found
    here: Any = body
    for name in names:
        here = _Members.decode(here)[name]
    if bytes(here).lstrip()[:1] == b"{":
        _any.decode(here)
        return [here if isinstance(here, msgspec.Raw) else msgspec.Raw(here)]
    return _List.decode(here)


def _split_mended(body: bytes, mended: bytes, names: list[str]) -> list[bytes | msgspec.Raw]:
    """Find the records in a mended body, which is as long as the body, and cut them out of the body itself."""
    found: list[bytes | msgspec.Raw] = []
    start = 0
    try:
        for raw in _split(mended, names):
            start = mended.index(bytes(raw), start)
            found.append(body[start : start + len(bytes(raw))])
            start += len(bytes(raw))
    except (*_FAULTS, LookupError):
        return []
    return found


def what_came(body: bytes, at: str = "@") -> str:
    """Say what kind of thing a body is."""
    start = body.lstrip()[:1]
    if not start:
        return "an empty body"
    if start == b"<":
        return f"HTML or XML ({len(body)} bytes)"
    try:
        document = msgspec.json.decode(body)
    except RecursionError:
        return f"JSON that is nested too deeply ({len(body)} bytes)"
    except _FAULTS as exc:
        if start in b"{[":
            cut = "truncated" if "truncated" in str(exc) else "broken"
            return f"{cut} JSON ({len(body)} bytes)"
        return f"what is no JSON ({len(body)} bytes)"
    kind = {dict: "a JSON object", list: "a JSON list", type(None): "null"}.get(type(document), "a single JSON value")
    return f"{kind} without it" if at != "@" and isinstance(document, dict) else kind
