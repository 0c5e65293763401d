"""The Salesforce connector on its sandbox: the suite of all connectors, and what is Salesforce's own about pulling."""

from typing import ClassVar

from hub.actions import TicketSetStatus
from hub.testing import Case, ConnectorSuite
from hub_salesforce.connector import SalesforceConnector


class TestSalesforce(ConnectorSuite):
    connector = SalesforceConnector
    wrong_credentials: ClassVar = {"session_id": "00DHb000000000A!stolen"}
    edit: ClassVar = ('pending = "Waiting on Customer"', 'pending = "Escalated"', TicketSetStatus, "Escalated")

    def private_messages(self, case: Case) -> list[str]:
        return [row["Id"] for row in case.sandbox.rows["CaseComment"].values() if not row["IsPublished"]]
