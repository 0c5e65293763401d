"""
Write the reference pages that follow from declarations: `python docs/generate.py` rewrites, `--check` only tells.

A test runs the check, so a page that lags behind its declaration fails the build.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

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


PAGES = {"unified-model.md": unified_model}


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
