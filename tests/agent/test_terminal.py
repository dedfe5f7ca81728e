"""The modes that a program finds in its terminal."""

from __future__ import annotations

import errno
import fcntl
import os
import termios

import pytest

from coderunner.agent.terminal import Streams


@pytest.fixture
def pair():
    master, terminal = os.openpty()
    yield terminal
    os.close(master)
    os.close(terminal)


def test_what_a_program_left_is_undone(pair: int) -> None:
    streams = Streams({pair}, pair)
    before = termios.tcgetattr(pair)
    fcntl.ioctl(pair, termios.TIOCEXCL)
    termios.tcsetattr(pair, termios.TCSANOW, [0, 0, before[2], 0, *before[4:]])
    os.set_blocking(pair, False)
    streams.restore()
    assert termios.tcgetattr(pair) == before
    assert os.get_blocking(pair)


def test_a_kernel_without_some_requests_has_terminals_too(pair: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """gVisor's: there is nothing to be undone of what nobody can do. Programs in terminals never began."""

    def tcflow(*_: int) -> None:
        raise termios.error(errno.ENOTTY, "Inappropriate ioctl for device")

    def ioctl(number: int, request: int, *rest: object) -> int:
        raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    monkeypatch.setattr(termios, "tcflow", tcflow)
    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    streams = Streams({pair}, pair)
    before = termios.tcgetattr(pair)
    termios.tcsetattr(pair, termios.TCSANOW, [0, 0, before[2], 0, *before[4:]])
    streams.restore()
    assert termios.tcgetattr(pair) == before
