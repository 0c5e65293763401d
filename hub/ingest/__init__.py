"""
The only way in: a page becomes rows, rejects, links, events and a cursor, in one transaction.

Pulls, webhooks and fetch-after-write all come through `ingest`, so what they leave behind is the same.
"""

from hub.ingest.commit import Counts, PageCommit, TableCounts, ingest
from hub.ingest.merged import archived

__all__ = ["Counts", "PageCommit", "TableCounts", "archived", "ingest"]
