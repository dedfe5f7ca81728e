"""Sets firewall rules for groups, by running `netfilter.py` in a short-lived container.

The server has no permission to change these networks, and need not be on the engine's machine. The helper
container has one capability (NET_ADMIN), a read-only file system, and arguments that no user can influence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from ipaddress import IPv4Network
from typing import Any

from coderunner import timing
from coderunner.engine.docker import DockerEngine
from coderunner.engine.hidden import READONLY_PATHS, masked_paths
from coderunner.engine.networks import BRIDGE_PREFIX, NETWORK_TYPE
from coderunner.errors import EngineError, EngineTimeout, NetworkFailed

MEMORY_BYTES = 64 * 1024 * 1024  # of a helper container


@cache
def _program() -> str:
    return (files("coderunner.engine") / "netfilter.py").read_text("utf-8")


def helper_body(
    image: str, labels: Mapping[str, str], network: str, arguments: tuple[str, ...]
) -> dict[str, Any]:
    """The JSON object of the create request for a helper container.

    `image`: any that has `/usr/bin/python3`. `network`: `host` or `container:` and an id. `arguments`: of
    `netfilter.py`.
    """
    # Every setting of a session's container that is not needed here is at its strictest, too.
    return {
        "Image": image,
        "Entrypoint": [],
        "Cmd": ["/usr/bin/python3", "-I", "-S", "-c", _program(), *arguments],
        "Healthcheck": {"Test": ["NONE"]},
        "WorkingDir": "/",
        "User": "0:0",
        "Labels": dict(labels),
        "HostConfig": {
            "NetworkMode": network,
            # with userns-remap, root in a container could not change the host's network
            "UsernsMode": "host",
            "CapDrop": ["ALL"],
            "CapAdd": ["NET_ADMIN"],
            "SecurityOpt": ["no-new-privileges:true"],
            "ReadonlyRootfs": True,
            # It starts no other process; Python needs one.
            "PidsLimit": 16,
            "Memory": MEMORY_BYTES,
            "MemorySwap": MEMORY_BYTES,
            "IpcMode": "private",
            "MaskedPaths": masked_paths(),
            "ReadonlyPaths": list(READONLY_PATHS),
            "LogConfig": {"Type": "none", "Config": {}},
        },
    }


@dataclass(frozen=True, slots=True)
class Helper:
    """A helper container. `image`: any that has Python. `seconds`: how long it may run."""

    image: str
    name: str
    labels: Mapping[str, str]
    seconds: float


async def install_host_rules(engine: DockerEngine, helper: Helper) -> None:
    """Sets the rules that drop all packets from groups to the host.

    Raises NetworkFailed with the kernel's reason, EngineError.
    """
    await apply_rules(engine, helper, "host", ("host", BRIDGE_PREFIX))


async def remove_host_rules(engine: DockerEngine, helper: Helper) -> bool:
    """Removes the host's rules if the engine has no group of any server; returns whether it did.

    Another server that makes a group at this moment makes its network first and sets the rules then. So
    either one of the two checks below sees the network, or that server sets the rules after they were removed
    here. Raises as `install_host_rules`.
    """
    # See the docstring: the order of look, removal and look is what makes it safe without a lock.
    if await engine.networks.list({"type": NETWORK_TYPE}):
        return False
    await apply_rules(engine, helper, "host", ("no-host",))
    if await engine.networks.list({"type": NETWORK_TYPE}):
        await install_host_rules(engine, helper)
        return False
    return True


async def bound_member(engine: DockerEngine, container: str, subnet: IPv4Network, helper: Helper) -> None:
    """Limits a running container to sending to the group's `subnet`, and bounds its connection tracking.

    Raises as `install_host_rules`.
    """
    await apply_rules(engine, helper, f"container:{container}", ("member", str(subnet)))


async def apply_rules(engine: DockerEngine, helper: Helper, network: str, arguments: tuple[str, ...]) -> None:
    """Runs `netfilter.py` with `arguments` in a helper container, in the namespace of `network`.

    `network`: as the engine's NetworkMode.  Raises NetworkFailed with the kernel's reason, EngineError.
    """
    body = helper_body(helper.image, helper.labels, network, arguments)
    try:
        container = await engine.create_from(body, helper.name)
        # Attached before the start, so that no word of an error is lost.
        stream = await engine.attach(container)
        try:
            await engine.start(container)
            # Its exit code says whether the rules are in force; the words are only for the message.
            code = await engine.wait(container, helper.seconds)
            async with timing.within(helper.seconds):
                while await stream.read():
                    pass  # stdout is empty, and the stream keeps the end of stderr
        except TimeoutError:
            raise EngineTimeout(f"firewall rules for groups: not set within {helper.seconds:g} s") from None
        finally:
            await stream.close()
        if code != 0:
            words = stream.stderr_tail.decode("utf-8", "replace").strip()
            raise NetworkFailed(f"groups are not available: {words or f'the helper ended with {code}'}")
    finally:
        with contextlib.suppress(EngineError):  # if this fails, the sweep removes it, by its labels
            await engine.remove(helper.name)
