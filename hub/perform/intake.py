"""Check what was asked before anything is looked up: the action, its input, its references, its key."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from pydantic import ValidationError

from hub.actions import Action, OrderCancel, Risk
from hub.config import did_you_mean, plain
from hub.errors import Invalid, NotFound
from hub.perform.envelope import Request
from hub.policy import VERIFICATIONS
from hub.records import KINDS, PREFIXES

_HUB_ID = re.compile(r"([a-z]{3})_[a-z2-7]{20,30}")
_CONNECTION = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_STREAM = re.compile(r"[^\x00-\x20\\?#%<>:]{1,120}")
_REMOTE_ID = re.compile(r"[^\x00-\x20\x7f/\\?#%<>&\"'`]{1,200}")
_KEY = re.compile(r"[\x20-\x7e]{1,255}")


def action_class(actions: Mapping[str, type[Action]], name: str) -> type[Action]:
    """Find an action of the catalogue. Raises NotFound with the nearest name."""
    if name not in actions:
        raise NotFound(f"there is no action {name[:60]!r}{did_you_mean(name, actions)}", code="unknown_action")
    return actions[name]


def parsed(cls: type[Action], given: Any) -> Action:
    """Check the input of an action. Raises Invalid with the path of the first field that is wrong."""
    if not isinstance(given, Mapping):
        raise Invalid(f"{cls.name}: input: expected an object", field_path="input")
    try:
        action = cls.model_validate(dict(given))
    except ValidationError as exc:
        at, message = plain(exc.errors(include_url=False, include_input=False), cls)
        path = f"input.{at}" if at else "input"
        raise Invalid(f"{cls.name}: {path}: {message}", field_path=path) from exc
    _carried(lambda: (action.model_dump(), action.model_dump(mode="json")), "input")  # the latter makes null of inf
    return action


def _carried(value: Callable[[], Any], path: str) -> None:
    """Refuse what no JSON can carry to a vendor and back, before it gets as far as the journal."""
    try:
        json.dumps(value(), ensure_ascii=False, allow_nan=False, default=str).encode()
    except (ValueError, RecursionError) as exc:
        text = f"{path}: holds half a character, a number that is none, or lists within lists without end"
        raise Invalid(text, field_path=path) from exc


def references(action: Action) -> dict[str, str]:
    """Give the reference fields of an input. Raises Invalid for one that could not be an id."""
    found = {}
    for name in type(action).model_fields:
        value = getattr(action, name)
        if name.endswith("_ref") and isinstance(value, str) and name != "external_ref":
            found[name] = checked_reference(value, name.removesuffix("_ref"), f"input.{name}")
    return found


def checked_reference(reference: str, kind: str, path: str) -> str:
    """Take a hub id of the right kind, or connection/stream/remote_id without URL or path characters."""
    prefix = KINDS[kind].prefix if kind in KINDS else None
    if "/" not in reference:
        found = _HUB_ID.fullmatch(reference)
        if found is None or found[1] not in PREFIXES:
            raise Invalid(f"{path}: expected a hub id ({prefix}_…) or connection/stream/remote_id", field_path=path)
        if prefix and found[1] != prefix:
            other = PREFIXES[found[1]].name
            raise Invalid(f"{path}: this is the id of a {other}; a {kind}'s begins with {prefix}_", field_path=path)
        return reference
    connection, _, rest = reference.partition("/")
    stream, _, remote_id = rest.rpartition("/")
    fine = _CONNECTION.fullmatch(connection) and _STREAM.fullmatch(stream) and _REMOTE_ID.fullmatch(remote_id)
    if not fine or ".." in stream.split("/") or "//" in reference or set(remote_id) <= {"."}:
        text = "expected connection/stream/remote_id; an id has no characters of a path or a URL"
        raise Invalid(f"{path}: {text}", field_path=path)
    return reference


def needed_key(request: Request, cls: type[Action]) -> str:
    """Give the Idempotency-Key. Raises Invalid where it is missing or no printable ASCII."""
    if request.key is None or not request.key.strip():
        raise Invalid(
            f"{cls.name} needs an Idempotency-Key: one per intention, the same for every retry",
            code="idempotency_key_required",
            field_path="Idempotency-Key",
        )
    if not _KEY.fullmatch(request.key):
        text = "an Idempotency-Key is 1 to 255 printable ASCII characters"
        raise Invalid(text, code="invalid_idempotency_key", field_path="Idempotency-Key")
    return request.key


def checked_envelope(request: Request, cls: type[Action]) -> None:
    """Refuse an unknown mode, and text beside the input that no JSON can carry."""
    if request.mode not in ("preview", "execute"):
        raise Invalid(f'{cls.name}: mode: expected "preview" or "execute"', field_path="mode")
    level = (request.on_behalf_of or {}).get("verification")
    if level is not None and level not in VERIFICATIONS:
        text = f"{cls.name}: on_behalf_of.verification: expected one of {', '.join(VERIFICATIONS)}"
        raise Invalid(text, field_path="on_behalf_of.verification")
    for path in ("reason", "on_behalf_of", "agent", "expected_version"):
        _carried(partial(getattr, request, path), path)


def body_hash(request: Request) -> str:
    """Hash what was asked; two calls with one key are the same call when this is equal."""
    asked = {
        "input": request.input,
        "expected_version": request.expected_version,
        "on_behalf_of": request.on_behalf_of,
        "agent": request.agent,
        "reason": request.reason,
    }
    return hashlib.sha256(_sorted(asked)).hexdigest()


def intent_of(action: Action, targets: list[str], amount: Any) -> str:
    """
    Hash what a run would do, whatever its key.

    Money is the same when target and amount are, items of an order that are cancelled when they are; other actions
    when target and input are.
    """
    same: Any = amount
    if isinstance(action, OrderCancel) and action.items:
        same = [amount, [item.model_dump() for item in action.items]]
    elif action.risk not in (Risk.R3, Risk.R4):
        same = action.model_dump(mode="json", by_alias=True, exclude={"dedupe_window_h"})
    return hashlib.sha256(_sorted([action.name, sorted(targets), same])).hexdigest()


def _sorted(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic", enc_hook=str)
