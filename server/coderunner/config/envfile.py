"""Reads and parses `.env` files."""

from __future__ import annotations

import difflib
import errno
import os
import re
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from coderunner.errors import ConfigError

MAX_BYTES = 256 * 1024  # all settings with their descriptions have 7 KiB; a larger file is a mistake
_NO_FILE = (errno.EINVAL, errno.EISDIR, errno.ENXIO)  # not a regular file; ENXIO comes from opening a socket
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")
_ENDS = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Given:
    """A setting's text, and where it was set, for error messages."""

    text: str
    where: str


def read(path: Path) -> str:
    """Returns a file's text. Raises ConfigError if it is missing, cannot be read, or is not UTF-8.

    /dev/null counts as a file without settings. Pipes, sockets and other devices are refused, as reading
    from them may never end.
    """
    try:
        # O_NONBLOCK: opening a pipe would wait for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            kind = os.fstat(file.fileno())
            if not stat.S_ISREG(kind.st_mode) and kind.st_rdev != os.stat(os.devnull).st_rdev:
                raise OSError(errno.EINVAL, "it is a pipe or a device, not a file")
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError([f"{path}: the file does not exist; correct its name after --env-file"]) from None
    except OSError as error:
        mend = "name a file" if error.errno in _NO_FILE else "give this user permission to read it"
        raise ConfigError([f"{path}: cannot be read ({error.strerror}); {mend}"]) from None
    if len(content) > MAX_BYTES:
        raise ConfigError(
            [f"{path}: is larger than {MAX_BYTES // 1024} KiB, so it is not a settings file; name another"]
        )
    try:
        return content.decode("utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            [f"{path} line {line}: is not UTF-8 (byte 0x{content[error.start]:02x}); save the file as UTF-8"]
        ) from None


def parse(text: str, file: str, known: Collection[str], problems: list[str]) -> dict[str, Given]:
    """Parses a file's text; returns its settings by name.

    `file`: the file's name, for messages. `known`: names of all settings. Problems are appended to
    `problems`, one for each wrong line, and the line is skipped.
    """
    given: dict[str, Given] = {}
    lines: dict[str, int] = {}
    for number, raw in enumerate(_ENDS.split(text.removeprefix("\ufeff")), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        where = f"{file} line {number}"
        # Text copied from web pages or word processors may have such characters, which cannot be seen.
        odd = next((c for c in line if not c.isprintable() and c != "\t"), None)
        if odd is not None:
            problems.append(f"{where}: has an invisible character (U+{ord(odd):04X}); retype the line")
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            problems.append(f"{where}: this is not a setting; write NAME=value, or begin the line with #")
            continue
        name, value = match[1], _unquoted(match[2].strip())
        if name not in known:
            near = nearest(name.upper(), known, 0.6)
            hint = f"did you mean {near}?" if near else "remove the line"
            problems.append(f"{where}: there is no setting {name}; {hint}")
        elif name in given:
            problems.append(f"{where}: {name} is already set on line {lines[name]}; keep one of the two")
        elif value is None:
            problems.append(
                f"{where}: {name} has an unclosed quote, or text after the closing one; close the"
                " quote, or remove the quotes"
            )
        else:
            given[name], lines[name] = Given(value, where), number
    return given


def nearest(name: str, known: Collection[str], likeness: float) -> str | None:
    """The most similar one of the `known` names; None if none is similar by `likeness` (from 0 to 1)."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=likeness)), None)


def _unquoted(value: str) -> str | None:
    """Removes quotes around a value, and a comment (` #`) after it. Returns None for an unbalanced quote."""
    if value[:1] in ("'", '"'):
        content, closed, rest = value[1:].partition(value[0])
        return content if closed and re.fullmatch(r"(\s+#.*)?\s*", rest) else None
    if value.startswith("#"):
        return ""
    return re.split(r"\s#", value, maxsplit=1)[0].strip()
