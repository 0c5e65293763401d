"""An imitation of Zendesk Support: a real HTTP server on loopback, filled from the shared world."""

from hub_zendesk.sandbox.server import ZendeskSandbox

__all__ = ["ZendeskSandbox"]
