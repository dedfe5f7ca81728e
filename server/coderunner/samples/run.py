"""Runs the languages' samples on a server, each in its own session,
and compares the results with the declaration."""

from __future__ import annotations

import asyncio
import time
import unicodedata
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import aiohttp

from coderunner.client.peer import Channel, Peer, Unexpected
from coderunner.client.visit import Visit
from coderunner.core import codec
from coderunner.declarations import Declarations
from coderunner.schema import messages as m
from coderunner.schema.answers import Languages
from coderunner.schema.languages import Check, Language, Repl, Sample

SAMPLE_SECONDS = 90.0  # for a sample to end
OPEN_SECONDS = 120.0  # for a session
READY_SECONDS = 1800.0  # for a language: a server that has just started builds its images first
LOOK_SECONDS = 1.0  # between two looks at a language's status
CHANNEL = 1
STDOUT = 1
REPL = "repl"
SHELL_CHANNEL = 2
LOOK_TEXT = "[ -e {} ] && echo there'is'it || echo not'in'image\r"  # its echo differs from the answer
THERE, MISSING = "thereisit", "notinimage"
WITHOUT_INDEX = "not in this image: built without an index"
WHERE = "\x1b[6n"  # the escape sequence by which a program asks the terminal for the cursor's position
_WIDTHS = (14, 16, 42, 42)  # columns of the table
_TAIL = 2000  # bytes of a failed sample's output that are shown


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a sample. `complaint`: what differs from the declaration, "" if nothing does.
    `milliseconds`: from sending `run` to receiving `exit`, compiling included. `left_out`: the image lacks
    what the sample needs."""

    language: str
    sample: str
    expected: str
    seen: str
    milliseconds: float
    complaint: str = ""
    left_out: bool = False


@dataclass(slots=True)
class _Seen:
    """A program's output by stream, and its `exit`."""

    stdout: bytearray
    stderr: bytearray
    end: m.Exit | None = None


async def perform(visit: Visit, language: Language, sample: Sample, files: Mapping[str, bytes]) -> Outcome:
    """Runs one sample. Errors become part of the outcome."""
    seen = _Seen(bytearray(), bytearray())
    began, trouble, left_out = time.monotonic(), "", False
    try:
        async with visit.session(language.name, patience=OPEN_SECONDS) as peer:
            began = time.monotonic()
            seen.end = (await _run(peer, sample, files, seen)).exit
            spent = time.monotonic() - began
            if sample.needs and not _holds(seen, sample):
                left_out = await _lacks(peer, sample.needs)
    except (Unexpected, OSError, aiohttp.ClientError) as error:
        spent, trouble = time.monotonic() - began, str(error) or type(error).__name__
    expected = _expectation(sample)
    if left_out:
        return Outcome(language.name, sample.name, expected, WITHOUT_INDEX, spent * 1000, left_out=True)
    got = trouble or _told(seen, sample)
    complaint = "" if not trouble and _holds(seen, sample) else _complaint(language, sample, got, seen)
    return Outcome(language.name, sample.name, expected, got, spent * 1000, complaint)


async def _run(peer: Peer, sample: Sample, files: Mapping[str, bytes], seen: _Seen) -> Channel:
    """Runs a sample, and collects its output in `seen`. Raises Unexpected."""

    def keep(frame: codec.OutputFrame) -> None:
        (seen.stdout if frame.stream == STDOUT else seen.stderr).extend(frame.payload)

    peer.on_output = keep
    given = sample.stdin.encode()
    parts = tuple(m.File(path, data) for path, data in files.items())
    await peer.send(m.Run(CHANNEL, "pipe", files=parts, entry=sample.entry, args=sample.args))
    if given:
        await peer.input(CHANNEL, given, offset=0)
    # Also without input: a program that reads would wait endlessly.
    await peer.send(m.Eof(CHANNEL, len(given)))
    return await peer.ended(CHANNEL, SAMPLE_SECONDS)


async def _lacks(peer: Peer, path: str) -> bool:
    """Whether the image has no file at `path`, found out by the session's shell. Raises Unexpected."""
    await peer.send(m.Shell(SHELL_CHANNEL, 80, 24))
    await _told_in_terminal(peer, "$ ", 0, SHELL_CHANNEL)
    await peer.input(SHELL_CHANNEL, LOOK_TEXT.format(path).encode())
    told = peer.channel(SHELL_CHANNEL)
    await peer.wait(
        lambda: THERE in told.text or MISSING in told.text, SAMPLE_SECONDS, "an answer of the shell"
    )
    return MISSING in told.text


