"""
Find plugins and isolate them: a broken one is listed with its error and stops nothing.

The only importer of pluggy's manager. Entry points are walked here, one by one, because pluggy's own loader stops at
the first that raises and silently skips a second of the same name.
"""

import inspect
import logging
import re
import traceback
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from hub import hookspecs
from hub.actions import CATALOGUE, Action
from hub.config import did_you_mean
from hub.connector import Call, Connector, ConnectorConfig
from hub.errors import ConfigError, HubError, near

GROUP = "hub"
log = logging.getLogger("hub.plugins")
Decider = Callable[[Action, Call], str | None]
_HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("hub_"))
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_VERB = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")


@dataclass
class PluginInfo:
    """One entry point: where it comes from, what it brings, and what is wrong with it (None: nothing)."""

    name: str
    distribution: str
    version: str
    module: str
    connectors: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    error: str | None = None

    def wrong(self, message: str) -> None:
        """Note an error beside those already there."""
        self.error = message if self.error is None else f"{self.error}; {message}"


@dataclass
class Plugins:
    """All that plugins bring, by name. `actions` starts with the core's catalogue."""

    connectors: dict[str, type[Connector]] = field(default_factory=dict)
    actions: dict[str, type[Action]] = field(default_factory=lambda: {action.name: action for action in CATALOGUE})
    converters: dict[str, Callable[..., Any]] = field(default_factory=dict)
    deciders: dict[str, Decider] = field(default_factory=dict)
    infos: list[PluginInfo] = field(default_factory=list)

    def connector(self, name: str) -> type[Connector]:
        """Give the connector class of that name. Raises ConfigError that says which there are, or why it is broken."""
        if name in self.connectors:
            return self.connectors[name]
        for info in self.infos:
            if info.error and name in (info.name, info.distribution):
                raise ConfigError(f'connector "{name}": its plugin {_whose(info)} is broken: {info.error}')
        hint = did_you_mean(name, self.connectors) or "; no connector plugin is installed"
        raise ConfigError(f'connector "{name}": no installed plugin has it{hint}')

    def decide(self, action: Action, call: Call) -> tuple[str, str] | None:
        """
        Ask every plugin that wants to decide; give the plugin and the reason of the first that refuses, or None.

        An error, and an answer that is no text, refuse too.
        """
        for name, decider in self.deciders.items():
            try:
                reason = decider(action, call)
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - the wall around plugins
                log.error("plugin %s: hub_decide failed on %s: %s", name, action.name, _line(exc))
                return name, f"hub_decide failed ({type(exc).__name__}), so it refuses"
            if reason is not None:
                return name, reason if isinstance(reason, str) and reason else "refused without a reason"
        return None


def discover(found: Iterable[EntryPoint] | None = None) -> Plugins:
    """
    Load every plugin of the entry-point group `hub`, in the order of distribution and name.

    Of two that claim one name (plugin, connector, action or converter) the first in that order keeps it and the
    second is told so. Nothing a plugin does at import or in a hook stops the others.
    """
    plugins, manager = Plugins(), pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    owners: dict[tuple[str, str], PluginInfo] = {}
    for point in _in_order(entry_points(group=GROUP) if found is None else found):
        info = _info(point)
        plugins.infos.append(info)
        first = owners.setdefault(("plugin", info.name), info)
        if first is not info:
            info.wrong(f'a second plugin named "{info.name}": {_whose(first)} has that name; uninstall one of the two')
            continue
        module = _load(point, manager, info)
        if module is not None:
            _collect(module, manager, plugins, info, owners)
    return plugins


def own_frame(exc: BaseException, passing: Collection[str] = ("hub", "importlib", "pluggy")) -> str | None:
    """Name file and line where an exception came out of a plugin's own module; None where it never went through one."""
    found, plugin = None, None
    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{near(exc.filename)}:{exc.lineno}"
    for frame, line in traceback.walk_tb(exc.__traceback__):
        root = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if plugin is None and root not in passing:
            plugin = root
        if root == plugin:
            found = f"{near(frame.f_code.co_filename)}:{line}"
    return found


def _in_order(points: Iterable[EntryPoint]) -> list[EntryPoint]:
    unique = {(_distribution(point)[0], point.name, point.value): point for point in points}
    return [unique[key] for key in sorted(unique)]


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("unknown", "")


def _info(point: EntryPoint) -> PluginInfo:
    return PluginInfo(point.name, *_distribution(point), module=point.value)


