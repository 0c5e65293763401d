"""The Deskhub plugin for Stripe. Nothing of Stripe's SDK is imported until a connection opens."""

from hub import Connector, hookimpl


@hookimpl
def hub_connectors() -> list[type[Connector]]:
    """Give the connector class of this plugin."""
    from hub_stripe.connector import StripeConnector

    return [StripeConnector]
