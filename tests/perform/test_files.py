"""Files of a message are checked before anything is sent, and go only to a system that takes them."""

import base64

import msgspec
import pytest

from hub.actions import TicketReply
from hub.actions.declare import FILES_BYTES
from hub.api.guard import MAX_BODY
from hub.connector import Effect, Outcome, act
from hub.errors import Invalid, Unsupported
from tests.perform.shop import ShopConnector
from tests.stores import ON_SQLITE

FILE = {"name": "bill.pdf", "content_type": "application/pdf", "content": base64.b64encode(b"the bill").decode()}


@ON_SQLITE
@pytest.mark.parametrize(
    ("files", "path"),
    [
        ([], "attachments"),
        ([FILE] * 11, "attachments"),
        ([{**FILE, "content": "no base64!"}], "attachments.0.content"),
        ([{**FILE, "content": ""}], "attachments.0.content"),
        ([{**FILE, "name": "../etc/passwd"}], "attachments.0.name"),
        ([{**FILE, "name": "a\nb"}], "attachments.0.name"),
        ([{**FILE, "content_type": "pdf"}], "attachments.0.content_type"),
        ([{**FILE, "content_type": "text/plain\r\nX-Evil: 1"}], "attachments.0.content_type"),
        ([{**FILE, "path": "/etc/passwd"}], "attachments.0.path"),
        ([{**FILE, "content": base64.b64encode(bytes(700_001)).decode()}], "attachments"),
        ([{**FILE, "content": base64.b64encode(bytes(350_001)).decode()}] * 2, "attachments"),
    ],
)
def test_a_file_that_cannot_be_is_refused(shop, files, path):
    with pytest.raises(Invalid) as caught:
        shop.reply(attachments=files)
    assert caught.value.field_path == f"input.{path}"
    assert shop.sandbox.ledger == []


def test_files_never_vanish_where_a_system_does_not_take_them(shop):
    for ask in (shop.reply, shop.note):
        with pytest.raises(
            Unsupported, match=r"shop cannot do attachments; no connection can; leave them out"
        ) as caught:
            ask(attachments=[FILE])
        assert (caught.value.error_code, caught.value.field_path) == ("input_not_supported", "input.attachments")
    assert shop.sandbox.ledger == []


def test_a_system_that_takes_files_gets_their_bytes_and_the_journal_has_them_once(shop):
    got = []

    class Files(ShopConnector):
        @act(TicketReply, idempotency="marker", takes=("attachments",))
        def reply(self, action, call):
            got.append((action.attachments[0].data, call.input["attachments"]))
            return Outcome([Effect("comment", "com-9", "create")])

    connector = shop.connections.open("shop").connector
    connector.__class__ = Files
    result = shop.reply(attachments=[FILE])
    told = [{"name": "bill.pdf", "content_type": "application/pdf", "size": 8}]
    assert (result.status, got) == ("succeeded", [(b"the bill", told)])
    (step,) = shop.ledger.get(result.run_id).steps
    assert FILE["content"] not in msgspec.json.encode(msgspec.json.decode(step.call)).decode()


def test_the_most_that_files_may_hold_fits_into_one_request():
    assert len(base64.b64encode(bytes(FILES_BYTES))) + 4 * 32_000 // 4 < MAX_BODY
