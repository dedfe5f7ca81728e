"""Checks of the container engine: reachable, new enough, with what the promises need, and the images."""

from __future__ import annotations

from pathlib import Path

from coderunner import declarations
from coderunner.config import Settings
from coderunner.doctor.findings import Finding, fail, guarded, of_sentence, ok, warn
from coderunner.engine import floors
from coderunner.engine.docker import DockerEngine
from coderunner.engine.images import ImageBuilder
from coderunner.engine.states import EngineInfo
from coderunner.errors import CodeRunnerError, EngineUnavailable

REACH = "systemctl status docker; is this user in the group docker (id)? DOCKER_HOST names another engine"


async def checks(settings: Settings) -> tuple[list[Finding], EngineInfo | None]:
    """What was found, and what the engine says of itself; None where it does not answer."""
    try:
        async with DockerEngine.connect(settings.docker_host, settings.docker_cmd_timeout / 1000) as engine:
            info = await engine.info()
    except EngineUnavailable as error:
        return [fail("engine", error.message, REACH)], None
    except CodeRunnerError as error:
        return [fail("engine", error.message, "see docs/platforms.md for what is known to work")], None
    about = f"{info.version}, API {info.api_version}, {info.operating_system}, {info.kernel}"
    found = [ok("engine", about), *promises(settings, info)]
    with guarded("images", found):
        found.append(await _images(settings))
    return found, info


def promises(settings: Settings, info: EngineInfo) -> list[Finding]:
    """Whether an engine that says this of itself can keep what docs/containers.md promises."""
    found: list[Finding] = []
    for name, check in (
        ("cgroups", _cgroups), ("seccomp", _seccomp), ("confinement", _confinement),
        ("live-restore", _live_restore),
    ):  # fmt: skip
        with guarded(name, found):
            found.append(check(info))
    with guarded("runtime", found):
        found.append(_runtime(settings, info))
    with guarded("kernel", found):
        found += _floors(settings, info)
    return found


def _cgroups(info: EngineInfo) -> Finding:
    text = f"version {info.cgroup_version}"
    if "name=rootless" in info.security and info.cgroup_version < 2:
        return fail(
            "cgroups", f"{text}: a rootless engine cannot limit memory and processes there",
            "boot with systemd.unified_cgroup_hierarchy=1",
        )  # fmt: skip
    return ok("cgroups", text)


def _seccomp(info: EngineInfo) -> Finding:
    if any("name=seccomp" in text for text in info.security):
        return ok("seccomp", "the engine filters system calls")
    return fail(
        "seccomp", "the engine does not filter system calls, and no session is started without",
        "use a kernel with CONFIG_SECCOMP_FILTER and an engine built with seccomp",
    )  # fmt: skip


def _confinement(info: EngineInfo) -> Finding:
    sentences = floors.unconfined(info) if floors.is_here(info) else []
    if sentences:
        return of_sentence("confinement", sentences[0])
    by = floors.confinement(info)
    return ok("confinement", "this kernel has neither AppArmor nor SELinux" if by == "none" else by)


def _live_restore(info: EngineInfo) -> Finding:
    if info.live_restore:
        return ok("live-restore", "sessions outlive a restart of the engine")
    return warn(
        "live-restore", "all sessions end when the engine restarts",
        'put "live-restore": true into /etc/docker/daemon.json, and systemctl reload docker',
    )  # fmt: skip


def _runtime(settings: Settings, info: EngineInfo) -> Finding:
    wanted = settings.docker_runtime
    if wanted is not None and info.runtimes and wanted not in info.runtimes:
        known = ", ".join(sorted(info.runtimes))
        return fail(
            "runtime", f"there is no {wanted}; there are {known}", "set DOCKER_RUNTIME to one of them"
        )
    return ok("runtime", wanted or info.default_runtime or "the engine's own")


def _floors(settings: Settings, info: EngineInfo) -> list[Finding]:
    if not floors.is_here(info):
        text = f"the engine runs on another kernel ({info.kernel}), whose settings are not seen from here"
        return [ok("kernel", text)]
    sessions = settings.max_concurrent_sessions + settings.warm_max
    low = floors.floors(sessions, info.memory_bytes, groups=settings.max_groups > 0)
    return [of_sentence("kernel", one) for one in low] or [
        ok("kernel", "its settings bound what sessions take")
    ]


async def _images(settings: Settings) -> Finding:
    declared = declarations.load(only=settings.languages)
    uids = range(settings.session_uid_base, settings.session_uid_base + settings.session_uid_count)
    there = await ImageBuilder(settings.docker_host, declared.folder, uids).present(declared.languages)
    missing = [name for name in declared.demand if name not in there]
    if missing:
        shown = ", ".join(missing[:8]) + (", …" if len(missing) > 8 else "")
        text = f"{len(missing)} of {len(declared.languages)} are not built: {shown}"
        return warn("images", text, "coderunner images build (the server builds them as well, one by one)")
    return ok("images", f"all {len(there)} languages are built")


def disk_of(info: EngineInfo) -> Path | None:
    """The engine's folder, where it is on this machine."""
    folder = Path(info.root) if info.root else None
    return folder if folder is not None and floors.is_here(info) and folder.is_dir() else None
