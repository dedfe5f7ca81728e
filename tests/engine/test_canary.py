"""The canary must sing: with any one setting taken away, it names the bound that no longer holds."""

from __future__ import annotations

import asyncio
import io
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import msgspec
import pytest

from coderunner.canary import CanaryUnfinished, Finding, Verdict, run, run_canary
from coderunner.canary.program import command
from coderunner.canary.run import attack
from coderunner.canary.verdict import VerdictCache, verdict_of
from coderunner.engine.containers import create_body, settings_digest
from coderunner.engine.docker import DockerEngine
from coderunner.engine.effective import compare
from coderunner.engine.sockets import AgentSockets
from coderunner.errors import EngineUnavailable, ImageMissing, StartFailed
from tests.engine.conftest import MakeSpec
from tests.harness import eventually
from tests.share import some_now

Host = dict[str, Any]
PROMISES = 34


def put(**changes: Any) -> Callable[[Host], None]:
    return lambda host: host.update(changes)


def drop_option(text: str) -> Callable[[Host], None]:
    def change(host: Host) -> None:
        host["SecurityOpt"] = [each for each in host["SecurityOpt"] if not each.startswith(text)]

    return change


def mount(path: str, old: str, new: str = "") -> Callable[[Host], None]:
    def change(host: Host) -> None:
        options, count = re.subn(old, new, host["Tmpfs"][path])
        assert count == 1
        host["Tmpfs"][path] = options

    return change


REMOVALS: dict[str, tuple[str, Callable[[Host], None], set[str]]] = {
    "capabilities kept": ("CapDrop", put(CapDrop=[]), {"capabilities"}),
    "privileges may grow": ("SecurityOpt", drop_option("no-new"), {"no_new_privileges", "setuid"}),
    "the engine's own filter": (
        "SecurityOpt",
        drop_option("seccomp"),
        {"system_calls", "sockets", "filters", "locks", "buffers", "disk"},
    ),
    "no filter": (
        "SecurityOpt",
        put(SecurityOpt=["no-new-privileges:true", "seccomp=unconfined"]),
        {"seccomp", "system_calls", "sockets", "new_namespaces", "foreign_calls", "filters", "locks", "disk"},
    ),
    "terminals without bound": ("Mounts", put(Mounts=[]), {"terminals"}),
    "large buffers": ("Sysctls", put(Sysctls={}), {"buffers"}),
    "writable root": ("ReadonlyRootfs", put(ReadonlyRootfs=False), {"read_only"}),
    "workspace without size": ("Tmpfs", mount("/workspace", r",size=\d+"), {"workspace_bytes"}),
    "workspace without inodes": ("Tmpfs", mount("/workspace", r",nr_inodes=\d+"), {"workspace_inodes"}),
    "tmp runs no programs": ("Tmpfs", mount("/tmp", "exec", "noexec"), {"mounts"}),
    "tmp takes devices": ("Tmpfs", mount("/tmp", "nodev", "dev"), {"mounts"}),
    "tmp without bounds": ("Tmpfs", mount("/tmp", r",size=\d+,nr_inodes=\d+"), {"tmp"}),
    "a network": ("NetworkMode", put(NetworkMode="bridge"), {"network"}),
    "the host's resolver": ("Dns", put(Dns=[]), {"resolver"}),
    "processes without bound": ("PidsLimit", put(PidsLimit=0), {"processes", "control_groups"}),
    "memory without bound": ("Memory", put(Memory=0, MemorySwap=0), {"memory", "control_groups"}),
    "swap beside the memory": ("MemorySwap", put(MemorySwap=0), {"control_groups"}),
    "all processors": ("NanoCpus", put(NanoCpus=0), {"control_groups"}),
    "files without bound": ("Ulimits", put(Ulimits=[]), {"open_files", "file_size", "core_dumps"}),
    "more shared memory": ("ShmSize", put(ShmSize=32 * 2**20), {"shared_memory"}),
    "the host's control groups": ("CgroupnsMode", put(CgroupnsMode="host"), {"control_groups"}),
    "the host's processes": ("PidMode", put(PidMode="host"), {"pid_namespace", "pid_1"}),
    "nothing masked": ("MaskedPaths", put(MaskedPaths=[]), {"masked"}),
    "the kernel's settings open": ("ReadonlyPaths", put(ReadonlyPaths=[]), {"read_only"}),
    "privileged": ("Privileged", put(Privileged=True), {"devices", "read_only"}),
}  # fmt: skip


def broken(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.outcome == "broken"}


