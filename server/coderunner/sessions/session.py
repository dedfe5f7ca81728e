"""A session: one tenant's live container, its channels, and whoever is attached to it.

It outlives any socket.  It owns its slot and its container; ``end`` gives both back, once, whatever else
happens.  What it is told by the agent arrives in ``on_*`` and is passed on at once or kept as state;
nothing here waits for a client.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from coderunner.agent import flow
from coderunner.core import messages as m
from coderunner.core.languages import Language
from coderunner.core.limits import LimitRules, Limits
from coderunner.errors import (
    AgentLost,
    BadMessage,
    ChannelLimit,
    CodeRunnerError,
    InternalError,
    NoChannel,
    NoSession,
    NotControl,
    Superseded,
)
from coderunner.logs import fields
from coderunner.sessions import endings
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.channel import Channel
from coderunner.sessions.container import Container
from coderunner.sessions.deadlines import Deadlines, Patience
from coderunner.sessions.link import Answer
from coderunner.sessions.pace import Pace, Standing
from coderunner.sessions.programs import ProjectRules, check_project, run_spec, shell_spec
from coderunner.sessions.record import Record, digest
from coderunner.sessions.reports import read_fetched, read_started

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0  # how much later than the agent this server enforces a wall limit
KILL_SECONDS = 1.0  # an agent that confirms no kill in this time loses its container
RUN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What all sessions share."""

    limits: LimitRules
    project: ProjectRules
    patience: Patience


@dataclass(frozen=True, slots=True)
class Fetched:
    begin: int
    stream: int
    data: bytes
    restore: str | None


