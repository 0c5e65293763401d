"""Deskhub's connector for Zendesk Support, as the hub finds it."""

from collections.abc import Callable
from typing import Any

from hub import Connector, hookimpl


@hookimpl
def hub_connectors() -> list[type[Connector]]:
    """Name the connector; the SDK is imported when a connection opens."""
    from hub_zendesk.connector import ZendeskConnector

    return [ZendeskConnector]


@hookimpl
def hub_converters() -> dict[str, Callable[..., Any]]:
    """Give the converters that the default mapping uses."""
    from hub_zendesk.links import zendesk_agent_url
    from hub_zendesk.zones import zendesk_later, zendesk_zone

    return {"zendesk_agent_url": zendesk_agent_url, "zendesk_later": zendesk_later, "zendesk_zone": zendesk_zone}
