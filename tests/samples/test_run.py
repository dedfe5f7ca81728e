"""`coderunner languages test`: what is as declared passes, and whatever differs is told in full."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from aiohttp import web

from coderunner import cli, declarations
from coderunner.client.visit import Visit
from coderunner.samples import run
from tests.harness import LANGUAGES, Server

DECLARED = declarations.load(only=LANGUAGES)
BASH = DECLARED.languages["bash"]
C = DECLARED.languages["c"]


def command(*words: str) -> int:
    return cli.main(["--env-file", "/dev/null", "languages", *words])


@pytest.mark.parametrize(
    "name", [one if one == "python" else pytest.param(one, marks=pytest.mark.long) for one in LANGUAGES]
)
def test_every_sample_does_what_it_says(
    server: Server, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code = command("test", name, "--url", server.url)
    said = capsys.readouterr().out
    assert code == 0, said
    samples = DECLARED.languages[name].samples
    count = len(samples) + (DECLARED.languages[name].repl is not None)  # its prompt is tried like a sample
    programs = [check.programs.get(name) for check in DECLARED.checks.values()]
    count += sum(1 + bool(program.beside) for program in programs if program)
    assert f"{count} of {count} samples of 1 languages as declared" in said
    for sample in samples:
        assert re.search(rf"^  {name} +{sample.name} .* \d+$", said, re.M), said


async def outcome(server: Server, language: Any, name: str, **other: Any) -> run.Outcome:
    """Of a sample of this name, declared otherwise."""
    if "entry" in other:  # declared, and not sent
        other["files"] = (other["entry"],)
    sample = msgspec.structs.replace(next(one for one in language.samples if one.name == name), **other)
    async with Visit(server.url) as visit:
        return await run.perform(visit, language, sample, DECLARED.samples(language)[name])


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("hello", {"expect_stdout": "Hello, world\n"}),
        ("hello", {"expect_code": 1}),
        ("hello", {"expect_reason": "signaled", "expect_code": None}),
        ("input", {"stdin": "Grace\n"}),
        ("args", {"args": ()}),
        ("args", {"entry": "other.sh"}),
    ],
)
async def test_what_differs_is_told(server: Server, name: str, other: dict[str, Any]) -> None:
    assert not (await outcome(server, BASH, name)).complaint
    seen = await outcome(server, BASH, name, **other)
    assert seen.complaint.startswith(f"bash/{name}: expected ")
    assert seen.seen in seen.complaint
    assert run.row(seen).startswith("! bash ")


async def test_a_compiler_that_says_nothing_wrong_differs(server: Server) -> None:
    assert not (await outcome(server, C, "compile-error")).complaint
    seen = await outcome(server, C, "hello", expect_reason="compile_failed", expect_code=1)
    assert seen.complaint.startswith("c/hello: expected compile_failed 1, seen exited 0")


async def test_a_programs_own_words_are_part_of_the_complaint(server: Server) -> None:
    seen = await outcome(server, BASH, "args", entry="other.sh")
    assert "\n    bash: other.sh: No such file or directory" in seen.complaint


async def test_one_whose_packages_are_not_in_the_image_is_left_out(server: Server) -> None:
    seen = await outcome(server, BASH, "hello", expect_code=99, needs="/usr/share/nothing-there")
    assert (seen.complaint, seen.left_out, seen.seen) == ("", True, run.WITHOUT_INDEX)
    assert run.row(seen).startswith("- bash ")
    seen = await outcome(server, BASH, "hello", expect_code=99, needs="/bin/bash")
    assert seen.complaint.startswith("bash/hello: expected ")


def test_one_that_differs_is_exit_code_1(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = msgspec.structs.replace(BASH.samples[0], expect_code=99)
    wrong = msgspec.structs.replace(BASH, samples=(sample,), repl=None)
    changed = replace(DECLARED, languages={**DECLARED.languages, "bash": wrong}, checks={})
    monkeypatch.setattr(declarations, "load", lambda **_: changed)
    assert command("test", "bash", "--url", server.url) == 1
    assert "0 of 1 samples" in capsys.readouterr().out


def test_no_server_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("test", "bash", "--url", "http://127.0.0.1:9/") == 2
    assert "there is no server at http://127.0.0.1:9/" in capsys.readouterr().out


def test_an_unknown_language_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("test", "nothing", "--url", "http://127.0.0.1:9/") == 1
    assert "there is no language nothing" in capsys.readouterr().err


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("list") == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == list(declarations.load().languages)


def test_a_cell_is_cut_to_columns() -> None:
    assert run.cut("abc", 5) == "abc  "
    assert run.cut("abcdef", 5) == "abcd…"
    assert run.cut("こんにちは", 6) == "こん… "


async def test_a_server_that_listens_on_a_socket_of_the_file_system(tmp_path):
    path = tmp_path / "http.sock"
    app = web.Application()

    async def told(request: web.Request) -> web.Response:
        return web.json_response({"host": request.host})

    app.router.add_get("/api/languages", told)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        async with Visit(f"unix:{path}") as visit:
            assert await visit.document("api/languages", dict) == {"host": "localhost"}
    finally:
        await runner.cleanup()


def test_which_server_the_settings_describe(monkeypatch):
    seen = []
    monkeypatch.setattr(run, "main", lambda url, *_: seen.append(url) or 0)
    monkeypatch.setenv("APP_ENV", "production")
    monkeypatch.setenv("ADMIN_KEY", "0123456789abcdef" * 2)
    monkeypatch.setenv("ALLOWED_HOSTS", "run.example.com")
    monkeypatch.setenv("PORT", "3001")
    for host in ("unix:/run/coderunner/http.sock", "0.0.0.0", "::", "::1", "127.0.0.2", "192.0.2.5"):
        monkeypatch.setenv("HOST", host)
        assert cli.main(["--env-file", "/dev/null", "languages", "test"]) == 0
    assert seen == [
        "unix:/run/coderunner/http.sock", "http://127.0.0.1:3001/", "http://127.0.0.1:3001/", "http://[::1]:3001/",
        "http://127.0.0.2:3001/", "http://192.0.2.5:3001/",
    ]  # fmt: skip
