"""`coderunner bench`: what it prints of a running server, and what it says beside a baseline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coderunner import cli
from coderunner.bench import run
from coderunner.bench.measure import MS, RATE
from tests.harness import Server, wait_until

FIGURES = (
    "an HTTP request, there and back", "connection to `hello`", "`open` to `opened`",
    "Python hello, `run` to its first byte", "the same run again, to its end", "a keystroke's echo",
    "4 MB of output, tty", "4 MB of output, pipe",
)  # fmt: skip


def command(*words: str) -> int:
    return cli.main(["--env-file", "/dev/null", "bench", *words])


def test_a_running_server_is_measured_and_nothing_stays(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, before = tmp_path / "before.json", server.stats()["queue"]["active"]
    assert command("--url", server.url, "--rounds", "1", "--save", str(file)) == 0
    said = capsys.readouterr().out
    for title in FIGURES:
        assert title in said
    figures = json.loads(file.read_text())["figures"]
    assert list(figures) == list(FIGURES)
    assert all(one["p50"] > 0 for one in figures.values())
    assert figures["4 MB of output, tty"]["unit"] == RATE
    # Sessions of tests before, which somebody may still come back to, are not its own.
    wait_until(lambda: server.stats()["queue"]["active"] <= before, 30, "its sessions' ends")


def test_what_is_worse_than_before_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [run.Row("slower", MS, [3.0, 3.0]), run.Row("same", MS, [1.0]), run.Row("rate", RATE, [10.0])]
    before = {"slower": 2.0, "same": 1.0, "rate": 50.0}
    assert [row.title for row in run.worse(rows, before)] == ["slower", "rate"]
    lines = run.table(rows, before)
    assert [line[0] for line in lines[1:]] == ["!", " ", "!"]
    assert lines[1].endswith("1.50 x")
    assert lines[3].endswith("5.00 x")
    assert not run.worse(rows, {})


def test_of_many_figures_the_99th_percentile_is_towards_what_is_worse() -> None:
    values = [float(number) for number in range(1, 101)]
    assert run.Row("times", MS, values).p99 == 100
    assert run.Row("rates", RATE, values).p99 == 1
    assert run.Row("one", MS, [7.0]).p50 == run.Row("one", MS, [7.0]).p99 == 7


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"format": 1, "figures": {"a": 1}}', '{"format": 1, "figures": {"a": {"p50": 0}}}'],
)
def test_a_file_that_is_no_baseline_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file = tmp_path / "baseline"
    file.write_text(text)
    assert command("--url", "http://127.0.0.1:9/", "--baseline", str(file)) == 1
    assert "is not a baseline" in capsys.readouterr().err
    assert command("--url", "http://127.0.0.1:9/", "--baseline", str(tmp_path / "none")) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_without_a_server_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--url", "http://127.0.0.1:9/") == 2
    assert "http://127.0.0.1:9/ cannot be measured" in capsys.readouterr().out


@pytest.mark.parametrize("rounds", ["0", "-1", "x", "100000"])
def test_rounds_are_a_number_in_bounds(capsys: pytest.CaptureFixture[str], rounds: str) -> None:
    with pytest.raises(SystemExit):
        command("--rounds", rounds)
    assert "--rounds" in capsys.readouterr().err
