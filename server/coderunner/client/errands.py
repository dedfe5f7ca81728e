"""`coderunner cp`, `batch` and `login`: the commands that show no program in this terminal."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import getpass
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from coderunner.client import copying, grading
from coderunner.client.asking import got
from coderunner.client.credential import readable
from coderunner.client.kept import Kept, Login
from coderunner.client.line import Place
from coderunner.client.refused import Refused, printable, refusal
from coderunner.client.rest import PatientRest
from coderunner.client.visit import Visit

PASSED, NOT_PASSED = 0, 1
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
Command = Callable[[Visit, argparse.Namespace], Awaitable[int]]


@contextlib.contextmanager
def progress(total: int | None, unit: str, *, shown: bool) -> Iterator[Callable[[], None]]:
    """Yields a function to be called after each step. With `shown` a bar on standard error shows the
    progress. `total`: the number of steps, None if it is not known."""
    if not shown:
        yield lambda: None
        return
    from tqdm import tqdm  # here, as no other command needs it

    with tqdm(total=total, unit=unit, file=sys.stderr, leave=False) as bar:

        def step() -> None:
            bar.update()

        yield step


async def copy(visit: Visit, arguments: argparse.Namespace) -> int:
    """`cp`: copies files from or to a session. Exactly one of the two places is in it, as `SESSION:PATH`.
    Raises Refused, OSError."""
    kept: Kept = arguments.kept
    rest = PatientRest(visit, visit.url, Place(kept.session, kept.token), visit.http)
    with progress(None, " files", shown=os.isatty(2)) as step:
        if arguments.up:
            await copying.upload(rest, Path(arguments.source), arguments.inner, lambda _: step())
        else:
            await copying.download(rest, arguments.inner, Path(arguments.target), lambda _: step())
    return 0


async def batch(visit: Visit, arguments: argparse.Namespace) -> int:
    """`batch`: prints each verdict on a line, or with `--json` the whole answer. Returns PASSED if all cases
    passed, else NOT_PASSED, or 128 and the number of a signal that ended it. Raises Refused, OSError."""
    document = grading.request_of(arguments.file)
    cases = document.get("cases")
    total = len(cases) if isinstance(cases, list) else 0
    # Where the verdicts are printed on the terminal, they show the progress.
    bar = os.isatty(2) and (arguments.json or not os.isatty(1))
    with progress(total, " cases", shown=bar) as step:

        def told(verdict: dict[str, Any]) -> None:
            """Prints a verdict as it comes."""
            step()
            if not arguments.json:
                print(line_of(verdict), flush=True)

        begun, words = asyncio.Event(), ""

        def waits(sentence: str) -> None:
            """Tells once why it waits."""
            nonlocal words
            if sentence != words:
                print(f"coderunner: {printable(sentence)}", file=sys.stderr, flush=True)
            words = sentence

        graded = grading.grade(visit, document, told, begun=begun.set, said=waits)
        work = asyncio.create_task(graded, name="batch")
        with ending(work) as ended:
            try:
                answer = await work
            except asyncio.CancelledError:
                if not ended:
                    raise
                how = "the batch was cancelled" if begun.is_set() else "ended before the batch began"
                print(f"coderunner: {how}", file=sys.stderr)
                return 128 + ended[0]
    if arguments.json:
        print(json.dumps(answer))
    else:
        compiled = answer.get("compile") or {}
        if compiled.get("failed"):
            said = compiled.get("stderr") or compiled.get("output") or ""
            print(printable(said.expandtabs()), file=sys.stderr, end="")
        counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in answer["counts"].items())
        print(f"{answer['passed']} of {total} passed ({counts})")
    return PASSED if answer["passed"] == total else NOT_PASSED


@contextlib.contextmanager
def ending(task: asyncio.Task[Any]) -> Iterator[list[int]]:
    """Within the block, signals that end a command cancel `task` instead. Yields a list, to which their
    numbers are added."""
    loop, ended = asyncio.get_running_loop(), list[int]()

    def end(number: int) -> None:
        """A signal: notes its number, and cancels the task."""
        ended.append(number)
        task.cancel()

    for number in ENDING:
        loop.add_signal_handler(number, end, number)
    try:
        yield ended
    finally:
        for number in ENDING:
            loop.remove_signal_handler(number)


def line_of(verdict: dict[str, Any]) -> str:
    """A verdict on one line. A checker's message may repeat what the program has printed, so characters that
    would move the terminal or begin another line are replaced."""
    usage = verdict.get("usage") or {}
    taken = f"{usage['wall_ms']} ms" if usage.get("wall_ms") is not None else ""
    name = verdict.get("name") or str(verdict["index"])
    parts = (name, verdict["verdict"], taken, verdict.get("message") or "")
    return "\t".join(printable(" ".join(part.split())) for part in parts).rstrip()


async def login(visit: Visit, arguments: argparse.Namespace) -> int:
    """`login`: stores the server and the key, after the server has accepted the key. Raises Refused,
    OSError."""
    given = arguments.bearer
    if not given and os.isatty(0):
        given = getpass.getpass(f"key for {visit.place} (empty for none): ")
    elif not given:
        given = sys.stdin.readline()
    visit.bearer = given.strip()
    if visit.bearer and readable(visit.place) and not arguments.plain_http:
        raise Refused(
            f"the key would go to {visit.place} in plain text, for everybody on the way to read: use https://,"
            " or --plain-http if you know who is on the way"
        )
    status, text = await got(visit, "api/identity")
    if status != 200:
        raise refusal(visit.place, status, text)
    try:
        who = json.loads(text)
    except ValueError:
        raise Refused(f"no CodeRunner answers at {visit.place}") from None
    arguments.store.log_in(Login(visit.place, visit.bearer))
    name = who.get("name") or who.get("subject") or "an anonymous caller"
    print(f"{visit.place}: you are {printable(str(name))}; kept in {arguments.store.login_file}")
    return 0


OTHERS: dict[str, Command] = {"cp": copy, "batch": batch, "login": login}
"""The commands by their names."""
