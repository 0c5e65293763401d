"""
A plugin of one file, as a third party would write it, and as small as one that syncs and acts can be.

Tests put this folder on the path: the metadata beside it makes it an installed distribution.
"""

import json
from collections.abc import Iterator
from typing import Any

import requests
from pydantic import SecretStr

from hub import (
    Action,
    Call,
    Checked,
    Connector,
    ConnectorConfig,
    Effect,
    Invalid,
    NotSent,
    Outcome,
    Page,
    PaymentRefund,
    Stream,
    Temporary,
    TicketReply,
    Unauthorized,
    Unknown,
    act,
    fetch,
    hookimpl,
    pull,
    was_sent,
)
from hub.sandbox import Request, Response, Sandbox, route

MAPPING = """
[people]
kind = "customer"
key = "id"
updated_at = "updated"
[people.fields]
display_name = "name"
email = { from = "mail", as = "email" }
external_ref = "number"

[payments]
kind = "payment"
key = "id"
updated_at = "updated"
[payments.fields]
customer_ref = { ref = "people", from = "person" }
amount = { money = "cents", currency = "currency", unit = "minor" }
amount_refunded = { money = "refunded", currency = "currency", unit = "minor" }
refundable_amount = { money = "left", currency = "currency", unit = "minor" }
currency = "currency"
status = { from = "state", values = { paid = "succeeded", open = "pending" }, otherwise = "unknown" }

[tickets]
kind = "ticket"
key = "id"
updated_at = "updated"
[tickets.fields]
subject = "title"
status = { from = "state", values = { open = "open", closed = "closed" }, otherwise = "unknown" }
customer_ref = { ref = "people", from = "person" }

[notes]
kind = "message"
key = "id"
updated_at = "updated"
writable = ["body_text", "visibility"]
[notes.fields]
ticket_ref = { ref = "tickets", from = "ticket" }
body_text = "text"
visibility = { from = "public", values = { true = "public", false = "internal" }, otherwise = "internal" }

[notes.write.visibility]
to = "public"
values = { public = true, internal = false }

[refunds]
kind = "refund"
key = "id"
updated_at = "updated"
writable = ["amount", "reason"]
[refunds.fields]
payment_ref = { ref = "payments", from = "payment" }
amount = { money = "cents", currency = "currency", unit = "minor" }
reason = { from = "why", values = { asked = "requested_by_customer", other = "other" }, otherwise = "other" }
[refunds.write.reason]
to = "why"
values = { requested_by_customer = "asked", other = "other" }
"""


class MarketConfig(ConnectorConfig):
    """The whole of what Market needs."""

    token: SecretStr


class MarketConnector(Connector):
    """Speaks to Market, a system that does not exist."""

    name = "market"
    Config = MarketConfig
    sandbox = "hub_market:MarketSandbox"
    mapping = MAPPING

    @classmethod
    def hosts(cls, config: Any) -> tuple[str, ...]:
        return ("market.example",)

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.config.token.get_secret_value()}", **more.pop("headers", {})}
        try:
            answer = self.transport.request(method, f"https://market.example{path}", headers=headers, **more)
        except requests.RequestException as exc:
            lost = method != "GET" and was_sent(exc)
            raise (Unknown if lost else NotSent)(f"{method} {path}: no answer") from exc
        if answer.status_code == 401:
            raise Unauthorized("Market does not accept the token")
        if answer.status_code >= 500:
            raise Temporary(f"{method} {path}: {answer.status_code}")
        if answer.status_code >= 400:
            raise Invalid(f"{method} {path}: {answer.status_code}")
        return answer

    def check(self) -> Checked:
        self._ask("GET", "/me")
        return Checked(account="market-1", live=False, api_version="1")

    @pull("*")
    def everything(self, stream: Stream, cursor: str | None) -> Iterator[Page]:
        while True:
            answer = self._ask("GET", f"/{stream.name}", params={"after": cursor} if cursor else None)
            following = answer.json()["next"]
            yield Page(body=answer.content, at="data", cursor=following)
            if not following:
                return
            cursor = following

    @fetch("*")
    def some(self, stream: Stream, ids: list[str]) -> Page:
        found = [self._ask("GET", f"/{stream.name}/{remote_id}").json() for remote_id in ids]
        return Page(records=found)

    @act(TicketReply, idempotency="marker")
    def reply(self, action: Action, call: Call) -> Outcome:
        sent = {"ticket": call.target.remote_id, **call.fields} if call.target else dict(call.fields)
        made = self._ask("POST", "/notes", json=sent).json()
        return Outcome([Effect("note", made["id"], "create")], [("notes", made["id"])])

    @act(PaymentRefund, idempotency="native")
    def refund(self, action: Action, call: Call) -> Outcome:
        sent = {"payment": call.target.remote_id, **call.fields} if call.target else dict(call.fields)
        made = self._ask("POST", "/refunds", json=sent, headers={"Idempotency-Key": call.key}).json()
        touched = [("refunds", made["id"]), ("payments", made["payment"])]
        return Outcome([Effect("refund", made["id"], "create", after={"cents": made["cents"]})], touched)


