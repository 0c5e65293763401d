"""What a look at one thing found."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it is, and, where it is not well, what to do."""

    check: str
    status: Status
    found: str
    do: str | None = None
