"""What differs between container runtimes.

runc and crun run programs on the machine's kernel, which enforces each limit. gVisor has a kernel of its own
in user space: the machine's control group holds that kernel's own threads and memory, too, and reaching its
limit ends the whole sandbox. So there the machine's limits are higher, and the session's own are those of
gVisor's control groups, which a user of the container cannot write.
"""

from __future__ import annotations

from msgspec.structs import replace

from coderunner.schema.languages import Language
from coderunner.schema.limits import Limits

# Other runtimes, such as gVisor, have their own terminals and networks.
USUAL_RUNTIMES = (None, "runc", "crun")
GVISOR = "runsc"
"""How names of gVisor in the engine's configuration begin: it may be there with several sets of options."""

SANDBOX_BYTES, PROCESS_BYTES = 64 << 20, 1 << 20
"""Memory of gVisor's kernel beside that of programs, and for each process or thread: its control group must
have it, or all of the sandbox ends. Measured with 20240729: 20 MB with one process. Each fork of Python takes
4 to 8 MB (with runc 0.6), so as many of them as `pids` allows are too many for the memory."""
SANDBOX_PIDS, PIDS_FACTOR = 256, 8
"""Threads of gVisor's kernel, and for each process. Measured: 30 to 40, and 2 for each process (6 with
`--platform=ptrace`)."""

RUN_EXEC = {"Detach": False, "Tty": False}
"""The body that starts it, and has its answer last as long as the command."""
_SCRIPT = 'echo "$1" >/sys/fs/cgroup/pids/pids.max && echo "$2" >/sys/fs/cgroup/memory/memory.limit_in_bytes'


def is_gvisor(runtime: str | None) -> bool:
    """Whether it is gVisor, by its name in the engine's configuration."""
    return runtime is not None and runtime.startswith(GVISOR)


def in_runtime(language: Language, runtime: str | None) -> Language:
    """The language as it is in containers of this runtime (the engine's name for it)."""
    # A preload's forks are to be children of the agent (CLONE_PARENT), which gVisor does not support.
    return replace(language, preload=None) if is_gvisor(runtime) else language


def memory_of(limits: Limits, runtime: str | None) -> int:
    """The container's limit of memory, in bytes, with what the runtime itself needs."""
    return limits.container_bytes + (sandbox_bytes(limits.pids) if is_gvisor(runtime) else 0)


def pids_of(limits: Limits, runtime: str | None) -> int:
    """The container's limit of processes, with the runtime's own threads."""
    return sandbox_pids(limits.pids) if is_gvisor(runtime) else limits.pids


def sandbox_bytes(pids: int) -> int:
    """What gVisor's kernel gets beside the memory of programs, in bytes. `pids`: the session's limit."""
    return SANDBOX_BYTES + PROCESS_BYTES * pids


def sandbox_pids(pids: int) -> int:
    """How many threads of the machine a session in gVisor may have. `pids`: the session's limit."""
    return SANDBOX_PIDS + PIDS_FACTOR * pids


def pids_in(threads: int) -> int:
    """The session's limit of which `sandbox_pids` made this number; 0 or less if there is none."""
    return (threads - SANDBOX_PIDS) // PIDS_FACTOR


def inner_limits(pids: int, memory_bytes: int) -> dict[str, object]:
    """The body that has the engine execute what sets the limits of gVisor's own control groups.

    By root, as they are root's, and without any capability. `memory_bytes`: the container's whole limit,
    which gVisor does not enforce, and the agent needs to know."""
    return {
        "Cmd": ["/bin/sh", "-c", _SCRIPT, "sh", str(pids), str(memory_bytes)],
        "User": "0:0", "WorkingDir": "/", "Env": [],
        "AttachStdin": False, "AttachStdout": True, "AttachStderr": True, "Tty": False, "Privileged": False,
    }  # fmt: skip
