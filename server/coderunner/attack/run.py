"""Carries out cases one after the other, while a bystander measures latencies, and reports the outcomes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import aiohttp

from coderunner.attack import catalogue, gvisor
from coderunner.attack.bystander import Bystander, Echo
from coderunner.attack.case import Case
from coderunner.attack.means import Means, asks
from coderunner.attack.stage import Stage
from coderunner.client.peer import Unexpected
from coderunner.errors import CodeRunnerError

# The longest case waits 47 s for a watchdog's decision.
MAX_SECONDS = 50.0  # of one case; as the others, times the slowness
KNOWN_SECONDS = 10.0  # until a server knows of a new key; it looks every two
SETTLE_SECONDS = 5.0  # for the server to return a case's slots
ECHO_SECONDS = 10.0  # until the bystander's next key is echoed
SHORTEST_SECONDS = 0.12  # of a case: with a key every 20 ms, six echoes are measured
_WIDTHS = (34, 44, 56)  # characters of the table's columns


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a case. `echo`: the bystander's latencies during the case;
    None if no echo came any more."""

    case: Case
    seen: str
    seconds: float
    echo: Echo | None

    @property
    def holds(self) -> bool:
        """Whether the outcome is an expected one, and the bystander's keys were echoed meanwhile."""
        return self.case.holds(self.seen) and self.echo is not None


async def perform(
    case: Case,
    url: str,
    bearer: str,
    bystander: Bystander,
    means: Means | None = None,
    *,
    slowness: float = 1.0,
) -> Result:
    """Carries out one case. Its sessions are closed before this returns, whatever happens. `means`: what the
    operator lends to it. `slowness`: how many times longer it may take."""
    most = MAX_SECONDS * slowness
    # Sessions of real users and of the bystander may be live: they are not the case's.
    before = await _active(url, bearer)
    began = time.monotonic()
    try:
        async with asyncio.timeout(most), Stage(url, bearer, means, slowness=slowness) as stage:
            seen = await case.script(stage)
    except Unexpected as error:
        # Not a failure yet: for some cases the server's refusal is the expected outcome.
        seen = str(error)
    except TimeoutError:
        seen = f"no end in {most:g} s"
    except (OSError, aiohttp.ClientError) as error:
        seen = f"connection failed: {error!r}"
    except (LookupError, ValueError, TypeError) as error:
        # An answer that has not the form that the case reads, as of another server or a proxy: the other
        # cases are to go on.
        seen = f"an answer was not understood: {error!r}"
    if time.monotonic() - began < SHORTEST_SECONDS:
        await asyncio.sleep(SHORTEST_SECONDS)
    ended = time.monotonic()
    await _settle(url, bearer, before, slowness)
    echo = await bystander.between(began, ended, patience=ECHO_SECONDS * slowness)
    return Result(case, seen, ended - began, echo)


async def _active(url: str, bearer: str) -> int:
    """How many sessions hold a slot. Raises aiohttp's errors and OSError."""
    async with Stage(url, bearer) as stage:
        return (await stage.stats()).queue.active


async def _settle(url: str, bearer: str, before: int, slowness: float) -> None:
    """Waits until a case's slots have been returned, as the next case may need them."""
    # Not a failure of this case: if slots are missing, the next case reports it.
    with contextlib.suppress(OSError, aiohttp.ClientError, ValueError, TimeoutError):
        most = SETTLE_SECONDS * slowness
        async with asyncio.timeout(most), Stage(url, bearer, slowness=slowness) as stage:
            await stage.settled(lambda queue: queue.active <= before, SETTLE_SECONDS)


def row(result: Result) -> str:
    """The table's line for a result."""
    expected = " or ".join(result.case.expected)
    mark = "  " if result.holds else "! "  # for searching a long table
    cells = [
        _cut(text, width)
        for text, width in zip((result.case.name, expected, result.seen), _WIDTHS, strict=True)
    ]
    return mark + "  ".join(cells) + "  " + _latency(result.echo)


