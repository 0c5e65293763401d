"""
Webhooks of Zendesk: whether one is genuine, and what it names.

The signature is base64(HMAC-SHA256(secret, timestamp + body)). Only the account's event webhooks say in a known form
what happened; a webhook of a trigger has whatever body its author wrote, and names nothing here.
"""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from hub import Change, Invalid, Unauthorized

SIGNATURE = "x-zendesk-webhook-signature"
TIMESTAMP = "x-zendesk-webhook-signature-timestamp"
TOLERANCE_S = 300
STREAMS = {"ticket": "tickets", "user": "users", "organization": "organizations"}
_SUBJECT = re.compile(r"zen:(ticket|user|organization):([1-9][0-9]{0,18})")
_TYPE = re.compile(r"zen:event-type:(ticket|user|organization)\.([a-z_]+)")


class _Event(msgspec.Struct):
    """What an event webhook has, whatever happened."""

    type: str = ""
    id: str = ""
    subject: str = ""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Make the signature of a body as Zendesk makes it."""
    return base64.b64encode(hmac.new(secret.encode(), timestamp.encode() + body, hashlib.sha256).digest()).decode()


def verify(secret: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Raise Unauthorized unless the body was signed with this secret within the last five minutes."""
    given = {name.lower(): value for name, value in headers.items()}
    stamp = given.get(TIMESTAMP, "")
    expected = signature(secret, stamp, body).encode()
    genuine = hmac.compare_digest(expected, given.get(SIGNATURE, "").encode("utf-8", "replace"))
    if not genuine or not _recent(stamp):
        raise Unauthorized(
            "zendesk: a webhook without a valid signature of the last five minutes was refused; "
            "is webhook_secret this webhook's, and is the clock right?"
        )


def changes(body: bytes) -> list[Change]:
    """Name what an event says has changed. Raises Invalid if the body is no JSON object."""
    try:
        event = msgspec.json.decode(body, type=_Event)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Invalid("zendesk: the body of a webhook is no JSON object") from exc
    kind, subject = _TYPE.fullmatch(event.type), _SUBJECT.fullmatch(event.subject)
    if kind is None or subject is None or kind[1] != subject[1]:
        return []
    one, event_id = subject[2], event.id or None
    found = [Change(STREAMS[kind[1]], one, event_id, _gone(kind[1], kind[2]))]
    if kind[1] == "ticket" and ("comment" in kind[2] or kind[2] == "created"):
        found.append(Change("comments", one, event_id))
    return found


def _gone(noun: str, what: str) -> bool:
    """Say whether an event tells of a deletion; the fetch that follows has the last word."""
    return what in ("permanently_deleted", "soft_deleted") or (noun != "ticket" and what == "deleted")


def _recent(stamp: str) -> bool:
    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:
        return False
    moment = at if at.tzinfo else at.replace(tzinfo=UTC)
    return abs(time.time() - moment.timestamp()) <= TOLERANCE_S
