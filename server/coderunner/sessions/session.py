"""A session: one tenant's live container with its channels and attached clients.

A session outlives the sockets of its clients. It owns a slot and a container, which `end` returns exactly
once. This module connects its parts: `channels` (programs), `attachments` (clients),
`deadlines` (times), `container`.
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
from coderunner.identity.guest import Guest
from coderunner.logs import fields
from coderunner.schema import calls
from coderunner.schema import messages as m
from coderunner.schema.languages import Language
from coderunner.schema.limits import Limits
from coderunner.schema.record import Record
from coderunner.schema.reports import ArtifactNews, ChannelState, Hello
from coderunner.sessions.artifacts import Artifacts
from coderunner.sessions.attachment import Attachment
from coderunner.sessions.channels import Channels
from coderunner.sessions.charges import Charges
from coderunner.sessions.company import Company
from coderunner.sessions.container import Container
from coderunner.sessions.deadlines import Deadlines, ResumeTimeouts
from coderunner.sessions.files import Files
from coderunner.sessions.hand import Hand
from coderunner.sessions.introduction import introduce
from coderunner.sessions.notes import Notes
from coderunner.sessions.overseers import Overseers
from coderunner.sessions.quotas import Account
from coderunner.sessions.record import digest, whose
from coderunner.sessions.specs import ProjectRules, check_project, run_spec, shell_spec
from coderunner.sessions.timekeeper import TimeKeeper
from coderunner.sessions.views import SECONDS, Views
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits and times that are the same for all sessions.
    `view_seconds`: how long a capability URL is valid."""

    limits: LimitRules
    project: ProjectRules
    resume: ResumeTimeouts
    view_seconds: float = SECONDS


