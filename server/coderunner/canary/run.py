"""The canary: a container made like every other, whose program attacks it. It shows which bounds hold."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from coderunner import timing
from coderunner.canary.program import command, program_digest
from coderunner.canary.verdict import Verdict, VerdictCache, verdict_of
from coderunner.engine.attach import AttachStream
from coderunner.engine.containers import ContainerSpec, create_body
from coderunner.engine.docker import DockerEngine
from coderunner.engine.effective import compare
from coderunner.errors import EngineError, ImageMissing, NameConflict, StartFailed
from coderunner.logs import fields
from coderunner.schema.canary import ERROR, Finding, ReportLine

log = logging.getLogger(__name__)

TIME_S = 30.0  # all probes; they take 0.6 s on two idle cores
MAX_REPORT = 1024 * 1024


class CanaryUnfinished(StartFailed):
    """The canary could not say whether the bounds hold."""


async def run_canary(
    engine: DockerEngine, spec: ContainerSpec, *, settings_digest: str, cache_dir: Path
) -> Verdict:
    """Judges the containers of `spec`'s kind, by a good verdict of before or by an attack.

    `spec` is as for a session, with a name and uid of its own; its command is replaced. A verdict is filed
    under the image, the engine, its kernel, the settings and the probes. That it could not be had is an error
    and no verdict: ImageMissing, CanaryUnfinished, and what `DockerEngine` raises.
    """
    image = await engine.image(spec.image)
    if image is None:
        raise ImageMissing(f"canary: there is no image {spec.image}")
    info = await engine.info()
    facts = (image.id, info.id, info.version, info.kernel, str(info.cgroup_version), settings_digest)
    program = await asyncio.to_thread(program_digest)
    key = hashlib.sha256("\n".join((*facts, program)).encode()).hexdigest()
    cache = VerdictCache(cache_dir)
    known = await asyncio.to_thread(cache.find, key)
    if known is not None:
        return known
    spec = replace(spec, command=await asyncio.to_thread(command, spec))
    body = create_body(spec)
    document, findings = await attack(engine, body, spec.name)
    verdict = verdict_of(compare(body, document), findings)
    failed = [f"{name}: {finding.detail}" for name, finding in findings.items() if finding.outcome == ERROR]
    if verdict.ok and failed:
        raise CanaryUnfinished(f"canary: probes failed: {'; '.join(failed)}")
    try:
        await asyncio.to_thread(cache.keep, key, verdict)
    except OSError as error:
        why = f"{cache_dir}: {error.strerror or error}"
        log.warning("the canary's verdict is not kept; the next start attacks again", extra=fields(why=why))
    return verdict


async def attack(
    engine: DockerEngine, body: Mapping[str, Any], name: str
) -> tuple[dict[str, Any], dict[str, Finding]]:
    """Makes the container, runs it to its end and removes it: its inspect document, its probes' findings."""
    try:
        container = await engine.create_from(body, name)
    except NameConflict:
        raise
    except BaseException:  # given up on while the engine was at it, it may be there all the same
        await _remove(engine, name)
        raise
    try:
        document = await engine.inspect_raw(container)
        stream = await engine.attach(container)
        try:
            await engine.start(container)
            findings = await read_findings(stream)
        finally:
            await stream.close()
    finally:
        await _remove(engine, name)
    return document, findings


async def _remove(engine: DockerEngine, name: str) -> None:
    with contextlib.suppress(EngineError):  # its deadline label leaves it to the sweep
        await engine.remove(name)


async def read_findings(stream: AttachStream) -> dict[str, Finding]:
    """Reads the report of a container's probes to its end: by the probe's name, what it found.

    Raises CanaryUnfinished when it has no end, or none within TIME_S.
    """
    findings: dict[str, Finding] = {}
    report = b""
    try:
        async with timing.within(TIME_S):
            while data := await stream.read():
                report += data
                if len(report) > MAX_REPORT:
                    raise CanaryUnfinished("canary: its report has no end")
    except TimeoutError:
        raise CanaryUnfinished(f"canary: not done within {TIME_S:g} s, after {_last(report)}") from None
    tried = ""
    for line in report.splitlines():
        try:
            told = msgspec.json.decode(line, type=ReportLine)
        except ValueError:
            break
        if told.trying:
            tried = f", while it tried {told.trying} (promised: {told.promise})"
            continue
        if told.done is not None:
            if told.done == len(findings) > 0:
                return findings
            break
        if not told.probe:
            break
        findings[told.probe] = Finding(told.promise, told.outcome, told.detail)
        tried = ""
    words = stream.stderr_tail.decode("utf-8", "replace").strip()
    raise CanaryUnfinished(
        f"canary: it ended early{tried}, after {_last(report)}; {words or 'it said nothing more'}"
    )


def _last(report: bytes) -> str:
    return repr(report[-300:].decode("utf-8", "replace")) if report else "no output"
