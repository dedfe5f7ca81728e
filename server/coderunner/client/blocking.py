"""The client library without `async`: the same classes, whose methods block until they are done."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast

from coderunner.client import library, program, session
from coderunner.client.library import Output
from coderunner.client.refused import Refused
from coderunner.client.session import Group
from coderunner.client.visit import NOT_OPEN
from coderunner.schema import messages as m
from coderunner.schema.answers import FileEntry, LanguageView
from coderunner.schema.api import RunAnswer

T = TypeVar("T")
# For a call that was interrupted: it ends what it has begun on the server, which has a bound of its own.
INTERRUPTED_SECONDS = 20.0
IN_THREAD = "a call of the client cannot be made where another one of it calls back, as `told` of a batch"


class Call(Protocol):
    """Runs a coroutine in the client's thread, and returns its result."""

    def __call__(self, work: Coroutine[Any, Any, T], /) -> T:
        """Blocks until `work` is done. Raises what it raises."""
        ...


class Program:
    """`program.Program` with blocking methods; iterate over it for its output."""

    def __init__(self, made: program.Program, call: Call) -> None:
        self._program, self._call = made, call

    def __iter__(self) -> Iterator[Output]:
        """Yields the output as it comes."""
        output = aiter(self._program)
        try:
            while True:
                try:
                    yield self._call(_next(output))
                except StopAsyncIteration:
                    return
        finally:
            # Also when the caller leaves `for` early: an async generator has to be closed in its own loop.
            with contextlib.suppress(Refused):  # the client has ended, and its loop with it
                self._call(output.aclose())  # type: ignore[attr-defined]

    @property
    def exit(self) -> m.Exit | None:
        """As of `program.Program`."""
        return self._program.exit

    def write(self, data: str | bytes) -> None:
        """As of `program.Program`."""
        self._call(self._program.write(data))

    def end_input(self) -> None:
        """As of `program.Program`."""
        self._call(self._program.end_input())

    def resize(self, cols: int, rows: int) -> None:
        """As of `program.Program`."""
        self._call(self._program.resize(cols, rows))

    def signal(self, name: str) -> None:
        """As of `program.Program`."""
        self._call(self._program.signal(name))

    def kill(self) -> None:
        """As of `program.Program`."""
        self._call(self._program.kill())


Ended = tuple[T | None, BaseException | None]
"""What a call has returned, or raised."""


async def _ended(work: Coroutine[Any, Any, T], done: concurrent.futures.Future[Ended[T]]) -> None:
    """Awaits a call, and tells its end: a task in which SystemExit is raised would end the thread."""
    try:
        end: Ended[T] = (await work, None)
    except BaseException as error:
        end = (None, error)
    done.set_result(end)


async def _next(output: Any) -> Output:
    """The next piece of an iterator, as a coroutine: `anext` returns an awaitable that is none."""
    found: Output = await anext(output)
    return found


class Workspace:
    """`session.Workspace` with blocking methods."""

    def __init__(self, files: session.Workspace, call: Call) -> None:
        self._files, self._call = files, call

    def put(self, path: str, content: str | bytes) -> None:
        """As of `session.Workspace`."""
        self._call(self._files.put(path, content))

    def get(self, path: str) -> bytes:
        """As of `session.Workspace`."""
        return self._call(self._files.get(path))

    def list(self) -> Sequence[FileEntry]:
        """As of `session.Workspace`."""
        return self._call(self._files.list())


