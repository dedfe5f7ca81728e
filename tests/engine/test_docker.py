"""The adapter against the real engine."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from coderunner import config, here
from coderunner.engine.containers import create_body
from coderunner.engine.docker import DockerEngine, usual_socket
from coderunner.errors import ContainerGone, ImageMissing, NameConflict, StartFailed
from coderunner.fleet.sweep import reap
from tests.engine.conftest import MakeSpec
from tests.harness import docker as docker_command

SLEEP = "import signal; signal.pause()"


async def test_the_engine_says_what_it_is(engine: DockerEngine, sdk: docker.DockerClient) -> None:
    await engine.ping()
    info = await engine.info()
    assert info.id == sdk.info()["ID"]
    assert info.version == sdk.version()["Version"]
    assert info.cgroup_version in (1, 2)
    assert info.default_runtime in sdk.info()["Runtimes"]
    assert info.cpus >= 1
    assert info.memory_bytes > 2**28


def test_the_socket_is_the_first_that_may_be_used(tmp_path: Path) -> None:
    """The machine's, a rootless engine's, Docker Desktop's."""
    home = tmp_path / "home"
    places = [
        tmp_path / "var/run/docker.sock",
        tmp_path / "run/docker.sock",
        tmp_path / f"run/user/{os.getuid()}/docker.sock",
        home / ".docker/run/docker.sock",
    ]
    assert usual_socket(tmp_path, home) == f"unix://{places[0]}"
    for place in reversed(places):
        place.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(place))
        assert usual_socket(tmp_path, home) == f"unix://{place}"


async def test_images_by_reference_and_by_id(engine: DockerEngine, image: str) -> None:
    found = await engine.image(image)
    assert found is not None
    assert found.id == image
    assert found.size > 0
    assert await engine.image("coderunner-test/there-is-none:1") is None


async def test_a_life_from_create_to_remove(
    engine: DockerEngine, make_spec: MakeSpec, labels: dict[str, str]
) -> None:
    spec = make_spec("input(); raise SystemExit(3)")
    container = await engine.create(spec)
    made = await engine.inspect(container)
    assert (made.status, made.running, made.exit_code, made.name) == ("created", False, None, spec.name)
    assert labels.items() <= made.labels.items()  # the image's own labels come on top
    stream = await engine.attach(container)
    await engine.start(container)
    await engine.start(container)  # a second start changes nothing
    state = await engine.inspect(container)
    assert (state.running, state.paused, state.exit_code) == (True, False, None)
    assert state.pid > 0
    [row] = await engine.list(labels)
    assert (row.id, row.name, row.running, row.labels) == (container, spec.name, True, made.labels)
    await stream.write(b"go\n")
    assert await engine.wait(container, 10) == 3
    state = await engine.inspect(container)
    assert (state.status, state.running, state.exit_code, state.oom_killed) == ("exited", False, 3, False)
    await stream.close()
    await engine.remove(container)
    await engine.remove(container)
    assert await engine.list(labels) == []


async def test_a_kill_reaches_a_running_container(engine: DockerEngine, make_spec: MakeSpec) -> None:
    container = await engine.create(make_spec(SLEEP))
    await engine.start(container)
    docker_command("kill", container)
    assert await engine.wait(container, 10) == 137


async def test_a_container_that_is_running_is_removed_at_once(
    engine: DockerEngine, make_spec: MakeSpec, labels: dict[str, str]
) -> None:
    container = await engine.create(make_spec(SLEEP))
    await engine.start(container)
    await asyncio.gather(engine.remove(container), engine.remove(container))
    assert await engine.list(labels) == []


async def test_paused_from_outside_it_is_seen_and_can_be_killed(
    engine: DockerEngine, make_spec: MakeSpec, sdk: docker.DockerClient, labels: dict[str, str]
) -> None:
    container = await engine.create(make_spec(SLEEP))
    await engine.start(container)
    await asyncio.to_thread(sdk.containers.get(container).pause)
    state = await engine.inspect(container)
    assert (state.running, state.paused) == (True, True)
    [row] = await engine.list(labels)
    assert (row.running, row.paused) == (True, True)
    await engine.remove(container)
    assert await engine.list(labels) == []


