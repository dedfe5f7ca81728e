"""The image that all others start from, where no registry has it for us: made from Debian's packages.

Where this machine's apt has sources for that release, its sources are used, so a lab whose machines
install from a mirror of its own makes (and later extends) its images from that mirror.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ORIGIN = "debian:bookworm-slim"
SUITE = "bookworm"
SECONDS = 900
_POLL_SECONDS = 0.2
_TAIL = 12  # lines of mmdebstrap's own words that are kept for the message

_NEEDLESS = ("doc", "man", "info", "locale", "groff", "lintian", "linda")

_INSTEAD = (
    f"bring the image from a machine that has it: `docker save {ORIGIN} | gzip > base.tar.gz` there,"
    " `docker load < base.tar.gz` here"
)


class OriginFailed(Exception):
    """It cannot be made; the text says why and what mends it."""


@contextmanager
def bootstrapped(
    stop: threading.Event, say: Callable[[str], None], etc: Path = Path("/etc")
) -> Iterator[Path]:
    """A tar archive of the root file system, there as long as the context lasts.

    Takes half a minute; ends early when `stop` is set. Raises OriginFailed.
    """
    if shutil.which("mmdebstrap") is None:
        raise OriginFailed(
            f"{ORIGIN} is not here, no registry can be reached, and mmdebstrap, which could make it, is not"
            f" installed. As root, run `apt-get install mmdebstrap` and try again; or {_INSTEAD}"
        )
    say(f"making {ORIGIN} from Debian's packages (mmdebstrap)")
    with tempfile.TemporaryDirectory(prefix="coderunner-origin-") as folder:
        archive = Path(folder) / "origin.tar"
        words = Path(folder) / "words"
        sources = Path(folder) / "sources.list"
        sources.write_text(own_sources(etc), "utf-8")
        command = [*_command(), SUITE, str(archive), *([str(sources)] if sources.stat().st_size else [])]
        with words.open("wb") as sink:
            code = _run(command, sink.fileno(), stop)
        if code != 0:
            tail = "\n".join(words.read_text("utf-8", "replace").splitlines()[-_TAIL:])
            raise OriginFailed(
                f"mmdebstrap could not make {ORIGIN}. It must run as root and reach a mirror of Debian's"
                f" packages; or {_INSTEAD}. Its last words:\n{tail}"
            )
        yield archive


def _command() -> list[str]:
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _NEEDLESS]
    return [
        "mmdebstrap",
        "--variant=minbase",
        *excluded,
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=APT::Install-Recommends "false"',
    ]


def _run(command: list[str], sink: int, stop: threading.Event) -> int:
    """Its exit code. A process group of its own: it has children, and Ctrl-C is the server's to answer."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
    )
    try:
        for _ in range(int(SECONDS / _POLL_SECONDS)):
            try:
                return process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if stop.is_set():
                    raise OriginFailed("stopped") from None
        raise OriginFailed(f"mmdebstrap took longer than {SECONDS} s")
    finally:
        if process.poll() is None:
            process.terminate()  # it removes what it had made, and its children
            process.wait()


def own_sources(etc: Path) -> str:
    """The lines of this machine's apt that are Debian's `main` of the suite, fetched over the network.

    Empty where there are none: then mmdebstrap's own choice, Debian's public mirror, is right.
    """
    files = [etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*"))]
    lines: list[str] = []
    for file in files:
        try:
            text = file.read_text("utf-8", "replace")
        except OSError:
            continue
        lines += _of_stanzas(text) if file.suffix == ".sources" else _of_lines(text)
    kept = [line for line in dict.fromkeys(lines) if _usable(line)]
    return "".join(f"{line}\n" for line in kept) if any(f" {SUITE} " in line for line in kept) else ""


def _usable(line: str) -> bool:
    fields = line.split()
    plain_suite = re.fullmatch(rf"{SUITE}(-updates|-security)?", fields[2]) is not None
    return fields[1].startswith(("http://", "https://", "file:")) and plain_suite and "main" in fields[3:]


def _of_lines(text: str) -> list[str]:
    """`deb [options] address suite component...`; options name keys of this machine, so they are left out."""
    found = re.findall(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(\S.*?)\s*(?:#.*)?$", text, re.MULTILINE)
    return [f"deb {address} {suite} main" for address, suite, parts in found if "main" in parts.split()]


def _of_stanzas(text: str) -> list[str]:
    """The newer form: paragraphs of `Types:`, `URIs:`, `Suites:`, `Components:`."""
    lines = []
    for paragraph in re.split(r"\n\s*\n", re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)):
        fields = {
            key.lower(): value.split()
            for key, value in re.findall(r"^(\w[\w-]*):((?:.*)(?:\n[ \t].*)*)", paragraph, re.MULTILINE)
        }
        if "deb" in fields.get("types", []) and "main" in fields.get("components", []):
            lines += [
                f"deb {address} {suite} main"
                for address in fields.get("uris", [])
                for suite in fields.get("suites", [])
            ]
    return lines
