"""Runs all checks, in the order in which problems should be fixed."""

from __future__ import annotations

from pathlib import Path

from coderunner.config import Settings
from coderunner.doctor import engine, machine, server
from coderunner.doctor.findings import FAIL, Finding, as_json, as_text, fail, ok
from coderunner.errors import ConfigError
from coderunner.instance import lives


async def examine(settings: Settings, here: str, url: str, idle: float, bearer: str) -> list[Finding]:
    """Runs the checks of engine, machine and server, and returns their findings. `here`: the address where
    the server of these settings listens. `url`: the public address; if not empty, a session is opened there
    and kept idle for `idle` seconds. `bearer`: the credential for `url`."""
    found, info = await engine.checks(settings)
    disk = engine.disk_of(info) if info is not None else None
    found += machine.checks(settings, info.memory_bytes if info is not None else 0, disk)
    if url:
        found += await server.checks(url, through=True, idle=idle, bearer=bearer)
    elif not any(one.check == "state" and one.state == FAIL for one in found) and lives(
        Path(settings.state_dir), settings.instance_name
    ):
        found += await server.checks(here, through=False, idle=0.0)
    # A server on this machine gives the same warnings again.
    said: dict[tuple[str, str, str], Finding] = {}
    for one in found:
        said.setdefault((one.state, one.text, one.mend), one)
    return list(said.values())


def settings_findings(problems: list[str]) -> list[Finding]:
    """A finding for each problem of the settings, or one that they are valid."""
    if not problems:
        return [ok("settings", "valid")]
    return [fail("settings", problem, "`coderunner settings --table` explains each") for problem in problems]


def problems_of(error: ConfigError) -> list[str]:
    """The problems as `settings --check` prints them."""
    return [str(problem) for problem in error.problems]


def shown(found: list[Finding], *, json: bool) -> tuple[str, int]:
    """The report as text or JSON, and the exit code: 1 if any check failed, otherwise 0."""
    code = int(any(one.state == FAIL for one in found))
    if json:
        return as_json(found), code
    states = [one.state for one in found]
    summary = f"{states.count('ok')} ok, {states.count('warn')} warnings, {states.count('fail')} failed"
    return f"{as_text(found)}\n\n{summary}", code
