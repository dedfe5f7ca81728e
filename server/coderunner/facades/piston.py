"""Piston's interface, version 2: the languages and `execute`. Its WebSocket is in `piston_socket`."""

from __future__ import annotations

import asyncio
import base64
import functools
import re
import signal
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from coderunner.errors import BadMedia, BadMessage, CodeRunnerError
from coderunner.facades import running, versions
from coderunner.facades.running import COMPILE_OUTPUT, LOST, Handler, Result, Stage
from coderunner.jobs.about import Plan
from coderunner.schema.api import MAX_BODY, RunRequest
from coderunner.schema.facades import Piston, PistonRuntime
from coderunner.web.api.cors import across_origins
from coderunner.web.api.runs import BODIES
from coderunner.web.keys import PARTS, Parts
from coderunner.web.replies import status_of

PREFIXES = ("/api/v2", "/api/v2/piston")
"""The paths of a self-hosted Piston, and of the public one."""
STAGES = ("compile", "run")
CONSTRAINTS = ("memory_limit", "timeout", "cpu_time")


@functools.cache
def table() -> Piston:
    """The data of `piston.toml`."""
    return running.data(Piston, "piston.toml")


class Refused(BadMessage):
    """A request that Piston refuses, with Piston's message."""


def in_its_words(handler: Handler) -> Handler:
    """Decorates a handler: errors are answered in Piston's form, `{"message": ...}`."""

    @functools.wraps(handler)
    async def wrapped(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except CodeRunnerError as error:
            headers = running.retry_headers(error)
            return web.json_response({"message": error.message}, status=status_of(error), headers=headers)

    return across_origins(wrapped)


def runtimes_of(parts: Parts) -> list[PistonRuntime]:
    """The runtimes of the table whose languages are offered here."""
    return [one for one in table().runtimes if running.offered(parts, one.runs)]


@in_its_words
async def runtimes(request: web.Request) -> web.StreamResponse:
    """Lists the languages."""
    rows = [
        {
            "language": one.language,
            "version": one.version,
            "aliases": one.aliases,
            **({"runtime": one.runtime} if one.runtime else {}),
        }
        for one in runtimes_of(request.app[PARTS])
    ]
    return await running.reply(request, rows)


@in_its_words
async def packages(request: web.Request) -> web.StreamResponse:
    """Lists the languages as packages, all of which are installed."""
    rows = [
        {"language": one.runtime or one.language, "language_version": one.version, "installed": True}
        for one in runtimes_of(request.app[PARTS])
    ]
    return await running.reply(request, rows)


@in_its_words
async def execute(request: web.Request) -> web.StreamResponse:
    """Runs a program and returns its result."""
    caller = await running.caller_of(request, "Authorization")
    if not _is_json(request):
        raise BadMedia("requests must be of type application/json")
    body = await request.app[BODIES].read_any(request, caller.address, MAX_BODY)
    # In a thread, as decoding base64 of some megabytes would block the event loop.
    order = await asyncio.to_thread(order_of, body, request.app[PARTS])
    job = running.begin(request, order.run, caller, order.plan)
    try:
        result = await running.finished(request, job)
    finally:
        request.app[PARTS].runs.gone(job)
    if result.reason in LOST:
        return web.json_response({"message": "the sandbox was lost; send the request again"}, status=500)
    return await running.reply(request, _answer(order, result))


def _is_json(request: web.Request) -> bool:
    """Whether the body may be JSON. Also for `text/plain`, the default of clients in Node.js, but not from
    pages: these could send it without a CORS preflight."""
    return request.content_type == "application/json" or (
        request.content_type == "text/plain" and "Origin" not in request.headers
    )


# --- requests -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    """A checked request. `run`, `plan`: arguments of `Runs.begin`. `cpu_ms`: the program's limit."""

    runtime: PistonRuntime
    run: RunRequest
    plan: Plan
    cpu_ms: int


def order_of(body: Any, parts: Parts, *, live: bool = False) -> Order:
    """Checks a request, in the same order as Piston. `live`: its input comes while it runs. Raises Refused
    and BadMessage."""
    body = body if isinstance(body, dict) else {}
    for name in ("language", "version"):
        if not body.get(name) or not isinstance(body[name], str):
            raise Refused(f"{name} is required as a string")
    files = body.get("files")
    if not isinstance(files, list):
        raise Refused("files is required as an array")
    for index, one in enumerate(files):
        if not isinstance(one, dict) or not isinstance(one.get("content"), str):
            raise Refused(f"files[{index}].content is required as a string")
    runtime = _runtime(body["language"], body["version"], parts)
    if not any(one.get("encoding") in (None, "", "utf8") for one in files):
        raise Refused("files must include at least one utf8 encoded file")
    limits = {f"{stage}_{name}": _limit(body, stage, name) for name in CONSTRAINTS for stage in STAGES}
    return _order(body, runtime, limits, parts, live=live)


def _runtime(name: str, selector: str, parts: Parts) -> PistonRuntime:
    known = [one for one in runtimes_of(parts) if name == one.language or name in one.aliases]
    by_version = {version: one for one in known for version in (*one.also, one.version)}
    found = versions.newest(selector, by_version)
    if found is None:
        raise Refused(f"{name}-{selector} runtime is unknown")
    return by_version[found]


def _limit(body: dict[str, Any], stage: str, name: str) -> int:
    """A limit that the request sets, or the configured one."""
    field = f"{stage}_{name}"
    configured: int = getattr(table().limits, field)
    value = body.get(field)
    # As in JavaScript: 0, null and "" count as not set.
    if not value:
        return configured
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"If specified, {field} must be a number")
    if configured > 0:
        if value > configured:
            raise Refused(f"{field} cannot exceed the configured limit of {configured}")
        if value < 0:
            raise Refused(f"{field} must be non-negative")
    # -1 is Piston's "no limit"; the upper bound keeps the product within 64 bits.
    return round(max(-1, min(value, 2**40)))


