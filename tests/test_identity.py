"""Identity: which records are one customer, account or order, and what follows from it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub import reads
from hub.connector import Page
from hub.identity import Group, Member, golden, partition
from hub.identity.rules import COMMON, name_key, proves
from hub.ingest import PageCommit, ingest
from hub.mapping import Source, compile_mapping
from hub.records import birth_id
from hub.store import Store
from tests.stores import unwatch, watch, wipe

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAPPING = compile_mapping(
    Source(
        """
[people]
kind = "customer"
key  = "id"
[people.fields]
display_name  = "name"
email         = "email"
external_ref  = "ext"
phone         = "phone"
language      = "language"
opt_out_email = { from = "opt_out", as = "bool" }
account_ref   = { ref = "companies", from = "company" }
updated_at    = { from = "updated", as = "iso8601" }
custom.vip    = { from = "vip", as = "bool" }

[people.fields.status]
from   = "status"
values = { on = "active", off = "suspended", gone = "archived" }

[companies]
kind = "account"
key  = "id"
[companies.fields]
name         = "name"
external_ref = "ext"
domains      = "domains"

[orders]
kind = "order"
key  = "id"
[orders.fields]
number = "no"
note   = "note"

[cases]
kind = "ticket"
key  = "id"
[cases.fields]
subject = "subject"
""",
        "mappings/people.toml",
    )
)
CONNECTORS = {"crm": "salesforce", "desk": "zendesk", "pay": "stripe", "erp": "legacy"}


class Hub:
    """A store, and the words to put records of several connections into it."""

    def __init__(self, store: Store) -> None:
        self.store, self.minute = store, 0

    def put(
        self,
        connection: str,
        *records: dict[str, Any],
        stream: str = "people",
        deleted: tuple[str, ...] = (),
        merged: dict[str, str] | None = None,
    ) -> None:
        self.minute += 1
        page = Page(records=list(records), deleted=deleted, merged=merged or {})
        read_at = NOON + timedelta(minutes=self.minute)
        mapped, revision = MAPPING.map_page(stream, page), MAPPING.revision
        ingest(
            self.store,
            PageCommit(connection, stream, mapped, page, read_at, revision, connector=CONNECTORS[connection]),
        )

    def forget(self) -> None:
        with self.store.write() as tx:
            wipe(tx)
        self.minute = 0

    def rows(self, sql: str, *values: Any) -> list[Any]:
        with self.store.read() as tx:
            return tx.execute(sql, values).fetchall()

    def groups(self) -> set[frozenset[str]]:
        """Give which records are together, each as connection:remote_id."""
        found: dict[str, set[str]] = {}
        sql = "SELECT entity_id, connection, remote_id FROM record JOIN source ON source.id = source_id"
        for entity_id, connection, remote_id in self.rows(sql):
            found.setdefault(entity_id, set()).add(f"{connection}:{remote_id}")
        return {frozenset(group) for group in found.values()}

    def shown(self, kind: str = "customer") -> list[dict[str, Any]]:
        sql = "SELECT coalesce(golden, body) FROM record WHERE head AND deleted_at IS NULL AND kind = ? ORDER BY rid"
        return [json.loads(row[0]) for row in self.rows(sql, kind)]

    def state(self) -> tuple[Any, ...]:
        """Give all that identity decides, without what depends on when it did."""
        return (
            self.rows("SELECT source.connection, remote_id, entity_id, head, golden, status FROM record JOIN source "
                      "ON source.id = source_id ORDER BY 1, 2"),
            self.rows("SELECT connection, remote_id, link.entity_id, reason, author FROM link JOIN record USING (rid) "
                      "JOIN source ON source.id = source_id ORDER BY 1, 2"),
            self.rows("SELECT id, entity_id FROM alias ORDER BY 1"),
        )  # fmt: skip

    def changes(self) -> dict[str, Any]:
        """Give what the last event says."""
        return json.loads(self.rows("SELECT changes FROM event ORDER BY id DESC LIMIT 1")[0][0])


@pytest.fixture
def hub(database_url: str) -> Iterator[Hub]:
    store = Store.open(database_url)
    yield Hub(store)
    store.close()


def person(
    id: Any, name: str | None = "Ada Lovelace", email: str | None = None, ext: str | None = None, **more: Any
) -> Any:
    return {"id": id, "name": name, "email": email, "ext": ext} | more


def born(connection: str, remote_id: str, table: str = "people", kind: str = "customer") -> str:
    return birth_id(kind, connection, table, remote_id)


def together(*members: str) -> frozenset[str]:
    return frozenset(members)


def test_equal_email_joins_across_connections_whatever_its_case(hub: Hub) -> None:
    hub.put("crm", person("1", "Ada Lovelace", "Ada@x.example"))
    hub.put("desk", person("2", "A. Byron", "ada@X.example"))
    assert hub.groups() == {together("crm:1", "desk:2")}
    assert set(hub.rows("SELECT reason, author FROM link")) == {("email", "rule:email")}


def test_records_of_one_page_are_joined_too(hub: Hub) -> None:
    hub.put("pay", person("cus_1", "Ada Lovelace", "a@x.example"), person("cus_2", "LOVELACE, Ada", "a@x.example"))
    assert hub.groups() == {together("pay:cus_1", "pay:cus_2")}
    assert len(hub.shown()) == 1
    assert hub.changes() == {"created": [min(born("pay", "cus_1"), born("pay", "cus_2"))]}


def test_one_connection_with_two_names_for_an_email_keeps_them_apart(hub: Hub) -> None:
    hub.put("pay", person("cus_1", "Ada Lovelace", "home@x.example"), person("cus_2", "Ben Lovelace", "home@x.example"))
    assert hub.groups() == {together("pay:cus_1"), together("pay:cus_2")}


def test_where_an_email_is_shared_the_name_tells_who_it_is(hub: Hub) -> None:
    hub.put("pay", person("cus_1", "Ada Lovelace", "home@x.example"), person("cus_2", "Ben Lovelace", "home@x.example"))
    hub.put("desk", person("9", "Lovelace Ada", "home@x.example"))
    hub.put("crm", person("8", "Somebody Else", "home@x.example"))
    assert hub.groups() == {together("pay:cus_1", "desk:9"), together("pay:cus_2"), together("crm:8")}


@pytest.mark.parametrize("mailbox", ["info@x.example", "Support+4@x.example", "no-reply@x.example", "sales@x.example"])
def test_role_mailboxes_join_nobody(hub: Hub, mailbox: str) -> None:
    hub.put("crm", person("1", "Ada", mailbox))
    hub.put("desk", person("2", "Ada", mailbox))
    assert hub.groups() == {together("crm:1"), together("desk:2")}


def test_an_email_that_too_many_carry_joins_nobody_and_undoes_what_it_joined(hub: Hub) -> None:
    hub.put("crm", person("1", "Ada", "all@hotel.example"))
    hub.put("desk", person("0", "Ada", "all@hotel.example"))
    assert hub.groups() == {together("crm:1", "desk:0")}
    for n in range(1, COMMON + 1):
        hub.put("desk", person(str(n), "Ada", "all@hotel.example"))
    assert all(len(group) == 1 for group in hub.groups())
    assert hub.rows("SELECT * FROM link") == []
    assert hub.rows("SELECT * FROM alias") == []
    assert "split" in hub.changes()


def test_an_equal_explicit_id_joins_without_any_email(hub: Hub) -> None:
    hub.put("crm", person("1", ext="C-7"))
    hub.put("desk", person("2", "Somebody", ext="C-7"))
    assert hub.groups() == {together("crm:1", "desk:2")}


def test_an_explicit_id_that_names_a_record_elsewhere_joins_it(hub: Hub) -> None:
    hub.put("desk", person("2", "Somebody", ext="10001"))
    hub.put("erp", person("10001", "Ada"))
    assert hub.groups() == {together("erp:10001", "desk:2")}
    assert set(hub.rows("SELECT reason FROM link")) == {("remote_id",)}


def test_an_explicit_id_that_could_name_two_records_names_none(hub: Hub) -> None:
    hub.put("erp", person("10001", "Ada"))
    hub.put("crm", person("10001", "Ben"))
    hub.put("desk", person("2", "Somebody", ext="10001"))
    assert all(len(group) == 1 for group in hub.groups())


def test_a_hub_id_in_a_vendor_field_joins(hub: Hub) -> None:
    hub.put("crm", person("1", "Ada"))
    hub.put("pay", person("cus_1", "Somebody", ext=born("crm", "1")))
    assert hub.groups() == {together("crm:1", "pay:cus_1")}


def test_a_hub_id_still_joins_after_it_was_merged_away(hub: Hub) -> None:
    hub.put("crm", person("1", "Ada", "a@x.example"))
    hub.put("desk", person("2", "Ada", "a@x.example"))
    away = max(born("crm", "1"), born("desk", "2"))
    hub.put("pay", person("cus_1", "Somebody", ext=away))
    assert hub.groups() == {together("crm:1", "desk:2", "pay:cus_1")}


def test_different_explicit_ids_block_an_email(hub: Hub) -> None:
    hub.put("crm", person("1", "Ada", "a@x.example", ext="C-1"))
    hub.put("desk", person("2", "Ada", "a@x.example", ext="C-2"))
    hub.put("pay", person("cus_3", "Ada", "a@x.example"))
    assert all(len(group) == 1 for group in hub.groups())


def test_a_hub_id_and_a_customer_number_do_not_contradict_each_other(hub: Hub) -> None:
    hub.put("crm", person("1", "Ada", "a@x.example", ext="C-1"))
    hub.put("pay", person("cus_3", "Ada", "a@x.example", ext=born("erp", "77")))
    assert hub.groups() == {together("crm:1", "pay:cus_3")}


def test_people_without_email_or_id_stay_alone(hub: Hub) -> None:
    hub.put("crm", person("1"), person("2"), person("3", None))
    assert len(hub.groups()) == 3


def test_a_changed_email_takes_a_record_out_again_and_its_own_id_answers(hub: Hub) -> None:
    hub.put("crm", person("1", "Ada", "a@x.example"))
    hub.put("desk", person("2", "Ada", "a@x.example"))
    hub.put("desk", person("2", "Ada", "other@x.example"))
    assert hub.groups() == {together("crm:1"), together("desk:2")}
    assert {row[0] for row in hub.rows("SELECT entity_id FROM record")} == {born("crm", "1"), born("desk", "2")}
    assert hub.rows("SELECT entity_id FROM link UNION ALL SELECT id FROM alias") == []
    assert hub.rows("SELECT golden FROM record WHERE golden IS NOT NULL") == []


def test_who_was_kept_apart_joins_when_the_reason_is_gone(hub: Hub) -> None:
    hub.put("crm", person("1", "Ada", "a@x.example", ext="C-1"))
    hub.put("desk", person("2", "Ada", "a@x.example", ext="C-2"))
    hub.put("pay", person("cus_3", "Ada", "a@x.example"))
    hub.put("desk", person("2", "Ada", "new@x.example", ext="C-2"))
    assert hub.groups() == {together("crm:1", "pay:cus_3"), together("desk:2")}


def test_a_merged_id_keeps_its_alias_and_the_event_tells_of_it(hub: Hub) -> None:
    hub.put("crm", person("1", "Ada", "a@x.example"))
    hub.put("desk", person("2", "Ada", "a@x.example"))
    stays, goes = sorted((born("crm", "1"), born("desk", "2")))
    assert hub.rows("SELECT id, entity_id FROM alias") == [(goes, stays)]
    before = born("crm", "1")
    merged = [[before, stays]] if before != stays else []
    assert hub.changes() == {"updated": [stays]} | ({"merged": merged} if merged else {})


def test_the_golden_body_follows_authority_field_by_field(hub: Hub) -> None:
    hub.put("desk", person("2", "ada", "a@x.example", phone="+4930111", language="de", status="off", vip=True))
    hub.put("crm", person("1", "Ada Lovelace", "a@x.example", status="on", company="9"))
    hub.put("pay", person("cus_1", "A L", "a@x.example", phone="+4930222", opt_out=True))
    (shown,) = hub.shown()
    assert (shown["display_name"], shown["phone"], shown["language"]) == ("Ada Lovelace", "+4930222", "de")
    assert (shown["status"], shown["status_raw"], shown["opt_out_email"]) == ("active", "on", True)
    assert shown["custom"] == {"vip": True}
    assert shown["account_ref"] == {"table": "companies", "remote_id": "9", "connection": "crm"}


def test_a_record_that_is_gone_drops_out_of_the_golden_body_but_not_out_of_the_entity(hub: Hub) -> None:
    hub.put("desk", person("2", "ada", "a@x.example"))
    hub.put("crm", person("1", "Ada Lovelace", "a@x.example"))
    hub.put("crm", deleted=("1",))
    assert [shown["display_name"] for shown in hub.shown()] == ["ada"]
    assert hub.groups() == {together("crm:1", "desk:2")}
    assert "updated" in hub.changes()
    hub.put("desk", deleted=("2",))
    assert hub.shown() == []
    assert hub.changes() == {"deleted": [min(born("crm", "1"), born("desk", "2"))]}


def test_accounts_join_by_domain_but_not_by_a_public_one(hub: Hub) -> None:
    hub.put(
        "crm",
        {"id": "1", "name": "Acme", "domains": ["Acme.example"]},
        {"id": "3", "domains": ["gmail.com"]},
        stream="companies",
    )
    hub.put(
        "desk",
        {"id": "2", "name": "ACME", "domains": ["x.example", "acme.example"]},
        {"id": "4", "domains": ["gmail.com"]},
        stream="companies",
    )
    assert hub.groups() == {together("crm:1", "desk:2"), together("crm:3"), together("desk:4")}
    assert hub.rows("SELECT DISTINCT reason FROM link") == [("domain",)]
    hub.put("desk", {"id": "2", "name": "ACME", "domains": ["x.example"]}, stream="companies")
    assert len(hub.groups()) == 4


def test_orders_join_by_number_across_connections_only(hub: Hub) -> None:
    hub.put("crm", {"id": "1", "no": "A-1"}, {"id": "2", "no": "A-2"}, {"id": "3", "no": "A-2"}, stream="orders")
    hub.put("erp", {"id": "9", "no": "A-1", "note": "left at the door"}, stream="orders")
    assert hub.groups() == {together("crm:1", "erp:9"), together("crm:2"), together("crm:3")}


def test_the_same_records_again_change_nothing(hub: Hub) -> None:
    pages = [("crm", person("1", "Ada", "a@x.example")), ("desk", person("2", "Ada", "a@x.example"))]
    for connection, record in pages:
        hub.put(connection, record)
    before = hub.state(), hub.rows("SELECT * FROM event"), hub.rows("SELECT * FROM link")
    for connection, record in pages:
        hub.put(connection, record)
    assert (hub.state(), hub.rows("SELECT * FROM event"), hub.rows("SELECT * FROM link")) == before


people = st.lists(
    st.tuples(
        st.sampled_from(sorted(CONNECTORS)),
        st.sampled_from(["1", "2", "3", "4", "C-1"]),
        st.sampled_from(["Ada L", "Ben", None]),
        st.sampled_from(["a@x.example", "b@x.example", "info@x.example", None]),
        st.sampled_from(["C-1", "C-2", "3", born("crm", "1"), None, None]),
    ),
    unique_by=lambda one: one[:2],
    max_size=12,
)


QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@QUICK
@given(people=people, data=st.data())
def test_the_order_of_pages_and_connections_does_not_matter(hub: Hub, people: list[Any], data: st.DataObject) -> None:
    states = []
    for order in (people, data.draw(st.permutations(people))):
        hub.forget()
        for connection, *values in order:
            hub.put(connection, person(*values))
        states.append(hub.state())
    assert states[0] == states[1]


@QUICK
@given(people=people, data=st.data())
def test_history_does_not_matter(hub: Hub, people: list[Any], data: st.DataObject) -> None:
    states = []
    before = st.tuples(st.sampled_from(["Ada L", None]), st.sampled_from(["a@x.example", "c@x.example"]))
    for earlier in ([], people):
        hub.forget()
        for connection, id, *_ in earlier:
            hub.put(connection, person(id, *data.draw(before), data.draw(st.sampled_from(["C-1", "C-9", None]))))
        for connection, *values in people:
            hub.put(connection, person(*values))
        states.append(hub.state())
    assert states[0] == states[1]


def answer(hub: Hub, kind: str, remote_id: str, table: str = "people") -> dict[str, Any]:
    """Give what the id that a record of the crm was born with answers now."""
    body = reads.get(hub.store, kind, born("crm", remote_id, table, kind))
    assert body is not None
    return json.loads(body)  # type: ignore[no-any-return]


def test_a_merged_id_keeps_answering_with_the_survivor(hub: Hub) -> None:
    hub.put("crm", person("1", "Ada Lovelace", "ada@x.example"), person("2", "A. Lovelace", "al@y.example"))
    hub.put("pay", person("cus_1", "Ada", "al@y.example"))
    before = answer(hub, "customer", "1")["id"]
    hub.put("crm", merged={"2": "1"})
    assert hub.groups() == {together("crm:1", "crm:2", "pay:cus_1")}, "what was the loser's is the survivor's"
    found, asked = answer(hub, "customer", "1"), answer(hub, "customer", "2")
    assert (asked["merged_from"], asked["id"], asked["remote_id"]) == (born("crm", "2"), found["id"], "1")
    assert [one["connection"] for one in found["connections"]] == ["crm", "pay"], "the loser is no source any more"
    assert "deleted_at" not in found
    assert before in (found["id"], found.get("merged_from"))
    assert {into for _, into in hub.changes()["merged"]} == {found["id"]}
    assert born("crm", "2") != found["id"], "the id of a loser is nobody's any more"


def test_a_merge_is_told_once_and_may_come_before_the_survivor(hub: Hub) -> None:
    hub.put("crm", person("2", "A. Lovelace", "al@y.example"))
    hub.put("crm", merged={"2": "1", "77": "1"})
    assert hub.shown() == []
    hub.put("crm", person("1", "Ada Lovelace", "ada@x.example"))
    assert answer(hub, "customer", "2")["remote_id"] == "1"
    with hub.store.write() as tx:
        watch(tx)
    hub.put("crm", merged={"2": "1", "77": "1"})
    with hub.store.write() as tx:
        touched = {row[0] for row in tx.execute("SELECT what FROM touched").fetchall()}
        unwatch(tx)
    assert touched <= {"UPDATE cursor", "INSERT cursor"}


def test_merges_that_follow_each_other_end_at_the_last_survivor(hub: Hub) -> None:
    hub.put("crm", *(person(str(n), f"Person {n}", f"p{n}@x.example") for n in range(4)))
    for loser, survivor in (("0", "1"), ("1", "2"), ("2", "3")):
        hub.put("crm", merged={loser: survivor})
    assert {answer(hub, "customer", str(n))["remote_id"] for n in range(4)} == {"3"}
    assert [one["display_name"] for one in hub.shown()] == ["Person 3"]


def test_a_loser_that_comes_back_stands_for_itself_again(hub: Hub) -> None:
    hub.put("crm", person("1", "Ada Lovelace", "ada@x.example"), person("2", "Ben Both", "ben@y.example"))
    hub.put("crm", merged={"2": "1"})
    hub.put("crm", person("2", "Ben Both", "ben@y.example", status="gone"))
    assert answer(hub, "customer", "2")["remote_id"] == "1", "that it is archived is no news"
    hub.put("crm", person("2", "Ben Both", "ben@y.example"))
    assert hub.groups() == {together("crm:1"), together("crm:2")}
    assert "merged_from" not in answer(hub, "customer", "2")


def test_organisations_and_tickets_that_were_merged_answer_too(hub: Hub) -> None:
    hub.put("crm", {"id": "1", "name": "Acme"}, {"id": "2", "name": "Acme Ltd", "domains": ["acme.example"]},
            stream="companies")  # fmt: skip
    hub.put("crm", stream="companies", merged={"2": "1"})
    assert answer(hub, "account", "2", "companies")["name"] == "Acme"
    hub.put("crm", {"id": "1", "subject": "Late"}, {"id": "2", "subject": "Later"}, stream="cases")
    hub.put("crm", stream="cases", merged={"2": "1"})
    found = answer(hub, "ticket", "2", "cases")
    assert (found["subject"], found["merged_from"]) == ("Late", born("crm", "2", "cases", "ticket"))
    hub.put("crm", {"id": "2", "subject": "Later"}, stream="cases")
    assert answer(hub, "ticket", "2", "cases")["subject"] == "Later"


members = st.lists(
    st.builds(
        Member,
        rid=st.integers(1, 10_000),
        connection=st.sampled_from(["crm", "desk", "pay"]),
        remote_id=st.sampled_from(["1", "2", "C-1", "C-2", "C-3"]),
        birth=st.uuids().map(str),
        external_ref=st.sampled_from(["C-1", "C-2", "C-3", None, None]),
        shared=st.lists(st.sampled_from(["a@x.example", "b@x.example", "c@x.example"]), max_size=2, unique=True).map(
            tuple
        ),
        name=st.sampled_from(["Ada", "Ben", None]),
        into=st.none(),
    ),
    unique_by=(lambda m: m.rid, lambda m: m.birth),
    max_size=14,
)


def as_sets(groups: list[Group]) -> set[frozenset[int]]:
    return {frozenset(member.rid for member in group.members) for group in groups}


@given(members=members, data=st.data())
def test_the_rules_are_a_function_of_the_set(members: list[Member], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(members))
    assert as_sets(partition(members, "customer")) == as_sets(partition(shuffled, "customer"))


@given(members=members)
def test_every_record_is_in_one_group_named_by_its_smallest_birth_id_with_a_reason(members: list[Member]) -> None:
    groups = partition(members, "customer")
    assert sorted(m.rid for group in groups for m in group.members) == sorted(m.rid for m in members)
    for group in groups:
        assert group.id == min(m.birth for m in group.members)
        assert (set(group.reasons) == {m.rid for m in group.members}) == (len(group.members) > 1)


@given(members=members, data=st.data())
def test_what_a_vendor_merged_is_one_under_the_id_of_a_survivor(members: list[Member], data: st.DataObject) -> None:
    rids = [member.rid for member in members]
    merged = [m._replace(into=data.draw(st.sampled_from([None, *rids]))) for m in members]
    groups = partition(merged, "customer")
    assert as_sets(groups) == as_sets(partition(data.draw(st.permutations(merged)), "customer"))
    home = {member.rid: group for group in groups for member in group.members}
    assert all(home[m.rid] is home[m.into] for m in merged if m.into is not None)
    for group in groups:
        standing = [m.birth for m in group.members if m.into is None]
        assert group.id == min(standing or [m.birth for m in group.members])


@given(members=members)
def test_what_has_nothing_in_common_does_not_influence_each_other(members: list[Member]) -> None:
    groups = as_sets(partition(members, "customer"))
    stranger = Member(99_999, "erp", "9", "zz", None, ("z@x.example",), "Zoe")
    assert as_sets(partition([*members, stranger], "customer")) == groups | {frozenset({99_999})}


@pytest.mark.parametrize(
    ("one", "other"), [("Ada Lovelace", "LOVELACE, Ada"), ("José Núñez", "jose nunez"), ("", None)]
)
def test_names_agree_in_any_order_and_case(one: str, other: str | None) -> None:
    assert name_key(one) == name_key(other)


def test_what_can_prove_something_depends_on_the_kind() -> None:
    assert [proves("customer", value) for value in ("ada@x.example", "billing@x.example", "nonsense")] == [
        True,
        False,
        False,
    ]
    assert [proves("account", value) for value in ("acme.example", "gmail.com")] == [True, False]


def test_of_equal_authority_the_newest_record_wins() -> None:
    versions = [
        golden.Version(birth, "pay", "stripe", birth, time, {"display_name": name})
        for birth, time, name in (("a", "2026-01-01", "old"), ("b", "2026-02-01", "new"))
    ]
    assert golden.choose("customer", versions)["display_name"].value == "new"


def test_an_order_is_told_by_the_system_of_record() -> None:
    versions = [
        golden.Version(
            "a", "crm", "salesforce", "1", "2026-02-01", {"status": "draft", "status_raw": "Draft", "note": ""}
        ),
        golden.Version("b", "erp", "legacy", "2", "2026-01-01", {"status": "open", "status_raw": "20", "note": None}),
    ]
    merged = golden.merge("order", versions)
    assert (merged["status"], merged["status_raw"], merged["remote_id"]) == ("open", "20", "1")
