"""A compiler that is kept warm does what the plain one does; where it is away, the plain one does it."""

from __future__ import annotations

import ast
import re

import pytest

from coderunner import declarations
from coderunner.schema import messages as m
from coderunner.schema.languages import Sample
from tests.harness import Client, Server, session

DECLARED = declarations.load()
WARM = [name for name, one in DECLARED.languages.items() if one.compile and one.service]

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


async def outcome(client: Client, number: int, sample: Sample, files: dict[str, bytes]) -> tuple[object, ...]:
    """What a user sees of a run: how it ended, and every byte of both streams."""
    given = tuple(m.File(path, data) for path, data in files.items())
    await client.send(m.Run(number, "pipe", files=given, entry=sample.entry, args=sample.args))
    await client.input(number, sample.stdin.encode())
    await client.send(m.Eof(number, len(sample.stdin.encode())))
    channel = await client.ended(number, 120)
    return channel.exit.reason, channel.exit.code, bytes(channel.data), bytes(channel.stderr)


@pytest.mark.parametrize("name", WARM)
async def test_with_and_without_it(compiled: Server, name: str) -> None:
    language = DECLARED.languages[name]
    assert language.service is not None
    files = DECLARED.samples(language)
    for sample in language.samples:
        async with session(compiled, name) as client:
            warm = await outcome(client, 1, sample, files[sample.name])
            await client.send(m.Shell(2, 80, 24))
            await client.input(2, f"rm {language.service.ready} && echo g''one\n".encode())
            await client.until(2, "gone")
            assert await outcome(client, 3, sample, files[sample.name]) == warm, sample.name


PACKAGES = r"""
for jar in /usr/share/coderunner/java/*.jar; do python3 -m zipfile --list $jar; done |
grep -o '^[a-z0-9/]*/[A-Z][^ ]*\.class' | grep -v ^META-INF | sed 's#/[^/]*$##; s#/#.#g' |
sort -u; echo li""sted
"""
NAMES = {
    "imports": ('System.out.print(new com.google.gson.Gson().toJson("a"));', '"a"'),
    "loads by name": (
        'try { System.out.print(Class.forName("com.go" + "ogle.gson.Gson").getSimpleName()); }'
        " catch (Exception e) { System.out.print(e); }",
        "Gson",
    ),
    "names none": ('System.out.print(System.getProperty("java.class.path").contains("gson"));', "false"),
}


def words_of_libraries() -> re.Pattern[str]:
    """What compile-java looks for in a source, to know whether it may use the image's jars."""
    for one in ast.parse((DECLARED.folder / "java/compile-java").read_text("utf-8")).body:
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "LIBRARY":
            assert isinstance(one.value, ast.Call)
            return re.compile(ast.literal_eval(one.value.args[0]))
    raise AssertionError("compile-java has no LIBRARY")


async def test_each_package_of_the_image_s_jars_is_known_by_its_name(compiled: Server) -> None:
    words = words_of_libraries()
    async with session(compiled, "java") as client:
        await client.send(m.Shell(1, 80, 24))
        await client.input(1, f"stty -echo; {PACKAGES}".encode())
        channel = await client.until(1, "listed", 60)
        packages = re.findall(r"^(\w+(?:\.\w+)+)\r?$", channel.text, re.M)
        assert len(packages) > 50
        assert [name for name in packages if not words.search(f"import {name}.*;")] == []


@pytest.mark.parametrize("name", NAMES)
async def test_they_are_there_for_who_may_use_them(compiled: Server, name: str) -> None:
    code, expected = NAMES[name]
    async with session(compiled, "java") as client:
        program = f"public class Main {{ public static void main(String[] a) {{ {code} }} }}"
        one = await client.result(1, program, 60, entry="Main.java")
        assert (one.text, one.exit.code) == (expected, 0)
