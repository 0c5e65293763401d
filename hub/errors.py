"""
The tree of errors, chosen by what the reader must do next.

HubError
├── Temporary       wait and try again (`retry_after_s` when the vendor said how long)
│   ├── RateLimited     a vendor's or the hub's own limit is used up
│   └── NotSent         the request never left this machine
├── Unauthorized    a person must fix credentials
├── NotFound        the thing is not there
├── Invalid         never as written: change the request
│   └── MappingError    change the mapping file
├── Conflict        something else changed first, or the key was used for another request
├── Refused         policy says no
├── Unsupported     this connection cannot do that
├── Unknown         sent, the answer was lost: do not repeat, look it up
└── ConfigError     change the configuration
A message says what, where and what would be right; it never holds a secret or a customer's data.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar


def near(path: Path | str) -> str:
    """Name a file as a person here would: from the current folder where that is shorter."""
    try:
        return min(os.path.relpath(path), str(path), key=len)
    except ValueError:  # another drive
        return str(path)


class HubError(Exception):
    """An error that a person or an agent can act on; `code` is stable, the message is not."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retry_after_s: float | None = None,
        reason: str | None = None,
        next_actions: Sequence[str] = (),
        field_path: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = code or self.code
        self.retry_after_s = retry_after_s
        self.reason = reason
        self.next_actions = tuple(next_actions)
        self.field_path = field_path

    def as_dict(self) -> dict[str, Any]:
        """Give the members that doors put into `error` and problem documents."""
        after = self.retry_after_s
        return {
            "code": self.error_code,
            "retryable": self.retryable,
            "retry_after_ms": None if after is None else int(after * 1000),
            "reason": self.reason,
            "human_message": self.message,
            "next_actions": list(self.next_actions),
            "field_path": self.field_path,
        }


class Temporary(HubError):
    """Wait, then the same again may succeed."""

    code = "temporary"
    status = 503
    retryable = True


class RateLimited(Temporary):
    """A limit is used up; `retry_after_s` says when it is not."""

    code = "rate_limited"
    status = 429


class NotSent(Temporary):
    """No byte of the request left this machine, so nothing can have happened."""

    code = "not_sent"


class Unauthorized(HubError):
    """The vendor, or the hub, does not accept these credentials; a person must act."""

    code = "unauthorized"
    status = 401


class NotFound(HubError):
    """The thing asked for is not there."""

    code = "not_found"
    status = 404


class Invalid(HubError):
    """The request can never succeed as written."""

    code = "invalid"
    status = 422


class MappingError(Invalid):
    """A mapping file, or a record under it, is wrong; the message names file, table, field and value."""

    code = "mapping_error"


class Conflict(HubError):
    """Something else changed first, or the key names another request."""

    code = "conflict"
    status = 409


class Refused(HubError):
    """Policy, or a missing scope, says no."""

    code = "refused"
    status = 403


class Unsupported(HubError):
    """This connection, or this installation, cannot do that."""

    code = "unsupported"
    status = 422


class Unknown(HubError):
    """A write was sent and its answer was lost. Never repeat it blindly."""

    code = "unknown"
    status = 502


class ConfigError(HubError):
    """The configuration is wrong; the message names file, table, key and what was expected."""

    code = "config_error"
