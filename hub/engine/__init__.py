"""
Durable background work: who does which job, once, over all workers.

The journal and the sync cursor are the truth; the engine only decides who works. A job is one call of one function with
an id that says what it is for: the same id never runs a second time to its end, but a job whose worker died is begun
anew elsewhere, so every function must be safe to run twice. Nothing is retried, and no synchronous action passes here.
"""

from hub.engine.port import Engine
from hub.engine.timetable import Timetable, slot_at

__all__ = ["Engine", "Timetable", "slot_at"]
