"""Start the sandboxes of the installed connectors on one shared world, and write the config that points to them."""

import json
import threading
from collections.abc import Sequence
from typing import Any

from hub.config import did_you_mean
from hub.connections import load_sandbox
from hub.errors import ConfigError
from hub.plugins import Plugins, discover


class Sandboxes:
    """Running sandboxes by connector. Use as a context manager: they stop at its end."""

    def __init__(self, sandboxes: dict[str, Any]) -> None:
        self.sandboxes = sandboxes

    @classmethod
    def start(
        cls,
        names: Sequence[str] | None = None,
        *,
        customers: int = 500,
        seed: int = 7,
        plugins: Plugins | None = None,
    ) -> "Sandboxes":
        """Start these connectors' sandboxes (all by default) on free ports. Raises ConfigError for an unknown one."""
        from hub.sandbox import World

        classes = _classes(plugins or discover(), names)
        world, started = World(customers, seed), cls({})
        try:
            for name, sandbox in classes.items():
                started.sandboxes[name] = sandbox(world).start()
        except BaseException:
            started.stop()
            raise
        return started

    def stop(self) -> None:
        """Stop them all, at once."""
        threads = [threading.Thread(target=sandbox.stop) for sandbox in self.sandboxes.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def __enter__(self) -> "Sandboxes":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def addresses(self) -> dict[str, str]:
        """Give the URL of each."""
        return {name: sandbox.url for name, sandbox in self.sandboxes.items()}

    def tables(self) -> dict[str, dict[str, Any]]:
        """Give the `[connections.x]` table of each."""
        return {name: {"connector": name} | sandbox.settings() for name, sandbox in self.sandboxes.items()}

    def toml(self) -> str:
        """Write the config.toml that points to them; the credentials in it are made up."""
        lines = ["# Points to sandboxes: nothing here is real.", ""]
        for name, table in self.tables().items():
            lines += [f"[connections.{name}]", *(f"{key} = {_value(value)}" for key, value in table.items()), ""]
        return "\n".join(lines)


def _classes(plugins: Plugins, names: Sequence[str] | None) -> dict[str, Any]:
    able = {name: cls for name, cls in plugins.connectors.items() if cls.sandbox}
    for name in names or ():
        if name not in able:
            plugins.connector(name)
            raise ConfigError(f'connector "{name}" has no sandbox{did_you_mean(name, able)}')
    if not able:
        raise ConfigError("no installed plugin has a sandbox; pip install deskhub[demo] brings four")
    return {name: load_sandbox(able[name]) for name in names or sorted(able)}


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value if isinstance(value, (bool, int, list)) else str(value), ensure_ascii=False)
