"""Open a connection: its settings, mapping, transport and connector class, put together once and kept."""

import importlib
import logging
import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

import msgspec
from pydantic import SecretStr

from hub.config import ConnectionSettings, Settings, connector_config, did_you_mean
from hub.connections.logins import SharedLogins
from hub.connections.standing import Standings
from hub.connections.walls import wall
from hub.connector import Checked, Connector, Mark
from hub.errors import ConfigError, HubError, MappingError, near
from hub.mapping import CompiledMapping, Source, compile_mapping, locate
from hub.plugins import Plugins
from hub.store.traffic import Traffic as Shared
from hub.transport import Alone, Logins, OwnLogins, Pace, Patience, Transport, is_loopback
from hub.vault import Vault, credentials_of

log = logging.getLogger("hub.connections")
_MAPPINGS = 50
"""Mappings that are kept compiled, at most."""


@dataclass
class Connection:
    """One configured instance of a connector, ready for work. `checked` is set by `Connections.check`."""

    name: str
    connector: Connector
    mapping: CompiledMapping
    transport: Transport
    settings: ConnectionSettings
    checked: Checked | None = None
    standings: Standings | None = None

    def call(self) -> AbstractContextManager[None]:
        """
        Be around every call of the connector: what becomes of it decides how the connection stands.

        Raises NotSent (`temporary`) where the connection is degraded and Unauthorized (`connection_reauth_required`)
        where its credentials are refused, before anything is sent.
        """
        return self.standings.call(self.name, self.transport.pace) if self.standings else nullcontext()

    @property
    def live_actions(self) -> bool:
        return self.settings.live_actions

    def can(self, action: str) -> Mark | None:
        """Give the mark of the method that does an action here; a "*" method needs the mapping's legacy verb."""
        mark = type(self.connector).mark("act", action)
        if mark is not None and mark.name == "*" and action not in self.mapping.actions:
            return None
        return mark

    def takes(self, action: str) -> frozenset[str]:
        """Name the special inputs of an action that are heeded here; a legacy verb heeds those that it writes."""
        mark, verb = self.can(action), self.mapping.actions.get(action)
        return frozenset(mark.takes if mark else ()) | (verb.roots if verb else frozenset())


class Connections:
    """The configured connections, opened when first asked for. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        plugins: Plugins,
        vault: Vault | None = None,
        *,
        traffic: Callable[[], Shared] | None = None,
        standings: Standings | None = None,
    ) -> None:
        self.settings = settings
        self.plugins = plugins
        self.vault = vault or Vault()
        self.standings = standings
        self._shared = traffic
        self._alone = Alone()
        self._open: dict[str, Connection] = {}
        self._compiled: dict[tuple[str, Source], CompiledMapping] = {}
        self._introduced: set[str] = set()
        self._lock = threading.RLock()

    def names(self) -> list[str]:
        return list(self.settings.connections)

    def open(self, name: str) -> Connection:
        """
        Give a connection, opening it if need be; no request is made.

        Raises ConfigError for an unknown name or connector and for settings the connector does not accept,
        MappingError for a mapping that does not compile.
        """
        with self._lock:
            if name not in self._open:
                self._open[name] = self._made(name)
            return self._open[name]

    def renew(self, name: str) -> None:
        """Take the mapping of an open connection anew where its file has changed; one that is broken is only told."""
        with self._lock:
            connection = self._open.get(name)
            if connection is None:
                return
            try:
                if self._found(name).text != connection.mapping.source.text:
                    connection.mapping = self.mapping(name)
                    log.info("%s: the mapping has changed", name)
            except MappingError as exc:
                log.warning("%s: the mapping before stays in use: %s", name, exc.message)

    def _found(self, name: str) -> Source:
        settings = self._settings(name)
        return find_mapping(self.plugins.connector(settings.connector), settings, self.settings)

    def check(self, name: str) -> Checked:
        """
        Ask the vendor who we are and key the limits by that account. Raises what the connector's check raises.

        It asks even where the connection is degraded or its credentials were refused; a good answer ends both.
        """
        connection = self.open(name)
        with wall(f"{name}: check"), self.standings.trial(name) if self.standings else nullcontext():
            checked = connection.connector.check()
        connection.checked = checked
        connection.transport.pace.account = account = f"{connection.settings.connector}:{checked.account}"
        if self.standings:
            self.standings.known_as(name, account)
        return checked

    def introduce(self, name: str) -> None:
        """Find out which account the limits are to be kept for, where they are kept and nobody knows yet."""
        pace = self.open(name).transport.pace
        if not pace.on or self.standings is None or name in self._introduced:
            return
        standing = self.standings.row(name)
        if standing.account is not None or standing.state != "ok":
            return  # each call of the connector looks it up
        self._introduced.add(name)
        try:
            self.check(name)
        except HubError as exc:
            log.warning("%s: whose account it is could not be asked: %s", name, exc.message)

    def mapping(self, name: str) -> CompiledMapping:
        """Give the mapping that a configured connection uses, without opening it; equal files are compiled once."""
        settings, key = self._settings(name), (self._settings(name).connector, self._found(name))
        with self._lock:
            if key not in self._compiled:
                if len(self._compiled) >= _MAPPINGS:
                    self._compiled.clear()
                made = compile_for(self.plugins, settings.connector, connection=settings, root=self.settings)
                self._compiled[key] = made
            return self._compiled[key]

    def connector(self, name: str) -> type[Connector]:
        """Give the class that speaks to a connection. Raises ConfigError."""
        return self.plugins.connector(self._settings(name).connector)

    def pace(self, name: str) -> Pace:
        """
        Keep the limits of a connection, with the counts of its account's plan; on loopback only where that is asked.

        Raises ConfigError for a count of a limit that the connector does not have.
        """
        settings, limits = self._settings(name), self.connector(name).limits
        where = f"{near(self.settings.path or 'config.toml')}: [connections.{name}] limits.counts"
        known = [limit.name for limit in limits]
        for wrong in settings.limits.counts.keys() - set(known):
            hint = did_you_mean(wrong, known) if known else "; the connector has no limits"
            raise ConfigError(f'{where}: no limit is called "{wrong}"{hint}')
        limits = tuple(replace(one, count=settings.limits.counts.get(one.name, one.count)) for one in limits)
        if settings.limits.enforce == "auto" and is_loopback(settings.base_url):
            return Pace(name, limits, on=False)
        return Pace(name, limits, self._shared() if self._shared else self._alone, on=True)

    def close(self) -> None:
        with self._lock:
            for connection in self._open.values():
                connection.connector.close()
                connection.transport.close()
            self._open.clear()

    def _logins(self, name: str) -> Logins:
        return SharedLogins(name, self._shared) if self._shared else OwnLogins()

    def _settings(self, name: str) -> ConnectionSettings:
        settings = self.settings.connections.get(name)
        if settings is None:
            raise ConfigError(f'connection "{name}" is not configured{did_you_mean(name, self.names())}')
        return settings

    def _made(self, name: str) -> Connection:
        settings = self._settings(name)
        cls = self.plugins.connector(settings.connector)
        config = connector_config(name, self.settings, cls)
        self.vault.keep(config)
        mapping = self.mapping(name)
        transport = Transport(
            name,
            hosts=_hosts(cls, config, settings.base_url),
            base_url=settings.base_url,
            patience=_patience(settings.base_url),
            pace=self.pace(name),
            logins=self._logins(name),
        )
        meet_structs()
        if self.standings:
            self.standings.meet(name, credentials_of(config))
        return Connection(name, cls(config, transport), mapping, transport, settings, standings=self.standings)


def compile_for(
    plugins: Plugins,
    connector: str,
    *,
    connection: ConnectionSettings | None = None,
    root: Settings | None = None,
) -> CompiledMapping:
    """Find and compile a connector's mapping: the connection's own, the mappings folder's, the plugin's, the core's."""
    cls = plugins.connector(connector)

    def resolve(name: str) -> Source:
        return locate(plugins.connector(name))

    return compile_mapping(
        find_mapping(cls, connection, root),
        converters=plugins.converters,
        table_options=cls.table_options,
        resolve=resolve,
        streams=_streams(cls),
    )


