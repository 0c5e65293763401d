"""A process that may write no more: as on a full disk, which test_full_disk.py makes where it may mount one."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_ROOM = """
import resource
import sys
from pathlib import Path
from hub.access import OPERATOR
from hub.errors import HubError
from hub.perform import Request
from tests.perform.shop import PLENTY, ShopConnector, opened, table
folder = Path(sys.argv[1])
performer = opened(folder, {"shop": table(sys.argv[2])}, PLENTY, ShopConnector)
wal = folder / "ledger.db-wal"
size = wal.stat().st_size if wal.exists() else 0
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
given = {"ticket_ref": "shop/tickets/tic-1", "body": "Ask Berta."}
try:
    performer.run(Request("ticket.note", given, key="k1"), OPERATOR)
except HubError as exc:
    print(type(exc).__name__, exc.code)
"""


@pytest.fixture
def databases(sqlite_databases):
    """The files of a Postgres are written by its server."""
    return sqlite_databases


def test_nothing_is_sent_while_the_journal_may_not_grow(shop, tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", NO_ROOM, str(tmp_path), shop.sandbox.url], cwd=ROOT, capture_output=True, text=True
    )
    assert child.stdout == "Temporary temporary\n", child.stderr
    assert (shop.sandbox.ledger, shop.ledger.runs()) == ([], [])
    assert shop.note().status == "succeeded"
