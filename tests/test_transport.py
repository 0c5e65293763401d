"""The one HTTP session: who may be asked, what is retried, and what is known of a write."""

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests

from hub.errors import Invalid
from hub.transport import Captured, Patience, Transport, announce, capturing, retry_after, was_sent, watch

URL = "https://acme.vendor.example"


@pytest.fixture
def transport(echo, clock):
    made = Transport("acme", hosts=["acme.vendor.example"], base_url=echo.url, patience=Patience(timeout_s=(1, 1)))
    made.sleep = clock
    yield made
    made.close()


def test_requests_go_to_base_url_and_keep_their_own_address(transport):
    response = transport.get(f"{URL}/api/v2/things?page=2")
    assert response.json()["path"] == "/api/v2/things"
    assert response.json()["query"] == {"page": ["2"]}
    assert response.url == f"{URL}/api/v2/things?page=2"
    assert response.request.url == response.url


def test_base_url_may_have_a_path(echo):
    with Transport("acme", hosts=["acme.vendor.example"], base_url=f"{echo.url}/proxy/") as transport:
        assert transport.get(f"{URL}/x").json()["path"] == "/proxy/x"


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/x",
        "https://acme.vendor.example.evil.example/",
        "https://acme.vendor.example@evil.example/",
        "file:///etc/passwd",
        "http://127.0.0.1:1/",
    ],
)
def test_a_foreign_host_is_refused_before_it_is_rewritten(transport, echo, url):
    with pytest.raises((Invalid, requests.exceptions.InvalidSchema)):
        transport.get(url)
    assert not echo.ledger


def test_a_redirect_to_a_foreign_host_is_refused(transport, echo, monkeypatch):
    from hub.sandbox import Response

    monkeypatch.setattr(echo, "answer", lambda r: Response(None, 302, {"Location": "https://evil.example/steal"}))
    with pytest.raises(Invalid, match="does not own"):
        transport.get(f"{URL}/x", headers={"Authorization": "Bearer secret"})


def test_plain_http_is_refused_without_base_url():
    with Transport("acme", hosts=["acme.vendor.example"]) as transport, pytest.raises(Invalid, match="TLS"):
        transport.get("http://acme.vendor.example/x")


@pytest.mark.parametrize("fault", ["status:429", "status:500", "drop_before", "cut"])
def test_reads_are_retried(transport, echo, fault):
    echo.fault("GET /x", fault, 2)
    assert transport.get(f"{URL}/x").json()["path"] == "/x"


