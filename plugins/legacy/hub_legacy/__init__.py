"""Deskhub's connector for systems without an API: SQL databases and drop folders."""

from hub import Connector, hookimpl


@hookimpl
def hub_connectors() -> list[type[Connector]]:
    from hub_legacy.connector import LegacyConnector

    return [LegacyConnector]
