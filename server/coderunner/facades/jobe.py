"""Jobe's interface, which Moodle's CodeRunner question type uses: runs, languages, files."""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import logging
import re
import shlex
import string
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from coderunner.errors import (
    BadJson,
    BadMessage,
    CapacityError,
    CodeRunnerError,
    RateLimited,
    SpoolFull,
    TooManySessions,
    Unauthenticated,
)
from coderunner.facades import running
from coderunner.facades.jobe_files import FILES, MAX_FILE
from coderunner.facades.running import COMPILE_OUTPUT, LOST, OWN_PIDS, Handler, Result
from coderunner.fleet.registry import Caller
from coderunner.jobs.about import Plan
from coderunner.jobs.work import DISK_RETRY_MS
from coderunner.logs import fields
from coderunner.schema.api import MAX_BODY, RunRequest
from coderunner.schema.facades import Jobe, JobeLanguage
from coderunner.schema.parts import File
from coderunner.web.api.cors import across_origins
from coderunner.web.api.runs import BODIES
from coderunner.web.keys import PARTS, Parts
from coderunner.web.replies import status_of

log = logging.getLogger(__name__)

# Fixed in Moodle's question type, whatever the host.
PREFIX = "/jobe/index.php/restapi"
# Jobe's numbers for `outcome`.
COMPILATION_ERROR, RUNTIME_ERROR, TIME_LIMIT, SUCCESS = 11, 12, 13, 15
MEMORY_LIMIT, ILLEGAL_SYSCALL, INTERNAL_ERROR, SERVER_OVERLOAD = 17, 19, 20, 21
# Decimal, as Jobe counts `memorylimit` and `streamsize`.
MB = 1_000_000
LEAST_ID = 8  # characters of a file's id
MAX_FILES = 256
MAX_WORDS = 32 * 1024  # characters of a parameter that is a list of arguments
# The characters that Jobe refuses in `sourcefilename`.
_ILLEGAL = re.compile("[<>:\"/\\\\|?*\x00-\x1f\x7f\xa0\xad#\\[\\]@!$&'()+,;={}^~`]")
# How bytes of output that is no UTF-8 are shown.
_SHOWN = [chr(one) if one in b"\n\r\t" or 0x20 <= one < 0x7F else f"\\x{one:02x}" for one in range(256)]