def _whose(info: PluginInfo) -> str:
    return f"{info.distribution} {info.version} ({info.module})"


def _load(point: EntryPoint, manager: pluggy.PluginManager, info: PluginInfo) -> Any:
    try:
        module = point.load()
        manager.register(module, name=point.name)
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - the wall around plugins
        info.wrong(_line(exc))
        return None
    for name in _misspelt(module, manager):
        info.wrong(f"{name} is no hook{did_you_mean(name, _HOOKS)}")
    for name in _HOOKS:
        if callable(getattr(module, name, None)) and not _implemented(name, module, manager):
            info.wrong(f"{name} lacks @hookimpl")
    return module


def _misspelt(module: Any, manager: pluggy.PluginManager) -> list[str]:
    callers = manager.get_hookcallers(module) or []
    return [caller.name for caller in callers if not caller.has_spec()]


def _implemented(hook: str, module: Any, manager: pluggy.PluginManager) -> Callable[..., Any] | None:
    for impl in getattr(manager.hook, hook).get_hookimpls():
        if impl.plugin is module:
            return impl.function  # type: ignore[no-any-return]
    return None


def _collect(
    module: Any,
    manager: pluggy.PluginManager,
    plugins: Plugins,
    info: PluginInfo,
    owners: dict[tuple[str, str], PluginInfo],
) -> None:
    takers: dict[str, Callable[[Any], tuple[str, str, dict[str, Any], list[str] | None]]] = {
        "hub_connectors": lambda cls: ("connector", _connector_name(cls), plugins.connectors, info.connectors),
        "hub_actions": lambda cls: ("action", _action_name(cls), plugins.actions, info.actions),
        "hub_converters": lambda name: ("converter", name, plugins.converters, None),
    }
    for hook, taker in takers.items():
        function = _implemented(hook, module, manager)
        if function is None:
            continue
        try:
            brought = function() or ()
            things = dict(brought) if hook == "hub_converters" else {thing: thing for thing in brought}
            for key, thing in things.items():
                what, name, shelf, listed = taker(key)
                _put(thing, what, name, (shelf, listed, info, owners))
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - the wall around plugins
            info.wrong(f"{hook}: {_line(exc)}")
    for impl in manager.hook.hub_decide.get_hookimpls():
        if impl.plugin is module:
            plugins.deciders[info.name] = _decider(impl)


def _decider(impl: Any) -> Decider:
    """Call an implementation with those of the two that it takes, as pluggy would."""

    def decide(action: Action, call: Call) -> str | None:
        given = {"action": action, "call": call}
        return impl.function(*(given[name] for name in impl.argnames))  # type: ignore[no-any-return]

    return decide


def _put(
    thing: Any, what: str, name: str, place: tuple[dict[str, Any], Any, PluginInfo, dict[Any, PluginInfo]]
) -> None:
    shelf, listed, info, owners = place
    if name in shelf:
        first = owners.get((what, name))
        holder = _whose(first) if first else "the hub itself"
        info.wrong(f'{what} "{name}" of {_whose(info)} is a second one of that name; {holder} keeps it')
        return
    owners[what, name] = info
    shelf[name] = thing
    if listed is not None:
        listed.append(name)


def _connector_name(cls: Any) -> str:
    name = getattr(cls, "name", None)
    if not (inspect.isclass(cls) and issubclass(cls, Connector)):
        raise TypeError(f"expected subclasses of hub.Connector, found {cls!r}")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TypeError(f'{cls.__name__}.name: expected lower-case letters, digits, - and _, such as "zendesk"')
    if not issubclass(cls.Config, ConnectorConfig):
        raise TypeError(f"{cls.__name__}.Config: expected a subclass of hub.ConnectorConfig")
    return name


def _action_name(cls: Any) -> str:
    if not (inspect.isclass(cls) and issubclass(cls, Action)):
        raise TypeError(f"expected subclasses of hub.Action, found {cls!r}")
    missing = [key for key in ("name", "title", "risk") if not hasattr(cls, key)]
    if missing:
        raise TypeError(f"{cls.__name__} lacks {', '.join(missing)}")
    if not _VERB.fullmatch(cls.name):
        raise TypeError(f'{cls.__name__}.name: expected noun.verb, such as "ticket.reply"')
    return cls.name


def _line(exc: BaseException) -> str:
    text, place = " ".join(str(exc).split())[:300], own_frame(exc)
    told = text if isinstance(exc, HubError) else f"{type(exc).__name__}: {text}".removesuffix(": ")
    return f"{told} ({place})" if place else told
