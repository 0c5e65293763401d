"""A config file that shows every key: `config.example.toml`, and what `hub init` writes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from hub.config.declare import ConnectionSettings, HubSettings, LimitSettings, SyncSettings
from hub.config.plain import bare

_INLINE: dict[str, tuple[type[BaseModel], str]] = {
    "sync": (SyncSettings, "how often `hub worker` pulls, what, and how far back; all optional"),
    "limits": (LimitSettings, "keep limits on loopback too; requests per window where the plan has others"),
}


def example(connectors: Mapping[str, type[BaseModel]]) -> str:
    """Write a config file that shows every key with its default and meaning; connections are commented out."""
    lines = ['# Settings of a hub. Secrets come from the environment: key = "${NAME}".', "", "[hub]"]
    lines += _example_keys(HubSettings, required="")
    for name, config in sorted(connectors.items()):
        lines += ["", f"# [connections.{name}]", f'# connector = "{name}"']
        lines += _example_keys(config, required=name.upper())
    lines += ["", "# Keys that every connection may have:"]
    lines += _example_keys(ConnectionSettings, required="", skip=("connector", "options", "from_environment", *_INLINE))
    lines += [f"# {key} = {_inline(model)}  # {note}" for key, (model, note) in _INLINE.items()]
    return "\n".join(lines) + "\n"


def _example_keys(model: type[BaseModel], *, required: str, skip: tuple[str, ...] = ()) -> list[str]:
    lines = []
    for key, info in model.model_fields.items():
        if key in skip:
            continue
        shown = _shown(info)
        if SecretStr in bare(info.annotation) and required:
            shown = f"${{{required}_{key.upper()}}}"
        note = f"  # {info.description}" if info.description else ""
        commented = "" if model is HubSettings and info.default is not None else "# "
        lines.append(f"{commented}{key} = {_toml(shown)}{note}")
    return lines


def _inline(model: type[BaseModel]) -> str:
    inner = ((key, _shown(info)) for key, info in model.model_fields.items())
    return f"{{ {', '.join(f'{key} = {_toml(shown)}' for key, shown in inner if shown)} }}"


def _shown(info: Any) -> Any:
    if info.examples:
        return info.examples[0]
    return "…" if info.is_required() or info.default is None or not _plain(info.default) else info.default


def _plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool, Path, list))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(inner)}' for key, inner in value.items())} }}"
    return (
        str(value)
        if isinstance(value, (int, float))
        else json.dumps(value if isinstance(value, list) else str(value), ensure_ascii=False)
    )
