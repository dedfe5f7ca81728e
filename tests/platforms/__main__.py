"""Runs the main path on other engines and Pythons than this machine's: `make test-platforms`.

    python -m tests.platforms [--write] [--main] [NAME...]

As root, with mmdebstrap. What cannot be had (no archive in reach) is told as 'not run', and is no failure.
``--write``: the results go into results.json, and docs/platforms.md is made from all of them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tests.harness import ENGINE, ROOT
from tests.platforms import machine
from tests.platforms.prepare import ROOTFS_SECONDS, NotRun, Platform, engine, facts_at, pytest, rootfs, wheels
from tests.platforms.report import write

MAIN = ("tests/platforms/test_main_path.py",)
MORE = (
    "tests/engine/test_canary.py", "tests/engine/test_networks.py", "tests/faults/test_engine.py",
    # Of the machine's own network alone the kernel shows that table.
    "--deselect=tests/engine/test_networks.py::test_a_member_fills_no_table_of_neighbours",
    # With the images of five languages, which that engine has not.
    "--deselect=tests/faults/test_engine.py::TestHarmFromOutside",
)  # fmt: skip
UNIT = ("tests/core", "tests/wire", "tests/config", "tests/engine/test_container_settings.py")


DOCKER_29 = ("--feature", "containerd-snapshotter=true")
PLATFORMS: dict[str, Platform] = {
    "here": Platform("this machine's engine", MAIN),
    "newest": Platform("the newest engine of Debian", (*MAIN, *MORE), ()),
    "docker-29": Platform(
        "the same, with Docker 29's least API version and image store",
        MAIN, DOCKER_29, {"DOCKER_MIN_API_VERSION": "1.44"}, base=False,
    ),
    "userns-remap": Platform("the same, with userns-remap", MAIN, ("--userns-remap=default",)),
    "machine": Platform("a virtual machine with Debian 13, systemd and cgroup v2", MAIN),
    "guide": Platform("docs/deployment.md followed on a bare virtual machine with Debian 13", machine.GUIDE),
    "python": Platform("Debian's newest Python: tests without an engine, and the main path", (*UNIT, *MAIN)),
}  # fmt: skip
BY_NAME = ("here", "machine", "guide")
"""Those that run only where they are named: the machines are emulated, and slow."""


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
        wheels(version, root / "var/tmp/wheels")
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
        elif name == "machine":
            result |= machine.main_path(platform.tests)
        elif name == "guide":
            result |= machine.guide(platform.tests)
        else:
            with engine(name, platform) as (address, inside):
                result |= {"python": sys.version.split()[0], **facts_at(address)}
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
    which = f"of {', '.join(PLATFORMS)} (default: all but {', '.join(BY_NAME)})"
    parser.add_argument("names", nargs="*", metavar="NAME", help=which)
    parser.add_argument("--write", action="store_true", help="keep the results, and write docs/platforms.md")
    parser.add_argument("--main", action="store_true", help="the main path alone, for a quick look")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for name in arguments.names or [one for one in PLATFORMS if one not in BY_NAME]:
        platform = PLATFORMS[name]
        if arguments.main and name != "guide":
            platform = replace(platform, tests=MAIN)
        result = results[name] = one(name, platform)
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