async def test_a_volume_that_somebody_left_is_removed_and_no_other(
    engine: DockerEngine, make_spec: MakeSpec, sdk: docker.DockerClient, labels: dict[str, str]
) -> None:
    left, kept = await engine.create(make_spec(SLEEP)), await engine.create(make_spec(SLEEP))
    await asyncio.to_thread(sdk.containers.get(left).remove, force=True)  # without its volumes
    ours = {"label": [f"{name}={value}" for name, value in labels.items()]}
    assert len(await asyncio.to_thread(sdk.volumes.list, filters=ours)) == 2
    assert await engine.prune_volumes({**labels, "coderunner.instance": "another"}) == 0
    assert await engine.prune_volumes(labels) == 1
    assert await engine.prune_volumes(labels) == 0
    another = await engine.create(make_spec(SLEEP))
    await asyncio.to_thread(sdk.containers.get(another).remove, force=True)
    await reap(engine, instance=labels["coderunner.instance"], now=0)  # of a server that never comes back
    assert len(await asyncio.to_thread(sdk.volumes.list, filters=ours)) == 1
    await engine.start(kept)
    await engine.remove(kept)
    assert await asyncio.to_thread(sdk.volumes.list, filters=ours) == []


async def test_paused_and_going_on(engine: DockerEngine, make_spec: MakeSpec) -> None:
    container = await engine.create(make_spec(SLEEP))
    await engine.start(container)
    await engine.pause(container)
    assert (await engine.inspect(container)).paused is True
    await engine.unpause(container)
    assert (await engine.inspect(container)).paused is False
    await engine.unpause(container)  # it is not paused: nothing to do
    await engine.remove(container)
    with pytest.raises(ContainerGone):
        await engine.pause(container)


async def test_what_is_gone_is_gone(engine: DockerEngine, make_spec: MakeSpec) -> None:
    container = await engine.create(make_spec())
    await engine.remove(container)
    for call in (engine.inspect, engine.start, engine.attach):
        with pytest.raises(ContainerGone):
            await call(container)
    with pytest.raises(ContainerGone):
        await engine.update(container, pids=10)


async def test_a_list_has_only_what_carries_all_labels(engine: DockerEngine, make_spec: MakeSpec) -> None:
    spec = make_spec()
    mine = await engine.create(replace(spec, labels={**spec.labels, "coderunner.session": "a"}))
    other = make_spec()
    await engine.create(replace(other, labels={**other.labels, "coderunner.session": "b"}))
    found = await engine.list({**spec.labels, "coderunner.session": "a"})
    assert [row.id for row in found] == [mine]


async def test_limits_change_in_place(engine: DockerEngine, make_spec: MakeSpec) -> None:
    container = await engine.create(make_spec(SLEEP))
    await engine.start(container)
    await engine.update(container, memory_bytes=300 * 2**20, pids=77)
    host = (await engine.inspect_raw(container))["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (300 * 2**20, 300 * 2**20, 77)
    with pytest.raises(StartFailed):
        await engine.update(container, memory_bytes=1)


async def test_refusals(engine: DockerEngine, make_spec: MakeSpec) -> None:
    with pytest.raises(ImageMissing, match="coderunner-test/there-is-none"):
        await engine.create(make_spec(image="coderunner-test/there-is-none:1"))
    spec = make_spec()
    await engine.create(spec)
    with pytest.raises(NameConflict, match=spec.name):
        await engine.create(spec)
    with pytest.raises(StartFailed, match="no-such-runtime"):
        await engine.create(make_spec(runtime="no-such-runtime"))


@pytest.mark.parametrize("command", [("/no/such/program",), ("/etc/passwd",)])
async def test_a_command_that_cannot_run_fails_the_start(
    engine: DockerEngine, make_spec: MakeSpec, command: tuple[str, ...]
) -> None:
    container = await engine.create(make_spec(command))
    with pytest.raises(StartFailed, match=command[0]):
        await engine.start(container)


async def test_out_of_memory_is_told(engine: DockerEngine, make_spec: MakeSpec) -> None:
    body = create_body(make_spec("x = []\nwhile True: x.append(b'x' * 2**20)"))
    body["HostConfig"] |= {"Memory": 32 * 2**20, "MemorySwap": 32 * 2**20}
    container = await engine.create_from(body, body["Labels"]["coderunner.instance"] + "-oom")
    await engine.start(container)
    assert await engine.wait(container, 10) == 137
    if (await engine.info()).cgroup_version == 1:  # on version 2 the engine may miss it
        assert (await engine.inspect(container)).oom_killed


async def test_a_runtime_that_the_engine_has_not_is_told():
    assert await here.problems(config.load({"DOCKER_RUNTIME": "runc"})) == []
    [problem] = await here.problems(config.load({"DOCKER_RUNTIME": "runsd"}))
    assert problem.startswith("DOCKER_RUNTIME is runsd, which the engine does not have; it has ")
    assert "runc" in problem
