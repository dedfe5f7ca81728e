"""What a platform is made of, what is said where it cannot be had, and the second try of a test."""

from __future__ import annotations

import socket
import subprocess
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
    monkeypatch.setattr(sys, "argv", ["platforms", "newest", "python", "ubuntu"])
    assert platforms.main() == 0
    said = capsys.readouterr().out
    for name in ("newest", "python", "ubuntu"):
        assert f"{name}: NOT RUN: Debian sid cannot be had from http://mirror.example/debian" in said
    monkeypatch.setattr(sys, "argv", ["platforms", "--prepare"])
    assert platforms.main() == 0
    assert "NOT PREPARED: Debian sid cannot be had" in capsys.readouterr().out


def test_an_archive_that_does_not_answer_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "REACH_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/InRelease"
        with pytest.raises(prepare.NotRun, match=r"^X: the archive is not in reach\. No answer within 0\.5"):
            prepare.reach(address, "X")
    with pytest.raises(prepare.NotRun, match=r"^X: the archive is not in reach\. Failed to fetch"):
        prepare.reach(address, "X")


def test_the_archive_is_the_nearest_of_its_own_system() -> None:
    sources = "Types: deb\nURIs: http://mirror.example/debian/\nSuites: bookworm\n"
    assert prepare.DEBIAN.nearest(sources) == "http://mirror.example/debian"
    assert prepare.UBUNTU.nearest(sources) == prepare.UBUNTU.address
    assert prepare.UBUNTU.nearest(sources.replace("debian", "ubuntu")) == "http://mirror.example/ubuntu"
    assert prepare.DEBIAN.nearest(sources + "-security") == "http://mirror.example/debian"


def test_ubuntus_packages_are_checked_with_the_keys_of_debians_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With no more than these keys, and never unchecked."""
    made: list[list[str]] = []
    asked: list[str] = []

    def run(command: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[str]:
        made.append(list(command))
        next(Path(word) for word in command if word.startswith(str(tmp_path))).mkdir()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(prepare, "WORK", tmp_path)
    monkeypatch.setattr(prepare.os, "getuid", lambda: 0)
    monkeypatch.setattr(prepare.shutil, "which", lambda _: "/usr/bin/mmdebstrap")
    monkeypatch.setattr(prepare.Archive, "nearest", lambda self, _: self.address)
    monkeypatch.setattr(prepare, "reach", lambda address, _: asked.append(address))
    monkeypatch.setattr(prepare.subprocess, "run", run)
    assert prepare.rootfs("noble") == prepare.rootfs("noble") == tmp_path / "noble"
    keys, ubuntu = made
    there = f"{tmp_path}/ubuntu-archive-keyring/usr/share/keyrings/ubuntu-archive-keyring.gpg"
    assert {"--variant=extract", "--include=ubuntu-archive-keyring"} < set(keys)
    assert keys[-1] == f"deb {prepare.DEBIAN.address} trixie main"
    assert [word for word in keys + ubuntu if "keyring=" in word] == [f"--keyring={there}"]
    assert f"--keyring={there}" in ubuntu
    address = prepare.UBUNTU.address
    assert ubuntu[-2:] == [f"deb {address} {suite} main universe" for suite in ("noble", "noble-updates")]
    assert asked == [f"{address}/dists/noble/InRelease", f"{prepare.DEBIAN.address}/dists/trixie/InRelease"]
    assert not [word for word in keys + ubuntu if "nauthenticated" in word or "trusted=" in word]


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
