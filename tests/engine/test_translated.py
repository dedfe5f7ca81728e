"""The engine's failures in our own words: the error decides whether a container is gone, or the engine is."""

from __future__ import annotations

import aiohttp
import pytest
from aiodocker.exceptions import DockerError

from coderunner.engine.faults import NO_ENGINE, translated
from coderunner.engine.kinds import refuse_podman
from coderunner.errors import (
    ContainerGone,
    EngineUnavailable,
    ImageMissing,
    NameConflict,
    StartFailed,
    UnsupportedEngine,
)
from coderunner.schema.engine import Component, EngineVersion

NAME = 'Conflict. The container name "/x" is already in use by container "y".'


@pytest.mark.parametrize(
    ("what", "status", "message", "kind", "said"),
    [
        ("create", 404, "No such image: coderunner/c:1", ImageMissing, "make images"),
        ("inspect", 404, "No such container: abc", ContainerGone, "No such container"),
        ("create", 409, NAME, NameConflict, "already in use"),
        ("exec", 409, "Container abc is not running", ContainerGone, "not running"),
        ("start", 500, "the runtime is not running", StartFailed, "answered 500"),
        ("start", 500, "no space left on device", StartFailed, "no space left"),
        ("start", NO_ENGINE, "Cannot connect", EngineUnavailable, "check that Docker Engine is running"),
    ],
)
def test_an_answer(what, status, message, kind, said):
    with pytest.raises(kind, match=said) as raised, translated(what, refused=StartFailed):
        raise DockerError(status, message)
    assert type(raised.value) is kind
    assert str(raised.value).startswith(f"{what}: ")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionResetError(), "ConnectionResetError"),
        (aiohttp.ServerDisconnectedError(), "broke"),
        (KeyError("Id"), "not an engine's"),
        (ValueError("Expecting value"), "not an engine's"),
    ],
)
def test_what_is_no_answer_is_a_fault_of_the_engine(error, said):
    with pytest.raises(EngineUnavailable, match=said), translated("list"):
        raise error


def test_a_deadline_is_its_owners():
    with pytest.raises(TimeoutError), translated("list"):
        raise TimeoutError


def test_podman_is_refused_whatever_else_it_is_called():
    refuse_podman(EngineVersion(components=[Component(name="Engine")]))
    refuse_podman(EngineVersion())
    with pytest.raises(UnsupportedEngine, match="Podman is not supported"):
        refuse_podman(EngineVersion(components=[Component(name="Engine"), Component(name="Podman Engine")]))