class Refused(BadMessage):
    """A request that Jobe refuses, with Jobe's message and status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@functools.cache
def table() -> Jobe:
    """The data of `jobe.toml`."""
    return running.data(Jobe, "jobe.toml")


def in_its_words(handler: Handler) -> Handler:
    """Decorates a handler: errors are answered in Jobe's form, a JSON string."""

    @functools.wraps(handler)
    async def wrapped(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Unauthenticated:
            # Jobe answers with 403 and a bare text, where HTTP has 401.
            there = "X-API-KEY" in request.headers
            return web.Response(status=403, text="Unknown API key" if there else "Missing API key")
        except Refused as refused:
            return web.json_response(refused.message, status=refused.status)
        except CodeRunnerError as error:
            headers = running.retry_headers(error)
            return web.json_response(error.message, status=status_of(error), headers=headers)

    return across_origins(wrapped)


def languages_of(parts: Parts) -> dict[str, JobeLanguage]:
    """The languages of the table that are offered here, by their names."""
    return {one.id: one for one in table().languages if running.offered(parts, one.runs)}


async def _caller(request: web.Request) -> Caller:
    return await running.caller_of(request, "X-API-KEY")


# --- languages and files ------------------------------------------------------------------------------------


@in_its_words
async def languages(request: web.Request) -> web.StreamResponse:
    """Lists the languages, each with its version."""
    await _caller(request)
    rows = [[one.id, one.version] for one in languages_of(request.app[PARTS]).values()]
    return await running.reply(request, sorted(rows))


@in_its_words
async def put_file(request: web.Request) -> web.StreamResponse:
    """Stores a file, for runs that name its id."""
    caller, name = await _caller(request), request.match_info["id"]
    # Twice: base64 is four thirds of the file, and may have line ends.
    body = await request.app[BODIES].read_any(request, caller.address, 2 * MAX_FILE)
    contents = body.get("file_contents") if isinstance(body, dict) else None
    if not isinstance(contents, str):
        raise Refused("put: missing file_contents parameter")
    try:
        # PHP's base64_decode, which Jobe uses, skips white space.
        bare = contents.encode("utf-8", "replace").translate(None, string.whitespace.encode())
        data = base64.b64decode(bare, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(f"put: contents of file {name} are not valid base-64") from None
    try:
        await _in_turn(request, lambda: request.app[FILES].put(caller, name, data))
    except OSError as error:  # a full disk
        why = error.strerror or str(error)
        log.error("a file of Jobe's interface cannot be stored", extra=fields(why=why))
        raise SpoolFull(f"the server cannot store files now ({why})", retry_after_ms=DISK_RETRY_MS) from None
    return web.Response(status=204)


@in_its_words
async def head_file(request: web.Request) -> web.StreamResponse:
    """Returns 204 if the file exists, otherwise 404."""
    caller = await _caller(request)
    there = request.app[FILES].has(caller, request.match_info["id"])
    return web.Response(status=204 if there else 404)


TURN: web.AppKey[asyncio.Lock] = web.AppKey("jobe_turn", asyncio.Lock)


async def _in_turn(request: web.Request, act: Any) -> Any:
    # A lock, as `Cache` is not made for two threads.
    async with request.app[TURN]:
        return await asyncio.to_thread(act)


# --- runs ---------------------------------------------------------------------------------------------------


@in_its_words
async def run(request: web.Request) -> web.StreamResponse:
    """Runs a program."""
    caller, parts = await _caller(request), request.app[PARTS]
    try:
        body = await request.app[BODIES].read_any(request, caller.address, MAX_BODY)
    except BadJson:
        # Jobe's message for it is that of `_spec`.
        body = None
    spec = _spec(body)
    known = languages_of(parts).get(str(spec["language_id"]).lower())
    if known is None:
        raise Refused(f"Language '{str(spec['language_id']).lower()[:64]}' is not known")
    wanted, plan = await _order(request, spec, known, caller)
    try:
        job = running.begin(request, wanted, caller, plan)
    except (CapacityError, TooManySessions, RateLimited):
        return await running.reply(request, _document("", SERVER_OVERLOAD))
    try:
        result = await running.finished(request, job)
    except (CapacityError, TooManySessions, RateLimited):
        return await running.reply(request, _document(job.id, SERVER_OVERLOAD))
    finally:
        # Nobody can ask for it later: Jobe's interface has no such call.
        parts.runs.gone(job)
    told = await asyncio.to_thread(_answer, job.id, result, known, _size(spec))  # some megabytes of output
    return await running.reply(request, told)


def _spec(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Refused("Non-JSON post data received")
    spec = body.get("run_spec")
    if not isinstance(spec, dict):
        raise Refused("No run_spec attribute found in post data")
    for name in ("sourcecode", "language_id"):
        if spec.get(name) is None:
            raise Refused(f"run_spec is missing the required attribute '{name}'")
    return spec


async def _order(
    request: web.Request, spec: Mapping[str, Any], known: JobeLanguage, caller: Caller
) -> tuple[RunRequest, Plan]:
    parts = request.app[PARTS]
    parameters = spec.get("parameters") or {}
    parameters = parameters if isinstance(parameters, dict) else {}
    most = table().limits.max_cputime
    cputime = _numeric(parameters, "cputime", table().limits.cputime)
    if cputime > most:
        raise Refused(f"cputime exceeds maximum allowed on this Jobe server ({most} secs)")
    source = str(spec["sourcecode"])
    entry = entry_of(spec, known, source)
    files = {entry: source.encode("utf-8", "replace")}
    for identity, name in _listed(spec):
        # At the status 404 Moodle's client uploads the file and sends the run again.
        data = await _in_turn(request, functools.partial(request.app[FILES].get, caller, identity))
        if data is None:
            raise Refused("One or more of the specified files is missing/unavailable", 404)
        # The program itself comes first: no file may replace it.
        files.setdefault(name, data)
    language = parts.catalog.language(known.runs)
    compiles = bool(language.compile)
    # As in Jobe, a program may take twice its CPU time. The compiler gets at least the default's time.
    wall = 2000 * cputime
    compiling = max(wall, 2000 * table().limits.cputime)
    wanted = running.wanted(
        {
            "language": known.runs,
            "files": [File(path, data) for path, data in files.items()],
            "entry": entry,
            "args": _words(parameters, "runargs", ()),
            "env": _flags(parameters, known),
            "stdin": str(spec.get("input") or ""),
            "limits": _limits(parameters, known, parts, wall=max(wall, compiling) if compiles else wall),
        }
    )
    walls = {"compiling": round(compiling), "running": round(wall)} if compiles else {}
    return wanted, Plan(walls=walls)


def entry_of(spec: Mapping[str, Any], known: JobeLanguage, source: str) -> str:
    """The path of the file that the program begins with. Raises Refused."""
    name = spec.get("sourcefilename")
    if name and _legal(str(name)) is False:
        raise Refused("The sourcefilename for the run_spec is illegal")
    # Only up to the last brace: a search beyond it would take quadratic time.
    found = re.search(known.named_by, source[: source.rfind("{") + 1]) if known.named_by else None
    # As in Jobe: an old client sends this name whatever the class is.
    if name and name != "prog.java":
        ending = "." + known.file.rpartition(".")[2]
        return str(name) if str(name).endswith(ending) else f"{name}{ending}"
    return f"{found[1]}.java" if found else known.file


def _legal(name: str) -> bool:
    return not _ILLEGAL.search(name) and name.lstrip(".-") == name


def _listed(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    listed = spec.get("file_list") or []
    if not isinstance(listed, list) or len(listed) > MAX_FILES:
        raise Refused(f"Invalid file specifier: at most {MAX_FILES} files")
    for one in listed:
        good = (
            isinstance(one, list)
            and len(one) in (2, 3)
            and all(isinstance(part, str) for part in one[:2])
            and re.fullmatch(rf"[A-Za-z0-9]{{{LEAST_ID},256}}", one[0])
            and re.fullmatch(r"[A-Za-z0-9._-]{1,255}", one[1])
            and re.search(r"[A-Za-z0-9]", one[1])
        )
        if not good:
            raise Refused(f"Invalid file specifier: {str(one)[:200]}")
    return [(one[0], one[1]) for one in listed]


def _numeric(parameters: Mapping[str, Any], name: str, default: float) -> float:
    """A number of the parameters. As in Jobe, the default replaces anything that is not a number."""
    value = parameters.get(name, default)
    try:
        number = float(value) if not isinstance(value, bool) else float(default)
    except (TypeError, ValueError, OverflowError):
        return default
    # Also refuses nan and infinity, which float() takes; 2**40 keeps the product in ms within 64 bits.
    return number if 0 <= number < 2**40 else default


def _words(parameters: Mapping[str, Any], name: str, default: tuple[str, ...]) -> list[str]:
    """A parameter that is a list of arguments, each as a shell would read it. Raises Refused."""
    value = parameters.get(name)
    if value is None:
        value = list(default)
    if not isinstance(value, list) or not all(isinstance(one, str | int | float) for one in value):
        raise Refused(f"The parameter {name} must be a list of texts")
    texts = [str(one) for one in value]
    # `shlex` takes a time that grows as the square of a word's length.
    if sum(map(len, texts)) > MAX_WORDS:
        raise Refused(f"The parameter {name} has more than {MAX_WORDS} characters")
    try:
        return [word for one in texts for word in shlex.split(one)]
    except ValueError:
        raise Refused(f"The parameter {name} has an unfinished quotation") from None


def _flags(parameters: Mapping[str, Any], known: JobeLanguage) -> dict[str, str]:
    asked = _words(parameters, "interpreterargs", known.interpreterargs)
    # Refused instead of ignored: a question must not be graded under other options than its author set.
    if any(word not in known.interpreterargs for word in asked):
        raise Refused(f"This server cannot set interpreterargs for {known.id}")
    given = [name for name in ("compileargs", "linkargs") if parameters.get(name)]
    if given and not known.flags:
        raise Refused(f"This server cannot set {given[0]} for {known.id}")
    flags = {
        known.flags: " ".join(_words(parameters, "compileargs", known.compileargs)),
        "LDLIBS": " ".join(_words(parameters, "linkargs", known.linkargs)),
    }
    return {name: words for name, words in flags.items() if name and words}


def _limits(
    parameters: Mapping[str, Any], known: JobeLanguage, parts: Parts, *, wall: float
) -> dict[str, int]:
    usual = table().limits
    cputime = _numeric(parameters, "cputime", usual.cputime)
    memory = _numeric(
        parameters, "memorylimit", usual.memorylimit if known.memorylimit is None else known.memorylimit
    )
    processes = _numeric(parameters, "numprocs", known.numprocs or usual.numprocs)
    compiles = bool(parts.catalog.language(known.runs).compile)
    wanted = {
        "wall_ms": wall,
        # The agent has one limit for compiler and program; the compiler's part is added.
        "cpu_ms": 1000 * (cputime + (2 * usual.cputime if compiles else 0)),
        "output_bytes": 2 * _size({"parameters": parameters}) + COMPILE_OUTPUT,
        "pids": max(processes, known.numprocs or 0) + OWN_PIDS,
    }
    # 0 in Jobe is no limit: for a Java machine, which reserves far more addresses than it uses.
    if memory and known.memorylimit != 0:
        wanted["memory_bytes"] = memory * MB
    return {name: running.within(parts, name, value) for name, value in wanted.items()}


def _size(spec: Mapping[str, Any]) -> int:
    """The most bytes of each stream."""
    parameters = spec.get("parameters")
    found = parameters if isinstance(parameters, dict) else {}
    # 3 MB: both streams and the compiler's output must fit into MAX_OUTPUT of `jobs.runs`, 8 MiB.
    return round(min(_numeric(found, "streamsize", table().limits.streamsize), 3) * MB)


# --- answers ------------------------------------------------------------------------------------------------


def _document(
    identity: str, outcome: int, cmpinfo: str = "", stdout: str = "", stderr: str = ""
) -> dict[str, Any]:
    return {
        "run_id": identity, "outcome": outcome, "cmpinfo": cmpinfo, "stdout": stdout, "stderr": stderr
    }  # fmt: skip


def _answer(identity: str, result: Result, known: JobeLanguage, most: int) -> dict[str, Any]:
    if result.reason in LOST:
        return _document(identity, INTERNAL_ERROR, stderr="the sandbox was lost; send the run again")
    compiled = result.compile
    if compiled is not None and (result.run is None or compiled.stderr):
        # Jobe does not run a program whose compiler printed to standard error.
        said = _clean(compiled.stderr or compiled.output)
        return _document(identity, COMPILATION_ERROR, said or "The compiler was stopped: it took too long.\n")
    run = result.run
    assert run is not None
    stdout, stderr = _clean(run.stdout[:most]), _clean(run.stderr[:most])
    # Languages without a compiler: Jobe runs a syntax check first, whose errors are compilation errors.
    if known.syntax and result.code and re.search(known.syntax, stderr, re.M):
        return _document(identity, COMPILATION_ERROR, stderr)
    if result.reason in ("wall_timeout", "cpu_timeout"):
        return _document(identity, TIME_LIMIT, stdout=stdout)
    # A program that handled the failed allocation and ended well is no error.
    if result.reason == "oom" or (result.memory_hit and result.code != 0):
        return _document(identity, MEMORY_LIMIT, stdout=stdout, stderr=stderr)
    if result.signal is not None:
        told = (
            ""
            if result.signal == 11
            else f"{stderr}warning: command terminated with signal {result.signal}\n"
        )
        return _document(identity, RUNTIME_ERROR, stdout=stdout, stderr=told)
    failed = bool(stderr) or result.reason == "output_limit"
    return _document(identity, RUNTIME_ERROR if failed else SUCCESS, stdout=stdout, stderr=stderr)


def _clean(data: bytes) -> str:
    """The text of output. As in Jobe, if it is not UTF-8, all but printable ASCII is written as `\\xHH`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "".join(map(_SHOWN.__getitem__, data))
