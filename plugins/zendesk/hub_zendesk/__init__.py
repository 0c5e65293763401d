"""Deskhub's connector for Zendesk Support, as the hub finds it."""

from hub import Connector, hookimpl


@hookimpl
def hub_connectors() -> list[type[Connector]]:
    """Name the connector; the SDK is imported when a connection opens."""
    from hub_zendesk.connector import ZendeskConnector

    return [ZendeskConnector]
