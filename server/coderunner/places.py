"""Where the files are that are no Python: in a checkout beside the package, in a wheel within it."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent
CARRIED = PACKAGE / "carried"  # made by setup.py
# A checkout has no such folder; a wheel has it within the package, as pip installs nothing elsewhere.
INSTALLED = CARRIED.is_dir()
ROOT = CARRIED if INSTALLED else PACKAGE.parent.parent
STATIC = ROOT / "static"
QUOTAS = PACKAGE / "quotas.toml"
FILES = ("nginx.conf", "CHANGELOG.md", "LICENSE", ".env.production.example", "deploy")
"""What an operator copies or reads, as named in the documents."""


def files() -> dict[str, Path]:
    """Each of FILES, those of a folder singly, by its name."""
    found = [ROOT / name for name in FILES]
    every = [one for file in found for one in (sorted(file.iterdir()) if file.is_dir() else [file])]
    return {one.relative_to(ROOT).as_posix(): one for one in every if one.is_file()}
