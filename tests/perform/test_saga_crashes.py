"""Actions of several steps whose process died, or whose first answer was lost: they go on and repeat nothing."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHILD = """
import sys
from pathlib import Path
from hub.access import OPERATOR
from hub.perform import Request
from tests.perform.shop import CANCELLING, ShopConnector, opened, table
performer = opened(Path(sys.argv[1]), {"shop": table(sys.argv[2])}, CANCELLING, ShopConnector)
given = {"order_ref": "shop/orders/ord-1", "reason": "too late", "refund": True}
performer.run(Request("order.cancel", given, key="k1"), OPERATOR)
"""


def cancel(shop):
    return shop.ask("order.cancel", order_ref="shop/orders/ord-1", reason="too late", refund=True)


def test_the_refund_waits_until_it_is_known_that_the_order_was_cancelled(bought):
    shop = bought(options={"looks_up": False})
    shop.sandbox.fault("PATCH /orders", "drop_after", times=1)
    result = cancel(shop)
    states = [step.state for step in shop.ledger.get(result.run_id).steps]
    assert (result.status, states) == ("unknown", ["unknown", "planned"])
    assert [entry.path for entry in shop.sandbox.ledger] == ["/orders/ord-1"]
    assert shop.performer.waiting() == [result.run_id]
    connector = shop.connections.open("shop").connector
    connector.config = connector.config.model_copy(update={"looks_up": True})
    done = shop.performer.advance(result.run_id)
    assert (done.status, len(done.effects)) == ("succeeded", 2)
    assert [entry.path for entry in shop.sandbox.ledger] == ["/orders/ord-1", "/refunds"]


def test_a_process_killed_between_order_and_refund_goes_on_and_repeats_nothing(bought, tmp_path):
    shop = bought()
    shop.sandbox.fault("POST /refunds", "slow:0.5s")
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), shop.sandbox.url], cwd=ROOT)
    while child.poll() is None and not any(fault.times == 0 for fault in shop.sandbox.faults):
        time.sleep(0.01)
    child.kill()
    assert child.wait() == -9
    (run,) = shop.ledger.runs()
    assert [step.state for step in shop.ledger.get(run.id).steps] == ["done", "sending"]
    while not shop.sandbox.effects("refund"):
        time.sleep(0.01)
    result = cancel(shop)
    assert (result.run_id, result.replayed, result.status) == (run.id, True, "succeeded")
    assert sorted(entry.path for entry in shop.sandbox.ledger if entry.effect is not None) == [
        "/orders/ord-1",
        "/refunds",
    ]