@pytest.mark.parametrize(
    "name",
    some_now(REMOVALS, "no filter", "a network", "nothing masked", "memory without bound", "privileged"),
)
async def test_a_setting_taken_away_is_named(engine: DockerEngine, make_spec: MakeSpec, name: str) -> None:
    key, change, bounds = REMOVALS[name]
    spec = make_spec()
    spec = replace(spec, command=command(spec))
    asked, sent = create_body(spec), create_body(spec)
    change(sent["HostConfig"])
    document, findings = await attack(engine, sent, spec.name)
    assert bounds <= broken(findings), f"only {broken(findings)}"
    verdict = verdict_of(compare(asked, document), findings)
    assert not verdict.ok
    for bound in bounds:
        assert any(text.startswith(f"{bound}: expected: ") for text in verdict.failures)
    assert any(f"HostConfig.{key}: asked for" in text for text in verdict.failures)


async def test_root_is_named(engine: DockerEngine, make_spec: MakeSpec) -> None:
    spec = make_spec()
    spec = replace(spec, command=command(spec))
    _document, findings = await attack(engine, {**create_body(spec), "User": "0:0"}, spec.name)
    assert "user" in broken(findings)


async def test_a_container_with_a_socket_is_as_hard(
    engine: DockerEngine, make_spec: MakeSpec, tmp_path: Path
) -> None:
    one = AgentSockets(tmp_path, "i", "socket").make("i-1")
    one.listen()
    spec = make_spec(socket=str(one.folder))
    digest = settings_digest(spec)
    assert digest == settings_digest(replace(spec, socket="/elsewhere")) != settings_digest(make_spec())
    verdict = await run_canary(engine, spec, settings_digest=digest, cache_dir=tmp_path / "verdicts")
    assert verdict.failures == []
    assert [file.name for file in one.folder.iterdir()] == ["agent.sock"]
    spec = replace(spec, name=spec.name + "-writable", command=command(spec))
    asked, sent = create_body(spec), create_body(spec)
    sent["HostConfig"]["Mounts"][1]["ReadOnly"] = False
    document, findings = await attack(engine, sent, spec.name)
    assert broken(findings) == {"read_only"}
    assert any("HostConfig.Mounts" in text for text in compare(asked, document))
    one.close()


