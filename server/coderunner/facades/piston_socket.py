"""Piston's WebSocket, `/connect`: a program with live input and output."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from coderunner import timing
from coderunner.core import codec
from coderunner.core.codec import STDERR
from coderunner.errors import CodeRunnerError, InternalError, RateLimited
from coderunner.facades import piston, running
from coderunner.facades.piston import Order
from coderunner.fleet.registry import Caller
from coderunner.jobs.job import Job
from coderunner.schema import messages as m
from coderunner.schema.api import MAX_BODY
from coderunner.schema.parts import SIGNALS
from coderunner.tasks import Tasks
from coderunner.web import guard
from coderunner.web.api import events
from coderunner.web.api.cors import across_origins
from coderunner.web.keys import PARTS, TCP_CONNECTIONS
from coderunner.web.sockets import Socket, serve_socket
from coderunner.web.tcp import TcpConnection, tcp_of

INIT_SECONDS = 1.0  # for the first message
WRITE_SECONDS = 60.0  # for the client to take a message
KEEPALIVE_SECONDS = 20.0
# Errors of a connection's tasks that are not faults of this server.
OF_PEERS = (CodeRunnerError, ConnectionError, TimeoutError)
NAMES = {f"SIG{name}": name for name in SIGNALS}


@across_origins
async def connect(request: web.Request) -> web.StreamResponse:
    """Serves a WebSocket: `init`, then `data` and `signal`."""
    try:
        caller = await running.caller_of(request, "Authorization")
    except CodeRunnerError as error:
        return web.json_response({"message": error.message}, status=401)
    socket = Socket(max_msg_size=MAX_BODY, heartbeat=KEEPALIVE_SECONDS, compress=False)

    async def serve(tcp: TcpConnection, refusal: RateLimited | None) -> None:
        talk = Talk(request, socket, caller)
        tcp.upgrade(MAX_BODY, MAX_BODY, talk.fail)  # Piston takes JSON in binary messages, too
        try:
            if refusal is not None:
                raise refusal
            await talk.serve()
        except CodeRunnerError as error:
            await talk.tell_error(error.message)
        except (ConnectionError, TimeoutError):
            tcp.cut("the client of a facade takes nothing")
        finally:
            talk.end()

    return await serve_socket(request, socket, serve)


class Talk:
    """One connection. `request`: its upgrade request."""

    def __init__(self, request: web.Request, socket: Socket, caller: Caller) -> None:
        self._request = request
        self._parts = request.app[PARTS]
        self._socket = socket
        self._caller = caller
        self._job: Job | None = None
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self) -> None:
        """Waits for `init`, runs the program and closes. Raises CodeRunnerError, ConnectionError."""
        try:
            first = await self.first()
        except TimeoutError:
            if self._failed.done():  # nothing is read after a failure
                self._failed.result()
            await self._socket.close(code=4001, message=b"Initialization Timeout")
            return
        if first is None:
            return
        # In a thread, as decoding base64 of some megabytes would block the event loop.
        order = await asyncio.to_thread(piston.order_of, first, self._parts, live=True)
        job = self._job = running.begin(self._request, order.run, self._caller, order.plan)
        # `Tasks` logs an unexpected failure of either; the client gets an internal error.
        async with Tasks(
            "piston connection", lambda _: self.fail(InternalError()), expected=OF_PEERS
        ) as tasks:
            reader = tasks.start(self._read(job), "piston-read")
            writer = tasks.start(self._write(job, order), "piston-write")
            await asyncio.wait({reader, writer, self._failed}, return_when=asyncio.FIRST_COMPLETED)
        if self._failed.done():
            self._failed.result()
        for task in (reader, writer):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def fail(self, error: CodeRunnerError) -> None:
        """Ends the connection because of what its peer sent."""
        if not self._failed.done():
            self._failed.set_exception(error)

    def end(self) -> None:
        """Ends the program, if it has not ended."""
        if self._job is not None:
            self._parts.runs.gone(self._job)
        if self._failed.done() and not self._failed.cancelled():
            self._failed.exception()  # so that asyncio does not log it; it was sent, or the peer is gone

    async def tell_error(self, message: str) -> None:
        """Sends an error to the client, and closes."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self._send({"type": "error", "message": message})
            await self._socket.close(code=4002, message=b"Notified Error")

    # --- reading -----------------------------------------------------------------------------------------

    async def first(self) -> dict[str, Any] | None:
        """The message `init`; None if the connection has ended. Raises TimeoutError if the client has not
        sent it in INIT_SECONDS."""
        due = timing.now() + INIT_SECONDS
        while (message := await self._receive(due)) is not None:
            if message.get("type") == "init":
                return message
            if message.get("type") in ("data", "signal"):
                await self._socket.close(code=4003, message=b"Not yet initialized")
                return None
            if timing.now() > due:  # the deadline of `_receive` does not fire while messages keep arriving
                raise TimeoutError
        return None

    async def _receive(self, due: float | None = None) -> dict[str, Any] | None:
        # Only this wait counts: the one for the rate of a shared address, below, is not the client's fault.
        async with timing.within(None if due is None else max(0.0, due - timing.now())):
            frame = await self._socket.receive()
        if frame.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            return None
        text = frame.data
        tcp = tcp_of(self._request)
        if tcp is not None:
            tcp.taken()
        await self._request.app[TCP_CONNECTIONS].pace(self._caller.address, 1 + len(text) / 4096)
        try:
            for _ in codec.check_values(text.encode() if isinstance(text, str) else text, codec.MAX_VALUES):
                await asyncio.sleep(0)
            message = msgspec.json.decode(text)
        except (ValueError, RecursionError):
            raise piston.Refused("a message must be JSON") from None
        return message if isinstance(message, dict) else {}

    async def _read(self, job: Job) -> None:
        while (message := await self._receive()) is not None:
            match message.get("type"):
                case "init":
                    await self._socket.close(code=4000, message=b"Already Initialized")
                    return
                case "data":
                    if message.get("stream") != "stdin":
                        await self._socket.close(code=4004, message=b"Can only write to stdin")
                        return
                    job.type(str(message.get("data", "")).encode("utf-8", "replace"))
                case "signal":
                    if message.get("signal") not in NAMES:
                        await self._socket.close(code=4005, message=b"Invalid signal")
                        return
                    job.signal(NAMES[message["signal"]])

    # --- writing -----------------------------------------------------------------------------------------

    async def _send(self, message: dict[str, Any]) -> None:
        async with timing.within(WRITE_SECONDS):
            await self._socket.send_str(msgspec.json.encode(message).decode())

    async def _write(self, job: Job, order: Order) -> None:
        runtime = order.runtime
        await self._send({"type": "runtime", "language": runtime.language, "version": runtime.version})
        stage = "compile" if job.about.compiles else "run"
        await self._send({"type": "stage", "stage": stage})
        decoders: list[codecs.IncrementalDecoder] = [
            codecs.getincrementaldecoder("utf-8")("replace") for _ in range(2)
        ]
        at = 0
        while True:
            over = job.over
            for record in job.spool.records(at):
                at = record.end
                if isinstance(record.frame, bytes):
                    await self._send_output(record.frame, decoders)
                    continue
                message = codec.decode_server_text(record.frame)
                if isinstance(message, m.State) and message.phase == "running" and stage == "compile":
                    await self._send({"type": "exit", "stage": stage, "code": 0, "signal": None})
                    stage = "run"
                    await self._send({"type": "stage", "stage": stage})
            if over:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(events.LOOK_SECONDS):
                    await job.news()
            guard.check_still(self._parts, self._request)
        result = await running.result_of(job)
        if result.reason in running.LOST:
            raise InternalError("the sandbox was lost; connect again")
        ended = result.run or result.compile
        assert ended is not None
        code, number, _, _ = piston.end_of(result, ended, late=False, counted=False)
        name = None if number is None else piston.signal_name(number)
        await self._send({"type": "exit", "stage": stage, "code": code, "signal": name})
        await self._socket.close(code=4999, message=b"Job Completed")

    async def _send_output(self, data: bytes, decoders: list[codecs.IncrementalDecoder]) -> None:
        frame = codec.decode_output(data)
        stream = "stderr" if frame.stream == STDERR else "stdout"
        text = decoders[stream == "stderr"].decode(frame.payload)
        if text:
            await self._send({"type": "data", "stream": stream, "data": text})
