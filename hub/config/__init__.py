"""
Settings, each declared once: read from TOML and the environment, checked, and told in one line when they are wrong.

`config.example.toml` and the file that `hub init` writes are made from these declarations.
"""

from hub.config.declare import (
    ConnectionSettings,
    HubSettings,
    LimitSettings,
    Settings,
    SyncSettings,
    duration_s,
    since_time,
)
from hub.config.example import example
from hub.config.load import connector_config, engine_beside, ledger_beside, load, unset
from hub.config.plain import did_you_mean, plain

__all__ = [
    "ConnectionSettings",
    "HubSettings",
    "LimitSettings",
    "Settings",
    "SyncSettings",
    "connector_config",
    "did_you_mean",
    "duration_s",
    "engine_beside",
    "example",
    "ledger_beside",
    "load",
    "plain",
    "since_time",
    "unset",
]
