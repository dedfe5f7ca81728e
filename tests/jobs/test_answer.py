"""From a run's records to its answer: both streams and their order, phases, the end, what is missing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from coderunner.core import codec
from coderunner.core.codec import STDERR, STDOUT, OutputFrame
from coderunner.jobs import answer as answers
from coderunner.jobs.answer import MOST_STOPS, Heard
from coderunner.jobs.spool import Record
from coderunner.schema import messages as m
from coderunner.schema.api import CompileView, Missing, Printed, RunAnswer

ABOUT = {"id": "r", "status": "done", "language": "c", "version": "1"}
USAGE = m.Usage(wall_ms=1, cpu_ms=1, memory_peak_bytes=1, output_bytes=1)


def ended(reason: str = "exited", offset: int = 0) -> m.Exit:
    return m.Exit(
        channel=1,
        code=0,
        signal=None,
        reason=reason,
        limits_hit=(),
        left_behind=0,
        usage=USAGE,
        offset=offset,
    )


def frames(*parts: tuple[int, bytes]) -> list[OutputFrame]:
    """Output, one frame behind the other."""
    all_of_them, offset = [], 0
    for stream, data in parts:
        all_of_them.append(OutputFrame(1, stream, offset, data))
        offset += len(data)
    return all_of_them


def records(*told: m.ServerMessage | OutputFrame) -> list[Record]:
    texts = [
        codec.encode_output(one.channel, one.stream, one.offset, one.payload)
        if isinstance(one, OutputFrame)
        else codec.encode_server(one)
        for one in told
    ]
    return [Record(number, text) for number, text in enumerate(texts)]


def whole_answer(heard: Heard, told: list[OutputFrame], *, compiles: bool) -> RunAnswer:
    """As a caller reads it, whose pieces are one document."""
    _, pieces = answers.answers(ABOUT, heard, lambda: iter(told), (), compiles=compiles)
    return msgspec.json.decode(b"".join(pieces), type=RunAnswer)


def streams_of(printed: Printed) -> list[bytes]:
    """What a caller makes of `output` and `order`: standard output and standard error."""
    output = printed.output_base64 if printed.output is UNSET else printed.output.encode()
    parts, at = [b"", b""], 0
    for index, size in enumerate(printed.order):
        parts[index % 2] += output[at : at + size]
        at += size
    assert at == len(output)
    return parts


@given(st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=6)), max_size=8))
def test_both_streams_and_their_order(parts):
    told = frames(*parts)
    end = sum(len(data) for _, data in parts)
    heard = Heard()
    heard.hear(records(*told, ended(offset=end)))
    printed = whole_answer(heard, told, compiles=False)
    expected = [b"".join(data for stream, data in parts if stream == which) for which in (STDOUT, STDERR)]
    assert streams_of(printed) == expected
    for name, data in zip(("stdout", "stderr"), expected, strict=True):
        text, coded = getattr(printed, name), getattr(printed, f"{name}_base64")
        assert (text is UNSET) is not (coded is UNSET), "one of the two"
        assert (coded if text is UNSET else text.encode()) == data


def test_a_frame_across_both_phases_is_cut_where_the_program_began():
    told = frames((STDOUT, b"warning!out"), (STDERR, b"err"))
    heard = Heard()
    heard.hear(
        records(m.State(1, "compiling", 0), told[0], m.State(1, "running", 8), told[1], ended(offset=14))
    )
    whole = whole_answer(heard, told, compiles=True)
    compiler = CompileView(stdout="warning!", stderr="", output="warning!", order=(8,), failed=False)
    assert whole.compile == compiler
    assert (whole.stdout, whole.stderr, whole.order) == ("out", "err", (3, 3))


@pytest.mark.parametrize("state", ["compiling", "running"])
def test_where_the_compiler_failed_all_is_its_own(state):
    told = frames((STDERR, b"error"))
    heard = Heard()
    heard.hear(records(m.State(1, state, 0), *told, ended("compile_failed", 5)))
    whole = whole_answer(heard, told, compiles=True)
    assert whole.compile is not None
    assert (whole.compile.failed, whole.compile.stderr, whole.stderr) == (True, "error", "")


def test_a_language_without_a_compiler_has_no_such_part():
    told = frames((STDOUT, b"x"))
    heard = Heard()
    heard.hear(records(*told, ended(offset=1)))
    whole = whole_answer(heard, told, compiles=False)
    assert (whole.compile, whole.stdout) == (None, "x")


def test_what_is_missing_is_named():
    told = frames((STDOUT, b"ab"))
    late = OutputFrame(1, STDOUT, 10, b"z")
    heard = Heard()
    heard.hear(records(told[0], m.Gap(1, 2, 10), late, ended(offset=11)))
    assert heard.offset == 11
    whole = whole_answer(heard, [*told, late], compiles=False)
    assert (whole.gaps, whole.stdout) == ((Missing(2, 10),), "abz")


def test_what_is_told_twice_is_no_news():
    heard = Heard()
    problem = m.Diagnostic(path="a.c", line=1, column=1, severity="error", message="x")
    once = [
        m.State(1, "running", 0),
        m.Diagnostics(1, (problem,)),
        m.Artifact(1, "a.png", "image/png", 5, "/a"),
        ended(),
    ]
    assert [heard.news(one) for one in once] == [True] * 4
    assert [heard.news(one) for one in once[:3]] == [False] * 3
    assert heard.news(m.Artifact(1, "a.png", "image/png", 6, "/a")), "it has changed"
    assert not heard.news(m.Closed("idle"))


def test_a_program_that_stops_and_continues_is_told_as_such_and_not_without_end():
    heard = Heard()
    turns = [m.Stopped(1, "STOP"), m.Stopped(1, "STOP"), m.Stopped(1, None), m.Stopped(1, None)]
    assert [heard.news(one) for one in turns] == [True, False, True, False]
    told = [one.by for one in turns * (2 * MOST_STOPS) if heard.news(one)]
    assert told == ["STOP", None] * (MOST_STOPS - 1), "each with its end"


def test_without_output_the_rest_is_the_same():
    told = frames((STDOUT, b"x"))
    heard = Heard()
    heard.hear(records(m.State(1, "running", 0), *told, ended(offset=1)))
    whole = whole_answer(heard, told, compiles=True)
    short, _ = answers.answers(ABOUT, heard, lambda: iter(told), (), compiles=True)
    bare = msgspec.json.decode(short, type=RunAnswer)
    for name in RunAnswer.__struct_fields__:
        if name in Printed.__struct_fields__:
            assert getattr(bare, name) is UNSET
        elif name != "compile":
            assert getattr(bare, name) == getattr(whole, name)
    assert bare.compile is not None
    assert (bare.compile.failed, bare.compile.order) == (False, UNSET)


def test_a_run_that_was_cancelled_before_it_began_has_an_end():
    heard = Heard()
    heard.news(answers.cancelled())
    whole = whole_answer(heard, [], compiles=True)
    assert (whole.exit.reason, whole.stdout, whole.exit.usage.cpu_ms) == ("killed", "", None)
