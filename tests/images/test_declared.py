"""The languages' folders are sound, and nothing else knows their names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from coderunner import declarations
from coderunner.errors import ConfigError
from tests.harness import ROOT

DECLARED = declarations.load()
NAMES = sorted(DECLARED.languages)
UNMISTAKABLE = [name for name in NAMES if len(name) > 1]  # "c" is a key, too
# But for the attacks and the doctor's try of a run, which are programs in languages.
MODULES = sorted(
    path for path in (ROOT / "server").rglob("*.py") if not {"attack", "doctor"} & set(path.parts)
)
SCRIPTS = sorted([*(ROOT / "static/core").rglob("*.js"), *(ROOT / "static/app").rglob("*.js")])


@pytest.mark.parametrize("name", NAMES)
def test_samples(name: str) -> None:
    """Each language shows, and tests, what all can do; each file of a sample is declared."""
    language = DECLARED.languages[name]
    samples = {sample.name: sample for sample in language.samples}
    wanted = {"hello", "input", "args", "modules", "error", "unicode"}
    assert samples.keys() >= (wanted | {"compile-error"} if language.compile else wanted)
    assert samples["input"].stdin
    assert len(samples["modules"].files) > 1
    failed = samples["error"]
    assert failed.expect_code != 0
    assert all(
        sample.expect_stdout or sample.expect_code or sample.expect_reason != "exited"
        for sample in language.samples
    )
    root = DECLARED.folder / name / "samples"
    there = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert there == {f"{sample.name}/{path}" for sample in language.samples for path in sample.files}
    assert all(f".{sample.entry.rpartition('.')[2]}" in language.extensions for sample in language.samples)


@pytest.mark.parametrize("kind", DECLARED.checks)
def test_each_language_has_a_program_of_each_check_or_a_reason(kind: str) -> None:
    check = DECLARED.checks[kind]
    without = [name for names in check.without.values() for name in names]
    assert sorted([*check.programs, *without]) == NAMES


def test_each_compiled_language_has_a_program_beside_another() -> None:
    check = DECLARED.checks["entries"]
    assert check.programs.keys() == {name for name in NAMES if DECLARED.languages[name].compile}
    assert all(program.beside for program in check.programs.values())


def test_each_language_with_libraries_has_a_sample_or_a_program_of_them() -> None:
    named = DECLARED.checks["libraries"].without["a sample has them"]
    usual = {"crates", "libraries"}
    assert all({one.name for one in DECLARED.languages[name].samples} & usual for name in named)


def test_each_compiler_with_memory_of_its_own_needs_it() -> None:
    needing = {name for name in NAMES if "compile_memory_bytes" in DECLARED.languages[name].limits}
    assert DECLARED.checks["compile"].programs.keys() == needing


def test_each_language_has_a_prompt_or_the_document_says_why_not() -> None:
    text = (ROOT / "docs/languages.md").read_text("utf-8")
    table = text.partition("These languages have none")[2].partition("\n\nThe commands")[0]
    named = {name.strip() for row in re.findall(r"^\| ([^|]+) \|", table, re.M) for name in row.split(",")}
    assert {
        DECLARED.languages[name].title for name in NAMES if DECLARED.languages[name].repl is None
    } <= named


def decisions(tree: ast.AST) -> Iterator[object]:
    """The constants that a module compares with, looks up or matches."""
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            parts = list(node.keys)
        elif isinstance(node, (ast.Subscript, ast.MatchValue)):
            parts = [node.slice if isinstance(node, ast.Subscript) else node.value]
        for part in parts:
            if part is not None:
                yield from (one.value for one in ast.walk(part) if isinstance(one, ast.Constant))


DATABASES = {
    ("migrate.py", "postgresql"), ("0001_first.py", "sqlite"), ("forms.py", "postgresql"),
    ("store.py", "sqlite"),
}  # fmt: skip
"""Where the server's own database is meant, which has the name of a language."""


def test_no_module_decides_by_a_languages_name() -> None:
    assert set(decisions(ast.parse("x == 'python' or {'c': 1}[y] in ('bash', z)"))) >= {"python", "c", "bash"}
    found = {
        (path.name, value)
        for path in MODULES
        for value in decisions(ast.parse(path.read_text("utf-8")))
        if value in UNMISTAKABLE
    }
    assert found - DATABASES == {("document.py", "scheme")}, "OpenAPI's word for how a token is sent"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_names_a_language(path: Path) -> None:
    text = re.sub(r"^\s*(//|\*|/\*).*", "", path.read_text("utf-8"), flags=re.M)
    assert not re.findall(rf"""(?:===?|case|\[)\s*['"`](?:{"|".join(UNMISTAKABLE)})['"`]""", text)


@pytest.mark.parametrize("name", ["native.py", "fast-ld", "fetch-node", "node.lock"])
def test_what_several_images_have_is_one(name: str) -> None:
    """An image is built from its own folder alone, so such a file lies in each; all of them are the same."""
    copies = [path.read_bytes() for path in sorted(DECLARED.folder.glob(f"*/{name}"))]
    assert len(copies) > 1
    assert len(set(copies)) == 1


@pytest.mark.parametrize(
    ("first", "second", "until"),
    [("c", "cpp", "COPY native.py /usr/local/lib/coderunner/"), ("cpp", "cpp-boost", None)],
)
def test_images_that_begin_alike_share_their_layers(first: str, second: str, until: str | None) -> None:
    """Docker has no include: the second begins with the steps of the first, up to `until` or all of them."""
    steps, others = (
        [line for line in (DECLARED.folder / name / "Dockerfile").read_text().splitlines()
         if line and not line.startswith("#")]
        for name in (first, second)
    )  # fmt: skip
    shared = steps[: steps.index(until)] if until else steps
    assert len(shared) > 10
    assert others[: len(shared)] == shared


def test_a_language_is_offered_on_the_machines_that_it_is_for() -> None:
    """Whose are said by its own data; by its name it is asked for in vain, with the reason."""
    here = declarations.load(machine="x86_64").languages
    bound = {name for name, language in here.items() if language.machines}
    assert bound
    elsewhere = declarations.load(machine="aarch64")
    assert here.keys() - elsewhere.languages.keys() == bound
    assert not bound & set(elsewhere.demand)
    for name in bound:
        with pytest.raises(ConfigError) as refusal:
            declarations.load(only=[name], machine="aarch64")
        [problem] = refusal.value.problems
        assert problem == f"LANGUAGES: {name} is for x86_64; this machine is aarch64"
