"""Logging: one line an event on stderr, ids and names only, known secrets taken out."""

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import structlog

from hub.vault import Vault


class _Stderr(logging.StreamHandler[Any]):
    """Writes to what stderr is now, not to what it was when logging began."""

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, _: Any) -> None: ...


def configure(level: str, vault: Vault, *, service: bool = False) -> None:
    """
    Send the log of the hub to stderr: short lines for a command; for a service lines with times, JSON off a terminal.

    Known secrets are taken out of every value.
    """

    def scrubbed(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        return {key: vault.scrub(value) if isinstance(value, str) else value for key, value in event.items()}

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _place,
        scrubbed,
    ]
    handler = _Stderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(service)],
        )
    )
    for name in ("hub", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False
    ours = logging.getLogger("hub")
    wanted = logging.INFO if service else logging.NOTSET if ours.level <= logging.INFO else logging.CRITICAL
    logging.getLogger("hub.pulls").setLevel(wanted)  # a command shows a table of what was pulled
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _place(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Tell of an exception its class and where it was raised, never its text, which may hold anything."""
    info = event.pop("exc_info", None)
    exc = info[1] if isinstance(info, tuple) else info if isinstance(info, BaseException) else sys.exception()
    if info and exc is not None:
        frames = traceback.extract_tb(exc.__traceback__)[-6:]
        places = " ‹ ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
        event["exception"] = f"{type(exc).__name__} at {places}" if places else type(exc).__name__
        if os.environ.get("HUB_DEBUG"):
            event["exception"] = "".join(traceback.format_exception(exc))
    return event


def _renderer(service: bool) -> Any:
    if not service:
        return _short
    return structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()


def _short(logger: Any, method: str, event: dict[str, Any]) -> str:
    told = f"{event['level']}: {event['event']}"
    return f"{told}\n{event['exception']}" if os.environ.get("HUB_DEBUG") and "exception" in event else told
