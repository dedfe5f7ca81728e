"""What is different in containers of gVisor. Whether it works there, tests/platforms/test_gvisor.py shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coderunner import declarations
from coderunner.canary.program import expectation
from coderunner.engine.containers import AGENT_COMMAND, ContainerSpec, command_of, create_body
from coderunner.engine.docker import DockerEngine
from coderunner.engine.runtimes import in_runtime, is_gvisor, memory_of, pids_of
from coderunner.engine.states import ContainerState
from coderunner.errors import ContainerGone, StartFailed
from coderunner.schema.engine import ContainerConfig, ContainerDocument, ContainerHost, RunState
from tests.engine.conftest import MakeSpec

DECLARED = declarations.load(only=["python"])
LIMITS = DECLARED.rules.defaults
SPEC = ContainerSpec(image="i", name="n", uid=1, limits=LIMITS)


@pytest.mark.parametrize(
    ("runtime", "is_one"),
    [(None, False), ("runc", False), ("crun", False), ("kata", False), ("runsc", True), ("runsc-kvm", True)],
)
def test_gvisor_is_known_by_its_name(runtime: str | None, is_one: bool) -> None:
    assert is_gvisor(runtime) is is_one
    assert expectation(replace(SPEC, runtime=runtime))["gvisor"] is is_one


def test_its_own_kernel_has_room_beside_the_session() -> None:
    one = create_body(replace(SPEC, runtime="runsc"))["HostConfig"]
    usual = create_body(SPEC)["HostConfig"]
    assert one["Memory"] == one["MemorySwap"] == memory_of(LIMITS, "runsc") > usual["Memory"] + (64 << 20)
    assert one["PidsLimit"] == pids_of(LIMITS, "runsc") > 2 * usual["PidsLimit"]
    assert (usual["Memory"], usual["PidsLimit"]) == (LIMITS.container_bytes, LIMITS.pids)


def test_a_preload_is_not_used_there() -> None:
    """Its forks would not be the agent's children, so nobody would see how they end."""
    python = DECLARED.languages["python"]
    assert in_runtime(python, "crun") is python
    assert command_of(python) != AGENT_COMMAND
    inside = in_runtime(python, "runsc")
    assert inside.preload is None
    assert command_of(inside) == AGENT_COMMAND


@pytest.mark.parametrize(
    ("running", "killed", "runtime", "ended"),
    [
        (False, True, "runsc", True),
        (True, True, "runsc", False),
        (False, False, "runsc", False),
        # A program was killed for its memory once, and the container ended later for another reason.
        (False, True, "runc", False),
    ],
)
def test_only_a_whole_sandbox_ends_for_memory(running: bool, killed: bool, runtime: str, ended: bool) -> None:
    state = RunState("running" if running else "exited", running, False, 137, 0, "", "", oom_killed=killed)
    document = ContainerDocument("1", "/n", state, ContainerConfig("i"), ContainerHost(runtime))
    assert ContainerState.of(document).ended_for_memory is ended


async def test_limits_that_cannot_be_set_inside_fail_the_start(
    engine: DockerEngine, make_spec: MakeSpec
) -> None:
    """runc's control groups are read-only in the container, also for root."""
    container = await engine.create(make_spec("input()"))
    await engine.start(container)
    with pytest.raises(StartFailed, match=r"could not be set \(code 2\)"):
        await engine.limit_inside(container, pids=10, memory_bytes=1 << 20)
    await engine.remove(container)
    with pytest.raises(ContainerGone):
        await engine.limit_inside(container, pids=10, memory_bytes=1 << 20)


def test_a_state_without_a_runtime_is_no_gvisor() -> None:
    state = RunState("exited", False, False, 137, 0, "", "", oom_killed=True)
    assert not ContainerState.of(ContainerDocument("1", "/n", state, ContainerConfig("i"))).ended_for_memory