def _order(
    body: dict[str, Any], runtime: PistonRuntime, limits: dict[str, int], parts: Parts, *, live: bool
) -> Order:
    language = parts.catalog.language(runtime.runs)
    files = [(_name(one, index), _content(one)) for index, one in enumerate(body["files"])]
    first = next(i for i, one in enumerate(body["files"]) if one.get("encoding") in (None, "", "utf8"))
    entry = running.main_file(language, files[first][0], files[first][1])
    files[first] = entry, files[first][1]
    compiles = bool(language.compile)
    walls = {"compiling": limits["compile_timeout"], "running": limits["run_timeout"]}
    # The agent has one limit for compiler and program together; `_stage` checks the program's own.
    cpu = limits["run_cpu_time"] + (limits["compile_cpu_time"] if compiles else 0)
    wanted = {
        "wall_ms": running.within(parts, "wall_ms", max(walls.values()) if compiles else walls["running"]),
        "cpu_ms": running.within(parts, "cpu_ms", cpu),
        "output_bytes": 2 * table().limits.output_max_size + COMPILE_OUTPUT,
    }
    if live:
        del wanted["output_bytes"]  # Piston's WebSocket has no limit, so this server's default applies
    if limits["run_memory_limit"] > 0:
        wanted["memory_bytes"] = running.within(parts, "memory_bytes", limits["run_memory_limit"])
    run = running.wanted(
        {
            "language": runtime.runs,
            "files": [running.file(path, content) for path, content in files],
            "entry": entry.lstrip("/"),
            "args": _args(body),
            "limits": wanted,
            **({} if live else {"stdin": _stdin(body)}),
        }
    )
    plan = Plan(walls=walls if compiles else {}, live=live)
    return Order(runtime, run, plan, limits["run_cpu_time"])


def _name(one: dict[str, Any], index: int) -> str:
    name = one.get("name")
    return name if name and isinstance(name, str) else f"file{index}.code"


