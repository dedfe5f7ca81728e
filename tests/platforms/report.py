"""docs/platforms.md, made from the results that are kept beside this."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parents[2] / "docs/platforms.md"
SECURITY = Path(__file__).parents[2] / "SECURITY.md"
HEAD = """# Platforms

Results of the tests on other platforms, with their dates. `make test-platforms` runs them (as root, with
mmdebstrap), as CI does after `make test`, and `python -m tests.platforms --write` generates this page from
the results. Platforms without a row were not tested: there the canary checks at start-up which restrictions
are enforced. CI does not fail where Debian's or Ubuntu's archive is not in reach: then it prints `NOT RUN`
with the reason.

The main path (`tests/platforms/test_main_path.py`): a start with the canary, an interactive program, limits
that are hit and reported (memory and its peak, processes, processor, time, disk, orphans), a group, a restart
without loss of output. `tests/platforms/test_attacks.py`: attacks on kernel, network, secrets and groups.
"""
NOT_RUN = """
## Not run

- Ubuntu's kernel, and what AppArmor does there alone: `ubuntu` has the packages of Ubuntu 24.04 on the kernel
  of the machine that runs the tests, `guide-ubuntu` on that of the virtual machines, with AppArmor.
- arm64. Assembly is for x86-64 only.
- Rootless engines and Docker Desktop: their sockets are found; the canary checks the rest.
- Kata Containers (`DOCKER_RUNTIME`): [security-levels.md](security-levels.md).

The tests run in the network namespace of the tested engine. Tests of `tests/engine/test_networks.py` that
need the machine's own network, and of `tests/faults/test_engine.py` that need images of five languages, are
left out. Docker Engine 29 itself is Ubuntu's, of `noble-updates`; Debian does not have it, and `docker-29`
simulates its minimum API version and its image store.

`machine` and `guide` are virtual machines with the packages of Debian 13: systemd, the engine, AppArmor.
Their kernel is built of the source of Debian 13's own (`linux-source`), for User Mode Linux: it is a program,
so it needs no KVM, and is many times as fast as an emulated processor. It differs from Debian's: one
processor, no `cpuset`, no `io_uring` (its shared memory stops that kernel), what
[kernel.config](../tests/platforms/kernel.config) names instead of all drivers, and
[kernel.patch](../tests/platforms/kernel.patch) (a `fork` without memory stops the kernel, else). All time
limits of their tests and attacks are three times as long. On `machine`, whose only network is ssh, the main
path runs, and where it is named (`scripts/platforms.sh attacked-machine`) the attacks. On `guide`, which has
nothing but systemd, ssh and the images of two languages, every command of
[deployment.md](deployment.md) is run, in its order: packages from Debian, the units with their hardening,
nginx, the firewall, an upgrade by `systemctl reload`, a rollback, a restart of the engine, each while a
program prints and hears, without a lost line; the timer of `reap` fires. The certificate's authority is the
test's own. Only [air-gapped.md](air-gapped.md) is not followed there.

Podman is refused with one sentence.
"""


def page(results: Mapping[str, Any]) -> str:
    """The document's text."""
    columns = ("platform", "engine", "API", "image store", "cgroup", "security", "kernel", "Python", "result",
               "date")  # fmt: skip
    lines = ["", f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    for name, result in results.items():
        virtual = f" ({result['virtual']})" if "virtual" in result else ""
        cells = [f"`{name}`: {result['title']}{virtual}"]
        engine = f"{result['engine']} ({result['runtime']}, {result['system']})" if "engine" in result else ""
        cells += [engine, *(str(result.get(key, "")) for key in ("api", "store", "cgroup"))]
        security = str(result.get("security", "")).replace("name=", "")
        cells += [security, result.get("kernel", "").split("-")[0]]
        cells += [str(result.get("python", "")), _result(result), result["date"]]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "Run on each:", ""]
    lines += [
        f"- `{name}`: " + ", ".join(f"`{one}`" for one in result["tests"])
        for name, result in results.items()
        if "tests" in result
    ]
    return HEAD + "\n".join(lines) + "\n" + NOT_RUN


def _result(result: Mapping[str, Any]) -> str:
    if "not_run" in result:
        return f"not run: {result['not_run']}"
    failed = [name.partition("::")[2] for name in result["failed"]]
    return f"{result['passed']} passed" + (f", failed: {', '.join(failed)}" if failed else "")


def passed(files: Iterable[str], results: Mapping[str, Any]) -> list[str]:
    """The platforms on which at least one of these files of tests ran, and nothing failed."""
    found = []
    for name, result in results.items():
        ran = result.get("tests", ())
        there = any(f"{file}/".startswith(f"{one}/") for file in files for one in ran)
        if there and not result.get("failed"):
            found.append(name)
    return sorted(found)


def promises(text: str, results: Mapping[str, Any]) -> str:
    """SECURITY.md with the third column of its table of promises: where a test of the row has passed, too."""
    # In gVisor other outcomes are expected of the same tests: docs/security-levels.md has what holds there.
    results = {name: result for name, result in results.items() if name != "gvisor"}
    before, head, after = text.partition("| promise | test | passed on, too |\n")
    table, end, rest = after.partition("\n\n")
    rows = []
    for row in table.splitlines()[1:]:
        promise, tests = row.strip("| ").split(" | ")[:2]
        files = re.findall(r"`(tests/[\w/]+\.py)`", tests)
        rows.append(f"| {promise} | {tests} | {', '.join(passed(files, results)) or '–'} |")
    return before + head + "\n".join(["| --- | --- | --- |", *rows]) + end + rest


def read() -> dict[str, Any]:
    """The results that are kept."""
    return dict(json.loads(RESULTS.read_text("utf-8"))) if RESULTS.exists() else {}


def write(results: Mapping[str, Any]) -> None:
    """Keeps these beside those of other platforms, and makes the page."""
    kept = {**read(), **results}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    PAGE.write_text(page(kept), "utf-8")
    write_promises()


def write_promises() -> None:
    """Writes the third column of SECURITY.md anew."""
    SECURITY.write_text(promises(SECURITY.read_text("utf-8"), read()), "utf-8")
