"""What the tools of each language really print becomes problems with a place: their own samples that fail."""

from __future__ import annotations

import pytest

from coderunner import declarations
from coderunner.schema import messages as m
from coderunner.schema.languages import Language, Sample
from tests.harness import Server, session

DECLARED = declarations.load()
SECONDS = 900  # an image that scripts/test.sh did not build before is built now
# Their tools say no place for what this sample does.
WITHOUT_A_PLACE = {
    ("bash", "error"), ("c", "error"), ("cobol", "error"), ("cpp", "error"),
    ("cpp-boost", "error"),
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


ENDLESS = {
    "clojure": ("main.clj", "(defn f [n]\n  (+ n (f (inc n))))\n(println (f 1))\n", 2),
    "coffeescript": ("main.coffee", "f = (n) ->\n  n + f n + 1\n\n\nconsole.log f 1\n", None),
    "csharp": (
        "Main.cs",
        "class P {\n  static int F(int n) {\n    return F(n + 1) + n;\n  }\n"
        "  static void Main() { System.Console.WriteLine(F(1)); }\n}\n",
        3,
    ),
    "java": (
        "Main.java",
        "class Main {\n  static int f(int n) {\n    return f(n + 1) + n;\n  }\n"
        "  public static void main(String[] a) { System.out.println(f(1)); }\n}\n",
        3,
    ),
    "javascript": ("main.js", "function f(n) {\n  return n + f(n + 1);\n}\nconsole.log(f(1));\n", 2),
    "nim": ("main.nim", "proc f(n: int): int =\n  n + f(n + 1)\necho f(1)\n", 2),
    "octave": ("main.m", "1;\nfunction r = f(n)\n  r = n + f(n + 1);\nend\ndisp(f(1))\n", 3),
    "python": ("main.py", "def f(n):\n    return n + f(n + 1)\nprint(f(1))\n", 2),
}
"""Endless recursions, with the line that calls; None where the trace names another one of the function."""


@pytest.mark.parametrize("name", ENDLESS)
async def test_an_endless_recursion_says_where(everything: Server, name: str) -> None:
    entry, code, line = ENDLESS[name]
    async with session(everything, name, files=(m.File(entry, code.encode()),)) as client:
        await client.send(m.Run(1, "pipe", (), entry))
        said = (await client.ended(1, 240)).text
        found = [one.items for one in client.messages if isinstance(one, m.Diagnostics)]
        assert found, said[:1000]
        assert line in (None, found[-1][0].line), found
