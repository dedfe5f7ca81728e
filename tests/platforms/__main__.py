"""Runs the main path on other engines and Pythons than this machine's: `make test-platforms`.

    python -m tests.platforms [--write] [--main] [NAME...]

As root, with mmdebstrap. What cannot be had (no archive in reach) is told as 'not run', and is no failure.
``--write``: the results go into results.json, and docs/platforms.md is made from all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.harness import ENGINE, ROOT
from tests.platforms.report import write

WORK = Path(os.environ.get("PLATFORMS_FOLDER", "/var/tmp/coderunner-platforms"))
SUITE = "sid"
PACKAGES = "docker.io,docker-cli,iptables,iproute2,python3-venv"
ROOTFS_SECONDS, ENGINE_SECONDS, LOAD_SECONDS, SUITE_SECONDS = 400, 60, 300, 600
MAIN = ("tests/platforms/test_main_path.py",)
MORE = (
    "tests/engine/test_canary.py", "tests/engine/test_networks.py", "tests/faults/test_engine.py",
    # Of the machine's own network alone the kernel shows that table.
    "--deselect=tests/engine/test_networks.py::test_a_member_fills_no_table_of_neighbours",
    # With the images of five languages, which that engine has not.
    "--deselect=tests/faults/test_engine.py::TestHarmFromOutside",
)  # fmt: skip
UNIT = ("tests/core", "tests/wire", "tests/config", "tests/engine/test_container_settings.py")


class NotRun(Exception):
    """What it needs cannot be had here; the text says what."""


@dataclass(frozen=True, slots=True)
class Platform:
    """`flags`, `environment`: of its engine, None for this machine's own. `tests`: what is run on it, in the
    network of its engine."""

    title: str
    tests: Sequence[str]
    flags: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    base: bool = True  # whether the base image goes along: another store knows it by another id


DOCKER_29 = ("--feature", "containerd-snapshotter=true")
PLATFORMS: dict[str, Platform] = {
    "here": Platform("this machine's engine", MAIN),
    "newest": Platform("the newest engine of Debian", (*MAIN, *MORE), ()),
    "docker-29": Platform(
        "the same, with Docker 29's least API version and image store",
        MAIN, DOCKER_29, {"DOCKER_MIN_API_VERSION": "1.44"}, base=False,
    ),
    "userns-remap": Platform("the same, with userns-remap", MAIN, ("--userns-remap=default",)),
    "python": Platform("Debian's newest Python: tests without an engine, and the main path", (*UNIT, *MAIN)),
}  # fmt: skip


def rootfs() -> Path:
    """A root file system of the suite, made once. Raises NotRun."""
    root = WORK / SUITE
    if (root / ".made").exists():
        return root
    if os.getuid() != 0 or shutil.which("mmdebstrap") is None:
        raise NotRun("needs root and mmdebstrap")
    sources = "\n".join(path.read_text() for path in Path("/etc/apt").glob("sources.list*/*.sources"))
    found = re.search(r"^URIs: *(\S+/debian)/?$", sources, re.M)
    source = f"deb {found[1] if found else 'http://deb.debian.org/debian'} {SUITE} main"
    shutil.rmtree(root, ignore_errors=True)
    WORK.mkdir(parents=True, exist_ok=True)
    command = (
        "mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root), source,
        '--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Check-Valid-Until "false"',
    )  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ROOTFS_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise NotRun(f"Debian {SUITE} was not there within {ROOTFS_SECONDS} s") from None
    if done.returncode != 0:
        raise NotRun(f"Debian {SUITE} cannot be had: {done.stderr.strip().splitlines()[-1][:200]}")
    (root / ".made").touch()
    return root


@contextlib.contextmanager
def engine(name: str, platform: Platform) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The address of the platform's engine, which has the tests' images; what runs a command in its network.

    Raises NotRun.
    """
    if platform.flags is None:
        yield ENGINE, ()
        return
    folder = WORK / f"engine-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    words = " ".join(f"{key}={value}" for key, value in platform.environment.items())
    command = (str(ROOT / "tests/platforms/engine.sh"), str(rootfs()), str(folder), *platform.flags)
    process = subprocess.Popen(command, env={**os.environ, "ENGINE_ENV": words})
    try:
        deadline = time.monotonic() + ENGINE_SECONDS
        while not (folder / "docker.sock").exists() or "API listen" not in (folder / "log").read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotRun(f"its engine does not start: {(folder / 'log').read_text()[-300:]}")
            time.sleep(0.1)
        address = f"unix://{folder}/docker.sock"
        load(address, base=platform.base)
        number = (folder / "dockerd.pid").read_text().strip()
        yield address, ("nsenter", f"--net=/proc/{number}/ns/net")
    finally:
        _remove_containers(folder / "docker.sock")  # they would outlive their engine
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        if process.poll() is None:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _remove_containers(socket: Path) -> None:
    """What a failed test left there. Where the engine does not answer there is nobody to ask."""
    host = ("docker", "-H", f"unix://{socket}")
    with contextlib.suppress(subprocess.SubprocessError):
        listed = subprocess.run((*host, "ps", "-aq"), capture_output=True, text=True, timeout=60, check=True)
        for one in listed.stdout.split():
            subprocess.run((*host, "rm", "-fv", one), capture_output=True, timeout=60, check=False)


