"""What an agent says of itself and of its channels, checked: it is as hostile as the programs beside it."""

from __future__ import annotations

import json
from typing import Any

from coderunner.agent import flow
from coderunner.core.messages import MODES, PHASES
from coderunner.core.shapes import MAX_OFFSET

MAX_CHANNELS = 64  # an agent keeps 8 live ones and 32 that have ended
MAX_RESTORE = 4096
_OFFSETS = ("phase_offset", "from", "to", "sent", "released", "in_acked", "input_offset")


def read_json(text: bytes) -> Any:
    """Raises ValueError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def read_hello(text: bytes) -> dict[str, Any]:
    """``version``, ``sealed`` (text or None), ``channels`` (states).  Raises ValueError."""
    hello = _object(read_json(text), "hello")
    if not isinstance(hello.get("sealed"), str | None):
        raise ValueError("hello.sealed is no text")
    states = hello.get("channels", [])
    if type(states) is not list or len(states) > MAX_CHANNELS:
        raise ValueError("hello.channels is no short list")
    channels = [read_state(state) for state in states]
    if len({state["channel"] for state in channels}) < len(channels):
        raise ValueError("hello names a channel twice")
    return {"version": hello.get("version"), "sealed": hello.get("sealed"), "channels": channels}


def read_state(value: Any) -> dict[str, Any]:
    """A channel's whole state, with offsets that fit each other.  Raises ValueError."""
    state = _object(value, "state")
    number(state, "channel", 0, 65535)
    for name in _OFFSETS:
        number(state, name, 0, MAX_OFFSET)
    if state.setdefault("run_offset", None) is not None:
        number(state, "run_offset", 0, state["to"])
    number(state, "cols", 1, 65535)
    number(state, "rows", 1, 65535)
    number(state, "wall_ms", 1, MAX_OFFSET)
    if state.setdefault("kind", "run") not in ("run", "shell"):
        raise ValueError("state.kind is none")
    if state.get("mode") not in MODES:
        raise ValueError("state.mode is none")
    if state.get("phase") not in PHASES:
        raise ValueError("state.phase is none")
    if type(state.get("input_eof")) is not bool:
        raise ValueError("state.input_eof is neither true nor false")
    if state.get("end") is not None and number(state, "end", 0, MAX_OFFSET) != state["to"]:
        raise ValueError("the output ends elsewhere than at its end")
    if not isinstance(state.get("evidence"), dict | None):
        raise ValueError("state.evidence is no object")
    if not state["from"] <= state["sent"] <= state["to"] or state["released"] > state["to"]:
        raise ValueError("output offsets do not fit each other")
    if not 0 <= state["input_offset"] - state["in_acked"] <= flow.INPUT_WINDOW:
        raise ValueError("input offsets do not fit each other")
    return state


def read_artifact(value: Any) -> tuple[str, int] | None:
    """(name, size) of a file that a program made, the name as the program chose it; None: there are more
    than are told.  Raises ValueError."""
    news = _object(value, "artifact")
    if news.get("more") is True:
        return None
    if type(news.get("path")) is not str:
        raise ValueError("artifact.path is no text")
    return news["path"], number(news, "size", 0, MAX_OFFSET)


def read_started(reply: dict[str, Any], channel: int) -> tuple[dict[str, Any], list[int]]:
    """The answer to `run`: (the channel's state, channels forgotten for it).  Raises ValueError."""
    state, forgotten = read_state(reply.get("state")), reply.get("forgotten", [])
    if state["channel"] != channel:
        raise ValueError("the answer to `run` is of another channel")
    if type(forgotten) is not list or any(type(one) is not int for one in forgotten):
        raise ValueError("the forgotten channels are no list of numbers")
    return state, forgotten


def read_fetched(reply: dict[str, Any]) -> tuple[int, int, str | None]:
    """The answer to `fetch`: (where it begins, stream, escape sequences to restore).  Raises ValueError."""
    restore = reply.get("restore")
    if not isinstance(restore, str | None):
        raise ValueError("restore is no text")
    begin = number(reply, "from", 0, MAX_OFFSET)
    return begin, 2 if reply.get("stream") == 2 else 1, restore[:MAX_RESTORE] if restore else restore


def number(document: dict[str, Any], name: str, low: int, high: int) -> int:
    """Raises ValueError for anything but a whole number in these bounds."""
    value = document.get(name)
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} is no number from {low} to {high}")
    return value


def _object(value: Any, what: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise ValueError(f"{what} is no object")
    return value
