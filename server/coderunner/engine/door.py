"""The host's door, shut to all groups by a program of ours in a container that ends at once.

The server itself has no rights on the host's network, and need not be on the engine's machine; the engine
can start a program that has them.  It gets this one capability, no file to write, and no word from a user.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from coderunner.engine.containers import MASKED_PATHS, READONLY_PATHS
from coderunner.engine.docker import DockerEngine
from coderunner.engine.networks import BRIDGE_PREFIX
from coderunner.errors import EngineError, EngineTimeout, NetworkFailed

MEMORY_BYTES = 64 * 1024 * 1024


@cache
def _program() -> str:
    return (files("coderunner.engine") / "seal.py").read_text("utf-8")


def door_body(image: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """The JSON object of the create request; `image` is any that has `/usr/bin/python3`."""
    return {
        "Image": image,
        "Entrypoint": [],
        "Cmd": ["/usr/bin/python3", "-I", "-S", "-c", _program(), BRIDGE_PREFIX],
        "Healthcheck": {"Test": ["NONE"]},
        "WorkingDir": "/",
        "User": "0:0",
        "Labels": dict(labels),
        "HostConfig": {
            "NetworkMode": "host",  # whose door it is
            "UsernsMode": "host",  # where the engine maps users, its root has no rights on the host's network
            "CapDrop": ["ALL"],
            "CapAdd": ["NET_ADMIN"],
            "SecurityOpt": ["no-new-privileges:true"],
            "ReadonlyRootfs": True,
            "PidsLimit": 16,
            "Memory": MEMORY_BYTES,
            "MemorySwap": MEMORY_BYTES,
            "IpcMode": "private",
            "MaskedPaths": list(MASKED_PATHS),
            "ReadonlyPaths": list(READONLY_PATHS),
            "LogConfig": {"Type": "none", "Config": {}},
        },
    }


async def shut_door(
    engine: DockerEngine, image: str, name: str, labels: Mapping[str, str], within_s: float
) -> None:
    """Returns when the rules are in force.  Raises NetworkFailed with the kernel's reason, EngineError."""
    try:
        container = await engine.create_from(door_body(image, labels), name)
        stream = await engine.attach(container)
        try:
            await engine.start(container)
            code = await engine.wait(container, within_s)
            async with asyncio.timeout(within_s):
                while await stream.read():
                    pass  # its stdout is empty; what stderr said is kept beside it
        except TimeoutError:
            raise EngineTimeout(f"the host's door: not shut within {within_s:g} s") from None
        finally:
            await stream.close()
        if code != 0:
            words = stream.stderr_tail.decode("utf-8", "replace").strip()
            raise NetworkFailed(f"groups cannot be had: {words or f'the program ended with {code}'}")
    finally:
        with contextlib.suppress(EngineError):  # its labels leave it to the sweep
            await engine.remove(name)
