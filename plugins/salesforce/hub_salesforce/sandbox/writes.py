"""Writes to the sandbox's org: single records, upserts, and composite requests that are all or none."""

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

from hub_salesforce.sandbox.fill import API_USER, Rows, one, stamp
from hub_salesforce.sandbox.shapes import Shape
from hub_salesforce.sandbox.soql import Refusal, Row

_SOBJECT = re.compile(r"/services/data/v[0-9.]+/sobjects/(?P<name>\w+)/?(?P<rest>[^?]*)")
_STORE_LIMIT = {"CommentBody": 4000}
_ONE_OF_A_KIND = {"Topic": ("Name",), "TopicAssignment": ("TopicId", "EntityId")}
Answer = tuple[int, Any]


@dataclass
class Writer:
    """Changes the org's rows as the REST API would. `now` tells the org's time, which never stands still."""

    shapes: dict[str, Shape]
    rows: Rows
    now: Callable[[], datetime]
    effect: Callable[..., None]

    def send(self, method: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        """Carry out one write to /sobjects. Raises Refusal."""
        found = _SOBJECT.fullmatch(path)
        if found is None:
            raise Refusal("NOT_FOUND", "The requested resource does not exist", 404)
        shape = self._shape(found["name"])
        rest = [unquote(part) for part in found["rest"].split("/") if part]
        if method == "POST" and not rest:
            made = self.create(shape, body)
            return 201, {"id": made["Id"], "success": True, "errors": []}
        if method == "PATCH" and len(rest) == 2:
            return self._upsert(shape, rest[0], rest[1], body)
        if method == "PATCH" and len(rest) == 1:
            self.update(shape, self.row(shape, rest[0]), body, headers)
            return 204, None
        if method == "DELETE" and len(rest) == 1:
            self.delete(shape, self.row(shape, rest[0]))
            return 204, None
        raise Refusal("METHOD_NOT_ALLOWED", f"HTTP Method '{method}' not allowed.", 405)

    def composite(self, asked: Mapping[str, Any]) -> Answer:
        """Carry out several writes in order; with allOrNone a failure undoes them all."""
        before = copy.deepcopy(self.rows)
        answers: list[dict[str, Any]] = []
        made: dict[str, Any] = {}
        for part in asked["compositeRequest"]:
            try:
                body = _filled(part.get("body") or {}, made)
                status, told = self.send(part["method"], part["url"], body, part.get("httpHeaders") or {})
            except Refusal as refused:
                status, told = refused.status, refused.body
            made[part["referenceId"]] = told
            answers.append(
                {"body": told, "httpHeaders": {}, "httpStatusCode": status, "referenceId": part["referenceId"]}
            )
        if asked.get("allOrNone") and any(answer["httpStatusCode"] >= 300 for answer in answers):
            for name, rows in before.items():
                self.rows[name].clear()
                self.rows[name].update(rows)
            answers = [answer if answer["httpStatusCode"] >= 300 else _halted(answer) for answer in answers]
        return 200, {"compositeResponse": answers}

    def create(self, shape: Shape, body: Mapping[str, Any]) -> Row:
        """Add a row with the org's defaults."""
        self._check(shape, body, new=True)
        lacking = [c.name for c in shape.columns.values() if c.required and body.get(c.name) in (None, "")]
        if lacking:
            names = ", ".join(lacking)
            raise Refusal("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{names}]", fields=tuple(lacking))
        self._new(shape, body)
        number, at = 10_000_000 + sum(len(rows) for rows in self.rows.values()), stamp(self.now())
        row: Row = {c.name: False if c.type == "boolean" else None for c in shape.columns.values()}
        stamps = dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), at)
        row |= {**stamps, "CreatedById": API_USER, "LastModifiedById": API_USER, "OwnerId": API_USER}
        row |= {"Id": one(shape.name, number), **_defaults(shape.name, number), **body}
        row = {name: value for name, value in row.items() if name in shape.columns}
        self.rows[shape.name][row["Id"]] = _derived(shape.name, row, at)
        self.effect(f"create {shape.name} {row['Id']}{_visible(shape.name, row)}", sobject=shape.name, id=row["Id"])
        return row

    def _new(self, shape: Shape, body: Mapping[str, Any]) -> None:
        """Refuse a second topic of a name (case does not matter), and a second assignment of one to a record."""
        columns = _ONE_OF_A_KIND.get(shape.name)
        if columns is None:
            return
        wanted = [str(body.get(name)).casefold() for name in columns]
        for row in self.rows[shape.name].values():
            if [str(row[name]).casefold() for name in columns] == wanted and not row.get("IsDeleted"):
                raise Refusal("DUPLICATE_VALUE", f"duplicate value found: {', '.join(columns)}", fields=columns)

    def update(self, shape: Shape, row: Row, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Set columns of a row. Refuses where it changed since If-Unmodified-Since."""
        since = {name.lower(): value for name, value in headers.items()}.get("if-unmodified-since")
        if since and datetime.fromisoformat(row["SystemModstamp"]) > parsedate_to_datetime(since):
            raise Refusal("PRECONDITION_FAILED", "The record changed since the given time.", 412)
        self._check(shape, body, new=False)
        at = stamp(self.now())
        row |= {**body, "SystemModstamp": at, "LastModifiedDate": at, "LastModifiedById": API_USER}
        _derived(shape.name, row, at)
        self.effect(f"update {shape.name} {row['Id']}", sobject=shape.name, id=row["Id"], fields=sorted(body))

    def delete(self, shape: Shape, row: Row) -> None:
        """Put a row into the recycle bin; an sObject without one refuses."""
        if "IsDeleted" not in shape.columns:
            raise Refusal("INSUFFICIENT_ACCESS_OR_READONLY", "entity type cannot be deleted", 400)
        at = stamp(self.now())
        row |= {"IsDeleted": True, "SystemModstamp": at, "LastModifiedDate": at}
        self.effect(f"delete {shape.name} {row['Id']}", sobject=shape.name, id=row["Id"])

    def merge(self, shape: Shape, winner: Row, loser: Row) -> None:
        """Delete the loser in favour of the winner, and hang on the winner what referred to it."""
        at = stamp(self.now())
        loser |= {"IsDeleted": True, "MasterRecordId": winner["Id"], "SystemModstamp": at, "LastModifiedDate": at}
        winner["SystemModstamp"] = at
        for other in self.shapes.values():
            for column in (c.name for c in other.columns.values() if shape.name in c.targets):
                for row in self.rows[other.name].values():
                    if row.get(column) == loser["Id"] and column != "MasterRecordId":
                        row |= {column: winner["Id"], "SystemModstamp": at}
        self.effect(f"merge {shape.name} {loser['Id']}", sobject=shape.name, id=loser["Id"], into=winner["Id"])

    def undelete(self, shape: Shape, remote_id: str) -> None:
        """Take a row out of the recycle bin again."""
        at = stamp(self.now())
        back = {"IsDeleted": False, "SystemModstamp": at, "LastModifiedDate": at}
        self.rows[shape.name][remote_id] |= back | (
            {"MasterRecordId": None} if "MasterRecordId" in shape.columns else {}
        )

    def row(self, shape: Shape, remote_id: str) -> Row:
        """Give a row by its id of 15 or 18 characters. Raises Refusal."""
        found = next((row for key, row in self.rows[shape.name].items() if key[:15] == remote_id[:15]), None)
        if found is None:
            raise Refusal("NOT_FOUND", "The requested resource does not exist", 404)
        if found.get("IsDeleted"):
            raise Refusal("ENTITY_IS_DELETED", "entity is deleted", 404)
        return found

    def _upsert(self, shape: Shape, column: str, value: str, body: Mapping[str, Any]) -> Answer:
        key = shape.columns.get(column)
        if key is None or not key.unique:
            message = f"Provided external ID field does not exist or is not accessible: {column}"
            raise Refusal("NOT_FOUND", message, 404)
        found = [row for row in self.rows[shape.name].values() if row.get(column) == value and not row.get("IsDeleted")]
        if found:
            self.update(shape, found[0], body, {})
            return 200, {"id": found[0]["Id"], "success": True, "errors": [], "created": False}
        made = self.create(shape, {**body, column: value})
        return 201, {"id": made["Id"], "success": True, "errors": [], "created": True}

    def _shape(self, name: str) -> Shape:
        if name not in self.shapes:
            raise Refusal("NOT_FOUND", "The requested resource does not exist", 404)
        return self.shapes[name]

    def _check(self, shape: Shape, body: Mapping[str, Any], *, new: bool) -> None:
        for name, value in body.items():
            column = shape.columns.get(name)
            if column is None:
                raise Refusal("INVALID_FIELD", f"No such column '{name}' on sobject of type {shape.name}")
            if not (column.createable if new else column.updateable):
                message = f"Unable to create/update fields: {name}. Please check the security settings of this field"
                raise Refusal("INVALID_FIELD_FOR_INSERT_UPDATE", message, fields=(name,))
            self._fits(shape, name, value)

    def _fits(self, shape: Shape, name: str, value: Any) -> None:
        column = shape.columns[name]
        if not isinstance(value, str):
            return
        size = len(value.encode()) if name in _STORE_LIMIT else len(value)
        most = _STORE_LIMIT.get(name, column.length)
        if most and size > most:
            message = f"{name}: data value too large: (max length={most})"
            raise Refusal("STRING_TOO_LONG", message, fields=(name,))
        targets = [t for t in column.targets if t in self.rows]
        if column.type == "reference" and targets and not any(value in self.rows[t] for t in targets):
            message = f"{name}: id value of incorrect type or of no record"
            raise Refusal("INVALID_CROSS_REFERENCE_KEY", message, fields=(name,))


def clock(start: datetime) -> Callable[[], datetime]:
    """Make the org's clock: never before `start`, and each reading later than the one before."""
    last = start

    def now() -> datetime:
        nonlocal last
        last = max(last + timedelta(seconds=1), datetime.now(UTC).replace(microsecond=0))
        return last

    return now


def _filled(body: Any, made: Mapping[str, Any]) -> Any:
    """Put in what earlier parts of a composite request answered: `@{case.id}`."""
    if isinstance(body, dict):
        return {name: _filled(value, made) for name, value in body.items()}
    found = re.fullmatch(r"@\{(\w+)\.(\w+)\}", body) if isinstance(body, str) else None
    if found is None:
        return body
    told = made.get(found[1])
    if not isinstance(told, dict):
        raise Refusal("PROCESSING_HALTED", "The transaction was rolled back since another operation failed.")
    return told[found[2]]


def _halted(answer: dict[str, Any]) -> dict[str, Any]:
    message = "The transaction was rolled back since another operation in the same transaction failed."
    body = [{"errorCode": "PROCESSING_HALTED", "message": message}]
    return {**answer, "body": body, "httpStatusCode": 400}


def _visible(sobject: str, row: Row) -> str:
    if sobject != "CaseComment":
        return ""
    return f" on {row['ParentId']} {'public' if row['IsPublished'] else 'internal'}"


def _defaults(sobject: str, number: int) -> Row:
    if sobject == "Case":
        return {"Status": "New", "CaseNumber": f"{number:08d}", "Priority": "Medium", "Origin": None}
    return {"Status": "Draft", "StatusCode": "Draft", "OrderNumber": f"{number:08d}"} if sobject == "Order" else {}


def _derived(sobject: str, row: Row, at: str) -> Row:
    if sobject == "Case":
        closed = row["Status"] == "Closed"
        row["ClosedDate"] = (row["ClosedDate"] or at) if closed else None
        row["IsClosed"] = closed
    if sobject == "Contact":
        row["Name"] = " ".join(filter(None, (row["FirstName"], row["LastName"])))
    return row
