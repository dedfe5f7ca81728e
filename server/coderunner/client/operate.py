"""The operator's commands: `ps`, `notice`, `kill`, `drain`, `resume`, `report`, `loadtest`."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from coderunner.client.credential import unusable
from coderunner.client.patience import FIRST_SECONDS, Away, Patience, is_own
from coderunner.client.refused import Refused, printable
from coderunner.schema import admin as a
from coderunner.schema.api import Problem
from coderunner.schema.forms import UNIX

T = TypeVar("T")
SECONDS = 30.0  # for an answer
CSV = "text/csv"  # of a report
POLL_SECONDS = 1.0  # between two looks at a load test
# 2 as argparse has it; 75 is EX_TEMPFAIL of sysexits.h.
FAILED, WRONG_USE, TRY_AGAIN = 1, 2, 75


class Operator:
    """Requests to the operator's routes, as an async context manager. `url`: the server's address, or `unix:`
    and a path. `key`: the credential, "" without one."""

    def __init__(self, url: str, key: str) -> None:
        self.place = url
        self.reached = False
        self._socket = url.removeprefix(UNIX) if url.startswith(UNIX) else None
        base = "http://localhost/" if self._socket is not None else url
        self._url = base if base.endswith("/") else base + "/"
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def __aenter__(self) -> Operator:
        connector = aiohttp.UnixConnector(self._socket) if self._socket is not None else None
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        self._http = aiohttp.ClientSession(connector=connector, headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def text(self, method: str, path: str, body: msgspec.Struct | None = None) -> str:
        """Sends a request to a route below `/api/admin/`, and returns the text of the answer. Raises
        Refused."""
        data = None if body is None else msgspec.json.encode(body)
        url = f"{self._url}api/admin/{path}"
        patience = Patience(self, FIRST_SECONDS)
        while True:
            error: Exception
            try:
                async with self._http.request(method, url, data=data, allow_redirects=False) as answer:
                    status, text = answer.status, await answer.text(errors="replace")
                if status < 300 and (is_own(status, text) or answer.content_type == CSV):
                    self.reached = True
                    return text
                if is_own(status, text):
                    self.reached = True
                    problem = msgspec.json.decode(text, type=Problem)
                    raise Refused(problem.detail, retryable=problem.retryable)
                error = Away(self.place, status, text)
            except msgspec.DecodeError:
                raise Refused(f"no CodeRunner answers at {self.place}") from None
            except (aiohttp.ClientError, OSError, TimeoutError) as failure:
                error = failure
            if method == "POST" and not _never_sent(error):  # it may have been done
                raise patience.refused(error)
            await patience.wait(error)

    async def ask(
        self, kind: type[T], method: str, path: str, body: msgspec.Struct | None = None
    ) -> tuple[T, str]:
        """As `text`; returns the answer as its model, and as it was sent. Raises Refused."""
        text = await self.text(method, path, body)
        try:
            return msgspec.json.decode(text, type=kind), text
        except msgspec.DecodeError:
            raise Refused(f"no CodeRunner answers at {self.place}") from None


def _never_sent(error: Exception) -> bool:
    """Whether no server can have seen the request that ended so."""
    status = error.status if isinstance(error, Away) else 0
    return isinstance(error, aiohttp.ClientConnectorError) or status in (502, 503)


def main(arguments: argparse.Namespace, url: str, key: str) -> int:
    """Runs a command. Returns 0, or FAILED, WRONG_USE or TRY_AGAIN."""
    if problem := unusable(url, key):
        print(f"coderunner: {printable(problem)}", file=sys.stderr)
        return WRONG_USE
    try:
        return asyncio.run(_main(arguments, url, key))
    except Refused as error:
        print(f"coderunner: {printable(str(error))}", file=sys.stderr)
        return TRY_AGAIN if error.retryable else FAILED
    except ValueError as error:  # of a model: what was typed
        print(f"coderunner: {error}", file=sys.stderr)
        return WRONG_USE


async def _main(arguments: argparse.Namespace, url: str, key: str) -> int:
    """Runs the command, and returns the exit code. Raises Refused, ValueError."""
    async with Operator(url, key) as operator:
        match arguments.command:
            case "ps":
                await _ps(operator, arguments)
            case "report":
                text = await operator.text("GET", f"report?days={arguments.days}")
                print(_as_json(text) if arguments.json else text.replace("\r\n", "\n"), end="")
            case "loadtest":
                return await _loadtest(operator, arguments)
            case _:
                await _change(operator, arguments)
    return 0


async def _ps(operator: Operator, arguments: argparse.Namespace) -> None:
    """`ps`: prints the live sessions as a table, or with `--json` as they were sent."""
    found, text = await operator.ask(a.LiveSessions, "GET", "sessions")
    if arguments.json:
        print(text)
        return
    head = ["SESSION", "OWNER", "ROOM", "LANGUAGE", "STATE", "AGE", "CPU", "MEMORY", "OUTPUT", "CLIENTS"]
    head.append("GROUP")
    rows = [head, *(_row(one) for one in found.sessions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _row(one: a.LiveSession) -> list[str]:
    """The cells of a session. Control characters are removed, as names come from users."""
    cpu = "?" if one.cpu_percent is None else f"{one.cpu_percent:.0f}%"
    rate = "?" if one.output_rate is None else f"{_size(one.output_rate)}/s"
    memory = "?" if one.memory_bytes is None else _size(one.memory_bytes)
    owner = one.owner or one.address
    clients = f"{one.attachments}{' +operator' if one.watched else ''}"
    cells = [one.session, owner, one.room or "-", one.language, one.state, _age(one.age_s), cpu, memory, rate]
    return ["".join(c for c in cell if c.isprintable()) for cell in [*cells, clients, one.group or "-"]]


def _size(count: float) -> str:
    """Bytes in short, with a suffix that is a power of 1024."""
    for unit in ("B", "K", "M"):
        if count < 1000:
            return f"{count:.0f}{unit}"
        count /= 1024
    return f"{count:.1f}G"


def _age(seconds: int) -> str:
    """A duration as `1h02m` or `3m04s`."""
    hours, rest = divmod(seconds, 3600)
    return f"{hours}h{rest // 60:02d}m" if hours else f"{rest // 60}m{rest % 60:02d}s"


async def _change(operator: Operator, arguments: argparse.Namespace) -> None:
    """`notice`, `kill`, `drain` and `resume`. Raises Refused; ValueError for a text that cannot be sent."""
    command = arguments.command
    if command in ("drain", "resume"):
        done, text = await operator.ask(a.Draining, "PUT", "draining", a.SetDraining(command == "drain"))
        words = "no new sessions are taken" if done.draining else "new sessions are taken"
        told = f"{words}; {done.sessions} live"
    elif command == "notice":
        path = f"sessions/{quote(arguments.session, safe='')}/notice"
        sent, text = await operator.ask(a.Noticed, "POST", path, a.SendNotice(" ".join(arguments.text)))
        told = f"{sent.session}: sent to {sent.attachments}"
    else:
        path = f"sessions/{quote(arguments.session, safe='')}/end"
        ended, text = await operator.ask(a.Ended, "POST", path, a.EndSession(arguments.reason))
        told = f"{ended.session}: ended"
    print(text if arguments.json else told)


# --- load tests -------------------------------------------------------------------------------------------


async def _loadtest(operator: Operator, arguments: argparse.Namespace) -> int:
    """`loadtest`: starts a load test, shows its progress until it ends, and prints the report. Returns the
    exit code."""
    wanted = a.StartLoadTest(arguments.sessions, arguments.seconds, arguments.language)
    test, text = await operator.ask(a.LoadTest, "POST", "load-tests", wanted)
    loop, work = asyncio.get_running_loop(), asyncio.current_task()
    assert work is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    try:
        while test.state == "running":
            await asyncio.sleep(POLL_SECONDS)
            test, text = await operator.ask(a.LoadTest, "GET", f"load-tests/{test.id}")
            if sys.stderr.isatty():
                made = test.figures
                line = f"{test.progress:4.0%}  {made.sessions} sessions, {made.runs} runs"
                line += f", {made.waiting} of {test.sessions} wait for places" * bool(made.waiting)
                print("\r" + line.ljust(70), end="", file=sys.stderr, flush=True)
    except asyncio.CancelledError:  # by a signal: the test, which runs on the server, is ended as well
        test, text = await operator.ask(a.LoadTest, "DELETE", f"load-tests/{test.id}")
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(text if arguments.json else printable("\n".join(_report(test))))
    return 0 if test.state == "done" and not test.figures.errors else FAILED


def _report(test: a.LoadTest) -> list[str]:
    """The lines of a load test's report."""
    made = test.figures
    lines = [f"{test.state}: {test.sessions} at one time for {test.seconds} s, {test.language}"]
    lines += [test.message] * bool(test.message)
    lines.append(f"{made.sessions} sessions, {made.runs} runs, {made.keys} keys")
    lines.append(f"{'':<12}{'p50':>10}{'p95':>10}  ms")
    for title, times in (("open", made.open), ("first byte", made.first_byte), ("echo", made.echo)):
        cells = ("-" if value is None else f"{value:.1f}" for value in (times.p50, times.p95))
        lines.append(f"{title:<12}" + "".join(f"{cell:>10}" for cell in cells))
    lines += [f"error {kind}: {count}" for kind, count in sorted(made.errors.items())]
    return lines


def _as_json(text: str) -> str:
    """The lines of a CSV of numbers as JSON."""
    head, *rows = (line.split(",") for line in text.splitlines())
    return json.dumps([dict(zip(head, _numbers(row), strict=True)) for row in rows]) + "\n"


def _numbers(row: Sequence[str]) -> list[Any]:
    """The cells of a line of CSV, as numbers where they are any; None for an empty one."""
    found: list[Any] = []
    for cell in row:
        try:
            found.append(float(cell) if "." in cell else int(cell))
        except ValueError:
            found.append(cell or None)
    return found
