"""Makes a run's answer from the records in its spool. No I/O of its own."""

from __future__ import annotations

import binascii
import codecs
from collections.abc import Callable, Iterable, Iterator
from typing import TypedDict

import msgspec
from msgspec import UNSET

from coderunner.core import codec
from coderunner.core.codec import STDERR, STDOUT
from coderunner.jobs.spool import Record
from coderunner.schema import messages as m
from coderunner.schema.api import CompileView, MadeFile, Missing, RunAnswer, RunExit

MOST_STOPS = 1000  # of a run that are told: a program may stop and continue for as long as it runs
Frames = Callable[[], Iterator[codec.OutputFrame]]


class Heard:
    """The state of a run, collected from its records. `offset`: end of the output so far. `run_offset`: where
    the program's output begins, after the compiler's; None while the compiler runs."""

    def __init__(self) -> None:
        self.offset = 0
        self.run_offset: int | None = None
        self.phase: str | None = None
        self.exit: m.Exit | None = None
        self.diagnostics: tuple[m.Diagnostic, ...] = ()
        self.artifacts: dict[str, m.Artifact] = {}
        self.gaps: list[Missing] = []
        self._stopped: str | None = None
        self._stops = 0

    def news(self, message: m.ServerMessage) -> bool:
        """Processes a message. Returns False if it contains nothing new, so that it need not be stored."""
        match message:
            case m.State():
                if message.phase == self.phase:
                    return False
                self.phase = message.phase
                if message.phase == "running":
                    self.run_offset = message.offset
            # Output that the journal had dropped before this server came back: offsets go on behind it.
            case m.Gap():
                self.gaps.append(Missing(message.from_, message.to))
                self.offset = message.to
            case m.Diagnostics():
                if message.items == self.diagnostics:
                    return False
                self.diagnostics = message.items
            case m.Artifact():
                # Sent again whenever the file's size changes while the program writes it.
                before = self.artifacts.get(message.path)
                if before is not None and before.size == message.size:
                    return False
                self.artifacts[message.path] = message
            case m.Stopped():
                if message.by == self._stopped or (message.by is not None and self._stops >= MOST_STOPS):
                    return False
                self._stopped = message.by
                self._stops += message.by is not None
            case m.Exit():
                self.exit = message
            case _:
                return False
        return True

    def hear(self, records: Iterable[Record]) -> None:
        """Processes all records of a spool."""
        for record in records:
            if isinstance(record.frame, str):
                self.news(codec.decode_server_text(record.frame))
            else:
                frame = codec.decode_output(record.frame)
                self.offset = frame.offset + len(frame.payload)


def pieces(records: Iterable[Record]) -> Iterator[codec.OutputFrame]:
    """The frames of output among the records, decoded."""
    for record in records:
        if isinstance(record.frame, bytes):
            yield codec.decode_output(record.frame)


def _phase(frames: Frames, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yields (stream, bytes) of the output between two offsets."""
    for frame in frames():
        data = frame.payload[max(0, begin - frame.offset) : max(0, end - frame.offset)]
        if data:
            yield frame.stream, data


def _printed(frames: Frames, begin: int, end: int) -> Iterator[bytes]:
    """Yields the fields of `Printed` as JSON, each after a comma."""
    # Lengths of the alternating parts of stdout and stderr, beginning with stdout.
    # Two passes over the spool, here and below: the output need not be in memory.
    order = [0]
    for stream, data in _phase(frames, begin, end):
        if (stream == STDERR) is (len(order) % 2 == 1):
            order.append(0)
        order[-1] += len(data)
    for name, streams in (("stdout", (STDOUT,)), ("stderr", (STDERR,)), ("output", (STDOUT, STDERR))):
        yield from _text(name, lambda wanted=streams: (  # type: ignore[misc]
            data for stream, data in _phase(frames, begin, end) if stream in wanted
        ))  # fmt: skip
    yield b',"order":' + msgspec.json.encode(order)


def _text(name: str, parts: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    """As `text`, but yields JSON, for bytes that should not all be in memory. `parts`: yields them, each time
    it is called."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for data in parts():
            decoder.decode(data)
        # The last character may be incomplete.
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        yield f',"{name}_base64":"'.encode()
        left = b""
        for data in parts():
            left += data
            # Base64 encodes groups of three bytes; the rest is kept for the next piece.
            whole = len(left) // 3 * 3
            yield binascii.b2a_base64(left[:whole], newline=False)
            left = left[whole:]
        yield binascii.b2a_base64(left, newline=False) + b'"'
        return
    # Incremental: a character of several bytes may be divided between two records.
    decoder = codecs.getincrementaldecoder("utf-8")()
    yield f',"{name}":"'.encode()
    for data in parts():
        # Without the quotes: the pieces make one text.
        yield msgspec.json.encode(decoder.decode(data))[1:-1]
    yield b'"'


def text(name: str, data: bytes | bytearray) -> dict[str, str | bytes]:
    """A field of this name, or with `_base64` appended to the name if the bytes are not UTF-8."""
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": bytes(data)}


class Whose(TypedDict):
    """The fields of an answer that identify its run."""

    id: str
    status: str
    language: str
    version: str


def answers(
    about: Whose,
    heard: Heard,
    frames: Frames,
    made: tuple[MadeFile, ...],
    *,
    compiles: bool,
) -> tuple[bytes, Iterator[bytes]]:
    """Makes the answer of a run that has ended, as JSON. Returns it without the output, for callers that
    received that as events, and in full, in pieces, as it may be twelve times as long as the output.

    `about`: id, language and version. `heard`: the run's state. `frames`: yields all output from the
    beginning. `made`: its artifacts. `compiles`: whether a compiler runs first.
    """
    ended = heard.exit
    assert ended is not None
    # A compiler that was ended, by a limit or by its caller, made no program either.
    failed = ended.reason == "compile_failed" or (compiles and heard.run_offset is None)
    run_offset = ended.offset if compiles else 0
    if heard.run_offset is not None and not failed:
        run_offset = heard.run_offset
    compiled = CompileView(failed=failed, usage=ended.compile_usage or UNSET) if compiles else None
    short = RunAnswer(
        **about,
        exit=RunExit(
            ended.reason,
            ended.code,
            ended.signal,
            ended.limits_hit,
            ended.left_behind,
            ended.usage,
            ended.hints,
        ),
        compile=compiled,
        diagnostics=heard.diagnostics,
        artifacts=made,
        gaps=tuple(heard.gaps),
    )

    # Twelve times: six for each control character ("\u0000"), in `stdout` and again in `output`.
    def whole() -> Iterator[bytes]:
        document = msgspec.to_builtins(short)
        if compiles:
            del document["compile"]
        yield msgspec.json.encode(document)[:-1]
        yield from _printed(frames, run_offset, ended.offset)
        if compiles:
            yield b',"compile":' + msgspec.json.encode(compiled)[:-1]
            yield from _printed(frames, 0, run_offset)
            yield b"}"
        yield b"}"

    return msgspec.json.encode(short), whole()


def cancelled() -> m.Exit:
    """The `exit` of a run that was cancelled before it began."""
    usage = m.Usage(wall_ms=None, cpu_ms=None, memory_peak_bytes=None, output_bytes=0)
    return m.Exit(
        channel=1,
        code=None,
        signal=None,
        reason="killed",
        limits_hit=(),
        left_behind=0,
        usage=usage,
        offset=0,
    )
