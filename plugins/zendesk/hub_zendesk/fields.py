"""The fields of each stream: the account's own as Zendesk describes them, the rest as recorded."""

from typing import Any

import msgspec

from hub import Field, NotFound, Unauthorized
from hub_zendesk.client import Client, decode

_STATUS = ("new", "open", "pending", "hold", "solved", "closed", "deleted")
_FIELDS: dict[str, str] = {
    "tickets": """
        id:integer url:string external_id:string! via:object created_at:time updated_at:time type:enum! subject:string!
        raw_subject:string! description:string priority:enum! status:enum! recipient:string requester_id:integer!
        submitter_id:integer assignee_id:integer! organization_id:integer! group_id:integer! collaborator_ids:list!
        follower_ids:list! email_cc_ids:list! forum_topic_id:integer problem_id:integer! has_incidents:boolean
        is_public:boolean due_at:time! tags:list! custom_fields:list! satisfaction_rating:object
        sharing_agreement_ids:list custom_status_id:integer! fields:list followup_ids:list ticket_form_id:integer!
        brand_id:integer! allow_channelback:boolean allow_attachments:boolean from_messaging_channel:boolean
        generated_timestamp:integer metric_set:object""",
    "users": """
        id:integer url:string name:string! email:string created_at:time updated_at:time time_zone:string!
        iana_time_zone:string phone:string! shared_phone_number:boolean photo:object locale_id:integer! locale:string!
        organization_id:integer! role:enum! verified:boolean! external_id:string! tags:list! alias:string!
        active:boolean shared:boolean shared_agent:boolean last_login_at:time two_factor_auth_enabled:boolean
        signature:string! details:string! notes:string! role_type:integer custom_role_id:integer! moderator:boolean!
        ticket_restriction:string! only_private_comments:boolean! restricted_agent:boolean! suspended:boolean!
        default_group_id:integer! report_csv:boolean user_fields:object! permanently_deleted:boolean""",
    "organizations": """
        id:integer url:string name:string! shared_tickets:boolean! shared_comments:boolean! external_id:string!
        created_at:time updated_at:time deleted_at:time domain_names:list! details:string! notes:string!
        group_id:integer! tags:list! organization_fields:object!""",
    "comments": """
        id:integer type:string event_type:string author_id:integer! body:string! html_body:string! plain_body:string
        public:boolean! attachments:list audit_id:integer via:object via_reference_id:integer created_at:time
        metadata:object uploads:list! ticket_id:integer author_role:enum""",
}
_ENUMS = {
    ("tickets", "status"): _STATUS,
    ("tickets", "priority"): ("low", "normal", "high", "urgent"),
    ("tickets", "type"): ("problem", "incident", "question", "task"),
    ("users", "role"): ("end-user", "agent", "admin"),
    ("comments", "author_role"): ("end-user", "agent", "system"),
}
_OWN = {"tickets": "ticket_fields", "users": "user_fields", "organizations": "organization_fields"}


class _Described(msgspec.Struct):
    id: int
    type: str | None = None
    key: str | None = None
    removable: bool = True
    custom_field_options: list[dict[str, Any]] | None = None


def describe(client: Client, stream: str) -> list[Field]:
    """Name the fields of a stream; without leave to read the account's own, only those that all accounts have."""
    known = [_field(stream, word) for word in _FIELDS.get(stream, "").split()]
    listing = _OWN.get(stream)
    return known + (_own(client, stream, listing) if listing else [])


def _field(stream: str, word: str) -> Field:
    name, _, kind = word.partition(":")
    writable = kind.endswith("!")
    return Field(name, kind.rstrip("!"), _ENUMS.get((stream, name), ()), writable=writable)


def _own(client: Client, stream: str, listing: str) -> list[Field]:
    found: list[Field] = []
    try:
        for body in client.pages(f"/{listing}.json"):
            page = decode(body, dict[str, msgspec.Raw], f"/api/v2/{listing}")
            rows = decode(bytes(page.get(listing, b"[]")), list[_Described], f"/api/v2/{listing}")
            found += [_custom(stream, listing, row) for row in rows if stream != "tickets" or row.removable]
    except NotFound:
        return []
    except Unauthorized as exc:
        if exc.error_code != "forbidden":
            raise
        return []
    return found


def _custom(stream: str, listing: str, row: _Described) -> Field:
    name = f"custom_fields[id={row.id}].value" if stream == "tickets" else f"{listing}.{row.key}"
    values = tuple(str(option.get("value")) for option in row.custom_field_options or [])
    return Field(name, row.type or "text", values, writable=True, custom=True)
