"""Which answers are removed early if the spool exceeds its bound."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coderunner.errors import NoRun
from coderunner.fleet.registry import Caller
from coderunner.jobs import job, work
from coderunner.jobs.about import About, Plan, stored
from coderunner.jobs.job import Job
from coderunner.jobs.runs import SMALLEST, Runs
from coderunner.schema.api import RunRequest

SIZE = 100_000  # bytes of each answer


def ended(folder: Path, name: str, moment: float, first: str = "") -> None:
    """Stores an answer, as an earlier server does."""
    about = About(
        id=name, nonce="n", digest=name, principal="p", address="a", version="1", room=SIZE, created=0.0,
        compiles=False, request=RunRequest(language="python", source=""), key=name, plan=Plan(first=first),
    )  # fmt: skip
    (folder / name).mkdir(parents=True)
    (folder / name / job.ABOUT).write_bytes(stored(about))
    answer = folder / name / work.ANSWER
    answer.write_bytes(bytes(SIZE))
    os.utime(answer, (moment, moment))


def there(runs: Runs, name: str) -> bool:
    try:
        runs.find(name, Caller("a", "p"), Job)
    except NoRun:
        return False
    return True


@pytest.mark.parametrize(("bound", "left"), [(4, "t t-2 t-3 u"), (3, "t t-2 t-3"), (2, "")])
async def test_a_run_goes_with_its_repetitions_and_behind_older_ones(
    tmp_path: Path, bound: int, left: str
) -> None:
    """It is found by the first one's id, so without that the others would be of no use."""
    ended(tmp_path, "t", 100)
    ended(tmp_path, "t-2", 200, first="t")
    ended(tmp_path, "u", 300)
    ended(tmp_path, "t-3", 400, first="t")
    registry: Any = SimpleNamespace()
    runs = Runs(tmp_path, registry, registry, bound * (SIZE + SMALLEST + 5000))
    runs.resume()
    runs._keep_bound()  # noqa: SLF001  (called when a run ends)
    assert [name for name in ("t", "t-2", "t-3", "u") if there(runs, name)] == left.split()