def load(address: str, *, base: bool) -> None:
    """The images of the tests, from this machine's engine: built here, where there is a network."""
    manage = (sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "images")
    names = ("python", "bash")
    plain = {**os.environ, "PYTHONPATH": str(ROOT / "server"), "LANGUAGES": ""}

    def said(*command: str) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=plain, timeout=SUITE_SECONDS, cwd=ROOT
        )
        return done.stdout

    references = re.findall(r"^coderunner/\S+$", said(*manage, "build", *names), re.M)
    if base:
        ask = "from coderunner import declarations\nfrom coderunner.engine import recipes\n"
        ask += "print(recipes.base_recipe(declarations.FOLDER).reference)"
        references += [said(sys.executable, "-c", ask).strip(), "debian:trixie-slim"]
    carry = f"docker -H '{ENGINE}' save {' '.join(references)} | docker -H '{address}' load"
    subprocess.run(("sh", "-c", carry), check=True, timeout=LOAD_SECONDS, stdout=subprocess.DEVNULL)


def facts(address: str) -> dict[str, Any]:
    """What the results say of an engine."""
    ask = ("docker", "-H", address, "version", "--format", "{{json .Server}}")
    version = json.loads(subprocess.run(ask, capture_output=True, text=True, check=True, timeout=60).stdout)
    ask = ("docker", "-H", address, "info", "--format", "{{json .}}")
    info = json.loads(subprocess.run(ask, capture_output=True, text=True, check=True, timeout=60).stdout)
    parts = {one["Name"]: one["Version"] for one in version["Components"]}
    return {
        "engine": version["Version"], "api": f"{version['MinAPIVersion']} to {version['ApiVersion']}",
        "runtime": f"runc {parts.get('runc', '?')}", "cgroup": info["CgroupVersion"], "store": info["Driver"],
        "system": info["OperatingSystem"], "kernel": info["KernelVersion"],
        "security": ", ".join(text.partition(",")[0] for text in info["SecurityOptions"] or ()),
    }  # fmt: skip


