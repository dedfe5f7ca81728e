"""Checks of the container engine: whether it answers, supports what containers need, and has the images."""

from __future__ import annotations

from pathlib import Path

from coderunner import declarations
from coderunner.config import Settings
from coderunner.doctor.findings import Finding, fail, guarded, of_sentence, ok, warn
from coderunner.engine import floors
from coderunner.engine.docker import DockerEngine
from coderunner.engine.images import ImageBuilder
from coderunner.engine.states import EngineInfo
from coderunner.errors import CodeRunnerError, EngineTimeout, EngineUnavailable

REACH = "check `systemctl status docker`, that this user is in the group docker (`id`), and DOCKER_HOST"
SLOW = "see `journalctl -u docker`; `systemctl restart docker` ends no session where live-restore is on"


async def checks(settings: Settings) -> tuple[list[Finding], EngineInfo | None]:
    """Checks the engine of the settings. Returns the findings, and the engine's information, None if it does
    not answer."""
    try:
        async with DockerEngine.connect(settings.docker_host, settings.docker_cmd_timeout / 1000) as engine:
            info = await engine.info()
    except EngineUnavailable as error:
        return [fail("engine", error.message, REACH)], None
    except EngineTimeout as error:
        return [fail("engine", error.message, SLOW)], None
    except CodeRunnerError as error:
        return [fail("engine", error.message, "docs/platforms.md lists the engines that work")], None
    about = f"{info.version}, API {info.api_version}, {info.operating_system}, {info.kernel}"
    found = [ok("engine", about), *promises(settings, info)]
    with guarded("images", found):
        found.append(await _images(settings))
    return found, info


def promises(settings: Settings, info: EngineInfo) -> list[Finding]:
    """Checks whether an engine with this information can enforce what docs/containers.md promises."""
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
    """Whether the engine can limit memory and processes."""
    text = f"version {info.cgroup_version}"
    # cgroup v1 cannot be delegated to an unprivileged user.
    if "name=rootless" in info.security and info.cgroup_version < 2:
        return fail(
            "cgroups", f"{text}: with it, a rootless engine cannot limit memory and processes",
            "boot the machine with the kernel parameter systemd.unified_cgroup_hierarchy=1",
        )  # fmt: skip
    return ok("cgroups", text)


def _seccomp(info: EngineInfo) -> Finding:
    """Whether the engine filters system calls."""
    # The engine adds the name of its profile to this text.
    if any("name=seccomp" in text for text in info.security):
        return ok("seccomp", "the engine filters system calls")
    return fail(
        "seccomp", "the engine does not filter system calls; without that no session is started",
        "use a kernel with CONFIG_SECCOMP_FILTER and an engine built with seccomp",
    )  # fmt: skip


def _confinement(info: EngineInfo) -> Finding:
    """Which mandatory access control confines containers."""
    sentences = floors.unconfined(info) if floors.is_here(info) else []
    if sentences:
        return of_sentence("confinement", sentences[0])
    by = floors.confinement(info)
    return ok("confinement", "this kernel has neither AppArmor nor SELinux" if by == "none" else by)


def _live_restore(info: EngineInfo) -> Finding:
    """Whether containers survive a restart of the engine."""
    if info.live_restore:
        return ok("live-restore", "sessions outlive a restart of the engine")
    return warn(
        "live-restore", "all sessions end when the engine restarts",
        'add "live-restore": true to /etc/docker/daemon.json, then `systemctl reload docker`',
    )  # fmt: skip


def _runtime(settings: Settings, info: EngineInfo) -> Finding:
    """Whether the engine has the runtime of DOCKER_RUNTIME."""
    wanted = settings.docker_runtime
    if wanted is not None and info.runtimes and wanted not in info.runtimes:
        known = ", ".join(sorted(info.runtimes))
        return fail(
            "runtime", f"the engine has no runtime {wanted}; it has {known}",
            "set DOCKER_RUNTIME to one of them",
        )  # fmt: skip
    return ok("runtime", wanted or info.default_runtime or "the engine's default")


def _floors(settings: Settings, info: EngineInfo) -> list[Finding]:
    """Whether the kernel's settings limit what sessions can use; only for an engine on this machine's
    kernel."""
    if not floors.is_here(info):
        text = f"not checked: the engine runs on another kernel ({info.kernel})"
        return [ok("kernel", text)]
    sessions = settings.max_concurrent_sessions + settings.warm_max
    low = floors.floors(sessions, info.memory_bytes, groups=settings.max_groups > 0)
    return [of_sentence("kernel", one) for one in low] or [
        ok("kernel", "its settings limit what sessions can use")
    ]


async def _images(settings: Settings) -> Finding:
    """Whether the images of all languages are built, and the disk has room for those that are not."""
    declared = declarations.load(only=settings.languages)
    uids = range(settings.session_uid_base, settings.session_uid_base + settings.session_uid_count)
    plan = await ImageBuilder(settings.docker_host, declared.folder, uids).plan(declared.demand)
    missing = plan.missing
    if plan.short:
        said, _, mend = plan.sentence().partition(": ")
        return fail("images", said, mend)
    if missing:
        shown = ", ".join(missing[:8]) + (", …" if len(missing) > 8 else "")
        text = f"{len(missing)} of {len(declared.languages)} are not built: {shown}; {plan.sentence()}"
        return warn("images", text, "run `coderunner images build`, or let the running server build them")
    return ok("images", f"all {len(declared.languages)} languages are built")


def disk_of(info: EngineInfo) -> Path | None:
    """The engine's data folder if it is on this machine, otherwise None."""
    folder = Path(info.root) if info.root else None
    return folder if folder is not None and floors.is_here(info) and folder.is_dir() else None
