"""All checks, in the order in which one mends them."""

from __future__ import annotations

from pathlib import Path

from coderunner.config import Settings
from coderunner.doctor import engine, machine, server
from coderunner.doctor.findings import FAIL, Finding, as_json, as_text, fail, ok
from coderunner.errors import ConfigError
from coderunner.instance import lives


async def examine(settings: Settings, here: str, url: str, idle: float, bearer: str) -> list[Finding]:
    """`here`: where the server of these settings listens. `url`: as users reach it, empty where nobody asked
    for that; then a session is opened there and left alone for `idle` seconds."""
    found, info = await engine.checks(settings)
    disk = engine.disk_of(info) if info is not None else None
    found += machine.checks(settings, info.memory_bytes if info is not None else 0, disk)
    if url:
        found += await server.checks(url, through=True, idle=idle, bearer=bearer)
    elif not any(one.check == "state" and one.state == FAIL for one in found) and lives(
        Path(settings.state_dir), settings.instance_name
    ):
        found += await server.checks(here, through=False, idle=0.0)
    # A server on this machine warns of what was seen here already.
    said: dict[tuple[str, str, str], Finding] = {}
    for one in found:
        said.setdefault((one.state, one.text, one.mend), one)
    return list(said.values())


def settings_findings(problems: list[str]) -> list[Finding]:
    """What is wrong with the settings; nothing else can be looked at then."""
    if not problems:
        return [ok("settings", "sound")]
    return [fail("settings", problem, "coderunner settings --table explains each") for problem in problems]


def problems_of(error: ConfigError) -> list[str]:
    """In lines, as `settings --check` has them."""
    return [str(problem) for problem in error.problems]


def shown(found: list[Finding], *, json: bool) -> tuple[str, int]:
    """The report, and the exit code: 1 where something does not work."""
    code = int(any(one.state == FAIL for one in found))
    if json:
        return as_json(found), code
    states = [one.state for one in found]
    summary = f"{states.count('ok')} ok, {states.count('warn')} to mend, {states.count('fail')} that fail"
    return f"{as_text(found)}\n\n{summary}", code
