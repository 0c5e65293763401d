"""Truth: what becomes of a record upstream becomes of it here, whoever writes meanwhile, on both stores."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub import reads
from hub.app import App
from hub.app.sandboxes import Sandboxes
from hub.errors import Temporary
from hub.perform import Request
from hub.plugins import discover
from hub.records import birth_id
from hub.sandbox import World
from hub.store import Store
from hub.sync import Progress, fetch, sync_connection
from hub.testing import Case, case_for
from hub_legacy.connector import LegacyConnector
from hub_salesforce.connector import SalesforceConnector
from hub_salesforce.sandbox.shapes import record_id
from hub_stripe.connector import StripeConnector
from hub_zendesk.connector import ZendeskConnector
from tests import oracle
from tests.stores import wipe

CONNECTORS: dict[str, Any] = {
    "zendesk": ZendeskConnector,
    "salesforce": SalesforceConnector,
    "stripe": StripeConnector,
    "legacy": LegacyConnector,
}


@pytest.fixture(scope="module")
def cases() -> Iterator[Callable[[str], Case]]:
    """Connections on small sandboxes, each started when first asked for."""
    made: dict[str, Any] = {}

    def open_case(name: str) -> Case:
        if name not in made:
            made[name] = case_for(CONNECTORS[name], world=World(customers=12))
            made[name] = (made[name], made[name].__enter__())
        return made[name][1]  # type: ignore[no-any-return]

    yield open_case
    for manager, _ in made.values():
        manager.__exit__(None, None, None)


@pytest.fixture
def case(request: pytest.FixtureRequest, cases: Callable[[str], Case]) -> Case:
    """A connection on a sandbox as it was at the beginning; a test is parametrized with its name."""
    found = cases(request.param)
    found.sandbox.reset()
    if request.param == "zendesk":
        found.sandbox.export_size = 7  # type: ignore[attr-defined]
    if request.param == "salesforce":
        found.sandbox.batch = 7  # type: ignore[attr-defined]
    return found


zendesk = pytest.mark.parametrize("case", ["zendesk"], indirect=True)
salesforce = pytest.mark.parametrize("case", ["salesforce"], indirect=True)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store.open(database_url)
    yield store
    store.close()


def pulled(store: Store, case: Case, *, progress: Callable[[Progress], None] | None = None, full: bool = False) -> None:
    """Pull all streams, and see that none reports an error."""
    report = sync_connection(store, case.connection, full=full, progress=progress)
    assert {name: line["error"] for name, line in report.items() if line["error"]} == {}


def answer(store: Store, case: Case, kind: str, table: str, remote_id: Any) -> dict[str, Any]:
    """Give what the id answers that a record was born with."""
    body = reads.get(store, kind, birth_id(kind, case.connection.name, table, str(remote_id)))
    assert body is not None, f"{kind} {remote_id} answers no more"
    return json.loads(body)  # type: ignore[no-any-return]


def events(store: Store) -> int:
    with store.read() as tx:
        return int(tx.execute("SELECT count(*) FROM event").fetchone()[0])


def end_users(case: Case) -> list[int]:
    state: Any = case.sandbox.state  # type: ignore[attr-defined]
    return [one for one, user in state.users.items() if user["role"] == "end-user" and user["email"]]


@zendesk
@pytest.mark.parametrize("again", ["sync", "full", "fetch"])
def test_a_user_that_zendesk_merged_answers_with_the_one_it_was_merged_into(
    store: Store, case: Case, again: str
) -> None:
    sandbox: Any = case.sandbox
    loser, survivor = end_users(case)[:2]
    pulled(store, case)
    sandbox.state.merge_user(loser, survivor)
    if again == "fetch":
        fetch(store, case.connection, "users", [str(loser)])
    pulled(store, case, full=again == "full")
    found = answer(store, case, "customer", "users", loser)
    assert found["remote_id"] == str(survivor)
    assert found["merged_from"] == birth_id("customer", case.connection.name, "users", str(loser))
    oracle.agrees(store, case.connection.name, oracle.zendesk(sandbox, merged=[loser]))
    before = events(store)
    pulled(store, case, full=True)
    assert events(store) == before, "the row of the user that was given up is no news"


@zendesk
def test_a_user_that_was_deleted_is_archived_and_nobodys(store: Store, case: Case) -> None:
    sandbox: Any = case.sandbox
    pulled(store, case)
    gone = end_users(case)[0]
    sandbox.state.delete_user(gone)
    pulled(store, case)
    found = answer(store, case, "customer", "users", gone)
    assert (found["status"], "merged_from" in found) == ("archived", False)
    oracle.agrees(store, case.connection.name, oracle.zendesk(sandbox))


@salesforce
def test_a_contact_that_salesforce_merged_answers_with_its_master_until_it_comes_back(store: Store, case: Case) -> None:
    org: Any = case.sandbox
    winner, loser = [one for one, row in org.rows["Contact"].items() if not row["IsPersonAccount"]][:2]
    pulled(store, case)
    org.merge("Contact", winner, loser)
    pulled(store, case)
    assert answer(store, case, "customer", "Contact", loser)["remote_id"] == winner
    oracle.agrees(store, case.connection.name, oracle.salesforce(org))
    org.undelete("Contact", loser)
    pulled(store, case)
    assert answer(store, case, "customer", "Contact", loser)["remote_id"] == loser
    oracle.agrees(store, case.connection.name, oracle.salesforce(org))


@salesforce
def test_a_case_that_salesforce_merged_answers_with_its_master(store: Store, case: Case) -> None:
    org: Any = case.sandbox
    winner, loser = list(org.rows["Case"])[:2]
    pulled(store, case)
    org.merge("Case", winner, loser)
    pulled(store, case)
    found = answer(store, case, "ticket", "Case", loser)
    assert (found["remote_id"], found["merged_from"] != found["id"]) == (winner, True)
    oracle.agrees(store, case.connection.name, oracle.salesforce(org))


# Floods: many records of one time.


def flooded(case: Case, many: int) -> None:
    """Give the sandbox many more records, all of one time."""
    {"zendesk": _flood_zendesk, "salesforce": _flood_salesforce, "stripe": _flood_stripe, "legacy": _flood_legacy}[
        case.connection.name
    ](case.sandbox, many)


def _flood_zendesk(sandbox: Any, many: int) -> None:
    state, sandbox.export_size = sandbox.state, 1000
    like, at = next(iter(state.tickets.values())), state.tick()
    for one in range(1_000_000, 1_000_000 + many):
        state.tickets[one] = {**like, "id": one, "subject": f"flood {one}", "updated_at": at}
        state.comments[one], state.audits[one] = {}, []
    for one in range(2_000_000, 2_000_000 + many // 10):
        like = next(iter(state.organizations.values()))
        state.organizations[one] = {**like, "id": one, "name": f"flood {one}", "updated_at": at}


def _flood_salesforce(org: Any, many: int) -> None:
    org.batch = 2000
    like = next(iter(org.rows["Case"].values()))
    stamps = dict.fromkeys(("SystemModstamp", "LastModifiedDate"), "2026-11-20T08:00:00.000+0000")
    for n in range(many):
        made = record_id("500", 1_000_000 + n)
        org.rows["Case"][made] = {**like, **stamps, "Id": made, "CaseNumber": f"F{n}"}


def _flood_stripe(sandbox: Any, many: int) -> None:
    like = next(iter(sandbox.state.kinds["customers"].values()))
    for n in range(many):
        sandbox.state.put("customers", {**like, "id": f"cus_flood{n}", "email": f"flood{n}@x.example"})


def _flood_legacy(sandbox: Any, many: int) -> None:
    database = sandbox.connect()
    columns = [row[1] for row in database.execute("PRAGMA table_info(customers)")]
    (like,) = database.execute("SELECT * FROM customers LIMIT 1").fetchall()
    rows = [
        {
            **dict(zip(columns, like, strict=True)),
            "customer_no": f"F{n}",
            "email": None,
            "changed": "2026-11-20 08:00:00",
        }
        for n in range(many)
    ]
    marks = ", ".join("?" * len(columns))
    database.executemany(f"INSERT INTO customers VALUES ({marks})", [tuple(row.values()) for row in rows])
    database.commit()
    database.close()


@pytest.mark.parametrize(
    ("case", "many", "streams"),
    [
        ("zendesk", 10_000, ["tickets", "organizations"]),
        ("salesforce", 10_000, ["Case"]),
        ("legacy", 2_000, ["customers"]),
        ("stripe", 1_000, ["customers"]),
    ],
    indirect=["case"],
)
def test_a_flood_of_records_of_one_time_is_read_once_and_the_pull_ends(
    store: Store, case: Case, many: int, streams: list[str]
) -> None:
    flooded(case, many)
    counted = sync_connection(store, case.connection, streams=streams)
    assert not any(line["error"] for line in counted.values())
    again = sync_connection(store, case.connection, streams=streams)
    assert max(line["read"] for line in again.values()) < many / 5, "the flood is not read again"
    kinds = {line["kind"] for line in counted.values()}
    whole = oracle.OF[case.connection.name](case.sandbox)
    oracle.agrees(store, case.connection.name, {key: row for key, row in whole.items() if key[0] in kinds})
    oracle.told_once(store)


# Writers: what changes while a pull runs.


class Writer:
    """Somebody who works at the vendor's while the hub pulls. `merged` are users that lost a merge."""

    def __init__(self, case: Case) -> None:
        self.sandbox: Any = case.sandbox
        self.merged: list[int] = []
        self.deeds = getattr(self, f"_{case.connection.name}")()
        self.name = case.connection.name
        self.n = 0

    def do(self, deed: int, which: int) -> None:
        """Do one thing to one of the records there are."""
        self.n += 1
        with self.sandbox.lock:
            self.deeds[deed % len(self.deeds)](which)

    def truth(self) -> oracle.Rows:
        more = {"merged": self.merged} if self.name == "zendesk" else {}
        return oracle.OF[self.name](self.sandbox, **more)

    def _zendesk(self) -> list[Callable[[int], Any]]:
        state, me = self.sandbox.state, self.sandbox.me

        def ticket(which: int, wanted: Callable[[dict[str, Any]], bool]) -> int | None:
            able = [one for one, row in state.tickets.items() if wanted(row)]
            return able[which % len(able)] if able else None

        def user(which: int) -> int:
            able = [o for o, row in state.users.items() if row["role"] == "end-user" and row["active"] and row["email"]]
            return able[which % len(able)]

        def alive(row: dict[str, Any]) -> bool:
            return bool(row["status"] != "deleted")

        def change(which: int) -> None:
            if one := ticket(which, alive):
                state.change_ticket(one, {"subject": f"changed {self.n}"}, me)

        def comment(which: int) -> None:
            if one := ticket(which, alive):
                state.change_ticket(one, {"comment": {"body": f"said {self.n}", "public": which % 2 == 0}}, me)

        def delete(which: int) -> None:
            if one := ticket(which, lambda row: alive(row) and row["id"] % 2 == 0):
                state.delete_ticket(one, me)

        def restore(which: int) -> None:
            if one := ticket(which, lambda row: not alive(row)):
                state.restore_ticket(one)

        def hide(which: int) -> None:
            if one := ticket(which, lambda row: alive(row) and row["id"] % 2 == 1 and state.comments[row["id"]]):
                comments = state.comments[one]
                state.hide_comment(one, list(comments)[which % len(comments)], me)

        def redact(which: int) -> None:
            if one := ticket(which, lambda row: alive(row) and row["id"] % 2 == 1 and state.comments[row["id"]]):
                comments = state.comments[one]
                state.redact_comment(one, list(comments)[which % len(comments)], me)

        def rename(which: int) -> None:
            state.users[user(which)] |= {"name": f"Renamed {self.n}", "updated_at": state.tick()}

        def merge(which: int) -> None:
            loser, survivor = user(which), user(which + 1)
            if loser != survivor:
                state.merge_user(loser, survivor)
                self.merged.append(loser)

        def open_ticket(which: int) -> None:
            state.add_ticket({"subject": f"new {self.n}", "comment": {"body": "Hello"}}, user(which))

        return [change, comment, delete, restore, hide, redact, rename, merge, open_ticket]

    def _salesforce(self) -> list[Callable[[int], Any]]:
        org = self.sandbox

        def alive(sobject: str, which: int) -> str:
            able = [
                o for o, row in org.rows[sobject].items() if not row["IsDeleted"] and not row.get("IsPersonAccount")
            ]
            return able[which % len(able)]

        def delete(which: int) -> None:
            if sum(not row["IsDeleted"] for row in org.rows["CaseComment"].values()) > 1:
                org.delete("CaseComment", alive("CaseComment", which))

        def undelete(which: int) -> None:
            able = [one for one, row in org.rows["CaseComment"].items() if row["IsDeleted"]]
            if able:
                org.undelete("CaseComment", able[which % len(able)])

        def merge(which: int) -> None:
            winner, loser = alive("Contact", which), alive("Contact", which + 1)
            if winner != loser:
                org.merge("Contact", winner, loser)

        return [
            lambda which: org.change("Contact", alive("Contact", which), Title=f"changed {self.n}"),
            lambda which: org.change("Case", alive("Case", which), Subject=f"changed {self.n}"),
            lambda which: org.change("CaseComment", alive("CaseComment", which), IsPublished=which % 2 == 0),
            delete,
            undelete,
            merge,
        ]

    def _stripe(self) -> list[Callable[[int], Any]]:
        state = self.sandbox.state

        def some(kind: str, which: int) -> dict[str, Any]:
            able = list(state.kinds[kind].values())
            return able[which % len(able)]  # type: ignore[no-any-return]

        def rename(which: int) -> None:
            customer = some("customers", which)
            customer["name"] = f"Renamed {self.n}"
            state.happened("customer.updated", customer)

        def delete(which: int) -> None:
            if len(state.kinds["customers"]) > 2:
                state.delete_customer(some("customers", which)["id"])

        def create(which: int) -> None:
            made = {**some("customers", which), "id": f"cus_new{self.n}", "created": int(state.clock())}
            state.happened("customer.created", state.put("customers", made))

        def refund(which: int) -> None:
            able = [c for c in state.kinds["charges"].values() if c["amount_captured"] - c["amount_refunded"] > 1]
            if able:
                intent = state.kinds["payment_intents"][able[which % len(able)]["payment_intent"]]
                state.refund(intent, 1, reason=None, metadata={})

        return [rename, delete, create, refund]

    def _legacy(self) -> list[Callable[[int], Any]]:
        def run(sql: str, *values: Any) -> None:
            database = self.sandbox.connect()
            database.execute(sql, values)
            database.commit()
            database.close()

        at = [datetime(2031, 1, 1)]

        def changed() -> str:
            at[0] += timedelta(seconds=1)
            return at[0].isoformat(sep=" ")

        some = "customer_no = (SELECT customer_no FROM customers ORDER BY customer_no LIMIT 1 OFFSET ? % 10)"
        order = "order_id = (SELECT order_id FROM orders ORDER BY order_id LIMIT 1 OFFSET ? % 5)"
        return [
            lambda which: run(f"UPDATE customers SET first_name = ?, changed = ? WHERE {some}",
                              f"Renamed {self.n}", changed(), which),
            lambda which: run(f"UPDATE orders SET order_no = ?, changed = ? WHERE {order}",
                              f"SO-{self.n}-{which}", changed(), which),
            lambda which: run(f"DELETE FROM orders WHERE {order} AND (SELECT count(*) FROM orders) > 6", which),
        ]  # fmt: skip


