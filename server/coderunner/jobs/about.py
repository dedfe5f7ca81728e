"""What is stored of a run or batch before its session is opened, and the messages that execute it."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from coderunner.schema import messages as m
from coderunner.schema.api import RunRequest
from coderunner.schema.batches import BatchRequest, Checker
from coderunner.schema.limits import RUN_LIMITS
from coderunner.schema.messages import File

# Fixed, so that a cursor, a spool and a later server need not store it.
CHANNEL = 1  # the number of the only channel in each of its sessions
# Shorter than a language's own limit of 10 minutes: a submission's output may make its checker hang.
CHECKER_WALL_MS = 30_000  # of a checker, for one case
CASE_BYTES = 256  # memory of a case besides its texts


class AboutWork(Struct, kw_only=True, omit_defaults=True):
    """What is stored of a run or a batch.

    - `id`, `nonce`: its id, and the nonce with which its session is opened.
    - `key`: a digest of its `Idempotency-Key` and principal; if empty, it is removed when its caller
      disconnects.
    - `digest`: of the request, in hexadecimal.
    - `principal`, `address`: its caller.
    - `told`: other fields of the log about its caller.
    - `version`: of the language.
    - `room`: bytes that its records may take on the disk.
    - `created`: seconds since 1970.
    """

    id: str
    nonce: str
    key: str = ""
    digest: str
    principal: str | None
    address: str
    told: dict[str, str] = {}
    version: str
    room: int
    created: float
    request: Any

    @property
    def language(self) -> str:
        """The name of the requested language."""
        language: str = self.request.language
        return language

    @property
    def facts(self) -> dict[str, Any]:
        """Fields for log lines about its end: its caller, and its age in seconds."""
        whose = {} if self.principal is None else {"principal": self.principal}
        seconds = round(time.time() - self.created, 1)
        return {"language": self.language, "address": self.address, **whose, **self.told, "seconds": seconds}

    @property
    def held(self) -> int:
        """Approximate bytes of memory of its request: Python's texts use up to four bytes per character."""
        raise NotImplementedError


class Plan(Struct, frozen=True, kw_only=True):
    """Parameters of runs of other interfaces (`facades/`), in addition to the request.

    - `id`: the run's, if that interface has a form for it; "" for one of this server's.
    - `walls`: limits of wall time in ms by phase, `compiling` and `running`, if they differ.
    - `note`: the interface's data about the run, stored in a file of its own (`Job.note`).
    - `callback`: the URL to which its result is sent; "" for none.
    - `patient`: waits for a place if another run would be refused with a `retryable` error.
    - `scripts`: bash scripts that compile and run it, instead of its language's commands; the first is "" if
      nothing is compiled. None: the language's commands.
    - `again`: how many times the interface may repeat it after its end.
    - `first`: the id of the run that this one repeats; "" for none.
    - `live`: its input comes while it runs (`Job.type`), and does not end with the request's.
    """

    id: str = ""
    walls: dict[str, int] = {}
    note: bytes = b""
    callback: str = ""
    patient: bool = False
    scripts: tuple[str, str] | None = None
    again: int = 0
    first: str = ""
    live: bool = False


class About(AboutWork, kw_only=True, omit_defaults=True):
    """What is stored of a run. `compiles`: whether a compiler runs first. `plan`: see `Plan`. `session`,
    `token`: set once its session is open."""

    compiles: bool
    request: RunRequest
    plan: Plan = Plan()
    session: str = ""
    token: str = ""

    @property
    def held(self) -> int:
        """As `AboutWork.held`."""
        request = self.request
        texts = (request.source, request.stdin, request.stdin_base64, *request.args, *request.env.values())
        return sizes(request.files) + of_texts(texts)


class AboutBatch(AboutWork, kw_only=True, omit_defaults=True):
    """What is stored of a batch. `count`: number of its cases."""

    count: int
    request: BatchRequest

    @property
    def held(self) -> int:
        """As `AboutWork.held`."""
        request, checker = self.request, self.request.checker
        texts: list[object] = [request.source, checker.source, *request.args, *request.env.values()]
        for case in request.cases:
            texts += (case.stdin, case.stdin_base64, case.expected, case.expected_base64, *case.args)
        return CASE_BYTES * len(request.cases) + sizes(request.files) + sizes(checker.files) + of_texts(texts)


