"""The codes of errors, each declared once: what it means and what to do. docs/errors.md is written from here."""

from typing import NamedTuple


class Code(NamedTuple):
    """`status` is the HTTP status it is answered with; `next` says what the caller does."""

    status: int
    title: str
    next: str


_FIX = "change the request"
_WAIT = "wait `retry_after_ms`, then the same again"
_CONFIG = "an operator changes the configuration"
CODES: dict[str, Code] = {
    "malformed": Code(400, "The body is not JSON", _FIX),
    "unauthorized": Code(401, "Credentials are not accepted", "send a valid key; 502: a system refuses the hub's"),
    "refused": Code(403, "Policy or a scope says no", "read `reason` and `next_actions`"),
    "not_found": Code(404, "It is not there", "check the id"),
    "no_such_route": Code(404, "There is no such route", "see /openapi.json"),
    "method_not_allowed": Code(405, "The method is not possible here", "use one that `Allow` names"),
    "conflict": Code(409, "Something else came first", "read it again, then decide"),
    "too_large": Code(413, "The body is too large", _FIX),
    "not_json": Code(415, "The body is not declared as JSON", "send Content-Type: application/json"),
    "invalid": Code(422, "The request can never succeed as written", f"{_FIX} at `field_path`"),
    "unsupported": Code(422, "This connection cannot do that", "use another connection or action"),
    "mapping_error": Code(422, "A mapping, or a record under it, is wrong", "change the mapping file"),
    "rate_limited": Code(429, "A limit is used up", _WAIT),
    "internal": Code(500, "The hub failed", "report it with the time; the log has the rest"),
    "error": Code(500, "Something went wrong", "read `detail`"),
    "config_error": Code(500, "The configuration is wrong", _CONFIG),
    "unknown": Code(502, "Sent, and the answer was lost", "do not repeat it; look the run up after `check_after_ms`"),
    "temporary": Code(503, "Not now", _WAIT),
    "not_sent": Code(503, "Nothing left the hub", _WAIT),
    "http_error": Code(400, "The request cannot be served", _FIX),
    "unknown_stream": Code(422, "No mapping has this stream", "name one of the mapping's streams"),
    "usage": Code(422, "The command line is wrong (CLI only)", "see `--help`"),
}


def table() -> str:
    """Write docs/errors.md."""
    lines = [
        "# Error codes",
        "",
        "Every error of the API is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, `code`,",
        "`retryable`, `retry_after_ms`, `reason`, `next_actions`, `field_path`. An error of a run also carries `run`.",
        "`code` is stable; `detail` is for people and may change. Where the time is known, `Retry-After` is sent too.",
        "",
        "| code | status | meaning | what to do |",
        "|-|-|-|-|",
    ]
    lines += [f"| `{name}` | {code.status} | {code.title} | {code.next} |" for name, code in sorted(CODES.items())]
    return "\n".join(lines) + "\n"
