"""What a platform is made of: root file systems of Debian and Ubuntu, engines in namespaces, images."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness import ENGINE, ROOT

WORK = Path(os.environ.get("PLATFORMS_FOLDER", "/var/tmp/coderunner-platforms"))
SUITE = "sid"
ROOTFS_SECONDS, ENGINE_SECONDS, LOAD_SECONDS, SUITE_SECONDS = 600, 60, 300, 600
REACH_SECONDS = 30
"""An archive that has not answered by then is not in reach."""
TIMED_OUT = 124  # timeout's own exit code

AGAIN_MAX = 6
"""Tests that failed, of one run, that are tried again: more than these do not fail by chance."""
_made = threading.Lock()  # the images, which several platforms share, are built once
_making: dict[str, threading.Lock] = {}  # so are root file systems, each by its name


class NotRun(Exception):
    """What it needs cannot be had here; the text says what."""


@dataclass(frozen=True, slots=True)
class Platform:
    """`flags`, `environment`: of its engine, None for this machine's own. `tests`: what is run on it, in the
    network of its engine. `runtime`: that of its containers, of the package with its name; `arguments`: that
    it needs."""

    title: str
    tests: Sequence[str]
    flags: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    base: bool = True  # whether the base image goes along: another store knows it by another id
    suite: str = SUITE  # of its engine, and of its Python
    own_python: bool = False  # whether the suite's Python runs the tests, in place of this machine's
    runtime: str = ""
    arguments: tuple[str, ...] = ()

    def root(self) -> Path:
        """Its root file system. Raises NotRun."""
        if not self.runtime:
            return rootfs(self.suite)
        packages = f"{ARCHIVES[self.suite].packages},{self.runtime}"
        root = rootfs(self.suite, packages, f"{self.suite}-{self.runtime}")
        one = {"path": f"/usr/bin/{self.runtime}", "runtimeArgs": self.arguments}
        (root / "etc/docker").mkdir(parents=True, exist_ok=True)
        (root / "etc/docker/daemon.json").write_text(json.dumps({"runtimes": {self.runtime: one}}))
        return root

    def settings(self, address: str) -> dict[str, str]:
        """The environment of its tests, whose engine is at this address."""
        return {"DOCKER_HOST": address} | ({"DOCKER_RUNTIME": self.runtime} if self.runtime else {})


@dataclass(frozen=True, slots=True)
class Archive:
    """A system's packages. `address`: where this machine's own sources name no nearer one. `packages`: an
    engine, and Python. `keyring`: Debian's package with the keys of its signatures, "" for this machine's."""

    system: str
    address: str
    packages: str
    components: str = "main"
    pockets: tuple[str, ...] = ("",)
    keyring: str = ""

    def nearest(self, sources: str) -> str:
        """The address that these sources of apt (deb822) name, else the usual one."""
        found = re.search(rf"^URIs: *(\S+/{self.system.lower()})/?$", sources, re.M)
        return found[1] if found else self.address


DEBIAN = Archive(
    "Debian", "http://deb.debian.org/debian", "docker.io,docker-cli,iptables,iproute2,python3-venv"
)
UBUNTU = Archive(
    "Ubuntu", "http://archive.ubuntu.com/ubuntu", "docker.io,iptables,iproute2,python3-venv",
    "main universe", ("", "-updates"), "ubuntu-archive-keyring",
)  # fmt: skip
ARCHIVES = {"sid": DEBIAN, "trixie": DEBIAN, "noble": UBUNTU}
KEYS_SUITE = "trixie"  # Debian 12 has no package with Ubuntu's keys


def rootfs(suite: str = SUITE, packages: str = "", name: str = "", variant: str = "minbase") -> Path:
    """A root file system of the suite, made once. `packages`: in place of those of its archive. `name`: where
    that is not the suite's. `variant`: mmdebstrap's. Raises NotRun."""
    archive = ARCHIVES[suite]
    with _making.setdefault(name or suite, threading.Lock()):
        return _rootfs(archive, suite, packages or archive.packages, WORK / (name or suite), variant)


def _rootfs(archive: Archive, suite: str, packages: str, root: Path, variant: str) -> Path:
    made = root / ".made"
    if made.exists() and made.read_text() in ("", packages):
        return root
    if os.getuid() != 0 or shutil.which("mmdebstrap") is None:
        raise NotRun("needs root and mmdebstrap")
    address = archive.nearest(
        "\n".join(path.read_text() for path in Path("/etc/apt").glob("sources.list*/*.sources"))
    )
    what = f"{archive.system} {suite} cannot be had from {address}"
    reach(f"{address}/dists/{suite}/InRelease", what)
    keys = f"usr/share/keyrings/{archive.keyring}.gpg"
    command = (
        "mmdebstrap", f"--variant={variant}", f"--include={packages}",
        '--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Check-Valid-Until "false"',
        *([f"--keyring={rootfs(KEYS_SUITE, archive.keyring, archive.keyring, 'extract') / keys}"]
          if archive.keyring else []),
        suite, str(root),
        *(f"deb {address} {suite}{pocket} {archive.components}" for pocket in archive.pockets),
    )  # fmt: skip
    shutil.rmtree(root, ignore_errors=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ROOTFS_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise NotRun(f"{what}: not within {ROOTFS_SECONDS} s") from None
    if done.returncode != 0:
        raise NotRun(f"{what}: {first_error(done.stderr)}")
    made.write_text(packages)
    return root


def reach(address: str, what: str) -> None:
    """Fetches one file as apt would. Raises NotRun with `what` where it does not come: mmdebstrap would try
    for minutes."""
    with tempfile.TemporaryDirectory() as folder:
        command = (
            "timeout", "-k", "5", f"{REACH_SECONDS:g}", "/usr/lib/apt/apt-helper",
            "-o", "Acquire::Retries=0", "download-file", address, f"{folder}/file",
        )  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == TIMED_OUT:
        raise NotRun(f"{what}: the archive is not in reach. No answer within {REACH_SECONDS:g} s")
    if done.returncode != 0:
        raise NotRun(f"{what}: {first_error(done.stderr)}")


def first_error(said: str) -> str:
    """What mmdebstrap failed of: its first error, which is apt's, as those after it only say that it failed.

    Where the archive is not in reach, that is said first.
    """
    errors = [line.removeprefix("E: ") for line in said.splitlines() if line.startswith("E: ")]
    first = (errors or said.strip().splitlines() or ["it does not say why"])[0]
    away = "the archive is not in reach. " if first.startswith("Failed to fetch") else ""
    return (away + " ".join(first.split()))[:300]


def wheels(version: str, folder: Path) -> None:
    """What the tests need of the package index, for this version of Python ('3.14').

    By this machine's pip, which knows its index. Raises NotRun.
    """
    fetch = (
        sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "--python-version", version,
        "-d", str(folder), "-r", str(ROOT / "requirements-dev.lock"),
    )  # fmt: skip
    got = subprocess.run(fetch, capture_output=True, text=True, timeout=ROOTFS_SECONDS, check=False)
    if got.returncode != 0:
        raise NotRun(f"its packages cannot be had: {got.stderr.strip().splitlines()[-1][:200]}")


@contextlib.contextmanager
def engine(name: str, platform: Platform) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The address of the platform's engine, which has the tests' images; what runs a command in its network.

    Raises NotRun.
    """
    if platform.flags is None:
        yield ENGINE, ()
        return
    folder = WORK / f"engine-{name}"
    with engine_of(platform.root(), folder, *platform.flags, environment=platform.environment) as address:
        load(address, base=platform.base)
        if platform.runtime:
            try_runtime(address, platform.runtime)
        number = (folder / "dockerd.pid").read_text().strip()
        yield address, ("nsenter", f"--net=/proc/{number}/ns/net")


