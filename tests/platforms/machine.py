"""Virtual machines with Debian 13, systemd, cgroup v2 and AppArmor. Their kernel is Debian 13's, built for
User Mode Linux: a program, which needs nothing of this machine's processor or kernel.

Made of Debian's packages alone, as root; thrown away at the end. On one the main path runs: it has all that
the tests need, and no network but ssh from this machine. On the other, which has nothing but systemd, ssh and
the images, docs/deployment.md is followed: it reaches the network through this machine, for packages.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness import ROOT
from tests.platforms.prepare import (
    ENGINE_SECONDS,
    WORK,
    NotRun,
    engine_of,
    facts,
    facts_at,
    load,
    pytest,
    rootfs,
    wheels,
)

SUITE = "trixie"
PACKAGES = (
    "systemd,systemd-sysv,udev,dbus,kmod,openssh-server,docker.io,docker-cli,apparmor,"
    "iptables,iproute2,procps,python3-venv,git,curl,openssl,ca-certificates,nginx"
)
BARE = "systemd,systemd-sysv,udev,dbus,kmod,openssh-server,ca-certificates,iproute2,procps"
COMPILER = "linux-source,gcc,make,flex,bison,bc,patch,xz-utils,libc6-dev"
NEEDS = ("slirp4netns", "mkfs.ext4", "ssh", "ssh-keygen")
CODE = "opt/coderunner"
NAME = "code.example.com"  # as the guide's test has it
SLOWNESS = 3
"""How many times longer than on a usual machine the tests may take on these: each system call is one of a
tracer's, and there is one processor."""
DISK, MEMORY = "8G", "3G"
KERNEL_SECONDS, PREPARE_SECONDS, BOOT_SECONDS, TESTS_SECONDS = 1800, 400, 300, 1800
ADDRESS, ROUTER, RESOLVER = "10.0.2.100", "10.0.2.2", "10.0.2.3"  # slirp4netns has these
SETTINGS = {"DOCKER_CMD_TIMEOUT": "120000", "DOCKER_TIMEOUT": "240000"}
GUIDE = ("tests/deployment/test_guide.py",)
FOLDER = Path(__file__).parent
AROUND = """
  root=$1; shift
  mount --bind "$root" "$root"; mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/tmp"; mount --bind "$WORK" "$root/mnt"
  chroot "$root" env -i HOME=/root TMPDIR=/tmp LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
  exit
"""
BUILD = """
  cd /usr/src; rm -rf kernel linux; mkdir kernel; cd kernel
  tar -x --strip-components=1 -f ../linux-source-*.tar.xz
  patch -s -p1 <../kernel.patch
  export ARCH=um
  make -s defconfig
  scripts/kconfig/merge_config.sh -m .config ../kernel.config >/dev/null
  make -s olddefconfig
  grep '=y$' ../kernel.config | while read -r line; do
    grep -qx "$line" .config || { echo "it has no $line" >&2; exit 1; }
  done
  make -s -j2 linux; strip -o ../linux linux
  cd ..; rm -r kernel
"""
_making = threading.Lock()  # an engine of the one's root file system puts the images into both


@dataclass(frozen=True, slots=True)
class Machine:
    ports: dict[int, int]  # its own, and this machine's that lead there
    process: subprocess.Popen[bytes]
    console: Path

    @property
    def shell(self) -> tuple[str, ...]:
        """What runs a command in it, as root; the command's words are read by a shell there."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR",
                   "ConnectTimeout=30", "BatchMode=yes", "ServerAliveInterval=60")  # fmt: skip
        words = [word for option in options for word in ("-o", option)]
        return ("ssh", "-i", str(WORK / "key"), "-p", str(self.ports[22]), *words, "root@127.0.0.1")

    def run(self, *words: str, seconds: float = 120) -> str:
        command = (*self.shell, shlex.join(words))
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True)
        return done.stdout

    def until(self, *words: str, seconds: float) -> None:
        """Runs it again until it succeeds. Raises NotRun."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(subprocess.SubprocessError):
                self.run(*words, seconds=60)
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = self.console.read_text(errors="replace").strip()
                raise NotRun(f"the machine does not answer: {said[-200:]}")
            time.sleep(1)


