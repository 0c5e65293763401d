"""Webhooks of the sandbox: events as an account's event webhooks tell them, signed as Zendesk signs."""

import uuid
from datetime import UTC, datetime
from typing import Any

from hub.sandbox import Deliveries
from hub_zendesk.events import signature

ACCOUNT = 12514403
VERSION = "2022-11-06"
_NAMED = ("created_at", "updated_at", "external_id", "organization_id")


def stamp_now() -> str:
    """Give the time as the header of a webhook has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def event(number: int, noun: str, what: str, record: dict[str, Any], at: str) -> dict[str, Any]:
    """Make an event about a record; ids are texts in it, and little of the record is told."""
    name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"zen:event:{number}"))
    detail = {key: record.get(key) for key in _NAMED} | {"id": str(record["id"])}
    return {
        "type": f"zen:event-type:{noun}.{what}", "account_id": ACCOUNT, "id": name, "time": at,
        "zendesk_event_version": VERSION, "subject": f"zen:{noun}:{record['id']}", "detail": detail, "event": {},
    }  # fmt: skip


class ZendeskDeliveries(Deliveries):
    """Zendesk's webhooks."""

    def headers(self, body: bytes) -> dict[str, str]:
        at = stamp_now()
        return {
            "X-Zendesk-Webhook-Signature": signature(self.secret, at, body),
            "X-Zendesk-Webhook-Signature-Timestamp": at,
        }
