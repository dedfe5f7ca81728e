"""Checks Judge0's submissions and converts them into runs. Without I/O."""

from __future__ import annotations

import base64
import binascii
import functools
import io
import re
import shlex
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coderunner.core.archives import Bounds, members
from coderunner.errors import CodeRunnerError
from coderunner.facades import judge0_projects as projects
from coderunner.facades import running
from coderunner.facades.running import COMPILE_OUTPUT, OWN_PIDS
from coderunner.schema.api import RunRequest
from coderunner.schema.facades import Judge0, Judge0Language
from coderunner.schema.parts import File
from coderunner.web.keys import Parts

TOKEN_CHARACTERS = 36  # of a UUID (RFC 9562)
ENCODED = ("source_code", "stdin", "expected_output")
DEFAULT_FIELDS = ("token", "time", "memory", "stdout", "stderr", "compile_output", "message", "status")
FIELDS = (
    "source_code", "language_id", "stdin", "expected_output", "stdout", "status_id", "created_at",
    "finished_at", "time", "memory", "stderr", "token", "number_of_runs", "cpu_time_limit", "cpu_extra_time",
    "wall_time_limit", "memory_limit", "stack_limit", "max_processes_and_or_threads",
    "enable_per_process_and_thread_time_limit",
    "enable_per_process_and_thread_memory_limit", "max_file_size", "compile_output", "exit_code",
    "exit_signal", "message", "wall_time", "compiler_options", "command_line_arguments",
    "redirect_stderr_to_stdout",
    "callback_url", "additional_files", "enable_network",
    "status", "language",
)  # fmt: skip
# As Judge0 removes what its shell would interpret.
_SHELL = re.compile(r"[$&;<>|`]")
# As in Judge0's model of a submission.
LONGEST_OPTION = 512  # characters of compiler_options and of command_line_arguments
MAX_FILES = 256
# For `bytes.translate`, which deletes these.
_NO_BASE64 = bytes(set(range(256)) - set(string.ascii_letters.encode() + string.digits.encode() + b"+/"))


@functools.cache
def table() -> Judge0:
    """The data of `judge0.toml`."""
    return running.data(Judge0, "judge0.toml")


class Wrong(Exception):
    """A refused submission. `problems`: messages by attribute."""

    def __init__(self, problems: dict[str, list[str]]) -> None:
        self.problems = problems
        super().__init__(str(problems))


@dataclass(frozen=True, slots=True)
class Order:
    """A checked submission.

    `run`: the request for its run. `walls`: limits of wall time by phase, in ms. `note`: the attributes that
    are stored with the run. `callback`: its callback URL, "" for none. `scripts`: as of `Plan`.
    """

    run: RunRequest
    walls: dict[str, int]
    note: dict[str, Any]
    callback: str
    scripts: tuple[str, str] | None = None


# --- requests -----------------------------------------------------------------------------------------------


def languages_of(parts: Parts) -> dict[int, Judge0Language]:
    """The languages of the table that are offered here, by their numbers."""
    return {one.id: one for one in table().languages if one.project or running.offered(parts, one.runs)}


