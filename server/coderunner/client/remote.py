"""`coderunner run`, `shell`, `attach` and `watch`: programs on a server, in this terminal or pipe."""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path, PurePath
from typing import Any

import aiohttp

from coderunner.client import terminal
from coderunner.client.asking import asked, languages_of
from coderunner.client.copying import bring_files, divided
from coderunner.client.credential import unusable
from coderunner.client.errands import OTHERS, ending
from coderunner.client.kept import Kept, Store
from coderunner.client.line import Place
from coderunner.client.live import CHANNEL, Live
from coderunner.client.patience import Away
from coderunner.client.peer import Unexpected
from coderunner.client.refused import Refused, check_names, printable, refusal
from coderunner.client.rest import Rest
from coderunner.client.visit import Visit
from coderunner.schema import messages as m
from coderunner.schema.answers import LanguageView
from coderunner.wire.journal import STDERR

WRONG_USE = 2  # as argparse has it
FAILED = 255  # exit code where it is not the program's, as ssh has it
TRY_AGAIN = 75  # the same, where the same command may succeed later (EX_TEMPFAIL of sysexits.h)
DETACHED = -1  # no exit code: the session goes on without this command
WORDS = ("language", "stdin", "source", "target", "room")  # of the command line, as far as a command has them
STDIN = 0
MOST_BYTES = 16 * 1024 * 1024  # of all files together


