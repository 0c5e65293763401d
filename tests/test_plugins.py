"""Plugins: found by their entry point, isolated, and every fault told with names that lead to its author."""

import re
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, PathDistribution
from pathlib import Path

import pytest

from hub.errors import ConfigError
from hub.plugins import Plugins, discover

HEAD = """
from hub import Action, Connector, Risk, hookimpl
class {cls}(Connector):
    name = "{name}"
class Wave(Action):
    name = "customer.wave"
    title = "Wave"
    risk = Risk.R1
"""
HOOK = "@hookimpl\ndef hub_connectors():\n    return [{cls}]\n"
Install = Callable[..., EntryPoint]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution of one module as pip does: a folder with metadata beside the code."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def made(distribution: str, module: str, code: str, *, plugin: str = "acme", cls: str = "Acme") -> EntryPoint:
        (tmp_path / f"{module}.py").write_text(HEAD.format(cls=cls, name=plugin) + code.replace("{cls}", cls))
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[hub]\n{plugin} = {module}\n")
        (point,) = PathDistribution(info).entry_points
        return point

    yield made
    for name in set(sys.modules) - before:
        if name.startswith("plugin_"):
            del sys.modules[name]


def only(plugins: Plugins) -> str:
    (info,) = plugins.infos
    return info.error or ""


def test_a_plugin_is_found_by_its_entry_point(install: Install, tmp_path: Path) -> None:
    install("acme-plugin", "plugin_a", HOOK)
    found = discover()
    info = next(info for info in found.infos if info.distribution == "acme-plugin")
    assert (info.name, info.version, info.module, info.connectors, info.error) == (
        "acme",
        "1.0",
        "plugin_a",
        ["acme"],
        None,
    )
    assert found.connectors["acme"].__name__ == "Acme"


def test_actions_and_converters_come_too_beside_the_catalogue(install: Install) -> None:
    code = "@hookimpl\ndef hub_actions():\n    return [Wave]\n"
    code += "@hookimpl\ndef hub_converters():\n    return {'rot13': str}\n"
    found = discover([install("p", "plugin_a", code)])
    assert found.actions["customer.wave"].title == "Wave"
    assert "payment.refund" in found.actions
    assert found.converters == {"rot13": str}
    assert found.infos[0].actions == ["customer.wave"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError"),
        ("@hookimpl\ndef hub_connectors():\n    raise KeyError('x')", "hub_connectors: KeyError: 'x'"),
        (
            "@hookimpl\ndef hub_connectors():\n    return [3]",
            "hub_connectors: TypeError: expected subclasses of hub.Connector",
        ),
        ("@hookimpl\ndef hub_connectors():\n    return 3", "hub_connectors: TypeError"),
        ("@hookimpl\ndef hub_connectors(x):\n    return []", "PluginValidationError"),
        ("Acme.name = 'No Name'\n" + HOOK, "Acme.name: expected lower-case letters"),
        ("Acme.Config = dict\n" + HOOK, "Acme.Config: expected a subclass of hub.ConnectorConfig"),
        ("del Wave.title\n@hookimpl\ndef hub_actions():\n    return [Wave]", "Wave lacks title"),
        ("Wave.name = 'wave'\n@hookimpl\ndef hub_actions():\n    return [Wave]", "Wave.name: expected noun.verb"),
    ],
)
def test_a_broken_plugin_is_told_and_stops_nothing(install: Install, code: str, told: str) -> None:
    broken = install("broken", "plugin_a", code)
    fine = install("fine", "plugin_b", HOOK, plugin="good", cls="Good")
    found = discover([broken, fine])
    assert told in (found.infos[0].error or "")
    assert "\n" not in (found.infos[0].error or "")
    assert list(found.connectors) == ["good"]
    assert found.infos[1].error is None


def test_a_fault_of_a_plugin_is_told_with_its_own_line(install: Install) -> None:
    said = only(discover([install("p", "plugin_a", "import json\njson.loads('{')\n")]))
    assert said.startswith("JSONDecodeError: ")
    assert re.search(r"plugin_a\.py:10\)$", said), "the line of the plugin, not of the library it called"
    said = only(discover([install("q", "plugin_b", "@hookimpl\ndef hub_connectors():\n    return 1 / 0\n")]))
    assert re.search(r"^hub_connectors: ZeroDivisionError: .* \(\S*plugin_b\.py:11\)$", said)
    assert re.search(r"plugin_c\.py:9\)$", only(discover([install("r", "plugin_c", "def (:\n")])))


def test_a_misspelt_hook_is_told_and_the_others_still_count(install: Install) -> None:
    code = HOOK + "@hookimpl\ndef hub_conectors():\n    return []\n"
    found = discover([install("p", "plugin_a", code)])
    assert only(found) == 'hub_conectors is no hook; did you mean "hub_connectors"?'
    assert list(found.connectors) == ["acme"]


def test_a_hook_without_its_mark_is_told(install: Install) -> None:
    assert (
        only(discover([install("p", "plugin_a", "def hub_actions():\n    return []\n")]))
        == "hub_actions lacks @hookimpl"
    )


def test_of_two_plugins_with_one_name_the_first_distribution_keeps_it(install: Install) -> None:
    second = install("zzz", "plugin_b", HOOK)
    first = install("aaa", "plugin_a", HOOK)
    found = discover([second, first])
    assert [info.distribution for info in found.infos] == ["aaa", "zzz"]
    assert found.connectors["acme"].__module__ == "plugin_a"
    assert (
        found.infos[1].error
        == 'a second plugin named "acme": aaa 1.0 (plugin_a) has that name; uninstall one of the two'
    )


def test_of_two_connectors_with_one_name_the_second_plugin_is_told(install: Install) -> None:
    first = install("aaa", "plugin_a", HOOK)
    second = install("bbb", "plugin_b", "Other.name = 'acme'\n" + HOOK, plugin="other", cls="Other")
    found = discover([first, second])
    assert found.connectors["acme"].__module__ == "plugin_a"
    assert found.infos[1].error == (
        'connector "acme" of bbb 1.0 (plugin_b) is a second one of that name; aaa 1.0 (plugin_a) keeps it'
    )


def test_an_action_of_the_core_cannot_be_replaced(install: Install) -> None:
    code = "Wave.name = 'payment.refund'\n@hookimpl\ndef hub_actions():\n    return [Wave]\n"
    found = discover([install("p", "plugin_a", code)])
    assert "the hub itself keeps it" in only(found)
    assert found.actions["payment.refund"].__module__ == "hub.actions.payments"


def test_one_entry_point_seen_twice_is_one_plugin(install: Install) -> None:
    point = install("p", "plugin_a", HOOK)
    assert len(discover([point, point]).infos) == 1


def test_an_unknown_connector_is_told_with_the_nearest_name(install: Install) -> None:
    found = discover([install("p", "plugin_a", HOOK)])
    with pytest.raises(ConfigError, match='connector "acmee": no installed plugin has it; did you mean "acme"'):
        found.connector("acmee")
    with pytest.raises(ConfigError, match="no connector plugin is installed"):
        discover([]).connector("acme")


def test_a_connector_of_a_broken_plugin_is_told_as_such(install: Install) -> None:
    found = discover([install("p", "plugin_a", "raise OSError('disk')")])
    with pytest.raises(ConfigError, match=r"its plugin p 1.0 \(plugin_a\) is broken: OSError: disk"):
        found.connector("acme")
