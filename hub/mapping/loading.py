"""Find a mapping file, read its TOML, and lay an extending file over the one it extends."""

import functools
import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import hub.errors
from hub.connector import Connector
from hub.errors import MappingError, near
from hub.mapping.words import Place, hint, unknown
from hub.records import Visibility

ENGINE = "1"
"""Part of every revision: raised when the same mapping makes other records than before."""
_ROOT = Path(hub.errors.__file__).parent


@dataclass(frozen=True)
class Source:
    """The text of a mapping file, where it is from as messages name it, and the version of what brought it."""

    text: str
    where: str
    version: str = ""


Resolve = Callable[[str], Source]


def locate(connector: type[Connector], *, mapping: Path | None = None, mappings_dir: Path | None = None) -> Source:
    """
    Find the mapping of a connector.

    The connection's own file, else `<mappings_dir>/<connector>.toml`, else the plugin's (`Connector.mapping`), else
    the core's. Raises MappingError if a named file is missing, or if there is none at all.
    """
    if mapping is not None:
        return read(mapping)
    if mappings_dir is not None and (own := mappings_dir / f"{connector.name}.toml").is_file():
        return read(own)
    return _of_plugin(connector) or _of_core(connector.name)


def read(path: Path) -> Source:
    """Read a mapping file. Raises MappingError if it is missing or not UTF-8."""
    try:
        return Source(path.read_text("utf-8-sig"), near(path))
    except (OSError, UnicodeDecodeError) as exc:
        reason = "is not UTF-8" if isinstance(exc, UnicodeDecodeError) else "cannot be read"
        raise MappingError(f"{near(path)} {reason}; expected a mapping file (TOML)") from exc


def _of_plugin(connector: type[Connector]) -> Source | None:
    named = None if connector.mapping is None else str(connector.mapping)
    if named is not None and ("\n" in named or not named.endswith(".toml")):
        return Source(named, f"plugin {connector.name}", _version(connector))
    wanted = [named] if named else ["mapping.toml", f"{connector.name}.toml", f"mappings/{connector.name}.toml"]
    for folder in _folders(connector):
        for path in (folder / name for name in wanted):
            if path.is_file():
                return Source(read(path).text, f"plugin {connector.name}: {path.name}", _version(connector))
    if named is not None:
        raise MappingError(f"plugin {connector.name}: there is no {named} beside its module")
    return None


def _folders(connector: type[Connector]) -> list[Path]:
    """Name the folders of the modules that the class and its parents come from, outside the core."""
    homes = (sys.modules.get(cls.__module__) for cls in connector.__mro__ if issubclass(cls, Connector))
    files = (getattr(home, "__file__", None) for home in homes if home is not None and home.__name__ != "hub.connector")
    return [Path(file).parent for file in files if file]


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _version(connector: type[Connector]) -> str:
    root = connector.__module__.partition(".")[0]
    names = _distributions().get(root) or [f"deskhub-{connector.name}"]
    try:
        return metadata.version(names[0])
    except metadata.PackageNotFoundError:
        return ""


