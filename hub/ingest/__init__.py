"""
The only way in: a page becomes rows, rejects, links, events and a cursor, in one transaction.

Pulls, webhooks, fetch-after-write and remap all come through `ingest`, so what they leave behind is the same.
"""

from hub.ingest.again import Again, Compared, compare, note, reproject, retire
from hub.ingest.commit import HASH, Counts, Kept, Made, PageCommit, TableCounts, ingest
from hub.ingest.merged import archived

__all__ = [
    "HASH",
    "Again",
    "Compared",
    "Counts",
    "Kept",
    "Made",
    "PageCommit",
    "TableCounts",
    "archived",
    "compare",
    "ingest",
    "note",
    "reproject",
    "retire",
]
