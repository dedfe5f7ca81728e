"""From what an agent reports of a program's end to the `exit` message, by the rules of `core.lifecycle`."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from coderunner.core import lifecycle
from coderunner.core.lifecycle import Intent
from coderunner.schema.messages import Exit, Usage
from coderunner.sessions.channel import Channel


def exit_message(channel: Channel, evidence: Any, *, others: bool) -> Exit:
    """``others``: another channel may be the one that the kernel's count of memory kills means."""
    intent = Intent(channel.intent) if channel.intent else None
    report = lifecycle.read_report(evidence, intent=intent, others=others)
    verdict = lifecycle.judge(report.evidence)
    channel.unexplained_kill = lifecycle.qualifies_for_oom(report.evidence)
    end = channel.end if channel.end is not None else channel.cache.end
    return Exit(
        channel=channel.number,
        code=report.evidence.last.code,
        signal=report.evidence.last.signal,
        reason=verdict.reason.value,
        limits_hit=verdict.limits_hit,
        left_behind=report.left_behind,
        usage=replace(report.usage, output_bytes=end),
        offset=end,
        shared=verdict.shared,
    )


def lost(channel: Channel) -> Exit:
    """The container is gone and nobody saw the end, or it was ours (a wall limit that the agent missed)."""
    end = channel.end if channel.end is not None else channel.cache.end
    return Exit(
        channel=channel.number,
        code=None,
        signal=None,
        reason=channel.intent or "engine_lost",
        limits_hit=(),
        left_behind=0,
        usage=Usage(wall_ms=None, cpu_ms=None, memory_peak_bytes=None, output_bytes=end),
        offset=end,
    )
