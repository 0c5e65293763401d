"""What no vendor promises: members missing, null or of another type, odd records in a page, answers that are none."""

import contextlib
import copy
import gzip
import json
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.connector import Connector
from hub.errors import HubError, Invalid, NotFound, RateLimited, Temporary, Unauthorized
from hub.mapping import CompiledMapping, compile_mapping, locate, preview
from hub.transport import Patience, Transport
from tests.plugins.test_values_by_hand import CASES, PLUGINS

Json = dict[str, Any]
ODD = [None, "", "a_new_word", "ünï\u202e🎉", "x" * 3000, 0, -1, 10**30, 1.5, True, [], {}, [None], {"a": None}, [[1]]]
STATES = {"tickets": "status", "Case": "Status", "payment_intents": "status", "refunds": "status", "Order": "Status"}
SETTINGS: dict[str, Json] = {
    "zendesk": {"subdomain": "acme", "email": "ops@acme.example", "token": "s3cret"},
    "stripe": {"api_key": "sk_test_s3cret"},
    "salesforce": {"instance": "acme.my.salesforce.com", "session_id": "s3cret"},
}


@cache
def mapping(name: str) -> CompiledMapping:
    connector, plugin = PLUGINS[name]
    return compile_mapping(locate(connector), converters=plugin.hub_converters())


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Name every member of a record, however deep."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*above, key)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*above, key))


def changed(raw: Json, place: tuple[Any, ...], value: Any, *, gone: bool) -> Json:
    made = copy.deepcopy(raw)
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    if gone:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return made


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_an_odd_member_is_mapped_or_named_and_widens_nothing(data: st.DataObject) -> None:
    name, stream, raw, _, _ = data.draw(st.sampled_from(CASES))
    place = data.draw(st.sampled_from(list(places(raw))))
    odd = changed(raw, place, data.draw(st.sampled_from(ODD)), gone=data.draw(st.booleans()))
    (entry,) = preview(mapping(name), stream, [odd])
    if not entry["ok"]:
        assert entry["reject"]["field"], entry["reject"]
        assert len(entry["reject"]["reason"]) < 300
        return
    if entry.get("deleted") or entry.get("skipped"):
        return
    body = entry["data"]
    assert body["remote_id"]
    if entry["kind"] == "message" and place[-1] in ("public", "IsPublished"):
        said = odd.get("public", odd.get("IsPublished"))
        assert body["visibility"] == ("public" if said is True else "internal")
    if place == (STATES.get(stream),) and odd.get(place[0]) not in (None, raw.get(place[0]), ""):
        assert body["status"] in ("unknown", "closed") if stream == "Case" else body["status"] == "unknown"
    for value in body.values():
        if isinstance(value, dict) and set(value) == {"amount", "currency"}:
            assert value["amount"].__class__ is int


class Answers:
    """A server that gives each path its answer: (status, body, headers); the paths asked for are kept."""

    def __init__(self) -> None:
        self.by_path: dict[str, tuple[int, bytes, Json]] = {}
        self.asked: list[str] = []
        self.otherwise: tuple[int, bytes, Json] = (404, b"{}", {})
        self.url = ""


