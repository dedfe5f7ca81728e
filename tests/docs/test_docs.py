"""What the documents name exists: links, files, tests, commands, settings."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from coderunner import cli
from coderunner.cli.parser import make_parser
from coderunner.schema.settings import SETTINGS
from tests.harness import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("tests/**/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FOLDERS = ("docs/", "scripts/", "server/", "static/", "tests/", "deploy/", ".ci/")
MADE = ("static/dist/", ".venv/")  # by the set-up, on each machine
COMPOSE = (ROOT / "deploy/container/compose.yaml").read_text()
OTHER_VARIABLES = {
    "ASAN_OPTIONS", "CODERUNNER_KEY", "CODERUNNER_URL", "NAME", "PATH", "UBSAN_OPTIONS",
    *re.findall(r"\$\{([A-Z_]+)", COMPOSE),
}  # fmt: skip
CONSTANTS = (
    "AF_", "CLONE_", "F_OFD_", "MAP_", "MFD_", "MS_", "NETLINK_", "NET_", "OTEL_", "POSIX_", "PR_", "SO_",
)  # fmt: skip


@pytest.fixture(params=NAMES)
def page(request: pytest.FixtureRequest) -> Path:
    return ROOT / str(request.param)


def code(text: str) -> list[str]:
    """What stands in backticks or in an indented or fenced block, piece by piece."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.M | re.S)
    return [*re.findall(r"`([^`\n]+)`", text), *(line for block in blocks for line in block.splitlines())]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def names_of_tests() -> dict[str, set[str]]:
    """Test function -> the files that have it."""
    found: dict[str, set[str]] = {}
    for file in (ROOT / "tests").rglob("*.py"):
        for name in re.findall(r"^\s*(?:async )?def (test_\w+)", file.read_text(), re.M):
            found.setdefault(name, set()).add(str(file.relative_to(ROOT)))
    return found


def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(there), f"{target}: no such heading"


def test_named_files_exist(page: Path) -> None:
    for piece in code(page.read_text()):
        for word in re.findall(r"(?<![\w/.<~*-])[\w.-][\w./-]*", piece):
            word = word.rstrip(".")
            if word.startswith(FOLDERS) and not word.startswith(MADE):
                assert (ROOT / word).exists(), f"{word} is not there"


def test_named_tests_exist(page: Path) -> None:
    """In a row of a table, a test must be in a file that the row names."""
    for line in page.read_text().splitlines():
        files = set(re.findall(r"`(tests/[\w/]+\.py)`", line))
        for name in re.findall(r"`(test_\w+)`", line):
            assert name in names_of_tests(), f"there is no test {name}"
            if files:
                where = names_of_tests()[name]
                assert files & where, f"{name} is in {where}, not in {files}"


def test_named_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for piece in code(page.read_text()):
        for target in re.findall(r"(?:^|[;&] *)make ([a-z-]+)", piece):
            assert target in targets, f"make {target}"


def test_named_commands_exist(page: Path) -> None:
    """`python -m coderunner …` and `coderunner …`: as far as the command line itself understands them."""
    for piece in code(page.read_text()):
        found = re.search(r"(?:-m coderunner|^coderunner|images\.sh) ([a-z-]+[^|;&#`]*)", piece)
        if found:
            words = shlex.split(found[1])
            words = ["images", *words] if "images.sh" in found[0] else words
            if words[0].startswith("--"):
                words = words[:1]
            if words == ["--version"]:
                continue
            make_parser(cli.COMMANDS).parse_args(words)


def test_named_settings_exist(page: Path) -> None:
    """A word in capitals with an underscore, or before an equals sign, is a setting's name."""
    known = {setting.name for setting in SETTINGS}
    for piece in code(page.read_text()):
        words = set(re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", piece))
        words |= set(re.findall(r"^([A-Z][A-Z_]+)=", piece))
        for word in words - OTHER_VARIABLES:
            assert word in known or word.startswith(CONSTANTS), f"{word} is no setting"


def test_every_part_is_on_the_map() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    for part in (ROOT / "server/coderunner").iterdir():
        if part.name.startswith("_") or part.suffix == ".pyc":
            continue
        name = part.name + ("/" if part.is_dir() else "")
        assert re.search(rf"^\s+{re.escape(name)}\s", text, re.M), f"{name} is not in docs/architecture.md"


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def defined(path: Path) -> set[str]:
    """The functions and methods of a module, as `Class.method`."""
    if path.suffix == ".js":
        text = path.read_text()
        return set(re.findall(r"(?:function |const |^  (?:async )?)(#?\w+)(?= ?=? ?\()", text, re.M))
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, FUNCTIONS)}
        elif isinstance(node, FUNCTIONS):
            found.add(node.name)
    return found


def test_the_ways_through_the_code_are_those_of_the_code() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    ways = text[text.index("## Three ways") : text.index("## One journal")]
    named = re.findall(r"`([\w/]+\.(?:py|js))`: ((?:`[#\w.]+`(?:,\s+)?)+)", ways)
    assert len(named) > 25
    for file, names in named:
        path = ROOT / file if file.startswith("static/") else ROOT / "server/coderunner" / file
        for name in re.findall(r"`([#\w.]+)`", names):
            assert name in defined(path), f"{file} has no {name}"


def test_the_units_name_what_exists() -> None:
    """Paths below the place of installation are paths of the repository."""
    for unit in [one for one in (ROOT / "deploy").rglob("*") if one.is_file()]:
        for path in re.findall(r"/opt/coderunner/([\w./-]+)", unit.read_text()):
            assert path.startswith((".venv/", ".env")) or (ROOT / path).exists(), f"{unit.name}: {path}"
        for command in re.findall(r"-m coderunner (.+)", unit.read_text()):
            make_parser(cli.COMMANDS).parse_args(shlex.split(command))


def test_nothing_of_the_machine_it_was_written_on() -> None:
    for page in PAGES:
        assert not re.search(r"/root/|/home/\w", page.read_text()), page


def test_the_unit_gives_a_stop_the_time_that_the_settings_say() -> None:
    [seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", (ROOT / "deploy/coderunner.service").read_text(), re.M)
    [grace] = [setting for setting in SETTINGS if setting.name == "SHUTDOWN_GRACE"]
    assert int(grace.default) / 1000 + 5 <= int(seconds)
    assert f"TimeoutStopSec ({seconds} s)" in grace.help