def test_retry_after_is_waited_for(transport, echo, clock):
    echo.fault("GET /x", "status:429")
    transport.get(f"{URL}/x")
    assert clock.slept == [1.0]


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="only Linux lets a program ask for it")
def test_what_is_read_is_acknowledged_at_once(transport, monkeypatch):
    used = []

    class Watched(socket.socket):
        def __init__(self, *args, **more):
            super().__init__(*args, **more)
            used.append(self)

    monkeypatch.setattr(socket, "socket", Watched)
    for _ in range(10):  # a conversation, in which Linux puts acknowledgements off
        transport.get(f"{URL}/x")
        assert used[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1


def test_reads_end_after_the_last_try(transport, echo):
    echo.fault("GET /x", "status:500", 99)
    assert transport.get(f"{URL}/x").status_code == 500
    echo.faults.clear()
    echo.fault("GET /x", "drop_before", 99)
    with pytest.raises(requests.ConnectionError):
        transport.get(f"{URL}/x")


def test_a_long_retry_after_is_not_waited_for(transport, echo, clock, monkeypatch):
    from hub.sandbox import Response

    monkeypatch.setattr(echo, "throttled", lambda r: Response({}, 429, {"Retry-After": "3600"}))
    echo.fault("GET /x", "status:429")
    assert transport.get(f"{URL}/x").status_code == 429
    assert clock.slept == []


@pytest.mark.parametrize("fault", ["status:429", "status:500", "drop_before", "drop_after"])
def test_writes_are_never_retried(transport, echo, fault):
    echo.fault("POST /x", fault)
    with watch() as flights:
        try:
            transport.post(f"{URL}/x", json={})
        except requests.ConnectionError:
            pass
    assert len(echo.ledger) == 1
    assert len(flights) == 1


def test_a_write_whose_answer_was_lost_is_doubtful(transport, echo):
    echo.fault("POST /x", "drop_after")
    with watch() as flights, pytest.raises(requests.ConnectionError) as caught:
        transport.post(f"{URL}/x", json={})
    assert flights[0].sent
    assert flights[0].doubtful
    assert was_sent(caught.value)
    assert len(echo.effects()) == 1


@pytest.mark.parametrize("fault", ["slow:2s", "cut"])
def test_a_write_whose_answer_breaks_off_is_doubtful(transport, echo, fault):
    echo.fault("POST /x", fault)
    with watch() as flights, pytest.raises((requests.Timeout, requests.exceptions.ChunkedEncodingError)):
        transport.post(f"{URL}/x", json={})
    assert flights[0].doubtful


def test_a_server_error_on_a_write_is_doubtful_and_a_refusal_is_not(transport, echo):
    echo.fault("POST /x", "status:500")
    with watch() as flights:
        transport.post(f"{URL}/x", json={})
        transport.post(f"{URL}/x", json={})
    assert [flight.doubtful for flight in flights] == [True, False]


def test_a_refused_connection_was_not_sent():
    with Transport("acme", hosts=["acme.vendor.example"], base_url="http://127.0.0.1:9") as transport:
        with watch() as flights, pytest.raises(requests.ConnectionError) as caught:
            transport.post(f"{URL}/x", json={})
    assert was_sent(caught.value) is False
    assert not flights[0].sent
    assert not flights[0].doubtful


def test_was_sent_sees_through_wrapped_exceptions():
    inner = requests.ConnectionError("gone")
    inner.hub_sent = True
    outer = RuntimeError("sdk")
    outer.__cause__ = inner
    assert was_sent(outer) is True
    assert was_sent(ValueError("nothing to do with a request")) is None


def test_a_preview_lets_reads_out_and_catches_the_first_write(transport, echo):
    with capturing():
        transport.get(f"{URL}/x")
        with pytest.raises(Captured) as caught:
            transport.post(
                f"{URL}/refunds",
                data={"amount": "5"},
                headers={"Authorization": "Bearer secret", "Idempotency-Key": "k"},
            )
    assert caught.value.request == {
        "method": "POST",
        "url": f"{URL}/refunds",
        "headers": {"Content-Type": "application/x-www-form-urlencoded", "Idempotency-Key": "k"},
        "body": {"amount": "5"},
    }
    assert not echo.ledger


def test_a_write_that_is_no_http_is_captured_and_counted():
    with capturing(), pytest.raises(Captured):
        announce({"insert": "requests"})
    with watch() as flights:
        announce({"insert": "requests"})
    assert flights[0].doubtful


def test_retry_after_is_read_in_both_forms():
    now = datetime.now(UTC)
    assert retry_after({"Retry-After": "7"}) == 7
    assert retry_after({"Retry-After": format_datetime(now + timedelta(seconds=90))}, now=now) == pytest.approx(
        90, abs=1
    )
    assert retry_after({"Retry-After": format_datetime(now - timedelta(seconds=90), usegmt=True)}, now=now) == 0
    assert retry_after({"Retry-After": "soon"}) is None
    assert retry_after({}) is None


def test_an_entry_in_netrc_does_not_replace_the_connectors_credentials(echo, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Transport("acme", hosts=["127.0.0.1"]) as transport:
        sent = transport.get(f"{echo.url}/x", headers={"Authorization": "Bearer mine"}).request
    assert sent.headers["Authorization"] == "Bearer mine"