@pytest.fixture
def answers() -> Iterator[Answers]:
    known = Answers()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            known.asked.append(path)
            status, body, headers = known.by_path.get(path, known.otherwise)
            self.send_response(status)
            for key, value in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
                self.send_header(key, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        known.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield known
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def opened(name: str, url: str) -> Iterator[Connector]:
    kind: type[Connector] = PLUGINS[name][0]
    config = kind.Config.model_validate(SETTINGS[name])
    with Transport(name, hosts=kind.hosts(config), base_url=url, patience=Patience(tries=1)) as transport:
        yield kind(config, transport)


def pulled(connector: Connector, name: str, stream: str) -> tuple[int, int, list[str | None]]:
    """Pull a stream; give how many records came, how many were mapped, and the fields of rejects."""
    method = connector.method("pull", stream)
    assert method is not None
    pages = [mapping(name).map_page(stream, page) for page in method(mapping(name).stream(stream), None)]
    tables = [table for page in pages for table in page.tables.values()]
    rejects = [reject.field for table in tables for reject in table.rejects]
    return sum(page.read for page in pages), sum(len(table.rows) for table in tables), rejects


ZENDESK = "/api/v2/incremental"
GOOD_EVENT = {"id": 2, "event_type": "Comment", "public": True, "author_id": 5, "body": "x"}


@pytest.mark.parametrize(
    ("name", "stream", "path", "page"),
    [
        ("zendesk", "users", f"{ZENDESK}/users/cursor.json",
         {"users": [{"id": [1], "role": "end-user"}, {"id": 2, "role": "end-user"}], "after_cursor": "c1",
          "end_of_stream": True}),
        ("zendesk", "tickets", f"{ZENDESK}/tickets/cursor.json",
         {"tickets": [{"id": None}, {"id": 2, "via": "none"}], "after_cursor": None, "end_of_stream": True}),
        ("zendesk", "organizations", f"{ZENDESK}/organizations.json",
         {"organizations": [{"id": {}, "updated_at": 5}, {"id": 2, "updated_at": None}], "end_of_stream": True}),
        ("zendesk", "comments", f"{ZENDESK}/ticket_events.json",
         {"ticket_events": [{"ticket_id": 9, "child_events": [
             {**GOOD_EVENT, "id": {}, "author_id": "who"}, GOOD_EVENT, {"type": ["a", "custom", "value"]}]}],
          "end_of_stream": True}),
        ("stripe", "customers", "/v1/customers",
         {"object": "list", "has_more": False, "data": [{"id": 5.5e99, "name": "x"}, {"id": "cus_2"}]}),
        ("stripe", "payment_intents", "/v1/payment_intents",
         {"has_more": False, "data": [{"id": {}, "disputed": True}, {"id": "pi_2", "amount": 1, "currency": "eur"}]}),
    ],
)  # fmt: skip
def test_one_odd_record_does_not_stop_its_page(answers: Answers, name: str, stream: str, path: str, page: Json) -> None:
    answers.by_path = {
        path: (200, json.dumps(page).encode(), {}),
        "/v1/events": (200, b'{"data": [], "has_more": false}', {}),
        "/api/v2/users.json": (200, b'{"users": []}', {}),
    }
    with opened(name, answers.url) as connector:
        assert pulled(connector, name, stream) == (2, 1, ["remote_id"])


FORMS: list[tuple[int, bytes, Json, type[HubError]]] = [
    (200, b"", {}, Temporary),
    (200, b"null", {}, Temporary),
    (200, b'{"data": [{"id": "cus_1"', {}, Temporary),
    (200, b"<html>pr1vate page</html>", {"Content-Type": "text/html"}, Temporary),
    (200, b'{"user": {"id": 1, "role": "\xe9"}, "records": [{"Id": "\xe9"}], "data": "\xe9"}', {}, Temporary),
    (200, gzip.compress(b"<html>pr1vate page</html>", mtime=0), {"Content-Encoding": "gzip"}, Temporary),
    (400, b'"pr1vate"', {}, Invalid),
    (400, b'{"error": {"title": "pr1vate page", "message": "pr1vate"}}', {}, Invalid),
    (401, b"<html>pr1vate</html>", {"Content-Type": "text/html"}, Unauthorized),
    (401, b'[{"errorCode": "INVALID_SESSION_ID", "message": "pr1vate"}]', {}, Unauthorized),
    (403, b"pr1vate", {}, Unauthorized),
    (404, b"", {}, NotFound),
    (418, b"[[[", {}, Invalid),
    (429, b"pr1vate", {"Retry-After": "0"}, RateLimited),
    (429, b"{}", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, RateLimited),
    (500, b'{"error": "pr1vate"}', {}, Temporary),
    (503, b"<html>pr1vate</html>", {"Retry-After": "soon"}, Temporary),
]


def asked(connector: Connector, name: str) -> None:
    if name == "stripe":  # its check goes on where a restricted key may not read the account
        pulled(connector, name, "customers")
    else:
        connector.check()


@pytest.mark.parametrize("name", PLUGINS)
@pytest.mark.parametrize(("status", "body", "headers", "error"), FORMS)
def test_every_form_of_answer_says_what_to_do_next_and_quotes_nothing(
    answers: Answers, name: str, status: int, body: bytes, headers: Json, error: type[HubError]
) -> None:
    answers.otherwise = (status, body, headers)
    with opened(name, answers.url) as connector, pytest.raises(HubError) as caught:
        asked(connector, name)
    assert isinstance(caught.value, error), f"{type(caught.value).__name__}: {caught.value.message}"
    assert "pr1vate" not in caught.value.message
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize("name", PLUGINS)
def test_a_redirect_to_another_host_takes_no_credentials_along(answers: Answers, name: str) -> None:
    answers.otherwise = (302, b"", {"Location": "http://127.0.0.1:9/elsewhere"})
    with opened(name, answers.url) as connector, pytest.raises(HubError):
        connector.check()
    assert "/elsewhere" not in answers.asked


def test_a_page_in_gzip_is_read_like_any_other(answers: Answers) -> None:
    page = gzip.compress(b'{"has_more": false, "data": [{"id": "cus_1"}]}')
    answers.by_path = {
        "/v1/customers": (200, page, {"Content-Encoding": "gzip"}),
        "/v1/events": (200, b'{"data": [], "has_more": false}', {}),
    }
    with opened("stripe", answers.url) as connector:
        assert pulled(connector, "stripe", "customers") == (1, 1, [])


def test_a_link_to_the_next_page_is_followed_on_our_own_host_only(answers: Answers) -> None:
    data = "/services/data/v61.0"
    first = {"done": False, "nextRecordsUrl": f"https://elsewhere.example{data}/query/01g-2", "records": [{"Id": "1"}]}
    answers.by_path = {
        f"{data}/sobjects/Contact/describe": (200, b'{"name": "Contact", "fields": [{"name": "Id"}]}', {}),
        f"{data}/query": (200, json.dumps(first).encode(), {}),
        f"{data}/query/01g-2": (200, b'{"done": true, "records": [{"Id": "2"}]}', {}),
    }
    with opened("salesforce", answers.url) as connector:
        assert pulled(connector, "salesforce", "Contact") == (2, 2, [])
