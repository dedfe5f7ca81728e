"""The call that starts a program: sent at once, and again when the stream broke before its answer."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from coderunner.errors import AgentLost, CodeRunnerError, FilesBusy
from coderunner.schema import calls
from coderunner.schema import messages as m
from coderunner.schema.calls import ProgramSpec
from coderunner.sessions.container import Container
from coderunner.sessions.link import Answer

RUN_SECONDS = 30.0  # for the answer; files may have to be written before

Begun = Coroutine[Any, Any, tuple[Mapping[str, object] | None, bool]]


class Runs:
    """Starts programs.  ``held``: bytes of files that are kept to be sent again."""

    def __init__(self, container: Container) -> None:
        self.held = 0
        self._container = container
        container.holdings.count("runs", lambda: self.held)

    def ask(self, number: int, spec: ProgramSpec, files: tuple[m.File, ...]) -> Begun:
        """Sends the call before it returns, as input that follows must not arrive earlier.

        The result must be awaited.  It gives (answer, whether the call was repeated); the answer is None when
        there was none in RUN_SECONDS, and the container was condemned.  Raises FilesBusy, with nothing sent.
        """
        content = b"".join(file.content for file in files)
        sizes = tuple((file.path, len(file.content)) for file in files)
        call = calls.Run(channel=number, spec=spec, files=sizes)
        if content and not self._container.holdings.allows(len(content)):
            raise FilesBusy(
                "the session sends too much at once; wait for what is under way",
                channel=number,
                retry_after_ms=1000,
            )

        def ask() -> Answer:
            return self._container.link.ask(call, content, seconds=RUN_SECONDS)

        # Counted before sending, as `ask` may raise for the sum of both.
        self.held += len(content)
        try:
            answer = ask()
        except CodeRunnerError:
            self.held -= len(content)
            raise
        return self._answer(ask, answer, len(content))

    async def _answer(
        self, ask: Callable[[], Answer], answer: Answer, size: int
    ) -> tuple[Mapping[str, object] | None, bool]:
        first = self._container.link
        try:
            while True:
                link = self._container.link
                try:
                    reply, _ = await answer
                    # `is not first` means that the call was repeated: input sent in between may be lost.
                    return reply, link is not first
                except AgentLost as error:
                    # The stream works, but the agent does not answer a call that takes milliseconds.
                    if not link.closed.done():
                        self._container.condemn(error.message)
                        return None, False
                    # The container is gone or mended: both fire `changed`.
                    while self._container.link.closed.done():
                        await self._container.changed.wait()
                    answer = ask()
        finally:
            self.held -= size
