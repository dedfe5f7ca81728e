"""Verdicts: how a case ended, and whether its output is the expected one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderunner.core.codec import STDERR, STDOUT, OutputFrame
from coderunner.jobs.verdicts import (
    COMPILE_SHOWN,
    Outcome,
    by_end,
    compared,
    compile_view,
    verdict_of,
    without_evidence,
)
from coderunner.schema.batches import Case, Checker
from coderunner.schema.messages import Exit, Usage

USAGE = Usage(wall_ms=1, cpu_ms=1, memory_peak_bytes=1, output_bytes=1)
EXACT, WORDS, FLOATS = (Checker(kind=kind) for kind in ("exact", "tokens", "floats"))


def outcome(*pieces: tuple[int, bytes], run_offset: int = 0, **told: object) -> Outcome:
    """A program that wrote these pieces, as (stream, bytes), and ended as `told` says."""
    frames, at = [], 0
    for stream, data in pieces:
        frames.append(OutputFrame(1, stream, at, data))
        at += len(data)
    end = {"code": 0, "signal": None, "reason": "exited", "limits_hit": (), "left_behind": 0, **told}
    return Outcome(Exit(channel=1, usage=USAGE, offset=at, **end), tuple(frames), run_offset)


class TestEnd:
    @pytest.mark.parametrize(
        ("told", "verdict"),
        [
            ({}, None),
            ({"code": 1}, "runtime_error"),
            ({"reason": "signaled", "code": None, "signal": "SEGV"}, "runtime_error"),
            ({"reason": "signaled", "code": None, "limits_hit": ("memory",)}, "memory_limit"),
            ({"code": 137, "limits_hit": ("memory",)}, "memory_limit"),
            ({"code": 0, "limits_hit": ("memory",)}, None),  # a child was killed, and the program went on
            ({"reason": "oom", "code": None}, "memory_limit"),
            ({"reason": "wall_timeout", "code": None}, "time_limit"),
            ({"reason": "cpu_timeout", "code": None}, "time_limit"),
            ({"reason": "output_limit", "code": None}, "output_limit"),
            ({"reason": "killed", "code": None}, "runtime_error"),
        ],
    )
    def test_a_program_that_did_not_end_well_has_its_verdict_from_that(self, told, verdict):
        assert by_end(outcome(**told)) == verdict


class TestComparison:
    @pytest.mark.parametrize(
        ("checker", "wanted", "got"),
        [
            (EXACT, b"1 2\n", b"1 2\n"),
            (WORDS, b"1 2\n", b"  1\n\n2"),
            (WORDS, b"", b" \n"),
            (FLOATS, b"0.5", b".5000000001"),
            (FLOATS, b"1e3 x", b"1000.0000001 x"),
            (FLOATS, b"1000000000", b"1000000001"),  # the tolerance is relative, too
        ],
    )
    def test_equal(self, checker, wanted, got):
        assert compared(checker, wanted, got) == ""

    @pytest.mark.parametrize(
        ("checker", "wanted", "got", "said"),
        [
            (EXACT, b"1 2", b"1 3", "byte 2: expected b'2', found b'3'"),
            (EXACT, b"12", b"1", "byte 1: expected b'2', found b''"),
            (EXACT, b"1\n", b"1", "byte 1: expected b'\\n', found b''"),
            (WORDS, b"a b", b"a c", "word 2: expected 'b', found 'c'"),
            (WORDS, b"a b", b"a", "word 2: expected 'b', found the end"),
            (WORDS, b"a", b"a b", "word 2: expected the end, found 'b'"),
            (WORDS, b"0.5", b".5", "word 1: expected '0.5', found '.5'"),
            (FLOATS, b"0.5", b"0.6", "word 1: expected '0.5', found '0.6'"),
            (FLOATS, b"0.5", b"nan", "word 1: expected '0.5', found 'nan'"),
            (FLOATS, b"1", b"1_0", "word 1: expected '1', found '1_0'"),
            (FLOATS, b"1e999", b"-1e999", "word 1: expected '1e999', found '-1e999'"),
            (WORDS, b"a" * 41, b"b", f"word 1: expected '{'a' * 40}'..., found 'b'"),
        ],
    )
    def test_the_first_difference_is_described(self, checker, wanted, got, said):
        assert compared(checker, wanted, got) == said

    def test_a_number_of_many_digits_is_not_parsed(self):
        assert compared(FLOATS, b"1" * 401, b"1" * 400 + b"2") != ""

    @given(st.binary(max_size=40), st.binary(max_size=40))
    def test_exact_is_equality(self, wanted, got):
        assert (compared(EXACT, wanted, got) == "") is (wanted == got)

    @given(words=st.lists(st.sampled_from([b"1", b"0.25", b"-3e2", b"x"]), max_size=6))
    @pytest.mark.parametrize("between", [b" ", b"\n\t"])
    def test_white_space_never_matters_to_words_and_numbers(self, between, words):
        for checker in (WORDS, FLOATS):
            assert compared(checker, b" ".join(words), between.join(words) + between) == ""


class TestOutput:
    def test_a_stream_is_without_the_others_and_the_compilers_output(self):
        one = outcome((STDERR, b"warn"), (STDOUT, b"out"), (STDERR, b"err"), (STDOUT, b"put"), run_offset=4)
        assert (one.stream(STDOUT), one.stream(STDERR)) == (b"output", b"err")

    def test_a_frame_with_the_end_of_the_compiler_and_the_beginning_of_the_program_is_divided(self):
        assert outcome((STDOUT, b"compiledran"), run_offset=8).stream(STDOUT) == b"ran"

    def test_what_a_compiler_wrote_is_shown_by_stream_and_in_order(self):
        pieces = (STDERR, b"a"), (STDOUT, b"bc"), (STDOUT, b"d"), (STDERR, b"e")
        view = compile_view(outcome(*pieces, run_offset=5))
        assert (view.stdout, view.stderr, view.output, view.failed) == ("bcd", "ae", "abcde", False)
        assert view.order == (0, 1, 3, 1)  # bytes of stdout and of stderr, in turns

    def test_of_a_failed_compiler_all_is_its_own_up_to_a_bound(self):
        view = compile_view(outcome((STDERR, b"e" * (COMPILE_SHOWN + 9)), reason="compile_failed", code=1))
        assert view.failed
        assert view.stderr == "e" * COMPILE_SHOWN

    def test_a_compiler_that_a_limit_ends_has_failed(self):
        one = outcome((STDERR, b"e"), reason="wall_timeout", code=None, signal="KILL")
        assert compile_view(one).failed is False, "the program itself was ended"
        view = compile_view(replace(one, began=False))
        assert (view.failed, view.stderr) == (True, "e")


class TestVerdict:
    def test_it_has_the_evidence_and_as_much_output_as_is_wanted(self):
        one = outcome((STDOUT, "aé".encode()), (STDERR, b"err"), code=3)
        told = verdict_of(2, Case(name="third"), "runtime_error", one, 2, "why")
        assert (told.index, told.verdict, told.name, told.message) == (2, "runtime_error", "third", "why")
        assert (told.reason, told.code, told.usage) == ("exited", 3, USAGE)
        assert (told.stdout, told.stderr) == ("a", "er")  # no character is cut

    def test_without_output_where_none_is_wanted(self):
        told = verdict_of(0, Case(), "passed", outcome((STDOUT, b"x")), 0)
        assert not told.stdout
        assert not told.message

    def test_a_case_that_was_not_run_has_no_evidence(self):
        told = without_evidence(1, Case(name="b"), "not_run", "a limit")
        assert (told.index, told.verdict, told.name, told.message) == (1, "not_run", "b", "a limit")
        assert not told.reason
