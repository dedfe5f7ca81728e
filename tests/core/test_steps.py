"""What a build says."""

from __future__ import annotations

import pytest

from coderunner.core.steps import BuildStep, is_detail, plain, step_of, why_failed

STEP = BuildStep(3, 9, "RUN apt-get install -y gcc")


def test_a_step_is_told_from_other_lines():
    assert step_of("Step 3/9 : RUN apt-get install   -y gcc") == STEP
    assert str(STEP) == "step 3 of 9"
    assert step_of("Stepping 3/9 : RUN x") is None
    assert step_of("building coderunner/c:123") is None


def test_colours_are_left_out():
    assert plain("\x1b[91mE: no [such] package\n\x1b[0m") == "E: no [such] package"


@pytest.mark.parametrize(
    ("line", "detail"),
    [("Step 1/2 : FROM x", True), ("| Get:1 http://deb", True), ("built coderunner/c:1 in 3 s", False)],
)
def test_details_are_steps_and_output(line: str, detail: bool):
    assert is_detail(line) is detail


def test_a_failure_is_one_sentence():
    engine = "The command '/bin/sh -c apt-get install' returned a non-zero code: 100"
    assert (
        why_failed(STEP, engine)
        == "step 3 of 9 (RUN apt-get install -y gcc): its command ended with code 100"
    )
    assert why_failed(None, "no such\nimage") == "no such image"
