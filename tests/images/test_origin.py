"""The image that all start from, made by mmdebstrap: with which sources, and what is said when it fails."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from coderunner.engine import origin
from coderunner.engine.origin import OriginFailed, bootstrapped, own_sources
from tests.harness import wait_until


def silent(_line: str) -> None:
    pass


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "etc" / "apt" / "sources.list.d").mkdir(parents=True)
    return tmp_path / "etc"


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An mmdebstrap of the test's own: a shell script to be written."""
    path = tmp_path / "bin" / "mmdebstrap"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    return path


def write(tool: Path, script: str) -> None:
    tool.write_text(f"#!/bin/sh\n{script}\n")


# --- sources ------------------------------------------------------------------------------------------


def test_sources_in_lines(etc: Path) -> None:
    (etc / "apt" / "sources.list").write_text(
        "# a comment\n"
        "deb cdrom:[Debian GNU/Linux 12]/ trixie main\n"
        "deb [signed-by=/usr/share/keyrings/x.gpg] http://mirror.lab/debian trixie main contrib # ours\n"
        "deb-src http://mirror.lab/debian trixie main\n"
        "deb http://mirror.lab/debian trixie-updates main\n"
        "deb http://mirror.lab/security trixie-security main non-free\n"
        "deb http://mirror.lab/debian trixie-backports main\n"
        "deb http://elsewhere/tool stable main\n"
    )
    assert own_sources(etc).splitlines() == [
        "deb http://mirror.lab/debian trixie main",
        "deb http://mirror.lab/debian trixie-updates main",
        "deb http://mirror.lab/security trixie-security main",
    ]


def test_sources_in_paragraphs(etc: Path) -> None:
    (etc / "apt" / "sources.list.d" / "debian.sources").write_text(
        "Types: deb\n"
        "# a comment\n"
        "URIs: http://mirror.lab/debian\n"
        "Suites: trixie trixie-updates\n"
        "Components: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        "\n"
        "Types: deb deb-src\n"
        "URIs: http://mirror.lab/security\n"
        "Suites:\n"
        " trixie-security\n"
        "Components: main contrib\n"
        "\n"
        "Types: deb\n"
        "URIs: https://elsewhere/tool\n"
        "Suites: nodistro\n"
        "Components: main\n"
    )
    assert own_sources(etc).splitlines() == [
        "deb http://mirror.lab/debian trixie main",
        "deb http://mirror.lab/debian trixie-updates main",
        "deb http://mirror.lab/security trixie-security main",
    ]


def test_another_release_of_debians_has_ours_at_the_same_address(etc: Path) -> None:
    (etc / "apt" / "sources.list").write_text(
        "deb http://mirror.lab/debian bookworm main\n"
        "deb http://mirror.lab/debian bookworm-updates main\n"
        "deb http://mirror.lab/security bookworm-security main\n"
        "deb http://mirror.lab/debian bookworm-backports main\n"
    )
    assert own_sources(etc).splitlines() == [
        "deb http://mirror.lab/debian trixie main",
        "deb http://mirror.lab/debian trixie-updates main",
        "deb http://mirror.lab/security trixie-security main",
    ]


@pytest.mark.parametrize(
    "text",
    ["", "deb http://mirror.lab/ubuntu noble main\n", "deb http://mirror.lab/d trixie-security main\n"],
)
def test_without_a_source_of_debians_the_choice_is_mmdebstraps(etc: Path, text: str) -> None:
    (etc / "apt" / "sources.list").write_text(text)
    assert own_sources(etc) == ""


# --- making it ----------------------------------------------------------------------------------------


def test_made_with_the_machines_own_sources(tool: Path, etc: Path) -> None:
    (etc / "apt" / "sources.list").write_text("deb http://mirror.lab/debian trixie main\n")
    write(tool, 'for last; do :; done; for word; do case $word in *.tar) cp "$last" "$word";; esac; done')
    lines: list[str] = []
    with bootstrapped(threading.Event(), lines.append, etc) as archive:
        assert archive.read_text() == "deb http://mirror.lab/debian trixie main\n"
    assert not archive.exists()
    assert lines == ["making debian:trixie-slim from Debian's packages (mmdebstrap)"]


def test_debians_keys_count_beside_those_of_this_machines_apt(
    tool: Path, etc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Ubuntu apt trusts Ubuntu's keys alone."""
    keys = tmp_path / "keys.gpg"
    monkeypatch.setattr(origin, "_KEYS", keys)
    write(tool, 'for word; do case $word in *.tar) echo "$*" > "$word";; esac; done')
    for there in (False, True):
        if there:
            keys.touch()
        with bootstrapped(threading.Event(), silent, etc) as archive:
            assert (f"--keyring={keys}" in archive.read_text().split()) is there


def test_a_mirror_without_the_release_is_followed_by_debians(tool: Path, etc: Path) -> None:
    (etc / "apt" / "sources.list").write_text("deb http://mirror.lab/debian bookworm main\n")
    write(
        tool,
        'case "$*" in *sources.list) echo "E: no such release" >&2; exit 25;; esac\n'
        'for word; do case $word in *.tar) echo public > "$word";; esac; done',
    )
    lines: list[str] = []
    with bootstrapped(threading.Event(), lines.append, etc) as archive:
        assert archive.read_text() == "public\n"
    assert lines[1:] == ["this machine's mirror does not have trixie; using Debian's"]


def test_a_failure_has_its_last_words(tool: Path, etc: Path) -> None:
    write(tool, "for n in $(seq 50); do echo line $n; done; echo 'E: no mirror' >&2; exit 25")
    with pytest.raises(OriginFailed) as failure, bootstrapped(threading.Event(), silent, etc):
        pass
    text = str(failure.value)
    assert text.endswith("line 50\nE: no mirror")
    assert "line 39\n" not in text
    assert "docker load" in text


def test_without_the_tool_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    stop = threading.Event()
    with pytest.raises(OriginFailed, match="apt-get install mmdebstrap"), bootstrapped(stop, silent):
        pass


def test_it_stops_when_told(tool: Path, etc: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ended"
    begun = tmp_path / "begun"
    write(tool, f"trap 'touch {mark}; kill $!; exit 1' TERM; sleep 600 & touch {begun}; wait")
    stop = threading.Event()

    def when_it_has_begun() -> None:
        wait_until(begun.exists, 30, "its begin")
        stop.set()

    threading.Thread(target=when_it_has_begun).start()
    with pytest.raises(OriginFailed, match="stopped"), bootstrapped(stop, silent, etc):
        pass  # long before the tool would end by itself
    assert mark.exists()