async def test_a_folder_that_is_not_there_is_refused_and_not_made(
    engine: DockerEngine, make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(socket=str(tmp_path / "missing"))
    with pytest.raises(StartFailed, match="bind source path does not exist"):
        await engine.create(spec)
    assert not (tmp_path / "missing").exists()


def tear(directory: Path) -> None:
    for file in directory.iterdir():
        file.write_text("{ torn")


async def test_the_bounds_hold(engine: DockerEngine, make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    digest = settings_digest(spec)
    verdict = await run_canary(engine, spec, settings_digest=digest, cache_dir=tmp_path)
    assert verdict.failures == []
    assert verdict.ok
    assert not verdict.cached
    assert len(verdict.probes) == PROMISES
    assert {finding.outcome for finding in verdict.probes.values()} <= {"held", "untried"}
    again = await run_canary(engine, spec, settings_digest=digest, cache_dir=tmp_path)
    assert again == replace(verdict, cached=True)
    other = await run_canary(engine, spec, settings_digest="changed", cache_dir=tmp_path)
    assert not other.cached
    tear(tmp_path)
    anew = await run_canary(engine, spec, settings_digest=digest, cache_dir=tmp_path)
    assert anew.ok
    assert not anew.cached


async def test_a_verdict_that_cannot_be_kept_is_one_all_the_same(
    engine: DockerEngine, make_spec: MakeSpec, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = Path("/dev/full/canary")
    verdict = await run_canary(engine, make_spec(), settings_digest="full", cache_dir=nowhere)
    assert verdict.ok
    [line] = [one for one in caplog.records if one.name == "coderunner.canary.run"]
    assert "could not be stored" in line.getMessage()


async def test_smaller_limits_hold_as_well(engine: DockerEngine, make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    small = msgspec.structs.replace(
        spec.limits, memory_bytes=100_000_000, workspace_bytes=20_000_001, tmp_bytes=5_000_000, inodes=500,
        pids=40, nofile=256, file_bytes=3_000_000, cpus=0.5,
    )  # fmt: skip
    spec = replace(spec, limits=small)
    verdict = await run_canary(engine, spec, settings_digest="small", cache_dir=tmp_path)
    assert verdict.failures == []


async def test_an_image_may_have_links_to_nowhere_and_closed_folders(
    engine: DockerEngine, make_spec: MakeSpec, sdk: docker.DockerClient, image: str, tmp_path: Path
) -> None:
    """As that of Rust has, where programs are looked through."""
    untidy = (
        f"FROM {image}\n"
        "RUN cd /usr/bin && ln -s nowhere 0-dangling && ln -s 0-loop 0-loop && mkdir -m 700 0-closed"
        " && mkfifo 0-pipe && install -m 000 /dev/null 0-unreadable && chmod 700 /usr/local/sbin"
        " && find / -xdev -perm /6000 -type f -exec chmod a-s {} +\n"  # so that all are looked through
    )
    made, _ = sdk.images.build(fileobj=io.BytesIO(untidy.encode()), rm=True)
    try:
        verdict = await run_canary(engine, make_spec(image=made.id), settings_digest="", cache_dir=tmp_path)
        assert verdict.failures == []
        assert verdict.probes["setuid"].outcome == "untried"
    finally:
        sdk.images.remove(made.id)


# --- 'could not run' is not 'does not hold' -------------------------------------------------------------


async def test_a_canary_that_could_not_run_is_no_verdict(
    engine: DockerEngine, make_spec: MakeSpec, tmp_path: Path
) -> None:
    with pytest.raises(ImageMissing):
        await run_canary(
            engine, make_spec(image="coderunner-test/none:1"), settings_digest="", cache_dir=tmp_path
        )
    with pytest.raises(StartFailed, match="python3"):  # this image has no Python
        await run_canary(
            engine, make_spec(image="debian:trixie-slim"), settings_digest="", cache_dir=tmp_path
        )
    async with DockerEngine.connect(f"unix://{tmp_path}/none.sock", 1) as gone:
        with pytest.raises(EngineUnavailable):
            await run_canary(gone, make_spec(), settings_digest="", cache_dir=tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.exit('the reason')", "the reason"),
        ('print(\'{"probe": "user"}\')', "ended early"),
        ("print('[]')", "ended early"),
        (
            'print(\'{"trying": "pid_1", "promise": "it lives"}\')',
            r"ended early during the probe pid_1 \(it lives\)",
        ),
        ("while True: print('x' * 10000)", "has more than"),
    ],
)
async def test_a_report_that_is_not_whole_is_no_verdict(
    engine: DockerEngine, make_spec: MakeSpec, labels: dict[str, str], program: str, words: str
) -> None:
    spec = make_spec(program)
    with pytest.raises(CanaryUnfinished, match=words):
        await attack(engine, create_body(spec), spec.name)
    assert await engine.list(labels) == []


async def test_a_canary_that_hangs_is_no_verdict(
    engine: DockerEngine, make_spec: MakeSpec, labels: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "TIME_S", 1.0)
    spec = make_spec("print('so far', flush=True)\nimport signal; signal.pause()")
    with pytest.raises(CanaryUnfinished, match="so far"):
        await attack(engine, create_body(spec), spec.name)
    assert await engine.list(labels) == []


async def running(engine: DockerEngine, labels: dict[str, str]) -> bool:
    return any(one.running for one in await engine.list(labels))


async def test_cancelled_it_leaves_nothing(
    engine: DockerEngine, make_spec: MakeSpec, labels: dict[str, str]
) -> None:
    spec = make_spec("import signal; signal.pause()")
    task = asyncio.create_task(attack(engine, create_body(spec), spec.name))
    await eventually(lambda: running(engine, labels), 20, "a running container")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await engine.list(labels) == []


async def test_cancelled_while_it_is_made_it_leaves_nothing(
    engine: DockerEngine, make_spec: MakeSpec, labels: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = asyncio.Event()
    create_from = engine.create_from

    async def create_and_stall(body: Host, name: str) -> str:
        await create_from(body, name)
        made.set()
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(engine, "create_from", create_and_stall)
    spec = make_spec()
    task = asyncio.create_task(attack(engine, create_body(spec), spec.name))
    await made.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await engine.list(labels) == []


# --- its memory -----------------------------------------------------------------------------------------


def test_only_a_good_verdict_is_kept(tmp_path: Path) -> None:
    cache = VerdictCache(tmp_path / "state")
    held, broken_one = Finding("p", "held", ""), Finding("p", "broken", "seen")
    cache.keep("b" * 64, verdict_of([], {"x": broken_one}))
    assert cache.find("b" * 64) is None
    cache.keep("a" * 64, verdict_of([], {"x": held}))
    assert cache.find("a" * 64) == Verdict(True, [], {"x": held}, cached=True)


def test_the_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coderunner.canary.verdict.KEPT", 3)
    cache = VerdictCache(tmp_path)
    for number in range(6):
        cache.keep(f"{number:064}"[::-1], verdict_of([], {}))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_difference_alone_is_a_failure() -> None:
    verdict = verdict_of(["HostConfig.PidsLimit: asked for 128, the engine made 0"], {})
    assert not verdict.ok
    assert "PidsLimit" in verdict.failures[0]
