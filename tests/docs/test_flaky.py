"""The list of flaky tests is true and short, and the second try judges as CONTRIBUTING.md says."""

from __future__ import annotations

import importlib.util
import re
import sys
from datetime import date

import pytest

from tests.harness import ROOT

ENTRIES_MAX = 16
ONCE_BAD = """
from pathlib import Path

def test_one():
    been = Path(__file__).with_name("been")
    again = been.exists()
    been.touch()
    assert again

def test_other():
    assert False
"""
ROW = "| `tests/test_it.py%s` | 2026-01-01 | x |"
ONE, OTHER = "tests/test_it.py::test_one", "tests/test_it.py::test_other"


@pytest.fixture
def flaky(tmp_path, monkeypatch):
    """The script, in a folder with a test that passes at its second try and one that never does."""
    spec = importlib.util.spec_from_file_location("flaky", ROOT / "scripts/flaky.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_it.py").write_text(ONCE_BAD)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take most of the time
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "FAILED", tmp_path / ".pytest_cache/v/cache/lastfailed")
    monkeypatch.setattr(module, "LIST", tmp_path / "tests/flaky.md")
    return module


def ci(flaky, monkeypatch, capfd, row: str, *words: str) -> tuple[int, str]:
    """A run with this row in the table: the exit code, and what is said."""
    flaky.LIST.write_text(f"| test | since | why |\n| --- | --- | --- |\n{row}\n")
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir=.", *words]
    monkeypatch.setattr(sys, "argv", ["flaky.py", *command])
    code = flaky.main()
    return code, capfd.readouterr().out


@pytest.mark.parametrize(
    ("row", "test", "code", "verdict"),
    [
        (ROW % "", ONE, 0, "flaky, as"),
        (ROW % "::test_one", ONE, 0, "flaky, as"),
        (ROW % "::test_on", ONE, 0, "FLAKY, and not in tests/flaky.md"),
        (ROW % "", OTHER, 1, "FAILED twice"),
    ],
)
def test_a_second_try(flaky, monkeypatch, capfd, row, test, code, verdict):
    ended, said = ci(flaky, monkeypatch, capfd, row, test)
    assert ended == code, said
    assert f"== {test}: {verdict}" in said


@pytest.mark.parametrize(("count", "code"), [(2, 0), (3, 1)])
def test_few_may_be_flaky_that_are_not_listed(flaky, monkeypatch, capfd, count, code):
    one, _, _ = ONCE_BAD.partition("def test_other")
    for number in range(count):
        (flaky.ROOT / f"tests/test_new{number}.py").write_text(one.replace('"been"', f'"been{number}"'))
    ended, said = ci(flaky, monkeypatch, capfd, "", *(f"tests/test_new{n}.py" for n in range(count)))
    assert ended == code, said
    assert said.count("FLAKY, and not in tests/flaky.md") == count


def test_many_failures_are_no_chance(flaky, monkeypatch, capfd):
    bad = "".join(f"def test_{number}():\n    assert 0\n" for number in range(flaky.FAILURES_MAX + 1))
    (flaky.ROOT / "tests/test_it.py").write_text(bad)
    code, said = ci(flaky, monkeypatch, capfd, ROW % "", "tests/test_it.py")
    assert code == 1
    assert "not tried again" in said
    assert "tried again:" not in said


def test_what_is_no_failed_test_is_not_tried_again(flaky, monkeypatch, capfd):
    """A run that passed, and one that could not begin."""
    assert ci(flaky, monkeypatch, capfd, "", "--version")[0] == 0
    code, said = ci(flaky, monkeypatch, capfd, "", "tests/none.py")
    assert code not in (0, 1)
    assert "tried again" not in said


def test_the_list_is_short_and_names_tests_that_there_are():
    text = (ROOT / "tests/flaky.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \| ([\d-]+) \| (.+) \|$", text, re.MULTILINE)
    assert len(rows) == text.count("\n| `"), "a row without date or reason"
    assert 0 < len(rows) <= ENTRIES_MAX
    for name, since, _ in rows:
        date.fromisoformat(since)
        path, _, function = name.partition("::")
        assert (ROOT / path).is_file(), name
        function = function.split("::")[-1]
        text = (ROOT / path).read_text()
        assert not function or f"def {function}(" in text, name
        assert re.search(r"pytest\.mark\.(timed|long)\b", text), f"{name} measures time, and is not marked so"