class Session:
    """``wanted()`` says whether somebody waits for a slot; ``on_end`` is awaited last, with the reason."""

    def __init__(
        self,
        container: Container,
        language: Language,
        record: Record,
        rules: Rules,
        *,
        wanted: Callable[[], bool],
        on_end: Callable[[Session, str], Awaitable[None]],
    ) -> None:
        self.id = container.session
        self.container = container
        self.language = language
        self.record = record
        self.limits: Limits = record.limits
        self.channels: dict[int, Channel] = {}
        self.over = False
        self._rules = rules
        self._wanted = wanted
        self._on_end = on_end
        self._paces: dict[int, Pace] = {}
        self._attachments: list[Attachment] = []
        self._control: Attachment | None = None
        self._deadlines = Deadlines(
            self._now(),
            lifetime=record.expires - time.time(),
            idle=record.limits.idle_ms / 1000,
            patience=rules.patience,
        )
        self._changed = asyncio.Event()  # a deadline may have moved
        self._ended: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        container.listen(self)
        self._task(self._keep_time(), "session-time")
        self._task(self._watch_container(), "session-container")

    # --- attachments -----------------------------------------------------------------------------------

    def attach(
        self, client: str, role: str, granted: str, cursors: Mapping[int, int], *, announce: bool = True
    ) -> Attachment:
        """A new attachment.  The same client's old one is superseded; as control it takes the control."""
        if self.over:
            raise NoSession()
        for old in [one for one in self._attachments if one.client == client]:
            old.post(m.ErrorMessage.of(Superseded()))
            old.end(4409, flush=False)
            self.detach(old)
        attachment = Attachment(self, client, role, cursors)
        attachment.granted = granted
        if announce:
            views = tuple(channel.view() for channel in self.channels.values())
            attachment.post(m.Attached(self.id, role, views, self.expiry()))
        self._attachments.append(attachment)
        self._deadlines.attach()
        if role == "control":
            self._give_control(attachment)
        self._release_all()
        self._changed.set()
        return attachment

    def detach(self, attachment: Attachment) -> None:
        """A socket's end only detaches."""
        if attachment not in self._attachments:
            return
        self._attachments.remove(attachment)
        if self._control is attachment:
            self._control = None
        if not self._attachments:
            self._deadlines.detach(self._now())
        self._release_all()
        self._changed.set()

    def take(self, attachment: Attachment) -> None:
        if attachment.granted != "control":
            raise NotControl("this token only allows to watch")
        if self._control is not attachment:
            self._give_control(attachment)
            self._release_all()

    def _give_control(self, attachment: Attachment) -> None:
        before, self._control = self._control, attachment
        attachment.role = "control"
        if before is not None and before is not attachment:
            before.role = "watch"
            offsets = {number: channel.input_offset for number, channel in self.channels.items()}
            before.post(m.Role("watch", offsets))
            attachment.post(m.Role("control", offsets))
        for channel in self.channels.values():  # it may have missed them
            attachment.post(m.InAck(channel.number, channel.in_acked))

    def allows(self, token: str) -> str | None:
        """The greatest role of a token; None when it is not this session's."""
        if hmac.compare_digest(digest(token), self.record.token_digest):
            return "control"
        return None

    # --- what a client asks ------------------------------------------------------------------------------

    def handle(self, attachment: Attachment, message: m.ClientMessage) -> None:
        """A client's message.  Raises the error to answer with; the connection lives on."""
        if attachment not in self._attachments:
            return  # superseded, and its socket is about to close
        match message:
            case m.Ack():
                self._ack(attachment, message)
            case m.Ping():
                attachment.post(m.Pong(message.t))
            case m.Take():
                self.take(attachment)
            case m.Extend():
                self._touch()
                attachment.post(self._expires())
            case m.Open() | m.Attach():
                raise BadMessage("this connection has its session already")
            case _:
                self._require_control(attachment)
                self._control_message(attachment, message)

    def _control_message(self, attachment: Attachment, message: m.ClientMessage) -> None:
        self._touch()
        match message:
            case m.Run():
                spec = run_spec(message, self.language, self.limits, self._rules.limits)
                check_project(message.files, self._rules.project)
                self._run(attachment, message.channel, spec, message.files)
            case m.Shell():
                spec = shell_spec(message, self.language, self.limits)
                self._run(attachment, message.channel, spec, ())
            case m.Resize():
                self._resize(message)
            case m.Signal():
                self._channel(message.channel)
                self._call("signal", channel=message.channel, name=message.name)
            case m.Eof():
                self._eof(message)
            case m.Kill():
                self.kill(self._channel(message.channel), "killed")
            case m.Close():
                self.end("client")

    def _require_control(self, attachment: Attachment) -> None:
        if attachment is not self._control:
            raise NotControl("this attachment only watches; send `take` to take the control")

    def _channel(self, number: int) -> Channel:
        channel = self.channels.get(number)
        if channel is None:
            raise NoChannel(f"the session has no channel {number}", channel=number)
        return channel

    def input(self, attachment: Attachment, channel: int, offset: int, data: bytes) -> None:
        self._require_control(attachment)
        self._touch()
        one = self._channel(channel)
        end = offset + len(data)
        at = one.input_offset
        taken = one.accept_input(offset, data)
        if taken:
            self.container.link.send_input(channel, at, taken)
        overflow = one.overflow(end)
        if overflow:
            raise overflow

    def _ack(self, attachment: Attachment, message: m.Ack) -> None:
        channel = self._channel(message.channel)
        attachment.ack(channel, message.offset)
        if attachment is self._control:
            channel.released = max(channel.released, message.offset)
            channel.exit_acked = channel.exit_acked or message.exit
        self.release(channel)

    def _resize(self, message: m.Resize) -> None:
        channel = self._channel(message.channel)
        channel.cols, channel.rows = message.cols, message.rows
        self._call("resize", channel=message.channel, cols=message.cols, rows=message.rows)
        self._tell(m.Resized(message.channel, message.cols, message.rows))

    def _eof(self, message: m.Eof) -> None:
        channel = self._channel(message.channel)
        if channel.mode == "tty":
            raise BadMessage("a terminal has no end of file; send byte 04 as input", channel=message.channel)
        if message.offset < channel.input_offset:
            raise BadMessage(
                f"input went on beyond {message.offset}",
                channel=message.channel,
                expected=channel.input_offset,
            )
        channel.eof_at = message.offset
        self._call("eof", channel=message.channel, offset=message.offset)

    def kill(self, channel: Channel, intent: str) -> None:
        """Ends the whole process tree; an agent that does not confirm loses its container."""
        if not channel.live:
            return
        channel.intent = channel.intent or intent
        self._task(self._kill(channel, intent), "session-kill")

    async def _kill(self, channel: Channel, intent: str) -> None:
        self._call("kill", channel=channel.number, intent=intent)
        while channel.live:
            link = self.container.link
            if link.closed.done():  # being mended; then the command is repeated
                await self.container.changed.wait()
                continue
            try:
                async with asyncio.timeout(KILL_SECONDS + 1.0):
                    while channel.live:
                        await self.container.changed.wait()
            except TimeoutError:
                if not link.closed.done():
                    self.container.condemn("did not end a program in time")
                    return

    # --- running -----------------------------------------------------------------------------------------

    def _run(
        self, attachment: Attachment, number: int, spec: dict[str, Any], files: tuple[m.File, ...]
    ) -> None:
        known = self.channels.get(number)
        if known is not None:  # repeated after a cut: starts nothing
            attachment.post(m.State(number, known.phase, known.phase_offset))
            return
        if sum(channel.live for channel in self.channels.values()) >= flow.MAX_CHANNELS:
            raise ChannelLimit(f"{flow.MAX_CHANNELS} channels are live already", channel=number)
        channel = Channel(number, spec["mode"])
        channel.cols, channel.rows = spec["cols"], spec["rows"]
        channel.phase = "compiling" if spec["compile"] else "running"
        channel.wall_ms = spec["limits"]["wall_ms"]
        self.channels[number] = channel

        def ask() -> Answer:
            return self.container.link.call(
                "run",
                b"".join(file.content for file in files),
                seconds=RUN_SECONDS,
                channel=number,
                spec=spec,
                files=[[file.path, len(file.content)] for file in files],
                controlled=True,
            )

        # Sent before this returns: input that follows on the socket must not overtake it.
        self._task(self._started(channel, ask, ask()), "session-run")

    async def _started(self, channel: Channel, ask: Callable[[], Answer], answer: Answer) -> None:
        """Until the agent has begun it, or said why not.  A broken stream is no answer: it is asked again."""
        first = self.container.link
        try:
            while True:
                link = self.container.link
                try:
                    reply, _ = await answer
                    break
                except AgentLost as error:
                    if not link.closed.done():
                        self.container.condemn(error.message)
                        return
                    while self.container.link.closed.done():
                        await self.container.changed.wait()
                    answer = ask()
            state, forgotten = read_started(reply, channel.number)
        except CodeRunnerError as error:
            self.channels.pop(channel.number, None)
            error.channel = channel.number
            self._tell(m.ErrorMessage.of(error))
            return
        except ValueError as error:
            self.container.condemn(f"the agent broke its protocol: {error}")
            return
        for number in forgotten:
            self.channels.pop(number, None)
            self._forget_pace(number)
        self.on_state(state)
        if link is not first:
            self._repeat(channel, state)
        self._pace(channel.number).again()
        self.release(channel)

    # --- what the agent tells ----------------------------------------------------------------------------

    def on_output(self, channel: int, stream: int, offset: int, data: bytes) -> None:
        one = self.channels.get(channel)
        if one is not None and stream in (1, 2) and one.take_output(stream, offset, data):
            self._wake()

    def on_in_ack(self, channel: int, offset: int) -> None:
        one = self.channels.get(channel)
        if one is not None and one.take_in_ack(offset) and self._control is not None:
            self._control.post(m.InAck(channel, one.in_acked))

    def on_state(self, state: dict[str, Any]) -> None:
        """A channel's whole state, as `reports.read_state` passed it."""
        channel = self.channels.get(state["channel"])
        if channel is None:
            return
        channel.take_oldest(state["from"])
        channel.input_eof = channel.input_eof or state["input_eof"]
        phases = [(state["phase"], state["phase_offset"])]
        if channel.phase == "compiling" and state["phase"] == "exited" and state["run_offset"] is not None:
            # A program as short as that began and ended between two reports.
            phases.insert(0, ("running", state["run_offset"]))
        for phase, offset in phases:
            told = channel.advance(phase, offset)
            if told is None:
                continue
            self._tell(told)
            wall = channel.wall_ms or min(state["wall_ms"], self.limits.lifetime_ms)
            channel.wall_deadline = self._now() + wall / 1000 + GRACE_SECONDS
            self._touch()
        if state["phase"] == "exited":
            channel.wall_deadline = None
            if state["end"] is not None and channel.exit is None:
                self._finish(channel, state["end"], state["evidence"] or {})
        self._changed.set()
        self._wake()

    def _finish(self, channel: Channel, end: int, evidence: dict[str, Any]) -> None:
        channel.end = end
        others = [one for one in self.channels.values() if one is not channel and one.unexplained_kill]
        channel.exit = endings.exit_message(channel, evidence, others=bool(others))
        self._wake()

    def on_attached(self, hello: dict[str, Any]) -> None:
        """The agent is reachable again, or for the first time by this server."""
        for state in hello["channels"]:
            number = state["channel"]
            channel = self.channels.get(number)
            if channel is None:
                channel = self.channels[number] = Channel(number, state["mode"], start=state["sent"])
                channel.restore_input(state["input_offset"], state["in_acked"])
                channel.released = state["released"]
                channel.cols, channel.rows = state["cols"], state["rows"]
            self.on_state(state)
            self._pace(number).again()
            self._repeat(channel, state)
        self._release_all()
        self._wake()

    def _repeat(self, channel: Channel, state: dict[str, Any]) -> None:
        """What may have been lost with a broken stream: the agent's word on input, and our commands."""
        number = channel.number
        self.on_in_ack(number, state["in_acked"])
        at, data = channel.unacked_input()
        taken = max(at, state["input_offset"])
        if taken < channel.input_offset:
            self.container.link.send_input(number, taken, data[taken - at :])
        if channel.eof_at is not None and not channel.input_eof:
            self._call("eof", channel=number, offset=channel.eof_at)
        if (channel.cols, channel.rows) != (state["cols"], state["rows"]):
            self._call("resize", channel=number, cols=channel.cols, rows=channel.rows)
        if channel.intent is not None and channel.live:
            self._call("kill", channel=number, intent=channel.intent)

    # --- flow --------------------------------------------------------------------------------------------

    def release(self, channel: Channel) -> None:
        """Tell the agent how far the clients are."""
        acked = [one.cursor(channel).acked for one in self._attachments]
        if self._control is not None:
            # An attach cursor is an ack.
            channel.released = max(channel.released, self._control.cursor(channel).acked)
        standing = Standing(
            released=channel.released,
            furthest=max([channel.released, *acked]),
            controlled=self._control is not None,
            exit_acked=channel.exit_acked,
        )
        self._pace(channel.number).tell(standing)

    def _pace(self, number: int) -> Pace:
        found = self._paces.get(number)
        if found is None:
            found = self._paces[number] = Pace(lambda standing: self._send_flow(number, standing))
        return found

    def _forget_pace(self, number: int) -> None:
        pace = self._paces.pop(number, None)
        if pace is not None:
            pace.close()

    def _send_flow(self, number: int, standing: Standing) -> None:
        self.container.link.send_flow(
            number,
            released=standing.released,
            credit=standing.furthest + flow.WINDOW,
            controlled=standing.controlled,
            exit_acked=standing.exit_acked,
        )

    def _release_all(self) -> None:
        for channel in self.channels.values():
            self.release(channel)

    async def fetch(self, channel: Channel, offset: int, most: int) -> Fetched:
        """Output from the agent's journal.  Raises NoChannel, AgentLost."""
        number = channel.number
        reply, data = await self.container.link.call("fetch", channel=number, offset=offset, most=most)
        try:
            begin, stream, restore = read_fetched(reply)
        except ValueError as error:
            self.container.condemn(f"the agent broke its protocol: {error}")
            raise AgentLost(str(error)) from None
        return Fetched(max(offset, begin), stream, data[:most], restore)

    def repaint(self, channel: Channel) -> None:
        if channel.mode == "tty" and channel.live:
            self._call("repaint", channel=channel.number)

    @property
    def reachable(self) -> bool:
        """Whether there is a stream to the agent; attachments are woken when there is one again."""
        return not self.container.link.closed.done()

    def have(self) -> dict[int, int]:
        return {number: channel.cache.hi for number, channel in self.channels.items()}

    def _call(self, op: str, **body: Any) -> None:
        self.container.link.cast(op, **body)

    def _tell(self, message: m.ServerMessage) -> None:
        for attachment in self._attachments:
            attachment.post(message)

    def _wake(self) -> None:
        for attachment in self._attachments:
            attachment.wake()

    # --- time --------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _touch(self) -> None:
        self._deadlines.touch(self._now())
        self._changed.set()

    @property
    def _busy(self) -> bool:
        return any(channel.live for channel in self.channels.values())

    def expiry(self) -> m.Expiry:
        return self._deadlines.expiry(self._now(), busy=self._busy)

    def _expires(self) -> m.Expires:
        expiry = self.expiry()
        return m.Expires(expiry.idle_ms, expiry.total_ms)

    async def _keep_time(self) -> None:
        while not self.over:
            self._changed.clear()
            now, busy, wanted = self._now(), self._busy, self._wanted()
            reason = self._deadlines.due(now, busy=busy, wanted=wanted)
            if reason is not None:
                self.end(reason)
                return
            for why, left in self._deadlines.warn(now, busy=busy):
                self._warn(why, left)
            wait = self._deadlines.next_look(now, busy=busy, wanted=wanted)
            for channel in self.channels.values():
                if channel.wall_deadline is None:
                    continue
                if now >= channel.wall_deadline:
                    channel.intent = channel.intent or "wall_timeout"
                    self.container.condemn("held a program beyond its wall limit")
                    return
                wait = min(wait, channel.wall_deadline - now)
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _warn(self, why: str, left: float) -> None:
        kind = why.removesuffix("_timeout")
        hint = "press a key or extend it" if kind == "idle" else "save what you want to keep"
        self._tell(m.Notice(f"{kind}_warning", f"the session ends in {round(left)} s; {hint}"))
        self._tell(self._expires())

    # --- the end -----------------------------------------------------------------------------------------

    async def _watch_container(self) -> None:
        reason = await asyncio.shield(self.container.gone)
        if not self.over:
            log.warning("session lost its container", extra=fields(session=self.id, why=reason))
            self.end("engine_lost")

    def end(self, reason: str) -> asyncio.Task[None]:
        """Ends the session, once; the task is done when slot and container have been given back."""
        if self._ended is None:
            self.over = True
            self._ended = asyncio.get_running_loop().create_task(self._end(reason), name="session-end")
        return self._ended

    async def _end(self, reason: str) -> None:
        # From here on a restarted server is not to adopt it.
        self._call("seal", record=None)
        try:
            if reason != "engine_lost":
                await self._end_programs("evicted" if reason == "evicted" else "session_closed")
            for channel in self.channels.values():
                if channel.exit is None:
                    channel.end = channel.cache.hi
                    channel.exit = endings.lost(channel)
            for attachment in list(self._attachments):
                attachment.end(1000, last=m.Closed(reason))
        except Exception:
            log.exception("ending a session", extra=fields(session=self.id))
        finally:
            self._stop_working()
            await self._on_end(self, reason)

    async def _end_programs(self, intent: str) -> None:
        """So that programs get a true ending, not a vanished container."""
        live = [channel for channel in self.channels.values() if channel.exit is None]
        for channel in live:
            if channel.live:
                channel.intent = channel.intent or intent
                self._call("kill", channel=channel.number, intent=intent)
        try:
            async with asyncio.timeout(KILL_SECONDS):
                while any(channel.live for channel in live):
                    await self.container.changed.wait()
        except TimeoutError:
            pass

    def suspend(self) -> None:
        """The server stops; the container and its programs live on for the next one."""
        self.over = True
        for attachment in list(self._attachments):
            attachment.end(1012)
        self._stop_working()

    def _stop_working(self) -> None:
        for task in self._tasks:
            task.cancel()
        for pace in self._paces.values():
            pace.close()

    def _task(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a session's task failed", exc_info=task.exception(), extra=fields(session=self.id))
            self._tell(m.ErrorMessage.of(InternalError()))
