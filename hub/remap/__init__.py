"""
Apply a changed mapping to the raw records that are kept, or say what it would change. The vendor is never asked.

What is written comes in through `ingest`, so rows, rejects, links and events are what a pull would have made of them.
"""

from hub.remap.applying import Mapped, Progress, apply
from hub.remap.behind import behind
from hub.remap.differing import diff
from hub.remap.replaying import replay
from hub.remap.suggesting import suggest

__all__ = ["Mapped", "Progress", "apply", "behind", "diff", "replay", "suggest"]