class MarketSandbox(Sandbox):
    """Imitates Market: ten records a page, native keys on refunds."""

    name = "market"
    token = "market-token"
    page = 10

    def fill(self) -> None:
        people = [
            {
                "id": f"p{p.n}",
                "name": p.name,
                "mail": p.email_in("legacy"),
                "number": p.number,
                "updated": _time(p.updated),
            }
            for p in self.world.people
        ]
        payments = [
            {
                "id": f"pay{p.n}",
                "person": f"p{p.order.person.n}",
                "cents": p.amount_minor,
                "refunded": 0,
                "left": p.amount_minor,
                "currency": p.order.currency,
                "state": "paid",
                "updated": _time(p.created),
            }
            for p in self.world.payments
        ]
        tickets = [
            {
                "id": f"t{t.n}",
                "person": f"p{t.person.n}",
                "title": t.subject,
                "state": "open",
                "updated": _time(t.updated),
            }
            for t in self.world.tickets
        ]
        self.rows: dict[str, list[dict[str, Any]]] = {
            "people": people,
            "payments": payments,
            "tickets": tickets,
            "notes": [],
            "refunds": [],
        }
        self.answers: dict[str, Any] = {}

    def settings(self) -> dict[str, Any]:
        return {"connector": "market", "base_url": self.url, "token": self.token}

    def authorized(self, request: Request) -> Response | None:
        fine = request.headers.get("authorization") == f"Bearer {self.token}"
        return None if fine else Response({"error": "who are you?"}, 401)

    @route("GET", r"/me")
    def me(self, request: Request) -> Any:
        return {"account": "market-1"}

    @route("GET", r"/(?P<stream>people|payments|tickets|notes|refunds)")
    def many(self, request: Request) -> Any:
        rows, start = self.rows[request.args["stream"]], int(request.arg("after", "0"))
        following = start + self.page
        return {"data": rows[start:following], "next": str(following) if following < len(rows) else None}

    @route("GET", r"/(?P<stream>people|payments|tickets|notes|refunds)/(?P<id>\w+)")
    def one(self, request: Request) -> Any:
        found = [row for row in self.rows[request.args["stream"]] if row["id"] == request.args["id"]]
        return found[0] if found else Response({"error": "gone"}, 404)

    @route("POST", r"/notes")
    def note(self, request: Request) -> Any:
        made = {"id": f"n{len(self.rows['notes']) + 1}", "updated": "2026-11-02T00:00:00Z", **request.json()}
        self.rows["notes"].append(made)
        request.effect(f"note {made['ticket']}", id=made["id"], public=made.get("public"))
        return made

    @route("POST", r"/refunds")
    def refund(self, request: Request) -> Any:
        key = request.headers.get("idempotency-key", "")
        if key in self.answers:
            return self.answers[key]
        asked = request.json()
        payment = next(row for row in self.rows["payments"] if row["id"] == asked["payment"])
        if asked["cents"] > payment["left"]:
            return Response({"error": "too much"}, 400)
        payment["refunded"] += asked["cents"]
        payment["left"] -= asked["cents"]
        payment["updated"] = "2026-11-02T00:00:00Z"
        made = {
            "id": f"r{len(self.rows['refunds']) + 1}",
            "currency": payment["currency"],
            "updated": payment["updated"],
        }
        made |= asked
        self.rows["refunds"].append(made)
        self.answers[key] = json.loads(json.dumps(made))
        request.effect(f"refund {asked['payment']}", id=made["id"], cents=asked["cents"])
        return made


def _time(moment: Any) -> str:
    return str(moment.strftime("%Y-%m-%dT%H:%M:%SZ"))


@hookimpl
def hub_connectors() -> list[type[Connector]]:
    return [MarketConnector]
