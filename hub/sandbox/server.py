"""A sandbox: a connector's imitation of its vendor, a real HTTP server on loopback with state, faults, a ledger."""

import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from hub.sandbox.world import World

READS = frozenset({"GET", "HEAD"})
F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Entry:
    """One write received: what was asked, under which key, and the effect it had, or None."""

    n: int
    at: float
    method: str
    path: str
    key: str | None = None
    intent: str | None = None
    effect: dict[str, Any] | None = None
    status: int | None = None


@dataclass
class Fault:
    """
    What to do to the next `times` requests whose "METHOD /path" starts with or matches `match`.

    `do` is status:N, slow:Ns, late:Ns (it happens at once, the answer comes late), drop_before (nothing happens, no
    answer), drop_after (it happens, no answer), drop_late:Ns (no answer, and it happens N seconds later), html or
    truncate (the answer is spoilt), gzip (it is compressed), cut (the connection breaks within the answer);
    duplicate_webhook, reorder_webhook and ignore_keys are acted out by the sandbox.
    """

    match: str
    do: str
    times: int = 1


@dataclass
class SchemaChange:
    """
    What an administrator changes in the vendor's schema: `do` is add, remove, retype or value.

    `values` are the words of an enum that is added, those that `value` adds to one.
    """

    do: str
    stream: str
    name: str
    type: str = "string"
    values: list[str] = field(default_factory=list)


@dataclass
class Request:
    """A request as a route sees it. `args` are the named groups of the route's pattern."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    args: dict[str, str] = field(default_factory=dict)
    entry: Entry | None = None

    def arg(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[-1]

    def json(self) -> Any:
        return json.loads(self.body or b"{}")

    def form(self) -> dict[str, str]:
        """Give a form body with its bracketed names as they came: `metadata[hub_run]`."""
        return {k: v[-1] for k, v in parse_qs(self.body.decode(), keep_blank_values=True).items()}

    def effect(self, intent: str, **details: Any) -> None:
        """Book that this request changed something; `intent` is the business wish ("refund pi_1 500 eur")."""
        if self.entry is not None:
            self.entry.intent, self.entry.effect = intent, details


@dataclass
class Response:
    """What a route answers. `body` may be bytes, text, or anything JSON can say."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def payload(self) -> bytes:
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body, separators=(",", ":"))).encode()


def route(method: str, pattern: str) -> Callable[[F], F]:
    """Mark a method `(self, request) -> Response | JSON` as the answer to METHOD and a path pattern (whole path)."""

    def put(function: F) -> F:
        function.hub_routes = [*getattr(function, "hub_routes", ()), (method, re.compile(pattern))]  # type: ignore[attr-defined]
        return function

    return put


