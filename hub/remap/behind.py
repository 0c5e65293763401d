"""Which stored rows are not of the present mapping."""

from hub.remap.applying import Mapped
from hub.store import Sources, Store

_SOME = """
SELECT EXISTS (SELECT 1 FROM state WHERE source_id = ?) OR EXISTS (SELECT 1 FROM reject WHERE source_id = ?)
    OR EXISTS (SELECT 1 FROM untaken WHERE connection = ? AND stream = ?)
"""


def behind(store: Store, connection: Mapped) -> list[str]:
    """Name the streams of which rows are stored that another mapping than the present one made."""
    found = []
    mapping, name = connection.mapping, connection.name
    with store.read() as tx:
        sources = Sources.load(tx)
        for stream in mapping.streams():
            made = mapping.projection(stream)
            others = [one for one in sources.by_stream.get((name, stream), ()) if one.whole != made]
            new = [table for table in mapping.tables_of(stream) if (name, table) not in sources.by_name]
            asked = others or (sources.by_stream.get((name, stream), []) if new else [])
            if any(tx.execute(_SOME, (one.id, one.id, name, stream)).fetchone()[0] for one in asked):
                found.append(stream)
    return found
