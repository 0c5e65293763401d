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
    from hub_salesforce.links import salesforce_domain, salesforce_page

    return {"salesforce_domain": salesforce_domain, "salesforce_page": salesforce_page}
