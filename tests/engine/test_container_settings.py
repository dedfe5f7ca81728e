"""The table of settings, the body made of it, the filter of system calls, the read-back, and the document."""

from __future__ import annotations

import asyncio
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import msgspec
import pytest

from coderunner.engine.containers import (
    SETTINGS,
    ContainerSpec,
    create_body,
    environment,
    settings_digest,
    shm_bytes,
)
from coderunner.engine.docker import DockerEngine
from coderunner.engine.effective import compare
from coderunner.engine.filter import blocks, seccomp_profile
from coderunner.schema.limits import Limits
from tests.engine.conftest import MakeSpec

REFUSED = """
ptrace process_vm_readv process_vm_writev io_uring_setup io_uring_enter io_uring_register unshare setns mount
umount2 pivot_root chroot bpf perf_event_open userfaultfd keyctl add_key request_key clone3 open_by_handle_at
init_module finit_module kexec_load reboot swapon syslog io_setup modify_ldt socketcall
"""
DOCUMENT = Path(__file__).parents[2] / "docs" / "containers.md"


@pytest.fixture
def spec(limits: Limits) -> ContainerSpec:
    return ContainerSpec(image="i", name="n", uid=20001, limits=limits, labels={"a": "b"}, env={"X": "1"})


def as_inspected(body: dict[str, Any]) -> dict[str, Any]:
    config = {key: value for key, value in body.items() if key != "HostConfig"}
    return json.loads(json.dumps({"Config": config, "HostConfig": body["HostConfig"]}))


# --- the table ------------------------------------------------------------------------------------------


def test_each_setting_is_named_once() -> None:
    keys = [setting.key for setting in SETTINGS]
    assert len(keys) == len(set(keys))
    assert all(setting.why for setting in SETTINGS)


def test_the_body_holds_what_the_spec_says(spec: ContainerSpec, limits: Limits) -> None:
    body = create_body(spec)
    host = body["HostConfig"]
    assert body["User"] == "20001:20001"
    assert body["OpenStdin"] is True
    assert body["StdinOnce"] is False
    assert body["Tty"] is False
    assert "X=1" in body["Env"]
    assert body["Labels"] == {"a": "b"}
    assert host["CapDrop"] == ["ALL"]
    assert host["ReadonlyRootfs"] is True
    assert host["NetworkMode"] == "none"
    assert host["Memory"] == host["MemorySwap"] == limits.memory_bytes
    assert host["PidsLimit"] == limits.pids > 0
    assert "OomKillDisable" not in host or host["OomKillDisable"] is False
    assert {each["Name"] for each in host["Ulimits"]} == {"nofile", "core", "fsize"}
    assert "uid=20001,gid=20001" in host["Tmpfs"]["/workspace"]
    assert host["Tmpfs"]["/tmp"].startswith("rw,exec,nosuid,nodev,")
    assert "unconfined" not in str(body)
    assert "Runtime" not in host
    assert create_body(replace(spec, runtime="runsc"))["HostConfig"]["Runtime"] == "runsc"


def test_a_program_finds_its_environment(spec: ContainerSpec) -> None:
    assert environment({"LANG": "de_DE.UTF-8"})["LANG"] == "de_DE.UTF-8"
    assert {"HOME", "USER", "LANG", "TERM", "TMPDIR", "GOTMPDIR", "PATH"} <= environment({}).keys()


def test_files_in_memory_leave_room_for_programs(limits: Limits) -> None:
    for memory in (32 * 2**20, limits.memory_bytes, 2**33):
        assert shm_bytes(msgspec.structs.replace(limits, memory_bytes=memory)) <= memory // 16


def test_the_digest_is_of_the_kind_and_not_of_the_one(spec: ContainerSpec, limits: Limits) -> None:
    same = replace(spec, name="other", uid=3, labels={})
    assert settings_digest(same) == settings_digest(spec)
    for other in (
        replace(spec, runtime="runsc"),
        replace(spec, image="j"),
        replace(spec, limits=msgspec.structs.replace(limits, pids=3)),
        replace(spec, env={}),
    ):
        assert settings_digest(other) != settings_digest(spec)


# --- the filter of system calls -------------------------------------------------------------------------


