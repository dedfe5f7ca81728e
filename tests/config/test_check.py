"""Which settings a command takes, and what it says of them: `settings --check` and the file it reads."""

from __future__ import annotations

import os
import socket
import stat
from types import SimpleNamespace

import pytest

from coderunner import cli, config, here

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
    assert first == "The settings are valid."
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
    assert rows(said)["file"] == f"none ({tmp_path}/.env does not exist)"
    assert rows(said)["mode"] == "development"


def test_another_file(check, tmp_path):
    (tmp_path / ".env").write_text("PORT=wrong")
    (tmp_path / "other.env").write_text(GOOD)
    code, said, _ = check("--env-file", "other.env")
    assert code == 0
    assert rows(said)["file"] == f"{tmp_path}/other.env"


def missing(path):
    return "the file does not exist"


def dangling(path):
    path.symlink_to("nowhere")
    return "the file does not exist"


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
    return "line 1: LANGUAGES names pyhton, which is not a language; did you mean python?"


def pipe(path):
    os.mkfifo(path)
    return "cannot be read (it is a pipe or a device, not a file); name a file"


def plug(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    return "cannot be read (No such device or address); name a file"


def zeros(path):
    path.symlink_to("/dev/zero")
    return "cannot be read (it is a pipe or a device, not a file); name a file"


def empty(path):
    path.write_text("")
    return "has no settings; write at least APP_ENV=production or APP_ENV=development"


def comments(path):
    path.write_text("# to be filled\n\n#PORT=80\n")
    return "has no settings; write at least APP_ENV=production or APP_ENV=development"


NO_FILES = [pipe, plug, zeros, empty, comments]


@pytest.mark.parametrize("make", [*NO_FILES, missing, dangling, folder, latin, utf16, huge, nul, no_language])
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
    assert "  .env: the file does not exist" in reported


def test_a_file_of_another_user(check, tmp_path, monkeypatch):
    """Root may read all, so what the system would say to others is said here."""

    def denied(*_: object) -> object:
        raise PermissionError(13, os.strerror(13))

    (tmp_path / ".env").write_text(GOOD)
    monkeypatch.setattr("coderunner.config.envfile.os.open", denied)
    code, _, reported = check()
    assert code == 2
    assert "  .env: cannot be read (Permission denied); give this user permission to read it" in reported


def test_bom_and_line_ends_of_another_system(check, tmp_path):
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    code, said, _ = check()
    assert code == 0
    assert rows(said)["mode"] == "production"


def test_no_file_at_all_is_meant_so(check):
    code, said, _ = check("--env-file", "/dev/null")
    assert code == 0
    assert rows(said)["mode"] == "development"


def below_a_file(path, monkeypatch):
    (path / "file").write_text("")
    monkeypatch.setenv("STATE_DIR", f"{path}/file/state")
    return f"STATE_DIR is {path}/file/state, but {path}/file is not a folder; write the path of a folder"


def state_that_is_a_file(path, monkeypatch):
    (path / "file").write_text("")
    monkeypatch.setenv("STATE_DIR", "file")
    return f"STATE_DIR is file, but {path}/file is not a folder; write the path of a folder"


def state_that_leads_nowhere(path, monkeypatch):
    (path / "link").symlink_to("nowhere")
    monkeypatch.setenv("STATE_DIR", "link")
    return f"STATE_DIR is link, but {path}/link is a broken link; write the path of a folder"


def state_of_the_kernel(path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", "/proc/coderunner")
    return "STATE_DIR is /proc/coderunner, but /proc is a kernel file system without files"


def state_that_is_the_root(path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", "/")
    return "STATE_DIR is /; write the path"


def state_of_a_long_name(path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", f"{path}/{'a' * 300}")
    return "which is longer than a path may be"


def more_memory_than_there_is(path, monkeypatch):
    monkeypatch.setenv("DOCKER_MEMORY", "900g")
    monkeypatch.setenv("SESSION_MEMORY", "1000g")

    async def asked(settings):
        return [here.too_much_memory(settings, SimpleNamespace(memory_bytes=8 << 30))]

    monkeypatch.setattr(here, "_asked_of_the_engine", asked)
    return "DOCKER_MEMORY is 921600m, but the engine's machine has 8192m"


def no_disk_at_all(path, monkeypatch):
    monkeypatch.setenv("DISK_READ_LIMIT", "/dev/sdzz:50m")
    return "DISK_READ_LIMIT names /dev/sdzz, which cannot be examined (No such file or directory)"


def a_device_that_is_no_disk(path, monkeypatch):
    monkeypatch.setenv("DISK_READ_LIMIT", "/dev/null:50m")
    return "DISK_READ_LIMIT names /dev/null, which is not a disk"


def a_partition(path, monkeypatch):
    monkeypatch.setenv("DISK_READ_LIMIT", "/dev/null:50m")
    monkeypatch.setattr(here, "PARTITION", f"{path}/{{}}")
    (path / "null").write_text("1")
    monkeypatch.setattr(here.stat, "S_ISBLK", stat.S_ISCHR)
    return "DISK_READ_LIMIT names /dev/null, which is a partition"


def an_address_of_another_machine(path, monkeypatch):
    monkeypatch.setenv("APP_ENV", "production")
    monkeypatch.setenv("ADMIN_KEY", KEY)
    monkeypatch.setenv("ALLOWED_HOSTS", "run.example.com")
    monkeypatch.setenv("HOST", "192.0.2.77")
    return "HOST is 192.0.2.77, on which this machine cannot listen (Cannot assign requested address)"


def a_socket_in_no_folder(path, monkeypatch):
    monkeypatch.setenv("HOST", f"unix:{path}/none/http.sock")
    return f"HOST is unix:{path}/none/http.sock, but {path}/none is not a folder"


def a_socket_where_a_folder_is(path, monkeypatch):
    (path / "http.sock").mkdir()
    monkeypatch.setenv("HOST", f"unix:{path}/http.sock")
    return f"HOST is unix:{path}/http.sock, but that is not a socket"


def a_folder_of_another_user(path, monkeypatch):
    monkeypatch.setattr(here.os, "access", lambda *_: False)
    monkeypatch.setenv("STATE_DIR", f"{path}/state")
    return f"may not write to {path}; give it permission"


def a_port_of_root(path, monkeypatch):
    class Socket(socket.socket):
        def bind(self, _address: object) -> None:
            raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(here.socket, "socket", Socket)
    monkeypatch.setenv("PORT", "80")
    return "PORT is 80, which this user may not listen on; write one of 1024 or more"


def an_engine_that_is_not_there(path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}/dcoker.sock")
    return f"DOCKER_HOST is unix://{path}/dcoker.sock, but {path}/dcoker.sock does not exist"


def an_engine_that_is_no_socket(path, monkeypatch):
    (path / "docker.sock").write_text("")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}/docker.sock")
    return f"DOCKER_HOST is unix://{path}/docker.sock, but {path}/docker.sock is not a socket"


WRONG_HERE = [
    an_engine_that_is_not_there, an_engine_that_is_no_socket,
    below_a_file, state_that_is_a_file, state_that_leads_nowhere, state_of_the_kernel, state_that_is_the_root,
    state_of_a_long_name, more_memory_than_there_is, no_disk_at_all, a_device_that_is_no_disk,
    a_partition, an_address_of_another_machine, a_socket_in_no_folder, a_socket_where_a_folder_is,
    a_folder_of_another_user, a_port_of_root,
]  # fmt: skip


@pytest.mark.parametrize(("flags", "says"), [(os.ST_RDONLY, "is read-only"), (0, "the disk is full")])
def test_a_folder_that_cannot_be_written_to(check, tmp_path, monkeypatch, flags, says):
    disk = SimpleNamespace(f_blocks=1, f_bavail=0, f_flag=flags)
    monkeypatch.setattr(here.os, "statvfs", lambda _: disk)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    code, _, reported = check()
    assert code == 2
    assert says in reported


@pytest.mark.parametrize("make", WRONG_HERE)
def test_what_this_machine_has_not(check, tmp_path, monkeypatch, make):
    problem = make(tmp_path, monkeypatch)
    code, said, reported = check()
    assert code == 2
    assert said == ""
    [line] = reported.splitlines()[1:]
    assert problem in line


def test_a_disk_of_another_machine_is_not_looked_for(check, monkeypatch):
    monkeypatch.setenv("DISK_READ_LIMIT", "/dev/sdzz:50m")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    code, _, _ = check()
    assert code == 0
