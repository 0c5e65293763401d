"""Tags of a case: Salesforce calls them topics, and keeps each tag of each record as an assignment of its own."""

from collections.abc import Iterable, Mapping
from typing import Any

from hub import Absent, Call, CannotTell, Effect, Found, Invalid, Outcome, Unsupported
from hub_salesforce.cases import all_or_none
from hub_salesforce.client import valid_id
from hub_salesforce.records import current, target_of, unchanged_since, writable
from hub_salesforce.schema import Org
from hub_salesforce.soql import Select, literal

MOST = 25
"""How many writes one composite request takes."""
_ASSIGNMENT = "TopicAssignment"


def tag(org: Org, call: Call) -> Outcome:
    """
    Add and take away topics of a case, in one request that does all or nothing; what is so already is left alone.

    Raises Unsupported where the org has no topics, Invalid for more changes than one request takes.
    """
    case_id = target_of(call).remote_id
    add, remove = _wanted(call)
    has = _assigned(org, case_id)
    if call.expected_version is not None:
        unchanged_since(current(org, "Case", case_id, columns=()), call.expected_version)
    parts = _parts(org, case_id, [name for key, name in add.items() if key not in has])
    parts += [_removal(org, has[key][1], number) for number, key in enumerate(remove) if key in has]
    if len(parts) > MOST:
        text = f"Salesforce: that takes {len(parts)} writes; one request takes {MOST}. Change fewer tags at a time"
        raise Invalid(text, field_path="input.add")
    if not parts:
        return Outcome((), (("Case", case_id),))
    all_or_none(org, parts, "tag Case")
    return _changed(case_id, has, add, remove)


def find_tag(org: Org, call: Call) -> Found | Absent | CannotTell:
    """Say whether the case has the topics, and no longer those to be taken away; doing it again does no harm."""
    case_id = target_of(call).remote_id
    add, remove = _wanted(call)
    has = _assigned(org, case_id)
    if set(add) <= set(has) and not set(remove) & set(has):
        return Found(_changed(case_id, {}, add, remove))
    return Absent()


def _wanted(call: Call) -> tuple[dict[str, str], dict[str, str]]:
    """Give the topics to add and to take away, each by its name without case: an org has one topic of a name."""
    return _by_key(call.input.get("add") or ()), _by_key(call.input.get("remove") or ())


def _by_key(names: Iterable[str]) -> dict[str, str]:
    return {str(name).casefold(): str(name) for name in names}


def _assigned(org: Org, case_id: str) -> dict[str, tuple[str, str]]:
    """Give (name, id of the assignment) of a case's topics, by the name without case."""
    found = org.schema.find(_ASSIGNMENT)
    if found is None or org.schema.find("Topic") is None:
        text = (
            "Salesforce: this org has no topics, or this user may not see them; turn them on for cases, or tag by hand"
        )
        raise Unsupported(text)
    soql = Select(found, ("Id", "TopicId", "Topic.Name")).text(f"EntityId = '{valid_id(case_id)}'")
    rows = org.client.query(f"{soql} LIMIT 200", f"query {_ASSIGNMENT}")
    named = ((str((row.get("Topic") or {}).get("Name") or ""), valid_id(row["Id"])) for row in rows)
    return {name.casefold(): (name, one) for name, one in named}


def _parts(org: Org, case_id: str, names: list[str]) -> list[dict[str, Any]]:
    """Plan the assignments, and before each the topic itself where the org has none of that name."""
    known = _known(org, names)
    root, parts = org.client.root(), []
    for number, name in enumerate(names):
        topic = known.get(name.casefold())
        if topic is None:
            body = writable(org, "Topic", {"Name": name}, new=True)
            parts.append(_write("POST", f"{root}sobjects/Topic", f"topic{number}", body))
        body = {"TopicId": topic or f"@{{topic{number}.id}}", "EntityId": case_id}
        body = writable(org, _ASSIGNMENT, body, new=True)
        parts.append(_write("POST", f"{root}sobjects/{_ASSIGNMENT}", f"assignment{number}", body))
    return parts


def _known(org: Org, names: list[str]) -> dict[str, str]:
    """Give the ids of the topics that the org has, by the name without case."""
    if not names:
        return {}
    where = f"Name IN ({', '.join(literal(name) for name in names)})"
    rows = org.client.query(Select(org.schema.get("Topic"), ("Id", "Name")).text(where), "query Topic")
    return {str(row["Name"]).casefold(): valid_id(row["Id"]) for row in rows}


def _removal(org: Org, assignment: str, number: int) -> dict[str, Any]:
    return _write("DELETE", f"{org.client.root()}sobjects/{_ASSIGNMENT}/{assignment}", f"removal{number}")


def _write(method: str, url: str, name: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"method": method, "url": url, "referenceId": name, **({"body": dict(body)} if body else {})}


def _changed(
    case_id: str, has: Mapping[str, tuple[str, str]], add: Mapping[str, str], remove: Mapping[str, str]
) -> Outcome:
    """Tell of the topics that were added or taken away; which there were before is told where that is known."""
    before = sorted(name for name, _ in has.values())
    kept = {key: name for key, (name, _) in has.items() if key not in remove}
    after = sorted({**add, **kept}.values())
    was = {"topics": before} if has else None
    return Outcome((Effect("Case", case_id, "update", was, {"topics": after}),), (("Case", case_id),))