def order_of(given: Mapping[str, Any], parts: Parts, *, encoded: bool, callbacks: bool) -> Order:
    """Checks a submission. `encoded`: its texts are base64. `callbacks`: whether these are allowed. Raises
    Wrong, and CodeRunnerError for what this server refuses by itself."""
    problems: dict[str, list[str]] = {}
    told = {name: _text(given, name) for name in (*ENCODED, "compiler_options", "command_line_arguments")}
    if encoded:
        told |= {name: _decoded(told[name]) for name in ENCODED}
    known = _language(given, parts, problems)
    project = known is not None and known.project
    if bool(told["source_code"]) is project:
        problems["source_code"] = ["must be blank" if project else "can't be blank"]
    if project and not given.get("additional_files"):
        problems["additional_files"] = ["can't be blank"]
    numbers = _numbers(given, problems)
    callback = _text(given, "callback_url") or b""
    _check_options(given, told, known, problems, refused=bool(callback) and not callbacks)
    if problems or known is None:
        raise Wrong(problems)
    more = _additional(given)
    paths = [file.path for file in more]
    if project and not paths:
        raise Wrong({"additional_files": ["must be a zip with files"]})
    scripts = projects.scripts_of(paths) if project else None
    language = parts.catalog.language(
        projects.language_of(paths, parts, known.runs) if project else known.runs
    )
    files = {} if project else {language.entry: told["source_code"] or b""}
    for file in more:
        # The program itself comes first: no file of the zip may replace it.
        files.setdefault(file.path, file.content)
    compiles = bool(scripts[0] if scripts is not None else language.compile)
    run = running.wanted(
        {
            "language": language.name,
            "files": [File(path, content) for path, content in files.items()],
            "entry": language.entry if scripts is None else scripts[1],
            "args": _words(told["command_line_arguments"]),
            "env": _flags(known, told["compiler_options"]),
            "stdin_base64": base64.b64encode(told["stdin"] or b"").decode(),
            "limits": _limits(numbers, parts, compiles=compiles),
        }
    )
    walls = {"compiling": _ms(table().limits.max_wall_time_limit), "running": _ms(numbers["wall_time_limit"])}
    note = {**numbers, **_stored(told, given, known)}
    return Order(run, walls if compiles else {}, note, callback.decode("utf-8", "replace"), scripts)


def _text(given: Mapping[str, Any], name: str) -> bytes | None:
    value = given.get(name)
    return None if value is None else str(value).encode("utf-8", "replace")


def _decoded(text: bytes | None) -> bytes | None:
    """Decodes base64 as Ruby does: other characters are ignored."""
    if text is None:
        return None
    # Ruby stops at the padding. One character left over encodes less than a byte, and is dropped.
    bare = text.split(b"=", 1)[0].translate(None, _NO_BASE64)
    try:
        return base64.b64decode(bare[: len(bare) - (len(bare) % 4 == 1)] + b"==")
    except binascii.Error:
        return b""


def _language(
    given: Mapping[str, Any], parts: Parts, problems: dict[str, list[str]]
) -> Judge0Language | None:
    number = given.get("language_id")
    if number in (None, ""):
        problems["language_id"] = ["can't be blank"]
        return None
    text = str(number)
    known = languages_of(parts).get(int(text)) if re.fullmatch("[0-9]{1,9}", text) else None
    if known is None:
        problems["language_id"] = [f"language with id {text[:64]} doesn't exist"]
    return known


# By attribute: least value, whether that is excluded, limit with the greatest value, default (None: a limit).
NUMBERS = {
    "number_of_runs": (0, True, "max_number_of_runs", 1),
    "cpu_time_limit": (0, False, "max_cpu_time_limit", None),
    "cpu_extra_time": (0, False, "max_cpu_extra_time", None),
    "wall_time_limit": (1, False, "max_wall_time_limit", None),
    "memory_limit": (2048, False, "max_memory_limit", None),
    "stack_limit": (0, False, "max_stack_limit", None),
    "max_processes_and_or_threads": (0, True, "max_max_processes_and_or_threads", None),
    "max_file_size": (0, False, "max_max_file_size", None),
}


