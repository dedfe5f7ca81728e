"""The real engine, an image with Python in it, and containers that are gone when a test ends."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import docker
import pytest

import coderunner
from coderunner.config import load
from coderunner.core.limits import parse_rules
from coderunner.engine.containers import SESSION_TYPE, ContainerSpec
from coderunner.engine.docker import DockerEngine
from coderunner.engine.images import ImageBuilder
from coderunner.schema.limits import Limits
from tests.engine.groups import begin, make_network
from tests.harness import ENGINE

__all__ = ["begin", "make_network"]

MakeSpec = Callable[..., ContainerSpec]
BUILD_S = 900
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that needs the image may have to wait for its making."""
    for item in items:
        if "image" in getattr(item, "fixturenames", ()) and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(BUILD_S))


@pytest.fixture(scope="session")
def sdk() -> Iterator[docker.DockerClient]:
    """The engine seen through another library: what a neighbour or an administrator would do."""
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(sdk: docker.DockerClient) -> str:
    """The base of all languages by its id: Python, and Debian's setuid programs still in it. Where the engine
    has it not (tests/platforms), the image of bash, without those programs."""
    settings = load({})  # the users of the server's own images, so that nothing is built for tests alone
    uids = range(settings.session_uid_base, settings.session_uid_base + settings.session_uid_count)
    builder = ImageBuilder(ENGINE, Path(coderunner.__file__).parent / "languages", uids)
    with ThreadPoolExecutor(1) as thread:  # not in this one, which has the tests' event loop
        thread.submit(asyncio.run, builder.ensure("bash", print)).result()
    there = {tag for one in sdk.images.list() for tag in one.tags}
    base = builder.base().reference
    return str(sdk.images.get(base if base in there else builder.reference("bash")).id)


@pytest.fixture(scope="session")
def limits() -> Limits:
    return parse_rules((files("coderunner.languages") / "limits.toml").read_text("utf-8")).defaults


@pytest.fixture
async def engine() -> AsyncIterator[DockerEngine]:
    async with DockerEngine.connect(ENGINE, 20) as engine:
        yield engine


@pytest.fixture
def labels() -> dict[str, str]:
    return {"type": SESSION_TYPE, "coderunner.instance": f"test-{secrets.token_hex(6)}"}


@pytest.fixture
async def make_spec(
    engine: DockerEngine, image: str, limits: Limits, labels: dict[str, str]
) -> AsyncIterator[MakeSpec]:
    """Makes specs of containers; removes all that came of them. `command` may be Python source text."""

    def make(command: str | tuple[str, ...] = "pass", **changes: Any) -> ContainerSpec:
        argv = ("/usr/bin/python3", "-I", "-S", "-u", "-c", command) if isinstance(command, str) else command
        number = next(_numbers)
        name = f"{labels['coderunner.instance']}-{number}"
        spec = ContainerSpec(
            image=image, name=name, uid=61000 + number, limits=limits, labels=labels, command=argv
        )
        return replace(spec, **changes)

    yield make
    for container in await engine.list(labels):
        await engine.remove(container.id)
    assert await engine.list(labels) == []
