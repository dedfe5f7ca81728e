"""Logging as text for people or as JSON lines for machines.

A structured field is given through `extra=fields(key=value)`. Values are numbers, texts, lists or objects of
these. A field whose name speaks of a secret is masked, so that a slip at a call does not reach the disk.
Where standard error is systemd's journal, each line begins with its priority, which the journal takes off.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Mapping
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime
from types import MappingProxyType
from typing import IO, Any, Literal

import orjson

LogFormat = Literal["text", "json"]
_PLAIN = logging.Formatter()

# By the name, as a value cannot be told from any other text.
_SECRET = ("token", "secret", "password", "admin_key", "authorization", "cookie", "credential")


_context: ContextVar[Mapping[str, str]] = ContextVar("coderunner_context", default=MappingProxyType({}))


def context() -> Mapping[str, str]:
    """The fields that every line of the present task has: `request`, `session`."""
    return _context.get()


def within(**values: str | None) -> None:
    """Adds these fields to every later line of the current task and of tasks that it starts; None removes a
    field."""
    merged = {**_context.get(), **values}
    _context.set({name: value for name, value in merged.items() if value is not None})


def contextual(**values: str | None) -> Context:
    """A copy of the present context for a new task, in which lines have these fields as well."""
    made = copy_context()
    made.run(within, **values)
    return made


def fields(**values: Any) -> dict[str, Any]:
    """For a logging call: `log.info("Worker pool", extra=fields(size=4))`."""
    return {"fields": values}


def outcome(error: BaseException | None) -> dict[str, str]:
    """Fields for a line about something that ended: empty without an error, else its code or class."""
    return {} if error is None else {"error": getattr(error, "code", None) or type(error).__name__}


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    values = getattr(record, "fields", None)
    if not isinstance(values, dict):
        values = {}
    found = {
        str(name): "***" if any(word in str(name).lower() for word in _SECRET) else value
        for name, value in values.items()
    }
    # Formatted in the task that logs, so these are its request and session; the call's own fields come first.
    return found | {name: value for name, value in _context.get().items() if name not in found}


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(text: str) -> str:
    """Control characters escaped: text that came from outside cannot forge a line or move a terminal."""
    # isprintable() is false for controls and for marks of direction (Unicode categories C and Z, but the
    # space).
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class TextFormatter(logging.Formatter):
    """`12:30:01.123 INFO    coderunner.sessions  Worker 1 initialized  size=4`, then the lines of the field
    `output` (of a program that failed), each on its own, then a traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """A line for people."""
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        line = f"{clock} {record.levelname:<7} {record.name}  {_one_line(record.getMessage())}"
        found = _fields_of(record)
        below = found.pop("output", ())
        pairs = " ".join(f"{name}={_one_line(str(value))}" for name, value in found.items())
        if pairs:
            line += f"  {pairs}"
        line += "".join(f"\n    | {_one_line(str(text))}" for text in below)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One object a line: `ts`, `level`, `logger`, `msg`, the fields, and `exc` for an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """A line of JSON."""
        head, values = parts_of(record)
        return as_json({**head, **values})


def parts_of(record: logging.LogRecord) -> tuple[dict[str, str], dict[str, Any]]:
    """(`ts`, `level`, `logger` and `msg`; the fields, secrets masked, and `exc` for an exception)."""
    head = {
        "ts": _moment(record),
        "level": record.levelname.lower(),
        "logger": record.name,
        "msg": record.getMessage(),
    }
    values = {name: value for name, value in _fields_of(record).items() if name not in head}
    if record.exc_info:
        values["exc"] = _PLAIN.formatException(record.exc_info)
    return head, values


def as_json(document: Mapping[str, Any]) -> str:
    """The document on one line, of printable characters alone."""
    try:
        line = orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        if line.isprintable():
            return line
        # What orjson leaves as it is: U+2028, at which many readers of logs end a line, escapes of terminals
        # above U+007F, marks of direction. As escapes of JSON the texts are the same.
        return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
    except (TypeError, ValueError):
        # A lone surrogate or a number beyond 64 bits: the line is kept, in a poorer form.
        plain = {name: ascii(value) for name, value in document.items()}
        return orjson.dumps(plain).decode()


class JournalFormatter(logging.Formatter):
    """As another formatter writes it, with `<N>` before each line: N is a priority of syslog."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """A line with the priority that systemd's journal reads."""
        number = priority(record.levelno)
        # Each line of a traceback, too: the journal takes a line for a message (sd-daemon(3)).
        return "\n".join(f"<{number}>{line}" for line in self._inner.format(record).split("\n"))


def priority(level: int) -> int:
    """The priority of syslog and of the journal: 7 is debug, 6 info, 4 warning, 3 error, 2 critical."""
    # syslog(3). 5, notice, has no counterpart.
    steps = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
    return next((number for least, number in steps if level >= least), 7)


def is_journal(stream: IO[str], journal_stream: str) -> bool:
    """Whether `stream` is the one that systemd names in JOURNAL_STREAM, as `device:inode`."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    # systemd.exec(5): compared, as the variable is inherited also where the stream was redirected.
    return journal_stream == f"{found.st_dev}:{found.st_ino}"


def setup(
    level: str = "info",
    format: LogFormat = "text",
    stream: IO[str] | None = None,
    *,
    journal_stream: str = "",
) -> logging.StreamHandler[Any]:
    """Sends all logging to `stream` (standard error by default) and returns the handler that does it.

    `journal_stream` is the environment's JOURNAL_STREAM.  Replaces what an earlier call has set up.
    Libraries log from WARNING on, `coderunner` from `level` on.
    """
    target = stream if stream is not None else sys.stderr
    formatter: logging.Formatter = JsonFormatter() if format == "json" else TextFormatter()
    handler: logging.StreamHandler[Any] = logging.StreamHandler(target)
    if is_journal(target, journal_stream):
        formatter = JournalFormatter(formatter)
    handler.setFormatter(formatter)
    handler.set_name("coderunner")
    root = logging.getLogger()
    # Only the own one: pytest and embedding programs have handlers, too.
    for old in [h for h in root.handlers if h.get_name() == "coderunner"]:
        root.removeHandler(old)
    root.addHandler(handler)
    # Libraries log each request at INFO.
    root.setLevel(logging.WARNING)
    logging.getLogger("coderunner").setLevel(level.upper())
    return handler


def take_all() -> None:
    """Makes lines of the log of what Python itself would print: warnings, and uncaught errors in threads and
    in finalizers. Printed by Python, they would not be JSON, and have no priority."""
    own = logging.getLogger("coderunner.python")

    def uncaught(error: threading.ExceptHookArgs) -> None:
        if error.exc_value is not None and not isinstance(error.exc_value, SystemExit):
            name = error.thread.name if error.thread is not None else ""
            own.error("a thread failed", exc_info=error.exc_value, extra=fields(thread=name))

    def unraisable(error: sys.UnraisableHookArgs) -> None:
        # Without the object: to show it may fail again, and to keep it would bring it back.
        own.error(error.err_msg or "an error that cannot be raised", exc_info=error.exc_value)

    threading.excepthook = uncaught
    sys.unraisablehook = unraisable
    logging.captureWarnings(capture=True)
