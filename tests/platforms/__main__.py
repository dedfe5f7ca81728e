"""Runs the main path on other engines and Pythons than this machine's: `make test-platforms`.

    python -m tests.platforms [--write] [--main] [--again] [--prepare] [NAME...]

As root, with mmdebstrap; three platforms beside each other, as most of what their tests do is to wait. What
cannot be had (no archive in reach) is told as 'not run', and is no failure.
``--write``: the results go into results.json, and docs/platforms.md is made from all of them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.harness import ENGINE, ROOT
from tests.platforms import machine
from tests.platforms.prepare import ROOTFS_SECONDS, NotRun, Platform, engine, facts_at, pytest, rootfs, wheels
from tests.platforms.report import write

ATTACKS = ("tests/platforms/test_attacks.py",)
MAIN = ("tests/platforms/test_main_path.py",)
IN_GVISOR = ("tests/platforms/test_gvisor.py",)
MORE = (
    "tests/engine/test_canary.py", "tests/engine/test_networks.py", "tests/faults/test_engine.py",
    # Of the machine's own network alone the kernel shows that table.
    "--deselect=tests/engine/test_networks.py::test_a_member_fills_no_table_of_neighbours",
    # With the images of five languages, which that engine has not.
    "--deselect=tests/faults/test_engine.py::TestHarmFromOutside",
)  # fmt: skip
WITHOUT_BASE = (
    # With what the base image alone has, and Debian's own.
    "--deselect=tests/engine/test_canary.py::test_a_setting_taken_away_is_named[privileges may grow]",
    "--deselect=tests/engine/test_canary.py::test_a_canary_that_could_not_run_is_no_verdict",
)  # fmt: skip
UNIT = ("tests/core", "tests/wire", "tests/config", "tests/engine/test_container_settings.py")


DOCKER_29 = ("--feature", "containerd-snapshotter=true")
MACHINE = "a virtual machine with Debian 13, systemd and cgroup v2"
PLATFORMS: dict[str, Platform] = {
    "machine": Platform(MACHINE, MAIN),
    "guide": Platform(
        "docs/deployment.md followed on a bare virtual machine with Debian 13", machine.GUIDE, suite="trixie"
    ),
    "guide-ubuntu": Platform(
        "docs/deployment.md followed on a bare virtual machine with Ubuntu 24.04", machine.GUIDE,
        suite="noble",
    ),
    "attacked-machine": Platform(f"attacks on {MACHINE}", ATTACKS),
    "here": Platform("this machine's engine", (*MAIN, *ATTACKS)),
    "ubuntu": Platform(
        "Ubuntu 24.04's engine, and Python, which runs all of these",
        (*UNIT, *MAIN, *ATTACKS, *MORE, *WITHOUT_BASE), (), base=False, suite="noble", own_python=True,
    ),
    "newest": Platform("the newest engine of Debian", (*MAIN, *ATTACKS, *MORE), ()),
    "python": Platform(
        "Debian's newest Python: tests without an engine, and the main path", (*UNIT, *MAIN, *ATTACKS),
        own_python=True,
    ),
    "gvisor": Platform(
        "sessions in gVisor, with Debian 13's packages", (*MAIN, *ATTACKS, *IN_GVISOR), (), suite="trixie",
        runtime="runsc", arguments=("--network=none",),
    ),
    "docker-29": Platform(
        "the same, with Docker 29's least API version and image store",
        (*MAIN, *ATTACKS), DOCKER_29, {"DOCKER_MIN_API_VERSION": "1.44"}, base=False,
    ),
    "userns-remap": Platform("the same, with userns-remap", (*MAIN, *ATTACKS), ("--userns-remap=default",)),
}  # fmt: skip
BY_NAME = ("here", "attacked-machine", "guide-ubuntu")
"""Run only where they are named: CI has run the one's tests before, and on one slow processor attacks that
flood it take longer than all else."""
BESIDE = 3
"""Platforms that run at the same time: a machine has one processor, and the others mostly wait."""
FLAKY_MAX = 2
"""Tests that may pass only when they are tried again (`--again`), as scripts/flaky.py has it."""
VENV = "/var/tmp/venv"  # in the root file system
CODE = "/opt/coderunner"


def inside(root: Path, address: str = ENGINE) -> tuple[str, ...]:
    """What runs a command in the root file system, with this tree and the engine that answers there."""
    script = f"""
      mount --bind {root} {root}; mount --bind {ROOT} {root}{CODE}; mount -t proc proc {root}/proc
      mount --rbind /dev {root}/dev; mount --bind /tmp {root}/tmp; mount -t tmpfs tmpfs {root}/run
      touch {root}/run/docker.sock; mount --bind {address.removeprefix("unix://")} {root}/run/docker.sock
      exec chroot {root} env PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@"
    """
    (root / CODE.strip("/")).mkdir(parents=True, exist_ok=True)
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh")


def packages(root: Path) -> None:
    """What the tests need, for the suite's own Python, made once for a lock. Raises NotRun."""
    lock = (ROOT / "requirements-dev.lock").read_text()
    stamp = root / VENV.strip("/") / ".made"
    if stamp.exists() and stamp.read_text() == lock:
        return
    number = "import sys; print('%d.%d' % sys.version_info[:2])"
    ask = (*inside(root), "python3", "-c", number)
    version = subprocess.run(ask, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    folder = root / "var/tmp/wheels"
    wheels(version, folder)
    install = f"{VENV}/bin/pip install -q --no-index --find-links /var/tmp/wheels"
    make = f"python3 -m venv --clear {VENV} && {install} -r {CODE}/requirements-dev.lock"
    made = subprocess.run((*inside(root), "sh", "-c", make), capture_output=True, text=True,
                          timeout=ROOTFS_SECONDS, check=False)  # fmt: skip
    if made.returncode != 0:
        raise NotRun(f"its packages cannot be had: {made.stderr.strip().splitlines()[-1][:200]}")
    stamp.write_text(lock)
    shutil.rmtree(folder)


def own_python(
    tests: Sequence[str], root: Path, address: str, around: Sequence[str], *, again: bool
) -> dict[str, Any]:
    """The tests without an engine, and with the one that answers there, on the root file system's own Python.
    Raises NotRun."""
    packages(root)
    ask = (*inside(root), f"{VENV}/bin/python", "-c", "import platform; print(platform.python_version())")
    version = subprocess.run(ask, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    begin = f'cd {CODE} && exec env DOCKER_HOST=$ENGINE_THERE PYTHONPATH=server "$@"'
    run = (*around, *inside(root, address), "sh", "-c", begin, "sh", f"{VENV}/bin/python")
    named = ("real_engine", "disk", "usual", "control_group_that_is_named")  # these need an engine
    deselected = ("-k", " and ".join(f"not {name}" for name in named))
    engine_tests = tuple(one for one in tests if one not in UNIT)
    parts = [pytest(engine_tests, run, {"ENGINE_THERE": "unix:///run/docker.sock"}, again=again)]
    if unit := tuple(one for one in tests if one in UNIT):
        parts.append(pytest((*unit, *deselected), run, {"ENGINE_THERE": "unix:///nowhere"}, again=again))
    whole: dict[str, Any] = {"python": version, "passed": sum(one["passed"] for one in parts)}
    lists = {key: [name for one in parts for name in one.get(key, ())] for key in ("failed", "flaky")}
    return whole | {key: names for key, names in lists.items() if names or key == "failed"}


def one(name: str, platform: Platform, *, again: bool = False) -> dict[str, Any]:
    """The platform's result. `again`: what failed is tried once more."""
    began = time.monotonic()
    result: dict[str, Any] = {"title": platform.title, "date": datetime.now(UTC).date().isoformat()}
    try:
        if name in ("machine", "attacked-machine"):
            result |= machine.main_path(platform.tests, again=again)
        elif platform.tests == machine.GUIDE:
            result |= machine.guide(platform.tests, platform.suite, again=again)
        else:
            with engine(name, platform) as (address, around):
                root = platform.root() if platform.own_python else None
                result |= {"python": sys.version.split()[0], **facts_at(address)}
                if root:
                    result |= own_python(platform.tests, root, address, around, again=again)
                else:
                    run = (*around, sys.executable)
                    result |= pytest(platform.tests, run, platform.settings(address), again=again)
        result["tests"] = list(platform.tests)
    except NotRun as reason:
        result["not_run"] = str(reason)
    except subprocess.SubprocessError as error:
        result["not_run"] = f"it cannot be prepared: {error}"[:300]
    return {**result, "seconds": round(time.monotonic() - began)}


def told(name: str, result: dict[str, Any]) -> None:
    """Prints a line of a platform's result, and one for each test that passed only the second time."""
    failed, flaky = result.get("failed", []), result.get("flaky", [])
    words = f"{result.get('passed')} passed, {len(failed)} failed {' '.join(failed)}".strip()
    version = f"{result.get('engine', '?')}, Python {result.get('python', '?')}: "
    if "not_run" in result:
        version, words = "", f"NOT RUN: {result['not_run']}"
    print(f"{name}: {version}{words} ({result['seconds']} s)", flush=True)
    for test in flaky:
        print(f"{name}: FLAKY: {test}: let it wait for what it asserts", flush=True)


def run_all(names: Iterable[str], *, main_path: bool, again: bool) -> dict[str, Any]:
    """The results by name. `main_path`: that alone."""

    def result(name: str) -> dict[str, Any]:
        platform = PLATFORMS[name]
        if main_path and platform.tests != machine.GUIDE:
            platform = replace(platform, tests=MAIN)
        found = one(name, platform, again=again)
        told(name, found)
        return found

    # In their order, in which the longest are first: the others fit in beside them.
    beside = [name for name in PLATFORMS if name in names and name not in BY_NAME]
    with ThreadPoolExecutor(BESIDE) as lanes:
        results = dict(zip(beside, lanes.map(result, beside), strict=True))
    return results | {name: result(name) for name in names if name not in beside}


def prepare() -> int:
    """What the platforms are made of, without their tests: beside something else, as it takes minutes of
    network and disk, and of one processor. 0 also where it cannot be had, which their run then says."""

    def with_python(suite: str) -> None:
        packages(rootfs(suite))

    suites = dict.fromkeys(one.suite for one in PLATFORMS.values() if one.own_python)
    runtimes = [one.root for one in PLATFORMS.values() if one.runtime]
    for make in (*(partial(with_python, suite) for suite in suites), *runtimes, machine.prepare):
        try:
            make()
        except (NotRun, subprocess.SubprocessError) as reason:
            print(f"NOT PREPARED: {reason}")
    return 0


def main() -> int:
    """1 where a test failed; what was not run is no failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.platforms")
    which = f"of {', '.join(PLATFORMS)} (default: all but {', '.join(BY_NAME)})"
    parser.add_argument("names", nargs="*", metavar="NAME", help=which)
    parser.add_argument("--write", action="store_true", help="keep the results, and write docs/platforms.md")
    parser.add_argument("--main", action="store_true", help="the main path alone, for a quick look")
    parser.add_argument("--again", action="store_true", help="what fails is tried once more, as in CI")
    parser.add_argument(
        "--prepare", action="store_true", help="make what the platforms need, and run nothing"
    )
    arguments = parser.parse_args()
    if arguments.prepare:
        return prepare()
    names = arguments.names or [one for one in PLATFORMS if one not in BY_NAME]
    if unknown := [name for name in names if name not in PLATFORMS]:
        parser.error(f"no platform is named {', '.join(unknown)}; there are {', '.join(PLATFORMS)}")
    results = run_all(names, main_path=arguments.main, again=arguments.again)
    if arguments.write:
        write(results)
    passed, failed, flaky = (
        sum(
            result[key] if key == "passed" else len(result[key])
            for result in results.values()
            if key in result
        )
        for key in ("passed", "failed", "flaky")
    )
    print(f"{passed} passed, {failed} failed" + (f", {flaky} flaky" if flaky else ""))
    return 1 if failed or flaky > FLAKY_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
