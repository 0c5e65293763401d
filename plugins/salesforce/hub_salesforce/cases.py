"""Open cases and comment on them."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from hub import (
    Absent,
    Call,
    CannotTell,
    Effect,
    Found,
    HubError,
    Invalid,
    NotFound,
    Outcome,
    Refused,
    Temporary,
    Unsupported,
)
from hub_salesforce.client import ID, valid_id
from hub_salesforce.errors import details, judged
from hub_salesforce.records import current, same, target_of, unchanged_since, writable
from hub_salesforce.schema import Org
from hub_salesforce.soql import Select, moment

COMMENT_BYTES = 4000
"""How long a comment may be: bytes of UTF-8, not characters."""
LOOK_BACK = timedelta(hours=24)
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,254}")
_VISIBLE = "IsPublished"
_TEXT = "CommentBody"


def create(org: Org, call: Call) -> Outcome:
    """
    Create a case by upsert on the run's key, with its first comment, in one request that does both or neither.

    Raises Unsupported where the org has no field for the key.
    """
    column = key_column(org)
    if isinstance(found := find_create(org, call), Found):
        return found.outcome
    case, comment = _new_case(org, call)
    root = org.client.root()
    parts = [
        {
            "method": "PATCH",
            "url": f"{root}sobjects/Case/{column}/{quote(_key(call))}",
            "referenceId": "case",
            "body": case,
        },
        {
            "method": "POST",
            "url": f"{root}sobjects/CaseComment",
            "referenceId": "comment",
            "body": {"ParentId": "@{case.id}", **comment},
        },
    ]
    answers = all_or_none(org, parts, "create Case")
    made = [_made(answer) for answer in answers]
    return _created({"Id": made[0], **case}, {"Id": made[1], **comment})


def find_create(org: Org, call: Call) -> Found | Absent | CannotTell:
    """Look for the case by the run's key; case and comment came together or not at all."""
    column = key_column(org)
    soql = Select(org.schema.get("Case"), ("Id",), (("CaseComments", ("Id",)),)).text(f"{column} = '{_key(call)}'")
    rows = org.client.query(soql, "query Case")
    if not rows:
        return Absent()
    comments = (rows[0].get("CaseComments") or {}).get("records") or [{}]
    case, comment = call.parts.get("ticket", call.fields), call.parts.get("message", {})
    return Found(_created({"Id": rows[0]["Id"], **case}, {"Id": comments[0].get("Id"), **comment}))


def key_column(org: Org) -> str:
    """Give the column of Case that holds the hub's key. Raises Unsupported where it is not as it must be."""
    name = org.client.config.external_id_field
    column = org.schema.get("Case").columns.get(name)
    if column is None or not (column.externalId and column.unique):
        raise Unsupported(
            f"Salesforce: Case has no unique external id {name}; create a Text(255) field of that name on Case with "
            "External ID and Unique set, and let this user edit it",
            code="external_id_missing",
        )
    return name


def comment(org: Org, call: Call, *, public: bool) -> Outcome:
    """Add a comment to the case, and set fields of the case along with it where that is asked for."""
    case_id = target_of(call).remote_id
    body = _comment(org, call, public=public)
    change = dict(call.parts.get("ticket", {}))
    if change:
        return _comment_and_change(org, call, body, change)
    if call.expected_version is not None:
        unchanged_since(current(org, "Case", case_id, columns=()), call.expected_version)
    response = org.client.write("POST", "sobjects/CaseComment", {"ParentId": case_id, **body}, "create CaseComment")
    made = _made({"body": response.json()})
    return _commented(made, body, case_id)


def _comment_and_change(org: Org, call: Call, body: Mapping[str, Any], change: Mapping[str, Any]) -> Outcome:
    case_id, root = target_of(call).remote_id, org.client.root()
    fields = writable(org, "Case", change)
    now = current(org, "Case", case_id, columns=tuple(fields))
    update: dict[str, Any] = {
        "method": "PATCH",
        "url": f"{root}sobjects/Case/{case_id}",
        "referenceId": "case",
        "body": fields,
    }
    if headers := unchanged_since(now, call.expected_version):
        update["httpHeaders"] = headers
    add = {
        "method": "POST",
        "url": f"{root}sobjects/CaseComment",
        "referenceId": "comment",
        "body": {"ParentId": case_id, **body},
    }
    answers = all_or_none(org, [update, add], "create CaseComment")
    done = _commented(_made(answers[1]), body, case_id)
    return _with_case(done, call, before={name: now.get(name) for name in fields})


def _with_case(done: Outcome, call: Call, before: Mapping[str, Any] | None = None) -> Outcome:
    """Add to a comment's outcome what was set on its case along with it."""
    change = dict(call.parts.get("ticket", {}))
    if not change:
        return done
    case_id = target_of(call).remote_id
    effect = Effect("Case", case_id, "update", before, change)
    return Outcome((*done.effects, effect), (*done.touched, ("Case", case_id)))


def find_comment(org: Org, call: Call, *, public: bool) -> Found | Absent | CannotTell:
    """
    Look for exactly one comment with this text, by this user, of late.

    A comment has no field for a key. One like it is taken for it; none proves nothing, for the request may still be
    under way, and a trigger may have changed the text.
    """
    case_id = target_of(call).remote_id
    body = _comment(org, call, public=public)
    user = _own_user(org)
    if user is None:
        return CannotTell("Salesforce does not say which user this connection is")
    since = moment(datetime.now(UTC) - LOOK_BACK)
    where = f"ParentId = '{case_id}' AND CreatedById = '{user}' AND CreatedDate >= {since}"
    soql = Select(org.schema.get("CaseComment"), ("Id", _TEXT, _VISIBLE)).text(where, "CreatedDate DESC, Id DESC")
    rows = org.client.query(f"{soql} LIMIT 200", "query CaseComment")
    like = [row for row in rows if row[_VISIBLE] is public and same(row[_TEXT], body.get(_TEXT))]
    if len(like) == 1 and not _status_missing(org, call):
        return Found(_with_case(_commented(like[0]["Id"], body, case_id), call))
    return CannotTell(f"{len(like)} comments of late have this text; which of them is this one cannot be told")


