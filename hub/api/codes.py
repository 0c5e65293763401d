"""The codes of errors, each declared once: what it means and what to do. docs/errors.md is written from here."""

from typing import NamedTuple


class Code(NamedTuple):
    """`status` is the HTTP status it is answered with; `next` says what the caller does."""

    status: int
    title: str
    next: str


_FIX = "change the request"
_WAIT = "wait `retry_after_ms`, then the same again"
_AGAIN = "read it again, then decide"
_PERSON = "a person decides"
CODES: dict[str, Code] = {
    "already_decided": Code(409, "The approval was decided before", "look at the run"),
    "already_frozen": Code(409, "Money is frozen already", "nothing to do"),
    "ambiguous_item": Code(422, "Several lines of the order could be meant, or one is named twice", "name it by line"),
    "ambiguous_target": Code(422, "Several records could be meant", "name one, or the connection"),
    "amount_exceeds_refundable": Code(422, "More than is left to refund", "ask for less"),
    "amount_mismatch": Code(422, "The amount is not what the items come to", "leave one of them out"),
    "approval_denied": Code(403, "A person said no", "read `reason`"),
    "approval_expired": Code(409, "The approval came too late, or nobody answered", "ask anew under a new key"),
    "asker_gone": Code(403, "Who asked no longer has a valid key", "ask with a valid key"),
    "audit_busy": Code(503, "What would be shown cannot be written to the audit now", _WAIT),
    "bad_cursor": Code(
        422, "A stored cursor cannot be read", "nothing: the next sync reads that stream from its beginning"
    ),
    "canceled": Code(409, "The run was taken back while it waited", "ask anew under a new key"),
    "closing_not_allowed": Code(422, "The system does not close tickets this way", "set another status"),
    "config_error": Code(500, "The configuration is wrong", "an operator changes the configuration"),
    "conflict": Code(409, "Something else came first", _AGAIN),
    "connection_reauth_required": Code(
        502, "A system refuses the credentials of a connection", "tell a person: an operator replaces them"
    ),
    "connector_failed": Code(500, "A connector failed", "report it to the plugin's author; the log has the place"),
    "constraint": Code(409, "The database behind a connection refused it", _AGAIN),
    "currency_mismatch": Code(422, "Not the currency of the payment", _FIX),
    "customer_exists": Code(
        409, "Another customer has this e-mail or external id", "use the customer that `reason` names"
    ),
    "customer_in_use": Code(409, "Something was bought or asked by the customer", "leave the customer, or erase it"),
    "customer_not_ours": Code(409, "The customer was not made here lately", "archive it in the system itself"),
    "customer_not_there": Code(404, "That connection does not know the customer", "choose another connection"),
    "daily_ceiling": Code(403, "The key would move more money today than it may", "ask for less, or tomorrow"),
    "database_in_use": Code(409, "A hub has the database open (CLI only)", "stop it first"),
    "demo_failed": Code(500, "A step of the demo did not succeed (CLI only)", "read `detail`"),
    "error": Code(500, "Something went wrong", "read `detail`"),
    "forbidden": Code(401, "A system forbids this to the hub's credentials", "an operator grants it there"),
    "foreign_host": Code(422, "A request to a host that the connection does not own", _FIX),
    "fuse": Code(409, "A changed mapping would take most rows away (CLI only)", "look at `hub map diff`, then `--yes`"),
    "http_error": Code(400, "The request cannot be served", _FIX),
    "idempotency_conflict": Code(409, "A system knows this key for another request", _PERSON),
    "idempotency_key_required": Code(
        422, "The Idempotency-Key is missing", "send one per intention, the same on retries"
    ),
    "idempotency_key_reused": Code(409, "The key was used for another request", "take a new key for a new intention"),
    "input_not_supported": Code(422, "That system cannot heed this input", "leave it out, or do what `detail` says"),
    "internal": Code(500, "The hub failed", "report it with the time; the log has the rest"),
    "invalid": Code(422, "The request can never succeed as written", "change the request at `field_path`"),
    "invalid_amount": Code(422, "This is no amount of money", _FIX),
    "invalid_currency": Code(422, "This is no currency", _FIX),
    "invalid_id": Code(422, "This cannot be an id of that system", "check the id"),
    "invalid_idempotency_key": Code(422, "The Idempotency-Key has characters it must not have", _FIX),
    "invalid_key": Code(401, "This API key is not known, or was revoked", "use another key"),
    "key_exists": Code(409, "An API key of that name is there already", "choose another name"),
    "key_rate": Code(429, "The API key asks more often than it may", _WAIT),
    "key_revoked": Code(409, "The API key was revoked", "make a new one"),
    "lines_not_known": Code(409, "The lines of the order, or what they cost, are not known here", "name an amount"),
    "lines_not_whole": Code(409, "The lines come to more than the order", "name an amount"),
    "malformed": Code(400, "The body is not JSON", _FIX),
    "mapping_changed": Code(
        409, "Another process writes with another mapping (CLI only)", "restart it, then the same again"
    ),
    "mapping_error": Code(422, "A mapping, or a record under it, is wrong", "change the mapping file"),
    "method_not_allowed": Code(405, "The method is not possible here", "use one that `Allow` names"),
    "missing_scope": Code(403, "The API key lacks a scope", "use a key that has the scope in `reason`"),
    "money_frozen": Code(403, "Money is frozen", "wait until an operator lifts it; `reason` says who froze it"),
    "no_approval": Code(404, "Nothing waits for an approval there", "check the id"),
    "no_such_route": Code(404, "There is no such route", "see /openapi.json"),
    "no_target": Code(422, "The action needs a record to work on", _FIX),
    "not_cancelable": Code(409, "The run no longer waits", "look at the run"),
    "not_found": Code(404, "It is not there", "check the id"),
    "not_frozen": Code(409, "Money is not frozen", "nothing to do"),
    "not_json": Code(415, "The body is not declared as JSON", "send Content-Type: application/json"),
    "not_reversible": Code(409, "The run cannot be undone", "read `run.reversal` or `detail`"),
    "not_sent": Code(503, "Nothing left the hub", _WAIT),
    "nothing_refundable": Code(409, "Nothing of this payment is left to refund", "do not repeat it"),
    "nothing_to_write": Code(422, "Nothing of this change can be written there", "change another field"),
    "order_not_changeable": Code(409, "The order can no longer be changed", "read `reason`"),
    "own_run": Code(403, "Four eyes: not the one who asked", "let somebody else decide"),
    "payment_not_authorized": Code(
        409, "The payment is not one that only waits to be taken", "refund it, or do nothing"
    ),
    "payment_not_known": Code(409, "No payment of the order is known that could be given back", _PERSON),
    "payment_disputed": Code(403, "The payment is disputed", "leave it to the dispute; tell a person"),
    "plan_changed": Code(409, "The plan is not the one that was looked at", "look at the approval again, then decide"),
    "policy_denied": Code(403, "Policy denies it", "read `reason` and `run.policy.needs`"),
    "possible_duplicate": Code(409, "The same was just done under another key", "send `repeat: true` if it is meant"),
    "quantity_exceeds": Code(422, "More of a line than is left of it", "ask for less"),
    "rate_limited": Code(429, "A limit is used up", _WAIT),
    "refundable_unknown": Code(409, "Nothing says what was taken", "sync the payment, then try again"),
    "refused": Code(403, "Policy or a scope says no", "read `reason` and `next_actions`"),
    "restoring": Code(503, "The databases are being restored", _WAIT),
    "several_items": Code(422, "The subscription has several items", "name one with `item`"),
    "stopping": Code(503, "The worker is stopping", "the next sync goes on from there"),
    "step_not_begun": Code(409, "A step was not begun, for the one before it failed", "see the first step's error"),
    "subscription_ended": Code(409, "The subscription has ended", "make a new one"),
    "sync_running": Code(409, "This connection is being synced", _WAIT),
    "temporary": Code(503, "Not now", _WAIT),
    "ticket_closed": Code(409, "The ticket is closed for good", "open a new one"),
    "too_large": Code(413, "The body is too large", _FIX),
    "too_late": Code(503, "It took too long until it could be sent, so it was not", "ask anew under a new key"),
    "too_recent": Code(503, "Asked again too soon", _WAIT),
    "unauthorized": Code(401, "Credentials are not accepted", "send a valid key; 502: a system refuses the hub's"),
    "unknown": Code(502, "Sent, and the answer was lost", "do not repeat it; look the run up after `check_after_ms`"),
    "unknown_action": Code(404, "There is no such action", "see GET /v1/actions"),
    "unknown_connection": Code(404, "There is no such connection", "see GET /v1/connections"),
    "unknown_item": Code(422, "The order has no such line", "name one that `detail` lists"),
    "unknown_stream": Code(422, "No mapping has this stream", "name one of the mapping's streams"),
    "unsupported": Code(422, "This connection cannot do that", "use another connection or action"),
    "usage": Code(422, "The command line is wrong (CLI only)", "see `--help`"),
    "version_conflict": Code(409, "The record changed since it was read", _AGAIN),
    "visibility_not_assured": Code(422, "Nothing assures that the note stays internal", "use another action"),
    "visibility_not_writable": Code(422, "The mapping cannot say who may read the message", "change the mapping file"),
    "webhook_malformed": Code(400, "The body of a webhook cannot be read", "see the hub's log"),
    "webhook_refused": Code(401, "The signature of a webhook is not accepted", "check the secret and the clocks"),
    "wrong_encoding": Code(422, "A file has another encoding than configured", "change `encoding`"),
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
        "Plugins may add codes of their own; their status and `retryable` say what kind they are.",
        "",
        "| code | status | meaning | what to do |",
        "|-|-|-|-|",
    ]
    lines += [f"| `{name}` | {code.status} | {code.title} | {code.next} |" for name, code in sorted(CODES.items())]
    return "\n".join(lines) + "\n"
