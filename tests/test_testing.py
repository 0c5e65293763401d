"""ConnectorSuite holds good connectors to be good, and catches bad ones: each check has a connector that fails it."""

import pytest

import hub
from hub.testing import case_for, checks

SAMPLES = {"ticket.note": {"body": "Internal: asked the warehouse."}}


@pytest.fixture
def case(acme, acme_sandbox):
    def opened(cls=None, **settings):
        return case_for(cls or acme.AcmeConnector, sandbox=acme_sandbox, samples=SAMPLES, **settings)

    return opened


def private(sandbox):
    return [note["id"] for case in sandbox.cases for note in case["notes"] if note["audience"] == "staff"]


def test_a_good_connector_passes_every_check(case, acme_sandbox):
    with case() as good:
        checks.names_the_account(good)
        checks.maps_all_it_pulls(good)
        checks.fills_its_kinds(good)
        checks.repeats_no_page(good)
        checks.resumes_from_any_cursor(good)
        checks.fetches_what_it_pulls(good)
        checks.refuses_odd_ids(good)
        checks.keeps_messages_closed(good, private(acme_sandbox))
        checks.gets_past_a_bad_spell(good)
        checks.stops_at_a_page_that_is_none(good)
        checks.sends_the_mappings_words(good)
        checks.follows_an_edited_mapping(
            good, 'body_text  = "text"', 'body_text  = "comment"', hub.TicketNote, "comment"
        )
        checks.keeps_notes_internal(good)
        checks.settles_a_lost_answer(good)
        checks.doubts_what_broke_off(good)
    with case(token="wrong-token") as wrong:
        checks.refuses_wrong_credentials(wrong)


def test_it_catches_a_connector_that_swallows_a_401(acme, case):
    class Swallows(acme.AcmeConnector):
        def judged(self, answer):
            return b'{"cases": [], "after": null}' if answer.status_code == 401 else answer.content

    with case(Swallows, token="wrong-token") as bad, pytest.raises((pytest.fail.Exception, KeyError)):
        checks.refuses_wrong_credentials(bad)


def test_it_catches_a_connector_that_repeats_a_page(acme, case):
    class Repeats(acme.AcmeConnector):
        @hub.pull("cases", deletes="none")
        def cases(self, stream, cursor):
            for page in acme.AcmeConnector.cases(self, stream, cursor):
                yield page
                yield page

    with case(Repeats) as bad, pytest.raises(AssertionError, match="came twice"):
        checks.repeats_no_page(bad)


def test_it_catches_a_connector_that_never_ends(acme, case):
    class Endless(acme.AcmeConnector):
        @hub.pull("cases", deletes="none")
        def cases(self, stream, cursor):
            while True:
                yield hub.Page(body=self.ask("/cases", after="0"), at="cases", cursor="0")

    with case(Endless) as bad, pytest.raises(AssertionError, match="does not end"):
        list(bad.pull("cases", most=20))


def test_it_catches_a_connector_that_loses_records_at_a_resume(acme, case):
    class Skips(acme.AcmeConnector):
        @hub.pull("cases", deletes="none")
        def cases(self, stream, cursor):
            return acme.AcmeConnector.cases(self, stream, str(int(cursor) + 1) if cursor else None)

    with case(Skips) as bad, pytest.raises(AssertionError, match="lost after a resume"):
        checks.resumes_from_any_cursor(bad)


def test_it_catches_a_connector_that_ignores_the_write_side(acme, case):
    class Ignores(acme.AcmeConnector):
        @hub.act(hub.TicketNote, idempotency="native")
        def note(self, action, call):
            body = {"text": action.body, "audience": "staff"}
            self.transport.post("https://api.acme.example/cases/AC-1/notes", json=body, headers=self.headers())

    with case(Ignores) as bad, pytest.raises(AssertionError, match="edited mapping is not followed"):
        checks.follows_an_edited_mapping(
            bad, 'body_text  = "text"', 'body_text  = "comment"', hub.TicketNote, "comment"
        )


def test_it_catches_a_connector_that_drops_visibility(acme, case):
    class Drops(acme.AcmeConnector):
        @hub.act(hub.TicketNote, idempotency="native")
        def note(self, action, call):
            body = {"text": call.fields["text"]}
            self.transport.post("https://api.acme.example/cases/AC-1/notes", json=body, headers=self.headers())

    with case(Drops) as bad:
        with pytest.raises(AssertionError, match="visibility is not sent"):
            checks.keeps_notes_internal(bad)
        with pytest.raises(AssertionError, match="is not sent as the mapping says"):
            checks.sends_the_mappings_words(bad)


def test_it_catches_a_mapping_that_makes_private_notes_public(acme, case, acme_sandbox):
    class Leaks(acme.AcmeConnector):
        mapping = (
            '[cases]\nkind = "ticket"\nkey = "ref"\n[cases.fields]\nsubject = "title"\n'
            '[notes]\nstream = "cases"\neach = "notes"\nkind = "message"\nkey = "id"\n'
            '[notes.fields]\nbody_text = "text"\nvisibility = { from = "audience", '
            'values = { everyone = "public", staff = "public" }, otherwise = "internal" }\n'
        )

    with case(Leaks) as bad, pytest.raises(AssertionError, match="became public"):
        checks.keeps_messages_closed(bad, private(acme_sandbox))


def test_it_catches_a_connector_that_lets_odd_ids_out(acme, case):
    class Trusts(acme.AcmeConnector):
        def valid(self, remote_id):
            return remote_id

    with case(Trusts) as bad, pytest.raises((AssertionError, pytest.fail.Exception)):
        checks.refuses_odd_ids(bad)


def test_it_catches_a_connector_that_takes_html_for_an_end(acme, case):
    class Forgives(acme.AcmeConnector):
        @hub.pull("cases", deletes="none")
        def cases(self, stream, cursor):
            try:
                yield from acme.AcmeConnector.cases(self, stream, cursor)
            except hub.Temporary:
                return

    with case(Forgives) as bad, pytest.raises(pytest.fail.Exception):
        checks.stops_at_a_page_that_is_none(bad)


def test_it_catches_a_connector_that_calls_a_lost_answer_absent(acme, case):
    class Hasty(acme.AcmeConnector):
        @hub.find(hub.TicketNote)
        def find_note(self, action, call):
            return hub.Absent()

    with case(Hasty) as bad, pytest.raises(AssertionError, match="says absent of what happened"):
        checks.settles_a_lost_answer(bad)


def test_it_catches_a_connector_that_takes_nonsense_for_a_refusal(acme, case):
    class Certain(acme.AcmeConnector):
        @hub.act(hub.TicketNote, idempotency="marker")
        def note(self, action, call):
            try:
                answer = self.transport.post(f"https://api.acme.example/cases/{call.target.remote_id}/notes", json={})
                return hub.Outcome([hub.Effect("note", answer.json()["id"], "create")])
            except ValueError as exc:
                raise hub.Invalid("acme: the answer is no JSON") from exc

    with case(Certain) as bad, pytest.raises(AssertionError, match="is taken for a failure"):
        checks.doubts_what_broke_off(bad)
