"""The Deskhub plugin for Stripe. Nothing of Stripe's SDK is imported until a connection opens."""

from collections.abc import Callable
from typing import Any

from hub import Connector, hookimpl


@hookimpl
def hub_connectors() -> list[type[Connector]]:
    """Give the connector class of this plugin."""
    from hub_stripe.connector import StripeConnector

    return [StripeConnector]


@hookimpl
def hub_converters() -> dict[str, Callable[..., Any]]:
    """Give the converters that the default mapping uses."""
    from hub_stripe.derived import stripe_amount_per_period, stripe_minor, stripe_next_billing, stripe_order

    return {
        "stripe_amount_per_period": stripe_amount_per_period,
        "stripe_minor": stripe_minor,
        "stripe_next_billing": stripe_next_billing,
        "stripe_order": stripe_order,
    }