@pytest.mark.parametrize("case", list(CONNECTORS), indirect=True)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    deeds=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 40)), min_size=1, max_size=14),
    stops=st.sets(st.integers(0, 8), max_size=2),
)
def test_writers_during_a_pull_lose_no_record_wherever_it_stops(
    store: Store, case: Case, deeds: list[tuple[int, int]], stops: set[int]
) -> None:
    with store.write() as tx:
        wipe(tx)
    case.sandbox.reset()
    writer, left, tick = Writer(case), list(deeds), iter(range(1_000_000))

    def meanwhile(step: Progress) -> None:
        if step.done:
            return
        if left:
            writer.do(*left.pop())
        if next(tick) in stops:
            raise Temporary("stopped", code="stopping")

    for _ in range(len(stops) + 2):
        report = sync_connection(store, case.connection, progress=meanwhile)
        assert {line["error"] for line in report.values()} <= {None, "stopping: stopped"}
    while left:
        writer.do(*left.pop())
    pulled(store, case, full=case.connection.name == "legacy")
    losers = {("customer", str(one)) for one in writer.merged}  # one that the hub met merged already is archived here
    oracle.agrees(store, case.connection.name, writer.truth(), besides=losers)
    left = oracle.stored(store, case.connection.name, {key: {"status": None} for key in losers})
    assert {row["status"] for key, row in left.items() if key in losers} <= {"archived"}
    oracle.told_once(store)