async def converse(visit: Visit, language: Language, repl: Repl, files: Mapping[str, bytes]) -> Outcome:
    """Tests a language's prompt: opens it in a workspace with `files`, types `ask` and waits for `answer`."""
    began, seen = time.monotonic(), repl.answer
    parts = tuple(m.File(path, data) for path, data in files.items())
    try:
        async with visit.session(language.name, patience=OPEN_SECONDS, files=parts) as peer:
            began = time.monotonic()
            await peer.send(m.Shell(CHANNEL, 80, 24, repl=True))
            await _told_in_terminal(peer, repl.prompt, 0)
            before = len(peer.channel(CHANNEL).text)  # the greeting may contain the answer by chance
            await peer.input(CHANNEL, repl.ask.encode() + b"\r")
            await _told_in_terminal(peer, repl.answer, before)
    except (Unexpected, OSError, aiohttp.ClientError) as error:
        seen = str(error) or type(error).__name__
    complaint = (
        "" if seen == repl.answer else f"{language.name}/{REPL}: {repl.ask}: {repl.answer} expected, {seen}"
    )
    return Outcome(language.name, REPL, repl.answer, seen, (time.monotonic() - began) * 1000, complaint)


async def _told_in_terminal(peer: Peer, text: str, start: int, channel: int = CHANNEL) -> None:
    """Waits for `text` behind the output's index `start`. Raises Unexpected.

    Answers requests for the cursor's position as a terminal does: some line editors wait for that.
    """
    told = peer.channel(channel)
    answered = told.text[:start].count(WHERE)

    def news() -> bool:
        """Whether there is the text, a request for the cursor's position, or the program's end."""
        return text in told.text[start:] or told.text.count(WHERE) > answered or told.exit is not None

    while text not in told.text[start:]:
        await peer.wait(news, SAMPLE_SECONDS, repr(text))
        if told.exit is not None and text not in told.text[start:]:
            raise Unexpected(f"ended without {text!r}: {told.text[-300:]!r}")
        while answered < told.text.count(WHERE):
            answered += 1
            await peer.input(channel, b"\x1b[1;2R")


def _expectation(sample: Sample) -> str:
    """The expected result, for the table."""
    parts = [sample.expect_reason]
    if sample.expect_code is not None:
        parts.append(str(sample.expect_code))
    if _compares_output(sample):
        parts.append(repr(sample.expect_stdout))
    return " ".join(parts)


def _told(seen: _Seen, sample: Sample) -> str:
    """The seen result in the same form as `_expectation`."""
    assert seen.end is not None
    parts = [seen.end.reason]
    if seen.end.code is not None:
        parts.append(str(seen.end.code))
    if seen.end.signal:
        parts.append(seen.end.signal)
    if _compares_output(sample):
        parts.append(repr(seen.stdout.decode(errors="replace")))
    return " ".join(parts)


def _compares_output(sample: Sample) -> bool:
    """Whether the output is compared. Compilers' messages differ between versions;
    that there are some is enough."""
    return sample.expect_stdout is not None and sample.expect_reason != "compile_failed"


def _holds(seen: _Seen, sample: Sample) -> bool:
    """Whether the result is as declared."""
    assert seen.end is not None
    return (
        seen.end.reason == sample.expect_reason
        and sample.expect_code in (None, seen.end.code)
        and seen.end.limits_hit == ()  # a sample that only just passes would fail on another machine
        and (not _compares_output(sample) or bytes(seen.stdout) == (sample.expect_stdout or "").encode())
        and (sample.expect_reason != "compile_failed" or bool(seen.stdout or seen.stderr))
    )


def _complaint(language: Language, sample: Sample, got: str, seen: _Seen) -> str:
    """What differs from the declaration, with the end of the output."""
    text = f"{language.name}/{sample.name}: expected {_expectation(sample)}, seen {got}"
    if seen.end is not None and seen.end.limits_hit:
        text += f", limits hit: {', '.join(seen.end.limits_hit)}"
    words = (seen.stderr or seen.stdout)[-_TAIL:].decode(errors="replace").rstrip()
    return text + "".join(f"\n    {line}" for line in words.splitlines())


# --- all of them ------------------------------------------------------------------------------------------


