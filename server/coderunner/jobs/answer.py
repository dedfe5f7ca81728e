"""From what a run's spool holds to its answer. No I/O of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from msgspec import UNSET

from coderunner.core import codec
from coderunner.core.codec import STDERR, STDOUT
from coderunner.jobs.spool import Record
from coderunner.schema import messages as m
from coderunner.schema.api import CompileView, MadeFile, Missing, Printed, RunAnswer, RunExit

P = TypeVar("P", bound=Printed)


class Heard:
    """What the records told so far. `offset`: behind the last byte of output; `run_offset`: where the
    program's own begins, None while its compiler runs."""

    def __init__(self) -> None:
        self.offset = 0
        self.run_offset: int | None = None
        self.phase: str | None = None
        self.exit: m.Exit | None = None
        self.diagnostics: tuple[m.Diagnostic, ...] = ()
        self.artifacts: dict[str, m.Artifact] = {}
        self.gaps: list[Missing] = []

    def news(self, message: m.ServerMessage) -> bool:
        """Takes a message; False where it tells nothing that was not known."""
        match message:
            case m.State():
                if message.phase == self.phase:
                    return False
                self.phase = message.phase
                if message.phase == "running":
                    self.run_offset = message.offset
            case m.Gap():
                self.gaps.append(Missing(message.from_, message.to))
                self.offset = message.to
            case m.Diagnostics():
                if message.items == self.diagnostics:
                    return False
                self.diagnostics = message.items
            case m.Artifact():
                before = self.artifacts.get(message.path)
                if before is not None and before.size == message.size:
                    return False
                self.artifacts[message.path] = message
            case m.Exit():
                self.exit = message
            case _:
                return False
        return True

    def hear(self, records: Iterable[Record]) -> None:
        """All that a spool holds."""
        for record in records:
            if isinstance(record.frame, str):
                self.news(codec.decode_server_text(record.frame))
            else:
                frame = codec.decode_output(record.frame)
                self.offset = frame.offset + len(frame.payload)


def pieces(records: Iterable[Record]) -> Iterator[codec.OutputFrame]:
    """The frames of output."""
    for record in records:
        if isinstance(record.frame, bytes):
            yield codec.decode_output(record.frame)


def printed(kind: type[P], frames: Iterable[codec.OutputFrame], begin: int, end: int, **more: object) -> P:
    """What stands between two offsets, as a `kind`."""
    both = bytearray()
    streams = {STDOUT: bytearray(), STDERR: bytearray()}
    order = [0]
    for frame in frames:
        data = frame.payload[max(0, begin - frame.offset) : max(0, end - frame.offset)]
        if not data:
            continue
        both += data
        streams[frame.stream] += data
        if (frame.stream == STDERR) is (len(order) % 2 == 1):
            order.append(0)
        order[-1] += len(data)
    texts = {**text("stdout", streams[STDOUT]), **text("stderr", streams[STDERR]), **text("output", both)}
    return kind(**texts, order=tuple(order), **more)  # type: ignore[arg-type]


def text(name: str, data: bytes | bytearray) -> dict[str, str | bytes]:
    """A field of this name, or of that with `_base64` where the bytes are not UTF-8."""
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": bytes(data)}


def answer(
    about: dict[str, str],
    heard: Heard,
    frames: list[codec.OutputFrame],
    made: tuple[MadeFile, ...],
    *,
    compiles: bool,
) -> RunAnswer:
    """The answer of a run that has ended. `about`: its id, language and version. `compiles`: it begins with
    a compiler."""
    ended = heard.exit
    assert ended is not None
    failed = ended.reason == "compile_failed"
    run_offset = ended.offset if compiles else 0
    if heard.run_offset is not None and not failed:
        run_offset = heard.run_offset
    return printed(
        RunAnswer,
        frames,
        run_offset,
        ended.offset,
        **about,
        exit=RunExit(
            ended.reason, ended.code, ended.signal, ended.limits_hit, ended.left_behind, ended.usage
        ),
        compile=printed(CompileView, frames, 0, run_offset, failed=failed) if compiles else None,
        diagnostics=heard.diagnostics,
        artifacts=made,
        gaps=tuple(heard.gaps),
    )


def without_output(whole: RunAnswer) -> RunAnswer:
    """The same without what was printed, for who has had that as events."""
    empty = dict.fromkeys(Printed.__struct_fields__, UNSET)
    fields = {name: getattr(whole, name) for name in whole.__struct_fields__}
    if whole.compile is not None:
        fields["compile"] = CompileView(**empty, failed=whole.compile.failed)
    return RunAnswer(**{**fields, **empty})


def cancelled() -> m.Exit:
    """Of a run that was cancelled before it had begun."""
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
