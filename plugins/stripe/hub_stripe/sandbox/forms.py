"""Stripe's form bodies and query strings: bracketed names, and what a parameter may be."""

import re
from typing import Any

from hub.sandbox import Request
from hub_stripe.sandbox.state import Refusal

_PART = re.compile(r"[^\[\]]+")


def nested(pairs: dict[str, str]) -> dict[str, Any]:
    """Turn `metadata[a]=1` and `expand[0]=x` into nested objects; numbered names stay keys."""
    made: dict[str, Any] = {}
    for name, value in pairs.items():
        *path, last = _PART.findall(name) or [name]
        place = made
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise Refusal(400, f"Invalid parameter: {name}", code="parameter_invalid_string", param=name)
        place[last] = value
    return made


def listed(value: Any) -> list[str]:
    """Give a numbered list in order."""
    return [value[key] for key in sorted(value, key=int)] if isinstance(value, dict) else []


def only(params: dict[str, Any], *known: str) -> None:
    """Refuse a parameter that this path does not have."""
    for name in params:
        if name not in known:
            raise Refusal(400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name)


def whole(value: str, param: str, *, least: int = 1) -> int:
    """Read an integer. Raises Refusal parameter_invalid_integer."""
    if not re.fullmatch(r"-?\d+", value) or int(value) < least:
        message = f"Invalid integer: {value}" if not re.fullmatch(r"-?\d+", value) else "Invalid positive integer"
        raise Refusal(400, message, code="parameter_invalid_integer", param=param)
    return int(value)


def one_of(value: str, param: str, *words: str) -> str:
    if value not in words:
        raise Refusal(400, f"Invalid {param}: must be one of {', '.join(words)}", param=param)
    return value


def metadata(value: Any) -> dict[str, str]:
    """Check metadata: 50 keys, 40 characters a key, 500 a value (https://docs.stripe.com/api/metadata)."""
    given = value if isinstance(value, dict) else {}
    if len(given) > 50 or any(len(k) > 40 or len(str(v)) > 500 for k, v in given.items()):
        raise Refusal(400, "Metadata is limited to 50 keys of 40 and values of 500 characters", param="metadata")
    return {str(k): str(v) for k, v in given.items()}


def expands(request: Request) -> list[str]:
    """Name what a GET or a POST wants expanded."""
    asked = [v for k, vs in request.query.items() if k.startswith("expand[") for v in vs]
    return asked + (listed(nested(request.form()).get("expand")) if request.method == "POST" else [])
