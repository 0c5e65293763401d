"""Statements on reflected tables: columns checked, values in the form that the column takes, all parameterised."""

from collections.abc import Mapping
from datetime import tzinfo
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from hub import Invalid
from hub_legacy.database import Known
from hub_legacy.values import in_zone, thaw

if TYPE_CHECKING:
    from sqlalchemy import Column
    from sqlalchemy.sql import ColumnElement


def bound(known: Known, values: Mapping[str, Any], what: str, zone: str = "UTC") -> dict[str, Any]:
    """Give the values by the table's own column names, fit for them. Raises Invalid naming table and column."""
    return {
        (column := known.need(name, what)).name: fit(known, column, value, ZoneInfo(zone))
        for name, value in values.items()
    }


def fit(known: Known, column: "Column[Any]", value: Any, zone: tzinfo) -> Any:
    """Put a value into the form that a column takes. Raises Invalid for one that would be cut or misread."""
    sort = known.sort(column)
    where = f"{known.name}.{column.name}"
    if sort == "binary":
        raise Invalid(f"{where}: is binary; nothing can be written there")
    if isinstance(value, (dict, list, tuple)) and sort != "json":
        value = msgspec.json.encode(value).decode()
    try:
        made = thaw(value, sort, native=known.native)
    except (ValueError, TypeError) as exc:
        raise Invalid(f"{where}: takes a value of sort {sort}, which this is not") from exc
    if sort == "datetime":
        made = in_zone(made, zone, aware=bool(getattr(column.type, "timezone", False)), native=known.native)
    scale = known.scales.get(column.name)
    if sort == "decimal" and scale is not None and _decimals(made) > scale:
        raise Invalid(f"{where}: holds {scale} decimals; the value has more, and the database would round it")
    length = getattr(column.type, "length", None)
    if isinstance(made, str) and length is not None and len(made) > length:
        raise Invalid(f"{where}: holds {length} characters; the value has {len(made)}")
    return made


def _decimals(value: Any) -> int:
    """Count the decimals that a number needs."""
    try:
        exponent = Decimal(str(value)).normalize().as_tuple().exponent
    except InvalidOperation:
        return 0
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def condition(known: Known, where: Mapping[str, Any]) -> "ColumnElement[bool]":
    """Give column = value for all of `where`. Raises Invalid for a column that is not there, and for no condition."""
    from sqlalchemy import and_

    if not where:
        raise Invalid(f"{known.name}: `where` names no column; it would take every row")
    values = bound(known, where, "where")
    return and_(
        *(
            known.table.columns[name].is_(None) if v is None else known.table.columns[name] == v
            for name, v in values.items()
        )
    )
