"""
The rules, as a pure function from records to groups.

What a vendor merged is one, and explicit ids join by themselves; an equal e-mail address (domain of an account, number
of an order) joins unless explicit ids differ, unless too many share it, and within one connection only where names
agree. When in doubt: two entities.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

COMMON = 5
"""A value that more records than this carry in one connection says nothing about who they are."""

_ROLES = frozenset(
    "abuse accounting accounts admin administrator billing bookkeeping buchhaltung careers compta contact "
    "customerservice enquiries facturation feedback finance hello help helpdesk hostmaster hr info information "
    "inquiries invoice invoices it jobs kontakt mail mailerdaemon marketing media newsletter noreply nobody office "
    "order orders payments postmaster press privacy purchasing rechnung reception returns root sales security service "
    "shop store subscriptions support team webmaster welcome donotreply donotrespond".split()
)
_PUBLIC_DOMAINS = frozenset(
    "aol.com gmail.com gmx.at gmx.ch gmx.de gmx.net googlemail.com hotmail.com icloud.com live.com mail.com mail.ru "
    "me.com msn.com outlook.com proton.me protonmail.com qq.com t-online.de web.de yahoo.com yandex.ru ymail.com "
    "163.com".split()
)
_HUB_ID = re.compile(r"[a-z]{3}_[a-z2-7]{24}")
_WORD = re.compile(r"\w+")


class Member(NamedTuple):
    """
    A record as the rules see it.

    `birth` is the id its own entity would have, `external_ref` the explicit id it carries, `shared` what it may share
    with others (e-mail address, domains, order number), `into` the rid of the record that its vendor merged it into.
    """

    rid: int
    connection: str
    remote_id: str
    birth: str
    external_ref: str | None = None
    shared: tuple[str, ...] = ()
    name: str | None = None
    into: int | None = None


@dataclass
class Group:
    """
    Records that are one entity; `reasons` says per record why it is here.

    `id` is the smallest birth id of those that were not merged away at their vendor's.
    """

    id: str
    members: list[Member]
    reasons: dict[int, str] = field(default_factory=dict)


def partition(members: Iterable[Member], kind: str, *, common: frozenset[str] = frozenset()) -> list[Group]:
    """
    Say which records are one entity.

    The answer depends on the set of records alone, not on its order. `common` are values known to be carried by too
    many records to prove anything.
    """
    ordered = sorted(members, key=lambda member: member.birth)
    joined = _Joined(ordered)
    _by_merges(joined)
    _by_explicit_ids(joined, common)
    _by_shared_values(joined, kind, common)
    return joined.groups()


def proves(kind: str, value: str) -> bool:
    """Tell whether a shared value of this form can say anything: role mailboxes and public mail domains cannot."""
    if kind == "customer":
        local, at, domain = value.partition("@")
        words = local if local.isalpha() else re.sub(r"[^a-z]", "", local.partition("+")[0])
        return bool(local and at and domain) and words not in _ROLES
    return value not in _PUBLIC_DOMAINS if kind == "account" else bool(value)


def is_common(holders: Sequence[Member]) -> bool:
    """Tell whether too many records of one connection carry a value."""
    counts: dict[str, int] = {}
    for holder in holders:
        counts[holder.connection] = counts.get(holder.connection, 0) + 1
    return max(counts.values(), default=0) > COMMON


def name_key(name: str | None) -> tuple[str, ...]:
    """Give a name in the form names are compared in: words in any order, case and accents aside."""
    plain = unicodedata.normalize("NFKD", name or "").casefold()
    return tuple(sorted(_WORD.findall("".join(c for c in plain if not unicodedata.combining(c)))))


class _Joined:
    """Disjoint sets of records, with the explicit ids each set carries."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members
        self._parent = {member.rid: member.rid for member in members}
        self.reasons: dict[int, str] = {}
        self.claims: dict[int, dict[bool, set[str]]] = {}
        for member in members:
            if member.external_ref:
                hub_id = bool(_HUB_ID.fullmatch(member.external_ref))
                self.claims[member.rid] = {hub_id: {member.external_ref}}

    def root(self, member: Member) -> int:
        rid = member.rid
        while self._parent[rid] != rid:
            self._parent[rid] = self._parent[self._parent[rid]]
            rid = self._parent[rid]
        return rid

    def join(self, one: Member, other: Member, reason: str) -> None:
        into, away = self.root(one), self.root(other)
        if into == away:
            return
        self._parent[away] = into
        for namespace, values in self.claims.pop(away, {}).items():
            self.claims.setdefault(into, {}).setdefault(namespace, set()).update(values)
        self.reasons.setdefault(one.rid, reason)
        self.reasons.setdefault(other.rid, reason)

    def differ(self, roots: Iterable[int]) -> bool:
        """Tell whether two of these sets carry explicit ids of one namespace: then they are not the same."""
        seen: set[bool] = set()
        for root in roots:
            for namespace in self.claims.get(root, {}):
                if namespace in seen:
                    return True
                seen.add(namespace)
        return False

    def groups(self) -> list[Group]:
        found: dict[int, list[Member]] = {}
        for member in self.members:
            found.setdefault(self.root(member), []).append(member)
        return [
            Group(_id(members), members, {m.rid: self.reasons[m.rid] for m in members if m.rid in self.reasons})
            for members in found.values()
        ]


