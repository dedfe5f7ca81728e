"""The agent's event loop.

One thread, one epoll, and no blocking call: even while nobody reads the stream to the server, programs run
and their limits are enforced.  Output is taken from the journals only when it can be written, so there is no
queue of output; the only queue is that of the replies, one for each call.
"""

from __future__ import annotations

import gc
import os
import select
import time

from coderunner.wire import SOCKET_FOLDER, VERSION, frames

from . import kernel
from .calls import Calls
from .companions import Companions
from .lean import signal, suppress
from .link import Link
from .programs import Programs
from .stream import IN, OUT
from .workspace import Workspace

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from typing import Any

    from coderunner.wire import typed

    from .channel import Channel
    from .preload import Forked
    from .stream import Stream

_FOREVER = 1e9  # seconds
SPARE_SECONDS = 5.0  # from the start, until a container in which nothing runs imports what is seldom needed
FLOOD_SECONDS = 0.005  # the longest that a flood of output is handled without a full turn of the loop
_CLOSED = select.EPOLLHUP | select.EPOLLERR


class Agent:
    """The loop and its parts.  ``folder``: of the server's socket; None when the container has none.
    ``forked``: the preload that this process has forked before it became the agent, if it has."""

    def __init__(self, folder: str | None = None, forked: Forked | None = None) -> None:
        self.link = Link(self._hello, self._detached, folder)
        self.programs = Programs()
        self.workspace = Workspace(self.programs)
        self.companions = Companions(self.link.reply, forked)
        self.calls = Calls(self.link, self.programs, self.workspace, self.companions)
        self._watched: dict[int, tuple[int, Any]] = {}  # what is registered with epoll, as `_wanted` gives it
        self._outputs: dict[int, Channel] = {}  # the watched descriptors that carry only output of programs
        self._epoll = select.epoll()
        self._spare_due: float | None = time.monotonic() + SPARE_SECONDS
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # A SIGCHLD makes the pipe readable: without it the loop would sleep on after a child's end.
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        """Handles what is ready and what is due, and sleeps until the next event.  Never returns."""
        for descriptor in (IN, OUT):
            os.set_blocking(descriptor, False)
        self._register()
        due = None
        while True:
            if due is not None:
                # Negative when an event came first; positive when the container was paused or had no CPU.
                self.link.on_delay(time.monotonic() - due)
            timeout = self._timeout()
            due = time.monotonic() + (timeout if timeout >= 0 else _FOREVER)
            self._wait(timeout)
            self._finish_phases()
            self.link.write(self._fill)
            self._register()

    def _wait(self, timeout: float) -> None:
        """Waits for events, ``timeout`` seconds at most (-1: without a limit), and handles them.

        While the only events are output and credit for it, the output is also sent from here, for
        FLOOD_SECONDS at most: what else a turn of the loop looks at need not be looked at so often."""
        # At most 64 events in one call; the others come with the next one.
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
            if wait <= 0 or not self.link.writable:
                return
            ready = self._epoll.poll(wait, 64)

    def _timeout(self) -> float:
        """Seconds until the next timer; -1 when there is none."""
        now = time.monotonic()
        moments = self.link.tick(now)
        moments += self.programs.tick(now, told=self.link.writable)
        moments += self.companions.tick(self.programs.live(), now)
        self._import_spare(now, moments)
        look = self.workspace.tick()
        if look is not None:
            moments.append(look)
        if not moments:
            return -1
        return max(0.0, min(moments) - now)

    def _import_spare(self, now: float, moments: list[float]) -> None:
        """Imports what the start has left out, where no user waits."""
        if self._spare_due is None or self.programs.live():
            return
        if now < self._spare_due:
            moments.append(self._spare_due)
            return
        from . import patterns  # noqa: F401

        self._spare_due = None

    def _finish_phases(self) -> None:
        # Artifacts are collected before the end of a program is reported: clients show them together.
        for channel in self.programs.live():
            self.workspace.collect_last(channel)
            channel.finish_phase()
        self.workspace.look_around(attached=self.link.attached)

    # --- what is ready -----------------------------------------------------------------------------

    def _ready(self, descriptor: int, events: int) -> bool:
        """Handles one event; returns whether it was only output, or credit for output."""
        channel = self._outputs.get(descriptor)
        if channel is not None:
            self._use(channel, descriptor, events)
            # A closed descriptor can end a phase, which needs a full turn of the loop.
            return not events & _CLOSED
        stream = self.link.stream_of(descriptor)
        if stream is not None:
            found = self.link.read(stream)
            for frame in found:
                self._on_frame(frame, stream)
            return bool(found) and all(frame.kind == frames.FLOW for frame in found)
        if descriptor == self._wake:
            self._drain_wake()
            self._reap()
        elif descriptor == self.workspace.descriptor:
            self.workspace.read()
        # Standard output is only polled for writing, which each turn does anyway.
        elif descriptor != OUT and not self.companions.read(descriptor, self.programs.channels):
            channel = self.programs.with_descriptor(descriptor)
            if channel is not None:
                self._use(channel, descriptor, events)
        return False

    def _use(self, channel: Channel, descriptor: int, events: int) -> None:
        """Handles an event of a channel's terminal, pipe or supervisor."""
        if descriptor == channel.report:
            channel.read_reports()
            return
        only_input = descriptor == channel.inp != channel.out
        if only_input or (events & select.EPOLLOUT and channel.wants_input()):
            channel.write_input()
        if events & (select.EPOLLIN | _CLOSED) and descriptor in (channel.out, channel.err):
            self.programs.read_output(channel, descriptor)

    def _drain_wake(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def _reap(self) -> None:
        """Waits for every child that has ended; PID 1 is also the parent of all orphans."""
        # Children that end at the same moment cause only one signal, so all that have ended are waited for.
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

    def _on_frame(self, frame: frames.Frame, stream: Stream) -> None:
        if frame.kind == frames.ATTACH:
            self._attach(frame, stream)
            return
        if not self.link.accepts(frame):
            return
        channel = self.programs.channels.get(frame.channel)
        if frame.kind == frames.INPUT and channel:
            self.programs.on_input(channel, frame)
        elif frame.kind == frames.FLOW and channel:
            self.programs.on_flow(channel, frame)
        elif frame.kind == frames.CALL:
            message = self.link.message(frame)
            if message:
                self.calls.handle(*message)

    def _attach(self, frame: frames.Frame, stream: Stream) -> None:
        """A server attaches: if it is accepted, everything of the server before is dropped."""
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
        """Adds the frames that are due to the pending bytes of the stream."""
        if self.workspace.fill(self.link):
            self.programs.fill(self.link)

    def _hello(self) -> typed.Hello:
        """The greeting for a server that has attached: everything that it must know of this session."""
        return {
            "version": VERSION,
            "sealed": self.calls.sealed,
            "channels": [channel.state() for channel in self.programs.channels.values()],
        }

    # --- what to wait for --------------------------------------------------------------------------

    def _wanted(self) -> dict[int, tuple[int, Any]]:
        """{descriptor: (events, owner)} of exactly those descriptors that can be handled now.

        A descriptor that is ready and not handled would make epoll return at once, again and again."""
        now = time.monotonic()
        wanted: dict[int, tuple[int, Any]] = {self._wake: (select.EPOLLIN, None)}
        self._outputs.clear()
        for stream in self.link.streams():
            if stream.is_socket or self.link.reads_stdin(now):
                wanted[stream.inp] = (select.EPOLLIN, stream)
            if stream.pending:
                wanted[stream.out] = (wanted.get(stream.out, (0, None))[0] | select.EPOLLOUT, stream)
        if self.workspace.wants(now):
            wanted[self.workspace.descriptor] = (select.EPOLLIN, None)
        for descriptor, owner in self.companions.descriptors(now).items():
            wanted[descriptor] = (select.EPOLLIN, owner)
        for channel in self.programs.live():
            if channel.report >= 0:
                # The next supervisor's pipe may get the same number, and must be registered anew.
                wanted[channel.report] = (select.EPOLLIN, (channel, channel.supervisor))
            if channel.wants_output() and not channel.pace.pauses_reading(now):
                for descriptor in channel.output_descriptors():
                    wanted[descriptor] = (select.EPOLLIN, channel)
                    self._outputs[descriptor] = channel
            if channel.wants_input():
                events = wanted.get(channel.inp, (0, None))[0] | select.EPOLLOUT
                wanted[channel.inp] = (events, channel)
                # It also waits to be written to, so its events are not output alone.
                self._outputs.pop(channel.inp, None)
        return wanted

    def _register(self) -> None:
        """Brings epoll's registrations in line with `_wanted`, with as few system calls as possible."""
        wanted = self._wanted()
        for descriptor in [number for number in self._watched if number not in wanted]:
            del self._watched[descriptor]
            with suppress(OSError):  # closed in the meantime, which unregisters it
                self._epoll.unregister(descriptor)
        for descriptor, interest in wanted.items():
            # Compared with its owner: the number may have been closed, and reused by another channel.
            if self._watched.get(descriptor) != interest:
                self._watched[descriptor] = interest
                self._watch(descriptor, interest[0])

    def _watch(self, descriptor: int, events: int) -> None:
        try:
            self._epoll.modify(descriptor, events)
        except FileNotFoundError:
            self._epoll.register(descriptor, events)


def main(forked: Forked | None = None) -> None:
    """The entry point of PID 1.  Never returns.  ``forked``: as of `Agent`."""
    os.umask(0o022)
    # The kernel delivers to PID 1 only signals with a handler, and Python installs one for SIGINT.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kernel.hide_memory()
    gc.freeze()  # keeps the pages of these objects shared with forked supervisors
    gc.disable()  # no reference cycles are made, and a collection would copy the shared pages
    agent = Agent(SOCKET_FOLDER if os.path.isdir(SOCKET_FOLDER) else None, forked)
    try:
        agent.run()
    except BaseException as error:
        agent.link.send_fatal_error(error)  # the server logs it; PID 1 that ends takes the container with it
        raise
