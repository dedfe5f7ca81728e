"""Recipes of images: the files and arguments of a build, and a name that is a hash of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from coderunner.engine.origin import ORIGIN

PREFIX = "coderunner"
SOURCES = Path(__file__).parent.parent
IN_CONTAINERS = ("agent", "wire")  # packages that are copied into every image, under the same names
NOT_IN_IMAGE = ("samples", "language.toml")
# Excluded from the hash: they differ between a checkout and an installation.
COMPILED = "__pycache__"  # pip makes such folders beside the modules when it installs
NAMED_UIDS = range(20_000, 24_096)
"""User ids with a name in every image: enough for several servers, so that they can share images."""

# Appended to every language's Dockerfile. `unchecked-hash`: modules start faster if Python need not compare
# them with their sources. setuid bits are removed, so that no program gains privileges, and links to manuals
# that were left out of the image. /workspace is a mount point.
EPILOGUE = """
USER root
COPY .coderunner/lib /opt/coderunner
COPY .coderunner/passwd .coderunner/group /tmp/
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/coderunner \\
 && python3 /opt/coderunner/coderunner/agent/bundled.py \\
 && cat /tmp/passwd >> /etc/passwd && cat /tmp/group >> /etc/group && rm /tmp/passwd /tmp/group \\
 && find / -xdev -perm /6000 -type f -exec chmod a-s {} + \\
 && find / -xdev -xtype l -delete \\
 && mkdir -p /workspace
"""

USERS_DOCKERFILE = """
ARG BASE
FROM ${BASE}
USER root
COPY .coderunner/passwd .coderunner/group /tmp/
RUN cat /tmp/passwd >> /etc/passwd && cat /tmp/group >> /etc/group && rm /tmp/passwd /tmp/group
"""


class BadRecipe(Exception):
    """The folder has no Dockerfile."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image to build. `reference`: its name. `files`: the build's context, by path. `arguments`: its
    build arguments."""

    reference: str
    files: Mapping[str, bytes]
    arguments: Mapping[str, str]


def base_recipe(folder: Path, prefix: str = PREFIX) -> Recipe:
    """The recipe of the base image, from `<folder>/base`. Raises BadRecipe."""
    return _recipe(f"{prefix}/base", _context(folder / "base"), {})


def language_recipe(folder: Path, name: str, prefix: str = PREFIX) -> Recipe:
    """The recipe of a language's image, from `<folder>/<name>`, with the agent and a user name for each of
    NAMED_UIDS. Raises BadRecipe."""
    files = _context(folder / name)
    # After the language's own steps: a new agent rebuilds this layer only, and not the compilers.
    files["Dockerfile"] += EPILOGUE.encode()
    files |= _agent() | _users(NAMED_UIDS)
    return _recipe(f"{prefix}/{name}", files, {"BASE": base_recipe(folder, prefix).reference})


def recipe_for(language: Recipe, uids: range) -> Recipe:
    """The recipe for a server whose sessions have these user ids: the language's, or if some ids have no name
    in that image, one with another layer that adds them, which takes a second and no network.
    """
    # Rare: only for SESSION_UIDS outside of the usual range.
    others = [uid for uid in uids if uid not in NAMED_UIDS]
    if not others:
        return language
    files = {"Dockerfile": USERS_DOCKERFILE.encode(), **_users(others)}
    return _recipe(language.reference.partition(":")[0], files, {"BASE": language.reference})


def _agent() -> dict[str, bytes]:
    """The files of the agent and of `wire`, in a package `coderunner` that has nothing else."""
    files = {".coderunner/lib/coderunner/__init__.py": b""}
    for package in IN_CONTAINERS:
        for path in sorted((SOURCES / package).glob("*.py")):
            # Without `__pycache__`; the modules are compiled in the image.
            files[f".coderunner/lib/coderunner/{package}/{path.name}"] = path.read_bytes()
    return files


def _users(uids: Iterable[int]) -> dict[str, bytes]:
    """Entries for /etc/passwd and /etc/group. All ids have the same name, so that prompts and `whoami` show
    it in every session; programs look users up by number."""
    # One name for 4,096 ids: the files have 200 kB, which costs nothing, as nobody reads them in a hot path.
    passwd = "".join(f"coder:x:{uid}:{uid}:CodeRunner:/workspace:/bin/bash\n" for uid in uids)
    group = "".join(f"coder:x:{uid}:\n" for uid in uids)
    return {".coderunner/passwd": passwd.encode(), ".coderunner/group": group.encode()}


def _context(folder: Path) -> dict[str, bytes]:
    """The files of a build by path, sorted, so that a hash over them is stable."""
    if not (folder / "Dockerfile").is_file():
        raise BadRecipe(f"languages/{folder.name} has no Dockerfile")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.relative_to(folder).parts[0] not in NOT_IN_IMAGE
        and COMPILED not in path.relative_to(folder).parts
    }


def _recipe(repository: str, files: Mapping[str, bytes], arguments: Mapping[str, str]) -> Recipe:
    digest = hashlib.sha256()
    # The origin's name is an argument, too: with another one, every image is another one.
    for part in (*(f"{key}={value}" for key, value in sorted(arguments.items())), ORIGIN):
        digest.update(part.encode() + b"\0")
    for path, data in sorted(files.items()):
        digest.update(path.encode() + b"\0" + hashlib.sha256(data).digest())
    return Recipe(f"{repository}:{digest.hexdigest()[:12]}", files, arguments)