async def outcomes(visit: Visit, declared: Declarations, names: Sequence[str]) -> AsyncIterator[Outcome]:
    """Runs every sample of these languages in order, and yields the outcomes. Without names: of all
    languages that the server offers. Raises Unexpected if the server cannot be reached.
    """
    offered = await _offered(visit)
    for name in names or sorted(declared.languages.keys() & offered.keys()):
        language = declared.languages[name]
        problem = await _not_ready(visit, name)
        if problem:
            yield Outcome(name, "", "ready", problem, 0.0, f"{name}: {problem}")
            continue
        files = declared.samples(language)
        for sample in language.samples:
            yield await perform(visit, language, sample, files[sample.name])
        if language.repl is not None:
            yield await converse(visit, language, language.repl, _first(language, files))
        for check_name, check in declared.checks.items():
            for sample, given in _check_runs(check_name, check, name):
                yield await perform(visit, language, sample, given)


def _check_runs(name: str, check: Check, language: str) -> Iterator[tuple[Sample, Mapping[str, bytes]]]:
    """A check's runs in a language, as samples with their files; none if it has no program in it."""
    program = check.programs.get(language)
    for entry, stdout, files in program.runs(check.expect_stdout) if program else ():
        yield Sample(name, name, entry, tuple(files), expect_stdout=stdout), files


def _first(language: Language, files: Mapping[str, Mapping[str, bytes]]) -> Mapping[str, bytes]:
    """The files of the first sample whose entry is the language's default, which its prompt can load."""
    return next((files[sample.name] for sample in language.samples if sample.entry == language.entry), {})


async def _offered(visit: Visit) -> dict[str, tuple[str, str]]:
    """(status, message) of each language that the server offers. Raises Unexpected."""
    try:
        offered = await visit.document("api/languages", Languages)
    except (OSError, aiohttp.ClientError) as error:
        raise Unexpected(f"there is no server at {visit.place}: {error}") from None
    return {row.name: (row.status, row.message) for row in offered.languages}


async def _not_ready(visit: Visit, name: str) -> str:
    """Waits until a language is ready. Returns "", or why it is not."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        status, message = (await _offered(visit)).get(name, ("failed", "not offered by this server"))
        if status == "ready":
            return ""
        if status == "failed" or time.monotonic() > deadline:
            return f"{status}: {message}"
        await asyncio.sleep(LOOK_SECONDS)


# --- the command ------------------------------------------------------------------------------------------


def heading() -> str:
    """The table's header."""
    return "  " + _cells(("language", "sample", "expected", "seen")) + "      ms"


def row(outcome: Outcome) -> str:
    """The table's line for an outcome."""
    cells = (outcome.language, outcome.sample, outcome.expected, outcome.seen)
    return (
        ("! " if outcome.complaint else "- " if outcome.left_out else "  ")
        + _cells(cells)
        + f"{outcome.milliseconds:8.0f}"
    )


def _cells(texts: Iterable[str]) -> str:
    """The texts as cells of the table."""
    return "  ".join(cut(" ".join(text.split()), width) for text, width in zip(texts, _WIDTHS, strict=True))


def cut(text: str, width: int) -> str:
    """Cuts or pads a text to `width` columns of a terminal, in which some characters take two columns."""
    columns = [2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text]
    if sum(columns) > width:
        while sum(columns) > width - 1:
            columns.pop()
        text = text[: len(columns)] + "…"
        columns.append(1)
    return text + " " * (width - sum(columns))


def main(url: str, bearer: str, declared: Declarations, names: Sequence[str]) -> int:
    """Runs the command. Returns 0 if all samples are as declared,
    1 if one differs, 2 if none could be run."""
    try:
        return asyncio.run(_main(url, bearer, declared, names))
    except Unexpected as error:
        print(f"coderunner languages: {error}")
        return 2


async def _main(url: str, bearer: str, declared: Declarations, names: Sequence[str]) -> int:
    """Runs the samples, and prints the table and the complaints. Returns the exit code. Raises Unexpected."""
    began = time.monotonic()
    found: list[Outcome] = []
    async with Visit(url, bearer) as visit:
        print(heading(), flush=True)
        async for outcome in outcomes(visit, declared, names):
            found.append(outcome)
            print(row(outcome), flush=True)
    failed = [one for one in found if one.complaint]
    for one in failed:
        print(one.complaint)
    languages = len({one.language for one in found})
    ran = [one for one in found if not one.left_out]
    left = f", {len(found) - len(ran)} {WITHOUT_INDEX}" if len(ran) < len(found) else ""
    print(
        f"{len(ran) - len(failed)} of {len(ran)} samples of {languages} languages as declared{left},"
        f" in {time.monotonic() - began:.0f} s"
    )
    if not found:
        return 2
    return 1 if failed else 0
