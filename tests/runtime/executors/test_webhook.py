"""Posts to a real server on this machine."""

import http.server
import json
import pickle
import threading
from collections.abc import Iterator

import pytest

from murakkab.runtime.executors.errors import ExecutorError
from murakkab.runtime.executors.webhook import webhook
from murakkab.runtime.media import Media


class Server(http.server.ThreadingHTTPServer):
    status = 200
    received: list[tuple[dict[str, str], object]]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((dict(self.headers), json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.received = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/hook"


def test_fields_arrive_as_json_with_the_key(server: Server) -> None:
    assert webhook(url=address(server), idempotency_key="run-1/3", message="grüß", n=[1, None])
    ((headers, body),) = server.received
    assert body == {"message": "grüß", "n": [1, None]}
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == "run-1/3"


def test_the_address_may_stand_in_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", address(server))
    assert webhook(url_env="HOOK", message="x")
    monkeypatch.delenv("HOOK")
    with pytest.raises(ExecutorError, match="set the environment variable `HOOK`"):
        webhook(url_env="HOOK", message="x")


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(302, False), (400, False), (404, False), (408, True), (429, True), (500, True), (503, True)],
)
def test_a_refusal_says_whether_to_come_back(server: Server, status: int, retryable: bool) -> None:
    server.status = status
    with pytest.raises(ExecutorError, match=str(status)) as caught:
        webhook(url=address(server), message="x")
    assert caught.value.retryable is retryable
    assert len(server.received) == 1  # nothing is repeated or followed here
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.retryable) == (str(caught.value), retryable)


def test_nobody_listening_is_retryable(server: Server) -> None:
    url = address(server)
    server.server_close()
    with pytest.raises(ExecutorError, match="cannot be reached") as caught:
        webhook(url=url, message="x")
    assert caught.value.retryable


@pytest.mark.parametrize("url", [None, "", "file:///etc/passwd", "ftp://x", "http://h:port/"])
def test_an_address_that_is_none_is_refused_for_good(url: str | None) -> None:
    with pytest.raises(ExecutorError, match="address") as caught:
        webhook(url=url, message="x")
    assert not caught.value.retryable


def test_media_cannot_be_posted(server: Server) -> None:
    with pytest.raises(ExecutorError, match="cannot send `image of 1 bytes`"):
        webhook(url=address(server), picture=Media("image", data=b"x"))
    assert server.received == []