def _numbers(given: Mapping[str, Any], problems: dict[str, list[str]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, (least, excluded, greatest, default) in NUMBERS.items():
        most = getattr(table().limits, greatest)
        value = given.get(name)
        if value in (None, ""):
            found[name] = getattr(table().limits, name) if default is None else default
            continue
        try:
            number = float(value) if not isinstance(value, bool) else float("nan")
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        # NaN, which is unequal to itself; also stands for what was not a number.
        if number != number:
            problems[name] = ["is not a number"]
        elif number < least or (excluded and number == least):
            than = "greater than" if excluded else "greater than or equal to"
            problems[name] = [f"must be {than} {least}"]
        elif number > most:
            problems[name] = [f"must be less than or equal to {_number(most)}"]
        else:
            found[name] = number
    return found


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _check_options(
    given: Mapping[str, Any],
    told: Mapping[str, bytes | None],
    known: Judge0Language | None,
    problems: dict[str, list[str]],
    *,
    refused: bool,
) -> None:
    for name in ("compiler_options", "command_line_arguments"):
        if len((told[name] or b"").decode("utf-8", "replace")) > LONGEST_OPTION:
            problems[name] = [f"is too long (maximum is {LONGEST_OPTION} characters)"]
    if (told["compiler_options"] or b"").strip() and known is not None and not known.flags:
        problems["compiler_options"] = ["setting compiler options is only allowed for C and C++"]
    if refused:
        problems["callback_url"] = ["setting callback is not allowed"]
    if _true(given.get("enable_network")):
        problems["enable_network"] = ["enabling network is not allowed"]
    for name in ("time", "memory"):
        option = f"enable_per_process_and_thread_{name}_limit"
        if _true(given.get(option)):
            problems[option] = ["this option cannot be enabled"]


def _true(value: Any) -> bool:
    return value in (True, 1, "1", "true", "t", "on")


def _additional(given: Mapping[str, Any]) -> list[File]:
    """The files of the zip. Raises Wrong."""
    packed = _decoded(_text(given, "additional_files"))
    if not packed:
        return []
    most = table().limits.max_extract_size * 1024
    found: list[File] = []
    total = 0
    try:
        # Bounded before it is unpacked: a zip of a few kilobytes can hold gigabytes.
        for member in members(io.BytesIO(packed), Bounds(MAX_FILES, most, most)):
            # Links are skipped, as they could lead out of the workspace.
            if member.folder or not member.plain:
                continue
            total += member.size
            if total > most or len(found) == MAX_FILES:
                raise Wrong(
                    {"additional_files": [f"must hold at most {MAX_FILES} files of {most} bytes in all"]}
                )
            found.append(File(member.path, b"".join(member.content)))
    except CodeRunnerError as error:
        raise Wrong({"additional_files": [error.message]}) from None
    return found


def _words(text: bytes | None) -> list[str]:
    line = _SHELL.sub("", (text or b"").decode("utf-8", "replace").strip())
    try:
        return shlex.split(line)
    except ValueError:
        # Unfinished quotation: Judge0's shell would fail; here the line is split at spaces.
        return line.split()


def _flags(known: Judge0Language, options: bytes | None) -> dict[str, str]:
    """The environment with the compiler's options. Libraries (`-l`) are separate, as they come last."""
    words = _words(options)
    libraries = [word for word in words if word.startswith("-l")]
    others = [word for word in words if not word.startswith("-l")]
    flags = {known.flags: " ".join(others)} if others else {}
    return flags | ({"LDLIBS": " ".join(libraries)} if libraries else {})


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _limits(numbers: Mapping[str, float], parts: Parts, *, compiles: bool) -> dict[str, int]:
    most = table().limits
    cpu = numbers["cpu_time_limit"] + numbers["cpu_extra_time"]
    # The agent has one limit for both phases: the longer one; the server ends each phase by `walls`.
    wall = (
        max(numbers["wall_time_limit"], most.max_wall_time_limit) if compiles else numbers["wall_time_limit"]
    )
    wanted = {
        "wall_ms": _ms(wall),
        "cpu_ms": _ms(cpu + (most.max_cpu_time_limit if compiles else 0)),
        "output_bytes": 2 * round(numbers["max_file_size"]) * 1024 + COMPILE_OUTPUT,
        "memory_bytes": round(numbers["memory_limit"] * 1024),
        "pids": round(numbers["max_processes_and_or_threads"]) + OWN_PIDS,
    }
    return {name: running.within(parts, name, value) for name, value in wanted.items()}


def _stored(
    told: Mapping[str, bytes | None], given: Mapping[str, Any], known: Judge0Language
) -> dict[str, Any]:
    """The attributes of a submission that are stored, for later requests and for judging it."""
    texts = {name: None if text is None else base64.b64encode(text).decode() for name, text in told.items()}
    packed = _decoded(_text(given, "additional_files"))
    return {
        **texts,
        "language_id": known.id,
        "name": known.name,
        "callback_url": given.get("callback_url"),
        "redirect_stderr_to_stdout": _true(given.get("redirect_stderr_to_stdout")),
        "additional_files": base64.b64encode(packed).decode() if packed else None,
    }
