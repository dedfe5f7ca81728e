"""Runs the canary: a container made like every other, whose program tests by attacks which limits hold."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
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
from coderunner.engine.runtimes import is_gvisor, memory_of
from coderunner.errors import EngineError, ImageMissing, NameConflict, StartFailed
from coderunner.logs import fields
from coderunner.schema.canary import ERROR, Finding, ReportLine

log = logging.getLogger(__name__)

# A busy machine must not be taken for one without limits: on an emulated one they took over 30 s.
TIME_S = 120.0  # for all probes, which take 0.6 s on two idle cores
MAX_REPORT = 1024 * 1024  # bytes


class CanaryUnfinished(StartFailed):
    """The canary could not find out whether the limits hold."""


async def run_canary(
    engine: DockerEngine, spec: ContainerSpec, *, settings_digest: str, cache_dir: Path
) -> Verdict:
    """Returns the verdict on containers like `spec`: a good one from the cache, or by an attack.

    `spec`: as for a session, with a name and user id of its own; its command is replaced. `settings_digest`:
    of the container's settings. `cache_dir`: where good verdicts are stored, by image, engine, kernel,
    settings and probes. Raises ImageMissing, CanaryUnfinished, and the errors of `DockerEngine`.
    """
    image = await engine.image(spec.image)
    if image is None:
        raise ImageMissing(f"canary: the image {spec.image} does not exist")
    info = await engine.info()
    # A change of any of these can weaken a container without a new setting.
    facts = (image.id, info.id, info.version, info.kernel, str(info.cgroup_version), settings_digest)
    # Reads files, so in a thread; a new probe makes all stored verdicts invalid.
    program = await asyncio.to_thread(program_digest)
    key = hashlib.sha256("\n".join((*facts, program)).encode()).hexdigest()
    cache = VerdictCache(cache_dir)
    known = await asyncio.to_thread(cache.find, key)
    if known is not None:
        return known
    spec = replace(spec, command=await asyncio.to_thread(command, spec))
    body = create_body(spec)
    document, findings = await attack(engine, body, spec.name, started=partial(_limit_inside, engine, spec))
    verdict = verdict_of(compare(body, document), findings)
    failed = [f"{name}: {finding.detail}" for name, finding in findings.items() if finding.outcome == ERROR]
    # A probe that could not run proves nothing: neither a good verdict nor a bad one.
    if verdict.ok and failed:
        raise CanaryUnfinished(f"canary: probes failed: {'; '.join(failed)}")
    try:
        await asyncio.to_thread(cache.keep, key, verdict)
    except OSError as error:
        why = f"{cache_dir}: {error.strerror or error}"
        log.warning(
            "the canary's verdict could not be stored; the next start runs it again", extra=fields(why=why)
        )
    return verdict


async def _limit_inside(engine: DockerEngine, spec: ContainerSpec, container: str) -> None:
    if is_gvisor(spec.runtime):
        memory_bytes = memory_of(spec.limits, spec.runtime)
        await engine.limit_inside(container, pids=spec.limits.pids, memory_bytes=memory_bytes)


async def attack(
    engine: DockerEngine,
    body: Mapping[str, Any],
    name: str,
    *,
    started: Callable[[str], Awaitable[None]] | None = None,
) -> tuple[dict[str, Any], dict[str, Finding]]:
    """Creates the container, runs it to its end and removes it. Returns (the engine's document about it, the
    probes' findings by name). `body`: the create request. `name`: the container's. `started`: called with its
    id once it runs."""
    try:
        container = await engine.create_from(body, name)
    except NameConflict:  # the name belongs to another container, which must not be removed
        raise
    except BaseException:  # the engine may have created it in spite of the error
        await _remove(engine, name)
        raise
    try:
        document = await engine.inspect_raw(container)
        # Before the start: output that comes before somebody attaches is lost, as the log driver is `none`.
        stream = await engine.attach(container)
        try:
            await engine.start(container)
            if started is not None:
                await started(container)
            findings = await read_findings(stream)
        finally:
            await stream.close()
    finally:
        await _remove(engine, name)
    return document, findings


async def _remove(engine: DockerEngine, name: str) -> None:
    with contextlib.suppress(EngineError):  # if this fails, the sweep removes it after its deadline
        await engine.remove(name)


async def read_findings(stream: AttachStream) -> dict[str, Finding]:
    """Reads a report of the probes to its end, and returns their findings by name.

    Raises CanaryUnfinished if the report is incomplete, invalid or longer than MAX_REPORT, or has not ended
    after TIME_S.
    """
    findings: dict[str, Finding] = {}
    report = b""
    try:
        async with timing.within(TIME_S):
            while data := await stream.read():
                report += data
                if len(report) > MAX_REPORT:
                    raise CanaryUnfinished(f"canary: its report has more than {MAX_REPORT} bytes")
    except TimeoutError:
        raise CanaryUnfinished(
            f"canary: not finished within {TIME_S:g} s; the last of its report: {_last(report)}"
        ) from None
    tried = ""
    for line in report.splitlines():
        try:
            told = msgspec.json.decode(line, type=ReportLine)
        except ValueError:
            break
        if told.trying:
            tried = f" during the probe {told.trying} ({told.promise})"
            continue
        # The number of findings is compared, so that lost lines are noticed.
        if told.done is not None:
            if told.done == len(findings) > 0:
                return findings
            break
        if not told.probe:
            break
        findings[told.probe] = Finding(told.promise, told.outcome, told.detail)
        tried = ""
    # For example why the interpreter could not start.
    words = stream.stderr_tail.decode("utf-8", "replace").strip()
    raise CanaryUnfinished(
        f"canary: it ended early{tried}; the last of its report: {_last(report)};"
        f" stderr: {words or 'nothing'}"
    )


def _last(report: bytes) -> str:
    return repr(report[-300:].decode("utf-8", "replace")) if report else "nothing"
