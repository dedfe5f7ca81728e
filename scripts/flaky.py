#!/usr/bin/env python3
"""Continuous integration's one second try: each test that failed is run once more, alone.

    scripts/flaky.py COMMAND...     COMMAND is a run of pytest, as scripts/test.sh is

What fails again, fails. What passes then is flaky, and is said to be: tests/flaky.md has those whose reason
is known. Of others a run may have two, which are to be mended or listed next: with more the run fails, as the
list would grow. Many failures at once are no noise, and are not tried again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIST = ROOT / "tests/flaky.md"
FAILED = ROOT / ".pytest_cache/v/cache/lastfailed"
FAILURES_MAX = 6
"""More tests than this do not fail by chance in one run."""
UNLISTED_MAX = 2
"""On a machine that others use, one of some thousand tests fails by chance now and then."""
SECONDS = 600
"""Of one test's second try; a first server's start is part of it."""
TESTS_FAILED = 1
"""pytest's exit code where it ran to its end and tests failed."""


def listed(text: str) -> list[str]:
    """The tests in the table: files (all that is in them), or functions (with all their parameters)."""
    return re.findall(r"^\| `(tests/[^`]+)` \|", text, re.MULTILINE)


def is_listed(test: str, names: list[str]) -> bool:
    """Whether a test, as pytest names it, is one of the table's."""
    return any(test.partition("[")[0] == name or test.startswith(f"{name}::") for name in names)


def failed() -> list[str]:
    """What the last run of pytest noted down."""
    return list(json.loads(FAILED.read_text())) if FAILED.exists() else []


def passes_alone(test: str) -> bool:
    """A run of pytest of its own, with servers of its own."""
    print(f"\n== failed once, and is tried again: {test}\n", flush=True)
    command = [sys.executable, "-m", "pytest", "-m", "", "-p", "no:cacheprovider", "-q", test]
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def judge(tests: list[str], names: list[str]) -> int:
    """Tries them again, and says what came of it; the exit code."""
    if len(tests) > FAILURES_MAX:
        print(f"\n== {len(tests)} tests failed; more than {FAILURES_MAX} are not tried again")
        return 1
    code = unlisted = 0
    verdicts = []
    for test in tests:
        if not passes_alone(test):
            verdict = "FAILED twice"
            code = 1
        elif is_listed(test, names):
            verdicts.append(f"{test}: flaky, as tests/flaky.md says")
            continue
        else:
            verdict = "FLAKY, and not in tests/flaky.md: let it wait for what it asserts, or list it there"
            unlisted += 1
        verdicts.append(f"{test}: {verdict}")
    print("\n".join(["", *(f"== {one}" for one in verdicts)]), flush=True)
    return code or int(unlisted > UNLISTED_MAX)


def main() -> int:
    """See above."""
    FAILED.unlink(missing_ok=True)
    code = subprocess.run(sys.argv[1:], cwd=ROOT, check=False).returncode
    if code != TESTS_FAILED:
        return code
    return judge(tests, listed(LIST.read_text())) if (tests := failed()) else code


if __name__ == "__main__":
    sys.exit(main())
