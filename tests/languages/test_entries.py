"""The program that runs is the one of the chosen entry, whatever is beside it.

(In each compiled language that is a check of `languages test`.)"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from coderunner import declarations
from coderunner.schema import messages as m
from tests.harness import Channel, Server, session

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

DECLARED = tomllib.loads((Path(__file__).parent / "entries.toml").read_text("utf-8"))
PROGRAM = declarations.load().checks["entries"].programs["c"].code


async def run(
    server: Server, language: str, files: dict[str, str], entry: str, mode: str = "pipe"
) -> Channel:
    given = tuple(m.File(path, text.encode()) for path, text in files.items())
    async with session(server, language) as client:
        await client.send(m.Run(1, mode, files=given, entry=entry))
        return await client.ended(1, 120)


async def test_what_is_left_out_is_said_in_one_line(everything: Server) -> None:
    channel = await run(everything, "c", {f"{name}.c": PROGRAM for name in "abc"}, "b.c")
    assert channel.text == "Not part of b.c's program, so left out: a.c, c.c\nNAME\n"


async def test_an_entry_that_is_no_source_runs_nothing(everything: Server) -> None:
    channel = await run(everything, "c", {"main.c": PROGRAM, "notes.txt": "to do"}, "notes.txt")
    assert (channel.exit.reason, channel.exit.code) == ("compile_failed", 1)
    assert channel.text == "notes.txt: not a source; choose a file named *.c to begin with\n"


CASES = DECLARED["cases"]


@pytest.mark.parametrize("case", CASES)
async def test_programs_that_others_run(everything: Server, case: str) -> None:
    language, files = CASES[case]["language"], CASES[case]["files"]
    channel = await run(everything, language, files, next(iter(files)))
    assert (channel.exit.code, channel.text.splitlines()[-1:]) == (0, ["ok"]), channel.text


async def test_sanitizers_are_a_wish_of_the_run(everything: Server) -> None:
    text = "#include <stdlib.h>\nint main(void) { char *p = malloc(1); free(p); return p[0]; }\n"
    address = {"SANITIZE": "address"}
    async with session(everything, "c") as client:
        file = m.File("x.c", text.encode())
        await client.send(m.Run(1, "pipe", files=(file,), entry="x.c", env=address))
        channel = await client.ended(1, 120)
        assert "AddressSanitizer: heap-use-after-free" in channel.text
        await client.send(m.Run(2, "pipe", entry="x.c", env={"SANITIZE": "memory"}))
        channel = await client.ended(2, 120)
        assert channel.exit.reason == "compile_failed"
        assert "write address, undefined, or address,undefined" in channel.text


@pytest.mark.parametrize("language", ["c", "cpp"])
async def test_a_double_free_is_told(everything: Server, language: str) -> None:
    text = "#include <stdlib.h>\nint main(void) { void *p = malloc(9); free(p); free(p); }\n"
    channel = await run(everything, language, {f"x.{language}": text}, f"x.{language}")
    assert (channel.exit.reason, channel.exit.signal) == ("signaled", "ABRT")
    assert "double free" in channel.text


async def test_an_error_in_a_class_named_otherwise_is_in_its_own_file(everything: Server) -> None:
    text = "public class Hello {\n    int x = no;\n}\n"
    async with session(everything, "java") as client:
        await client.send(
            m.Run(1, "pipe", files=(m.File("a/test.java", text.encode()),), entry="a/test.java")
        )
        channel = await client.ended(1, 120)
        assert channel.text.startswith("a/test.java:2: error: "), channel.text
        assert "/sources/" not in channel.text


async def test_a_text_that_never_ends_is_an_error_at_once(everything: Server) -> None:
    text = 'public class Text { String s = """\n' + r"\" " * 60 + "\n}\n"
    channel = await run(everything, "java", {"Text.java": text}, "Text.java")
    assert channel.exit.reason == "compile_failed"
    assert "unclosed text block" in channel.text
