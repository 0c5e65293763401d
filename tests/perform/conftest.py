"""A hub beside the shop, synced and ready to act."""

from contextlib import ExitStack

import pytest

from hub import sync
from hub.sandbox import World
from tests.perform.shop import CANCELLING, MAPPING, PLENTY, Shop, ShopConnector, ShopSandbox, opened, put, table


@pytest.fixture
def build(tmp_path, databases):
    """
    Build a shop; `mapping`, `policy` and connector settings may differ, `names` are the connections.

    Its databases are empty; on both stores in turn.
    """
    built: list[Shop] = []
    stack = ExitStack()

    def make(names=("shop",), *, policy=PLENTY, mapping=MAPPING, live_actions=False, tweak=None, **options) -> Shop:
        cls = type("OwnShop", (ShopConnector,), {"mapping": mapping})
        sandboxes = {name: ShopSandbox(World(customers=2)).start() for name in names}
        if tweak is not None:
            tweak(sandboxes)
        put(stack.enter_context(databases()), tmp_path)
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
    stack.close()


@pytest.fixture
def shop(build):
    return build()


@pytest.fixture
def bought(build):
    """Build a shop where ord-1 was paid with pay-1; `more` are further fields of things, by id without its dash."""

    def make(policy=CANCELLING, options=None, **more):
        def tweak(sandboxes):
            things = sandboxes["shop"].things
            things["orders"]["ord-1"] |= {"customer": "cus-1", "state": "open", "paid": "yes", "total": 5000}
            things["payments"]["pay-1"] |= {"order": "ord-1"}
            for kind in ("orders", "payments"):
                for one in things[kind]:
                    things[kind][one] |= more.get(one.replace("-", ""), {})

        return build(policy=policy, tweak=tweak, **(options or {}))

    return make
