"""Functions that the facades share: identify the caller, begin a run, wait for it, read its result."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from coderunner.errors import BadMessage, CodeRunnerError, Draining, InternalError, NoRun, Unauthenticated
from coderunner.fleet.registry import Caller
from coderunner.identity.chain import Shown
from coderunner.jobs.about import Plan
from coderunner.jobs.job import Job
from coderunner.schema.api import Printed, RunAnswer, RunRequest
from coderunner.schema.check import S
from coderunner.schema.languages import Language
from coderunner.schema.parts import File
from coderunner.schema.toml import read_toml
from coderunner.web import guard
from coderunner.web.api import events
from coderunner.web.api.sending import SENDING
from coderunner.web.keys import PARTS, Parts
from coderunner.web.replies import CORS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PIECE = 64 * 1024
COMPILE_OUTPUT = 64 * 1024  # bytes that the compiler may print beside what the program may
# The agent, its helpers and the shell. The limits of other systems count the program's processes only.
OWN_PIDS = 8  # processes of a container beside those of its program
LOST = ("engine_lost", "evicted", "session_closed")


def data(kind: type[S], name: str) -> S:
    """Reads a facade's data file, which is beside this module. Raises ConfigError."""
    return read_toml(kind, (Path(__file__).parent / name).read_text(encoding="utf-8"), name)


async def caller_of(request: web.Request, header: str) -> Caller:
    """Identifies the caller. `header`: where that system's clients send their key or token.

    If no credential is required, an unknown one counts as none: it may be one for the server that the client
    used before. Raises Unauthenticated, and NotAllowed for a credential without the scope `run`.
    """
    parts = request.app[PARTS]
    address, about = guard.address_of(parts.settings, request), guard.request_id(parts.settings, request)
    given = request.headers.get(header, "").encode("utf-8", "surrogateescape").strip()
    # "Bearer " is optional: these systems' clients send a bare key.
    given = given[7:].strip() if given[:7].lower() == b"bearer " else given
    try:
        shown = Shown(given) if given else guard.shown(parts.settings, request)
        who = await parts.identity.principal(shown)
    except Unauthenticated:
        # `require` refuses it below if a credential is required.
        who = parts.identity.nobody
    who.require("run")
    guard.identified_as(request, who)
    return Caller(address, who.subject, about=about, who=who)


def offered(parts: Parts, name: str) -> bool:
    """Whether a language is offered here, so that a facade lists it."""
    return name in parts.catalog.languages and parts.catalog.state(name).status != "failed"


def main_file(language: Language, name: str, content: bytes) -> str:
    """The path of the file that a program begins with: `name`, or the language's default if its tools would
    not accept that. `name`: "" if the client did not name the file."""
    # Compilers choose by the ending: a file `main` would be taken for an object file.
    if language.extensions and not name.endswith(language.extensions):
        return language.entry
    return name


def wanted(fields: Mapping[str, Any]) -> RunRequest:
    """Makes a run request. `fields`: those of `RunRequest`; `files` are `File`s. Raises BadMessage."""
    try:
        return msgspec.convert(dict(fields), RunRequest)
    except ValueError as error:
        raise BadMessage(str(error).strip()) from None


def file(path: str, content: bytes) -> File:
    """A file of a program. An absolute path is taken as relative to the workspace."""
    return File(path.lstrip("/"), content)


def within(parts: Parts, name: str, value: float) -> int:
    """Returns `value` limited to what a client of this server may request. `name`: of the limit."""
    rules = parts.declared.rules
    return round(min(max(value, rules.floors.get(name, 1)), rules.ceilings.get(name, value)))


def begin(request: web.Request, run: RunRequest, caller: Caller, plan: Plan, key: str | None = None) -> Job:
    """Begins a run. Raises as `Runs.begin`."""
    work = request.app[PARTS].runs.begin(run, caller, key, plan)
    assert isinstance(work, Job)
    return work


async def finished(request: web.Request, job: Job) -> Result:
    """Waits until the run ends or its caller disconnects. Raises CodeRunnerError without a result."""
    while not job.over and not events.gone(request):
        with contextlib.suppress(TimeoutError):
            # aiohttp does not tell a handler about a closed connection, so it is checked periodically.
            async with asyncio.timeout(events.LOOK_SECONDS):
                await job.news()
    return await result_of(job)