@contextlib.contextmanager
def engine_of(
    root: Path, folder: Path, *flags: str, environment: Mapping[str, str], keep: Path | None = None
) -> Iterator[str]:
    """The address of an engine of this root file system. `keep`: where its data stay. Raises NotRun."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    words = " ".join(f"{key}={value}" for key, value in environment.items())
    command = (str(ROOT / "tests/platforms/engine.sh"), str(root), str(folder), *flags)
    process = subprocess.Popen(command, env={**os.environ, "ENGINE_ENV": words})
    try:
        deadline = time.monotonic() + ENGINE_SECONDS
        while not (folder / "docker.sock").exists() or "API listen" not in (folder / "log").read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotRun(f"its engine does not start: {(folder / 'log').read_text()[-300:]}")
            time.sleep(0.1)
        yield f"unix://{folder}/docker.sock"
    finally:
        _remove_containers(folder / "docker.sock")  # they would outlive their engine
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        if process.poll() is None:
            process.kill()
            process.wait(60)
        if keep is not None:
            shutil.rmtree(keep, ignore_errors=True)
            (folder / "data").rename(keep)
        shutil.rmtree(folder, ignore_errors=True)


def try_runtime(address: str, runtime: str) -> None:
    """Raises NotRun where the runtime starts no container, as on a machine that forbids what it needs."""
    docker = ("docker", "-H", address)

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run((*docker, *words), capture_output=True, text=True, timeout=60, check=False)

    image = ask("images", "-q").stdout.split()[0]
    done = ask("run", "--rm", "--network", "none", "--runtime", runtime, image, "true")
    if done.returncode != 0:
        raise NotRun(f"{runtime} starts no container here: {' '.join(done.stderr.split())[:200]}")


def _remove_containers(socket: Path) -> None:
    """What a failed test left there. Where the engine does not answer there is nobody to ask."""
    host = ("docker", "-H", f"unix://{socket}")
    with contextlib.suppress(subprocess.SubprocessError):
        listed = subprocess.run((*host, "ps", "-aq"), capture_output=True, text=True, timeout=60, check=True)
        for one in listed.stdout.split():
            subprocess.run((*host, "rm", "-fv", one), capture_output=True, timeout=60, check=False)


def load(address: str, *, base: bool, names: Sequence[str] = ("python", "bash")) -> None:
    """The images of the tests, from this machine's engine: built here, where there is a network."""
    manage = (sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "images")
    plain = {**os.environ, "PYTHONPATH": str(ROOT / "server"), "LANGUAGES": ""}

    def said(*command: str) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=plain, timeout=SUITE_SECONDS, cwd=ROOT
        )
        return done.stdout

    with _made:
        references = re.findall(r"^coderunner/\S+$", said(*manage, "build", *names), re.M)
    if base:
        ask = "from coderunner import declarations\nfrom coderunner.engine import recipes\n"
        ask += "print(recipes.base_recipe(declarations.FOLDER).reference)"
        references += [said(sys.executable, "-c", ask).strip(), "debian:trixie-slim"]
    carry = f"docker -H '{ENGINE}' save {' '.join(references)} | docker -H '{address}' load"
    subprocess.run(("sh", "-c", carry), check=True, timeout=LOAD_SECONDS, stdout=subprocess.DEVNULL)