def main(arguments: argparse.Namespace, url: str) -> int:
    """Runs the command; the exit code is the program's, 128 and the signal's number where one ended it."""
    terminal.complete()
    given = vars(arguments)
    words = [*(given.get("files") or ()), *(given.get("args") or ())]
    words += [str(given.get(name) or "") for name in WORDS]  # some are paths
    if problem := unusable(url, arguments.bearer, words):
        _say(problem)
        return WRONG_USE
    try:
        return asyncio.run(_main(arguments, url))
    except (Refused, Away) as error:
        refused = error.refused if isinstance(error, Away) else error
        _say(str(refused))
        return TRY_AGAIN if refused.retryable else FAILED
    # As a shell reports a program that a closed pipe has ended.
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except (Unexpected, OSError, TimeoutError, aiohttp.ClientError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            _say(f"{error.filename}: {error.strerror}")
        else:
            _say(str(error) or type(error).__name__)
        return FAILED
    except asyncio.CancelledError:  # a signal while the session was being ended
        return 128 + signal.SIGTERM


def refuse(why: str, code: int) -> int:
    """Says why a command is not done, and returns its exit code."""
    _say(why)
    return code


def _say(text: str, *, before: str = "", after: str = "") -> None:
    """Prints a line on standard error. `before`, `after`: around it, for a terminal in raw mode."""
    # What a server or a session's files are called may move the terminal, or set its title.
    text = printable(text)
    # Not by `print`: standard error may have been closed, and the terminal may be gone.
    with contextlib.suppress(OSError):
        os.write(2, f"{before}coderunner: {text}{after}\n".encode(errors="replace"))


async def _main(arguments: argparse.Namespace, url: str) -> int:
    """Runs the command. Returns the exit code; raises Refused and others as `main` handles them."""
    async with Visit(url, arguments.bearer) as visit:
        if arguments.command in OTHERS:
            return await OTHERS[arguments.command](visit, arguments)
        if arguments.command in ("attach", "watch"):
            return await _reattach(visit, arguments)
        if arguments.command == "shell":
            # Both: typed keys and the shown screen belong together.
            if not (os.isatty(0) and os.isatty(1)):
                raise Refused("a shell needs a terminal; `coderunner run` runs a program through pipes")
            wanted = {arguments.named, arguments.language} - {None}
            if len(wanted) > 1:
                raise Refused(f"name one language, not {' and '.join(sorted(wanted))}")
            language = _chosen(await languages_of(visit), *(wanted or {None})).name
            return await _follow(visit, language, lambda: _shell(arguments), True, store=arguments.store)
        found, named, given = await asyncio.to_thread(_files, arguments)
        language, entry = await _language(visit, arguments.language, found, named)
        files = [m.File(path or entry, data) for path, data in found.items()]
        if arguments.json:
            return await _answer(visit, arguments, language, entry, files, given)
        terminals = given is None and os.isatty(0) and os.isatty(1)
        sent, large = divided(files)

        async def bring(place: Place) -> None:
            await bring_files(Rest(visit.url, place, visit.http), large)

        return await _follow(
            visit, language, lambda: _run(arguments, entry, sent, terminals), terminals, given,
            store=arguments.store, bring=bring if large else None,
        )  # fmt: skip


async def _reattach(visit: Visit, arguments: argparse.Namespace) -> int:
    """`attach` and `watch`: shows what runs in a session that another command began."""
    kept: Kept = arguments.kept
    watches = arguments.command == "watch"
    terminals = os.isatty(0) and os.isatty(1)
    if not (watches or terminals):
        raise Refused("a session is attached to a terminal; `coderunner watch` shows it in a pipe")

    def no_start() -> m.Shell:
        raise Refused("the session is over")

    place = Place(kept.session, kept.token)
    return await _follow(
        visit, kept.language, no_start, terminals, store=arguments.store, place=place, watches=watches
    )


# --- what is sent --------------------------------------------------------------------------------------


def _shell(arguments: argparse.Namespace) -> m.Shell:
    """The message that starts a shell, with the present size of the terminal."""
    cols, rows = terminal.size()
    return m.Shell(CHANNEL, cols, rows, repl=arguments.repl)


def _run(arguments: argparse.Namespace, entry: str, files: Sequence[m.File], terminals: bool) -> m.Run:
    """The message that starts a program. `terminals`: whether it gets a terminal, with the present size."""
    cols, rows = terminal.size() if terminals else (None, None)
    mode = "tty" if terminals else "pipe"
    return m.Run(
        CHANNEL, mode, files=tuple(files), entry=entry, args=tuple(arguments.args), cols=cols, rows=rows
    )


def _files(arguments: argparse.Namespace) -> tuple[dict[str, bytes], str | None, bytes | None]:
    """The files to send by their paths, the path of the one to run, and its standard input. The path is "" if
    it is read from standard input, and None if a folder was named. The input is None if it is this command's
    own. Raises Refused, OSError."""
    found: dict[str, bytes] = {}
    given = _content(arguments.stdin, 0) if arguments.stdin is not None else None
    entry: str | None = ""
    for number, name in enumerate(arguments.files):
        path = Path(name)
        outside = path.is_absolute() or ".." in path.parts
        if name == "-":
            found[""] = _content(STDIN, sum(map(len, found.values())))
            given = b"" if given is None else given
        elif path.is_dir():
            # A folder that comes first is the project itself; of others the paths remain.
            for one in sorted(path.rglob("*")):
                within = one.relative_to(path)
                # Hidden files are left out: .git, .venv and .env are large, or secret.
                if one.is_file() and not any(part.startswith(".") for part in within.parts):
                    told = within if not number or outside else one
                    found[told.as_posix()] = _content(one, sum(map(len, found.values())))
        else:
            told = Path(path.name) if outside else path
            found[told.as_posix()] = _content(path, sum(map(len, found.values())))
        if not number:
            entry = None if path.is_dir() else next(iter(found))
    if not found:
        raise Refused("there is no file to run")
    check_names(found)
    return found, entry, given


def _content(path: Path | int, besides: int) -> bytes:
    """The content of a file, or of STDIN. `besides`: bytes of those that were read before it. Raises Refused,
    OSError."""
    with open(path, "rb", closefd=path != STDIN) as file:
        data = file.read(MOST_BYTES + 1 - besides)
    if len(data) + besides > MOST_BYTES:
        name = "standard input" if path == STDIN else path
        raise Refused(f"{name} is too much: {MOST_BYTES >> 20} MiB in all can be sent")
    return data


def _chosen(rows: Sequence[LanguageView], wanted: str | None) -> LanguageView:
    """The language of this name; the first one without a name. Raises Refused."""
    for row in rows:
        if wanted in (None, row.name):
            return row
    names = ", ".join(sorted(row.name for row in rows))
    raise Refused(f"the server has no language {wanted!r}; it has {names or 'none'}")


async def _language(
    visit: Visit, wanted: str | None, files: dict[str, bytes], entry: str | None
) -> tuple[str, str]:
    """The language of the program and the path of its entry. Raises Refused."""
    rows = await languages_of(visit)
    if wanted is None:
        ending = PurePath(entry or "").suffix.lower()
        rows = [row for row in rows if (row.entry in files if entry is None else ending in row.extensions)]
        if not rows:
            raise Refused(
                f"the language of {entry or 'this'} is not known by its name: give it with --language"
            )
    row = _chosen(rows, wanted)
    return row.name, entry or row.entry


# --- following it --------------------------------------------------------------------------------------


async def _follow(
    visit: Visit,
    language: str,
    start: Callable[[], m.Run | m.Shell],
    terminals: bool,
    given: bytes | None = None,
    *,
    store: Store,
    place: Place | None = None,
    watches: bool = False,
    bring: Callable[[Place], Awaitable[None]] | None = None,
) -> int:
    """Shows a program in this terminal or pipe until it ends, or the user leaves it. `terminals`: whether it
    has a terminal. `given`: its whole input, None for standard input. `place`: the session, None to open one.
    `watches`: sends no input. Returns the exit code."""
    raw, last = False, ""
    suspend: Callable[[], None] | None = None
    continued: set[asyncio.Task[None]] = set()

    def told(words: str) -> None:
        """Shows the state of the connection: in the window's title while the terminal is in raw mode, else on
        standard error."""
        nonlocal last
        if words and not raw and words != last:
            _say(words)
        elif raw:
            terminal.title(words)
        last = words

    def noticed(words: str) -> None:
        # In raw mode the terminal does not return to the line's begin by itself.
        _say(words.replace("\n", " "), before="\r\n" if raw else "", after="\r" if raw else "")

    def stopped() -> None:
        """The program was stopped in its terminal, as by Ctrl-Z: stops this command, too."""
        if suspend is not None:
            suspend()  # as a program that runs here: until its user's shell continues it
            task = asyncio.create_task(_continue_program(live))
            continued.add(task)
            task.add_done_callback(continued.discard)

    def begun(found: Place) -> None:
        """Stores the session's token, with which `attach` and `watch` find it."""
        store.keep(Kept(found.session, found.token, visit.place, language))

    role = "watch" if watches else None
    live = Live(
        visit, language, start, told, place=place, role=role, begun=begun, noticed=noticed,
        stopped=stopped, bring=bring,
    )  # fmt: skip
    ended: list[int] = []
    detached = False
    with contextlib.ExitStack() as stack:
        stack.callback(_signals(live, terminals, ended))
        if terminals:
            found = stack.enter_context(terminal.raw())
            raw, suspend = True, None if watches else found
        if place is not None and terminals and not watches:
            await live.resize(*terminal.size())
        typing = asyncio.create_task(_type(live, terminals, given, watches=watches), name="typing")
        showing = asyncio.create_task(_show(live), name="showing")
        try:
            await asyncio.wait((showing, typing), return_when=asyncio.FIRST_COMPLETED)
            if not showing.done() and (code := typing.result()) is not None:
                detached = code == DETACHED
                return 0 if detached else code
            await showing
        except asyncio.CancelledError:
            if not ended:
                raise
            return 128 + ended[0]
        finally:
            for task in (typing, showing, *continued):
                task.cancel()
            await asyncio.gather(typing, showing, *continued, return_exceptions=True)
            await live.leave()
            # A session that another command began, and that was not reached, is not this one's to end.
            left = detached or watches or (place is not None and not live.reached)
            if live.place is not None and left:
                visit.leave(live.place.session)
                if live.over:
                    store.forget(live.place.session)
            elif live.place is not None:
                visit.own(live.place)
                store.forget(live.place.session)
            if detached and live.place is not None:
                stack.close()  # the message is printed in the restored terminal
                _say(f"detached; `coderunner attach {live.place.session}` goes on")
    end = live.exit
    assert end is not None
    for hint in end.hints:
        _say(hint)
    return _code(end.reason, end.code, end.signal)


async def _continue_program(live: Live) -> None:
    """Continues a program that was stopped with this command."""
    await live.resize(*terminal.size())  # which may have changed meanwhile
    await live.signal("CONT")


def _signals(live: Live, terminals: bool, ended: list[int]) -> Callable[[], None]:
    """Handles signals until the function that is returned is called. Those that end this command are noted
    in `ended`, and cancel the current task."""
    loop, work = asyncio.get_running_loop(), asyncio.current_task()
    assert work is not None
    tasks: set[asyncio.Task[None]] = set()

    def stop(number: int) -> None:
        """A signal that ends this command."""
        ended.append(number)
        work.cancel()

    def later(done: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(done)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def interrupt() -> None:
        """Ctrl-C, which is for the program where it can be reached."""
        if live.reachable:
            later(live.signal("INT"))
        else:  # in the queue, or the server is away
            stop(signal.SIGINT)

    handled = [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
    for number in handled:
        loop.add_signal_handler(number, stop, number)
    # In raw mode Ctrl-C is a byte of input, and no signal.
    if terminals:
        handled.append(signal.SIGWINCH)
        loop.add_signal_handler(signal.SIGWINCH, lambda: later(live.resize(*terminal.size())))
    else:
        handled.append(signal.SIGINT)
        loop.add_signal_handler(signal.SIGINT, interrupt)

    def restore() -> None:
        for number in handled:
            loop.remove_signal_handler(number)

    return restore


async def _type(live: Live, terminals: bool, given: bytes | None, *, watches: bool = False) -> int | None:
    """Sends standard input. The exit code where the user has typed the escape, or the terminal is gone;
    DETACHED if the session is to go on. `watches`: nothing is sent."""
    if given is not None:
        for begin in range(0, len(given), terminal.PIECE):
            await live.type(given[begin : begin + terminal.PIECE])
        await live.end_input()
        return None
    keys, reader = terminal.Keys(), terminal.Input(STDIN)
    while data := await reader.read():
        escaped = 0
        if watches:
            # In raw mode Ctrl-C and q come as bytes: a watcher has nothing else to type.
            escaped = terminal.DETACH if data in (b"\x03", b"q") else keys.read(data)[1]
        elif terminals:
            data, escaped = keys.read(data)
        if not watches:
            await live.type(data)
        if escaped:
            return DETACHED if escaped == terminal.DETACH and not watches else 0
    if watches:
        await asyncio.Event().wait()  # a pipe that is at its end does not end the watching
    if terminals:  # the end of a terminal's input is a hang-up, as for a program that runs here
        return 128 + signal.SIGHUP
    await live.end_input()
    return None


async def _show(live: Live) -> None:
    """Writes the program's output to standard output and standard error."""
    async with contextlib.aclosing(live.output()) as output:
        async for piece in output:
            await terminal.written(2 if piece.stream == STDERR else 1, piece.data)


def _code(reason: str, code: int | None, name: str | None) -> int:
    """The exit code for how a program ended; tells on standard error what the code does not."""
    if reason not in ("exited", "signaled", "compile_failed"):
        _say(f"the program was ended: {reason.replace('_', ' ')}")
    if code is not None:
        return code
    known = getattr(signal, f"SIG{(name or '').removeprefix('SIG')}", None)
    return FAILED if known is None else 128 + int(known)


async def _answer(
    visit: Visit,
    arguments: argparse.Namespace,
    language: str,
    entry: str,
    files: Sequence[m.File],
    given: bytes | None,
) -> int:
    """Prints the answer of `POST /api/run` as JSON. A lost connection does not run the program again; signals
    that end the command cancel the run."""
    if given is None:
        given = b"" if os.isatty(STDIN) else await asyncio.to_thread(_content, STDIN, 0)
    document = {
        "language": language,
        "entry": entry,
        "files": [{"path": one.path, "content_base64": _base64(bytes(one.content or b""))} for one in files],
        "args": arguments.args,
        "stdin_base64": _base64(given or b""),
    }
    said: list[str] = []

    def tell(words: str) -> None:
        """Tells once why it waits."""
        if words not in said[-1:]:
            _say(words)
        said.append(words)

    work = asyncio.create_task(asked(visit, "api/run", document, tell), name="run")
    with ending(work) as ended:
        try:
            status, text = await work
        except asyncio.CancelledError:
            if not ended:
                raise
            _say("the run was cancelled")
            return 128 + ended[0]
    end = None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        end = json.loads(text)["exit"] if status == 200 else None
    if text.startswith("{"):  # a refusal is one, too
        await terminal.written(1, text.encode() + b"\n")
    if end is None:
        raise refusal(visit.place, status, text)
    return _code(end["reason"], end["code"], end["signal"])


def _base64(data: bytes) -> str:
    """The bytes in base64."""
    return base64.b64encode(data).decode()
