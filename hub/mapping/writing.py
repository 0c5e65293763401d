"""The write side: unified changes in the vendor's words, as the inverse of each field or as a write table says."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from hub.errors import HubError, MappingError, Unsupported
from hub.mapping import times, words
from hub.mapping.constants import shape_of
from hub.mapping.converters import decimal, json_text
from hub.mapping.inverse import Plan, plans, typed
from hub.mapping.paths import Name, Path, Pick
from hub.mapping.spec import MISSING, REJECT, Table
from hub.mapping.words import Place
from hub.money import Money, currency_code, to_major
from hub.records import KINDS, Visibility

_BODY = ("body_text", "body_html")


class Writing:
    """The write side of all tables of a mapping."""

    def __init__(self, where: str, tables: Mapping[str, Table]) -> None:
        self.where = where
        self.tables = tables
        self.plans = {name: plans(where, table) for name, table in tables.items()}

    def write(self, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Write to a table, or to the one table of a kind that can take all of the changes."""
        if name in self.tables:
            return self._write(self.tables[name], changes)
        if name not in KINDS:
            words.unknown(Place(self.where), "table or kind", name, [*self.tables, *KINDS])
        tables = [table for table in self.tables.values() if table.kind == name and table.writable]
        if not tables:
            raise Unsupported(f"{self.where}: no table of kind {name} is writable here")
        return self._only(tables, changes)

    def _only(self, tables: list[Table], changes: Mapping[str, Any]) -> dict[str, Any]:
        written, faults = {}, []
        for table in tables:
            try:
                written[table.name] = self._write(table, changes)
            except HubError as exc:
                faults.append(exc)
        if len(written) > 1:
            raise MappingError(f"{self.where}: several tables can take this: {', '.join(written)}; name one of them")
        if not written:
            raise faults[0]
        return next(iter(written.values()))

    def _write(self, table: Table, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Write fields of one table; a new text whose visibility nobody states is internal."""
        known = self.plans[table.name]
        said = known.get("visibility") if table.kind == "message" else None
        if said is not None and said.constant is MISSING and any(changes.get(name) is not None for name in _BODY):
            changes = {"visibility": Visibility.internal.value} | dict(changes)
        place, out = Place(self.where).at(table.name), dict[str, Any]()
        _members(place, known, changes, out, whole=False)
        return out


def _members(
    place: Place, known: Mapping[str, Plan], values: Mapping[str, Any], out: dict[str, Any], *, whole: bool
) -> None:
    """Write the members of an object (`whole`), or the changed fields of a record."""
    done: set[str] = set()
    for plan in known.values():
        if plan.inputs and any(name in values for name in plan.inputs):
            lacking = [name for name in plan.inputs if name not in values]
            if lacking and not whole:
                raise Unsupported(f"{plan.place}: {', '.join(plan.inputs)} can only be written together")
            put(out, plan, _convert(plan, [_plain(values.get(name)) for name in plan.inputs]))
            done |= set(plan.inputs)
    for name, value in values.items():
        plan_of = known.get(name)
        if plan_of is not None and not plan_of.inputs:
            write_field(plan_of, value, out)
        elif name not in done and not (whole and value is None):
            _refuse(place.under(name), name, known)


def _refuse(place: Place, name: str, known: Mapping[str, Plan]) -> None:
    can = [other for other, plan in known.items() if plan.constant is MISSING]
    raise Unsupported(f"{place}: cannot be written here; writable: {words.one_of(can)}", field_path=name)


def write_field(plan: Plan, value: Any, out: dict[str, Any]) -> None:
    """Write one unified value into `out`. Raises Unsupported or MappingError."""
    if plan.constant is not MISSING:
        if _plain(value) != plan.constant:
            said = f'"{plan.constant}"' if isinstance(plan.constant, (str, bool, int)) else "fixed"
            raise Unsupported(f"{plan.place}: is always {said} in this table and cannot be written")
    elif plan.parts:
        inside = dict.fromkeys(n for n, p in plan.parts.items() if p.constant is MISSING) if value is None else value
        _members(plan.place, plan.parts, _mapping(plan, inside), out, whole=True)
    else:
        put(out, plan, vendor_value(plan, value))


def _mapping(plan: Plan, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        plan.place.fail(f"expected an object, found {words.kind_of(value)}")
    return value


def vendor_value(plan: Plan, value: Any) -> Any:
    """Say one unified value in the vendor's words."""
    if plan.fixed is not MISSING:
        return plan.fixed
    if plan.values is not None:
        return _word(plan, value)
    if value is None:
        return plan.null
    return _convert(plan, _shaped(plan, value))


def _word(plan: Plan, value: Any) -> Any:
    if value is None and plan.field.type is not Visibility:
        return plan.null
    assert plan.values is not None
    word = json_text(_plain(value))
    if word in plan.values:
        return plan.values[word]
    if plan.otherwise is MISSING or plan.otherwise is REJECT:
        plan.place.fail(f'the vendor has no word for "{word}"; known: {words.one_of(plan.values)}')
    return plan.otherwise


def _convert(plan: Plan, value: Any) -> Any:
    for convert in plan.convert:
        if value is None:
            return None
        try:
            value = convert(value)
        except (ValueError, TypeError, ArithmeticError) as exc:
            raise MappingError(f"{plan.place}: cannot be written: {exc}") from exc
    return value


def _shaped(plan: Plan, value: Any) -> Any:
    if plan.field.many and not isinstance(value, list):
        plan.place.fail(f"expected a list, found {words.kind_of(value)}")
    if plan.field.many:
        return [_one(plan, item) for item in value]
    return _one(plan, value)


def _one(plan: Plan, value: Any) -> Any:
    shape = shape_of(plan.field)
    try:
        if shape == "money":
            return _money(plan, value)
        if shape == "time":
            return times.iso(times.as_datetime(value))
        if shape == "decimal":
            return format(decimal(value) or Decimal(0), "f")
    except (ValueError, HubError) as exc:
        raise MappingError(f"{plan.place}: cannot be written: {exc}") from exc
    if isinstance(value, Mapping) and shape == "ref":
        return value.get("remote_id", value.get("value"))
    if (shape == "bool" and not isinstance(value, bool)) or (shape == "int" and type(value) is not int):
        plan.place.fail(f"expected a {'boolean' if shape == 'bool' else 'whole number'}, found {words.kind_of(value)}")
    if shape in ("text", "ref") and not isinstance(value, str):
        plan.place.fail(f"expected a text, found {words.kind_of(value)}")
    return _plain(value)


def _money(plan: Plan, value: Any) -> Any:
    if not isinstance(value, Money):
        members = _mapping(plan, value)
        if type(members.get("amount")) is not int:
            plan.place.fail("expected an amount in minor units as a whole number")
        value = Money(members["amount"], currency_code(members.get("currency", "")))
    if plan.currency not in (None, value.currency):
        plan.place.fail(f"amounts are always in {plan.currency} here, found {value.currency}")
    return value.amount if plan.unit == "minor" else to_major(value)


def _plain(value: Any) -> Any:
    """Give a value as JSON has it."""
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, datetime):
        return times.iso(times.as_datetime(value))
    return format(value, "f") if isinstance(value, Decimal) else value


def put(out: dict[str, Any], plan: Plan, value: Any) -> None:
    """Put a vendor's value where the plan's path says."""
    assert plan.to is not None
    place(out, plan.to, value)


def place(out: dict[str, Any], path: Path, value: Any) -> None:
    """Put a value into nested objects; a pick becomes a list with one element per picked key."""
    here: Any = out
    for at, step in enumerate(path.steps[:-1]):
        deeper: Any = [] if isinstance(path.steps[at + 1], Pick) else {}
        if isinstance(step, Name):
            here = here.setdefault(step.name, deeper)
        elif isinstance(step, Pick):
            here = _picked(here, step)
    last = path.steps[-1]
    assert isinstance(last, Name)
    here[last.name] = value


def _picked(elements: list[dict[str, Any]], step: Pick) -> dict[str, Any]:
    wanted = step.value if step.quoted else typed(step.value)
    for element in elements:
        if element.get(step.key) == wanted:
            return element
    elements.append({step.key: wanted})
    return elements[-1]