def facts(docker: Callable[..., str]) -> dict[str, Any]:
    """What the results say of an engine. `docker`: runs its command, and returns the output."""
    version = json.loads(docker("version", "--format", "{{json .Server}}"))
    info = json.loads(docker("info", "--format", "{{json .}}"))
    parts = {one["Name"]: one["Version"] for one in version["Components"]}
    return {
        "engine": version["Version"], "api": f"{version['MinAPIVersion']} to {version['ApiVersion']}",
        "runtime": f"runc {parts.get('runc', '?')}", "cgroup": info["CgroupVersion"], "store": info["Driver"],
        "system": info["OperatingSystem"], "kernel": info["KernelVersion"],
        "security": ", ".join(text.partition(",")[0] for text in info["SecurityOptions"] or ()),
    }  # fmt: skip


def facts_at(address: str) -> dict[str, Any]:
    """What the results say of the engine that answers there."""

    def docker(*words: str) -> str:
        command = ("docker", "-H", address, *words)
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    return facts(docker)


def pytest(
    tests: Sequence[str], python: Sequence[str], environment: Mapping[str, str], *,
    seconds: float = SUITE_SECONDS, quote: Callable[[str], str] = str, again: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Runs these tests: how many passed and failed, and which. `quote`: for what a shell reads again.
    `again`: those that failed are run once more, alone; the result then has as `flaky` what passed."""
    # Several of these run beside each other, and would write the same cache.
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", "-rfE", *tests)
    try:
        done = subprocess.run(
            (*python, *map(quote, arguments)), cwd=ROOT, env={**os.environ, **environment}, text=True,
            capture_output=True, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"passed": 0, "failed": [f"not done within {seconds:g} s"]}
    counted = re.search(r"(\d+) passed", done.stdout)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
    if done.returncode != 0:
        print(done.stdout[-6000:] + done.stderr[-2000:], flush=True)
        failed = failed or [f"pytest ended with {done.returncode}"]
    result = {"passed": int(counted[1]) if counted else 0, "failed": failed}
    if again and len(failed) <= AGAIN_MAX and all("::" in name for name in failed):
        return _again(result, python, environment, seconds=seconds, quote=quote)
    return result


def _again(
    result: dict[str, Any], python: Sequence[str], environment: Mapping[str, str], **how: Any
) -> dict[str, Any]:
    """The result with what failed run once more."""
    flaky = []
    for name in result["failed"]:
        print(f"failed once, and is tried again: {name}", flush=True)
        if pytest((name,), python, environment, **how)["passed"]:
            flaky.append(name)
    failed = [name for name in result["failed"] if name not in flaky]
    return {"passed": result["passed"] + len(flaky), "failed": failed, "flaky": flaky}
