"""How Zendesk cuts lists into pages: cursor and time-based exports, cursor and offset paging."""

import base64
import binascii
from typing import Any
from urllib.parse import urlencode

from hub.sandbox import Request, Response
from hub_zendesk.sandbox.shapes import SITE, epoch

Record = dict[str, Any]


def refusal(status: int, error: str, description: str, **more: Any) -> Response:
    """Give an error as Zendesk writes most of them."""
    return Response({"error": error, "description": description, **more}, status)


def export_cursor(moment: int, one: int) -> str:
    return base64.b64encode(f"{moment}.0||{one}|".encode()).decode()


def by_cursor(request: Request, name: str, rows: list[Record], size: int) -> Response:
    """Answer a cursor export: what changed at or after start_time, or after the cursor."""
    size = min(int(request.arg("per_page") or size), size)
    ordered = sorted((epoch(row["updated_at"]), row["id"]) for row in rows)
    known = {row["id"]: row for row in rows}
    given = request.arg("cursor")
    try:
        after = _read(given) if given else (int(request.arg("start_time")) - 1, 10**19)
    except (ValueError, binascii.Error):
        return refusal(400, "InvalidPaginationParameter", "The cursor or start_time is not valid")
    left = [mark for mark in ordered if mark > after]
    page = left[:size]
    cursor = export_cursor(*page[-1]) if page else given or None
    link = f"{SITE}{request.path}?{urlencode({'cursor': cursor})}" if cursor else None
    return Response(
        {
            name: [known[one] for _, one in page], "after_url": link, "before_url": None, "after_cursor": cursor,
            "before_cursor": None, "end_of_stream": len(left) <= size,
        }
    )  # fmt: skip


def _read(cursor: str) -> tuple[int, int]:
    moment, _, rest = base64.b64decode(cursor, validate=True).decode().partition(".0||")
    return int(moment), int(rest.rstrip("|"))


def by_time(
    request: Request, name: str, rows: list[tuple[int, Record]], size: int, now: int | None, *, cut: bool = False
) -> Response:
    """Answer a time-based export; all that changed in the page's last second comes with it, unless it is `cut`."""
    try:
        start = int(request.arg("start_time"))
    except ValueError:
        return refusal(400, "InvalidValue", "start_time must be an integer")
    if now is not None and start > now - 60:
        return refusal(422, "InvalidValue", "Too recent start_time. Use a start_time older than 60 seconds")
    left = sorted((row for row in rows if row[0] >= start), key=lambda row: (row[0], row[1]["id"]))
    page = left[:size]
    page += [row for row in left[size:] if not cut and page and row[0] == page[-1][0]]
    end = page[-1][0] if page else None
    link = f"{SITE}{request.path}?{urlencode({'start_time': end})}" if end is not None else None
    last = len(page) == len(left)
    return Response(
        {name: [row for _, row in page], "next_page": link, "count": len(page), "end_of_stream": last, "end_time": end}
    )


def listed(request: Request, name: str, rows: list[Record], **more: Any) -> Response:
    """Answer a list by cursor (page[size]) or by offset (page, per_page)."""
    size = request.arg("page[size]")
    if not size:
        return _by_offset(request, name, rows, more)
    at = int(base64.b64decode(request.arg("page[after]")).decode() or 0)
    upto = at + min(int(size), 100)
    following = base64.b64encode(str(upto).encode()).decode()
    query = urlencode({"page[after]": following, "page[size]": size})
    meta = {"has_more": upto < len(rows), "after_cursor": following, "before_cursor": None}
    return Response({name: rows[at:upto], **more, "meta": meta, "links": {"next": f"{SITE}{request.path}?{query}"}})


def _by_offset(request: Request, name: str, rows: list[Record], more: Record) -> Response:
    size, number = min(int(request.arg("per_page") or 100), 100), int(request.arg("page") or 1)
    page = rows[(number - 1) * size : number * size]
    link = f"{SITE}{request.path}?page={number + 1}" if number * size < len(rows) else None
    return Response({name: page, **more, "next_page": link, "previous_page": None, "count": len(rows)})
