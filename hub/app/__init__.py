"""The one place that puts things together: settings, databases, plugins, connections, performer, scheduler."""

from hub.app.opened import App
from hub.app.setup import database_versions, private, skeletons, upgrade_databases
from hub.app.worker import Worker

__all__ = ["App", "Worker", "database_versions", "private", "skeletons", "upgrade_databases"]
