"""Every test of cuts, adoption, faults, flow and attack once more, with agents reached over the engine.

But what would only repeat itself is left out: attacks that reach no agent (`ELSEWHERE` in
tests/attack/test_attack.py), and two hundred networks of groups one after another.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.harness import ROOT

MODULES = (
    "tests/web/test_cuts.py", "tests/web/test_attach.py", "tests/web/test_restart.py",
    "tests/web/test_faults.py", "tests/web/test_flow.py", "tests/web/test_stall.py",
    "tests/web/test_stop.py", "tests/web/test_run.py", "tests/web/test_expiry.py",
    "tests/web/test_groups.py", "tests/web/test_overrun.py", "tests/faults/test_engine.py",
    "tests/faults/test_daemon.py", "tests/attack/test_attack.py",
)  # fmt: skip
REPEATS = ("test_two_hundred_one_after_another_leave_nothing",)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("module", MODULES)
def test_it_holds_over_the_engine(module):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-m", "", "-p", "no:cacheprovider",
         *(f"--deselect={module}::{test}" for test in REPEATS), module],
        cwd=ROOT, env={**os.environ, "AGENT_STREAM": "attach"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1700,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
