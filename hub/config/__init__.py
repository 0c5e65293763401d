"""
Settings, each declared once: read from TOML and the environment, checked, and told in one line when they are wrong.

`config.example.toml` and the file that `hub init` writes are made from these declarations.
"""

from hub.config.declare import ConnectionSettings, HubSettings, Settings, SyncSettings, duration_s, since_time
from hub.config.example import example
from hub.config.load import connector_config, did_you_mean, ledger_beside, load

__all__ = [
    "ConnectionSettings",
    "HubSettings",
    "Settings",
    "SyncSettings",
    "connector_config",
    "did_you_mean",
    "duration_s",
    "example",
    "ledger_beside",
    "load",
    "since_time",
]
