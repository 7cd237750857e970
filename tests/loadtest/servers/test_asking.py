"""Asking a server of this machine: what it answers, and that whoever does not answer is told from one who does."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from loadtest.servers.asking import Answer, ask
from loadtest.servers.process import unused_port

PATIENCE_S = 60.0


@contextmanager
def saying(answer: bytes | None) -> Iterator[tuple[int, list[bytes]]]:
    """A server of one connection: it says this to whoever asks and hangs up, or with None says nothing at all."""
    heard: list[bytes] = []
    over = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            heard.append(connection.recv(65_536))
            if answer is None:
                over.wait(PATIENCE_S)
            else:
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1], heard
        finally:
            over.set()
            thread.join()


def test_what_is_answered_is_told() -> None:
    """A refusal is an answer too, as /readyz gives it."""
    with saying(b"HTTP/1.1 503 Not Ready\r\nContent-Length: 2\r\n\r\n{}") as (port, heard):
        assert ask(port, "/readyz", within_s=PATIENCE_S) == Answer(503, b"{}")
    assert heard[0].startswith(b"GET /readyz HTTP/1.1\r\n")


def test_a_body_goes_as_json() -> None:
    """The head may come without the body, so only what says its length is looked at."""
    with saying(b"HTTP/1.1 204 No Content\r\n\r\n") as (port, heard):
        assert ask(port, "/ways", within_s=PATIENCE_S, method="POST", body={"a": [1]}) == Answer(204, b"")
    assert heard[0].startswith(b"POST /ways HTTP/1.1\r\n")
    assert b"Content-Type: application/json\r\n" in heard[0]
    assert b"Content-Length: 9\r\n" in heard[0]


@pytest.mark.parametrize("answer", [b"", b"no HTTP at all\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
def test_what_is_no_whole_answer_is_an_os_error(answer: bytes) -> None:
    """Killed in mid-sentence, or somebody else at that port."""
    with saying(answer) as (port, _), pytest.raises(ConnectionError):
        ask(port, "/", within_s=PATIENCE_S)


def test_who_says_nothing_is_not_waited_for() -> None:
    """A paused server takes connections and says nothing."""
    with saying(None) as (port, _), pytest.raises(TimeoutError):
        ask(port, "/", within_s=0.05)


def test_where_nobody_listens_is_an_os_error() -> None:
    """A killed one."""
    with pytest.raises(ConnectionRefusedError):
        ask(unused_port(), "/", within_s=PATIENCE_S)
