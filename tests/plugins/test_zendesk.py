"""The Zendesk connector keeps the laws of all connectors."""

from hub.actions import TicketReply
from hub.testing import Case, ConnectorSuite
from hub_zendesk.connector import ZendeskConnector


class TestZendesk(ConnectorSuite):
    connector = ZendeskConnector
    wrong_credentials = {"token": "not-the-token"}
    edit = (
        '[comments.write.body_text]\nto = "body"',
        '[comments.write.body_text]\nto = "html_body"',
        TicketReply,
        "html_body",
    )
    renamed = {"email": "value"}  # an address is an identity of the user, with a value
    decisive = {"customer.change_email": "/make_primary"}

    def private_messages(self, case: Case) -> list[str]:
        rows = (row for comments in case.sandbox.state.comments.values() for row in comments.values())
        return [str(row["id"]) for row in rows if not row["public"]]
