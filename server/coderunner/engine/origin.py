"""The image that all others start from, where no registry has it for us: made from Debian's packages.

Where this machine's apt has sources of Debian's, of any release, their addresses are used, so a lab whose
machines install from a mirror of its own makes (and later extends) its images from that mirror.
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

ORIGIN = "debian:trixie-slim"
SUITE = "trixie"
SECONDS = 900
_POLL_SECONDS = 0.2
_TAIL = 12  # lines of mmdebstrap's own words that are kept for the message

_RELEASES = ("bullseye", "bookworm", "trixie", "forky")  # not "stable", which others say, too
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

    From this machine's own mirror, and where that has no such release from Debian's. Takes half a minute;
    ends early when `stop` is set. Raises OriginFailed.
    """
    if shutil.which("mmdebstrap") is None:
        raise OriginFailed(
            f"{ORIGIN} is not here, no registry can be reached, and mmdebstrap, which could make it, is not"
            f" installed. As root, run `apt-get install mmdebstrap` and try again; or {_INSTEAD}"
        )
    say(f"making {ORIGIN} from Debian's packages (mmdebstrap)")
    with tempfile.TemporaryDirectory(prefix="coderunner-origin-") as folder:
        archive = Path(folder) / "origin.tar"
        own = own_sources(etc)
        said = _make(archive, own, stop)
        if said and own:
            say(f"this machine's mirror has no {SUITE}; from Debian's")
            said = _make(archive, "", stop)
        if said:
            raise OriginFailed(
                f"mmdebstrap could not make {ORIGIN}. It must run as root, reach a mirror of Debian's"
                f" packages and know its keys (`apt-get install debian-archive-keyring`); or {_INSTEAD}."
                f" Its output:\n{said}"
            )
        yield archive


def _make(archive: Path, lines: str, stop: threading.Event) -> str:
    """Into `archive`, from sources (none: of mmdebstrap's own choice). Its last words where it fails."""
    words = archive.with_name("words")
    sources = archive.with_name("sources.list")
    sources.write_text(lines, "utf-8")
    command = [*_command(), SUITE, str(archive), *([str(sources)] if lines else [])]
    with words.open("wb") as sink:
        code = _run(command, sink.fileno(), stop)
    if code == 0:
        return ""
    tail = words.read_text("utf-8", "replace").splitlines()[-_TAIL:]
    return "\n".join(tail) or f"exit code {code}"


def _command() -> list[str]:
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _NEEDLESS]
    return [
        "mmdebstrap",
        "--variant=minbase",
        *excluded,
        "--dpkgopt=force-unsafe-io",  # as the registry's image has it; an incomplete archive is removed
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
            process.terminate()  # SIGTERM: it removes its files and ends its children
            process.wait()


def own_sources(etc: Path) -> str:
    """Debian's `main` of the suite where this machine's apt finds its own release, fetched over the network.

    Empty where apt has no source of Debian's: then mmdebstrap's own choice, Debian's public mirror, is right.
    """
    files = [etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*"))]
    lines: list[str] = []
    for file in files:
        try:
            text = file.read_text("utf-8", "replace")
        except OSError:
            continue
        lines += _of_stanzas(text) if file.suffix == ".sources" else _of_lines(text)
    kept = [found for found in map(_of_suite, dict.fromkeys(lines)) if found]
    return "".join(f"{line}\n" for line in kept) if any(f" {SUITE} " in line for line in kept) else ""


def _of_suite(line: str) -> str:
    """The line with our suite in place of another release of Debian's; empty for all other sources."""
    fields = line.split()
    release = re.fullmatch(rf"(?:{'|'.join(_RELEASES)})(-updates|-security)?", fields[2])
    if release is None or not fields[1].startswith(("http://", "https://", "file:")):
        return ""
    return f"deb {fields[1]} {SUITE}{release[1] or ''} main" if "main" in fields[3:] else ""


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