def test_the_filter_allows_by_name_and_refuses_the_rest() -> None:
    profile = json.loads(seccomp_profile())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert {arch["architecture"] for arch in profile["archMap"]} == {"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"}
    assert all(arch["subArchitectures"] == [] for arch in profile["archMap"])  # their calls fit no rule
    allowed = {
        name: rule.get("args", [])
        for rule in profile["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW"
        for name in rule["names"]
    }
    for name in ("read", "munmap", "execve", "futex", "openat"):
        assert allowed[name] == []
    for name in ("socket", "socketpair", "clone", "personality"):
        assert allowed[name], f"{name} is allowed only with certain arguments"
    for name in REFUSED.split():
        assert name not in allowed
    assert not any(rule.get("includes", {}).get("caps") for rule in profile["syscalls"])


@pytest.mark.parametrize(("values", "below"), [([1], 512), ([7, 8, 26, 50, 51, 52], 128), ([0], 2), ([3], 4)])
def test_all_values_but_these(values: list[int], below: int) -> None:
    seen = list(blocks(values, below))
    for number in (*range(2 * below), 1 << 31):
        high = number | 5 << 32  # what an unfiltered kernel ignores
        allowed = [mask for mask, value in seen if high & mask == value]
        assert len(allowed) == (number < below and number not in values)


OF_A_PROCESS = ("sched_setaffinity", "sched_setparam", "sched_setscheduler", "sched_setattr", "prlimit64")


@pytest.mark.parametrize(
    ("name", "arguments", "action"),
    [
        ("setsockopt", (0, 1, 26), None),
        ("setsockopt", (0, 1 | 1 << 32, 26 | 1 << 32), None),
        ("setsockopt", (0, 1, 50), None),
        ("setsockopt", (0, 1, 8), 0),
        ("setsockopt", (0, 1, 2), "allowed"),
        ("setsockopt", (0, 6, 26), "allowed"),
        ("setsockopt", (0, 41, 50), "allowed"),
        ("prctl", (22,), 22),
        ("prctl", (38,), "allowed"),
        ("seccomp", (1,), 22),
        ("fcntl", (0, 37), 22),
        ("fcntl", (0, 6), "allowed"),
        ("fcntl", (0, 1031), "allowed"),
        ("clone", (0x411,), None),
        ("clone", (0x3D0F00,), "allowed"),  # a thread of the C library
        ("clone", (0x1200011,), "allowed"),  # fork
        ("clone", (0x10000011,), None),
        ("msync", (0, 0, 4), 0),
        ("msync", (0, 0, 1), "allowed"),
        ("fsync", (), 0),
        ("mmap", (0, 4096, 3, 0x22), "allowed"),
        ("mmap", (0, 4096, 3, 0x40022), 12),
        ("memfd_create", (0, 3), "allowed"),
        ("memfd_create", (0, 5), None),
        ("cachestat", (), None),
        *(
            (call, (process | high,), action)
            for call in OF_A_PROCESS
            for high in (0, 5 << 32)
            for process, action in ((0, "allowed"), (1, None), (2, "allowed"), (4_194_303, "allowed"))
        ),
        ("setpriority", (0, 1, 19), None),
        ("setpriority", (0, 1 | 1 << 32, 19), None),
        ("setpriority", (0, 0, 19), "allowed"),
        ("setpriority", (0, 77, 19), "allowed"),
        ("setpriority", (1, 0, 19), "allowed"),
        ("setpriority", (1, 1, 19), None),
        ("setpriority", (2, 0, 19), None),
        ("ioprio_set", (1, 0), "allowed"),
        ("ioprio_set", (1, 1), None),
        ("ioprio_set", (3, 0), None),
    ],
)
def test_calls_are_judged_by_their_arguments(
    name: str, arguments: tuple[int, ...], action: str | int | None
) -> None:
    """`action`: "allowed", the error number of a rule, or None: refused because nothing fits."""
    fits = [
        "allowed" if rule["action"] == "SCMP_ACT_ALLOW" else rule["errnoRet"]
        for rule in json.loads(seccomp_profile())["syscalls"]
        if name in rule["names"] and all(_fits(one, arguments) for one in rule.get("args", ()))
    ]
    assert fits == ([] if action is None else [action])


def _fits(condition: dict[str, Any], arguments: tuple[int, ...]) -> bool:
    assert condition["op"] == "SCMP_CMP_MASKED_EQ"
    return bool(arguments[condition["index"]] & condition["value"] == condition["valueTwo"])


def test_no_system_call_stands_in_two_lists() -> None:
    names = [
        name
        for rule in json.loads(seccomp_profile())["syscalls"]
        if "args" not in rule
        for name in rule["names"]
    ]
    assert len(names) == len(set(names))


# --- the read-back --------------------------------------------------------------------------------------


def test_what_was_made_as_asked_has_no_difference(spec: ContainerSpec) -> None:
    body = create_body(spec)
    assert compare(body, as_inspected(body)) == []


def test_every_setting_is_read_back(spec: ContainerSpec) -> None:
    """An engine that left out any one of them is found out."""
    body = create_body(spec)
    for setting in SETTINGS:
        *outer, key = setting.key.split(".")
        document = as_inspected(body)
        place = document["HostConfig"] if outer else document["Config"]
        if setting.value(spec) is None:
            continue
        place[key] = (
            ["another"] if isinstance(place[key], list) else "another" if place[key] else ["something"]
        )
        if isinstance(body["HostConfig"].get(key), dict) or isinstance(body.get(key), dict):
            place[key] = {"another": "value"}
        found = compare(body, document)
        assert [text.split(":")[0] for text in found] == [setting.key]


def test_what_image_and_engine_add_is_no_difference(spec: ContainerSpec) -> None:
    document = as_inspected(create_body(spec))
    document["Config"]["Env"].append("PYTHON_VERSION=3")
    document["Config"]["Labels"]["of-the-image"] = "x"
    document["HostConfig"]["Ulimits"].append({"Name": "memlock", "Soft": 1, "Hard": 1})
    document["HostConfig"]["CapAdd"] = None  # how the engine shows an empty list
    assert compare(create_body(spec), document) == []


def test_a_mark_of_the_engines_on_a_volume_is_no_difference(spec: ContainerSpec) -> None:
    """Docker Engine 28.5 labels those without a name; other labels, and other options, are not its own."""
    document = as_inspected(create_body(spec))
    [mount] = document["HostConfig"]["Mounts"]
    mount["VolumeOptions"]["Labels"]["com.docker.volume.anonymous"] = ""
    assert compare(create_body(spec), document) == []
    mount["VolumeOptions"]["Labels"]["of-somebody"] = ""
    assert [text.split(":")[0] for text in compare(create_body(spec), document)] == ["HostConfig.Mounts"]
    del mount["VolumeOptions"]["Labels"]["of-somebody"]
    mount["VolumeOptions"]["DriverConfig"]["Options"]["o"] = "max=4096"
    assert [text.split(":")[0] for text in compare(create_body(spec), document)] == ["HostConfig.Mounts"]


async def test_the_real_engine_makes_what_is_asked(engine: DockerEngine, make_spec: MakeSpec) -> None:
    spec = make_spec()
    container = await engine.create(spec)
    assert compare(create_body(spec), await engine.inspect_raw(container)) == []


READ = """
import mmap, os, time
page, began, total = mmap.mmap(-1, 1 << 20), time.monotonic(), 0
for root, _, names in os.walk("/usr/lib"):
    for name in names:
        try: file = os.open(os.path.join(root, name), os.O_RDONLY | os.O_DIRECT | os.O_NOFOLLOW)
        except OSError: continue
        try:
            while count := os.readv(file, [page]): total += count
        except OSError: pass
        os.close(file)
        if time.monotonic() - began > 3: break
    if time.monotonic() - began > 3: break
print(total / (time.monotonic() - began), "end", flush=True)
"""


@pytest.mark.long
async def test_reading_from_the_disk_is_bounded(
    engine: DockerEngine, make_spec: MakeSpec, sdk: docker.DockerClient
) -> None:
    disk = _disk_of(Path(sdk.info()["DockerRootDir"]))
    spec = make_spec(READ, disk_read=(disk, 4 * 1024**2))
    container = await engine.create(spec)
    assert compare(create_body(spec), await engine.inspect_raw(container)) == []
    stream = await engine.attach(container)
    await engine.start(container)
    said = b""
    async with asyncio.timeout(30):
        while b"end" not in said:
            said += await stream.read()
    await stream.close()
    assert float(said.split()[0]) < 6 * 1024**2


async def test_a_container_is_in_the_control_group_that_is_named(
    engine: DockerEngine, make_spec: MakeSpec, sdk: docker.DockerClient
) -> None:
    parent = "coderunner-test.slice" if sdk.info()["CgroupDriver"] == "systemd" else "/"
    spec = make_spec("import time; time.sleep(60)", cgroup_parent=parent)
    container = await engine.create(spec)
    assert compare(create_body(spec), await engine.inspect_raw(container)) == []
    await engine.start(container)
    lines = Path(f"/proc/{(await engine.inspect(container)).pid}/cgroup").read_text().splitlines()
    groups = {line.split(":", 2)[2] for line in lines}
    assert groups & {f"/{container}", f"/coderunner.slice/{parent}/docker-{container}.scope"}, groups


def _disk_of(place: Path) -> str:
    number = place.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    return f"/dev/{(device.parent if (device / 'partition').exists() else device).name}"


# --- the document ---------------------------------------------------------------------------------------


def test_the_document_has_the_table() -> None:
    rows = re.findall(r"^\| `([A-Za-z.]+)` \| (.+?) \| (.+) \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert [(key, why) for key, _value, why in rows] == [(setting.key, setting.why) for setting in SETTINGS]
