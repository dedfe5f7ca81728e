"""Makes the attributes of a submission for Judge0's responses. Without I/O."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from coderunner.facades.judge0_submissions import ENCODED, FIELDS, NUMBERS
from coderunner.facades.running import LOST, Result, Stage

STATUSES = {
    1: "In Queue", 2: "Processing", 3: "Accepted", 4: "Wrong Answer", 5: "Time Limit Exceeded",
    6: "Compilation Error", 7: "Runtime Error (SIGSEGV)", 8: "Runtime Error (SIGXFSZ)",
    9: "Runtime Error (SIGFPE)", 10: "Runtime Error (SIGABRT)", 11: "Runtime Error (NZEC)",
    12: "Runtime Error (Other)", 13: "Internal Error", 14: "Exec Format Error",
}  # fmt: skip
# SIGSEGV, SIGXFSZ, SIGFPE, SIGABRT (signal(7)) to the statuses that name them.
BY_SIGNAL = {11: 7, 25: 8, 8: 9, 6: 10}
ACCEPTED = 3
TEXTS = frozenset((*ENCODED, "stdout", "stderr", "compile_output", "message", "additional_files"))


class Unconvertible(Exception):
    """An attribute is not UTF-8, and base64 was not requested."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A submission's state. `result`: None while it is not done, or failed; `failure`: why it failed."""

    token: str
    status: int
    created: float
    finished: float
    result: Result | None = None
    failure: str = ""


def shown(facts: Facts, note: Mapping[str, Any], fields: tuple[str, ...], *, encoded: bool) -> dict[str, Any]:
    """The attributes `fields` of a submission. Raises Unconvertible."""
    told = {**_kept(note), **_times(facts), **outcome(facts, note), "token": facts.token}
    told["status"] = {"id": told["status_id"], "description": STATUSES[told["status_id"]]}
    return {name: _shown(told.get(name), encoded and name in TEXTS) for name in fields}


def _kept(note: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: note.get(name) for name in FIELDS}
    for name in (*ENCODED, "compiler_options", "command_line_arguments", "additional_files"):
        text = kept[name]
        if text is not None:
            kept[name] = base64.b64decode(text)
    return kept | {
        "enable_per_process_and_thread_time_limit": False,
        "enable_per_process_and_thread_memory_limit": False,
        "enable_network": False,
        "language": {"id": note["language_id"], "name": note["name"]},
        "cpu_time_limit": _decimal(note["cpu_time_limit"]),
        "cpu_extra_time": _decimal(note["cpu_extra_time"]),
        "wall_time_limit": _decimal(note["wall_time_limit"]),
        **{name: round(note[name]) for name in NUMBERS if not name.endswith(("time_limit", "extra_time"))},
    }


def _decimal(value: float) -> str:
    return str(float(value))


def _times(facts: Facts) -> dict[str, Any]:
    created, finished = _time(facts.created), _time(facts.finished) if facts.finished else None
    return {
        "created_at": created,
        "finished_at": finished,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def outcome(facts: Facts, note: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes with the result of a submission."""
    empty = dict.fromkeys(("stdout", "stderr", "compile_output", "message", "time", "wall_time", "memory"))
    told: dict[str, Any] = {**empty, "exit_code": None, "exit_signal": None, "status_id": facts.status}
    if facts.failure:
        return {**told, "message": facts.failure.encode(), "status_id": 13}
    result = facts.result
    if result is None:
        return told
    if result.reason in LOST:
        return {**told, "message": b"the sandbox was lost", "status_id": 13}
    if result.compile is not None:
        told["compile_output"] = result.compile.output or None
    if result.run is None:
        if result.reason in ("wall_timeout", "cpu_timeout"):
            told["compile_output"] = b"Compilation time limit exceeded."
        return {**told, "status_id": 6}
    run = result.run
    status, message = _judged(result, run, note)
    mixed = note["redirect_stderr_to_stdout"]
    most = round(note["max_file_size"]) * 1024
    return told | {
        "stdout": (run.output if mixed else run.stdout)[:most] or None,
        "stderr": None if mixed else run.stderr[:most] or None,
        "message": message and message.encode(),
        "time": f"{run.cpu_ms / 1000:.3f}",
        "wall_time": f"{run.wall_ms / 1000:.3f}",
        "memory": run.memory // 1024,
        "exit_code": result.code or 0,
        "exit_signal": result.signal,
        "status_id": status,
    }


def _judged(result: Result, run: Stage, note: Mapping[str, Any]) -> tuple[int, str | None]:
    """The status and the message of a program that ran."""
    # Without the extra time, which only delays the kill, as in Judge0.
    most = note["cpu_time_limit"] * 1000
    if result.reason == "wall_timeout":
        return 5, "Time limit exceeded (wall clock)"
    if result.reason == "cpu_timeout" or run.cpu_ms > most:
        return 5, "Time limit exceeded"
    if result.reason == "output_limit" or len(run.stdout) > note["max_file_size"] * 1024:
        return 8, "Caught fatal signal 25"
    if result.signal is not None or result.reason == "oom":
        # Out of memory: the kernel kills with SIGKILL.
        number = result.signal or 9
        return BY_SIGNAL.get(number, 12), f"Caught fatal signal {number}"
    if result.code:
        return 11, f"Exited with error status {result.code}"
    expected = note["expected_output"]
    printed = run.output if note["redirect_stderr_to_stdout"] else run.stdout
    if expected is None or _stripped(base64.b64decode(expected)) == _stripped(printed):
        return 3, None
    return 4, None


def _stripped(text: bytes) -> bytes:
    # As Judge0 compares: space at the end of lines, and empty lines at the end, do not count.
    return b"\n".join(line.rstrip() for line in text.split(b"\n")).rstrip()


def _shown(value: Any, encoded: bool) -> Any:
    if not isinstance(value, bytes):
        return value
    if encoded:
        # In lines of 60 characters, as Ruby has it.
        lines = [base64.b64encode(value[at : at + 45]).decode() for at in range(0, len(value), 45)]
        return "".join(line + "\n" for line in lines)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Unconvertible from None


def note_of(data: bytes) -> dict[str, Any]:
    """Decodes a stored note."""
    note: dict[str, Any] = msgspec.json.decode(data)
    return note