async def note(job: Job) -> bytes:
    """The data that a facade stored with a run. Raises NoRun if it was removed meanwhile."""
    try:
        return await asyncio.to_thread(job.note)
    except OSError:
        raise NoRun from None


async def result_of(job: Job) -> Result:
    """The result of a run. Raises CodeRunnerError if there is none."""
    if job.error is not None:
        raise job.error
    if job.suspended:
        raise Draining(retry_after_ms=1000)
    if not job.done:
        raise InternalError("the caller is gone")
    answer = await asyncio.to_thread(_read, job)
    return _result(answer)


def _read(job: Job) -> RunAnswer:
    with job.answer() as stored:
        return msgspec.json.decode(stored.read(), type=RunAnswer)


@dataclass(frozen=True, slots=True)
class Stage:
    """The result of the compiler or the program. `output`: both streams in their order. Times in ms, memory
    in bytes; 0 if unknown."""

    stdout: bytes
    stderr: bytes
    output: bytes
    wall_ms: int = 0
    cpu_ms: int = 0
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run. `compile`: None without a compiler; `run`: None if the compiler made no program.
    `reason`, `code`, `signal`: of the stage that was last; `signal`: its number."""

    reason: str
    code: int | None
    signal: int | None
    memory_hit: bool
    compile: Stage | None
    run: Stage | None


def _result(answer: RunAnswer) -> Result:
    ended, compiled = answer.exit, answer.compile
    whole = ended.usage
    number = signal_number(ended.signal)
    facts = (ended.reason, ended.code, number, ended.reason == "oom" or "memory" in ended.limits_hit)
    if compiled is None:
        return Result(*facts, None, _stage(answer, whole.wall_ms, whole.cpu_ms, whole.memory_peak_bytes))
    used = compiled.usage or None
    first = _stage(compiled, used and used.wall_ms, used and used.cpu_ms, used and used.memory_peak_bytes)
    if compiled.failed:
        return Result(*facts, first, None)
    run = _stage(
        answer,
        # The usage at the end is that of both phases together.
        (whole.wall_ms or 0) - first.wall_ms,
        (whole.cpu_ms or 0) - first.cpu_ms,
        whole.memory_peak_bytes,
    )
    return Result(*facts, first, run)


def _stage(printed: Printed, wall: int | None, cpu: int | None, memory: int | None) -> Stage:
    texts = (_bytes(printed, "stdout"), _bytes(printed, "stderr"), _bytes(printed, "output"))
    return Stage(*texts, wall or 0, cpu or 0, memory or 0)


def _bytes(printed: Printed, name: str) -> bytes:
    text = getattr(printed, name)
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    encoded = getattr(printed, f"{name}_base64")
    return encoded if isinstance(encoded, bytes) else b""


def signal_number(name: str | None) -> int | None:
    """The number of a signal, by its name without SIG."""
    if name is None:
        return None
    try:
        return signal.Signals[f"SIG{name}"].value
    except KeyError:
        # Real-time signals, such as RT34, have a number and no name (signal(7)).
        return int(name[2:]) if name[:2] == "RT" and name[2:].isdigit() else 0


async def reply(request: web.Request, document: Any, status: int = 200) -> web.StreamResponse:
    """Sends a JSON response in pieces, as the caller may read slowly. Raises RateLimited."""
    body = msgspec.json.encode(document)
    address, sending = guard.address_of(request.app[PARTS].settings, request), request.app[SENDING]
    sending.check(address)
    headers = {"Cache-Control": "no-store", **request.get(CORS, {})}
    response = web.StreamResponse(status=status, headers=headers)
    response.content_type, response.charset = "application/json", "utf-8"
    response.content_length = len(body)
    await response.prepare(request)
    for begin_at in range(0, len(body), PIECE):
        await sending.send(address, response, body[begin_at : begin_at + PIECE])
    await response.write_eof()
    return response


def retry_headers(error: CodeRunnerError) -> dict[str, str]:
    """The header `Retry-After`, if the error has a time."""
    # Whole seconds (RFC 9110, section 10.2.3), rounded up: a client that comes too early is refused again.
    return {"Retry-After": str(-(-error.retry_after_ms // 1000))} if error.retry_after_ms else {}