# What upstream hides is hidden here.


@zendesk
@pytest.mark.parametrize("how", ["hide_comment", "redact_comment"])
def test_an_old_comment_that_is_hidden_or_redacted_is_so_here_after_the_next_pull(
    store: Store, case: Case, how: str
) -> None:
    state: Any = case.sandbox.state  # type: ignore[attr-defined]
    pulled(store, case)
    ticket, comments = next((one, rows) for one, rows in state.comments.items() if len(rows) > 1)
    first = next(one for one, row in comments.items() if row["public"])
    was = comments[first]["plain_body"]
    getattr(state, how)(ticket, first, case.sandbox.me)  # type: ignore[attr-defined]
    pulled(store, case)
    found = answer(store, case, "message", "comments", first)
    assert (found["visibility"] == "internal") is (how == "hide_comment")
    assert (found["body_text"] == was) is (how == "hide_comment")
    oracle.agrees(store, case.connection.name, oracle.zendesk(case.sandbox))


@salesforce
def test_a_case_comment_that_is_unpublished_is_internal_after_the_next_pull(store: Store, case: Case) -> None:
    org: Any = case.sandbox
    pulled(store, case)
    one = next(one for one, row in org.rows["CaseComment"].items() if row["IsPublished"])
    org.change("CaseComment", one, IsPublished=False)
    pulled(store, case)
    assert answer(store, case, "message", "CaseComment", one)["visibility"] == "internal"


