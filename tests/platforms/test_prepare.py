"""What is said where a platform cannot be had, and the second try of a test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.platforms import __main__ as platforms
from tests.platforms import machine, prepare

AWAY = """I: running apt-get update...
Err:1 http://mirror.example/debian sid InRelease
  Could not resolve 'mirror.example'
E: Failed to fetch http://mirror.example/debian/dists/sid/InRelease  Could not resolve 'mirror.example'
E: Some index files failed to download. They have been ignored, or old ones used instead.
E: apt-get update --error-on=any -oAPT::Status-Fd=<$fd> -oDpkg::Use-Pty=false failed
I: main() received signal PIPE: waiting for setup...
E: mmdebstrap failed to run
"""
MARK = """import pathlib
def test_of_chance():
    mark = pathlib.Path(__file__).with_suffix('.tried')
    tried = mark.exists()
    mark.touch()
    assert tried
def test_that_passes(): pass
"""


def test_an_archive_that_is_away_is_named_with_its_reason() -> None:
    assert prepare.first_error(AWAY) == (
        "the archive is not in reach. Failed to fetch http://mirror.example/debian/dists/sid/InRelease "
        "Could not resolve 'mirror.example'"
    )
    assert (
        prepare.first_error("I: fine\nE: Unable to locate package x\nE: failed")
        == "Unable to locate package x"
    )
    assert prepare.first_error("") == "it does not say why"


def test_a_platform_that_cannot_be_had_is_no_failure_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rootfs(*_: str) -> Path:
        raise prepare.NotRun(
            "Debian sid cannot be had from http://mirror.example/debian: the archive is away"
        )

    for module in (platforms, prepare, machine):
        monkeypatch.setattr(module, "rootfs", rootfs)
    monkeypatch.setattr(sys, "argv", ["platforms", "newest", "python"])
    assert platforms.main() == 0
    said = capsys.readouterr().out
    for name in ("newest", "python"):
        assert f"{name}: NOT RUN: Debian sid cannot be had from http://mirror.example/debian" in said
    monkeypatch.setattr(sys, "argv", ["platforms", "--prepare"])
    assert platforms.main() == 0
    assert "NOT PREPARED: Debian sid cannot be had" in capsys.readouterr().out


def test_a_failure_is_tried_again_only_where_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "test_x.py"
    for again, wanted in ((False, ("passed", "failed")), (True, ("passed", "flaky"))):
        file.write_text(MARK)
        file.with_suffix(".tried").unlink(missing_ok=True)
        # Of that folder alone: pytest names a test by its place below it.
        python = ("sh", "-c", f'cd {tmp_path} && exec {sys.executable} "$@"', "sh")
        result = prepare.pytest(("test_x.py",), python, {}, again=again)
        assert result["passed"] == (2 if again else 1)
        assert result[wanted[1]] == ["test_x.py::test_of_chance"]
        assert bool(result["failed"]) is not again
