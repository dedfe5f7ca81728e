"""What an agent says of itself and of its channels, checked: it is as hostile as the programs beside it."""

from __future__ import annotations

import json
from typing import Any

from coderunner.schema.messages import MODES, PHASES, STOPPED_BY
from coderunner.schema.types import MAX_OFFSET
from coderunner.wire import flow

MAX_CHANNELS = flow.MAX_CHANNELS + 32  # an agent keeps so many live ones, and so many that have ended
MAX_SEALED = 16 * 1024
MAX_RESTORE = 4096
_OFFSETS = ("phase_offset", "from", "to", "sent", "released", "in_acked", "input_offset")
_OTHERS = (
    "channel", "mode", "kind",
    "occupied", "phase", "run_offset", "input_eof", "cols", "rows", "wall_ms", "end",
    "evidence", "stopped",
)  # fmt: skip


class AgentProtocolError(Exception):
    """The agent, or something in the container that speaks for it, broke the protocol between us.

    Raised for nothing else: a fault of this server's own is never taken for one of the container's."""


def read_json(text: bytes) -> Any:
    """Raises AgentProtocolError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise AgentProtocolError("JSON is nested too deeply") from None
    except ValueError as error:
        raise AgentProtocolError(f"no JSON: {error}") from None


def read_hello(text: bytes) -> dict[str, Any]:
    """``version``, ``sealed`` (text or None), ``channels`` (states).  Raises AgentProtocolError."""
    hello = _object(read_json(text), "hello")
    sealed = hello.get("sealed")
    if not isinstance(sealed, str | None) or len(sealed or "") > MAX_SEALED:
        raise AgentProtocolError("hello.sealed is no short text")
    states = hello.get("channels", [])
    if type(states) is not list or len(states) > MAX_CHANNELS:
        raise AgentProtocolError("hello.channels is no short list")
    channels = [read_state(state) for state in states]
    if len({state["channel"] for state in channels}) < len(channels):
        raise AgentProtocolError("hello names a channel twice")
    if sum(state["end"] is None for state in channels) > flow.MAX_CHANNELS:
        raise AgentProtocolError("hello has more live channels than there may be")
    version = hello.get("version")
    return {"version": version if type(version) is int else None, "sealed": sealed, "channels": channels}


def read_state(value: Any) -> dict[str, Any]:
    """A channel's whole state, with offsets that fit each other.  Raises AgentProtocolError."""
    said = _object(value, "state")
    # No name beyond these is kept.
    state: dict[str, Any] = {name: said.get(name) for name in (*_OFFSETS, *_OTHERS)}
    number(state, "channel", 0, 65535)
    for name in _OFFSETS:
        number(state, name, 0, MAX_OFFSET)
    if state["run_offset"] is not None:
        number(state, "run_offset", 0, state["to"])
    number(state, "cols", 1, 65535)
    number(state, "rows", 1, 65535)
    number(state, "wall_ms", 1, MAX_OFFSET)
    state["kind"] = state["kind"] or "run"
    if state["kind"] not in ("run", "shell"):
        raise AgentProtocolError("state.kind is none")
    if type(state["occupied"]) is not bool:
        raise AgentProtocolError("state.occupied is neither true nor false")
    if state["stopped"] not in (None, *STOPPED_BY):
        raise AgentProtocolError("state.stopped is none")
    if state.get("mode") not in MODES:
        raise AgentProtocolError("state.mode is none")
    if state.get("phase") not in PHASES:
        raise AgentProtocolError("state.phase is none")
    if type(state.get("input_eof")) is not bool:
        raise AgentProtocolError("state.input_eof is neither true nor false")
    if state.get("end") is not None and number(state, "end", 0, MAX_OFFSET) != state["to"]:
        raise AgentProtocolError("the output ends elsewhere than at its end")
    if not isinstance(state.get("evidence"), dict | None):
        raise AgentProtocolError("state.evidence is no object")
    if not state["from"] <= state["sent"] <= state["to"] or state["released"] > state["to"]:
        raise AgentProtocolError("output offsets do not fit each other")
    if not 0 <= state["input_offset"] - state["in_acked"] <= flow.INPUT_WINDOW:
        raise AgentProtocolError("input offsets do not fit each other")
    return state


def read_artifact(value: Any) -> tuple[str, int] | None:
    """(name, size) of a file that a program made, the name as the program chose it; None: there are more
    than are told.  Raises AgentProtocolError."""
    news = _object(value, "artifact")
    if news.get("more") is True:
        return None
    if type(news.get("path")) is not str:
        raise AgentProtocolError("artifact.path is no text")
    return news["path"], number(news, "size", 0, MAX_OFFSET)


def read_channels(reply: dict[str, Any]) -> frozenset[int]:
    """Of any answer to `run`: the numbers of all channels that the agent has.  Raises AgentProtocolError."""
    numbers = reply.get("channels")
    if (
        type(numbers) is not list
        or len(numbers) > MAX_CHANNELS
        or any(type(one) is not int for one in numbers)
    ):
        raise AgentProtocolError("the answer to `run` has no short list of channels")
    return frozenset(numbers)


def read_started(reply: dict[str, Any], channel: int) -> dict[str, Any]:
    """Of an answer to `run` that is no error: the channel's state.  Raises AgentProtocolError."""
    state = read_state(reply.get("state"))
    if state["channel"] != channel:
        raise AgentProtocolError("the answer to `run` is of another channel")
    return state


def read_fetched(reply: dict[str, Any]) -> tuple[int, int, str | None]:
    """The answer to `fetch`: (where it begins, stream, escape sequences to restore).

    Raises AgentProtocolError."""
    restore = reply.get("restore")
    if not isinstance(restore, str | None):
        raise AgentProtocolError("restore is no text")
    begin = number(reply, "from", 0, MAX_OFFSET)
    return begin, 2 if reply.get("stream") == 2 else 1, restore[:MAX_RESTORE] if restore else restore


def number(document: dict[str, Any], name: str, low: int, high: int) -> int:
    """Raises AgentProtocolError for anything but a whole number in these bounds."""
    value = document.get(name)
    if type(value) is not int or not low <= value <= high:
        raise AgentProtocolError(f"{name} is no number from {low} to {high}")
    return value


def _object(value: Any, what: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise AgentProtocolError(f"{what} is no object")
    return value