def sizes(files: Iterable[File]) -> int:
    """Bytes of memory that these files take."""
    return sum(sys.getsizeof(file.content) + sys.getsizeof(file.path) for file in files)


def of_texts(texts: Iterable[object]) -> int:
    """Bytes of memory that these texts take; None counts as 0."""
    return sum(sys.getsizeof(one) for one in texts if one is not None)


def stored(about: AboutWork) -> bytes:
    """Encodes it as JSON, for the file from which a later server reads it."""
    document = msgspec.to_builtins(about)
    for file in _files(document):
        # msgspec encodes bytes as base64, and reads them back only from the field of this name.
        file["content_base64"] = file.pop("content")
    return msgspec.json.encode(document)


def _files(document: Any) -> Iterator[dict[str, Any]]:
    request = document["request"]
    yield from request.get("files", ())
    yield from request.get("checker", {}).get("files", ())


def typed(request: RunRequest) -> bytes:
    """The bytes of input. For a terminal, Ctrl-D is appended as the end of input: once at the beginning of a
    line, twice within a line, where the first only sends the line."""
    # A pipe has an end of its own, sent as `eof`; a terminal knows only the character (termios(3), VEOF).
    if request.mode == "pipe":
        return request.input
    return request.input + (b"\4" if request.input[-1:] in (b"", b"\n") else b"\4\4")


def messages(about: About) -> tuple[m.Open, m.Run]:
    """The messages `open` and `run` that execute a run. Its files are sent with `run`."""
    wanted = about.request
    of_session, of_run = _divided(wanted.limits)
    opening = m.Open(wanted.language, about.id, nonce=about.nonce, limits=of_session)
    run = m.Run(
        CHANNEL,
        wanted.mode,
        files=_sources(wanted),
        entry=wanted.entry,
        args=wanted.args,
        env=wanted.env,
        cols=wanted.cols,
        rows=wanted.rows,
        limits=of_run,
    )
    return opening, run


def submission(about: AboutBatch) -> tuple[m.Open, m.Run]:
    """The messages `open` and `run` for the program that a batch judges."""
    request = about.request
    return _with_files(about.id, request, request.args, request.env, request.limits)


def checking(about: AboutBatch) -> tuple[m.Open, m.Run]:
    """The messages `open` and `run` for a batch's checker program."""
    return _with_files(about.id, about.request.checker, (), {}, {"wall_ms": CHECKER_WALL_MS})


def _with_files(
    client: str,
    program: BatchRequest | Checker,
    args: tuple[str, ...],
    env: dict[str, str],
    limits: Mapping[str, int],
) -> tuple[m.Open, m.Run]:
    """The messages `open` and `run`. The files are sent with `open`, as all programs of the session use
    them."""
    of_session, of_run = _divided(limits)
    assert program.language is not None
    # A new one each time: a batch opens many sessions, and the same nonce would return the same session.
    nonce = secrets.token_urlsafe(16)
    opening = m.Open(program.language, client, nonce=nonce, files=_sources(program), limits=of_session)
    return opening, m.Run(CHANNEL, "pipe", entry=program.entry, args=args, env=env, limits=of_run)


def _sources(program: RunRequest | BatchRequest | Checker) -> tuple[File, ...]:
    if program.source is None:
        return program.files
    assert program.entry is not None  # `Runs.begin` sets it
    # JSON may hold half of a surrogate pair (RFC 8259, section 8.2), which plain UTF-8 refuses.
    return (File(program.entry, program.source.encode("utf-8", "surrogatepass")),)


def _divided(limits: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Divides limits into those of the session and those of each run in it."""
    of_run = {name: value for name, value in limits.items() if name in RUN_LIMITS}
    return {name: value for name, value in limits.items() if name not in of_run}, of_run