def within(root: Path) -> tuple[str, ...]:
    """What runs a command in the root file system, without a machine; all its processes end with it."""
    unshare = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")
    return ("env", f"WORK={WORK}", *unshare, "sh", "-ec", AROUND, "sh", str(root))


def inside(root: Path, script: str, seconds: float = PREPARE_SECONDS) -> None:
    """Runs a script in the root file system. Raises NotRun."""
    command = (*within(root), "sh", "-ec", script)
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode != 0:
        raise NotRun(f"it cannot be prepared: {done.stderr.strip()[-300:]}")


def kernel() -> Path:
    """The root file system with /usr/src/linux, a kernel that is a program: of the source of Debian's, built
    once for a configuration. Raises NotRun."""
    root = rootfs(SUITE, COMPILER, f"{SUITE}-kernel")
    files = [FOLDER / "kernel.config", FOLDER / "kernel.patch"]
    digest = hashlib.sha256(b"".join([BUILD.encode(), *(file.read_bytes() for file in files)])).hexdigest()
    stamp = root / "usr/src/.made"
    with _making:
        if not stamp.exists() or stamp.read_text() != digest:
            for file in files:
                shutil.copy(file, root / "usr/src")
            inside(root, BUILD, KERNEL_SECONDS)
            stamp.write_text(digest)
    return root


def give_code(root: Path) -> None:
    """This tree as a commit in the folder that docs/deployment.md names, with what scripts/setup.sh
    installs. Raises NotRun."""
    there = root / CODE
    there.mkdir(parents=True, exist_ok=True)
    for one in there.iterdir():
        if one.name != ".venv":
            shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=ROOT, capture_output=True, check=True, timeout=60,
    ).stdout.split(b"\0")  # fmt: skip
    names = [name for name in listed if name and (ROOT / name.decode()).is_file()] + [b"static/dist"]
    copy = f"tar -c --null -T - | tar -x --no-same-owner -C {shlex.quote(str(there))}"
    subprocess.run(("sh", "-c", copy), cwd=ROOT, input=b"\0".join(names), check=True, timeout=120)
    locks = [(ROOT / name).read_bytes() for name in ("requirements.lock", "requirements-dev.lock")]
    digest = hashlib.sha256(b"".join(locks)).hexdigest()
    stamp = there / ".venv/.platforms"
    if not stamp.exists() or stamp.read_text() != digest:
        shutil.rmtree(there / ".venv", ignore_errors=True)
        shutil.rmtree(root / "var/tmp/wheels", ignore_errors=True)
        version = next((root / "usr/bin").glob("python3.*[0-9]")).name.removeprefix("python")
        wheels(version, root / "var/tmp/wheels")
        install = "export PIP_NO_INDEX=1 PIP_FIND_LINKS=/var/tmp/wheels; scripts/setup.sh"
        more = ".venv/bin/pip install -q -r requirements-dev.lock"
        inside(root, f"cd /{CODE}; {install}; {more}; rm -r /var/tmp/wheels")
        stamp.write_text(digest)
    git = "git -c user.name=test -c user.email=test commit -qm tree"
    inside(root, f"cd /{CODE}; git init -q -b main; git add -A; {git}; scripts/setup.sh")


def give_images(root: Path, engine_root: Path, names: Sequence[str]) -> None:
    """By an engine of the same packages, so that the machine's own unpacks nothing."""
    data = root / "var/lib/docker"
    shutil.rmtree(data, ignore_errors=True)
    data.parent.mkdir(parents=True, exist_ok=True)
    with engine_of(engine_root, WORK / f"engine-{root.name}", environment={}, keep=data) as address:
        load(address, base=facts_at(address)["store"] == "overlay2", names=names)
    # Where containerd keeps the images: the engine's own here, there a service.
    if (data / "containerd/daemon").is_dir():
        shutil.rmtree(root / "var/lib/containerd", ignore_errors=True)
        (data / "containerd/daemon").rename(root / "var/lib/containerd")


