"""Bodies as Zendesk writes them. `EVIDENCE` says where each shape is known from."""

import html
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from hub.sandbox import Comment, Company, Person, Staff, Ticket

SITE = "https://acme.zendesk.com"
METRICS = 8_000_000_000_000
EVIDENCE: dict[str, tuple[str, str]] = {
    "ticket": ("recording", "GET /incremental/tickets/cursor, POST and PUT /tickets; spec TicketObject"),
    "user": ("recording", "GET /incremental/users/cursor, POST /users; spec UserForAdmin"),
    "organization": ("recording", "GET /organizations; spec OrganizationObject"),
    "comment": ("recording", "GET /tickets/{id}/comments"),
    "audit": ("recording", "GET /ticket_audits, POST and PUT /tickets"),
    "cursor export": ("recording", "GET /incremental/{tickets,users}/cursor"),
    "time export": ("recording", "GET /incremental/{tickets,users}; spec ExportIncrementalOrganizationsResponse"),
    "cursor paging": ("recording", "GET /tickets/{id}/comments, /users, /organizations"),
    "show_many": ("recording", "GET /{tickets,users,organizations}/show_many"),
    "ticket_field": ("recording", "POST /ticket_fields"),
    "user_field": ("recording", "POST /user_fields"),
    "organization_field": ("recording", "POST /organization_fields"),
    "404 RecordNotFound": ("recording", "PUT and DELETE of ids that are not there"),
    "ticket_event": ("SDK type", "zenpy TicketEvent; its comment children: spec, /incremental/ticket_events"),
    "CommentPrivacyChange": ("SDK type", "zenpy CommentPrivacyChangeEvent"),
    "event of a redaction": ("UNPROVEN", "any event that names a comment makes it be read anew"),
    "metric_set of a ticket": ("spec", "TicketMetricObject; that the side-load puts it into the ticket: UNPROVEN"),
    "deleted_ticket": ("spec", "ListDeletedTicketsResponse"),
    "deleted_user": ("spec", "DeletedUserObject"),
    "upload of a file, uploads of a comment": ("spec", "POST /uploads: AttachmentUploadResponse; TicketCommentObject"),
    "422 of an upload": ("UNPROVEN", ""),
    "metadata of an update": ("spec", "TicketObject.metadata (write only), AuditObject.metadata.custom"),
    "safe_update, updated_stamp": ("spec", "TicketUpdateInput; that a mismatch answers 409"),
    "make_private": ("spec", "PUT /tickets/{id}/comments/{id}/make_private"),
    "users/search": ("spec", "GET /users/search"),
    "identities of a user": ("spec", "GET /users/{id}/identities; UserIdentityObject"),
    "identity added, made primary": ("spec", "POST /users/{id}/identities, PUT …/{identity}/make_primary"),
    "users/create_or_update": ("spec", "POST /users/create_or_update; UserCreateInput"),
    "422 of an address that another user has": ("UNPROVEN", ""),
    "merge of two users": ("spec", "PUT /users/{id}/merge; what moves: Zendesk's guide"),
    "what the export shows of a merge": ("UNPROVEN", "the merged user is not active any more, as a deleted one"),
    "tickets requested by a user": ("SDK type", "zenpy users.requested"),
    "organization.deleted_at in the export": ("UNPROVEN", "told by Zendesk's guide only"),
    "body of 401": ("UNPROVEN", ""),
    "body of 403": ("UNPROVEN", ""),
    "body of 409": ("UNPROVEN", ""),
    "body of 422 RecordInvalid": ("UNPROVEN", ""),
    "429 with Retry-After": ("UNPROVEN", ""),
    "Idempotency-Key on ticket create": ("UNPROVEN", "told by Zendesk's guide and client libraries only"),
    "refusal of a start_time of the last minute": ("UNPROVEN", ""),
    "event of a webhook": ("UNPROVEN", "envelope as Zendesk's guide tells it; which events a change raises is a guess"),
    "signature of a webhook": (
        "UNPROVEN",
        "timestamp + body, as Zendesk's guide has it today; an older copy says otherwise",
    ),
}
_ZONES = {
    "Europe/Berlin": "Berlin", "Europe/Paris": "Paris", "Europe/London": "London",
    "America/Chicago": "Central Time (US & Canada)", "Asia/Tokyo": "Osaka",
}  # fmt: skip


