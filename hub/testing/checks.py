"""What every connector must hold, each as a function that raises AssertionError with the reason."""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from hub.actions import Action
from hub.connector import Absent, Found
from hub.errors import HubError, Invalid, MappingError, NotFound, Temporary, Unauthorized
from hub.perform.send import Failed, attempt
from hub.records import KINDS
from hub.sandbox import Request, Response
from hub.testing.case import Case
from hub.transport import Captured, capturing, watch

ODD_IDS = ("../../users/1", "https://elsewhere.example/x", "1/../2", "1?x=1", "%2e%2e", "a b", "1\n2", "")
WRITES = "^(POST|PUT|PATCH|DELETE) "
BROKEN = ("status:500", "status:503", "drop_before", "drop_after", "cut", "truncate", "html")


def names_the_account(case: Case) -> None:
    """check() says who we are."""
    assert case.connector.check().account, "check() gave no account"


def refuses_wrong_credentials(case: Case) -> None:
    """With credentials the vendor refuses, check and every pull raise Unauthorized; none ends as if all were well."""
    with pytest.raises(Unauthorized):
        case.connector.check()
    for stream in case.mapping.streams():
        with pytest.raises(Unauthorized):
            list(case.pull(stream))


def maps_all_it_pulls(case: Case) -> None:
    """Every stream has records and the default mapping rejects none."""
    for stream, pages in case.pulled.items():
        assert sum(p.mapped.read for p in pages), f"{stream}: nothing was read; the sandbox should know some"
        rejects = [r for p in pages for t in p.mapped.tables.values() for r in t.rejects]
        assert not rejects, f"{stream}: {len(rejects)} rejects, the first: {rejects[0]}"


def repeats_no_page(case: Case) -> None:
    """No page of a pull comes twice, no cursor either, and a full pull names each record once."""
    for stream, pages in case.pulled.items():
        cursors = [p.page.cursor for p in pages if p.page.cursor is not None]
        moved = [c for i, c in enumerate(cursors) if i == 0 or c != cursors[i - 1]]
        assert len(set(moved)) == len(moved), f"{stream}: a cursor came twice"
        digests = [d for p in pages if p.mapped.read and (d := _digest(p.page.body, p.page.records))]
        assert len(set(digests)) == len(digests), f"{stream}: a page came twice"


