"""Carries out openings: slot, place in the group, container, sealed record, session."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from msgspec.structs import replace

from coderunner import audit, timing, tracing
from coderunner.core.admission import Ticket
from coderunner.errors import CodeRunnerError, StartFailed
from coderunner.fleet.groups import Groups, Place
from coderunner.fleet.opening import Caller, Opened, Opening, report
from coderunner.fleet.provision import Provisioner
from coderunner.fleet.queue import AdmissionQueue, Slot
from coderunner.fleet.warm import WarmPool
from coderunner.schema import calls
from coderunner.schema import messages as m
from coderunner.schema.languages import Language
from coderunner.schema.limits import Limits
from coderunner.schema.record import Record
from coderunner.sessions.container import Container
from coderunner.sessions.record import digest, new_token, seal
from coderunner.sessions.session import Session


class Opener:
    """Opens sessions for the registry.

    ``key``: the instance's secret, which seals records.  ``queue_timeout``: seconds that an `open` waits for
    a slot.  ``groups()``: None where none are offered.  ``tickets``: numbers that are the tickets' ids.
    ``register(container, language, record)``: makes the session.  ``own(session_id, slot)``: the registry
    takes the slot over.
    """

    def __init__(
        self,
        provisioner: Provisioner,
        warm: WarmPool,
        queue: AdmissionQueue,
        groups: Callable[[], Groups | None],
        *,
        key: bytes,
        queue_timeout: float,
        tickets: Iterator[int],
        register: Callable[[Container, Language, Record], Session],
        own: Callable[[str, Slot], None],
    ) -> None:
        self._provisioner = provisioner
        self._warm = warm
        self._queue = queue
        self._groups = groups
        self._key = key
        self._queue_timeout = queue_timeout
        self._tickets = tickets
        self._register = register
        self._own = own

    async def open(self, *how: Any) -> Opened:
        """Carries out an opening: `opening`, `request`, `caller`, `language`, `limits`, and the number of
        sessions that the caller may have (None: any). Raises CodeRunnerError."""
        # The span has those of the steps and of the engine's calls below it.
        with tracing.span("open", language=how[3].name) as traced:
            try:
                opened = await self._open(*how)
            except CodeRunnerError as error:
                traced.note(error=error.code)
                raise
            traced.note(session=opened.session.id, warm=opened.warm)
            return opened

    async def _open(
        self,
        opening: Opening,
        request: m.Open,
        caller: Caller,
        language: Language,
        limits: Limits,
        cap: int | None,
    ) -> Opened:
        loop = asyncio.get_running_loop()
        began = loop.time()
        ticket = Ticket(
            id=f"{next(self._tickets)}",
            address=caller.address,
            principal=caller.principal,
            language=language.name,
            # A deadline and not a duration: the time in the queue is counted once for all.
            deadline=timing.now() + self._queue_timeout,
            priority=caller.priority,
            # Of the whole container: the queue also admits by memory.
            memory=self._provisioner.memory(language.name, limits),
            cap=cap,
        )
        # In this order: slot, place in the group, container. Each step gives back all before it if it fails.
        with tracing.span("queue"):
            slot = await self._queue.acquire(ticket, opening.on_position)
        admitted = loop.time()
        try:
            # Released by its context if anything below fails; after that it is the session's.
            async with self._place(request, language) as place:
                with tracing.span("provision", language=language.name) as traced:
                    container, warm = await self._container(language, limits)
                    traced.note(warm=warm)
                ready = loop.time()
                try:
                    groups = self._groups()
                    if groups is not None and place is not None:
                        await groups.join(place, container)
                    joined = loop.time()
                    opened = await self._begin(container, request, caller, language, limits, place)
                except BaseException:
                    # Also when the client gave up: a container that was prepared for somebody is never
                    # reused.
                    await asyncio.shield(self._provisioner.remove(container))
                    raise
        except BaseException as error:
            # A client that gives up is no failure of the server.
            slot.release(failed=not isinstance(error, asyncio.CancelledError))
            raise
        # The slot is the session's from here on, and the registry gives it back.
        self._own(opened.session.id, slot)
        moments = (began, admitted, ready, joined, loop.time())
        report(opened, caller, moments, warm=warm, group=place is not None)
        return opened

    def _place(self, request: m.Open, language: Language) -> AbstractAsyncContextManager[Place | None]:
        groups = self._groups()
        if groups is None or request.network != "group":
            return contextlib.nullcontext()
        return groups.place(request.group, request.group_token, request.member, language.name)

    async def reopen(self, session: Session) -> Opened:
        """Answers a repeated `open` of an adopted session, with a new token: the client may not have the
        first."""
        token = new_token()
        record = replace(session.record, token_digest=digest(token))
        container = session.container
        # Sealed first: a server that starts now must know the token that the client is about to get.
        await container.call(calls.Seal(record=seal(record, self._key, container.id)))
        session.record = record
        return Opened(session, token, warm=False, timings_ms={})

    async def _container(self, language: Language, limits: Limits) -> tuple[Container, bool]:
        """A container with these limits, and whether it comes from the warm pool."""
        # Warm containers have the language's usual limits; a request for others changes them in place.
        usual = self._provisioner.catalog.limits(language.name)
        # Most sessions take the usual limits, and need no call of the engine.
        others = (limits.container_bytes, limits.pids) != (usual.container_bytes, usual.pids)
        if others and not self._provisioner.can_change(language.name):
            return await self._provisioner.create(language.name, limits=limits), False
        # Also counts the demand by which the pool is refilled, so it is asked even if it has none.
        container = self._warm.acquire(language.name)
        warm = container is not None
        if container is None:
            container = await self._provisioner.create(language.name)
        if others:
            try:
                await self._provisioner.engine.update(
                    container.id, memory_bytes=limits.container_bytes, pids=limits.pids
                )
            except BaseException:
                # Its limits are unknown now, so nobody else may get it.
                await asyncio.shield(self._provisioner.remove(container))
                raise
        return container, warm

    async def _begin(
        self,
        container: Container,
        request: m.Open,
        caller: Caller,
        language: Language,
        limits: Limits,
        place: Place | None,
    ) -> Opened:
        """Seals the record, writes the request's files, and makes the session."""
        token = new_token()
        now = time.time()
        record = Record(
            session=container.session,
            language=language.name,
            limits=limits,
            token_digest=digest(token),
            client=request.client,
            # Kept in the record, so that the next server answers a repeated `open` as well.
            nonce=request.nonce,
            principal=caller.principal,
            address=caller.address,
            opened=now,
            expires=now + limits.lifetime_ms / 1000,
            group=place.group if place is not None else None,
            member=place.member if place is not None else None,
            room=caller.who.room(request.room),
            name=caller.who.name,
        )

        # Sealed before the files are written: from here on a server that starts adopts the session.
        await container.call(calls.Seal(record=seal(record, self._key, container.id)))
        if request.files:
            await container.call(
                calls.Files(files=tuple((file.path, len(file.content)) for file in request.files)),
                b"".join(file.content for file in request.files),
            )
        if container.gone.done():
            # Checked last: from here on nothing waits, and the session itself watches its container.
            raise StartFailed(f"the container ended: {container.gone.result()}")
        session = self._register(container, language, record)
        session.notes.program = audit.program((file.path, file.content) for file in request.files)
        return Opened(session, token, warm=False, timings_ms={})
