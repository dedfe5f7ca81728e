"""Firewall rules for groups, set by `netfilter.py` in a short-lived container.

The server itself has no rights on these networks, and need not be on the engine's machine; the engine can
start a program that has them.  It gets this one capability, no file to write, and no word from a user.
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
from coderunner.engine.containers import READONLY_PATHS, masked_paths
from coderunner.engine.docker import DockerEngine
from coderunner.engine.networks import BRIDGE_PREFIX, NETWORK_TYPE
from coderunner.errors import EngineError, EngineTimeout, NetworkFailed

MEMORY_BYTES = 64 * 1024 * 1024


@cache
def _program() -> str:
    return (files("coderunner.engine") / "netfilter.py").read_text("utf-8")


def helper_body(
    image: str, labels: Mapping[str, str], network: str, arguments: tuple[str, ...]
) -> dict[str, Any]:
    """The JSON object of the create request; `image` is any that has `/usr/bin/python3`."""
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
            "UsernsMode": "host",  # with userns-remap, root has no rights on the host's network
            "CapDrop": ["ALL"],
            "CapAdd": ["NET_ADMIN"],
            "SecurityOpt": ["no-new-privileges:true"],
            "ReadonlyRootfs": True,
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
    """What such a container is made of. `image` is any that has Python; it may take `seconds`."""

    image: str
    name: str
    labels: Mapping[str, str]
    seconds: float


async def install_host_rules(engine: DockerEngine, helper: Helper) -> None:
    """Drops all packets from groups to the host.

    Raises NetworkFailed with the kernel's reason, EngineError.
    """
    await apply_rules(engine, helper, "host", ("host", BRIDGE_PREFIX))


async def remove_host_rules(engine: DockerEngine, helper: Helper) -> bool:
    """Takes the host's rules away where the engine has no group any more, of any server; whether it did.

    A server that makes a group in this moment makes its network first and sets the rules then: one of the two
    looks below sees it, or it sets the rules after us.  Raises as `install_host_rules`.
    """
    if await engine.networks.list({"type": NETWORK_TYPE}):
        return False
    await apply_rules(engine, helper, "host", ("no-host",))
    if await engine.networks.list({"type": NETWORK_TYPE}):
        await install_host_rules(engine, helper)
        return False
    return True


async def bound_member(engine: DockerEngine, container: str, subnet: IPv4Network, helper: Helper) -> None:
    """The running container sends to the group's `subnet` alone, and its table of connections stays small.

    Raises as `install_host_rules`.
    """
    await apply_rules(engine, helper, f"container:{container}", ("member", str(subnet)))


async def apply_rules(
    engine: DockerEngine, helper: Helper, network: str, arguments: tuple[str, ...]
) -> None:
    """Runs `netfilter.py` with `arguments` in a helper container, in the namespace of `network`.

    `network`: as the engine's NetworkMode.  Raises NetworkFailed with the kernel's reason, EngineError.
    """
    body = helper_body(helper.image, helper.labels, network, arguments)
    try:
        container = await engine.create_from(body, helper.name)
        stream = await engine.attach(container)
        try:
            await engine.start(container)
            code = await engine.wait(container, helper.seconds)
            async with timing.within(helper.seconds):
                while await stream.read():
                    pass  # its stdout is empty; what stderr said is kept beside it
        except TimeoutError:
            raise EngineTimeout(f"rules for groups: not set within {helper.seconds:g} s") from None
        finally:
            await stream.close()
        if code != 0:
            words = stream.stderr_tail.decode("utf-8", "replace").strip()
            raise NetworkFailed(f"groups are not available: {words or f'the program ended with {code}'}")
    finally:
        with contextlib.suppress(EngineError):  # the sweep removes it, by its labels
            await engine.remove(helper.name)