def pytest(tests: Sequence[str], python: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Runs these tests: how many passed and failed, and which."""
    command = (*python, "-m", "pytest", "-q", "-m", "", "-rfE", *tests)
    try:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True,
            timeout=SUITE_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"passed": 0, "failed": [f"not done within {SUITE_SECONDS} s"]}
    counted = re.search(r"(\d+) passed", done.stdout)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
    if done.returncode != 0:
        print(done.stdout[-6000:] + done.stderr[-2000:], flush=True)
        failed = failed or [f"pytest ended with {done.returncode}"]
    return {"passed": int(counted[1]) if counted else 0, "failed": failed}


def newest_python(tests: Sequence[str]) -> dict[str, Any]:
    """The tests without an engine, and the main path, on the suite's own Python. Raises NotRun."""
    root = rootfs()
    there = "/opt/coderunner"
    script = f"""
      mount --bind {root} {root}; mount --bind {ROOT} {root}{there}; mount -t proc proc {root}/proc
      mount --rbind /dev {root}/dev; mount --bind /tmp {root}/tmp; mount -t tmpfs tmpfs {root}/run
      touch {root}/run/docker.sock; mount --bind {ENGINE.removeprefix("unix://")} {root}/run/docker.sock
      exec chroot {root} env PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@"
    """
    inside = ("unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh")
    (root / "opt/coderunner").mkdir(parents=True, exist_ok=True)
    venv = "/var/tmp/venv"
    if not (root / "var/tmp/venv/.made").exists():
        number = "import sys; print('%d.%d' % sys.version_info[:2])"
        ask = (*inside, "python3", "-c", number)
        version = subprocess.run(ask, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
        # By this machine's pip, which knows its package index.
        fetch = (
            sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "--python-version", version,
            "-d", str(root / "var/tmp/wheels"), "-r", str(ROOT / "requirements-dev.lock"),
        )  # fmt: skip
        got = subprocess.run(fetch, capture_output=True, text=True, timeout=ROOTFS_SECONDS, check=False)
        if got.returncode != 0:
            raise NotRun(f"its packages cannot be had: {got.stderr.strip().splitlines()[-1][:200]}")
        install = f"{venv}/bin/pip install -q --no-index --find-links /var/tmp/wheels"
        lock = f"{there}/requirements-dev.lock"
        make = f"python3 -m venv --clear {venv} && {install} -r {lock}"
        made = subprocess.run((*inside, "sh", "-c", f"{make} && touch {venv}/.made"), capture_output=True,
                              text=True, timeout=ROOTFS_SECONDS, check=False)  # fmt: skip
        if made.returncode != 0:
            raise NotRun(f"its packages cannot be had: {made.stderr.strip().splitlines()[-1][:200]}")
    ask = (*inside, f"{venv}/bin/python", "-c", "import platform; print(platform.python_version())")
    version = subprocess.run(ask, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    begin = f'cd {there} && exec env DOCKER_HOST=$ENGINE_THERE PYTHONPATH=server "$@"'
    run = (*inside, "sh", "-c", begin, "sh", f"{venv}/bin/python")
    named = ("real_engine", "disk", "usual", "control_group_that_is_named")  # these need an engine
    deselected = ("-p", "no:cacheprovider", "-k", " and ".join(f"not {name}" for name in named))
    parts = [pytest(MAIN, run, {"ENGINE_THERE": "unix:///run/docker.sock"})]
    if unit := tuple(one for one in tests if one not in MAIN):
        parts.append(pytest((*unit, *deselected), run, {"ENGINE_THERE": "unix:///nowhere"}))
    passed, failed = sum(one["passed"] for one in parts), [name for one in parts for name in one["failed"]]
    return {"python": version, "passed": passed, "failed": failed}


def one(name: str, platform: Platform) -> dict[str, Any]:
    """The platform's result."""
    began = time.monotonic()
    result: dict[str, Any] = {"title": platform.title, "date": datetime.now(UTC).date().isoformat()}
    try:
        if name == "python":
            result |= newest_python(platform.tests)
        else:
            with engine(name, platform) as (address, inside):
                result |= {"python": sys.version.split()[0], **facts(address)}
                result |= pytest(platform.tests, (*inside, sys.executable), {"DOCKER_HOST": address})
        result["tests"] = list(platform.tests)
    except NotRun as reason:
        result["not_run"] = str(reason)
    except subprocess.SubprocessError as error:
        result["not_run"] = f"it cannot be prepared: {error}"[:300]
    return {**result, "seconds": round(time.monotonic() - began)}


def main() -> int:
    """1 where a test failed; what was not run is no failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.platforms")
    which = f"of {', '.join(PLATFORMS)} (default: all but here)"
    parser.add_argument("names", nargs="*", metavar="NAME", help=which)
    parser.add_argument("--write", action="store_true", help="keep the results, and write docs/platforms.md")
    parser.add_argument("--main", action="store_true", help="the main path alone, for a quick look")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for name in arguments.names or [one for one in PLATFORMS if one != "here"]:
        platform = PLATFORMS[name]
        result = results[name] = one(name, replace(platform, tests=MAIN) if arguments.main else platform)
        why = f"not run: {result['not_run']}" if "not_run" in result else ""
        failed = result.get("failed", [])
        words = why or f"{result['passed']} passed, {len(failed)} failed {' '.join(failed)}"
        version = result.get("engine", result.get("python", ""))
        print(f"{name}: {version}: {words} ({result['seconds']} s)", flush=True)
    if arguments.write:
        write(results)
    passed = sum(result.get("passed", 0) for result in results.values())
    failed = sum(len(result.get("failed", ())) for result in results.values())
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