def resumes_from_any_cursor(case: Case) -> None:
    """From the cursor of any page a new pull gives all that followed it, with at most one page again."""
    for stream, pages in case.pulled.items():
        for n in sorted({0, len(pages) // 2, len(pages) - 1}):
            cursor = pages[n].page.cursor
            if cursor is None:
                continue
            rest = _keys(list(case.pull(stream, cursor)))
            wanted = _keys(pages[n + 1 :])
            assert wanted <= rest, f"{stream}: {len(wanted - rest)} records are lost after a resume at page {n + 1}"


def fetches_what_it_pulls(case: Case) -> None:
    """@fetch gives the same mapped record as the pull; an id that is not there comes back as deleted or not at all."""
    for stream in case.mapping.streams():
        method = case.connector.method("fetch", stream)
        if method is None:
            continue
        for table in case.mapping.tables_of(stream):
            known = {k[1]: v for k, v in case.bodies(case.mapping.tables[table].kind).items() if k[0] == table}
            wanted = list(known)[:3]
            if not wanted or case.mapping.tables[table].each:
                continue
            page = method(case.mapping.stream(stream), wanted)
            rows = case.mapping.map_page(stream, page).tables[table].rows
            got = {row.remote_id: json.loads(row.body) for row in rows}
            assert set(wanted) <= set(got), f"{stream}: fetch did not give {sorted(set(wanted) - set(got))}"
            for one in wanted:
                assert got[one] == known[one], f"{stream}: fetch and pull differ for {one}"


def refuses_odd_ids(case: Case) -> None:
    """An id with path or URL characters is refused before any request is made."""
    for stream in case.mapping.streams():
        method = case.connector.method("fetch", stream)
        if method is None:
            continue
        for odd in ODD_IDS:
            with _overheard(case) as asked, pytest.raises((Invalid, NotFound)):
                method(case.mapping.stream(stream), [odd])
            assert not asked, f"{stream}: the id {odd!r} reached the vendor"


def gets_past_a_bad_spell(case: Case) -> None:
    """A 429 and a 500 in the middle of a pull are waited out; the records are the same."""
    for stream, pages in case.pulled.items():
        case.sandbox.fault("GET ", "status:429")
        case.sandbox.fault("GET ", "status:500")
        assert _keys(list(case.pull(stream))) == _keys(pages), f"{stream}: a bad spell changed what is read"


def stops_at_a_page_that_is_none(case: Case) -> None:
    """HTML or half a page in place of JSON stops the pull with Temporary; nothing is taken for data."""
    for stream in case.mapping.streams():
        for fault in ("html", "truncate"):
            list(case.pull(stream))  # what a first request warms up (sign-in, describe) is not meant here
            case.sandbox.fault("GET ", fault, 20)
            try:
                with pytest.raises(Temporary):
                    list(case.pull(stream))
            finally:
                case.sandbox.faults.clear()


def sends_the_mappings_words(case: Case, renamed: Mapping[str, str] | None = None) -> None:
    """
    Each value that the mapping's write side made is in the request that goes out, under the mapping's name.

    `renamed` names those that the vendor wants under another one in some request.
    """
    for action in case.actions():
        made, call = case.call(action)
        request = _captured(case, action, made, call)
        if request is not None:
            for path, value in _leaves({"parts": call.parts}):
                names = {path[-1], (renamed or {}).get(path[-1], path[-1])}
                assert any(_contains(request, name, value) for name in names), (
                    f"{action.name}: {'.'.join(path[2:])} is not sent as the mapping says"
                )


def follows_an_edited_mapping(case: Case, old: str, new: str, action: type[Action], word: str) -> None:
    """After a user's edit of a write table (`old` → `new` in the TOML) the request names `word`."""
    made, call = case.call(action, mapping=case.remapped(old, new))
    request = _captured(case, action, made, call)
    assert word in json.dumps(request), f"{action.name}: the edited mapping is not followed"


def keeps_notes_internal(case: Case) -> None:
    """What ticket.note sends says internal in the vendor's words, and differs from what ticket.reply sends."""
    by_name = {action.name: action for action in case.actions()}
    for name, visibility in (("ticket.note", "internal"), ("ticket.reply", "public")):
        if name in by_name:
            made, call = case.call(by_name[name])
            request = _captured(case, by_name[name], made, call)
            words = case.mapping.write("message", {"visibility": visibility})
            for path, value in _leaves(words):
                assert _contains(request, path[-1], value), f"{name}: visibility is not sent"


def settles_a_lost_answer(case: Case, decisive: Mapping[str, str] | None = None) -> None:
    """
    When the effect happened and the answer was lost, nobody says it did not happen.

    `decisive` matches the request that an action of several has happened with.
    """
    for action in case.actions():
        if action.risk == "R0":
            continue
        made, call = case.call(action, key=f"hub-lost-{action.name}")
        before = len(case.sandbox.effects())
        case.sandbox.fault((decisive or {}).get(action.name, WRITES), "drop_after", 1)
        raised = _do(case, action, made, call)
        case.sandbox.faults.clear()
        if raised is None:
            continue
        assert len(case.sandbox.effects()) > before, f"{action.name}: the sandbox shows no effect"
        finder = case.connector.method("find", action.name)
        if finder is not None:
            answer = finder(made, call)
            assert not isinstance(answer, Absent), f"{action.name}: @find says absent of what happened"
            if isinstance(answer, Found):
                assert answer.outcome.effects, f"{action.name}: @find names no effect"


def doubts_what_broke_off(case: Case) -> None:
    """A write that broke off, or that a server error or nonsense answered, is never taken for one that failed."""
    for action in case.actions():
        if action.risk == "R0":
            continue
        for n, fault in enumerate(BROKEN):
            made, call = case.call(action, key=f"hub-doubt-{n}-{action.name}")
            case.sandbox.fault(WRITES, fault, 1)
            got = attempt(case.connection, made, call)
            met = not any(one.times for one in case.sandbox.faults)
            case.sandbox.faults.clear()
            assert not (met and isinstance(got, Failed)), f"{action.name}: {fault} is taken for a failure: {got}"


def keeps_messages_closed(case: Case, private: Iterable[str]) -> None:
    """Of the messages the sandbox knows to be private, none is mapped as public."""
    found = {key[1]: body for key, body in case.bodies("message").items()}
    wanted = set(private)
    assert wanted <= set(found), "the sandbox's private messages were not all pulled"
    leaked = [one for one in wanted if found[one]["visibility"] != "internal"]
    assert not leaked, f"private messages became public: {leaked[:3]}"


def fills_its_kinds(case: Case) -> None:
    """Mapped bodies decode as their kinds: types, enums and nested objects are right."""
    import msgspec

    for pages in case.pulled.values():
        for pulled in pages:
            for rows in pulled.mapped.tables.values():
                for row in rows.rows[:50]:
                    msgspec.json.decode(row.body, type=KINDS[rows.kind].struct)


def _captured(case: Case, action: type[Action], made: Action, call: Any) -> dict[str, Any] | None:
    method = case.connector.method("act", action.name)
    assert method is not None
    try:
        with capturing():
            method(made, call)
    except Captured as caught:
        return caught.request
    assert action.risk == "R0", f"{action.name}: a preview reached the end without a write"
    return None


def _do(case: Case, action: type[Action], made: Action, call: Any) -> BaseException | None:
    method = case.connector.method("act", action.name)
    assert method is not None
    try:
        with watch():
            method(made, call)
    except (HubError, OSError) as exc:
        if isinstance(exc, MappingError):
            raise
        return exc
    return None


@contextlib.contextmanager
def _overheard(case: Case) -> Iterator[list[str]]:
    """Note the paths that the sandbox is asked for inside the block."""
    asked: list[str] = []
    answer = case.sandbox.answer

    def noted(request: Request) -> Response:
        asked.append(request.path)
        return answer(request)

    setattr(case.sandbox, "answer", noted)  # noqa: B010 - a method of this one object is replaced
    try:
        yield asked
    finally:
        setattr(case.sandbox, "answer", answer)  # noqa: B010


def _keys(pages: list[Any]) -> set[tuple[str, str]]:
    return {(name, row.remote_id) for p in pages for name, rows in p.mapped.tables.items() for row in rows.rows}


def _digest(body: bytes | None, records: Any) -> bytes | None:
    if body is not None:
        return hashlib.sha256(body).digest()
    return hashlib.sha256(repr(records).encode()).digest() if records else None


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path)
    elif value is not None:
        yield path, value


def _contains(request: Any, name: str, value: Any) -> bool:
    """Say whether a name with this value is anywhere in a request; form bodies carry values as text."""
    wanted = {str(value), str(value).lower()}
    for path, found in _leaves(request):
        names = path[-1].replace("]", "").split("[") if path else [""]
        last = next((name for name in reversed(names) if name and not name.isdigit()), "")  # a form's list: x[0]
        if last == name and str(found) in wanted:
            return True
    return False
