"""How a system moves away from its mapping: fields that come, go or change, words without a meaning, empty fields."""

from hub.drift.describing import DAY_S, Change, due, take
from hub.drift.reporting import brief, report
from hub.drift.unknowns import unknowns

__all__ = ["DAY_S", "Change", "brief", "due", "report", "take", "unknowns"]
