"""The user's own terminal, and standard input and output that are pipes or files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import termios
import threading
import tty
from collections.abc import Callable, Iterator

ESCAPE = ord("~")
# `~.` ends a connection of ssh, too (ssh(1), ESCAPE CHARACTERS).
END, DETACH = ord("."), ord("d")
PIECE = 16 * 1024


def size() -> tuple[int, int]:
    """(columns, rows) of the terminal; 80 by 24 where it cannot be told."""
    # Not by `shutil`: it prefers the variables COLUMNS and LINES, which do not change with the window.
    try:
        found = os.get_terminal_size(1)
    except OSError:
        return 80, 24
    return found.columns or 80, found.lines or 24


def complete() -> None:
    """Opens /dev/null in place of standard streams that were closed, whose numbers a socket would get."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


@contextlib.contextmanager
def raw() -> Iterator[Callable[[], None]]:
    """Within the block the terminal passes every key on to the program. Its modes are restored at the end,
    however the block ends. Yields a function that stops this command as Ctrl-Z does, and returns when it is
    continued; at once where no shell could continue it."""
    before = termios.tcgetattr(0)

    def suspend() -> None:
        """Stops this process with the terminal in its former modes, and sets them again when it is
        continued."""
        with contextlib.suppress(termios.error):
            termios.tcsetattr(0, termios.TCSANOW, before)
            # Its default action, which the kernel leaves out in an orphaned process group (signal(7)).
            os.kill(os.getpid(), signal.SIGTSTP)
            tty.setraw(0, termios.TCSANOW)

    try:
        # At once: neither is typed input lost, nor does a terminal that nobody reads keep this waiting.
        tty.setraw(0, termios.TCSANOW)
        yield suspend
    finally:
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(0, termios.TCSANOW, before)


def title(words: str) -> None:
    """Sets the title of the terminal's window."""
    with contextlib.suppress(OSError):
        os.write(1, f"\x1b]2;coderunner{': ' if words else ''}{words}\x07".encode())


class Keys:
    """Finds the escapes in what is typed at the beginning of a line: `~.`, `~d`, and `~~` for one `~`."""

    def __init__(self) -> None:
        self._begins = True
        self._escaped = False

    def read(self, data: bytes) -> tuple[bytes, int]:
        """(bytes to send to the program, END or DETACH if one was typed, else 0)."""
        told = bytearray()
        for byte in data:
            if self._escaped:
                self._escaped = False
                if byte in (END, DETACH):
                    return bytes(told), byte
                if byte != ESCAPE:
                    told.append(ESCAPE)
            elif byte == ESCAPE and self._begins:
                self._escaped = True
                continue
            told.append(byte)
            self._begins = byte in b"\r\n"
        return bytes(told), 0


class Input:
    """Reads a file descriptor (pipe, terminal or file) in a thread of its own, which does not keep this
    process from ending."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._read: asyncio.Queue[bytes] = asyncio.Queue()
        # One piece is read ahead; what comes after it stays in the pipe or terminal.
        self._wanted = threading.Semaphore(1)
        # A daemon thread: no system call ends a read of a terminal in another thread.
        threading.Thread(target=self._work, name="input", daemon=True).start()

    def _work(self) -> None:
        """The thread: reads a piece whenever one is wanted, until the end of the input."""
        # Anything but b"", which is the end.
        data = b"\0"
        while data:
            self._wanted.acquire()
            try:
                data = os.read(self._descriptor, PIECE)
            except BlockingIOError:  # another process has made it non-blocking
                select.select((self._descriptor,), (), ())
                self._wanted.release()
                continue
            except OSError:
                data = b""
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._read.put_nowait, data)

    async def read(self) -> bytes:
        """At most PIECE bytes; b"" at the end."""
        data = await self._read.get()
        self._wanted.release()
        return data


async def written(descriptor: int, data: bytes) -> None:
    """Writes all of `data`. Raises BrokenPipeError and other errors of the system."""
    # In a daemon thread: where nobody reads, a thread of the loop's pool would keep the command from ending.
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: OSError | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(None)

    def work() -> None:
        """The thread: writes, and reports the end or the error to the loop."""
        error = None
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[_write(descriptor, rest) :]
        except OSError as problem:
            error = problem
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=work, name="output", daemon=True).start()
    await done


def _write(descriptor: int, data: memoryview) -> int:
    """As `os.write`; waits where the other side has made the descriptor non-blocking."""
    while True:
        try:
            return os.write(descriptor, data)
        except BlockingIOError:
            select.select((), (descriptor,), ())
