"""A session: one tenant's live container, its channels, and whoever is attached to it.

It outlives any socket.  It owns its slot and its container; ``end`` gives both back, once, whatever else
happens.  What its channels do is in `channels`, who is attached in `attachments`, how long it may last in
`deadlines`; this puts them together.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from coderunner import timing
from coderunner.core.limits import LimitRules
from coderunner.errors import BadMessage, InternalError, NoSession
from coderunner.logs import fields
from coderunner.schema import messages as m
from coderunner.schema.languages import Language
from coderunner.schema.limits import Limits
from coderunner.schema.record import Record
from coderunner.schema.reports import ArtifactNews, ChannelState, Hello
from coderunner.sessions import walls
from coderunner.sessions.artifacts import Artifacts
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.channels import Channels
from coderunner.sessions.container import Container
from coderunner.sessions.deadlines import Deadlines, ResumeTimeouts
from coderunner.sessions.files import Files
from coderunner.sessions.record import digest
from coderunner.sessions.specs import ProjectRules, check_project, run_spec, shell_spec
from coderunner.sessions.views import SECONDS, Views
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits and times that all sessions share. ``view_seconds``: how long an address of a file is good."""

    limits: LimitRules
    project: ProjectRules
    resume: ResumeTimeouts
    view_seconds: float = SECONDS