def _of_core(name: str) -> Source:
    try:
        version = metadata.version("deskhub")
    except metadata.PackageNotFoundError:
        version = ""
    folders = (_ROOT / "_mappings", _ROOT.parent / "mappings")
    for folder in folders:
        if (path := folder / f"{name}.toml").is_file():
            return Source(read(path).text, f"built-in {name}", version)
    known = {path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.toml")}
    said = f'there is no mapping for connector "{name}"; write {name}.toml in mappings_dir, {hint(name, known)}'
    raise MappingError(said)


def load(source: Source, resolve: Resolve | None = None) -> dict[str, Any]:
    """Read a mapping with all it extends merged in. Raises MappingError."""
    document = _load(source, resolve, (source.where,))
    document.pop("extends", None)
    return document


def _load(source: Source, resolve: Resolve | None, seen: tuple[str, ...]) -> dict[str, Any]:
    document = _toml(source)
    name = document.get("extends")
    if name is None:
        return _without_removed(document)
    place = Place(source.where).under("extends")
    if not isinstance(name, str) or not name:
        place.fail('expected the name of a connector, such as "zendesk"')
    if resolve is None:
        place.fail(f'"{name}" cannot be found from here')
    try:
        parent = resolve(name)
    except MappingError as exc:
        raise MappingError(f"{place}: {exc.message}") from exc
    if parent.where in seen:
        place.fail(f"mappings extend each other in a circle: {' → '.join([*seen, parent.where])}")
    below = _load(parent, resolve, (*seen, parent.where))
    for table, body in document.items():
        if isinstance(body, dict) and table not in below and table != "actions" and not {"kind", "key"} & body.keys():
            unknown(Place(source.where).at(table), "table", table, below)
    merged = _without_removed(_overlay(below, document))
    _not_widened(source.where, below, merged)
    return merged


_TWICE = re.compile(r"(?:Cannot declare|Cannot overwrite a value|Cannot mutate immutable namespace)(.*)")


def _toml(source: Source) -> dict[str, Any]:
    try:
        return tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as exc:
        twice = _TWICE.match(str(exc))
        where = re.search(r"\(at (.*)\)", str(exc))
        named = re.search(r"\('(.*?)',?\)", str(exc))
        if twice:
            what = f"[{named[1].replace(chr(39) + ', ' + chr(39), '.')}]" if named else "a key"
            line = f" (at {where[1]})" if where else ""
            said = f"{source.where}: duplicate table or key: {what} is declared twice{line}; keep one"
            raise MappingError(said) from exc
        raise MappingError(f"{source.where}: this is not TOML: {exc}") from exc


def _not_widened(file: str, below: dict[str, Any], merged: dict[str, Any]) -> None:
    """Refuse a file that makes every message of a table public where the mapping it extends looks at the record."""
    for name, table in merged.items():
        before, after = _visibility(below.get(name)), _visibility(table)
        if before is not None and _public(after, before) and not _public(before, before):
            place = Place(file).at(f"{name}.fields").under("visibility")
            place.fail("makes every message public, notes of staff too; say which values of the record are public")


def _visibility(table: Any) -> Any:
    fields = table.get("fields") if isinstance(table, dict) else None
    return fields.get("visibility") if isinstance(fields, dict) else None


def _public(rule: Any, before: Any) -> bool:
    """Say whether a rule is public whatever the record says, or for every word that was listed `before`."""
    if not isinstance(rule, dict):
        return False
    words, listed = rule.get("values"), before.get("values") if isinstance(before, dict) else None
    if isinstance(words, dict) and isinstance(listed, dict) and listed:
        return listed.keys() <= words.keys() and set(map(str, words.values())) == {Visibility.public}
    return rule.get("value") == Visibility.public


_DEEP = ("fields", "write")


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay `above` over `below`: table by table, in `fields` and `write` field by field, verbs whole."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        if not isinstance(value, dict) or not isinstance(old, dict):
            merged[name] = value
        elif name == "actions":
            merged[name] = old | value
        else:
            deep = {part: _fields(old, value, part) for part in _DEEP if part in old or part in value}
            merged[name] = old | value | deep
    return merged


def _fields(old: dict[str, Any], new: dict[str, Any], part: str) -> Any:
    below, above = old.get(part, {}), new.get(part, {})
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    merged = below | above
    if isinstance(below.get("custom"), dict) and isinstance(above.get("custom"), dict):
        merged["custom"] = below["custom"] | above["custom"]
    return merged


def _without_removed(value: dict[str, Any]) -> dict[str, Any]:
    """Take out tables, fields, write rules and verbs that are set to false."""
    kept: dict[str, Any] = {}
    for name, item in value.items():
        if item is False:
            continue
        kept[name] = item
        if isinstance(item, dict):
            kept[name] = {k: _present(v) if k in (*_DEEP, "custom") else v for k, v in item.items()}
    if isinstance(kept.get("actions"), dict):
        kept["actions"] = _present(kept["actions"])
    return kept


def _present(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {k: _present(v) if k == "custom" else v for k, v in value.items() if v is not False}


def revision(document: dict[str, Any]) -> str:
    """Hash the effective content, order included, so that equal mappings have equal revisions."""
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.blake2b(f"{ENGINE}\0{content}".encode(), digest_size=8).hexdigest()
