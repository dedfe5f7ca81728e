"""An image is named by what goes into it, and by nothing else."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from coderunner import declarations
from coderunner.engine import building, recipes
from coderunner.engine.recipes import BadRecipe, base_recipe, language_recipe, recipe_for

LANGUAGES = sorted(declarations.load().languages)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(declarations.FOLDER, tmp_path / "languages"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that no test changes."""
    return Path(shutil.copytree(declarations.FOLDER, tmp_path_factory.mktemp("copy") / "languages"))


@pytest.mark.parametrize("name", LANGUAGES)
def test_the_same_inputs_have_the_same_name(name: str, copy: Path) -> None:
    here, there = (language_recipe(one, name) for one in (declarations.FOLDER, copy))
    assert here == there
    assert here.reference.startswith(f"coderunner/{name}:")


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_language_begins_with_the_base_and_ends_with_the_agent(name: str) -> None:
    recipe = language_recipe(declarations.FOLDER, name)
    text = recipe.files["Dockerfile"].decode()
    assert text.startswith("ARG BASE\nFROM ${BASE}")
    # The image is made of the last stage: one before it only builds what that takes over.
    assert [line for line in text.splitlines() if line.startswith("FROM ")][-1] == "FROM ${BASE}"
    assert text.endswith(recipes.EPILOGUE)
    assert recipe.arguments == {"BASE": base_recipe(declarations.FOLDER).reference}
    here = [path for name in ("agent", "wire") for path in (recipes.SOURCES / name).glob("*.py")]
    assert {path for path in recipe.files if path.startswith(".coderunner/lib/")} == {
        ".coderunner/lib/coderunner/__init__.py",
        *(f".coderunner/lib/coderunner/{path.relative_to(recipes.SOURCES)}" for path in here),
    }


def test_samples_and_declaration_are_not_part_of_it(folder: Path) -> None:
    before = language_recipe(folder, "python").reference
    (folder / "python" / "language.toml").write_text("another = 'text'\n")
    (folder / "python" / "samples" / "new.py").write_text("print()\n")
    (folder / "limits.toml").write_text("")
    assert language_recipe(folder, "python").reference == before


def test_every_input_changes_the_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [language_recipe(folder, "python").reference]

    def changed() -> None:
        reference = language_recipe(folder, "python").reference
        assert reference not in seen
        seen.append(reference)

    for package in recipes.IN_CONTAINERS:
        shutil.copytree(recipes.SOURCES / package, tmp_path / "sources" / package)
    monkeypatch.setattr(recipes, "SOURCES", tmp_path / "sources")
    assert language_recipe(folder, "python").reference == seen[0]  # where it lies is no input
    for package in recipes.IN_CONTAINERS:
        with (tmp_path / "sources" / package / "__init__.py").open("a") as module:
            module.write("# changed\n")
        changed()
    with (folder / "python" / "Dockerfile").open("a") as file:
        file.write("RUN true\n")
    changed()
    (folder / "python" / "extra.conf").write_text("x\n")
    changed()
    (folder / "python" / "extra.conf").rename(folder / "python" / "other.conf")
    changed()
    with (folder / "base" / "Dockerfile").open("a") as file:
        file.write("RUN true\n")
    changed()


def test_servers_with_ranges_of_their_own_share_their_images(copy: Path) -> None:
    language = language_recipe(copy, "python")
    for base in (20_000, 21_024, 22_048, 23_072):
        assert recipe_for(language, range(base, base + 1024)) == language
    other = recipe_for(language, range(23_900, 24_100))
    assert other.arguments == {"BASE": language.reference}  # one layer upon it, and nothing anew
    assert other.files[".coderunner/passwd"].decode().count("\n") == 4
    third = recipe_for(language, range(300_000, 300_002))
    assert len({language.reference, other.reference, third.reference}) == 3


def test_every_user_has_an_entry() -> None:
    files = language_recipe(declarations.FOLDER, "bash").files
    users = [line.split(":") for line in files[".coderunner/passwd"].decode().splitlines()]
    groups = [line.split(":") for line in files[".coderunner/group"].decode().splitlines()]
    assert [int(user[2]) for user in users] == list(recipes.NAMED_UIDS) == [int(user[3]) for user in users]
    assert [int(group[2]) for group in groups] == list(recipes.NAMED_UIDS)
    assert {tuple(user[5:]) for user in users} == {("/workspace", "/bin/bash")}


def test_a_folder_without_a_dockerfile_is_no_language(folder: Path) -> None:
    (folder / "c" / "Dockerfile").unlink()
    with pytest.raises(BadRecipe, match="languages/c has no Dockerfile"):
        language_recipe(folder, "c")


def test_what_begins_as_a_script_is_executable() -> None:
    files = {"Dockerfile": b"FROM x\n", "tool": b"#!/bin/sh\n", "deep/data": b"#comment\n"}
    with tarfile.open(fileobj=building.archive_of(files)) as archive:
        modes = {one.name: one.mode for one in archive}
    assert modes == {"Dockerfile": 0o644, "tool": 0o755, "deep/data": 0o644}