def stamp(moment: datetime) -> str:
    """Write a time as Zendesk does: seconds, UTC, Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def user_id(n: int) -> int:
    return 6130900000026 + 128 * n


def staff_id(n: int) -> int:
    return 6130800000026 + 128 * n


def organization_id(n: int) -> int:
    return 6130700000026 + 128 * n


def comment_id(n: int) -> int:
    return 33140000000019 + 256 * n


def ticket_id(n: int) -> int:
    return 1000 + n


def via(channel: str) -> dict[str, Any]:
    return {"channel": channel, "source": {"from": {}, "to": {}, "rel": None}}


def user(one: int, name: str, email: str | None, created: str, **more: Any) -> dict[str, Any]:
    """Give a user as admins see them."""
    return {
        "id": one, "url": f"{SITE}/api/v2/users/{one}.json", "name": name, "email": email, "created_at": created,
        "updated_at": created, "time_zone": "Berlin", "iana_time_zone": "Europe/Berlin", "phone": None,
        "shared_phone_number": None, "photo": None, "locale_id": 1, "locale": "en-US", "organization_id": None,
        "role": "end-user", "verified": False, "external_id": None, "tags": [], "alias": None, "active": True,
        "shared": False, "shared_agent": False, "last_login_at": None, "two_factor_auth_enabled": None,
        "signature": None, "details": None, "notes": None, "role_type": None, "custom_role_id": None,
        "moderator": False, "ticket_restriction": "requested", "only_private_comments": False,
        "restricted_agent": True, "suspended": False, "default_group_id": None, "report_csv": False,
        "user_fields": {}, **more,
    }  # fmt: skip


def customer(person: Person, email: str | None) -> dict[str, Any]:
    zone = person.place[7]
    return user(
        user_id(person.n), person.name_in("zendesk"), email, stamp(person.created),
        updated_at=stamp(person.updated), phone=person.phone, locale=person.place[6], iana_time_zone=zone,
        time_zone=_ZONES.get(zone, zone), external_id=None if person.n % 5 == 2 else person.number,
        organization_id=organization_id(person.company.n) if person.company else None,
        verified=person.n % 3 != 0, tags=["vip"] if person.vip else [], suspended=person.n % 41 == 7,
    )  # fmt: skip


def agent(staff: Staff, created: datetime) -> dict[str, Any]:
    role = "admin" if staff.n == 1 else "agent"
    return user(
        staff_id(staff.n), staff.name, staff.email, stamp(created), role=role, verified=True, moderator=True,
        ticket_restriction=None, restricted_agent=False, role_type=4 if role == "admin" else None,
        custom_role_id=6130869137434 if role == "admin" else None, default_group_id=6130852536346, report_csv=True,
        last_login_at=stamp(created),
    )  # fmt: skip


def organization(company: Company) -> dict[str, Any]:
    one = organization_id(company.n)
    return {
        "url": f"{SITE}/api/v2/organizations/{one}.json", "id": one, "name": company.name, "shared_tickets": False,
        "shared_comments": False, "external_id": company.number, "created_at": stamp(company.created),
        "updated_at": stamp(company.created), "domain_names": [company.domain], "details": None,
        "notes": "Key account" if company.n % 7 == 0 else None, "group_id": None, "tags": [],
        "organization_fields": {"tier": "gold" if company.n % 7 == 0 else None},
    }  # fmt: skip


def ticket(one: int, created: str, **more: Any) -> dict[str, Any]:
    """Give a ticket as the exports have it."""
    return {
        "url": f"{SITE}/api/v2/tickets/{one}.json", "id": one, "external_id": None, "via": via("api"),
        "created_at": created, "updated_at": created, "type": None, "subject": None, "raw_subject": None,
        "description": None, "priority": None, "status": "new", "recipient": None, "requester_id": None,
        "submitter_id": None, "assignee_id": None, "organization_id": None, "group_id": None, "collaborator_ids": [],
        "follower_ids": [], "email_cc_ids": [], "forum_topic_id": None, "problem_id": None, "has_incidents": False,
        "is_public": True, "due_at": None, "tags": [], "custom_fields": [], "satisfaction_rating": None,
        "sharing_agreement_ids": [], "custom_status_id": 6130830355738, "fields": [], "followup_ids": [],
        "ticket_form_id": 6130830344474, "brand_id": 6130830354842, "allow_channelback": False,
        "allow_attachments": True, "from_messaging_channel": False, **more,
    }  # fmt: skip


def metric_set(ticket: dict[str, Any], comments: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Give what a side-load of metric sets puts into a ticket: when it was answered and solved."""
    public = [c for c in comments if c["public"] and c["author_id"] != ticket["requester_id"]]
    replied = min((epoch(c["created_at"]) for c in public), default=None)
    minutes = None if replied is None else (replied - epoch(ticket["created_at"])) // 60
    done = ticket["updated_at"] if ticket["status"] in ("solved", "closed") else None
    return {
        "id": ticket["id"] + METRICS, "ticket_id": ticket["id"], "created_at": ticket["created_at"],
        "updated_at": ticket["updated_at"], "replies": len(public), "reopens": 0, "solved_at": done,
        "reply_time_in_minutes": {"calendar": minutes, "business": minutes},
    }  # fmt: skip


