"""
The hooks a plugin may implement. pluggy only finds things: hooks return classes, plain method calls follow.

A plugin is a module named by an entry point of the group `hub`.
"""

from collections.abc import Callable
from typing import Any

import pluggy

from hub.actions import Action
from hub.connector import Call, Connector

hookspec = pluggy.HookspecMarker("hub")
hookimpl = pluggy.HookimplMarker("hub")


@hookspec
def hub_connectors() -> list[type[Connector]]:  # type: ignore[empty-body]
    """Return the connector classes of this plugin. Called once at start; must not import a vendor SDK."""


@hookspec
def hub_actions() -> list[type[Action]]:  # type: ignore[empty-body]
    """Return action classes that this plugin adds to the catalogue. Their names must be new."""


@hookspec
def hub_converters() -> dict[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Return converters for mappings by name: `convert(value, **options)`; raise ValueError on a bad value."""


@hookspec
def hub_decide(action: Action, call: Call) -> str | None:
    """
    Return why a call must not be made, or None. Asked after the policy, for each system that would be written to.

    Must be quick and change nothing. An error refuses.
    """