class Session:
    """A live session, from its container's first link to the removal of its container.

    ``wanted()`` says whether somebody waits for a slot: then a session without clients ends earlier.
    ``on_end``: awaited last, with the reason; it gives back slot and container. ``on_fault``: called when a
    task of the session failed by a fault of this server; it must ``drop`` or ``end`` the session. ``key``:
    the instance's secret, which signs addresses of files that need no token.
    """

    def __init__(
        self,
        container: Container,
        language: Language,
        record: Record,
        rules: Rules,
        *,
        wanted: Callable[[], bool],
        on_end: Callable[[Session, str], Awaitable[None]],
        on_fault: Callable[[Session], None],
        key: bytes = b"",
    ) -> None:
        self.id = container.session
        self.container = container
        self.language = language
        self.record = record
        self.limits: Limits = record.limits
        self.over = False
        self._tasks = Tasks("session", lambda _: self._failed(), session=self.id)
        # Apart from the others: the end cancels those, and must not cancel itself.
        self._endings = Tasks("session's end", session=self.id)
        self._on_fault = on_fault
        self.channels = Channels(
            container,
            language,
            lifetime_ms=record.limits.lifetime_ms,
            touch=self._touch,
            changed=self._look_at_time,
            task=self._tasks.start,
            forgotten=lambda number: self.artifacts.forget(number),
        )
        self._attachments = self.channels.attachments
        self.files = Files(container)
        self.views = Views(key, self.id, container.holdings, rules.view_seconds)
        self.artifacts = Artifacts(self.views, self._attachments, container.holdings)
        self.revision = 0  # of the workspace
        self._rules = rules
        self._wanted = wanted
        self._on_end = on_end
        self._deadlines = Deadlines(
            self._now(),
            lifetime=record.expires - time.time(),
            idle=record.limits.idle_ms / 1000,
            resume=rules.resume,
        )
        self._changed = asyncio.Event()  # a deadline may have moved
        self._ended: asyncio.Task[None] | None = None
        container.listen(self)
        self._tasks.start(self._keep_time(), "session-time")
        self._tasks.start(self._watch_container(), "session-container")

    # --- attachments -----------------------------------------------------------------------------------

    def attach(
        self, client: str, role: str, granted: str, cursors: Mapping[int, int], *, announce: bool = True
    ) -> Attachment:
        """A new attachment, which ends an old one of the same client.

        ``role``: `control` (taken from whoever has it) or `watch`. ``granted``: the greatest role that the
        token allows. ``cursors``: by channel, the offset below which the client has the output. ``announce``:
        whether it is sent `attached`. Raises NoSession, TooManyAttachments.
        """
        if self.over:
            raise NoSession()
        for _ in self._attachments.supersede(client):
            self._left()
        attachment = Attachment(self.channels, client, role, cursors)
        attachment.granted = granted
        if announce:
            views = tuple(channel.view() for channel in self.channels.values())
            attachment.post(m.Attached(self.id, role, views, self.expiry()))
            self._tell_all(attachment)
        self._attachments.add(attachment)
        log.debug("attached", extra=fields(session=self.id, role=role, attachments=len(self._attachments)))
        self._deadlines.attach()
        self.channels.release_all()
        self._look_at_time()
        return attachment

    def _tell_all(self, attachment: Attachment) -> None:
        """Sends a new attachment what the others were sent once: revision, stops, diagnostics, artifacts."""
        if self.revision:
            attachment.post(m.Workspace(self.revision))
        for channel in self.channels.values():
            if channel.stopped is not None:
                attachment.post(m.Stopped(channel.number, channel.stopped))
            if channel.diagnostics:
                attachment.post(m.Diagnostics(channel.number, channel.diagnostics))
        for made in self.artifacts:
            attachment.post(made)

    def detach(self, attachment: Attachment) -> None:
        """The client's socket is closed. The session lives on, until its deadlines say otherwise."""
        if self._attachments.remove(attachment):
            left = len(self._attachments)
            log.debug("detached", extra=fields(session=self.id, role=attachment.role, attachments=left))
            self._left()
            self._empty()

    def _left(self) -> None:
        if not self._attachments:
            self._deadlines.detach(self._now())
        self.channels.release_all()
        self._look_at_time()

    def allows(self, token: str) -> str | None:
        """The greatest role of a token; None when it is not this session's."""
        if hmac.compare_digest(digest(token), self.record.token_digest):
            return "control"
        return None

    # --- what a client asks ------------------------------------------------------------------------------

    def handle(self, attachment: Attachment, message: m.ClientMessage) -> None:
        """Does what a client's message asks. Raises CodeRunnerError, which is the answer to it."""
        if attachment not in self._attachments:
            return  # superseded, and its socket is about to close
        match message:
            case m.Ack():
                self.channels.ack(attachment, message)
            case m.Ping():
                attachment.post(m.Pong(message.t))
            case m.Take():
                if self._attachments.control is not attachment:
                    self._attachments.give_control(attachment)
                    self.channels.release_all()
            case m.Extend():
                self._touch()
                attachment.post(self._expires())
            case m.Open() | m.Attach():
                raise BadMessage("this connection has a session already")
            case _:
                self._attachments.require_control(attachment)
                self._touch()
                self._control_message(attachment, message)

    def _control_message(self, attachment: Attachment, message: m.ClientMessage) -> None:
        match message:
            case m.Run():
                spec = run_spec(message, self.language, self.limits, self._rules.limits)
                check_project(message.files, self._rules.project)
                self.channels.run(attachment, message.channel, spec, message.files)
            case m.Shell():
                spec = shell_spec(message, self.language, self.limits)
                self.channels.run(attachment, message.channel, spec, ())
            case m.Resize():
                self.channels.resize(message)
            case m.Signal():
                self.channels.signal(message)
            case m.Eof():
                self.channels.eof(message)
            case m.Kill():
                self.channels.kill(self.channels[message.channel], "killed")
            case m.Close():
                self.end("client")

    def input(self, attachment: Attachment, channel: int, offset: int, data: bytes) -> None:
        """A client's input. Raises NotControl, and as `Channels.input`."""
        self._attachments.require_control(attachment)
        self._touch()
        self.channels.input(channel, offset, data)

    # --- what the agent tells ----------------------------------------------------------------------------

    # As `AgentEvents`. Reports of channels go to `Channels` directly: output must not take a detour.

    @property
    def on_output(self) -> Callable[[int, int, int, bytes], None]:
        """`Channels.on_output`."""
        return self.channels.on_output

    @property
    def on_in_ack(self) -> Callable[[int, int], None]:
        """`Channels.on_in_ack`."""
        return self.channels.on_in_ack

    @property
    def on_state(self) -> Callable[[ChannelState], None]:
        """`Channels.on_state`."""
        return self.channels.on_state

    def on_attached(self, hello: Hello) -> None:
        """`Channels.on_attached`."""
        self.channels.on_attached(hello)

    def have(self) -> dict[int, int]:
        """`Channels.have`."""
        return self.channels.have()

    def on_workspace(self, revision: int) -> None:
        """Files have changed; sent to all attachments, once for each revision."""
        if revision > self.revision:
            self.revision = revision
            self._attachments.broadcast(m.Workspace(revision))

    def on_artifact(self, channel: int, news: ArtifactNews) -> None:
        """A program has made a file that people may want to see."""
        if channel in self.channels:
            self.artifacts.add(channel, news)

    # --- time --------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return timing.now()

    def _touch(self) -> None:
        # Deadlines only move away by it: who waits for the nearest finds out then, and not with each key.
        self._deadlines.touch(self._now())

    def _look_at_time(self) -> None:
        self._changed.set()

    def expiry(self) -> m.Expiry:
        """The times that are left to the session, as clients are sent them."""
        return self._deadlines.expiry(self._now(), busy=self.channels.busy)

    def _expires(self) -> m.Expires:
        expiry = self.expiry()
        return m.Expires(expiry.idle_ms, expiry.total_ms)

    async def _keep_time(self) -> None:
        while not self.over:
            self._changed.clear()
            if self._due() is not None or walls.overdue(self.channels.values(), self._now()):
                await timing.catch_up()  # a key or a program's end may have arrived and not been read yet
            reason = self._due()
            if reason is not None:
                self.end(reason)
                return
            now, busy, wanted = self._now(), self.channels.busy, self._wanted()
            for why, left in self._deadlines.warn(now, busy=busy):
                self._warn(why, left)
            due_in = walls.hold(self.channels.values(), now, self.container.condemn)
            if due_in is None:
                return
            wait = min(due_in, self._deadlines.next_look(now, busy=busy, wanted=wanted))
            try:
                async with timing.within(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _due(self) -> str | None:
        return self._deadlines.due(self._now(), busy=self.channels.busy, wanted=self._wanted())

    def _warn(self, why: str, left: float) -> None:
        kind = why.removesuffix("_timeout")
        hint = "press a key or extend it" if kind == "idle" else "save what you want to keep"
        text = f"the session ends in {round(left)} s; {hint}"
        self._attachments.broadcast(m.Notice(f"{kind}_warning", text))
        self._attachments.broadcast(self._expires())

    # --- the end -----------------------------------------------------------------------------------------

    async def _watch_container(self) -> None:
        gone = self.container.gone
        either: list[asyncio.Future[Any]] = [gone, self.container.fault]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self.over:
            return
        if gone.done():
            log.warning("session lost its container", extra=fields(session=self.id, why=gone.result()))
            self.end("engine_lost")
        else:
            self._failed()

    def _failed(self) -> None:
        if not self.over:
            self._on_fault(self)

    def drop(self) -> None:
        """Forgets the session after a fault of this server; the container lives on.

        Clients are closed with 1011 and attach again, to the session that is adopted from the container.
        """
        self.over = True
        for attachment in self._attachments:
            attachment.post(m.ErrorMessage.of(InternalError()))
            attachment.end(1011)
        self._stop_working()
        self._empty()

    def evict(self, why: str) -> asyncio.Task[None]:
        """Ends the session because of what it does to others; `why` is sent to its clients."""
        self._attachments.broadcast(m.Notice("evicted", f"the server ends this session: {why}"))
        return self.end("evicted")

    def end(self, reason: str) -> asyncio.Task[None]:
        """Ends the session, once; the task is done when slot and container have been given back."""
        if self._ended is None:
            self.over = True
            self._ended = self._endings.start(self._end(reason), "session-end")
        return self._ended

    async def _end(self, reason: str) -> None:
        # Without its record a restarted server does not adopt it.
        self.container.link.cast("seal", record=None)
        try:
            if reason != "engine_lost":
                await self.channels.end_programs("evicted" if reason == "evicted" else "session_closed")
            self.channels.lose()
            for attachment in self._attachments:
                attachment.end(1000, last=m.Closed(reason))
        except Exception:
            log.exception("ending a session", extra=fields(session=self.id))
        finally:
            self._stop_working()
            self._empty()
            await self._on_end(self, reason)

    def _empty(self) -> None:
        """Drops all output once nobody reads it: whatever still refers to the session holds nothing large."""
        if self.over and not self._attachments:
            self.channels.empty()
            self.artifacts.empty()
            self.views.empty()

    def suspend(self) -> None:
        """Closes the clients with 1012 because the server stops; container and programs live on."""
        self.over = True
        for attachment in self._attachments:
            attachment.end(1012)
        self._stop_working()

    def _stop_working(self) -> None:
        self._tasks.cancel()
        self.files.end()
        self.channels.close()