def give_system(root: Path, *, network: bool) -> None:
    """What an installer would ask for: the key, the network, the disk, the engine's settings."""
    if not (WORK / "key").exists():
        new = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(WORK / "key"))
        subprocess.run(new, check=True, timeout=60)
    files = {
        "root/.ssh/authorized_keys": (WORK / "key.pub").read_text(),
        "etc/systemd/network/20-all.network": f"[Match]\nName=vec*\n[Network]\nAddress={ADDRESS}/24\n"
        + (f"Gateway={ROUTER}\n" if network else ""),
        "etc/fstab": "/dev/ubda / ext4 defaults,noatime,nobarrier 0 1\n",
        "etc/hostname": "machine\n",
        "etc/hosts": f"127.0.0.1 localhost machine {NAME}\n",
        "etc/resolv.conf": f"nameserver {RESOLVER}\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "root/.ssh").chmod(0o700)
    (root / "root/.ssh/authorized_keys").chmod(0o600)
    wanted = "etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
    link = root / wanted
    if not link.is_symlink():
        link.symlink_to("/lib/systemd/system/systemd-networkd.service")


def free_ports(numbers: Sequence[int]) -> dict[int, int]:
    """One of this machine's for each."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in numbers]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {number: int(one.getsockname()[1]) for number, one in zip(numbers, sockets, strict=True)}


def needed() -> None:
    """Raises NotRun where something is missing."""
    missing = [name for name in NEEDS if shutil.which(name) is None]
    if os.getuid() != 0 or missing:
        raise NotRun(f"needs root, and {', '.join(missing)}")


def appears(path: Path, *processes: subprocess.Popen[bytes]) -> None:
    """Waits for a file of these processes. Raises NotRun."""
    deadline = time.monotonic() + BOOT_SECONDS
    while not path.exists():
        if any(one.poll() is not None for one in processes) or time.monotonic() > deadline:
            raise NotRun(f"{path.name} of the machine's network does not appear")
        time.sleep(0.1)


def forward(orders: Path, ports: Mapping[int, int]) -> None:
    """By slirp4netns that listens there: from this machine's ports to the machine's."""
    for there, here in ports.items():
        order = {"proto": "tcp", "host_addr": "127.0.0.1", "host_port": here, "guest_addr": ADDRESS,
                 "guest_port": there}  # fmt: skip
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(orders))
            one.sendall(json.dumps({"execute": "add_hostfwd", "arguments": order}).encode())
            one.shutdown(socket.SHUT_WR)
            if "return" not in json.loads(one.recv(4096)):
                raise NotRun(f"port {there} of the machine cannot be reached from here")


def ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(60)


@contextlib.contextmanager
def machine(root: Path, ports: Sequence[int], *, network: bool) -> Iterator[Machine]:
    """One of this root file system that has come up. `ports`: reached from this machine. `network`: it
    reaches what a program here would. Raises NotRun."""
    program = kernel()
    disk, console = WORK / f"{root.name}.disk", WORK / f"{root.name}.console"
    cable, orders = WORK / f"{root.name}.cable", WORK / f"{root.name}.orders"
    for path in (cable, orders):
        path.unlink(missing_ok=True)
    forwards = free_ports(ports)
    make = ("mkfs.ext4", "-q", "-F", "-d", str(root), str(disk), DISK)
    # Also where this process is killed, the machine does not stay.
    for_a_time = ("timeout", "-k", "5", str(BOOT_SECONDS + TESTS_SECONDS + 300))
    switch = (*for_a_time, "slirp4netns", "--target-type=bess", "--disable-host-loopback",
              f"--api-socket={orders}", str(cable))  # fmt: skip
    command = (
        *for_a_time, *within(program), "/usr/src/linux", f"mem={MEMORY}", f"ubd0=/mnt/{disk.name}",
        "root=/dev/ubda", "rw", "rootflags=nobarrier", f"vec0:transport=bess,dst=/mnt/{cable.name}",
        "con0=null,fd:1", "con=null", "ssl=null", "audit=0",
        "sysctl.kernel.io_uring_disabled=2",  # its shared memory is not that kernel's: it stops
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        stack.callback(disk.unlink, missing_ok=True)
        with _making:
            give_system(root, network=network)
            subprocess.run(make, check=True, timeout=PREPARE_SECONDS, capture_output=True)
        output = stack.enter_context(console.open("wb"))
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
        net = subprocess.Popen(switch, stdout=subprocess.DEVNULL, **streams)
        stack.callback(ended, net)
        appears(cable, net)
        process = subprocess.Popen(command, stdout=output, **streams)
        stack.callback(ended, process)
        began = time.monotonic()
        appears(orders, net, process)
        forward(orders, forwards)
        one = Machine(forwards, process, console)
        one.until("true", seconds=BOOT_SECONDS)
        print(f"{root.name}: up {time.monotonic() - began:.0f} s after its start", flush=True)
        yield one


def prepare() -> None:
    """What takes long and stays: the kernel, and what the machines are made of. Raises NotRun."""
    needed()
    kernel()
    rootfs(SUITE, BARE, f"{SUITE}-bare")
    give_code(rootfs(SUITE, PACKAGES))


HOW = {"virtual": "User Mode Linux"}
"""What the results say of the machines."""


def main_path(tests: Sequence[str], *, again: bool) -> dict[str, Any]:
    """The result of the machine on which the tests run. Raises NotRun."""
    needed()
    root = rootfs(SUITE, PACKAGES)
    with _making:
        give_code(root)
        give_images(root, root, ("python",))
        (root / "etc/default/docker").write_text("DOCKER_OPTS=--live-restore\n")
    with machine(root, (22,), network=False) as one:
        one.until("docker", "info", seconds=ENGINE_SECONDS * SLOWNESS)
        python = f"/{CODE}/.venv/bin/python"
        code = "import platform; print(platform.python_version())"
        version = one.run(python, "-c", code).strip()
        system = {"python": version, **HOW, **facts(lambda *words: one.run("docker", *words))}
        settings = " ".join(f"{key}={value}" for key, value in SETTINGS.items())
        begin = f"cd /{CODE} && exec env PYTHONPATH=server PLATFORM_SLOWNESS={SLOWNESS} {settings} {python}"
        run = (*one.shell, begin)
        return system | pytest(tests, run, {}, seconds=TESTS_SECONDS, quote=shlex.quote, again=again)


def guide(tests: Sequence[str], suite: str, *, again: bool) -> dict[str, Any]:
    """The result of the machine on which the guide is followed. `again`: where it failed, on a new machine
    once more. Raises NotRun."""
    needed()
    result = _followed(tests, suite)
    if again and result["failed"]:
        failed, result = result["failed"], _followed(tests, suite)
        if not result["failed"]:
            result["flaky"] = failed
    return result


def _followed(tests: Sequence[str], suite: str) -> dict[str, Any]:
    root = rootfs(suite, BARE if suite == SUITE else f"apt,{BARE}", f"{suite}-bare")
    engine_root = rootfs(suite, PACKAGES if suite == SUITE else "")
    with _making:
        give_images(root, engine_root, ("python", "bash"))
    with machine(root, (22, 80, 443, 3000), network=True) as one:
        named = json.dumps({"shell": one.shell, "ports": one.ports})
        environment = {"DEPLOYMENT_MACHINE": named, "PLATFORM_SLOWNESS": str(SLOWNESS)}
        result = pytest(tests, (sys.executable,), environment, seconds=TESTS_SECONDS)
        with contextlib.suppress(subprocess.SubprocessError):  # the guide installs the engine, and leaves it
            version = one.run("python3", "-c", "import platform; print(platform.python_version())").strip()
            result |= {"python": version, **facts(lambda *words: one.run("docker", *words))}
        return result | HOW
