"""Sockets with an unread last answer are kept for a limited time and in a limited number."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from coderunner.web import leftovers
from coderunner.web.leftovers import Leftovers
from tests.harness import eventually


@pytest.fixture
def kept() -> Iterator[Leftovers]:
    with contextlib.closing(Leftovers()) as all_of_them:
        yield all_of_them


@contextlib.contextmanager
def answered(kept: Leftovers, text: bytes = b"answer", unread: bytes = b"") -> Iterator[socket.socket]:
    """A peer whose connection was answered, kept and closed, with this input unread by the server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    with peer, ours:
        peer.settimeout(10)
        peer.sendall(unread)
        ours.sendall(text)
        kept.keep(ours.fileno())
        ours.close()
        yield peer


async def test_a_peer_reads_the_answer_to_what_nobody_has_read(kept):
    with answered(kept, unread=b"x" * 1000) as peer:
        assert len(kept) == 1
        peer.sendall(b"more that nobody reads")
        assert peer.recv(100) == b"answer"
        assert peer.recv(100) == b"", "and then the end, no reset"


async def test_a_peer_that_hangs_up_is_forgotten_at_once(kept):
    with answered(kept) as peer:
        assert len(kept) == 1
        peer.close()
        await eventually(lambda: not len(kept), 3, "forgotten before its time is up")


async def test_who_does_not_hang_up_is_forgotten_when_its_time_is_up(kept, monkeypatch):
    monkeypatch.setattr(leftovers, "SECONDS", 0.05)
    with answered(kept):
        await eventually(lambda: not len(kept), 10, "forgotten when its time is up")


async def test_beyond_the_bound_the_oldest_goes(kept, monkeypatch):
    monkeypatch.setattr(leftovers, "MAX_LEFTOVERS", 2)
    with answered(kept) as first, answered(kept) as second, answered(kept) as third:
        assert len(kept) == 2
        for one in (first, second, third):
            assert one.recv(100) == b"answer"
            assert one.recv(100) == b""
        second.sendall(b"nobody reads this")  # what is kept takes it
        with pytest.raises(ConnectionError):  # what is closed refuses it, which shows at the second time
            while True:
                first.sendall(b"nobody reads this")


async def test_a_descriptor_that_is_closed_is_no_fault(kept):
    one = socket.socket()
    number = one.fileno()
    one.close()
    kept.keep(number)
    assert len(kept) == 0


async def test_closing_keeps_none(kept):
    with answered(kept), answered(kept):
        kept.close()
        assert len(kept) == 0
