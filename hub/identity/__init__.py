"""
Which records are one customer, account or order.

The verdict is a pure function of all records that evidence joins (`rules.partition`), so the order in which pages or
connections came does not matter. What it says is kept as links, aliases and merged bodies (`settle`).
"""

from hub.identity.neighbours import values_of
from hub.identity.rules import Group, Member, partition
from hub.identity.settle import Touched, settle

__all__ = ["Group", "Member", "Touched", "partition", "settle", "values_of"]
