"""What the tools of each language really print becomes problems with a place: their own samples that fail."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from coderunner import declarations
from coderunner.schema import messages as m
from coderunner.schema.languages import Language, Sample
from tests.harness import Server, session

DECLARED = declarations.load()
SECONDS = 900  # an image that scripts/test.sh did not build before is built now
# Their tools say no place for what this sample does.
WITHOUT_A_PLACE = {
    ("bash", "error"), ("c", "error"), ("cpp", "error"), ("cpp-boost", "error"), ("assembly", "error"),
}  # fmt: skip
PROMPTING = {"sqlite", "postgresql", "mariadb"}  # on a terminal they go on with a prompt, and end well

pytestmark = [pytest.mark.long, pytest.mark.timeout(SECONDS)]


def failing(language: Language) -> list[Sample]:
    names = ("error", "compile-error", "syntax-error")
    return [sample for sample in language.samples if sample.name in names]


@pytest.mark.parametrize(
    "name", [name for name, one in DECLARED.languages.items() if one.diagnostics and failing(one)]
)
async def test_a_sample_that_fails_says_where(everything: Server, name: str) -> None:
    language = DECLARED.languages[name]
    contents = DECLARED.samples(language)
    for sample in failing(language):
        files = tuple(m.File(path, data) for path, data in contents[sample.name].items())
        lines = {file.path: file.content.count(b"\n") + 1 for file in files}
        # A session each: some tools take a file of the same second for the one that they know.
        async with session(everything, name, files=files) as client:
            for number, mode in enumerate(("pipe",) if name in PROMPTING else ("pipe", "tty")):
                await client.send(m.Run(number, mode, (), sample.entry, sample.args))
                said = (await client.ended(number, 120)).text
                # (Go's telemetry stayed, and the page said so.)
                assert client.channel(number).exit.left_behind == 0, said
                found = [
                    one.items
                    for one in client.messages
                    if isinstance(one, m.Diagnostics) and one.channel == number
                ]
                if (name, sample.name) in WITHOUT_A_PLACE:
                    assert not found, said
                    continue
                assert found, f"{sample.name} {mode}: {said}"
                assert all(1 <= item.line <= lines.get(item.path, 0) for item in found[-1]), found
                assert any(item.severity == "error" for item in found[-1]), found


ENDLESS = tomllib.loads((Path(__file__).parent / "endless.toml").read_text("utf-8"))


def test_every_language_has_an_endless_recursion_or_a_reason() -> None:
    without = [name for names in ENDLESS["without"].values() for name in names]
    assert sorted([*ENDLESS["programs"], *without]) == sorted(DECLARED.languages)


@pytest.mark.parametrize("name", ENDLESS["programs"])
async def test_an_endless_recursion_is_told(everything: Server, name: str) -> None:
    """In plain words, whatever the tools say, and with the line if they name one."""
    program = ENDLESS["programs"][name]
    entry, line = program["entry"], program.get("line")
    async with session(everything, name, files=(m.File(entry, program["code"].encode()),)) as client:
        await client.send(m.Run(1, "pipe", (), entry))
        channel = await client.ended(1, 240)
        assert channel.exit.reason in ("exited", "signaled", "oom"), channel.exit
        assert any("itself" in hint for hint in channel.exit.hints), (channel.exit, channel.text[:1000])
        found = [one.items[0].line for one in client.messages if isinstance(one, m.Diagnostics)]
        assert line is None or line in found, (found, channel.text[:1000])


ASSERTS = (
    "#include <assert.h>\nint half(int n) {\n  assert(n % 2 == 0);\n  return n / 2;\n}\n"
    "int main(void) { return half(3); }\n"
)
OVERFLOWS = (
    "int main(int n, char **a) {\n  int most = 2147483647;\n  (void)a;\n  most += n;\n  return 0;\n}\n"
)
USES_FREED = (
    "#include <stdlib.h>\nint main(void) {\n  char *p = (char *)malloc(1);\n  free(p);\n  return p[0];\n}\n"
)
ABORTS = (
    "#include <stdlib.h>\nvoid stop(int n) {\n  if (n) abort();\n}\n"
    "int main(int n, char **a) {\n  (void)a;\n  stop(n);\n}\n"
)
CRASHES = {
    "assertion": (ASSERTS, "", 3, "Assertion: n % 2 == 0"),
    "undefined": (
        OVERFLOWS,
        "undefined",
        4,
        "signed integer overflow: 2147483647 + 1 cannot be represented in type 'int'",
    ),
    "address": (USES_FREED, "address", 5, "heap-use-after-free"),
    "aborted": (ABORTS, "address", 3, "ABRT on unknown address"),
}


@pytest.mark.parametrize("language", ["c", "cpp", "cpp-boost"])
@pytest.mark.parametrize("crash", CRASHES)
async def test_a_program_that_checks_itself_says_where(everything: Server, language: str, crash: str) -> None:
    code, sanitize, line, message = CRASHES[crash]
    entry = DECLARED.languages[language].entry
    async with session(everything, language, files=(m.File(entry, code.encode()),)) as client:
        await client.send(m.Run(1, "pipe", entry=entry, env={"SANITIZE": sanitize} if sanitize else {}))
        channel = await client.ended(1, 120)
        found = [item for one in client.messages if isinstance(one, m.Diagnostics) for item in one.items]
        errors = [item for item in found if item.severity == "error"]
        assert [(item.path, item.line) for item in errors] == [(entry, line)], channel.text
        assert errors[0].message.startswith(message)