class Sandbox:
    """
    The base of every connector's sandbox.

    A subclass builds its state from the shared world in `fill()`, answers with methods marked `@route`, says in
    `settings()` how a connection points to it, and books effects with `request.effect(...)`. State is guarded by one
    lock: routes run one at a time. Use as a context manager, or `start()`/`stop()`.
    """

    name: ClassVar[str]

    def __init__(self, world: World | None = None, *, port: int = 0) -> None:
        self.world = world or World()
        self.port = port
        self.lock = threading.RLock()
        self.ledger: list[Entry] = []
        self.faults: list[Fault] = []
        self._server: _Server | None = None
        self._routes = [
            (method, pattern, name)
            for name in dir(type(self))
            for method, pattern in getattr(getattr(type(self), name), "hub_routes", ())
        ]
        self.fill()

    def fill(self) -> None:
        """Build the state from `self.world`; called at start and by reset."""

    def settings(self) -> dict[str, Any]:
        """Give the `[connections.x]` table that points here (credentials are made up)."""
        return {"connector": self.name, "base_url": self.url}

    def not_found(self, request: Request) -> Response:
        """Answer a path that no route takes, in the vendor's own form."""
        return Response({"error": "not found"}, 404)

    def authorized(self, request: Request) -> Response | None:
        """Give the vendor's own refusal of bad credentials, or None where they are good."""
        return None

    def throttled(self, request: Request) -> Response:
        """Answer a request over the limit, in the vendor's own form."""
        return Response({"error": "rate limited"}, 429, {"Retry-After": "1"})

    def failed(self, request: Request, status: int) -> Response:
        """Answer a fault `status:…`, in the vendor's own form."""
        return self.throttled(request) if status == 429 else Response({"error": f"fault {status}"}, status)

    def faulty(self, do: str, request: Request) -> str | None:
        """Take one fault of this sort for this request, if one is set; give it whole ("status:503")."""
        with self.lock:
            for fault in self.faults:
                if do in (fault.do, fault.do.split(":")[0]) and fault.times > 0 and _matches(fault.match, request):
                    fault.times -= 1
                    return fault.do
        return None

    @property
    def url(self) -> str:
        assert self._server is not None, "start the sandbox first"
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> "Sandbox":
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> "Sandbox":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def effects(self, intent: str = "") -> list[Entry]:
        """Give the ledger's entries that changed something and whose intent starts with `intent`."""
        with self.lock:
            return [e for e in self.ledger if e.effect is not None and (e.intent or "").startswith(intent)]

    def fault(self, match: str, do: str, times: int = 1) -> None:
        """Set a fault, as POST /_sandbox/faults does."""
        with self.lock:
            self.faults.append(Fault(match, do, times))

    def schema(self, change: SchemaChange) -> bool:
        """Change the vendor's schema as an administrator would; False where this sandbox cannot."""
        return False

    def reset(self) -> None:
        """Go back to the world as generated; ledger and faults are emptied."""
        with self.lock:
            self.ledger.clear()
            self.faults.clear()
            self.fill()

    def admin(self, request: Request) -> Response:
        """Answer /_sandbox/…"""
        with self.lock:
            if request.path == "/_sandbox/ledger":
                return Response([asdict(e) for e in self.ledger])
            if request.path == "/_sandbox/faults" and request.method in ("POST", "DELETE"):
                if request.method == "DELETE":
                    self.faults.clear()
                else:
                    self.faults.append(Fault(**request.json()))
                return Response([asdict(f) for f in self.faults])
            if request.path == "/_sandbox/reset" and request.method == "POST":
                self.reset()
                return Response({"ok": True})
            if request.path == "/_sandbox/schema" and request.method == "POST":
                done = self.schema(SchemaChange(**request.json()))
                return Response({"ok": done}, 200 if done else 422)
        return Response({"error": "the sandbox knows ledger, faults, schema and reset"}, 404)

    def answer(self, request: Request) -> Response:
        """Route one request under the lock and book it if it is a write."""
        with self.lock:
            self.book(request)
            response = self.authorized(request) or self._routed(request)
            if request.entry is not None:
                request.entry.status = response.status
            return response

    def book(self, request: Request, status: int | None = None) -> None:
        """Write a received write into the ledger, without an effect as yet."""
        if request.method in READS:
            return
        with self.lock:
            key = request.headers.get("idempotency-key")
            request.entry = Entry(len(self.ledger) + 1, time.time(), request.method, request.path, key, status=status)
            self.ledger.append(request.entry)

    def _routed(self, request: Request) -> Response:
        for method, pattern, name in self._routes:
            if method == request.method and (found := pattern.fullmatch(request.path)):
                request.args = {k: unquote(v) for k, v in found.groupdict().items() if v is not None}
                result = getattr(self, name)(request)
                return result if isinstance(result, Response) else Response(result)
        return self.not_found(request)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        super().__init__(("127.0.0.1", sandbox.port), _Exchange)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent when a client went away; anything else is a fault of the sandbox and is told."""
        import sys

        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _matches(match: str, request: Request) -> bool:
    what = f"{request.method} {request.path}"
    return what.startswith(match) or re.search(match, what) is not None


class _Exchange(BaseHTTPRequestHandler):
    """One request with its answer, as the faults that are set let it be."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None: ...

    def serve(self) -> None:
        sandbox, request = self.server.sandbox, self.read()
        if request.path.startswith("/_sandbox/"):
            return self.reply(sandbox.admin(request))
        if slow := sandbox.faulty("slow", request):
            time.sleep(float(slow.split(":")[1].rstrip("s")))
        if sandbox.faulty("drop_before", request):
            sandbox.book(request)
            return self.hang_up()
        if late := sandbox.faulty("drop_late", request):
            self.connection.shutdown(socket.SHUT_RDWR)
            time.sleep(float(late.split(":")[1].rstrip("s")))
            sandbox.answer(request)
            return self.hang_up()
        if status := sandbox.faulty("status", request):
            response = sandbox.failed(request, int(status.split(":")[1]))
            sandbox.book(request, response.status)
            return self.reply(response)
        response = sandbox.answer(request)
        if late := sandbox.faulty("late", request):
            time.sleep(float(late.split(":")[1].rstrip("s")))
        if sandbox.faulty("drop_after", request):
            return self.hang_up()
        return self.reply(_spoilt(sandbox, request, response), cut=sandbox.faulty("cut", request) is not None)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = serve

    def read(self) -> Request:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {k.lower(): v for k, v in self.headers.items()}
        return Request(self.command, parts.path, parse_qs(parts.query, keep_blank_values=True), headers, body)

    def reply(self, response: Response, *, cut: bool = False) -> None:
        payload = response.payload()
        self.send_response(response.status)
        headers = {"Content-Type": "application/json; charset=utf-8", **response.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload[: len(payload) // 2] if cut else payload)
        if cut:
            self.wfile.flush()
            self.hang_up()

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()


def _spoilt(sandbox: Sandbox, request: Request, response: Response) -> Response:
    if sandbox.faulty("html", request):
        page = b"<!DOCTYPE html><html><body>Down for maintenance</body></html>"
        return Response(page, 200, {"Content-Type": "text/html"})
    if sandbox.faulty("gzip", request):
        headers = {**response.headers, "Content-Encoding": "gzip"}
        return Response(gzip.compress(response.payload()), response.status, headers)
    if sandbox.faulty("truncate", request):
        return Response(response.payload()[: len(response.payload()) // 2], response.status)
    return response
