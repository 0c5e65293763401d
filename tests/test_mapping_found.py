"""Where a mapping is found: the connection's file, the folder, the plugin's own, the core's."""

from typing import Any

import pytest

from hub.connector import Connector, pull
from hub.errors import MappingError
from hub.mapping import locate


class _Desk(Connector):
    name = "desk"
    mapping = '[tickets]\nkind = "ticket"\nkey = "id"\n'

    @pull("tickets")
    def tickets(self, stream: Any, cursor: Any) -> Any:
        raise NotImplementedError


class _Beside(Connector):
    name = "nowhere_to_be_found"


class _Missing(Connector):
    name = "missing"
    mapping = "not_there.toml"


def test_a_mapping_is_found_in_order(tmp_path: Any) -> None:
    assert locate(_Desk).where == "plugin desk"
    (tmp_path / "desk.toml").write_text("# in the folder")
    assert locate(_Desk, mappings_dir=tmp_path).text == "# in the folder"
    own = tmp_path / "mine.toml"
    own.write_text("# mine")
    assert locate(_Desk, mapping=own, mappings_dir=tmp_path).text == "# mine"
    with pytest.raises(MappingError, match=r"gone.toml cannot be read"):
        locate(_Desk, mapping=tmp_path / "gone.toml")
    own.write_bytes(b"\xff")
    with pytest.raises(MappingError, match="is not UTF-8"):
        locate(_Desk, mapping=own)
    with pytest.raises(MappingError, match='no mapping for connector "nowhere_to_be_found"'):
        locate(_Beside, mappings_dir=tmp_path)
    with pytest.raises(MappingError, match=r"there is no not_there.toml"):
        locate(_Missing)


def test_the_cores_own_mappings_are_found_by_name() -> None:
    class Stripe(Connector):
        name = "stripe"

    Stripe.__module__ = "nothing_loaded"
    assert locate(Stripe).where == "built-in stripe"
