"""Makes the origin image of all others from Debian's packages, for machines that cannot reach a registry.

If this machine's apt has Debian sources, of any release, their addresses are used. So a site with its own
mirror makes (and later extends) its images from that mirror."""

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
# A mirror that stops answering is ended by the caller's `stop` or by this.
SECONDS = 900  # for mmdebstrap, which usually takes half a minute
_POLL_SECONDS = 0.2
_TAIL = 12  # last lines of mmdebstrap's output, for the message

_RELEASES = ("bullseye", "bookworm", "trixie", "forky")  # not "stable", which other archives use as well
_NEEDLESS = ("doc", "man", "info", "locale", "groff", "lintian", "linda")

_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""Debian's keys, beside those that this machine's apt trusts: on Ubuntu that trusts Ubuntu's alone."""

_INSTEAD = (
    f"bring the image from a machine that has it: `docker save {ORIGIN} | gzip > base.tar.gz` there,"
    " `docker load < base.tar.gz` here"
)


class OriginFailed(Exception):
    """The image cannot be made; the text says why, and what to do."""


@contextmanager
def bootstrapped(
    stop: threading.Event, say: Callable[[str], None], etc: Path = Path("/etc")
) -> Iterator[Path]:
    """Makes a tar archive of the root file system; yields its path. It is removed at the end of the context.

    Uses this machine's mirror, or Debian's if that does not have the release. Takes half a minute. `stop`:
    ends the work when set. `say`: called with each line of progress. `etc`: path of /etc. Raises
    OriginFailed.
    """
    if shutil.which("mmdebstrap") is None:
        raise OriginFailed(
            f"the image {ORIGIN} does not exist, no registry can be reached, and mmdebstrap, which could make"
            " it, is not installed. As root, run `apt-get install mmdebstrap debian-archive-keyring` and try"
            f" again; or {_INSTEAD}"
        )
    say(f"making {ORIGIN} from Debian's packages (mmdebstrap)")
    with tempfile.TemporaryDirectory(prefix="coderunner-origin-") as folder:
        archive = Path(folder) / "origin.tar"
        # The machine's own first: a site may have no other way to packages.
        own = own_sources(etc)
        said = _make(archive, own, stop)
        if said and own:
            say(f"this machine's mirror does not have {SUITE}; using Debian's")
            said = _make(archive, "", stop)
        if said:
            raise OriginFailed(
                f"mmdebstrap could not make {ORIGIN}. It must run as root, reach a mirror of Debian's"
                f" packages and know its keys (`apt-get install debian-archive-keyring`); or {_INSTEAD}."
                f" Its output:\n{said}"
            )
        yield archive


def _make(archive: Path, lines: str, stop: threading.Event) -> str:
    """Runs mmdebstrap. `archive`: the file to write. `lines`: apt sources ("": mmdebstrap's default). Returns
    the end of its output if it fails, otherwise ""."""
    # To a file and not a pipe: nobody has to read it while the command runs.
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
        *([f"--keyring={_KEYS}"] if _KEYS.exists() else []),
        *excluded,
        "--dpkgopt=force-unsafe-io",  # no fsync: an archive that a crash cut off is not used
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=APT::Install-Recommends "false"',
    ]


def _run(command: list[str], sink: int, stop: threading.Event) -> int:
    """Runs a command; returns its exit code. It gets its own process group, so that Ctrl-C reaches the server
    only. Raises OriginFailed if `stop` is set or it takes too long."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
    )
    try:
        # Polled, as a thread can wait for a process or for an event, but not for both.
        for _ in range(int(SECONDS / _POLL_SECONDS)):
            try:
                return process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if stop.is_set():
                    raise OriginFailed("stopped") from None
        raise OriginFailed(f"mmdebstrap took longer than {SECONDS} s")
    finally:
        if process.poll() is None:
            process.terminate()  # with SIGTERM, mmdebstrap removes its files and ends its children
            process.wait()


def own_sources(etc: Path) -> str:
    """Lines for apt with Debian's `main` of SUITE, at the addresses where this machine's apt gets its
    release.

    "" if apt has no Debian source; then mmdebstrap's default, Debian's public mirror, is used.
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
    # A mirror without the suite itself, but with its updates, would fail half way.
    return "".join(f"{line}\n" for line in kept) if any(f" {SUITE} " in line for line in kept) else ""


def _of_suite(line: str) -> str:
    """The line with SUITE in place of its Debian release; "" if it is not a Debian source."""
    fields = line.split()
    release = re.fullmatch(rf"(?:{'|'.join(_RELEASES)})(-updates|-security)?", fields[2])
    # Others, such as `cdrom:`, need devices that mmdebstrap does not have.
    if release is None or not fields[1].startswith(("http://", "https://", "file:")):
        return ""
    return f"deb {fields[1]} {SUITE}{release[1] or ''} main" if "main" in fields[3:] else ""


def _of_lines(text: str) -> list[str]:
    """Sources as lines: `deb [options] address suite component...`. Options are left out, as they name key
    files of this machine."""
    found = re.findall(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(\S.*?)\s*(?:#.*)?$", text, re.MULTILINE)
    return [f"deb {address} {suite} main" for address, suite, parts in found if "main" in parts.split()]


def _of_stanzas(text: str) -> list[str]:
    """Sources in the newer form: paragraphs of `Types:`, `URIs:`, `Suites:`, `Components:`."""
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
