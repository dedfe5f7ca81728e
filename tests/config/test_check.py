"""Which settings a command takes, and what it says of them: `settings --check` and the file it reads."""

from __future__ import annotations

import os

import pytest

from coderunner import cli, config

KEY = "0123456789abcdef0123456789abcdef"
GOOD = f"APP_ENV=production\nADMIN_KEY={KEY}\nALLOWED_HOSTS=run.example.com\nINSTANCE_NAME=lab\nPORT=8080\n"


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """`check(*words)` runs `settings --check` in `tmp_path`: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    for setting in config.SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)

    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main([*words, "settings", "--check"])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def rows(text: str) -> dict[str, str]:
    first, *rest = text.splitlines()
    assert first == "The settings are sound."
    return dict(line.strip().split(maxsplit=1) for line in rest)


def test_it_says_what_was_checked(check, tmp_path, monkeypatch):
    (tmp_path / ".env").write_text(GOOD)
    monkeypatch.setenv("LOG_LEVEL", "debug")
    monkeypatch.setenv("LANGUAGES", "")
    code, said, _ = check()
    assert code == 0
    found = rows(said)
    assert found.pop("languages").startswith("all ")
    assert found == {
        "file": f"{tmp_path}/.env", "environment": "LOG_LEVEL", "mode": "production", "instance": "lab",
        "state": "/var/lib/coderunner", "address": "127.0.0.1 port 8080",
    }  # fmt: skip
    assert KEY not in said


def test_without_a_file(check, tmp_path):
    code, said, _ = check()
    assert code == 0
    assert rows(said)["file"] == f"none ({tmp_path}/.env is not there)"
    assert rows(said)["mode"] == "development"


def test_another_file(check, tmp_path):
    (tmp_path / ".env").write_text("PORT=wrong")
    (tmp_path / "other.env").write_text(GOOD)
    code, said, _ = check("--env-file", "other.env")
    assert code == 0
    assert rows(said)["file"] == f"{tmp_path}/other.env"


def missing(path):
    return "there is no such file"


def dangling(path):
    path.symlink_to("nowhere")
    return "there is no such file"


def folder(path):
    path.mkdir()
    return "cannot be read (Is a directory)"


def latin(path):
    path.write_bytes(b"PORT=1\n# caf\xe9\n")
    return "line 2: is not UTF-8 (byte 0xe9)"


def utf16(path):
    path.write_bytes("PORT=1\n".encode("utf-16"))
    return "line 1: is not UTF-8 (byte 0xff)"


def huge(path):
    path.write_bytes(b"#" * 300_000)
    return "is larger than 256 KiB"


def nul(path):
    path.write_bytes(b"PORT=1\nHOST=local\0host\n")
    return "line 2: has an invisible character (U+0000)"


def no_language(path):
    path.write_text("LANGUAGES=python,pyhton\n")
    return "line 1: LANGUAGES names pyhton, which is no language; did you mean python?"


@pytest.mark.parametrize("make", [missing, dangling, folder, latin, utf16, huge, nul, no_language])
def test_a_file_that_is_none(check, tmp_path, make):
    path = tmp_path / "typo.env"
    problem = make(path)
    code, said, reported = check("--env-file", str(path))
    assert code == 2
    assert said == ""
    first, line = reported.splitlines()
    assert first == "coderunner: the settings are wrong:"
    assert line.startswith(f"  {path}")
    assert problem in line


def test_a_usual_file_that_is_a_link_to_nowhere(check, tmp_path):
    (tmp_path / ".env").symlink_to("/nowhere/production.env")
    code, _, reported = check()
    assert code == 2
    assert "  .env: there is no such file" in reported


def test_a_file_of_another_user(check, tmp_path, monkeypatch):
    """Root may read all, so what the system would say to others is said here."""

    def denied(*_: object) -> object:
        raise PermissionError(13, os.strerror(13))

    (tmp_path / ".env").write_text(GOOD)
    monkeypatch.setattr("pathlib.Path.open", denied)
    code, _, reported = check()
    assert code == 2
    assert "  .env: cannot be read (Permission denied); let the user who runs this read it" in reported


def test_bom_and_line_ends_of_another_system(check, tmp_path):
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    code, said, _ = check()
    assert code == 0
    assert rows(said)["mode"] == "production"
