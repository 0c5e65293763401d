"""Deskhub plugin: Salesforce through simple-salesforce."""

from hub import hookimpl


@hookimpl
def hub_connectors() -> list[type]:
    """Name this plugin's connector; the SDK is imported when a connection is first used."""
    from hub_salesforce.connector import SalesforceConnector

    return [SalesforceConnector]
