"""The sandbox's server: log-in, reads and writes as Zendesk answers them."""

import base64
import json
from typing import Any

from hub.sandbox import Request, Response, SchemaChange, route
from hub_zendesk.sandbox import shapes
from hub_zendesk.sandbox.exports import Exports
from hub_zendesk.sandbox.hooks import ZendeskDeliveries
from hub_zendesk.sandbox.paging import Record, listed, refusal
from hub_zendesk.sandbox.state import State
from hub_zendesk.sandbox.uploads import Uploads

EMAIL, TOKEN, OAUTH = "ops@acme.example", "sandbox-token", "sandbox-oauth"
WEBHOOK_SECRET = "sandbox-signing-secret"  # noqa: S105
_NOBODY = {"user": {"id": None, "name": "Anonymous user", "email": "invalid@example.com", "role": "end-user"}}
_FINAL = {"base": [{"description": "Status: closed prevents ticket update"}]}


class ZendeskSandbox(Exports, Uploads):
    """
    Zendesk Support on loopback.

    `export_size` is the page of the exports, `role` that of the token's owner. With `strict_times` a start_time of
    the last minute (by the sandbox's own clock) is refused and the last minute's changes are held back, as Zendesk
    does. With `cut_seconds` a page of a time-based export is never larger than `export_size`, whatever shares its last
    second. `state` holds all records and can be changed by hand; `hooks.url` set to a receiver makes every change a
    signed webhook.
    """

    name = "zendesk"
    role = "admin"
    own: dict[int, tuple[str, list[str]]]
    hooks: ZendeskDeliveries = ZendeskDeliveries(WEBHOOK_SECRET)

    def fill(self) -> None:
        self.state = State(self.world)
        self.own = {}
        self.hooks = ZendeskDeliveries(WEBHOOK_SECRET, url=self.hooks.url)

    def settings(self) -> dict[str, Any]:
        return {
            **super().settings(),
            "subdomain": "acme",
            "email": EMAIL,
            "token": TOKEN,
            "webhook_secret": WEBHOOK_SECRET,
        }

    def schema(self, change: SchemaChange) -> bool:
        if change.stream != "tickets" or not change.name.isdecimal():
            return False  # only the account's own fields of tickets, by their ids, can change
        with self.lock:
            one = int(change.name)
            if change.do == "remove":
                return self.own.pop(one, None) is not None
            kind, words = self.own.get(one, (change.type, []))
            self.own[one] = (kind if change.do == "value" else change.type, [*words, *change.values])
        return True

    def answer(self, request: Request) -> Response:
        with self.lock:
            before = len(self.state.events)
            response = super().answer(request)
            events = self.state.events[before:]
        if events and self.faulty("reorder_webhook", request):
            events = events[::-1]
        if events and self.faulty("duplicate_webhook", request):
            events = [event for event in events for _ in range(2)]
        self.hooks.send(events)
        return response

    @property
    def me(self) -> int:
        return shapes.staff_id(1)

    def authorized(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "")
        basic = base64.b64encode(f"{EMAIL}/token:{TOKEN}".encode()).decode()
        if given in (f"Basic {basic}", f"Bearer {OAUTH}"):
            return self._allowed(request)
        if not given and request.path == "/api/v2/users/me.json":
            return Response(_NOBODY)
        return Response({"error": "Couldn't authenticate you"}, 401)

    def _allowed(self, request: Request) -> Response | None:
        if "/incremental/" in request.path and self.role != "admin":
            body = {"error": {"title": "Forbidden", "message": "You do not have access to this page."}}
            return Response(body, 403)
        return None

    def throttled(self, request: Request) -> Response:
        body = {"error": "APIRateLimitExceeded", "description": "Number of allowed API requests per minute exceeded"}
        return Response(body, 429, {"Retry-After": "1"})

    def not_found(self, request: Request) -> Response:
        return refusal(404, "RecordNotFound", "Not found")

    @route("GET", r"/api/v2/users/me\.json")
    def who_am_i(self, request: Request) -> Any:
        return {"user": {**self.state.users[self.me], "role": self.role}}

    @route("GET", r"/api/v2/(?P<sort>tickets|users|organizations)/show_many(\.json)?")
    def show_many(self, request: Request) -> Any:
        ids = [int(one) for one in request.arg("ids").split(",") if one.isdigit()]
        if len(ids) > 100:
            return refusal(400, "TooManyValues", "Parameter ids cannot specify more than 100 values", max_count=100)
        rows = [row for one in ids if (row := self._row(request.args["sort"], one)) is not None]
        rows = self.measured(request, rows) if request.args["sort"] == "tickets" else rows
        return {request.args["sort"]: rows, "next_page": None, "previous_page": None, "count": len(rows)}

    @route("GET", r"/api/v2/(?P<sort>tickets|users|organizations)/(?P<id>\d+)(\.json)?")
    def show(self, request: Request) -> Any:
        row = self._row(request.args["sort"], int(request.args["id"]))
        return self.not_found(request) if row is None else {request.args["sort"][:-1]: row}

    def _row(self, sort: str, one: int) -> Record | None:
        """Give a record unless it is gone: deleted tickets, erased users and deleted organizations are."""
        rows = {"tickets": self.state.tickets, "users": self.state.users, "organizations": self.state.organizations}
        row = rows[sort].get(one)
        gone = row is None or row.get("status") == "deleted" or row.get("permanently_deleted") or row.get("deleted_at")
        return None if gone else row

    @route("GET", r"/api/v2/organizations(\.json)?")
    def organizations(self, request: Request) -> Response:
        rows = [row for row in self.state.organizations.values() if not row.get("deleted_at")]
        return listed(request, "organizations", rows)

    @route("GET", r"/api/v2/users(\.json)?")
    def users(self, request: Request) -> Response:
        roles = request.query.get("role[]", []) + request.query.get("role", [])
        rows = [u for u in self.state.users.values() if u["active"] and (not roles or u["role"] in roles)]
        return listed(request, "users", rows)

    @route("GET", r"/api/v2/users/search(\.json)?")
    def search_users(self, request: Request) -> Response:
        external, query = request.arg("external_id"), request.arg("query")
        field, _, value = query.partition(":")
        value = value.strip('"').lower()
        rows = [
            user
            for user in self.state.users.values()
            if (external and user["external_id"] == external)
            or (query and field == "phone" and str(user["phone"]) == value)
            or (query and field == "email" and value in map(str.lower, self.state.addresses(user["id"])))
        ]
        return listed(request, "users", rows)

    @route("GET", r"/api/v2/users/(?P<id>\d+)/identities(\.json)?")
    def identities(self, request: Request) -> Response:
        one = int(request.args["id"])
        if self._row("users", one) is None:
            return self.not_found(request)
        return listed(request, "identities", shapes.identities(one, self.state.addresses(one)))

    @route("POST", r"/api/v2/users/(?P<id>\d+)/identities(\.json)?")
    def add_identity(self, request: Request) -> Any:
        one, wanted = int(request.args["id"]), self._wanted(request, "identity")
        if self._row("users", one) is None:
            return self.not_found(request)
        address = str(wanted.get("value") or "").lower()
        if wanted.get("type") != "email" or "@" not in address or self.state.holder(address) is not None:
            details = {"value": [{"description": "Value is invalid or taken", "error": "DuplicateValue"}]}
            return refusal(422, "RecordInvalid", "Record validation errors", details=details)
        self.state.identities.setdefault(one, []).append(address)
        request.effect(f"identity of user {one}")
        made = shapes.identities(one, self.state.addresses(one))[-1]
        return Response({"identity": {**made, "verified": False}}, 201)

    @route("PUT", r"/api/v2/users/(?P<id>\d+)/identities/(?P<identity>\d+)/make_primary(\.json)?")
    def make_primary(self, request: Request) -> Any:
        one, identity = int(request.args["id"]), int(request.args["identity"])
        known = [] if self._row("users", one) is None else shapes.identities(one, self.state.addresses(one))
        meant = next((row["value"] for row in known if row["id"] == identity), None)
        if meant is None:
            return self.not_found(request)
        self.state.make_primary(one, meant)
        request.effect(f"primary of user {one}")
        return listed(request, "identities", shapes.identities(one, self.state.addresses(one)))

    @route("POST", r"/api/v2/users/create_or_update(\.json)?")
    def create_or_update_user(self, request: Request) -> Any:
        wanted = self._wanted(request, "user")
        number, email = str(wanted.get("external_id") or "").lower(), str(wanted.get("email") or "").lower()
        if not wanted.get("name"):
            details = {"name": [{"description": "Name: is too short", "error": "BlankValue"}]}
            return refusal(422, "RecordInvalid", "Record validation errors", details=details)
        users = self.state.users.values()
        known = next((u for u in users if number and str(u["external_id"] or "").lower() == number), None)
        if known is None and email and (holder := self.state.holder(email)) is not None:
            known = self.state.users[holder]
        user, new = self.state.put_user(wanted, known)
        request.effect(f"{'create' if new else 'update'} user {user['id']}", fields=sorted(wanted))
        return Response({"user": user}, 201 if new else 200)

    @route("GET", r"/api/v2/users/(?P<id>\d+)/tickets/requested(\.json)?")
    def requested(self, request: Request) -> Response:
        rows = [t for t in self.state.tickets.values() if t["requester_id"] == int(request.args["id"])]
        return listed(request, "tickets", sorted(rows, key=lambda t: -t["id"]))

    @route("GET", r"/api/v2/tickets/(?P<id>\d+)/comments(\.json)?")
    def comments(self, request: Request) -> Response:
        one = int(request.args["id"])
        if self._row("tickets", one) is None:
            return self.not_found(request)
        rows = list(self.state.comments[one].values())
        more: Record = {}
        if "users" in request.arg("include").split(","):
            authors = {row["author_id"] for row in rows}
            more["users"] = [user for one, user in self.state.users.items() if one in authors]
        return listed(request, "comments", rows, **more)

    @route("GET", r"/api/v2/tickets/(?P<id>\d+)/audits(\.json)?")
    def audits(self, request: Request) -> Response:
        one = int(request.args["id"])
        known = self._row("tickets", one) is not None
        return listed(request, "audits", self.state.audits[one]) if known else self.not_found(request)

    @route("GET", r"/api/v2/deleted_tickets(\.json)?")
    def deleted_tickets(self, request: Request) -> Response:
        newest = request.arg("sort_order") == "desc"
        key = "deleted_at" if request.arg("sort_by") == "deleted_at" else "id"
        rows = sorted(self.state.deleted.values(), key=lambda row: row[key], reverse=newest)
        return listed(request, "deleted_tickets", rows)

    @route("GET", r"/api/v2/deleted_users(\.json)?")
    def deleted_users(self, request: Request) -> Response:
        hidden = ("external_id", "notes", "details", "tags", "user_fields", "permanently_deleted")
        gone = [user for user in self.state.users.values() if not user["active"]]
        return listed(request, "deleted_users", [{k: v for k, v in u.items() if k not in hidden} for u in gone])

    @route("GET", r"/api/v2/ticket_fields(\.json)?")
    def ticket_fields(self, request: Request) -> Response:
        system = [
            ("subject", "Subject"),
            ("description", "Description"),
            ("status", "Status"),
            ("priority", "Priority"),
        ]
        rows = [shapes.ticket_field(34 + n, kind, title, removable=False) for n, (kind, title) in enumerate(system)]
        own = {shapes.ORDER_FIELD: ("text", list[str]())} | self.own
        for one, (kind, words) in own.items():
            row = shapes.ticket_field(one, kind, "Order number", removable=True)
            rows.append(row | ({"custom_field_options": [{"value": word} for word in words]} if words else {}))
        return listed(request, "ticket_fields", rows)

    @route("GET", r"/api/v2/(?P<sort>user_fields|organization_fields)(\.json)?")
    def own_fields(self, request: Request) -> Response:
        sort = request.args["sort"]
        return listed(request, sort, [shapes.own_field(sort, 71, "tier", "Tier")])

    @route("PUT", r"/api/v2/users/(?P<id>\d+)(\.json)?")
    def change_user(self, request: Request) -> Any:
        one = int(request.args["id"])
        if self._row("users", one) is None:
            return self.not_found(request)
        wanted = self._wanted(request, "user")
        if "name" in wanted and not wanted["name"]:
            details = {"name": [{"description": "Name: is too short", "error": "BlankValue"}]}
            return refusal(422, "RecordInvalid", "Record validation errors", details=details)
        user = self.state.users[one]
        user |= {k: v for k, v in wanted.items() if k in user and k not in ("id", "url", "email", "role")}
        user["updated_at"] = self.state.tick()
        self.state.happened("user", "details_changed", user)
        request.effect(f"update user {one}", fields=sorted(wanted))
        return {"user": user}

    @route("PUT", r"/api/v2/users/(?P<id>\d+)/merge(\.json)?")
    def merge_user(self, request: Request) -> Any:
        one, into = int(request.args["id"]), int(self._wanted(request, "user").get("id") or 0)
        users = [self._row("users", each) for each in (one, into)]
        if not all(user and user["active"] for user in users):
            return self.not_found(request)
        if one == into or any(user and user["role"] != "end-user" for user in users):
            return refusal(422, "RecordInvalid", "Record validation errors")
        self.state.merge_user(one, into)
        request.effect(f"merge user {one}", into=into)
        return {"user": self.state.users[into]}

    @route("POST", r"/api/v2/tickets(\.json)?")
    def create_ticket(self, request: Request) -> Any:
        key = request.headers.get("idempotency-key")
        if key and key in self.state.answers and not self.faulty("ignore_keys", request):
            body, answer = self.state.answers[key]
            if body != request.body:
                told = "Request parameters don't match the given idempotency key"
                return refusal(400, "IdempotentRequestError", told)
            return Response(answer, 201, {"x-idempotency-lookup": "hit"})
        wanted = self._wanted(request, "ticket")
        if not (wanted.get("comment") or {}).get("body") and not wanted.get("description"):
            details = {"base": [{"description": "Description: cannot be blank", "error": "BlankValue"}]}
            return refusal(422, "RecordInvalid", "Record validation errors", details=details)
        if wanted.get("requester_id") and self._row("users", int(wanted["requester_id"])) is None:
            details = {"requester": [{"description": "Requester: is not valid", "error": "InvalidValue"}]}
            return refusal(422, "RecordInvalid", "Record validation errors", details=details)
        made, audit = self.state.add_ticket(wanted, self.me)
        request.effect(f"create ticket {made['id']}", requester=made["requester_id"])
        answer = json.loads(json.dumps({"ticket": made, "audit": audit}))
        if key:
            self.state.answers[key] = request.body, answer
        return Response(answer, 201, {"x-idempotency-lookup": "miss"} if key else {})

    @route("PUT", r"/api/v2/tickets/(?P<id>\d+)(\.json)?")
    def change_ticket(self, request: Request) -> Any:
        one = int(request.args["id"])
        ticket = self._row("tickets", one)
        if ticket is None:
            return self.not_found(request)
        wanted = self._wanted(request, "ticket")
        if ticket["status"] == "closed":
            return refusal(422, "RecordInvalid", "Record validation errors", details=_FINAL)
        if str(wanted.get("safe_update")).lower() == "true" and wanted.get("updated_stamp") != ticket["updated_at"]:
            return refusal(409, "UpdateConflict", "The ticket was updated since it was read")
        if set((wanted.get("comment") or {}).get("uploads") or ()) - set(self.state.uploads):
            return refusal(422, "RecordInvalid", "Record validation errors")
        audit = self.state.change_ticket(one, wanted, self.me)
        said = wanted.get("comment")
        intent = f"set ticket {one}"
        if said:
            intent = f"{'reply to' if said.get('public', True) else 'note on'} ticket {one}"
        request.effect(intent, audit=audit["id"], public=said.get("public", True) if said else None)
        return {"ticket": ticket, "audit": audit}

    @route("PUT", r"/api/v2/tickets/(?P<id>\d+)/comments/(?P<comment>\d+)/make_private(\.json)?")
    def make_private(self, request: Request) -> Any:
        one, comment = int(request.args["id"]), int(request.args["comment"])
        if self._row("tickets", one) is None or comment not in self.state.comments[one]:
            return self.not_found(request)
        self.state.hide_comment(one, comment, self.me)
        request.effect(f"hide comment {comment}")
        return Response(None, 200)

    @route("DELETE", r"/api/v2/(?P<sort>tickets|users|organizations)/(?P<id>\d+)(\.json)?")
    def delete(self, request: Request) -> Any:
        sort, one = request.args["sort"], int(request.args["id"])
        if self._row(sort, one) is None:
            return self.not_found(request)
        request.effect(f"delete {sort[:-1]} {one}")
        if sort == "tickets":
            self.state.delete_ticket(one, self.me)
        elif sort == "organizations":
            self.state.delete_organization(one)
        else:
            self.state.delete_user(one)
            return {"user": self.state.users[one]}
        return Response(None, 204)

    @route("DELETE", r"/api/v2/deleted_users/(?P<id>\d+)(\.json)?")
    def erase(self, request: Request) -> Any:
        one = int(request.args["id"])
        if self.state.users.get(one, {"active": True})["active"]:
            return self.not_found(request)
        self.state.erase_user(one)
        request.effect(f"erase user {one}")
        return {"deleted_user": self.state.users[one]}

    @route("PUT", r"/api/v2/deleted_tickets/(?P<id>\d+)/restore(\.json)?")
    def restore(self, request: Request) -> Any:
        one = int(request.args["id"])
        if one not in self.state.deleted:
            return self.not_found(request)
        self.state.restore_ticket(one)
        request.effect(f"restore ticket {one}")
        return {}

    def _wanted(self, request: Request, name: str) -> Record:
        body = request.json()
        found = body.get(name) if isinstance(body, dict) else None
        return found if isinstance(found, dict) else {}
