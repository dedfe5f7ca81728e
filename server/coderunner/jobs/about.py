"""What is stored of work before anything is opened for it, and what a client would send to have it done."""

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

CHANNEL = 1  # the one channel of each of its sessions
CASE_BYTES = 256  # of memory, for a case beside its texts


class AboutWork(Struct, kw_only=True, omit_defaults=True):
    """What is stored of all work.

    - ``id``, ``nonce``: its name, and that of the opening of its session.
    - ``key``: a digest of its `Idempotency-Key` and principal; empty: it is removed when its
      caller disconnects.
    - ``digest``: of the request, in hexadecimal.
    - ``principal``, ``address``: its caller.
    - ``told``: what else the log says of its caller.
    - ``version``: of the language.
    - ``room``: bytes that its records may take on the disk.
    - ``created``: seconds since 1970.
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
        """The language that was asked for."""
        language: str = self.request.language
        return language

    @property
    def facts(self) -> dict[str, Any]:
        """For lines of the log about its end: whose it is, and for how many seconds it was there."""
        whose = {} if self.principal is None else {"principal": self.principal}
        seconds = round(time.time() - self.created, 1)
        return {"language": self.language, "address": self.address, **whose, **self.told, "seconds": seconds}

    @property
    def held(self) -> int:
        """Bytes of memory that its request takes, roughly: some texts have four for each character."""
        raise NotImplementedError


class About(AboutWork, kw_only=True, omit_defaults=True):
    """Of a run. ``compiles``: a compiler runs first. ``session``, ``token``: once its session is open."""

    compiles: bool
    request: RunRequest
    session: str = ""
    token: str = ""

    @property
    def held(self) -> int:
        """As `AboutWork.held`."""
        request = self.request
        texts = (request.source, request.stdin, request.stdin_base64, *request.args, *request.env.values())
        return sizes(request.files) + of_texts(texts)


class AboutBatch(AboutWork, kw_only=True, omit_defaults=True):
    """Of a batch. ``count``: of its cases."""

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
    """Bytes of memory that these take."""
    return sum(sys.getsizeof(file.content) + sys.getsizeof(file.path) for file in files)


def of_texts(texts: Iterable[object]) -> int:
    """Bytes of memory that these take; None takes none."""
    return sum(sys.getsizeof(one) for one in texts if one is not None)


def stored(about: AboutWork) -> bytes:
    """The JSON that is written of it, from which it is read again."""
    document = msgspec.to_builtins(about)
    for file in _files(document):
        file["content_base64"] = file.pop("content")  # as bytes become base64, whatever the name
    return msgspec.json.encode(document)


def _files(document: Any) -> Iterator[dict[str, Any]]:
    request = document["request"]
    yield from request.get("files", ())
    yield from request.get("checker", {}).get("files", ())


def typed(request: RunRequest) -> bytes:
    """The bytes of input. A terminal's ends with what a person types there: Ctrl-D, behind a line twice."""
    if request.mode == "pipe":
        return request.input
    return request.input + (b"\4" if request.input[-1:] in (b"", b"\n") else b"\4\4")


def messages(about: About) -> tuple[m.Open, m.Run]:
    """What a client would send for a run: its files come with the program."""
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
    """What a client would send for the program that a batch judges."""
    request = about.request
    return _with_files(about.id, request, request.args, request.env, request.limits)


def checking(about: AboutBatch) -> tuple[m.Open, m.Run]:
    """The same for a batch's program that checks."""
    return _with_files(about.id, about.request.checker, (), {}, {})


def _with_files(
    client: str,
    program: BatchRequest | Checker,
    args: tuple[str, ...],
    env: dict[str, str],
    limits: Mapping[str, int],
) -> tuple[m.Open, m.Run]:
    """The files come with the session, as they are the same for each of its programs."""
    of_session, of_run = _divided(limits)
    assert program.language is not None
    nonce = secrets.token_urlsafe(16)
    opening = m.Open(program.language, client, nonce=nonce, files=_sources(program), limits=of_session)
    return opening, m.Run(CHANNEL, "pipe", entry=program.entry, args=args, env=env, limits=of_run)


def _sources(program: RunRequest | BatchRequest | Checker) -> tuple[File, ...]:
    if program.source is None:
        return program.files
    assert program.entry is not None  # `Runs.begin` has seen to it
    return (File(program.entry, program.source.encode("utf-8", "surrogatepass")),)


def _divided(limits: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Those of the session, and those of each run in it."""
    of_run = {name: value for name, value in limits.items() if name in RUN_LIMITS}
    return {name: value for name, value in limits.items() if name not in of_run}, of_run