def _content(one: dict[str, Any]) -> bytes:
    text, encoding = one["content"], one.get("encoding")
    # As Node.js decodes them, which refuses nothing: of base64 both alphabets, without what is in neither, up
    # to the padding; of hexadecimal digits what comes before the first that is none.
    if encoding == "base64":
        bare = re.sub("[^A-Za-z0-9+/]", "", text.split("=", 1)[0].replace("-", "+").replace("_", "/"))
        # One character left over encodes less than a byte.
        return base64.b64decode(bare[: len(bare) - (len(bare) % 4 == 1)] + "==")
    if encoding == "hex":
        digits = re.match("[0-9A-Fa-f]*", text)
        assert digits is not None
        return bytes.fromhex(digits[0][: len(digits[0]) // 2 * 2])
    return bytes(text.encode("utf-8", "replace"))


def _args(body: dict[str, Any]) -> list[str]:
    args = body.get("args") or []
    if not isinstance(args, list):
        raise Refused("args is required as an array")
    # As JavaScript writes them: true and null, not True and None.
    return [one if isinstance(one, str) else msgspec.json.encode(one).decode() for one in args]


def _stdin(body: dict[str, Any]) -> str:
    text = body.get("stdin") or ""
    if not isinstance(text, str):
        raise Refused("stdin is required as a string")
    # As in Piston: many programs read lines and need the last line break.
    return text if text.endswith("\n") else text + "\n"


# --- answers ------------------------------------------------------------------------------------------------


def _answer(order: Order, result: Result) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if result.compile is not None:
        ended = result if result.run is None else None
        document["compile"] = _stage(result.compile, ended, None)
    # As in Piston, for older clients: without a run, `run` repeats the compiler's result.
    document["run"] = document["compile"] if result.run is None else _stage(result.run, result, order.cpu_ms)
    return {**document, "language": order.runtime.language, "version": order.runtime.version}


def _stage(stage: Stage, ended: Result | None, cpu_ms: int | None) -> dict[str, Any]:
    """A stage's document. `ended`: how it ended; None for a compiler that made a program. `cpu_ms`: the
    program's limit, which the agent does not enforce apart from the compiler's."""
    code, number, message, status = 0, None, None, None
    if ended is not None:
        late = cpu_ms is not None and stage.cpu_ms > cpu_ms
        code, number, message, status = end_of(ended, stage, late=late)  # type: ignore[assignment]
    most = table().limits.output_max_size
    return {
        "signal": None if number is None else signal_name(number),
        "stdout": _text(stage.stdout[:most]),
        "stderr": _text(stage.stderr[:most]),
        "code": code,
        "output": _text(stage.output[: 2 * most]),
        "memory": stage.memory,
        "message": message,
        "status": status,
        "cpu_time": stage.cpu_ms,
        "wall_time": stage.wall_ms,
    }


def end_of(
    result: Result, stage: Stage, *, late: bool, counted: bool = True
) -> tuple[int | None, int | None, str | None, str | None]:
    """Returns code, signal, message and status of a stage. `late`: it used more CPU time than its limit.
    `counted`: its output is limited."""
    # Without a limit: a number above any output.
    most = table().limits.output_max_size if counted else 2**60
    if result.reason == "wall_timeout":
        return None, signal.SIGKILL, "Time limit exceeded (wall clock)", "TO"
    if late or result.reason == "cpu_timeout":
        return None, signal.SIGKILL, "Time limit exceeded", "TO"
    # The server's limit is for the sum of both streams; Piston would have stopped at the longer one.
    if len(stage.stderr) > most and len(stage.stderr) > len(stage.stdout):
        return None, signal.SIGKILL, "stderr length exceeded", "EL"
    if len(stage.stdout) > most or result.reason == "output_limit":
        return None, signal.SIGKILL, "stdout length exceeded", "OL"
    if result.signal is not None or result.reason == "oom":
        number = result.signal or signal.SIGKILL
        return None, number, f"Caught fatal signal {int(number)}", "SG"
    if result.code:
        return result.code, None, f"Exited with error status {result.code}", "RE"
    return result.code, None, None, None


def signal_name(number: int) -> str:
    """The name of a signal, with SIG."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