class Session:
    """A live session.

    It starts its tasks when it is made, so that needs a running event loop,
    and a container whose agent is linked.

    `wanted()`: whether a client waits for a slot; a session without clients then ends earlier. `on_end`:
    awaited as the last step of the end, with the reason; returns slot and container. `on_fault`: called if a
    task of the session fails through a bug of this server; it must `drop` or `end` the session. `key`: the
    instance's secret, which authenticates capability URLs. `account`: what its programs are charged to; None:
    nothing.
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
        account: Account | None = None,
    ) -> None:
        self.id = container.session
        self.container = container
        self.language = language
        self.record = record
        self.limits: Limits = record.limits
        # Set once and for all: what is decided about the end is decided by it.
        self.over = False
        self._tasks = Tasks("session", lambda _: self._failed(), session=self.id)
        # Separate from the other tasks: the end cancels those, and must not cancel itself.
        self._endings = Tasks("session's end", session=self.id)
        self._on_fault = on_fault
        self.channels = self._make_channels()
        self._attachments = self.channels.attachments
        self.company = Company(self._attachments, self._left)
        self.overseers = Overseers(self._attachments, record)
        self.hand = Hand(self._attachments, record)
        self.files = Files(container)
        self.views = Views(key, self.id, container.holdings, rules.view_seconds)
        self.artifacts = Artifacts(self.views, self._attachments, container.holdings)
        self.revision = 0  # of the workspace; the agent counts it
        self._rules = rules
        self.charges = Charges(account, self.channels)
        self.notes = Notes(record)
        self._on_end = on_end
        self._time = self._make_time(wanted)
        self._ended: asyncio.Task[None] | None = None
        # Last, as reports may arrive from here on and need all parts.
        container.listen(self)
        self._tasks.start(self._time.keep(), "session-time")
        self._tasks.start(self._watch_container(), "session-container")

    def _make_channels(self) -> Channels:
        return Channels(
            self.container,
            self.language,
            lifetime_ms=self.limits.lifetime_ms,
            # Lambdas, as these parts are made after the channels.
            touch=lambda: self._time.touch(),
            changed=lambda: self._time.look(),
            task=self._tasks.start,
            forgotten=lambda number: self.artifacts.forget(number),
            ended=self._program_ended,
        )

    def _make_time(self, wanted: Callable[[], bool]) -> TimeKeeper:
        # The record has wall-clock time, as it outlives this process; from here on a monotonic clock counts.
        deadlines = Deadlines(
            timing.now(),
            lifetime=self.record.expires - time.time(),
            idle=self.limits.idle_ms / 1000,
            resume=self._rules.resume if self.charges.background else self._rules.resume.shortest(),
        )
        return TimeKeeper(
            self.channels, self.container, deadlines, wanted=wanted, over=lambda: self.over, end=self.end
        )

    # --- attachments -----------------------------------------------------------------------------------

    def attach(
        self,
        client: str,
        role: str,
        granted: str,
        cursors: Mapping[int, int],
        *,
        announce: bool = True,
        operator: bool = False,
        principal: str | None = None,
        address: str | None = None,
        guest: Guest | None = None,
    ) -> Attachment:
        """Attaches a client, and ends an earlier attachment of the same client.

        `client`: the id that the client chose. `role`: `control` (taken from its present holder) or `watch`.
        `granted`: the highest role that the client's token allows. `cursors`: for each channel, the offset
        below which the client has the output already. `announce`: whether to send `attached`; not after
        `open`, which is answered with `opened`. `operator`: whether it is the server's operator, who watches;
        the others are told. `principal`, `address`: whose it is, for the audit log; without an address it is
        the server's own. `guest`: whose token it is, None for the owner's. Raises NoSession,
        TooManyAttachments.
        """
        if self.over:
            raise NoSession()  # its socket was accepted while the session ended
        # A client that reconnects may be faster than the server notices the loss of its old socket.
        before = self._attachments.control
        for old in self._attachments.supersede(client, guest, operator=operator):
            self.company.left(old)
            self._left()
            if old is before and old.overseer is not None:
                self._give_back(old)
        attachment = Attachment(self.channels, client, role, cursors)
        attachment.granted, attachment.operator, attachment.guest = granted, operator, guest
        attachment.principal, attachment.address = principal, address
        # Queued before it is added: nothing that happens later must reach the client before `attached`.
        if announce:
            views = tuple(channel.view() for channel in self.channels.values())
            attachment.post(m.Attached(self.id, role, views, self.expiry()))
            self.overseers.greet(attachment)
            introduce(self, attachment)
        before = self._attachments.control
        self._attachments.add(attachment)
        self.overseers.tell()
        if announce and address is not None:
            self.notes.note("watched" if role == "watch" else "attached", attachment)
            if role == "control" and before is not None:
                self.notes.note("took over", attachment, of=before.principal, of_address=before.address)
        log.debug("attached", extra=fields(session=self.id, role=role, attachments=len(self._attachments)))
        self.company.came(attachment)
        self._time.attach()
        self.channels.release_all()
        self._time.look()
        return attachment

    def detach(self, attachment: Attachment) -> None:
        """Removes an attachment whose socket is closed.
        The session continues until one of its deadlines ends it."""
        controlled = self._attachments.control is attachment
        if self._attachments.remove(attachment):
            self.company.left(attachment)
            left = len(self._attachments)
            log.debug("detached", extra=fields(session=self.id, role=attachment.role, attachments=left))
            if attachment.overseer is not None and not self.over:
                self.overseers.tell()
                if controlled:
                    self._give_back(attachment)
            self._left()
            self._empty()

    @property
    def watched(self) -> bool:
        """Whether the operator watches now."""
        return any(one.operator for one in self._attachments)

    def notice(self, text: str, code: str = "operator") -> int:
        """Sends the words of the operator or of a teacher to all attachments; returns how many these are."""
        self._attachments.broadcast(m.Notice(code, text))
        return len(self._attachments)

    def _left(self) -> None:
        if not self._attachments:
            self._time.detach()
        self.channels.release_all()
        self._time.look()

    def allows(self, token: str) -> str | None:
        """Returns the highest role that a token allows, or None if it is not one of this session's."""
        # In constant time; the digest of a random token needs no salt.
        if hmac.compare_digest(digest(token), self.record.token_digest):
            return "control"
        return None

    # --- what a client asks ------------------------------------------------------------------------------

    def handle(
        self, attachment: Attachment, message: m.ClientMessage, scripts: tuple[str, str] | None = None
    ) -> None:
        """Executes a client's message. Raises CodeRunnerError, which the caller sends as the answer.
        `scripts`: of a `run`, as `run_spec` takes them."""
        if attachment not in self._attachments:
            return  # superseded; its socket is about to close, and no answer would be read
        match message:
            # The frequent messages come first.
            case m.Ack():
                self.channels.ack(attachment, message)
            case m.Ping():
                attachment.post(m.Pong(message.t))
            case m.Take():
                # Taking it a second time would only tell all clients the same again.
                if self._attachments.control is attachment:
                    return
                if self.company.may_take(attachment, message.word):
                    self._give_control(attachment, message.word)
            case m.Give():
                self._attachments.require_control(attachment)
                self._give_back(attachment)
            case m.Answer():
                asking = self.company.answer(attachment, message)
                if asking is not None:
                    self._give_control(asking)
            case m.RaiseHand():
                self.hand.ask(attachment, message.up)
            case m.Extend():
                self.company.refuse_watching_token(attachment)
                self._time.touch()
                attachment.post(self._time.expires())
            case m.Open() | m.Attach():
                raise BadMessage("this connection has a session already")
            case _:
                # All other messages change something, which only the client in control may do.
                self._attachments.require_control(attachment)
                self._time.touch()
                self._control_message(attachment, message, scripts)

    def _give_back(self, attachment: Attachment) -> None:
        """Gives the control of `attachment`, which may have left, to the owner."""
        self._attachments.give_back(attachment, self.company.owner_to_have(attachment))
        self.channels.release_all()
        self.notes.note("handed back", attachment)
        self.company.given_back(attachment)
        self.company.tell()

    def _give_control(self, attachment: Attachment, word: str = "") -> None:
        before = self._attachments.control
        self._attachments.give_control(attachment)
        self.channels.release_all()
        of = {"of": before.principal, "of_address": before.address} if before is not None else {}
        self.notes.note("took over", attachment, **of, **({"word": word} if word else {}))
        self.company.taken(attachment, before, word)
        self.company.tell()

    def _control_message(
        self, attachment: Attachment, message: m.ClientMessage, scripts: tuple[str, str] | None
    ) -> None:
        match message:
            case m.Run():
                spec = run_spec(message, self.language, self.limits, self._rules.limits, scripts)
                # Before the channel exists: a refused project leaves nothing behind.
                check_project(message.files, self._rules.project)
                self.charges.begin(message.channel)
                self.channels.run(attachment, message.channel, spec, message.files)
                self.notes.run(attachment, spec.entry, message)
            case m.Shell():
                spec = shell_spec(message, self.language, self.limits)
                self.charges.begin(message.channel)
                self.channels.run(attachment, message.channel, spec, ())
                self.notes.note("ran", attachment, kind="shell")
            case m.Resize():
                self.channels.resize(message)
            case m.Signal():
                self.channels.signal(message)
            case m.Eof():
                self.channels.eof(message)
            case m.Kill():
                self.channels.kill(self.channels[message.channel], "killed")
            case m.Close():
                self.company.refuse_guest(attachment)
                self.end("client")

    def _program_ended(self) -> None:
        self.charges.charge()
        self.charges.tell()

    def input(self, attachment: Attachment, channel: int, offset: int, data: bytes) -> None:
        """Passes a client's input to a channel. `offset`: of the first byte in the channel's input.

        Raises NotControl, and as `Channels.input`.
        """
        self._attachments.require_control(attachment)
        self._time.touch()
        self.channels.input(channel, offset, data)

    # --- what the agent tells ----------------------------------------------------------------------------

    # The interface `AgentEvents`. Reports about channels are handled by `Channels`. The most frequent ones
    # are properties that return its bound methods, which saves a call for each frame of output.

    @property
    def begin_reports(self) -> Callable[[], None]:
        """Handler of a read's beginning: `Channels.begin_reports`."""
        return self.channels.begin_reports

    @property
    def end_reports(self) -> Callable[[], None]:
        """Handler of a read's end: `Channels.end_reports`."""
        return self.channels.end_reports

    @property
    def on_output(self) -> Callable[[int, int, int, bytes], None]:
        """Handler of output: `Channels.on_output`."""
        return self.channels.on_output

    @property
    def on_in_ack(self) -> Callable[[int, int], None]:
        """Handler of acknowledged input: `Channels.on_in_ack`."""
        return self.channels.on_in_ack

    @property
    def on_state(self) -> Callable[[ChannelState], None]:
        """Handler of a channel's state: `Channels.on_state`."""
        return self.channels.on_state

    def on_attached(self, hello: Hello) -> None:
        """Called when the link to the agent is established: see `Channels.on_attached`."""
        self.channels.on_attached(hello)

    def have(self) -> dict[int, int]:
        """By channel, the offset below which this server has the output: see `Channels.have`."""
        return self.channels.have()

    def on_workspace(self, revision: int) -> None:
        """Called when files have changed; tells all attachments, once for each revision."""
        # The agent repeats its reports after a new link, so older revisions arrive as well.
        if revision > self.revision:
            self.revision = revision
            self._attachments.broadcast(m.Workspace(revision))

    def on_artifact(self, channel: int, news: ArtifactNews) -> None:
        """Called when a program has made a file that can be displayed."""
        if channel in self.channels:  # the agent may know channels that were forgotten here
            self.artifacts.add(channel, news)

    def expiry(self) -> m.Expiry:
        """The times until the session's end, as the protocol has them."""
        return self._time.expiry()

    # --- the end -----------------------------------------------------------------------------------------

    async def _watch_container(self) -> None:
        """Ends the session if its container is gone; reports a fault of the container's tasks."""
        gone = self.container.gone
        # Not awaited directly: cancelling this task must not cancel the container's futures.
        either: list[asyncio.Future[Any]] = [gone, self.container.fault]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self.over:
            return
        if gone.done():
            log.warning("session lost its container", extra=fields(**whose(self.record), why=gone.result()))
            self.end("engine_lost")
        else:
            self._failed()

    def _failed(self) -> None:
        if not self.over:
            self._on_fault(self)

    def drop(self) -> None:
        """Discards this object after a bug of this server; the container and its programs continue.

        Clients are closed with 1011 and reconnect, to the session that is adopted from the same container
        (`fleet.recovery`), whose state does not depend on anything here.
        """
        self.over = True
        for attachment in self._attachments:
            # The error first: after the close nothing can be sent.
            attachment.post(m.ErrorMessage.of(InternalError()))
            attachment.end(1011)
        self._stop_working()
        self._empty()

    def evict(self, why: str, *, operator: bool = False) -> asyncio.Task[None]:
        """Ends the session because it harms others, or because the operator says so; `why` is sent to its
        clients. Returns as `end`."""
        text = f"ended by the operator: {why}" if operator else f"the server ends this session: {why}"
        self._attachments.broadcast(m.Notice("evicted", text))
        return self.end("evicted")

    def end(self, reason: str) -> asyncio.Task[None]:
        """Ends the session. Returns a task that is done when slot and container have been returned.

        Later calls return the same task, and their reason is ignored.
        """
        if self._ended is None:
            self.over = True
            # In `_endings`: the task cancels all others of the session, and must not be among them.
            self._ended = self._endings.start(self._end(reason), "session-end")
        return self._ended

    async def _end(self, reason: str) -> None:
        # Delete the record in the agent first: if this server is killed now, the next one must not adopt a
        # session that was ending.
        self.container.link.cast(calls.Seal(record=None))
        try:
            if reason != "engine_lost":  # without a container there are no programs to end
                await self.channels.end_programs("evicted" if reason == "evicted" else "session_closed")
            # In this order: clients are sent an `exit` for each program, and then `closed`.
            self.channels.lose()
            for attachment in self._attachments:
                attachment.end(1000, last=m.Closed(reason))
        except Exception:
            # Whatever fails, `on_end` has to return the slot and the container.
            log.exception("ending a session", extra=fields(session=self.id))
        finally:
            self._stop_working()
            self._empty()
            await self._on_end(self, reason)

    def _empty(self) -> None:
        """Frees output, artifacts and views once no client reads them.

        References to an ended session may last for a while (tasks, tracebacks); they must not hold megabytes.
        """
        if self.over and not self._attachments:
            self.channels.empty()
            self.artifacts.empty()
            self.views.empty()

    def suspend(self) -> None:
        """Closes the clients with 1012 because the server stops. Container and programs continue, to be
        adopted by the next server."""
        self.over = True
        for attachment in self._attachments:
            attachment.end(1012)
        self._stop_working()

    def _stop_working(self) -> None:
        # Cancelled but not awaited, as one of them may be the caller.
        self._tasks.cancel()
        self.files.end()
        self.channels.close()
