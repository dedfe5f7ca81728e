"""Builders of images whose names no other has, and which are gone when the test ends."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from coderunner.config import load
from coderunner.declarations import FOLDER
from coderunner.engine.images import ImageBuilder
from tests.harness import ENGINE

BUILD_SECONDS = 600
UIDS = range(24_094, 24_096)  # the last that have a name in every image
MakeBuilder = Callable[..., ImageBuilder]


@pytest.fixture(scope="session")
def sdk() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


def server_builder() -> ImageBuilder:
    """The one that the server has by default."""
    settings = load({})
    base, count = settings.session_uid_base, settings.session_uid_count
    return ImageBuilder(ENGINE, FOLDER, range(base, base + count))


@pytest.fixture
async def base_image() -> str:
    """The reference of the base image; built where it is not here."""
    builder = server_builder()
    await builder.ensure("bash", lambda _line: None)
    return builder.base().reference


@pytest.fixture
def folder(tmp_path: Path, base_image: str) -> Path:
    """A languages folder with one language, `toy`, that needs no network to be built."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "Dockerfile").write_text(f"FROM {base_image}\nRUN echo base > /etc/toy-base\n")
    write_toy(tmp_path, "RUN echo toy > /etc/toy")
    return tmp_path


def write_toy(folder: Path, *lines: str) -> None:
    (folder / "toy").mkdir(exist_ok=True)
    (folder / "toy" / "Dockerfile").write_text("\n".join(["ARG BASE", "FROM ${BASE}", *lines, ""]))


@pytest.fixture
def builder(folder: Path, sdk: docker.DockerClient) -> Iterator[ImageBuilder]:
    prefix = f"coderunner-test-{secrets.token_hex(4)}"
    yield ImageBuilder(ENGINE, folder, UIDS, prefix)
    for reference in references(sdk, prefix):
        sdk.images.remove(reference, force=True)


def references(sdk: docker.DockerClient, prefix: str) -> set[str]:
    """The names of all images under this prefix."""
    # Of the list alone: another's image may be gone before one could ask for it.
    tags = {tag for image in sdk.api.images() for tag in image["RepoTags"] or ()}
    return {tag for tag in tags if tag.startswith(f"{prefix}/")}