class Session:
    """`session.Session` with blocking methods, as an ordinary context manager."""

    def __init__(self, opened: session.Session, call: Call) -> None:
        self._session, self._call = opened, call

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def id(self) -> str:
        """As of `session.Session`."""
        return self._session.id

    @property
    def group(self) -> Group | None:
        """As of `session.Session`."""
        return self._session.group

    @property
    def member(self) -> str | None:
        """As of `session.Session`."""
        return self._session.member

    @property
    def files(self) -> Workspace:
        """As of `session.Session`."""
        return Workspace(self._session.files, self._call)

    def run(self, entry: str | None = None, **fields: Any) -> Program:
        """As of `session.Session`."""
        return Program(self._call(self._session.run(entry, **fields)), self._call)

    def shell(self, terminal: tuple[int, int] = (80, 24), *, repl: bool = False) -> Program:
        """As of `session.Session`."""
        return Program(self._call(self._session.shell(terminal, repl=repl)), self._call)

    def extend(self) -> None:
        """As of `session.Session`."""
        self._call(self._session.extend())

    def close(self) -> None:
        """As of `session.Session`."""
        self._call(self._session.close())


class Client:
    """`library.Client` with blocking methods, as an ordinary context manager. Its connections live in a
    thread of their own, which ends with the block."""

    def __init__(self, url: str, key: str = "") -> None:
        self._client = library.Client(url, key)
        self._open = False
        self._loop = asyncio.new_event_loop()
        # A daemon: a client that nobody has left does not keep the interpreter from ending.
        self._thread = threading.Thread(target=self._loop.run_forever, name="coderunner", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()  # of calls; used in the thread alone

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine in the client's thread. Raises what it raises, and Refused where the thread does
        not run. An exception that comes while it waits, as by Ctrl-C, cancels the call; it is raised when the
        call has ended."""
        if not self._open or threading.current_thread() is self._thread:
            work.close()
            raise Refused(NOT_OPEN if not self._open else IN_THREAD)
        done: concurrent.futures.Future[Ended[T]] = concurrent.futures.Future()
        task: asyncio.Task[None] | None = None

        def begin() -> None:
            nonlocal task
            task = self._loop.create_task(_ended(work, done))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        def cancel() -> None:
            if task is None:  # it was interrupted before all
                work.close()
                done.cancel()
            else:
                # Later: a task that has not made its first step would not begin, nor end, the work.
                self._loop.call_soon(task.cancel)

        try:
            self._loop.call_soon_threadsafe(begin)
            value, error = done.result()
        except BaseException:
            self._loop.call_soon_threadsafe(cancel)
            concurrent.futures.wait((done,), INTERRUPTED_SECONDS)
            raise
        if isinstance(error, asyncio.CancelledError):  # the block was left meanwhile, by another thread
            raise Refused(NOT_OPEN)
        if error is not None:
            raise error
        return cast(T, value)

    def __enter__(self) -> Self:
        if self._thread.ident is not None:
            raise Refused("a client is used for one block: make another one")
        self._thread.start()
        self._open = True
        try:
            self._call(self._client.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._call(self._leave(kind, error, trace))
        finally:
            self._stop()

    async def _leave(self, *given: Any) -> None:
        """Ends the client, and the calls of other threads."""
        await self._end_calls()
        await self._client.__aexit__(*given)

    async def _end_calls(self) -> None:
        """Cancels the calls of all threads, also those that are just being begun, and waits for their end."""
        await asyncio.sleep(0)
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others)

    def _stop(self) -> None:
        """Ends the thread."""
        self._open = False
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._end_calls())
        self._loop.close()

    def languages(self) -> Sequence[LanguageView]:
        """As of `library.Client`."""
        return self._call(self._client.languages())

    def run(self, language: str, source: str | bytes | None = None, **fields: Any) -> RunAnswer:
        """As of `library.Client`."""
        return self._call(self._client.run(language, source, **fields))

    def start(self, language: str, source: str | bytes | None = None, **fields: Any) -> Program:
        """As of `library.Client`."""
        return Program(self._client.start(language, source, **fields), self._call)

    def open(self, language: str, **fields: Any) -> Session:
        """As of `library.Client`."""
        return Session(self._call(self._client.open(language, **fields)), self._call)

    def batch(
        self, document: dict[str, Any], told: Callable[[dict[str, Any]], None] = lambda _: None
    ) -> dict[str, Any]:
        """As of `library.Client`; `told` is called in another thread."""
        return self._call(self._client.batch(document, told))
