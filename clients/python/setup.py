"""The client library as a distribution of its own: of the server's sources those modules that it imports."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCES = Path(__file__).resolve().parents[2] / "server"
PUBLIC = ("coderunner.client.library", "coderunner.client.blocking")
MARK = "coderunner/py.typed"


def source(name: str) -> Path | None:
    """The file of a module or package; None if there is none of this name."""
    path = SOURCES.joinpath(*name.split("."))
    found = (path / "__init__.py", path.with_suffix(".py"))
    return next((one for one in found if one.is_file()), None)


def imported(file: Path) -> set[str]:
    """The names that may be modules in the imports of a file, with those inside of functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.update((node.module, *(f"{node.module}.{one.name}" for one in node.names)))
    return found


def modules() -> dict[str, Path]:
    """The library's modules with their files: PUBLIC, and what they need of the package `coderunner`."""
    found: dict[str, Path] = {}
    waiting = set(PUBLIC)
    while waiting:
        name = waiting.pop()
        file = source(name)
        if name in found or file is None:
            continue
        found[name] = file
        names = imported(file) | {name.rpartition(".")[0]}
        waiting.update(one for one in names if one.split(".")[0] == "coderunner")
    return found


class BuildPy(build_py):
    """Copies these modules alone."""

    def run(self) -> None:
        """Replaces what an earlier build left."""
        target = Path(self.build_lib)
        shutil.rmtree(target / "coderunner", ignore_errors=True)
        files = [*modules().values(), SOURCES / MARK]
        for file in files:
            copy = target / file.relative_to(SOURCES)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)


[version] = re.findall(r'^__version__ = "(.+)"$', (SOURCES / "coderunner/__init__.py").read_text(), re.M)
setup(
    version=version,
    packages=["coderunner"],
    package_dir={"coderunner": "../../server/coderunner"},
    cmdclass={"build_py": BuildPy},
)
