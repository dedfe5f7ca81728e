"""Virtual machines with Debian 13, systemd, cgroup v2 and AppArmor, by QEMU: with KVM where this machine's
processor can have guests, else emulated.

Made of Debian's packages alone, as root; thrown away at the end. On one the main path runs: it has all that
the tests need, and no network but ssh from this machine. On the other, which has nothing but systemd, ssh and
the images, docs/deployment.md is followed: it reaches the network through this machine, for packages.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
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
    load,
    pytest,
    rootfs,
    wheels,
)

SUITE = "trixie"
PACKAGES = (
    "systemd,systemd-sysv,udev,dbus,kmod,openssh-server,linux-image-cloud-amd64,docker.io,docker-cli,apparmor,"
    "iptables,iproute2,procps,python3-venv,git,curl,openssl,ca-certificates,nginx"
)
BARE = (
    "systemd,systemd-sysv,udev,dbus,kmod,openssh-server,linux-image-cloud-amd64,ca-certificates,iproute2,"
    "procps"
)
NEEDS = ("qemu-system-x86_64", "zstd", "mkfs.ext4", "ssh", "ssh-keygen")
CODE = "opt/coderunner"
NAME = "code.example.com"  # as the guide's test has it
SLOWNESS = 8
"""How many times longer than on a usual machine the tests may take where it is emulated."""
DISK, MEMORY = "8G", "3G"
PREPARE_SECONDS, BOOT_SECONDS, TESTS_SECONDS = 400, 600, 3600
ZSTD = b"\x28\xb5\x2f\xfd"
SETTINGS = {"DOCKER_CMD_TIMEOUT": "120000", "DOCKER_TIMEOUT": "240000"}
GUIDE = ("tests/deployment/test_guide.py",)


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


def inside(root: Path, script: str, seconds: float = PREPARE_SECONDS) -> None:
    """Runs a script in the root file system, without a machine. Raises NotRun."""
    around = f"""
      mount --bind {root} {root}; mount -t proc proc {root}/proc; mount --rbind /dev {root}/dev
      mount -t tmpfs tmpfs {root}/tmp
      exec chroot {root} env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -ec "$1"
    """
    command = ("unshare", "--mount", "--propagation", "private", "sh", "-ec", around, "sh", script)
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode != 0:
        raise NotRun(f"it cannot be prepared: {done.stderr.strip()[-300:]}")


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


def give_images(root: Path, names: Sequence[str]) -> None:
    """By an engine of the same packages, so that the emulated one unpacks nothing."""
    data = root / "var/lib/docker"
    shutil.rmtree(data, ignore_errors=True)
    data.parent.mkdir(parents=True, exist_ok=True)
    engine_root = rootfs(SUITE, PACKAGES)
    (engine_root / "etc/docker/daemon.json").unlink(missing_ok=True)  # of an earlier run: flags say it here
    with engine_of(engine_root, WORK / "engine-machine", environment={}, keep=data) as address:
        load(address, base=True, names=names)


def give_system(root: Path) -> None:
    """What an installer would ask for: the key, the network, the disk, the engine's settings."""
    if not (WORK / "key").exists():
        new = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(WORK / "key"))
        subprocess.run(new, check=True, timeout=60)
    files = {
        "root/.ssh/authorized_keys": (WORK / "key.pub").read_text(),
        "etc/systemd/network/20-all.network": "[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n",
        "etc/fstab": "/dev/vda / ext4 defaults,noatime 0 1\n",
        "etc/hostname": "machine\n",
        "etc/hosts": f"127.0.0.1 localhost machine {NAME}\n",
        "etc/resolv.conf": "nameserver 10.0.2.3\n",  # QEMU's
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


def kernel(root: Path) -> tuple[Path, Path]:
    """(kernel, initial file system). Unpacked: QEMU starts it by its PVH entry, without a slow unpacking."""
    image = next((root / "boot").glob("vmlinuz-*"))
    packed = image.read_bytes()
    # What follows the kernel in the file is no part of it, and zstd ends with an error there.
    packed = packed[packed.find(ZSTD) :]
    done = subprocess.run(("zstd", "-dc"), input=packed, capture_output=True, timeout=120, check=False)
    if not done.stdout.startswith(b"\x7fELF"):
        raise NotRun("Debian's kernel is packed in another way than zstd's")
    path = WORK / "vmlinux"
    path.write_bytes(done.stdout)
    return path, image.with_name(image.name.replace("vmlinuz", "initrd.img"))


def free_ports(numbers: Sequence[int]) -> dict[int, int]:
    """One of this machine's for each."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in numbers]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {number: int(one.getsockname()[1]) for number, one in zip(numbers, sockets, strict=True)}


def accelerated() -> bool:
    """Whether KVM has a processor's help. Without that it exists, too, but starts no kernel of Debian."""
    flags = re.search(r"^flags\s*:.*\b(vmx|svm)\b", Path("/proc/cpuinfo").read_text(), re.M)
    return flags is not None and os.access("/dev/kvm", os.R_OK | os.W_OK)


def needed() -> None:
    """Raises NotRun where something is missing."""
    missing = [name for name in NEEDS if shutil.which(name) is None]
    if os.getuid() != 0 or missing:
        raise NotRun(f"needs root, and {', '.join(missing)}")


@contextlib.contextmanager
def machine(root: Path, ports: Sequence[int], *, network: bool) -> Iterator[Machine]:
    """One of this root file system that has come up. `ports`: reached from this machine. Raises NotRun."""
    give_system(root)
    path, initial = kernel(root)
    disk, console, forwards = WORK / f"{root.name}.disk", WORK / f"{root.name}.console", free_ports(ports)
    nic = "user,model=virtio-net-pci,ipv6=off" + ("" if network else ",restrict=on")
    nic += "".join(f",hostfwd=tcp:127.0.0.1:{here}-:{there}" for there, here in forwards.items())
    accelerator = ("-accel", "kvm", "-cpu", "host")
    if not accelerated():  # a fifth level of tables would make each walk through them longer
        accelerator = ("-accel", "tcg,thread=multi", "-cpu", "max,la57=off")
    make = ("mkfs.ext4", "-q", "-F", "-d", str(root), str(disk), DISK)
    command = (
        # Also where this process is killed, the machine does not stay.
        "timeout", str(BOOT_SECONDS + TESTS_SECONDS + 300), "nice", "-n", "2",
        "qemu-system-x86_64", "-M", "q35", *accelerator,
        "-smp", "2", "-m", MEMORY, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-serial", f"file:{console}", "-kernel", str(path), "-initrd", str(initial),
        "-append", "console=ttyS0,115200 root=/dev/vda rw panic=-1 nokaslr mitigations=off audit=0",
        "-drive", f"file={disk},if=virtio,format=raw,cache=unsafe",
        "-nic", nic, "-device", "virtio-rng-pci",
    )  # fmt: skip
    process = None
    console.write_text("")
    try:
        subprocess.run(make, check=True, timeout=PREPARE_SECONDS, capture_output=True)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        one = Machine(forwards, process, console)
        began = time.monotonic()
        one.until("true", seconds=BOOT_SECONDS)
        print(f"machine: up {time.monotonic() - began:.0f} s after its start", flush=True)
        yield one
    finally:
        if process is not None:
            process.terminate()  # its disk is thrown away
            process.wait(60)
        disk.unlink(missing_ok=True)


def how() -> dict[str, Any]:
    """What the results say of the machine."""
    return {"virtual": "KVM" if accelerated() else "emulated"}


def slowness() -> str:
    return "2" if accelerated() else str(SLOWNESS)


def main_path(tests: Sequence[str]) -> dict[str, Any]:
    """The result of the machine on which the tests run. Raises NotRun."""
    needed()
    root = rootfs(SUITE, PACKAGES)
    give_code(root)
    give_images(root, ("python",))
    (root / "etc/docker").mkdir(exist_ok=True)
    (root / "etc/docker/daemon.json").write_text('{\n  "live-restore": true\n}\n')
    with machine(root, (22,), network=False) as one:
        one.until("docker", "info", seconds=ENGINE_SECONDS * SLOWNESS)
        python = f"/{CODE}/.venv/bin/python"
        code = "import platform; print(platform.python_version())"
        version = one.run(python, "-c", code).strip()
        system = {"python": version, **how(), **facts(lambda *words: one.run("docker", *words))}
        settings = " ".join(f"{key}={value}" for key, value in SETTINGS.items())
        begin = f"cd /{CODE} && exec env PYTHONPATH=server PLATFORM_SLOWNESS={slowness()} {settings} {python}"
        return system | pytest(tests, (*one.shell, begin), {}, seconds=TESTS_SECONDS, quote=shlex.quote)


def guide(tests: Sequence[str]) -> dict[str, Any]:
    """The result of the machine on which the guide is followed. Raises NotRun."""
    needed()
    root = rootfs(SUITE, BARE, f"{SUITE}-bare")
    give_images(root, ("python", "bash"))
    with machine(root, (22, 80, 443, 3000), network=True) as one:
        named = json.dumps({"shell": one.shell, "ports": one.ports})
        environment = {"DEPLOYMENT_MACHINE": named, "PLATFORM_SLOWNESS": slowness()}
        result = pytest(tests, (sys.executable,), environment, seconds=TESTS_SECONDS)
        with contextlib.suppress(subprocess.SubprocessError):  # the guide installs the engine, and leaves it
            version = one.run("python3", "-c", "import platform; print(platform.python_version())").strip()
            result |= {"python": version, **facts(lambda *words: one.run("docker", *words))}
        return result | how()