def _status_missing(org: Org, call: Call) -> bool:
    change = call.parts.get("ticket", {})
    if not change:
        return False
    now = current(org, "Case", target_of(call).remote_id, columns=tuple(change))
    return not all(same(now.get(name), value) for name, value in change.items())


def _comment(org: Org, call: Call, *, public: bool) -> dict[str, Any]:
    """Give a comment's body. Fails closed: unless the words say exactly the wanted visibility, nothing is sent."""
    body = writable(org, "CaseComment", call.parts.get("message", call.fields), new=True)
    if body.get(_VISIBLE) is not public:
        wanted = "public" if public else "internal"
        text = f"Salesforce: the mapping does not make this comment {wanted} ({_VISIBLE}); nothing was sent"
        raise Refused(text, code="visibility_not_said")
    _fits(body)
    return body


def _fits(body: Mapping[str, Any]) -> None:
    size = len(str(body.get(_TEXT) or "").encode())
    if size > COMMENT_BYTES:
        text = f"Salesforce: a comment holds {COMMENT_BYTES} bytes of UTF-8; this one has {size}"
        raise Invalid(text, code="too_long", field_path="input.body")


def _new_case(org: Org, call: Call) -> tuple[dict[str, Any], dict[str, Any]]:
    target = target_of(call)
    comment = writable(org, "CaseComment", call.parts.get("message", {}), new=True)
    if not isinstance(comment.get(_VISIBLE), bool):
        raise Refused(f"Salesforce: the mapping does not say {_VISIBLE}; nothing was sent", code="visibility_not_said")
    _fits(comment)
    case = {**writable(org, "Case", call.parts.get("ticket", call.fields), new=True), **_whose(org, call)}
    if comment[_VISIBLE] and "Description" not in case:
        case["Description"] = comment.get(_TEXT)
    if target.stream not in ("Contact", "Account"):
        raise Unsupported(f"Salesforce: a case belongs to a Contact or an Account, not to a {target.stream}")
    return case, comment


def _whose(org: Org, call: Call) -> dict[str, Any]:
    """Name whom a case belongs to; a contact brings its account along."""
    target = target_of(call)
    if target.stream != "Contact":
        return {"AccountId": target.remote_id, **_shadow(org, target.remote_id)}
    now = current(org, "Contact", target.remote_id, columns=("AccountId",))
    account = {"AccountId": now["AccountId"]} if now.get("AccountId") else {}
    return {"ContactId": target.remote_id, **account}


def _shadow(org: Org, account: str) -> dict[str, Any]:
    """Name the contact that stands for a person account."""
    if "PersonContactId" not in org.schema.get("Account").columns:
        return {}
    shadow = current(org, "Account", account, columns=("PersonContactId",)).get("PersonContactId")
    return {"ContactId": shadow} if shadow else {}


def _key(call: Call) -> str:
    if not _KEY.fullmatch(call.key):
        raise Invalid("Salesforce: a key has letters, digits and - _ . : only", code="invalid_key")
    return call.key


def _own_user(org: Org) -> str | None:
    try:
        user = org.client.value("/services/oauth2/userinfo", "userinfo").get("user_id")
    except (NotFound, Invalid):
        return None
    return user if isinstance(user, str) and ID.fullmatch(user) else None


def all_or_none(org: Org, parts: Sequence[Mapping[str, Any]], what: str) -> list[dict[str, Any]]:
    """Send several writes as one that is carried out whole or not at all. Raises what the first failure means."""
    response = org.client.write("POST", "composite", {"allOrNone": True, "compositeRequest": list(parts)}, what)
    answers: list[dict[str, Any]] = response.json()["compositeResponse"]
    failed = [answer for answer in answers if answer["httpStatusCode"] >= 300]
    if failed:
        raise _why(failed, what)
    return answers


def _why(failed: Sequence[Mapping[str, Any]], what: str) -> HubError:
    """The others of a failed request were only halted; the one with an error of its own tells why."""
    own = [one for one in failed if details(one["body"])[0] != "PROCESSING_HALTED"] or list(failed)
    return judged(own[0]["httpStatusCode"], own[0]["body"], what)


def _made(answer: Mapping[str, Any]) -> str:
    body = answer.get("body")
    made = body.get("id") if isinstance(body, dict) else None
    if not isinstance(made, str):
        raise Temporary("Salesforce: the answer to a write does not name the record")
    return valid_id(made)


def _commented(comment_id: str, body: Mapping[str, Any], case_id: str) -> Outcome:
    after = {"ParentId": case_id, **body}
    return Outcome((Effect("CaseComment", comment_id, "create", None, after),), (("CaseComment", comment_id),))


def _created(case: Mapping[str, Any], comment: Mapping[str, Any]) -> Outcome:
    rows = [(name, row) for name, row in (("Case", case), ("CaseComment", comment)) if row.get("Id")]
    effects = [
        Effect(name, row["Id"], "create", None, {k: v for k, v in row.items() if k != "Id"}) for name, row in rows
    ]
    return Outcome(tuple(effects), tuple((name, row["Id"]) for name, row in rows))
