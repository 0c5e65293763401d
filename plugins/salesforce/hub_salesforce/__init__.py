"""Deskhub plugin: Salesforce through simple-salesforce."""

from collections.abc import Callable
from typing import Any

from hub import hookimpl


@hookimpl
def hub_connectors() -> list[type]:
    """Name this plugin's connector; the SDK is imported when a connection is first used."""
    from hub_salesforce.connector import SalesforceConnector

    return [SalesforceConnector]


@hookimpl
def hub_converters() -> dict[str, Callable[..., Any]]:
    """Give the converters that the default mapping uses."""
    from hub_salesforce import links

    return {
        "salesforce_domain": links.salesforce_domain,
        "salesforce_page": links.salesforce_page,
        "salesforce_queue": links.salesforce_queue,
        "salesforce_user": links.salesforce_user,
    }
