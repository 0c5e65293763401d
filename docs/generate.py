"""
Write the reference pages that follow from declarations: `python docs/generate.py` rewrites, `--check` only tells.

A test runs the check, so a page that lags behind its declaration fails the build.
"""

import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hub.actions import CATALOGUE, Action
from hub.api.codes import table
from hub.config import example
from hub.mapping.converters import BUILTIN, Converter
from hub.plugins import discover
from hub.records import KINDS, Field, Kind

HERE = Path(__file__).parent


def unified_model() -> str:
    """Give docs/unified-model.md: every kind with its fields."""
    lines = [
        "# Unified model",
        "",
        "Generated from `hub/records` by `docs/generate.py`. All fields may be null. Every enum field `x` has",
        "`x_raw` beside it with the vendor's own word. Times are RFC 3339 in UTC; money is",
        '`{"amount": minor units, "currency": "EUR"}`; decimals are strings. A reference is `{"table", "remote_id"}`',
        'of the same connection, or `{"kind", "by", "value"}`; reads add the hub\'s `id`. 🔒 marks personal data.',
        "",
    ]
    for kind in KINDS.values():
        lines += _kind(kind)
    lines += ["## Enums", "", "| enum | values |", "|-|-|"]
    enums = {f.enum for kind in KINDS.values() for f in _walk(kind.fields.values()) if f.enum}
    lines += [f"| `{e.__name__}` | {', '.join(f'`{v}`' for v in e)} |" for e in sorted(enums, key=lambda e: e.__name__)]
    return "\n".join(lines) + "\n"


def _kind(kind: Kind) -> list[str]:
    linked = " One entity may have records in several connections." if kind.linked else ""
    head = [
        f"## {kind.name}",
        "",
        f"{(kind.struct.__doc__ or '').strip()} Ids start with `{kind.prefix}_`.{linked}",
        "",
    ]
    rows = [_row(field) for field in kind.fields.values() if not field.name.endswith("_raw")]
    return [*head, "| field | type |", "|-|-|", *rows, ""]


def _row(field: Field) -> str:
    name = field.type.__name__.lower()
    if field.ref:
        text = "reference"
    elif field.fields:
        text = f"{name} {{{', '.join(n for n in field.fields if not n.endswith('_raw'))}}}"
    elif field.enum:
        text = f"`{field.type.__name__}`"
    else:
        text = {"datetime": "time", "dict": "object", "str": "text", "int": "integer"}.get(name, name)
    return f"| `{field.name}`{' 🔒' if field.personal else ''} | {'list of ' if field.many else ''}{text} |"


def _walk(fields: Iterable[Field]) -> Iterable[Field]:
    for field in fields:
        yield field
        yield from _walk(field.fields.values())


def actions() -> str:
    """Give docs/actions.md with its table of the catalogue renewed."""
    rows = ["| action | input (* required) | risk | how it is undone | what it shows |", "|-|-|-|-|-|"]
    page = _renewed("actions.md", "hub/actions.py", [*rows, *map(_action, CATALOGUE)])
    inputs = [line for action in CATALOGUE for line in _inputs(action)]
    return _within(page, "the inputs in hub/actions.py", inputs)


def _inputs(action: type[Action]) -> list[str]:
    schema = action.model_json_schema(by_alias=True)
    lines = [f"### {action.name}", "", inspect.cleandoc(action.__doc__ or ""), "", "| field | what | |", "|-|-|-|"]
    return [*lines, *_fields(schema, schema.get("$defs", {}), ""), ""]


def _fields(schema: dict[str, Any], known: dict[str, Any], above: str) -> Iterable[str]:
    for name, field in schema.get("properties", {}).items():
        needed = "required" if name in schema.get("required", ()) else ""
        described = field.get("description", "")
        whole = _resolved(field, known)
        default = f"default `{field['default']}`" if field.get("default") is not None else ""
        note = ", ".join(part for part in (needed, default, described) if part)
        yield f"| `{above}{name}` | {_what(whole, known)} | {note} |"
        yield from _fields(whole, known, f"{above}{name}.")


def _resolved(field: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, and leave out that a field may be null."""
    for option in field.get("anyOf", [field]):
        if option.get("type") != "null":
            return known[option["$ref"].rpartition("/")[2]] if "$ref" in option else option
    return field


def _what(field: dict[str, Any], known: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return f"list of {_what(_resolved(field['items'], known), known)}"
    if field.get("title") == "Amount":
        return '`{"amount": 1250, "currency": "EUR"}` or `"12.50 EUR"`'
    words = {"string": "text", "integer": "whole number", "object": "object", "boolean": "true or false"}
    form = {"^[A-Z]{2}$": ", two capital letters", "^[A-Z]{3}$": ", three capital letters"}.get(
        field.get("pattern"), ""
    )
    longest = f", up to {field['maxLength']:,} characters" if "maxLength" in field else ""
    return words.get(field.get("type", ""), "any value") + form + longest


def _action(action: type[Action]) -> str:
    inputs = (f"`{i.alias or n}`{'*' if i.is_required() else ''}" for n, i in action.model_fields.items())
    shown = ", ".join(f"`{name}`" for name in action.reveals) or "effects"
    undone = "; ".join(filter(None, (f"`{action.reversal}`" if action.reversal else "–", action.residue)))
    return f"| `{action.name}` {action.title} | {', '.join(inputs)} | {action.risk.value} | {undone} | {shown} |"


def mapping() -> str:
    """Give docs/mapping.md with its table of converters renewed."""
    rows = ["| `as` | takes | options | can be written | makes |", "|-|-|-|-|-|"]
    return _renewed("mapping.md", "hub/mapping/converters.py", [*rows, *map(_converter, BUILTIN.values())])


def _converter(converter: Converter) -> str:
    takes = "a value, or each of a list" if converter.takes == "one" else "several values"
    options = ", ".join(f"`{option}`" for option in converter.options) or "–"
    inverse = "yes" if converter.inverse else "no"
    return f"| `{converter.name}` | {takes} | {options} | {inverse} | {converter.about} |"


def _renewed(page: str, source: str, rows: Iterable[str]) -> str:
    """Give a page with the lines between its markers replaced."""
    return _within((HERE / page).read_text("utf-8"), source, rows)


def _within(text: str, source: str, rows: Iterable[str]) -> str:
    begin, end = f"<!-- generated by docs/generate.py from {source} -->\n", "<!-- end -->"
    before, found, rest = text.partition(begin)
    assert found, f"no marker of {source}"
    return before + begin + "\n".join(rows) + "\n" + end + rest.partition(end)[2]


def config_example() -> str:
    """Give config.example.toml: every setting of the hub and of the four connectors."""
    shipped = ("legacy", "salesforce", "stripe", "zendesk")
    return example({name: cls.Config for name, cls in discover().connectors.items() if name in shipped})


PAGES = {
    "unified-model.md": unified_model,
    "actions.md": actions,
    "mapping.md": mapping,
    "errors.md": table,
    "../config.example.toml": config_example,
}


def main(check: bool) -> int:
    """Write or compare all pages; give 1 where one lags behind."""
    stale = 0
    for name, make in PAGES.items():
        text, path = make(), HERE / name
        if check and (not path.exists() or path.read_text() != text):
            sys.stderr.write(f"docs/{name} lags behind its declaration: run python docs/generate.py\n")
            stale = 1
        elif not check:
            path.write_text(text)
    return stale


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
