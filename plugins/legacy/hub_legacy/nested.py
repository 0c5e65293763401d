"""Rows of another table that come as a list inside each record."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from hub_legacy.database import Known
from hub_legacy.options import Nest
from hub_legacy.values import reader

if TYPE_CHECKING:
    from sqlalchemy import Connection

_CHUNK = 500


def children(
    connection: "Connection", nest: Nest, child: Known, parents: Sequence[Any], zone: ZoneInfo
) -> dict[Any, list[dict[str, Any]]]:
    """Read the rows of a nested table that belong to these parents."""
    from sqlalchemy import select

    columns = [column for column in child.table.columns if child.sort(column) != "binary"]
    key = child.need(nest.key, nest.table)
    order = [child.need(nest.order, nest.table)] if nest.order else list(child.table.primary_key)
    odd = [(c.name, f) for c in columns if (f := reader(child.sort(c), child.scales.get(c.name), zone))]
    found: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    wanted = list({parent for parent in parents if parent is not None})
    for i in range(0, len(wanted), _CHUNK):
        query = select(key.label("hub_parent"), *columns).where(key.in_(wanted[i : i + _CHUNK])).order_by(key, *order)
        for parent, *values in connection.execute(query):
            record = dict(zip((column.name for column in columns), values, strict=True))
            for name, convert in odd:
                record[name] = None if record[name] is None else convert(record[name])
            found[parent].append(record)
    return found