def _id(members: list[Member]) -> str:
    here = {member.rid for member in members}
    return next((member.birth for member in members if member.into not in here), members[0].birth)


def _by_merges(joined: _Joined) -> None:
    """Follow what the vendors themselves have merged, whatever the records say."""
    by_rid = {member.rid: member for member in joined.members}
    for member in joined.members:
        if member.into in by_rid:
            joined.join(by_rid[member.into], member, "merged")


def _by_explicit_ids(joined: _Joined, common: frozenset[str]) -> None:
    births = {member.birth: member for member in joined.members}
    remote: dict[str, list[Member]] = {}
    claims: dict[str, list[Member]] = {}
    for member in joined.members:
        remote.setdefault(member.remote_id, []).append(member)
        if member.external_ref:
            claims.setdefault(member.external_ref, []).append(member)
    for value, holders in sorted(claims.items()):
        if value in common or is_common(holders):
            continue
        for holder in holders[1:]:
            joined.join(holders[0], holder, "external_ref")
        if value in births:
            joined.join(births[value], holders[0], "hub_id")
        for target in _meant(value, holders, remote):
            joined.join(target, holders[0], "remote_id")


def _meant(value: str, holders: list[Member], remote: dict[str, list[Member]]) -> list[Member]:
    """Give the record in another connection that an explicit id names, if it can be only one."""
    own = {holder.connection for holder in holders}
    others = [member for member in remote.get(value, ()) if member.connection not in own]
    return others if len(others) == 1 else []


def _by_shared_values(joined: _Joined, kind: str, common: frozenset[str]) -> None:
    shared: dict[str, list[Member]] = {}
    for member in joined.members:
        for value in member.shared:
            shared.setdefault(value, []).append(member)
    reason = {"customer": "email", "account": "domain", "order": "number"}[kind]
    for value, holders in sorted(shared.items()):
        if len(holders) < 2 or value in common or not proves(kind, value) or is_common(holders):
            continue
        if joined.differ({joined.root(holder) for holder in holders}):
            continue
        for same, why in _people(joined, holders, reason):
            for other in same[1:]:
                if not joined.differ({joined.root(same[0]), joined.root(other)}):
                    joined.join(same[0], other, why)


def _people(joined: _Joined, holders: list[Member], reason: str) -> list[tuple[list[Member], str]]:
    """Give the holders of one value that are the same: all, or by name if one connection tells them apart."""
    if len({holder.connection for holder in holders}) == len(holders) or not _told_apart(joined, holders):
        return [(holders, reason)]
    by_name: dict[tuple[str, ...], list[Member]] = {}
    for holder in holders:
        key = name_key(holder.name)
        if key:
            by_name.setdefault(key, []).append(holder)
    return [(same, f"{reason}+name") for _, same in sorted(by_name.items())]


def _told_apart(joined: _Joined, holders: list[Member]) -> bool:
    """Tell whether one connection has several of the holders under names that do not agree."""
    found: dict[str, dict[int, set[tuple[str, ...]]]] = {}
    for holder in holders:
        found.setdefault(holder.connection, {}).setdefault(joined.root(holder), set()).add(name_key(holder.name))
    for roots in found.values():
        names = set().union(*roots.values())
        if len(roots) > 1 and (len(names) > 1 or () in names):
            return True
    return False
