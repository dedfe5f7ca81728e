"""The machine on which the guide is followed: a Debian 12 with nothing but systemd, which is a container's
first process; or one that DEPLOYMENT_MACHINE names: tests/platforms/machine.py has a virtual one."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness import SLOWNESS, docker

IMAGE = "coderunner-test/machine:bookworm-2"
CACHE = "coderunner-test-packages"  # a volume, kept for the next run: what apt has fetched
NAME = "code.example.com"
TRUST = "/srv/trust.crt"  # what this machine trusts, and the test's own authority
# Of capabilities.h. Docker 20.10 knows no later ones; of these a machine has what the test's has itself.
CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
    "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM",
    "BLOCK_SUSPEND", "AUDIT_READ",
)  # fmt: skip
# The file systems that Docker gives read-only to containers: systemd and an engine write to them.
FIRST = (
    "for place in /sys /sys/fs/cgroup /sys/fs/cgroup/*; do mount -o remount,bind,rw $place 2>/dev/null; done;"
    " exec /lib/systemd/systemd"
)


@dataclass
class Said:
    code: int
    out: str
    all: str


@dataclass
class Machine:
    """`shell`: what runs a command on it, whose words a shell there reads again. `ports`: at which ports of
    `address` its own are reached from outside. `whole`: a machine with a kernel of its own."""

    shell: tuple[str, ...]
    address: str = "127.0.0.1"
    ports: dict[int, int] = field(default_factory=dict)
    whole: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    def port(self, number: int) -> int:
        return self.ports.get(number, number)

    def run(self, commands: str, seconds: float = 120, *, around: str = "") -> Said:
        """As root's shell would, line by line, in the folder where the last commands ended."""
        folder = 'cd "$(cat /srv/folder 2>/dev/null || echo /root)"; trap "pwd >/srv/folder" EXIT'
        script = f"{folder}\n{commands}"
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        done = subprocess.run(
            [*self.shell, shlex.join(["env", *settings, *shlex.split(around), "bash", "-ec", script])],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds * SLOWNESS,
        )  # fmt: skip
        return Said(done.returncode, done.stdout, done.stdout + done.stderr)

    def must(self, commands: str, seconds: float = 120, *, around: str = "") -> str:
        said = self.run(commands, seconds, around=around)
        assert said.code == 0, f"{commands}\nended with {said.code}:\n{said.all[-3000:]}"
        return said.out

    def until(self, commands: str, good: Callable[[str], bool], seconds: float = 60) -> str:
        """Looks again until the output is good; that output."""
        deadline = time.monotonic() + seconds * SLOWNESS
        while True:
            said = self.run(commands)
            if good(said.out):
                return said.out
            assert time.monotonic() < deadline, f"{commands}\nprinted after {seconds} s:\n{said.all[-3000:]}"
            time.sleep(0.5)

    def put(self, data: bytes, path: str) -> None:
        script = f"mkdir -p {shlex.quote(os.path.dirname(path))} && cat >{shlex.quote(path)}"
        subprocess.run([*self.shell, script], input=data, timeout=60 * SLOWNESS, check=True)


def make_image(folder: Path) -> None:
    """From Debian's packages: what every installation has, and no more."""
    if docker("images", "-q", IMAGE):
        return
    archive = folder / "machine.tar"
    packages = "systemd,systemd-sysv,dbus,ca-certificates,iproute2,procps"
    subprocess.run(
        ["mmdebstrap", "--variant=minbase", f"--include={packages}",
         "--dpkgopt=path-exclude=/usr/share/doc/*",
         "--dpkgopt=path-exclude=/usr/share/locale/*", "bookworm", str(archive)],
        check=True, timeout=400, capture_output=True,
    )  # fmt: skip
    docker("import", str(archive), IMAGE)
    archive.unlink()


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Machine]:
    """A machine that has come up, which is thrown away at the end."""
    if named := os.environ.get("DEPLOYMENT_MACHINE"):
        one = json.loads(named)
        ports = {int(there): here for there, here in one["ports"].items()}
        yield ready(Machine(tuple(one["shell"]), ports=ports, whole=True))
        return
    make_image(folder)
    container = start()
    try:
        address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        shell = ("docker", "exec", "-i", container, "sh", "-c")
        yield ready(Machine(shell, docker("inspect", "-f", address, container).strip()))
    finally:
        docker("rm", "-fv", container)


def start() -> str:
    """The container of a machine that comes up."""
    bounding = int(Path("/proc/self/status").read_text().split("CapBnd:")[1].split()[0], 16)
    have = [name for number, name in enumerate(CAPABILITIES) if bounding >> number & 1]
    return docker(
        "run", "-d", "--cap-drop=ALL", *(f"--cap-add={name}" for name in have),
        "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined",
        "--security-opt=systempaths=unconfined", "--device-cgroup-rule=a *:* rwm", "--cgroupns=private",
        "--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec", "--volume=/var/lib/docker",
        f"--volume={CACHE}:/var/cache/apt/archives",
        "--stop-signal=SIGRTMIN+3", "--hostname=machine", f"--add-host={NAME}:127.0.0.1",
        IMAGE, "sh", "-c", FIRST,
    ).strip()  # fmt: skip


def ready(machine: Machine) -> Machine:
    """With what this machine trusts, once it has come up."""
    trusted = Path("/etc/ssl/certs/ca-certificates.crt")
    machine.put(trusted.read_bytes() if trusted.exists() else b"", TRUST)
    names = ("PIP_CERT", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    machine.environment = dict.fromkeys(names, TRUST)
    machine.environment |= {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    machine.until("systemctl is-system-running || true", lambda said: said.strip() == "running", 60)
    return machine