# What the hub writes comes back, and is no news.


def test_what_the_hub_wrote_comes_back_without_an_event_and_no_connection_answers_another(
    database_url: str, tmp_path: Path
) -> None:
    with Sandboxes.start(["zendesk", "salesforce", "stripe"], customers=12, plugins=discover()) as up:
        (tmp_path / "config.toml").write_text(f'[hub]\ndatabase_url = "{database_url}"\n{up.toml()}')
        with App.open(tmp_path / "config.toml") as app:
            app.sync()
            shared = "SELECT entity_id FROM record WHERE kind = 'customer' GROUP BY entity_id HAVING count(*) > 2"
            with app.store.read() as tx:
                customer = tx.execute(shared).fetchone()[0]
                rows = tx.execute(
                    "SELECT connection, remote_id FROM record JOIN source ON source.id = source_id "
                    "WHERE entity_id = ?", (customer,)
                ).fetchall()  # fmt: skip
            references = dict(rows)
            ask = {"customer_ref": f"zendesk/users/{references['zendesk']}", "changes": {"display_name": "Grace New"}}
            done = app.act(Request(action="customer.update", input=ask, key="k-1"))
            assert done["status"] == "succeeded"
            written, told = [len(one.ledger) for one in up.sandboxes.values()], events(app.store)
            for _ in range(3):
                report = app.sync()
                assert not any(line["error"] for tables in report.values() for line in tables.values())
            assert events(app.store) == told, "what came back was known from the fetch after the write"
            assert [len(one.ledger) for one in up.sandboxes.values()] == written
            assert sum(len(one.effects("update user")) for one in up.sandboxes.values()) == 1
