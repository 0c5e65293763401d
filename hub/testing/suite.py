"""ConnectorSuite: inherit it, name your connector, and every law a connector must hold is tested."""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from hub.connector import Connector
from hub.sandbox import World
from hub.testing import checks
from hub.testing.case import Case, case_for


class ConnectorSuite:
    """
    The tests every connector passes.

    Set `connector`. `wrong_credentials` are settings the vendor refuses (None: the system has none). `edit` proves
    that a user's edit of the mapping's write side changes the request: (text of the mapping, its replacement, action
    class, word that must be in the request). `renamed` names fields of the mapping that a request must call otherwise
    ({"email": "value"}). `decisive` matches, for an action of several requests, the one after which it has happened
    ({"customer.change_email": "/make_primary"}). `private_messages` gives ids the sandbox knows to be internal.
    `http = False` leaves out what only makes sense for a vendor behind HTTP.
    """

    connector: ClassVar[type[Connector]]
    wrong_credentials: ClassVar[dict[str, Any] | None] = None
    edit: ClassVar[tuple[str, str, Any, str] | None] = None
    renamed: ClassVar[dict[str, str]] = {}
    decisive: ClassVar[dict[str, str]] = {}
    samples: ClassVar[dict[str, dict[str, Any]]] = {}
    customers: ClassVar[int] = 40
    http: ClassVar[bool] = True

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls) -> Iterator[Case]:
        with case_for(cls.connector, world=World(customers=cls.customers), samples=cls.samples) as case:
            yield case

    @pytest.fixture
    def fresh(self) -> Iterator[Case]:
        with case_for(self.connector, world=World(customers=self.customers), samples=self.samples) as case:
            yield case

    def private_messages(self, case: Case) -> list[str]:
        return []

    def test_check_names_the_account(self, case: Case) -> None:
        checks.names_the_account(case)

    def test_wrong_credentials_are_told(self, case: Case) -> None:
        if self.wrong_credentials is None:
            return
        with case_for(self.connector, sandbox=case.sandbox, **self.wrong_credentials) as wrong:
            checks.refuses_wrong_credentials(wrong)

    def test_the_default_mapping_takes_all_that_is_pulled(self, case: Case) -> None:
        checks.maps_all_it_pulls(case)

    def test_mapped_records_fit_their_kinds(self, case: Case) -> None:
        checks.fills_its_kinds(case)

    def test_no_page_comes_twice(self, case: Case) -> None:
        checks.repeats_no_page(case)

    def test_a_pull_resumes_from_any_cursor(self, case: Case) -> None:
        checks.resumes_from_any_cursor(case)

    def test_fetch_gives_what_the_pull_gave(self, case: Case) -> None:
        checks.fetches_what_it_pulls(case)

    def test_private_messages_never_come_out_public(self, case: Case) -> None:
        checks.keeps_messages_closed(case, self.private_messages(case))

    def test_odd_ids_never_reach_the_vendor(self, case: Case) -> None:
        if self.http:
            checks.refuses_odd_ids(case)

    def test_429_and_500_in_the_middle_lose_nothing(self, fresh: Case) -> None:
        if self.http:
            checks.gets_past_a_bad_spell(fresh)

    def test_html_or_half_a_page_stops_the_pull(self, fresh: Case) -> None:
        if self.http:
            checks.stops_at_a_page_that_is_none(fresh)

    def test_requests_carry_the_mappings_words(self, case: Case) -> None:
        checks.sends_the_mappings_words(case, self.renamed)

    def test_an_edited_mapping_changes_the_request(self, case: Case) -> None:
        if self.edit is not None:
            old, new, action, word = self.edit
            checks.follows_an_edited_mapping(case, old, new, action, word)

    def test_notes_are_internal_and_replies_public(self, case: Case) -> None:
        checks.keeps_notes_internal(case)

    def test_a_lost_answer_is_never_called_absent(self, fresh: Case) -> None:
        if self.http:
            checks.settles_a_lost_answer(fresh, self.decisive)

    def test_a_write_that_broke_off_is_never_called_failed(self, fresh: Case) -> None:
        if self.http:
            checks.doubts_what_broke_off(fresh)
