"""What a wheel carries beside the Python package: the page, nginx.conf, the units."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
CARRIED = ("static", "deploy", "nginx.conf", ".env.production.example", "CHANGELOG.md", "LICENSE")


class BuildPy(build_py):
    """Copies CARRIED into the package's folder `carried`, where `coderunner.places` looks for it."""

    def run(self) -> None:
        """Raises SystemExit where the page was not bundled: a server without it would serve nothing."""
        if not (ROOT / "static/dist/page/index.html").is_file():
            raise SystemExit("static/dist/page is not there: run scripts/setup.sh, then build the wheel")
        package = Path(self.build_lib) / "coderunner"
        shutil.rmtree(package, ignore_errors=True)  # what an earlier build left, of files that are gone
        super().run()
        target = package / "carried"
        for name in CARRIED:
            source, copy = ROOT / name, target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".*"))
            else:
                shutil.copy(source, copy)


setup(cmdclass={"build_py": BuildPy})