def known_ticket(told: Ticket) -> dict[str, Any]:
    person, order = told.person, told.order
    fields = [{"id": ORDER_FIELD, "value": order.number if order else None}]
    rating = {"id": 9000 + told.n, "score": "good", "comment": "Thank you"} if told.status == "closed" else None
    return ticket(
        ticket_id(told.n), stamp(told.created), updated_at=stamp(told.updated), via=via(told.channel),
        type=told.type, subject=told.subject, raw_subject=told.subject, description=told.comments[0].text,
        priority=told.priority, status=told.status, requester_id=user_id(person.n), submitter_id=user_id(person.n),
        assignee_id=None if told.status == "new" else staff_id(told.staff.n), group_id=6130852536346,
        organization_id=organization_id(person.company.n) if person.company else None, custom_fields=fields,
        fields=fields, tags=["order"] if order else [], satisfaction_rating=rating,
        due_at=stamp(told.updated) if told.type == "task" else None,
    )  # fmt: skip


ORDER_FIELD = 26155630658963


def comment(one: int, author: int, body: str, public: bool, at: str, **more: Any) -> dict[str, Any]:
    """Give a comment as a ticket's own list has it."""
    text = "".join(f'<p dir="auto">{html.escape(part)}</p>' for part in body.split("\n\n"))
    return {
        "id": one, "type": "Comment", "author_id": author, "body": body,
        "html_body": f'<div class="zd-comment" dir="auto">{text}</div>', "plain_body": body, "public": public,
        "attachments": [], "audit_id": one - 128, "via": via("api"), "created_at": at,
        "metadata": {"system": {}, "custom": {}}, **more,
    }  # fmt: skip


def known_comment(told: Ticket, one: Comment) -> dict[str, Any]:
    author = user_id(told.person.n) if one.by == "customer" else staff_id(told.staff.n)
    return comment(comment_id(one.n), author, one.text, one.public, stamp(one.at), via=via(told.channel))


def audit(one: int, ticket: int, author: int, at: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": one, "ticket_id": ticket, "created_at": at, "author_id": author,
        "metadata": {"system": {}, "custom": {}}, "events": events, "via": via("api"),
    }  # fmt: skip


def comment_event(told: dict[str, Any]) -> dict[str, Any]:
    """Give a comment as audits list it among their events."""
    return {k: told[k] for k in told if k not in ("via", "created_at", "metadata")}


def ticket_event(audit: dict[str, Any], comments: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Give an audit as the ticket events export has it, with the comments as they are now."""
    children = []
    for event in audit["events"]:
        now = comments.get(event["id"]) if event["type"] == "Comment" else None
        told = {k: v for k, v in now.items() if k != "metadata"} if now else event
        children.append({**told, "via_reference_id": None, "event_type": event["type"]})
    return {
        "id": audit["id"], "ticket_id": audit["ticket_id"], "timestamp": epoch(audit["created_at"]),
        "created_at": audit["created_at"], "updater_id": audit["author_id"], "via": "Web service",
        "system": {}, "metadata": audit["metadata"]["custom"], "event_type": "Audit", "child_events": children,
    }  # fmt: skip


def ticket_field(one: int, kind: str, title: str, *, removable: bool) -> dict[str, Any]:
    return {
        "url": f"{SITE}/api/v2/ticket_fields/{one}.json", "id": one, "type": kind, "title": title, "raw_title": title,
        "description": title, "raw_description": title, "position": 9999, "active": True, "required": False,
        "collapsed_for_agents": False, "regexp_for_validation": None, "title_in_portal": title,
        "raw_title_in_portal": title, "visible_in_portal": False, "editable_in_portal": False,
        "required_in_portal": False, "tag": None, "created_at": "2025-11-01T08:00:00Z",
        "updated_at": "2025-11-01T08:00:00Z", "removable": removable, "key": None, "agent_description": None,
    }  # fmt: skip


def identities(user: int, addresses: list[str]) -> list[dict[str, Any]]:
    """Give the e-mail identities of a user."""
    return [
        {
            "url": f"{SITE}/api/v2/users/{user}/identities/{user + n}.json", "id": user + n, "user_id": user,
            "type": "email", "value": address, "verified": True, "primary": n == 0,
            "created_at": "2025-11-01T08:00:00Z", "updated_at": "2025-11-01T08:00:00Z",
            "undeliverable_count": 0, "deliverable_state": "deliverable",
        }
        for n, address in enumerate(addresses)
    ]  # fmt: skip


def own_field(sort: str, one: int, key: str, title: str) -> dict[str, Any]:
    """Give a field of users or organizations."""
    return {
        "url": f"{SITE}/api/v2/{sort}/{one}.json", "id": one, "type": "text", "key": key, "title": title,
        "raw_title": title, "description": title, "raw_description": title, "position": 1, "active": True,
        "system": False, "regexp_for_validation": None, "created_at": "2025-11-01T08:00:00Z",
        "updated_at": "2025-11-01T08:00:00Z",
    }  # fmt: skip
