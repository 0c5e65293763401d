"""Just enough of SOQL: what the connector may send, refused in Salesforce's words where the org lacks a name."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hub_salesforce.sandbox.shapes import Column, Shape

Row = dict[str, Any]
Condition = Callable[[Row], bool]
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<time>\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:?\d\d))|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<op><=|>=|!=|=|<|>|\(|\)|,)|(?P<name>[A-Za-z_][A-Za-z0-9_.]*))"
)


OF_ANY_NAME = frozenset("Id Name Type Email FirstName LastName Alias Username IsActive Phone Title".split())


class Refusal(Exception):
    """An answer with an error: HTTP status, error code, message, fields."""

    def __init__(self, code: str, message: str, status: int = 400, fields: tuple[str, ...] = ()) -> None:
        super().__init__(code)
        self.status = status
        self.body = [{"message": message, "errorCode": code, **({"fields": list(fields)} if fields else {})}]


@dataclass
class Query:
    """A parsed query; `children` are subqueries by the name of their relationship."""

    sobject: str
    columns: list[str]
    children: dict[str, "Query"] = field(default_factory=dict)
    where: Any = None
    order: list[tuple[str, bool]] = field(default_factory=list)
    limit: int | None = None


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = list(_tokens(text))
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][1].upper() if self.at < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> tuple[str, str]:
        if self.at >= len(self.tokens) or (wanted is not None and self.peek() != wanted):
            found = self.tokens[self.at][1] if self.at < len(self.tokens) else "<EOF>"
            raise Refusal("MALFORMED_QUERY", f"unexpected token: '{found}'")
        self.at += 1
        return self.tokens[self.at - 1]

    def query(self) -> Query:
        self.take("SELECT")
        columns: list[str] = []
        children: dict[str, Query] = {}
        while True:
            if self.peek() == "(":
                self.take("(")
                inner = self.query()
                self.take(")")
                children[inner.sobject] = inner
            else:
                columns.append(self.name())
            if self.peek() != ",":
                break
            self.take(",")
        self.take("FROM")
        made = Query(self.name(), columns, children)
        if self.peek() == "WHERE":
            self.take()
            made.where = self.either()
        if self.peek() == "ORDER":
            made.order = self.ordering()
        if self.peek() == "LIMIT":
            self.take()
            made.limit = int(self.take()[1])
        return made

    def name(self) -> str:
        kind, text = self.take()
        if kind != "name":
            raise Refusal("MALFORMED_QUERY", f"unexpected token: '{text}'")
        return text

    def ordering(self) -> list[tuple[str, bool]]:
        self.take("ORDER")
        self.take("BY")
        found = []
        while True:
            path, down = self.name(), False
            if self.peek() in ("ASC", "DESC"):
                down = self.take()[1].upper() == "DESC"
            found.append((path, down))
            if self.peek() != ",":
                return found
            self.take(",")

    def either(self) -> Any:
        terms = [self.both()]
        while self.peek() == "OR":
            self.take()
            terms.append(self.both())
        return terms[0] if len(terms) == 1 else ("or", terms)

    def both(self) -> Any:
        terms = [self.term()]
        while self.peek() == "AND":
            self.take()
            terms.append(self.term())
        return terms[0] if len(terms) == 1 else ("and", terms)

    def term(self) -> Any:
        if self.peek() == "(":
            self.take("(")
            inner = self.either()
            self.take(")")
            return inner
        path = self.name()
        if self.peek() == "NOT":
            self.take()
            self.take("IN")
            return ("not in", path, self.values())
        if self.peek() == "IN":
            self.take()
            return ("in", path, self.values())
        operator = self.take()[1]
        if operator not in ("=", "!=", "<", ">", "<=", ">="):
            raise Refusal("MALFORMED_QUERY", f"unexpected token: '{operator}'")
        return (operator, path, self.take())

    def values(self) -> list[tuple[str, str]]:
        self.take("(")
        found = [self.take()]
        while self.peek() == ",":
            self.take()
            found.append(self.take())
        self.take(")")
        return found


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at, text = 0, text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise Refusal("MALFORMED_QUERY", f"unexpected token: '{text[at : at + 10]}'")
        yield found.lastgroup, found[found.lastgroup]
        at = found.end()


def parse(text: str) -> Query:
    """Parse a query. Raises Refusal."""
    parser = _Parser(text)
    made = parser.query()
    if parser.at < len(parser.tokens):
        parser.take("")
    return made


@dataclass
class Engine:
    """Answers queries over the org's rows: {sObject: {id: row}}."""

    shapes: dict[str, Shape]
    rows: dict[str, dict[str, Row]]
    version: str

    def run(self, text: str, *, deleted: bool = False) -> list[Row]:
        """Give the records of a query in order, as JSON has them. Raises Refusal."""
        query = parse(text)
        shape = self.shape(query.sobject)
        rows = [row for row in self.rows[shape.name].values() if deleted or not row.get("IsDeleted")]
        return self._answer(query, shape, rows)

    def shape(self, name: str) -> Shape:
        found = next((s for s in self.shapes.values() if s.name.lower() == name.lower()), None)
        if found is None:
            raise Refusal("INVALID_TYPE", f"sObject type '{name}' is not supported.")
        return found

    def _answer(self, query: Query, shape: Shape, rows: list[Row]) -> list[Row]:
        for path in query.columns:
            self._getter(shape, path)
        if query.where is not None:
            fits = self._condition(shape, query.where)
            rows = [row for row in rows if fits(row)]
        for path, down in reversed(query.order):
            get, _ = self._getter(shape, path)
            rows = sorted(rows, key=lambda row, get=get: _sortable(get(row)), reverse=down)  # type: ignore[misc]
        return [self._shown(query, shape, row) for row in rows[: query.limit]]

    def _shown(self, query: Query, shape: Shape, row: Row) -> Row:
        shown = self._attributes(shape, row)
        for path in query.columns:
            self._put(shown, shape, row, path.split("."))
        for name, inner in query.children.items():
            shown[name] = self._children(shape, row, name, inner)
        return shown

    def _attributes(self, shape: Shape, row: Row) -> Row:
        url = f"/services/data/v{self.version}/sobjects/{shape.name}/{row['Id']}"
        return {"attributes": {"type": shape.name, "url": url}}

    def _put(self, shown: Row, shape: Shape, row: Row, names: list[str]) -> None:
        column = shape.column(names[0])
        if len(names) == 1 and column is not None:
            shown[column.name] = row.get(column.name)
            return
        relation = shape.relation(names[0])
        assert relation is not None
        parent, target = self._parent(relation, row)
        name = relation.relation or names[0]
        if parent is None:
            shown[name] = None
            return
        below = shown.setdefault(name, self._attributes(target, parent))
        if len(relation.targets) > 1:
            below[names[1]] = _of_any_name(target, parent, names[1])
            return
        self._put(below, target, parent, names[1:])

    def _parent(self, relation: Column, row: Row) -> tuple[Row | None, Shape]:
        key = row.get(relation.name)
        targets = [self.shapes[t] for t in relation.targets if t in self.shapes]
        for target in targets:
            if key in self.rows[target.name]:
                return self.rows[target.name][key], target
        return None, targets[0]

    def _children(self, shape: Shape, row: Row, name: str, query: Query) -> list[Row] | None:
        for other in self.shapes.values():
            for column in other.columns.values():
                if shape.name in column.targets and column.children and column.children.lower() == name.lower():
                    rows = [r for r in self.rows[other.name].values() if r.get(column.name) == row["Id"]]
                    alive = [r for r in rows if not r.get("IsDeleted")]
                    return self._answer(query, other, alive) or None
        raise Refusal("INVALID_TYPE", f"Didn't understand relationship '{name}' in FROM part of query call.")

    def _getter(self, shape: Shape, path: str) -> tuple[Callable[[Row], Any], Column]:
        head, _, rest = path.partition(".")
        if not rest:
            column = shape.column(head)
            if column is None:
                raise Refusal("INVALID_FIELD", f"No such column '{head}' on entity '{shape.name}'.")
            return (lambda row: row.get(column.name)), column
        relation = shape.relation(head)
        if relation is None:
            raise Refusal("INVALID_FIELD", f"Didn't understand relationship '{head}' in field path.")
        if len(relation.targets) > 1:
            return self._any_name(relation, rest)
        targets = [self.shapes[t] for t in relation.targets if t in self.shapes]
        if not targets:
            raise Refusal("INVALID_FIELD", f"Didn't understand relationship '{head}' in field path.")
        inner = {target.name: self._getter(target, rest) for target in targets}

        def get(row: Row) -> Any:
            parent, target = self._parent(relation, row)
            return None if parent is None else inner[target.name][0](parent)

        return get, inner[targets[0].name][1]

    def _any_name(self, relation: Column, name: str) -> tuple[Callable[[Row], Any], Column]:
        """A reference to several sObjects shows what they have in common, and of which sort they are."""
        if name not in OF_ANY_NAME:
            raise Refusal("INVALID_FIELD", f"No such column '{name}' on entity 'Name'.")

        def get(row: Row) -> Any:
            parent, target = self._parent(relation, row)
            return None if parent is None else _of_any_name(target, parent, name)

        return get, Column(name, "string")

    def _condition(self, shape: Shape, term: Any) -> Condition:
        if term[0] in ("and", "or"):
            parts = [self._condition(shape, one) for one in term[1]]
            every = term[0] == "and"
            return lambda row: all(p(row) for p in parts) if every else any(p(row) for p in parts)
        operator, path, wanted = term
        get, column = self._getter(shape, path)
        if column.long:
            raise Refusal("INVALID_FIELD", f"field '{path}' can not be filtered in a query call")
        if operator in ("in", "not in"):
            values = {_comparable(_value(one, column)) for one in wanted}
            return lambda row: (_comparable(get(row)) in values) is (operator == "in")
        value = _comparable(_value(wanted, column))
        return lambda row: _compare(operator, _comparable(get(row)), value)


