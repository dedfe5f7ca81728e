"""The root of the tree of errors."""

from __future__ import annotations

from typing import ClassVar


class CodeRunnerError(Exception):
    """The root of all errors. `message`: for people; by default the meaning of the class. `code`: for
    programs, and never changes its meaning. `retryable`: the same request may succeed later. `close`: the
    WebSocket close code that follows, None if the connection stays open. `channel`: the channel that it is
    about. `retry_after_ms`: when to try again. `expected`: the offset from which input is to be sent
    again."""

    code: ClassVar[str]
    retryable: ClassVar[bool] = False
    close: ClassVar[int | None] = None

    def __init__(
        self,
        message: str = "",
        *,
        channel: int | None = None,
        retry_after_ms: int | None = None,
        expected: int | None = None,
    ) -> None:
        self.message = message or meaning(type(self))
        self.channel = channel
        self.retry_after_ms = retry_after_ms
        self.expected = expected
        super().__init__(self.message)


def meaning(kind: type[CodeRunnerError]) -> str:
    """The first paragraph of the class's docstring on one line."""
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())
