"""A legacy system on this machine: an order database, a drop folder, and a mainframe that books requests."""

from hub_legacy.sandbox.site import LegacySandbox

__all__ = ["LegacySandbox"]
