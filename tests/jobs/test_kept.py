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


def ended(folder: Path, name: str, moment: float, first: str = "", again: int = 0) -> None:
    """Stores an answer, as an earlier server does."""
    plan = Plan(first=first, again=again)
    about = About(
        id=name, nonce="n", digest=name, principal="p", address="a", version="1", room=SIZE, created=0.0,
        compiles=False, request=RunRequest(language="python", source=""), key=name, plan=plan,
    )  # fmt: skip
    (folder / name).mkdir(parents=True)
    (folder / name / job.ABOUT).write_bytes(stored(about))
    answer = folder / name / work.ANSWER
    answer.write_bytes(bytes(SIZE))
    os.utime(answer, (moment, moment))


def kept(folder: Path, bound: int, *failed: str) -> Runs:
    """What is left where there is room for `bound`. `failed`: which have an error and no answer."""
    registry: Any = SimpleNamespace()
    runs = Runs(folder, registry, registry, bound * (SIZE + SMALLEST + 5000))
    runs.resume()
    for name in failed:
        work = runs.find(name, Caller("a", "p"), Job)
        work.done, work.error = False, NoRun()
        runs._count(work)  # noqa: SLF001  (called when a run ends)
    runs._keep_bound()  # noqa: SLF001  (called when a run ends)
    return runs


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
    runs = kept(tmp_path, bound)
    assert [name for name in ("t", "t-2", "t-3", "u") if there(runs, name)] == left.split()


async def test_a_repetition_that_failed_does_not_keep_the_others(tmp_path: Path) -> None:
    for number, name in enumerate(("t", "t-2", "t-3", "u")):
        ended(tmp_path, name, 100 * number, first="t" * name.startswith("t-"), again=9)
    runs = kept(tmp_path, 2, "t-3")
    assert [name for name in ("t", "t-2", "t-3", "u") if there(runs, name)] == ["u"]


async def test_a_failure_alone_is_kept_as_nothing_is_gained(tmp_path: Path) -> None:
    for moment, name in enumerate(("s", "t", "u")):
        ended(tmp_path, name, moment)
    runs = kept(tmp_path, 1, "s")
    assert [name for name in ("s", "t", "u") if there(runs, name)] == ["s", "u"]


async def test_runs_that_go_on_are_the_last_to_go(tmp_path: Path) -> None:
    """Between two of a submission's runs all that it has so far are done."""
    ended(tmp_path, "t", 100, again=2)
    ended(tmp_path, "t-2", 200, first="t", again=1)
    ended(tmp_path, "u", 300)
    runs = kept(tmp_path, 2)
    assert [name for name in ("t", "t-2", "u") if there(runs, name)] == ["t", "t-2"]
