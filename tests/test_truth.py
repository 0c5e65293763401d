"""Truth: what becomes of a record upstream becomes of it here, whoever writes meanwhile, on both stores."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hub import reads
from hub.records import birth_id
from hub.sandbox import World
from hub.store import Store
from hub.sync import Progress, fetch, sync_connection
from hub.testing import Case, case_for
from hub_legacy.connector import LegacyConnector
from hub_salesforce.connector import SalesforceConnector
from hub_stripe.connector import StripeConnector
from hub_zendesk.connector import ZendeskConnector
from tests import oracle

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
