"""Makes the canary's program as the command of a container: the probes' sources, and the expected limits."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from coderunner.engine.containers import (
    HOST_NAME,
    MAX_TERMINALS,
    NAMESERVERS,
    SYSCTLS,
    TMP_INODES,
    ContainerSpec,
    shm_bytes,
)
from coderunner.engine.hidden import READONLY_PATHS, masked_paths
from coderunner.engine.runtimes import USUAL_RUNTIMES, is_gvisor, memory_of

PACKAGE = "coderunner.canary.inside"
# In the order of loading: each module after those that it imports.
MODULES = ("tools", "identity", "kernel", "files", "processes", "uncharged", "report")
# All modules in one argument: nothing of them is in the images, so a new probe needs no new image.
LOADER = """\
import json, sys, types
for name, text in json.loads(sys.argv[1]):
    sys.modules[name] = module = types.ModuleType(name)
    exec(compile(text, name, "exec"), vars(module))
module.main(json.loads(sys.argv[2]))
"""


@cache
def sources() -> str:
    """The probes' modules as JSON: a list of names and source texts, in the order of loading."""
    folder = files(PACKAGE)
    return json.dumps([[f"{PACKAGE}.{name}", (folder / f"{name}.py").read_text("utf-8")] for name in MODULES])


def program_digest() -> str:
    """A digest of the canary's program. A verdict of another program does not count."""
    return hashlib.sha256((LOADER + sources()).encode()).hexdigest()


def expectation(spec: ContainerSpec) -> dict[str, Any]:
    """The limits that hold in a container of `spec`, as the probes' argument."""
    limits = spec.limits
    return {
        "uid": spec.uid,
        "host_name": HOST_NAME,
        "pids": limits.pids,
        "memory_bytes": memory_of(limits, spec.runtime),
        "cpus": limits.cpus,
        "nofile": limits.nofile,
        "file_bytes": limits.file_bytes,
        "workspace_bytes": limits.workspace_bytes,
        "inodes": limits.inodes,
        "tmp_bytes": limits.tmp_bytes,
        "tmp_inodes": TMP_INODES,
        "shm_bytes": shm_bytes(limits),
        # Other runtimes (gVisor, Kata) have kernels of their own, with other limits.
        "terminals": MAX_TERMINALS if spec.runtime in USUAL_RUNTIMES else None,
        "sysctls": SYSCTLS if spec.runtime in USUAL_RUNTIMES else {},
        "nameservers": NAMESERVERS,
        "masked_paths": masked_paths(),
        "readonly_paths": READONLY_PATHS,
        # Its system calls end in a kernel of its own: what protects the machine's would prove nothing.
        "gvisor": is_gvisor(spec.runtime),
    }


def command(spec: ContainerSpec) -> tuple[str, ...]:
    """The command of a container that tests the limits of `spec`."""
    # -I, -S: neither the environment nor packages of the image change what is run (python(1)).
    return ("/usr/bin/python3", "-I", "-S", "-c", LOADER, sources(), json.dumps(expectation(spec)))