def find_mapping(cls: type[Connector], connection: ConnectionSettings | None, root: Settings | None) -> Source:
    """Find the mapping that a connection uses."""
    folder = root.directory / root.hub.mappings_dir if root else None
    own = root.directory / connection.mapping if root and connection and connection.mapping else None
    return locate(cls, mapping=own, mappings_dir=folder)


_met: WeakSet[type[msgspec.Struct]] = WeakSet()


def meet_structs() -> None:
    """
    Let msgspec meet every Struct there is, in one thread.

    msgspec 0.21 ends the process with a segmentation fault where several threads use a Struct for the first time at
    once (2026-11-22); a server's first requests do.
    """
    known: list[type[msgspec.Struct]] = msgspec.Struct.__subclasses__()
    for struct in known:
        known += struct.__subclasses__()
        if struct in _met:
            continue
        with suppress(TypeError, NameError):  # one that cannot be decoded is nobody's to decode
            msgspec.json.Decoder(struct)
        _met.add(struct)


def load_sandbox(cls: type[Connector]) -> Any:
    """Import a connector's sandbox class ("module:Class"). Raises ConfigError where it has none."""
    if cls.sandbox is None:
        raise ConfigError(f'connector "{cls.name}" has no sandbox')
    module, _, name = cls.sandbox.partition(":")
    return getattr(importlib.import_module(module), name)


def _streams(cls: type[Connector]) -> set[str] | None:
    named = {mark.name for mark in cls.marks if mark.role == "pull"}
    return None if "*" in named else named


def _hosts(cls: type[Connector], config: Any, base_url: str | None) -> list[str]:
    """Name the owned hosts: those the connector declares, those of URLs among its settings, and base_url's."""
    urls = [v.get_secret_value() if isinstance(v, SecretStr) else v for v in dict(config).values()]
    urls = [base_url, *(u for u in urls if isinstance(u, str) and re.match(r"https?://", u))]
    return [*cls.hosts(config), *(host for u in urls if u and (host := urlsplit(u).hostname))]


def _patience(base_url: str | None) -> Patience:
    """Be patient with a vendor; a sandbox or test on this machine answers at once or not at all."""
    return Patience(backoff_s=0.05) if is_loopback(base_url) else Patience()