def _of_any_name(shape: Shape, row: Row, name: str) -> Any:
    return ("Queue" if shape.name == "Group" else shape.name) if name == "Type" else row.get(name)


def _value(token: tuple[str, str], column: Column) -> Any:
    kind, text = token
    if column.type in ("datetime", "date") and kind == "text":
        message = (
            f"value of filter criterion for field '{column.name}' must be of type {column.type} and should not be "
        )
        raise Refusal("INVALID_FIELD", f"{message}enclosed in quotes")
    if kind == "text":
        escapes = {"\\n": "\n", "\\r": "\r"}
        return re.sub(r"\\.", lambda m: escapes.get(m[0], m[0][1]), text[1:-1])
    if kind == "number":
        return float(text)
    if kind == "time":
        return text
    words = {"TRUE": True, "FALSE": False, "NULL": None}
    if text.upper() not in words:
        raise Refusal("MALFORMED_QUERY", f"unexpected token: '{text}'")
    return words[text.upper()]


def _comparable(value: Any) -> Any:
    """Texts are compared without their case, ids by their first fifteen characters, times as times."""
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"\d{4}-\d\d-\d\dT.*", value):
        return datetime.fromisoformat(value)
    if re.fullmatch(r"[A-Za-z0-9]{3}Hb00000[A-Za-z0-9]{5}([A-Z0-5]{3})?", value):
        return value[:15]
    return value.lower()


def _compare(operator: str, found: Any, value: Any) -> bool:
    if operator == "=":
        return bool(found == value)
    if operator == "!=":
        return bool(found != value)
    if found is None or value is None:
        return False
    order = {"<": found < value, ">": found > value, "<=": found <= value, ">=": found >= value}
    return bool(order[operator])


def _sortable(value: Any) -> tuple[bool, Any]:
    """Nulls come first, as in SOQL."""
    found = _comparable(value)
    return (found is not None, found if found is not None else 0)
