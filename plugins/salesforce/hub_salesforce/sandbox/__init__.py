"""An imitation of a Salesforce org: REST, SOQL, describe, log-in, with state and a ledger."""

import base64
import binascii
import html
import json
import re
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import parse_qs

from hub.sandbox import Entry, Request, Response, Sandbox, SchemaChange, World, route
from hub.sandbox.world import NOW
from hub_salesforce.sandbox import shapes
from hub_salesforce.sandbox.fill import API_USER, Filler
from hub_salesforce.sandbox.shapes import Column
from hub_salesforce.sandbox.soql import Engine, Refusal, Row
from hub_salesforce.sandbox.writes import Writer, clock

_API = r"/services/data/v(?P<version>[0-9]+\.[0-9])/"
_BATCH = re.compile(r"batchSize=(\d+)")


class SalesforceSandbox(Sandbox):
    """
    One org. `person_accounts` and `multi_currency` are features an org has or has not.

    `batch` makes pages smaller than Salesforce would, `nested_batch` those of subqueries.
    """

    name = "salesforce"
    instance: ClassVar[str] = "deskhub.my.salesforce.com"
    version: ClassVar[str] = "61.0"
    session_id: ClassVar[str] = "00DHb000000000A!sandbox.session"
    quota: int = 100_000

    def __init__(
        self,
        world: World | None = None,
        *,
        port: int = 0,
        person_accounts: bool = True,
        multi_currency: bool = True,
    ) -> None:
        self.person_accounts = person_accounts
        self.multi_currency = multi_currency
        self.batch: int | None = None
        self.nested_batch = 200
        super().__init__(world, port=port)

    def fill(self) -> None:
        self.shapes = shapes.org(person_accounts=self.person_accounts, multi_currency=self.multi_currency)
        self.rows = Filler(self.world, self.shapes).fill()
        self.sessions = {self.session_id}
        self.logins = {"ops@acme.example": "sandbox-password" + "sandbox-token"}
        self.apps = {"sandbox-client": "sandbox-client-secret"}
        self.used = 0
        self._results: dict[str, list[Row]] = {}
        self._entry: Entry | None = None
        self._marks: list[tuple[str, dict[str, Any]]] = []
        self.engine = Engine(self.shapes, self.rows, self.version)
        self.writer = Writer(self.shapes, self.rows, clock(NOW), self._effect)

    def settings(self) -> dict[str, Any]:
        return {
            "connector": self.name,
            "base_url": self.url,
            "instance": self.instance,
            "session_id": self.session_id,
            "api_version": self.version,
        }

    def drop_field(self, sobject: str, name: str) -> None:
        """Take a field out of the org, as an administrator would."""
        with self.lock:
            self.shapes[sobject].columns.pop(name)

    def schema(self, change: SchemaChange) -> bool:
        with self.lock:
            columns = self.shapes[change.stream].columns
            if change.do == "remove":
                return columns.pop(change.name, None) is not None
            old = columns.get(change.name, Column(change.name, change.type, updateable=True, createable=True))
            if change.do == "value":
                columns[change.name] = replace(old, values=(*old.values, *change.values))
            else:
                columns[change.name] = replace(old, type=change.type, values=tuple(change.values) or old.values)
        return True

    def drop_sobject(self, sobject: str) -> None:
        """Take a whole sObject out of this user's sight."""
        with self.lock:
            self.shapes.pop(sobject)

    def delete(self, sobject: str, remote_id: str) -> None:
        """Delete a record by hand."""
        with self.lock:
            shape = self.shapes[sobject]
            self.writer.delete(shape, self.writer.row(shape, remote_id))

    def merge(self, sobject: str, winner: str, loser: str) -> None:
        """Merge a record into another by hand."""
        with self.lock:
            shape = self.shapes[sobject]
            self.writer.merge(shape, self.writer.row(shape, winner), self.writer.row(shape, loser))

    def undelete(self, sobject: str, remote_id: str) -> None:
        """Take a record out of the recycle bin by hand."""
        with self.lock:
            self.writer.undelete(self.shapes[sobject], remote_id)

    def change(self, sobject: str, remote_id: str, **values: Any) -> None:
        """Change a record by hand."""
        with self.lock:
            shape = self.shapes[sobject]
            self.writer.update(shape, self.writer.row(shape, remote_id), values, {})

    def expire_sessions(self) -> None:
        """End all sessions, as a time-out would."""
        with self.lock:
            self.sessions.clear()

    def admin(self, request: Request) -> Response:
        """Answer /_sandbox/…; POST /_sandbox/expire ends all sessions."""
        if request.path == "/_sandbox/expire" and request.method == "POST":
            self.expire_sessions()
            return Response({"ok": True})
        return super().admin(request)

    def expire_queries(self) -> None:
        """Forget the rest of every query, as Salesforce does after a while."""
        with self.lock:
            self._results.clear()

    def authorized(self, request: Request) -> Response | None:
        if request.path.startswith(("/services/Soap/u/", "/services/oauth2/token")):
            return None
        if request.headers.get("authorization", "").removeprefix("Bearer ") in self.sessions:
            return None
        return _errors(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def answer(self, request: Request) -> Response:
        with self.lock:
            self._marks = []
            response = super().answer(request)
            self.used += 1
            response.headers["Sforce-Limit-Info"] = f"api-usage={self.used}/{self.quota}"
            if self._marks and response.status < 300 and request.entry is not None:
                request.effect("; ".join(intent for intent, _ in self._marks), changes=[d for _, d in self._marks])
            return response

    def not_found(self, request: Request) -> Response:
        return _errors(404, "NOT_FOUND", "The requested resource does not exist")

    def failed(self, request: Request, status: int) -> Response:
        if status in (403, 429):
            return _errors(status, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        return _errors(status, "SERVER_UNAVAILABLE" if status == 503 else "UNKNOWN_EXCEPTION", "An error occurred")

    def _effect(self, intent: str, **details: Any) -> None:
        self._marks.append((intent, details))

    @route("GET", _API + r"(?P<endpoint>query|queryAll)/?")
    def query(self, request: Request) -> Response:
        try:
            records = self.engine.run(request.arg("q"), deleted=request.args["endpoint"] == "queryAll")
        except Refusal as refused:
            return Response(refused.body, refused.status)
        return Response(self._page(records, self._batch_of(request), len(records)))

    @route("GET", _API + r"(query|queryAll)/(?P<locator>[A-Za-z0-9]+)-(?P<at>\d+)")
    def query_more(self, request: Request) -> Response:
        rest = self._results.pop(f"{request.args['locator']}-{request.args['at']}", None)
        if rest is None:
            return _errors(404, "INVALID_QUERY_LOCATOR", "invalid query locator")
        size = len(rest) + int(request.args["at"])
        return Response(
            self._page(rest, self._batch_of(request), size, int(request.args["at"]), request.args["locator"])
        )

    @route("GET", _API + r"sobjects/?")
    def all_sobjects(self, request: Request) -> Response:
        told = [shapes.summary(name, self.version) for name in self.shapes]
        return Response({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": told})

    @route("GET", _API + r"sobjects/(?P<name>\w+)/describe")
    def described(self, request: Request) -> Response:
        if request.args["name"] not in self.shapes:
            return self.not_found(request)
        return Response(shapes.describe(self.shapes, request.args["name"], self.version))

    @route("GET", _API + r"limits/?")
    def limits(self, request: Request) -> Response:
        return Response({"DailyApiRequests": {"Max": self.quota, "Remaining": self.quota - self.used}})

    @route("GET", _API + r"sobjects/(?P<name>\w+)/(?P<id>[A-Za-z0-9]{15,18})")
    def read(self, request: Request) -> Response:
        try:
            shape = self.engine.shape(request.args["name"])
            row = self.writer.row(shape, request.args["id"])
        except Refusal as refused:
            return Response(refused.body, 404)
        url = f"/services/data/v{self.version}/sobjects/{shape.name}/{row['Id']}"
        return Response({"attributes": {"type": shape.name, "url": url}, **row})

    @route("POST", _API + r"sobjects/\w+/?")
    @route("PATCH", _API + r"sobjects/\w+/.+")
    @route("DELETE", _API + r"sobjects/\w+/.+")
    def write(self, request: Request) -> Response:
        try:
            status, body = self.writer.send(request.method, request.path, request.json(), request.headers)
        except Refusal as refused:
            return Response(refused.body, refused.status)
        except json.JSONDecodeError:
            return _errors(400, "JSON_PARSER_ERROR", "The HTTP entity body is required, but this one is no JSON.")
        return Response(body, status)

    @route("POST", _API + r"composite/?")
    def composite(self, request: Request) -> Response:
        status, body = self.writer.composite(request.json())
        if any(part["httpStatusCode"] >= 300 for part in body["compositeResponse"]):
            self._marks = []
        return Response(body, status)

    @route("GET", r"/services/oauth2/userinfo")
    def userinfo(self, request: Request) -> Response:
        org = next(iter(self.rows["Organization"]))
        return Response({"user_id": API_USER, "organization_id": org, "active": True})

    @route("POST", r"/services/Soap/u/[0-9.]+")
    def soap_login(self, request: Request) -> Response:
        text = request.body.decode()
        user, word = (re.search(rf"<n1:{tag}>(.*?)</n1:{tag}>", text, re.S) for tag in ("username", "password"))
        if not user or not word or self.logins.get(html.unescape(user[1])) != html.unescape(word[1]):
            return _soap(500, _REFUSED)
        return _soap(200, _WELCOME.format(instance=self.instance, session=self._new_session()))

    @route("POST", r"/services/oauth2/token")
    def token(self, request: Request) -> Response:
        form = {name: values[-1] for name, values in parse_qs(request.body.decode()).items()}
        if form.get("grant_type") == "client_credentials":
            given = _basic(request) or (form.get("client_id", ""), form.get("client_secret", ""))
            fine = self.apps.get(given[0]) == given[1]
        else:
            fine = form.get("grant_type", "").endswith(":jwt-bearer") and form.get("assertion", "").count(".") == 2
        if not fine:
            return Response({"error": "invalid_grant", "error_description": "authentication failure"}, 400)
        return Response(
            {
                "access_token": self._new_session(),
                "instance_url": f"https://{self.instance}",
                "token_type": "Bearer",
                "issued_at": "1793534400000",
            }
        )

    def _new_session(self) -> str:
        session = f"00DHb000000000A!session.{len(self.sessions) + 1}"
        self.sessions.add(session)
        return session

    def _batch_of(self, request: Request) -> int:
        asked = _BATCH.search(request.headers.get("sforce-query-options", ""))
        return self.batch or min(max(int(asked[1]) if asked else 2000, 200), 2000)

    def _page(self, records: list[Row], size: int, total: int, at: int = 0, locator: str | None = None) -> Row:
        page, rest = records[:size], records[size:]
        told: Row = {"totalSize": total, "done": not rest}
        if rest:
            locator = locator or f"01gHb{len(self._results) + self.used:010d}"
            name = f"{locator}-{at + size}"
            self._results[name] = rest
            told["nextRecordsUrl"] = f"/services/data/v{self.version}/query/{name}"
        return {**told, "records": [self._with_children(row) for row in page]}

    def _with_children(self, row: Row) -> Row:
        """Put the answer's frame around each subquery's rows."""
        found = dict(row)
        for n, (name, value) in enumerate(row.items()):
            if isinstance(value, list):
                inner = f"{row['attributes']['url'].rpartition('/')[2]}{n}"
                found[name] = self._page(value, self.nested_batch, len(value), 0, inner)
        return found


_WELCOME = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope '
    'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns="urn:partner.soap.sforce.com"><soapenv:Body>'
    "<loginResponse><result><serverUrl>https://{instance}/services/Soap/u/61.0/00DHb000000000A</serverUrl>"
    "<sessionId>{session}</sessionId></result></loginResponse></soapenv:Body></soapenv:Envelope>"
)
_REFUSED = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope '
    'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:sf="urn:fault.partner.soap.sforce.com">'
    "<soapenv:Body><soapenv:Fault><faultcode>INVALID_LOGIN</faultcode><detail>"
    "<sf:LoginFault><sf:exceptionCode>INVALID_LOGIN</sf:exceptionCode><sf:exceptionMessage>Invalid username, "
    "password, security token; or user locked out.</sf:exceptionMessage></sf:LoginFault></detail>"
    "</soapenv:Fault></soapenv:Body></soapenv:Envelope>"
)


def _errors(status: int, code: str, message: str) -> Response:
    return Response([{"message": message, "errorCode": code}], status)


def _soap(status: int, body: str) -> Response:
    return Response(body, status, {"Content-Type": "text/xml; charset=utf-8"})


def _basic(request: Request) -> tuple[str, str] | None:
    given = request.headers.get("authorization", "")
    if not given.startswith("Basic "):
        return None
    try:
        user, _, word = base64.b64decode(given[6:]).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, word