def heading() -> str:
    """The table's header."""
    names = ("case", "expected", "seen")
    return (
        "  "
        + "  ".join(_cut(name, width) for name, width in zip(names, _WIDTHS, strict=True))
        + "  echo p50/p99 ms"
    )


def _latency(echo: Echo | None) -> str:
    """The last column of the table: milliseconds."""
    return f"{echo.p50:6.1f} /{echo.p99:7.1f}" if echo else "none came"


def _cut(text: str, width: int) -> str:
    """A text on one line of exactly `width` characters."""
    text = " ".join(text.split())
    return (text if len(text) <= width else text[: width - 1] + "…").ljust(width)


def summary(results: Sequence[Result]) -> Iterable[str]:
    """Yields lines: failed cases in full, then the totals and the slowest echoes."""
    for one in results:
        if not one.holds:
            expected = " or ".join(one.case.expected)
            yield f"{one.case.name} ({one.case.attacks}): expected {expected!r}, seen {one.seen!r}"
            if one.echo is None:
                yield f"{one.case.name}: the bystander's echo stopped"
    worst = sorted((one for one in results if one.echo), key=lambda one: -(one.echo.p99 if one.echo else 0))[
        :5
    ]
    held = sum(one.holds for one in results)
    yield f"{held} of {len(results)} as expected in {sum(one.seconds for one in results):.0f} s"
    yield "slowest echoes (p99): " + ", ".join(
        f"{one.case.name} {one.echo.p99:.0f} ms" for one in worst if one.echo
    )


def main(
    url: str,
    bearer: str,
    names: Sequence[str],
    *,
    listing: bool = False,
    means: Means | None = None,
    slowness: float = 1.0,
) -> int:
    """Runs the command. `names`: patterns of cases. `means`: what the operator lends to them. `slowness`: how
    many times longer cases, and their programs, may take. Returns 0 if all passed, 1 if one failed, 2 if
    there is no session.

    Raises CodeRunnerError for a name that matches no case.
    """
    for name in names:
        if not catalogue.cases([name]):
            raise CodeRunnerError(f"no case is named {name}; see coderunner attack --list")
    chosen = catalogue.cases(names)
    if listing:
        for case in chosen:
            print(f"{case.group:<12} {case.name:<36} {case.attacks}")
        return 0
    try:
        with Bystander(url, bearer, slowness=slowness) as bystander:
            results = asyncio.run(_all(chosen, url, bearer, bystander, means, slowness))
    except Unexpected as error:
        print(f"coderunner attack: {error}")
        return 2
    for line in summary(results):
        print(line)
    # 2 is apart, so that CI can tell a failed case from a server that cannot be attacked.
    return 0 if all(one.holds for one in results) else 1


async def known(url: str, means: Means, slowness: float = 1.0) -> None:
    """Waits until the server has read the keys. Raises Unexpected if it does not."""
    deadline = time.monotonic() + KNOWN_SECONDS * slowness
    async with Stage(url) as stage:
        while (await asks(stage, means.spare, "api/identity")).status != 200:
            if time.monotonic() > deadline:
                raise Unexpected("this server does not know the keys that were made: has it other settings?")
            await asyncio.sleep(0.5)  # a refused request counts as ten


async def _all(
    chosen: Sequence[Case],
    url: str,
    bearer: str,
    bystander: Bystander,
    means: Means | None,
    slowness: float,
) -> list[Result]:
    """Carries out the cases and prints a line for each. Raises Unexpected if the keys are not known."""
    if means is not None:
        await known(url, means, slowness)
    chosen = await gvisor.fitted(chosen, url, bearer)
    print(heading(), flush=True)
    results = []
    for case in chosen:
        results.append(await perform(case, url, bearer, bystander, means, slowness=slowness))
        print(row(results[-1]), flush=True)
    return results
