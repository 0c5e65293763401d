"""A hub beside the shop, synced and ready to act."""

import shutil

import pytest

from hub import sync
from hub.ledger import Ledger
from hub.sandbox import World
from hub.store import Store
from tests.perform.shop import MAPPING, PLENTY, Shop, ShopConnector, ShopSandbox, opened, table


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """Empty databases, migrated once for all tests."""
    folder = tmp_path_factory.mktemp("migrated")
    Store.open(f"sqlite:///{folder / 'hub.db'}").close()
    Ledger.open(f"sqlite:///{folder / 'ledger.db'}").close()
    return folder


@pytest.fixture
def build(tmp_path, migrated):
    """Build a shop; `mapping`, `policy` and connector settings may differ, `names` are the connections."""
    built: list[Shop] = []

    def make(names=("shop",), *, policy=PLENTY, mapping=MAPPING, live_actions=False, tweak=None, **options) -> Shop:
        cls = type("OwnShop", (ShopConnector,), {"mapping": mapping})
        sandboxes = {name: ShopSandbox(World(customers=2)).start() for name in names}
        if tweak is not None:
            tweak(sandboxes)
        for name in ("hub.db", "ledger.db"):
            shutil.copy(migrated / name, tmp_path / name)
        tables = {n: table(s.url, live_actions=live_actions, options=options) for n, s in sandboxes.items()}
        performer = opened(tmp_path, tables, policy, cls)
        store, ledger, connections = performer.store, performer.ledger, performer.connections
        for name in names:
            report = sync.sync_connection(store, connections.open(name))
            assert {table["error"] for table in report.values()} == {None}
        built.append(Shop(sandboxes, store, ledger, connections, performer))
        return built[-1]

    yield make
    for shop in built:
        shop.connections.close()
        shop.store.close()
        shop.ledger.close()
        [sandbox.stop() for sandbox in shop.sandboxes.values()]


@pytest.fixture
def shop(build):
    return build()
