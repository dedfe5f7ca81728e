"""Makes the `exit` message from an agent's evidence of a program's end, by the rules of `core.lifecycle`."""

from __future__ import annotations

from msgspec.structs import replace

from coderunner.core import lifecycle
from coderunner.core.lifecycle import Intent
from coderunner.schema.messages import Exit, Usage
from coderunner.sessions.channel import Channel


def exit_message(channel: Channel, evidence: object, *, others: bool) -> Exit:
    """The exit message of a program that has ended.

    ``evidence``: as the agent sent it.  ``others``: the kernel's count of memory kills may mean another
    channel.
    """
    # The end of the container loses nothing of this: what is counted later belongs to other channels.
    intent = Intent(channel.intent) if channel.intent else None
    report = lifecycle.read_report(evidence, intent=intent, others=others)
    verdict = lifecycle.judge(report.evidence)
    channel.unexplained_kill = lifecycle.qualifies_for_oom(report.evidence)
    channel.thrashed = report.evidence.thrashed
    # The agent reports the end of output with the exit; without it (a lost agent), what arrived counts.
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
        compile_usage=report.compile_usage,
    )


def lost(channel: Channel, *, out_of_memory: bool = False, others: bool = False) -> Exit:
    """The exit message of a program whose end was not seen, as the container is gone or was condemned.

    ``out_of_memory``: the engine says that the container ended because its memory was used up.  ``others``:
    other programs ran in it, too."""
    why, hit = ("oom", ("memory",)) if out_of_memory else ("engine_lost", ())
    end = channel.end if channel.end is not None else channel.cache.end
    return Exit(
        channel=channel.number,
        code=None,
        signal=None,
        # A kill that was asked for is the reason, even if the container was lost before it was confirmed.
        reason=channel.intent or why,
        limits_hit=hit,
        left_behind=0,
        usage=Usage(wall_ms=None, cpu_ms=None, memory_peak_bytes=None, output_bytes=end),
        offset=end,
        shared=out_of_memory and others,
    )
