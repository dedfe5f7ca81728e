"""The agent's event loop: what is ready is read and written, what is due is done, and then it sleeps.

One thread, one epoll.  Nothing here waits: the stream to the server may be full for ever (nobody reads it, or
an engine that stands still) and programs still run, limits still hold.  Output is taken from the journals
only when it can be written, so there is no queue of it; what is queued are replies, one for each call.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import time

from coderunner.wire import SOCKET_FOLDER, VERSION, frames

from . import kernel
from .calls import Calls
from .companions import Companions
from .link import Link
from .programs import Programs
from .stream import IN, OUT
from .workspace import Workspace

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from typing import Any

    from .channel import Channel
    from .stream import Stream

_FOREVER = 1e9
FLOOD_SECONDS = 0.005  # for which a flood has the loop, where nothing else is ready
_CLOSED = select.EPOLLHUP | select.EPOLLERR


class Agent:
    """The loop and its parts. ``run`` never returns.  ``folder``: of the server's socket, if there is one."""

    def __init__(self, folder: str | None = None) -> None:
        self.link = Link(self._hello, self._detached, folder)
        self.programs = Programs()
        self.workspace = Workspace(self.programs)
        self.companions = Companions(self.link.reply)
        self.calls = Calls(self.link, self.programs, self.workspace, self.companions)
        self._watched: dict[int, tuple[int, Any]] = {}
        self._outputs: dict[int, Channel] = {}  # of those watched: what programs print, and nothing else
        self._epoll = select.epoll()
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        """Reads and writes what is ready, does what is due, sleeps until the next; for ever."""
        for descriptor in (IN, OUT):
            os.set_blocking(descriptor, False)
        self._register()
        due = None
        while True:
            if due is not None:
                self.link.late(time.monotonic() - due)
            timeout = self._timeout()
            due = time.monotonic() + (timeout if timeout >= 0 else _FOREVER)
            self._wait(timeout)
            self._settle()
            self.link.write(self._fill)
            self._register()

    def _wait(self, timeout: float) -> None:
        """Until something is ready, which is read.  While that is nothing but a flood, and credit for it, the
        flood is sent from here: what a turn looks at has not changed for a few milliseconds."""
        ready = self._epoll.poll(timeout, 64)
        end = time.monotonic() + FLOOD_SECONDS
        while ready:
            alone = True
            for descriptor, events in ready:
                alone = self._ready(descriptor, events) and alone
            now = time.monotonic()
            if not alone or now >= end:
                return
            wait, ripe = self.programs.floods(now, self._outputs)
            if ripe:
                self.link.write(self._fill)
            if wait <= 0 or not self.link.takes:
                return
            ready = self._epoll.poll(wait, 64)

    def _timeout(self) -> float:
        now = time.monotonic()
        moments = self.link.tick(now)
        moments += self.programs.tick(now, told=self.link.takes)
        moments += self.companions.tend(self.programs.live(), now)
        look = self.workspace.tick()
        if look is not None:
            moments.append(look)
        if not moments:
            return -1
        return max(0.0, min(moments) - now)

    def _settle(self) -> None:
        for channel in self.programs.live():
            self.workspace.settle(channel)
            channel.settle()
        self.workspace.look_around(attached=self.link.attached)

    # --- what is ready -----------------------------------------------------------------------------

    def _ready(self, descriptor: int, events: int) -> bool:
        """Reads what has come; whether that was nothing but output, or credit for it."""
        channel = self._outputs.get(descriptor)
        if channel is not None:
            self._use(channel, descriptor, events)
            return not events & _CLOSED
        stream = self.link.of(descriptor)
        if stream is not None:
            found = self.link.read(stream)
            for frame in found:
                self._take(frame, stream)
            return bool(found) and all(frame.kind == frames.FLOW for frame in found)
        if descriptor == self._wake:
            self._drain_wake()
            self._reap()
        elif descriptor == self.workspace.descriptor:
            self.workspace.read()
        elif descriptor != OUT and not self.companions.read(descriptor, self.programs.channels):
            channel = self.programs.owner(descriptor)
            if channel is not None:
                self._use(channel, descriptor, events)
        return False

    def _use(self, channel: Channel, descriptor: int, events: int) -> None:
        if descriptor == channel.report:
            channel.read_reports()
            return
        only_input = descriptor == channel.inp != channel.out
        if only_input or (events & select.EPOLLOUT and channel.wants_input()):
            channel.write_input()
        if events & (select.EPOLLIN | _CLOSED) and descriptor in (channel.out, channel.err):
            self.programs.read_output(channel, descriptor)

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def _reap(self) -> None:
        """PID 1 inherits what has no other parent, and waits for it."""
        while True:
            try:
                pid, _, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self.companions.reaped(pid, time.monotonic())
            self.programs.reaped(pid, used.ru_utime + used.ru_stime, self.companions.pids())

    # --- the server --------------------------------------------------------------------------------

    def _take(self, frame: frames.Frame, stream: Stream) -> None:
        if frame.kind == frames.ATTACH:
            self._attach(frame, stream)
            return
        if not self.link.accepts(frame):
            return
        channel = self.programs.channels.get(frame.channel)
        if frame.kind == frames.INPUT and channel:
            self.programs.take_input(channel, frame)
        elif frame.kind == frames.FLOW and channel:
            self.programs.take_flow(channel, frame)
        elif frame.kind == frames.CALL:
            message = self.link.message(frame)
            if message:
                self.calls.take(*message)

    def _attach(self, frame: frames.Frame, stream: Stream) -> None:
        greeting = self.link.attach(frame, stream)
        if greeting is None:
            return
        self.companions.forget_calls()
        self.workspace.attached()
        self.programs.attached(greeting["have"])

    def _detached(self) -> None:
        self.companions.forget_calls()
        self.programs.detached()

    def _fill(self) -> None:
        if self.workspace.fill(self.link):
            self.programs.fill(self.link)

    def _hello(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "pid": os.getpid(),
            "uid": os.getuid(),
            "oom_evidence": kernel.oom_kills() is not None,
            "sealed": self.calls.sealed,
            "channels": [channel.state() for channel in self.programs.channels.values()],
        }

    # --- what to wait for --------------------------------------------------------------------------

    def _wanted(self) -> dict[int, tuple[int, Any]]:
        """{descriptor: (events, its owner)} of exactly what can be used now."""
        now = time.monotonic()
        wanted: dict[int, tuple[int, Any]] = {self._wake: (select.EPOLLIN, None)}
        self._outputs.clear()
        for stream in self.link.streams():
            if stream.is_socket or self.link.hears(now):
                wanted[stream.inp] = (select.EPOLLIN, stream)
            if stream.pending:
                wanted[stream.out] = (wanted.get(stream.out, (0, None))[0] | select.EPOLLOUT, stream)
        if self.workspace.wants(now):
            wanted[self.workspace.descriptor] = (select.EPOLLIN, None)
        for descriptor, owner in self.companions.descriptors(now).items():
            wanted[descriptor] = (select.EPOLLIN, owner)
        for channel in self.programs.live():
            if channel.report >= 0:
                # Another supervisor, another pipe, which may have the same number.
                wanted[channel.report] = (select.EPOLLIN, (channel, channel.supervisor))
            if channel.wants_output() and not channel.pace.rests(now):
                for descriptor in channel.output_descriptors():
                    wanted[descriptor] = (select.EPOLLIN, channel)
                    self._outputs[descriptor] = channel
            if channel.wants_input():
                events = wanted.get(channel.inp, (0, None))[0] | select.EPOLLOUT
                wanted[channel.inp] = (events, channel)
                self._outputs.pop(channel.inp, None)
        return wanted

    def _register(self) -> None:
        wanted = self._wanted()
        for descriptor in [number for number in self._watched if number not in wanted]:
            del self._watched[descriptor]
            with contextlib.suppress(OSError):  # closed in the meantime, which unregisters it
                self._epoll.unregister(descriptor)
        for descriptor, interest in wanted.items():
            # With its owner: a number may have been closed, and given out again to another channel.
            if self._watched.get(descriptor) != interest:
                self._watched[descriptor] = interest
                self._watch(descriptor, interest[0])

    def _watch(self, descriptor: int, events: int) -> None:
        try:
            self._epoll.modify(descriptor, events)
        except FileNotFoundError:
            self._epoll.register(descriptor, events)


def main() -> None:
    """The whole of PID 1; never returns."""
    os.umask(0o022)
    # The kernel spares PID 1 every signal that has no handler; Python's own for SIGINT would be one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kernel.hide_memory()
    gc.collect()
    gc.freeze()  # forked supervisors share what is there now
    gc.disable()  # no cycles are made; a collection would only copy shared pages
    agent = Agent(SOCKET_FOLDER if os.path.isdir(SOCKET_FOLDER) else None)
    try:
        agent.run()
    except BaseException as error:
        agent.link.last_words(error)
        raise
