"""Which commands the agent takes for a project, and what is known of it before."""

from __future__ import annotations

from pathlib import Path

import msgspec

from coderunner import declarations
from coderunner.agent import supervisor
from coderunner.schema.calls import ProgramVariant
from coderunner.schema.messages import Shell
from coderunner.sessions.specs import shell_spec

PLAIN = {"compile": ["plainc"], "run": ["plain"]}
VARIANTS = [
    {"when": "Makefile", "compile": ["make"], "run": ["made"]},
    {"when": "sub/tool.toml", "compile": [], "run": ["tool"]},
]


def chosen(workspace: Path) -> tuple[list[str], list[str]]:
    spec = {**PLAIN, "variants": VARIANTS, "workspace": str(workspace)}
    one = supervisor.with_variant(spec)
    return one["compile"], one["run"]


def test_plain_without_a_tools_file(tmp_path: Path) -> None:
    (tmp_path / "Makefile").mkdir()  # a folder is no such file
    assert chosen(tmp_path) == (["plainc"], ["plain"])


def test_the_first_whose_file_is_there(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/tool.toml").touch()
    assert chosen(tmp_path) == ([], ["tool"])
    (tmp_path / "Makefile").touch()
    assert chosen(tmp_path) == (["make"], ["made"])


def test_a_spec_of_an_older_server_is_plain(tmp_path: Path) -> None:
    spec = {**PLAIN, "workspace": str(tmp_path)}
    assert supervisor.with_variant(spec) == spec


def test_a_run_that_may_compile_is_compiling_until_the_agent_says_otherwise() -> None:
    limits = declarations.load(only=["bash"]).rules.defaults
    plain = shell_spec(Shell(1, 80, 24), declarations.load(only=["bash"]).languages["bash"], limits)
    variants = tuple(msgspec.convert(one, ProgramVariant) for one in VARIANTS)
    assert plain.first_phase == "running"
    assert msgspec.structs.replace(plain, variants=variants).first_phase == "compiling"
    assert msgspec.structs.replace(plain, compile=("plainc",)).first_phase == "compiling"


def test_a_file_whose_name_begins_with_a_dash_is_no_option(tmp_path: Path) -> None:
    (tmp_path / "-c").touch()
    spec = {"workspace": str(tmp_path), "entry": "-c", "args": ["-x"], "build": "b", "sources": []}
    command = ["python3", "{entry}", "{args}", "-r", "./{entry}"]
    assert supervisor.expand(command, spec, print) == ["python3", "./-c", "-x", "-r", "./-c"]
