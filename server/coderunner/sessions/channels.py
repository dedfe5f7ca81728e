"""A session's channels: requests of clients for them, reports of the agent about them, and flow control.

Nothing here waits for a client.  Commands are sent to the agent at once, and again after a break of the
stream: each sets an absolute state, or names something that the agent does only once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from typing import Any

from coderunner import metrics, timing, tracing
from coderunner.errors import AgentLost, BadMessage, ChannelLimit, CodeRunnerError, NoChannel
from coderunner.schema import calls, reports
from coderunner.schema import messages as m
from coderunner.schema.calls import Call, ProgramSpec
from coderunner.schema.languages import Language
from coderunner.schema.reports import AgentProtocolError, ChannelState, Hello
from coderunner.sessions import endings, kills
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.attachments import Attachments
from coderunner.sessions.caches import Caches
from coderunner.sessions.channel import Channel
from coderunner.sessions.container import Container
from coderunner.sessions.diagnostics import DiagnosticsFinder
from coderunner.sessions.files import paths
from coderunner.sessions.holdings import CACHES, Holdings
from coderunner.sessions.progress import Progress
from coderunner.sessions.recall import Fetched, recall
from coderunner.sessions.refusals import problem
from coderunner.sessions.repeat import repeat
from coderunner.sessions.runs import Begun, Runs
from coderunner.sessions.used import Used
from coderunner.wire import flow

GRACE_SECONDS = 5.0  # how much later than the agent this server enforces a wall limit
DIAGNOSTIC_COST = 1024  # bytes of memory of each, at most


class Channels:
    """The channels of a session.  ``all``: by number.  ``attachments``: of the session.

    ``collecting``: reports of the agent are being handled.

    ``lifetime_ms``: of the session.  ``touch()``: called for activity of a program.  ``changed()``: when a
    deadline may have moved.  ``task(work, name)``: starts a task of the session.  ``forgotten(number)``:
    called when a channel was removed.  ``ended()``: when a program has ended."""

    def __init__(
        self,
        container: Container,
        language: Language,
        # Handed to parts of the session, which know neither the session nor each other.
        *,
        lifetime_ms: int,
        touch: Callable[[], None],
        changed: Callable[[], None],
        task: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        forgotten: Callable[[int], None] = lambda _: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.all: dict[int, Channel] = {}
        self.attachments = Attachments(self.all, container.holdings)
        self._container = container
        self._caches = Caches(self.all, container.holdings.cache)
        self._runs = Runs(container)
        self._count(container.holdings)
        self._entry, self._language = language.entry, language.name
        # `paths` is a function: the container's files are only listed if a tool names some.
        self._diagnostics = DiagnosticsFinder(
            language, self.attachments, self.fetch, lambda: paths(container), task
        )
        self._lifetime_ms = lifetime_ms
        self._touch = touch
        self._changed = changed
        self._task = task
        self._forgotten = forgotten
        self._progress = Progress(container, self.attachments)
        self._ended = ended
        self.used = Used()
        self.collecting = False

    def __getitem__(self, number: int) -> Channel:
        channel = self.all.get(number)
        if channel is None:
            raise NoChannel(f"the session has no channel {number}", channel=number)
        return channel

    def __contains__(self, number: object) -> bool:
        return number in self.all

    def __iter__(self) -> Iterator[int]:
        """The channels' numbers, in the order in which they began."""
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def values(self) -> Collection[Channel]:
        """All channels, in the order in which they began."""
        return self.all.values()

    @property
    def busy(self) -> bool:
        """Whether a program runs; a shell at its prompt does not count."""
        return any(channel.active for channel in self.all.values())

    def _count(self, holdings: Holdings) -> None:
        holdings.spare = self._caches.spare
        holdings.count(CACHES, lambda: self._caches.total)
        holdings.count("input", lambda: sum(channel.input_held for channel in self.all.values()))
        holdings.count(
            "diagnostics",
            lambda: DIAGNOSTIC_COST * sum(len(channel.diagnostics) for channel in self.all.values()),
        )

    def close(self) -> None:
        """Cancels reports to the agent that were delayed."""
        self._progress.close()

    def empty(self) -> None:
        """Drops all output, input and diagnostics, as the session has ended."""
        self._caches.empty()
        for channel in self.all.values():
            channel.drop_input()
            channel.diagnostics = ()

    def _drop(self, number: int) -> None:
        """Removes a channel that the agent does not have."""
        self.all.pop(number, None)
        self._caches.forget(number)
        self._progress.forget(number)
        self.attachments.forget(number)
        self._forgotten(number)

    def _keep_only(self, numbers: Collection[int]) -> None:
        """Removes all channels but these, which are those that the agent has.

        Raises AgentProtocolError when one is missing whose end it has not reported."""
        for number, channel in list(self.all.items()):
            # A channel that was just asked for is not in the agent's list yet.
            if number in numbers or channel.asked:
                continue
            if channel.exit is None:
                raise AgentProtocolError(f"channel {number} is gone without an end")
            self._drop(number)

    def _call(self, call: Call) -> None:
        self._container.link.cast(call)

    # --- requests of clients -----------------------------------------------------------------------------

    def input(self, number: int, offset: int, data: bytes) -> None:
        """Accepts a client's input, and sends it to the agent.  Raises NoChannel, InputGap, InputOverflow."""
        channel = self[number]
        end = offset + len(data)
        at = channel.input_offset
        taken = channel.accept_input(offset, data)
        if taken and channel.exit is None:
            # Sent before the error for the rest: the client repeats only what was not accepted.
            self._container.link.send_input(number, at, taken)
            measured = channel.measured
            if channel.mode == "tty" and (measured is None or measured.longest is None):
                # The next output is an echo; a program that waited for input must not count as slow to start.
                channel.measured = metrics.Stopwatch(metrics.echo_seconds, metrics.ECHO_SECONDS)
        elif taken:
            self._tell_in_ack(channel)
        overflow = channel.overflow(end)
        if overflow:
            raise overflow

    # Only the control client's acknowledgements free the agent's journal: a watcher must not.
    def ack(self, attachment: Attachment, message: m.Ack) -> None:
        """A client has consumed output, and perhaps has the exit message.  Raises NoChannel, AckAhead."""
        channel = self[message.channel]
        attachment.ack(channel, message.offset)
        if attachment is self.attachments.control:
            channel.released = max(channel.released, message.offset)
            # Not before the end is known here: the agent would forget a program whose end nobody has
            # received.
            channel.exit_acked = channel.exit_acked or (message.exit and channel.exit is not None)
        self.release(channel)

    def resize(self, message: m.Resize) -> None:
        """Sets the terminal's size, and tells all clients.  Raises NoChannel."""
        channel = self[message.channel]
        # Set here at once: a client that attaches before the agent answers is told the new size.
        channel.cols, channel.rows = message.cols, message.rows
        self._call(calls.Resize(channel=message.channel, cols=message.cols, rows=message.rows))
        self.attachments.broadcast(m.Resized(message.channel, message.cols, message.rows))

    def signal(self, message: m.Signal) -> None:
        """Sends a signal to the foreground program, once at most.  Raises NoChannel."""
        self._call(calls.Signal(channel=self[message.channel].number, name=message.name))

    def eof(self, message: m.Eof) -> None:
        """Ends the input.

        Raises NoChannel; BadMessage for a terminal, and when input went on beyond the offset."""
        channel = self[message.channel]
        # In raw mode a program may want the byte itself, so the client decides.
        if channel.mode == "tty":
            raise BadMessage("a terminal has no end of file; send byte 04 as input", channel=message.channel)
        if message.offset < channel.input_offset:
            raise BadMessage(
                f"input went on beyond {message.offset}",
                channel=message.channel,
                expected=channel.input_offset,
            )
        channel.eof_at = message.offset
        self._call(calls.Eof(channel=message.channel, offset=message.offset))

    def kill(self, channel: Channel, intent: str) -> None:
        """Kills the process tree.  If the agent does not confirm it in time, the container is condemned."""
        if not channel.live:
            return
        # The first intent is the reason that clients are told; a second kill does not change it.
        channel.intent = channel.intent or intent
        self._call(calls.Kill(channel=channel.number, intent=intent))
        if not channel.killing:
            channel.killing = True
            self._task(kills.confirmed(channel, self._container), "session-kill")

    # --- running -----------------------------------------------------------------------------------------

    def run(self, attachment: Attachment, number: int, spec: ProgramSpec, files: tuple[m.File, ...]) -> None:
        """Starts a program; all clients are told what becomes of it.  Raises ChannelLimit, FilesBusy."""
        known = self.all.get(number)
        if known is not None:  # repeated after a break: it starts nothing
            attachment.post(m.State(number, known.phase, known.phase_offset))
            return
        if sum(channel.live for channel in self.all.values()) >= flow.MAX_CHANNELS:
            raise ChannelLimit(f"{flow.MAX_CHANNELS} channels are live already", channel=number)
        channel = Channel(number, spec.mode)
        channel.kind, channel.entry = spec.kind, spec.entry
        # Repeated over the next link as well, by `_repeat`.
        channel.cols, channel.rows = spec.cols, spec.rows
        channel.phase = spec.first_phase
        channel.wall_ms = spec.limits.wall_ms
        channel.measured = metrics.Stopwatch(metrics.first_byte_seconds.labels(self._language))
        # Measured from here, with the transfer of the files: it is what a user waits for.
        # May raise FilesBusy, so it comes before the channel is in the table.
        begun = self._runs.ask(number, spec, files)
        channel.traced = tracing.begin(
            spec.kind, session=self._container.session, language=self._language, channel=number
        )
        self.all[number] = channel
        channel.asked = True
        self._task(self._start(channel, begun), "session-run")

    async def _start(self, channel: Channel, begun: Begun) -> None:
        """Waits for the agent's answer to `run`."""
        try:
            reply, again = await begun
        except CodeRunnerError as error:
            self._refuse(channel, error)
            return
        finally:
            channel.asked = False
        if reply is None:
            return  # the container was condemned, which ends the session
        try:
            started = reports.read(reports.Started, reply, "the answer to 'run'")
            if started.error is None and (started.state is None or started.state.channel != channel.number):
                raise AgentProtocolError("the answer to 'run' is of another channel")
            # Ends that were not reported before this answer were not seen by anybody. Of programs that were
            # asked for later it says nothing, though their own answers may have been handled already.
            numbers = list(self.all)
            later = numbers[numbers.index(channel.number) :] if channel.number in self.all else ()
            self._keep_only({*started.channels, *later, channel.number})
        except AgentProtocolError as fault:
            self._container.condemn(f"the agent broke its protocol: {fault}")
            return
        state = started.state
        if started.error is not None or state is None:
            self._refuse(channel, problem(started.error) if started.error is not None else AgentLost())
            return
        self.on_state(state)
        if again:
            # The call was repeated over a new stream: input sent meanwhile may have been lost with the old.
            self._repeat(channel, state)
        # The agent begins with its own defaults, so the first report of the clients' progress must be sent.
        self._progress.again(channel.number)
        self.release(channel)

    def _refuse(self, channel: Channel, error: CodeRunnerError) -> None:
        """Removes a channel that could not be started, and tells all clients why."""
        channel.traced.end(error.code)
        self._drop(channel.number)
        error.channel = channel.number
        self.attachments.broadcast(m.ErrorMessage.of(error))

    # --- reports of the agent ----------------------------------------------------------------------------

    def begin_reports(self) -> None:
        """What the agent reports next is collected for the clients, until `end_reports`."""
        self.collecting = True

    def end_reports(self) -> None:
        """Sends what was collected."""
        self.collecting = False
        self.attachments.flush()

    def on_output(self, number: int, stream: int, offset: int, data: bytes) -> None:
        """Output from the agent: goes into the cache, and wakes the attachments."""
        channel = self.all.get(number)
        # `stream in (1, 2)`: anything else is no stream of a program, and would break the tags of the
        # journal.
        if channel is not None and stream in (1, 2) and channel.take_output(stream, offset, data):
            if channel.measured is not None:
                channel.measured.stop()
                channel.measured = None
            self._caches.changed(channel)
            # While the program runs, only the compiler's output is of interest, and that only once.
            if channel.end is not None or (channel.run_offset and not channel.looked_at):
                self._diagnostics.look(channel)
            self.attachments.wake()

    def on_in_ack(self, number: int, offset: int) -> None:
        """The program has taken its input up to ``offset``: the control client is told."""
        channel = self.all.get(number)
        if channel is not None and channel.take_in_ack(offset):
            self._tell_in_ack(channel)

    def _tell_in_ack(self, channel: Channel) -> None:
        if self.attachments.control is not None:
            self.attachments.control.post(m.InAck(channel.number, channel.in_acked))

    def on_state(self, state: ChannelState) -> None:
        """A channel's complete state, from the agent."""
        self._take_state(state)
        self._container.changed.fire()

    def _take_state(self, state: ChannelState) -> None:
        """Updates a channel, and tells the clients what has changed."""
        channel = self.all.get(state.channel)
        if channel is None:
            # A channel that was removed here while the agent's report was on its way.
            return
        # First, so that everything below sees the cache as the agent's journal allows it.
        channel.take_oldest(state.from_)
        self._caches.changed(channel)
        channel.input_eof = channel.input_eof or state.input_eof
        channel.run_offset = state.run_offset
        if channel.occupied != state.occupied:
            channel.occupied = state.occupied
            self._touch()
        phases = [(state.phase, state.phase_offset)]
        if channel.phase == "compiling" and state.phase == "exited" and state.run_offset is not None:
            # A short program began and ended between two reports: clients are told both.
            phases.insert(0, ("running", state.run_offset))
        for phase, offset in phases:
            told = channel.advance(phase, offset)
            if told is None:
                continue
            self.attachments.broadcast(told)
            # For an adopted channel the limit is the agent's word, which is bounded by the session's life.
            wall = channel.wall_ms or min(state.wall_ms, self._lifetime_ms)
            channel.wall_deadline = timing.now() + wall / 1000 + GRACE_SECONDS
            self._touch()
        if channel.stopped != state.stopped:
            channel.stopped = state.stopped
            self.attachments.broadcast(m.Stopped(channel.number, channel.stopped))
        if state.phase == "exited":
            channel.wall_deadline = None
            # `end` comes later than the phase: output is still read after the process has ended.
            if state.end is not None and channel.exit is None:
                self._finish(channel, state.end, state.evidence or {})
        self._diagnostics.look(channel)
        self._changed()
        self.attachments.wake()

    def _finish(self, channel: Channel, end: int, evidence: Mapping[str, object]) -> None:
        """A program has ended: judges the agent's evidence of how."""
        channel.end = end
        # The kernel counts kills for the whole container, so one count may explain another channel's end.
        others = [one for one in self.all.values() if one is not channel and one.unexplained_kill]
        channel.exit = endings.exit_message(channel, evidence, others=bool(others))
        self.used.program_ended(channel, channel.exit.usage)
        channel.traced.note(reason=channel.exit.reason, output_bytes=end, cpu_ms=channel.exit.usage.cpu_ms)
        channel.traced.end()
        self._ended()
        if channel.kind == "run":
            metrics.runs_ended.labels(self._language, channel.exit.reason).inc()
        # What it has not read will never be acknowledged by it.
        if channel.drop_input():
            self._tell_in_ack(channel)
        self.attachments.wake()

    def on_attached(self, hello: Hello) -> None:
        """The agent has been attached to, for the first time or again.

        Raises AgentProtocolError when a channel is missing whose end it has not reported."""
        self._keep_only({state.channel for state in hello.channels})
        for state in hello.channels:
            # In this order: states may refer to channels that the list has just removed.
            number = state.channel
            channel = self.all.get(number)
            if channel is None:
                channel = self.all[number] = Channel.adopt(state, self._entry)
            self.on_state(state)
            self._progress.again(number)
            # In both directions: the agent is told what it may have missed, and its state says what that is.
            self._repeat(channel, state)
        self.release_all()
        self.attachments.wake()

    def _repeat(self, channel: Channel, state: ChannelState) -> None:
        """Repeats what a broken stream may have lost, as `repeat.repeat` does."""
        self.on_in_ack(channel.number, state.in_acked)
        repeat(channel, state, self._container.link)

    # --- flow --------------------------------------------------------------------------------------------

    def release(self, channel: Channel) -> None:
        """Reports to the agent how much of a channel's output the clients have acknowledged."""
        self._progress.report(channel)

    def release_all(self) -> None:
        """As `release`, for all channels, as the attachments have changed."""
        for channel in self.all.values():
            self.release(channel)

    async def fetch(self, channel: Channel, offset: int, limit: int) -> Fetched:
        """At most ``limit`` bytes of output from the agent's journal.  Raises NoChannel, AgentLost."""
        return await recall(self._container, channel.number, offset, limit)

    def repaint(self, channel: Channel) -> None:
        """Has a full-screen program paint its screen anew."""
        if channel.mode == "tty" and channel.live:
            self._call(calls.Repaint(channel=channel.number))

    @property
    def reachable(self) -> bool:
        """Whether there is a stream to the agent.  Attachments are woken when there is one again."""
        return not self._container.link.closed.done()

    def have(self) -> dict[int, int]:
        """By channel, the offset up to which this server has the output."""
        return {number: channel.cache.end for number, channel in self.all.items()}

    # --- time, and the end -------------------------------------------------------------------------------

    async def end_programs(self, intent: str) -> None:
        """Kills all programs, so that clients get a real exit message before the container is removed."""
        live = [channel for channel in self.all.values() if channel.exit is None]
        # All are killed before any is awaited: they share the time that this may take.
        for channel in live:
            if channel.live:
                channel.intent = channel.intent or intent
                self._call(calls.Kill(channel=channel.number, intent=intent))
        await kills.all_ended(live, self._container)

    def lose(self) -> None:
        """The container is being removed: programs without an end get one that says so."""
        # Only where the agent has not reported an end: a real exit is never replaced.
        left = [channel for channel in self.all.values() if channel.exit is None]
        for channel in left:
            channel.end = channel.cache.end
            memory = self._container.out_of_memory
            channel.exit = endings.lost(channel, out_of_memory=memory, others=len(left) > 1)
            channel.traced.end(channel.exit.reason)
