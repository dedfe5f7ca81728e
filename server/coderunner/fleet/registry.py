"""All live sessions of this server, and how a request becomes a session.

An opening is the work between request and session: waiting for a slot, getting a container, sealing the
record. It belongs to the registry and not to a socket, so a client that loses its socket meanwhile finds it
again by the nonce of its request.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time

from coderunner import audit, metrics, timing
from coderunner.core.admission import Ticket
from coderunner.core.capability import Capability, read
from coderunner.errors import (
    CodeRunnerError,
    Draining,
    EngineUnavailable,
    NoSession,
    NotAllowed,
    StartFailed,
)
from coderunner.fleet.budget import BUDGET, Budget
from coderunner.fleet.groups import Groups, Place
from coderunner.fleet.nonces import NONCE_SECONDS, Nonce, Nonces
from coderunner.fleet.opener import Opener
from coderunner.fleet.opening import Caller as Caller
from coderunner.fleet.opening import Opened as Opened
from coderunner.fleet.opening import Opening as Opening
from coderunner.fleet.provision import Provisioner
from coderunner.fleet.queue import AdmissionQueue, Slot
from coderunner.fleet.recovery import Recovery
from coderunner.fleet.requests import RequestChecker
from coderunner.fleet.warm import WarmPool
from coderunner.fleet.watches import Watches
from coderunner.identity.principal import Principal
from coderunner.logs import fields
from coderunner.schema import calls
from coderunner.schema import messages as m
from coderunner.schema.calls import ProgramSpec
from coderunner.schema.languages import Language
from coderunner.schema.quotas import QuotasFile
from coderunner.schema.record import Record
from coderunner.sessions.container import Container
from coderunner.sessions.quotas import Quotas
from coderunner.sessions.record import digest, whose
from coderunner.sessions.session import Rules, Session
from coderunner.sessions.specs import check_project, run_spec
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

ARRIVING_RETRY_MS = 500  # for a session whose container is being adopted
RESTART_RETRY_MS = 500  # a new server listens after about this time
DRAINING_RETRY_MS = 2000  # for an `open` while the server stops


class Registry:
    """``sessions``: all sessions, by id, from their opening until their container is removed.

    ``draining``: no new sessions are opened.  ``absent``: the error for all requests while the sessions of
    the server before are not adopted yet, else None.  ``rules``: limits and times of all sessions. ``key``:
    the instance's secret, which seals records. ``queue_timeout``: seconds that an `open` waits for a slot.
    ``groups``: None where none are offered. ``budget``: bytes that all sessions together may make the server
    hold. ``watches``: the operator's tickets to watch a session. ``quotas``: what callers may use; None:
    everything.
    """

    def __init__(
        self,
        provisioner: Provisioner,
        warm: WarmPool,
        queue: AdmissionQueue,
        rules: Rules,
        *,
        key: bytes,
        queue_timeout: float,
        groups: Groups | None = None,
        budget: int = BUDGET,
        quotas: Quotas | None = None,
    ) -> None:
        self.sessions: dict[str, Session] = {}
        self.budget = Budget(budget, lambda: self.sessions)
        self.queue = queue
        self.watches = Watches()
        self.quotas = quotas or Quotas(QuotasFile())
        self.groups = groups
        self._provisioner = provisioner
        self._rules = rules
        self._key = key
        self._nonces = Nonces()
        self._slots: dict[str, Slot] = {}
        self._tasks = Tasks("registry", expected=(CodeRunnerError,))
        # The two callbacks are the only ways back from there to here.
        self._recovery = Recovery(provisioner.engine, key, register=self._recovered, ended=self._ended)
        self._requests = RequestChecker(provisioner, rules)
        self._tickets = itertools.count()  # numbers that are the tickets' ids
        self._opener = Opener(
            provisioner, warm, queue, lambda: self.groups, key=key, queue_timeout=queue_timeout,
            tickets=self._tickets, register=self._register, own=self._slots.__setitem__,
        )  # fmt: skip
        self.draining = False
        self.absent: CodeRunnerError | None = None

    # --- finding ---------------------------------------------------------------------------------------

    def find(self, session_id: str, token: str) -> tuple[Session, str]:
        """The session, and the greatest role that `token` grants.

        Raises NoSession, always with the same words, for an unknown id and for a wrong token.
        """
        # In this order: 'not arrived yet' must never be answered as 'no such session'.
        self.check_arrived(session_id)
        self._recovery.check(session_id)
        session = self.sessions.get(session_id)
        if session is None or session.over:
            # As much work as for a known id: the time of the answer must not show whether the id exists.
            digest(token)
            self.watches.allows(session_id, token)
            raise NoSession()
        watches = self.watches.allows(session_id, token)
        role = session.allows(token) or ("watch" if watches else None)
        if role is None:
            raise NoSession()
        return session, role

    def owned(self, session_id: str, token: str) -> Session:
        """The session of this token. Raises as `find`, and NotAllowed for a ticket of the operator: that is
        for a WebSocket, of which the session's users are told."""
        session, role = self.find(session_id, token)
        if role != "control":
            raise NotAllowed("this token is for watching over a WebSocket")
        return session

    def live(self, session_id: str) -> Session:
        """The session, for who needs no token of it or was found good. Raises NoSession, and as `find`."""
        self.check_arrived(session_id)
        self._recovery.check(session_id)
        session = self.sessions.get(session_id)
        if session is None or session.over:
            raise NoSession()
        return session

    def seen(self, session_id: str, who: Principal) -> Session:
        """The session, for a principal who may see it without its token. Raises NoSession, with the same
        words for an unknown session and one that is not for this principal; and as `find`."""
        session = self.live(session_id)
        if not who.sees(session.record.principal, session.record.room):
            raise NoSession()
        return session

    def check_arrived(self, session_id: str | None) -> None:
        """Raises a retryable error while this session, or with None any, may still be adopted."""
        if self.absent is not None:
            raise self.absent
        arriving = self._provisioner.arriving.values()
        if session_id in arriving or (session_id is None and arriving):
            raise EngineUnavailable(
                "the session's container has not answered yet", retry_after_ms=ARRIVING_RETRY_MS
            )

    def look(self, session_id: str, text: str, path: str) -> tuple[Session, Capability]:
        """The session and capability of an address `/view/{session_id}/{text}/{path}`.

        Raises NoSession, always with the same words, where the address opens nothing.
        """
        self.check_arrived(session_id)
        session = self.sessions.get(session_id)
        # Everything is computed before the decision: the answer's time must not tell what was wrong.
        capability = read(self._key, session_id, text, path)
        if capability is None or session is None or session.over or not session.views.good(text, capability):
            raise NoSession()
        return session, capability

    def group_token(self, group: str | None) -> str | None:
        """The token with which other sessions join the group; None without a group."""
        return self.groups.token(group) if self.groups is not None and group is not None else None

    # --- opening ---------------------------------------------------------------------------------------

    def open(self, request: m.Open, caller: Caller) -> Opening:
        """Begins to open a session, or finds the opening of the same nonce.

        Raises at once what is wrong with the request: UnknownLanguage, LanguageNotReady, BadLimit, BadPath,
        BadMessage, Unsupported, NoGroup, NotAllowed; Draining while the server stops; NoSession for a nonce
        whose session is over. What fails later is raised by the opening.
        """
        if self.draining:
            raise Draining(retry_after_ms=DRAINING_RETRY_MS)
        if self.absent is not None:
            raise self.absent
        # With the caller in it: nobody finds another's session by a nonce that was overheard.
        nonce: Nonce | None = (
            (caller.principal, request.client, request.nonce) if request.nonce is not None else None
        )
        # An `open` without a nonce is never taken for a repetition.
        known = self._nonces.opening(nonce)
        if known is not None:
            # The session of a finished opening may be in recovery: then its client has to try again.
            self._recovery.check(known.session)
            return known
        opening = Opening()
        if self._nonces.is_over(nonce):  # a repeated `open` must not begin a second session
            raise NoSession()
        adopted = self._nonces.adopted(nonce)
        if adopted is not None:
            work = self._opener.reopen(adopted)
        else:
            # Everything that can be refused at once is refused here, before a slot is taken.
            language, limits = self._requests.check(request, self.groups)
            caller.who.room(request.room)  # for its error only
            account = self.quotas.account(caller.principal, caller.address, caller.roles)
            account.check_open(request)
            limits = account.bounded(limits)
            work = self._opener.open(opening, request, caller, language, limits, account.quota.sessions)
        # A task of the registry: the client's socket may end and come back while it runs.
        opening.done = self._tasks.start(work, "opening")
        if nonce is not None:
            self._nonces.add(nonce, opening)
        # Also for a failure, which nobody may await: the callback reads the exception.
        opening.done.add_done_callback(lambda _: self._opening_done(opening))
        return opening

    def returned(self, request: m.Open, caller: Caller) -> bool:
        """Whether the previous server had opened a session for this very request.  Raises a retryable error
        while that is not known yet."""
        # Of a container that has not answered, only its record tells for which request it was opened.
        self.check_arrived(None)
        return self._nonces.was_adopted((caller.principal, request.client, request.nonce))

    def used(self, caller: Caller, nonce: str, client: str) -> bool:
        """Whether this caller has used a nonce with another client's id, as far as is known."""
        return self._nonces.used(caller.principal, nonce, client)

    def check(self, request: m.Open, run: m.Run) -> ProgramSpec:
        """The program that `run` would start in a session of `request`.  Raises what is wrong with either."""
        language, limits = self._requests.check(request, self.groups)
        check_project(run.files, self._rules.project)
        return run_spec(run, language, limits, self._rules.limits)

    def _opening_done(self, opening: Opening) -> None:
        """Counts a failed opening, and forgets it, so that the same request may try again."""
        task = opening.done
        error = None if task.cancelled() else task.exception()
        failed = task.cancelled() or error is not None
        if failed:
            code = "cancelled" if error is None else getattr(error, "code", "internal")
            # A cancelled opening has no error code of its own.
            metrics.opens_failed.labels(code).inc()
        self._nonces.opening_done(opening, failed=failed)

    def _register(self, container: Container, language: Language, record: Record) -> Session:
        session = Session(
            container,
            language,
            record,
            self._rules,
            wanted=lambda: self.queue.wanted,
            on_end=self._ended,
            on_fault=self._recovery.failed,
            key=self._key,
            account=self.quotas.account(record.principal, record.address),
        )
        self.sessions[session.id] = session
        # Before any client is attached: all that it makes the server hold is counted.
        self.budget.include(session)
        return session

    # Called by `Recovery` for a session that is adopted again after a fault of this server.
    def _recovered(self, container: Container, language: Language, record: Record) -> Session:
        session = self._register(container, language, record)
        self._nonces.replace(session)
        return session

    def adopt(self, container: Container, record: Record) -> Session:
        """Registers a session of the previous server, by its sealed record.

        It gets a slot at once, also above their number: it was admitted before.  Raises UnknownLanguage, and
        StartFailed where its client has repeated its `open` while the container was silent.
        """
        # Without a nonce nobody can repeat the request.
        nonce: Nonce | None = (
            (record.principal, record.client, record.nonce) if record.nonce is not None else None
        )
        if self._nonces.has_opening(nonce):
            # A client that repeats an `open` has not received this session's token: nobody else has it.
            raise StartFailed("its request was repeated meanwhile, and has another session")
        language = self._provisioner.catalog.language(record.language)
        now = timing.now()
        ticket = Ticket(
            id=f"{next(self._tickets)}",
            address=record.address,
            principal=record.principal,
            language=record.language,
            # Not in use: an adopted ticket does not wait.
            deadline=now,
            memory=self._provisioner.memory(record.language, record.limits),
        )
        slot = self.queue.adopt(ticket)
        try:
            session = self._register(container, language, record)
        except BaseException:
            # The container stays; `adopt_all` decides about it.
            slot.release(failed=True)
            raise
        self._slots[session.id] = slot
        place = Place.of(record)
        if self.groups is not None and place is not None:
            self.groups.adopt(place, container.id)
        # Its client may not have got the answer of the previous server, and repeat the request.
        if nonce is not None and time.time() - record.opened < NONCE_SECONDS:
            self._nonces.remember(nonce, session)
        age = round(time.time() - record.opened)
        log.info("session adopted", extra=fields(**whose(record), seconds=age))
        return session

    # --- ending ----------------------------------------------------------------------------------------

    async def _ended(self, session: Session, reason: str) -> None:
        """Gives back what an ended session had: container, place in its group, references, slot."""
        if (ends := self._slots.get(session.id)) is not None:
            ends.ending()
        lived = round(time.time() - session.record.opened, 1)
        metrics.sessions_ended.labels(reason).inc()
        log.info("session ended", extra=fields(**whose(session.record), reason=reason, seconds=lived))
        session.charges.charge()
        used = session.channels.used
        audit.note(
            "ended", **whose(session.record), reason=reason, seconds=lived, programs=used.programs,
            cpu_ms=used.cpu_ms, output_bytes=used.output_bytes,
        )  # fmt: skip
        # Without the record no server adopts it, should this one end before the container is removed.
        session.container.link.cast(calls.Seal(record=None))
        place = Place.of(session.record)
        if self.groups is not None and place is not None:
            self.groups.end_member(place)  # at once, so that nobody joins a group that is over
        try:
            try:
                await self._provisioner.remove(session.container)
            finally:
                # Also after a fault: a group that keeps a place nobody has would never end.
                if self.groups is not None and place is not None:
                    await self.groups.release(place)
        finally:
            # Only now, as `end_all` waits for the sessions that are in the table.
            self.sessions.pop(session.id, None)
            self._recovery.forget(session.id)
            self.watches.end(session.id)
            self._nonces.end(session)
            slot = self._slots.pop(session.id, None)
            if slot is not None:
                slot.release(failed=reason == "engine_lost")

    def drain(self) -> None:
        """Opens no new sessions; requests that wait in the queue get Draining."""
        self.draining = True
        # First, so that nobody gets a slot that becomes free below.
        self.queue.drain()

    def resume(self) -> None:
        """Opens new sessions again, after `drain`."""
        self.draining = False
        self.queue.resume()

    async def suspend(self) -> None:
        """Closes all clients' sockets because the server stops.  The containers stay for the next server."""
        self.drain()
        # Before the sockets are closed, as clients come back at once.
        # A client that reconnects before the next server listens must try again, and not get NoSession.
        self.absent = Draining(retry_after_ms=RESTART_RETRY_MS)
        # Openings first: one that ends now would add a session after the list below was made.
        await self._tasks.stop()
        await self._recovery.stop()
        sessions = [session for session in self.sessions.values() if not session.over]
        for session in sessions:
            session.suspend()
        # The exceptions of one link must not keep the others open.
        await asyncio.gather(*(session.container.close() for session in sessions), return_exceptions=True)

    async def end_all(self, reason: str) -> None:
        """Ends every session and waits until their containers are gone."""
        self.drain()
        await self._tasks.stop()
        left = await self._recovery.stop()
        # Those in recovery have no working session object, so they are ended without it.
        ends = [one.end(reason) for one in list(self.sessions.values()) if one not in left]
        await asyncio.gather(*ends, *(self._ended(one, reason) for one in left))
