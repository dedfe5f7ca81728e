"""Readers: each takes a value out of parsed JSON and answers it checked, or raises BadMessage.

`where` is the path to the value, for the error's text. Readers compose: `Many(TEXT, 100)` reads a list.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from coderunner.core.messages import File
from coderunner.errors import BadMessage

Reader = Callable[[Any, str], Any]

MAX_OFFSET = 2**53 - 1
"""The greatest integer that every JSON reader keeps exactly."""


def integer(low: int, high: int) -> Reader:
    def read(value: Any, where: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise BadMessage(f"{where} must be a whole number from {low} to {high}")
        return value

    return read


def clamped(low: int, high: int) -> Reader:
    """A whole number; one out of range becomes the nearest in range."""

    def read(value: Any, where: str) -> int:
        if type(value) is not int:
            raise BadMessage(f"{where} must be a whole number")
        return min(max(value, low), high)

    return read


def number(value: Any, where: str) -> int | float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise BadMessage(f"{where} must be a number")
    return value  # type: ignore[no-any-return]


def boolean(value: Any, where: str) -> bool:
    if type(value) is not bool:
        raise BadMessage(f"{where} must be true or false")
    return value


def text(max_length: int, *, min_length: int = 0, nul: bool = False) -> Reader:
    """A text of at most `max_length` characters, without NUL unless allowed."""

    def read(value: Any, where: str) -> str:
        if type(value) is not str or not min_length <= len(value) <= max_length:
            raise BadMessage(f"{where} must be a text of {min_length} to {max_length} characters")
        if not nul and "\0" in value:
            raise BadMessage(f"{where} must not hold a NUL")
        return value

    return read


def matching(pattern: str, words: str) -> Reader:
    compiled = re.compile(pattern)

    def read(value: Any, where: str) -> str:
        if type(value) is not str or not compiled.fullmatch(value):
            raise BadMessage(f"{where} must be {words}")
        return value

    return read


def choice(allowed: Sequence[str]) -> Reader:
    def read(value: Any, where: str) -> str:
        if type(value) is not str or value not in allowed:
            raise BadMessage(f"{where} must be one of {', '.join(allowed)}")
        return value

    return read


def nullable(reader: Reader) -> Reader:
    def read(value: Any, where: str) -> Any:
        return None if value is None else reader(value, where)

    return read


def many(reader: Reader, at_most: int) -> Reader:
    def read(value: Any, where: str) -> tuple[Any, ...]:
        if type(value) is not list or len(value) > at_most:
            raise BadMessage(f"{where} must be a list of at most {at_most}")
        return tuple(reader(item, f"{where}[{index}]") for index, item in enumerate(value))

    return read


def mapping(key: Reader, value_reader: Reader, at_most: int) -> Reader:
    """An object; the keys are texts in JSON, and what `key` makes of them in the value."""

    def read(value: Any, where: str) -> dict[Any, Any]:
        if type(value) is not dict or len(value) > at_most:
            raise BadMessage(f"{where} must be an object of at most {at_most} entries")
        return {
            key(name, f"a name in {where}"): value_reader(item, f"{where}.{name[:64]}")
            for name, item in value.items()
        }

    return read


def channel_key(value: Any, where: str) -> int:
    """A channel's number as an object's key: decimal, without leading zeros."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,4}", value) or int(value) > 65535:
        raise BadMessage(f"{where} must be a channel's number")
    return int(value)


def nested(kind: type, readers: Mapping[str, Reader]) -> Reader:
    """An object that becomes a `kind`. Unknown names are ignored; `readers` go by wire names."""
    known = {field.name: field for field in fields(kind)}
    plan = [
        (wire, name, readers[wire], known[name].default is MISSING and known[name].default_factory is MISSING)
        for name in known
        for wire in [name.rstrip("_")]
    ]
    assert len(plan) == len(readers), f"readers of {kind.__name__} do not fit its fields"

    def read(value: Any, where: str) -> Any:
        if type(value) is not dict:
            raise BadMessage(f"{where} must be an object")
        arguments: dict[str, Any] = {}
        for wire, name, reader, required in plan:
            if wire not in value:
                if required:
                    raise BadMessage(f"{where}.{wire} is missing")
            else:
                arguments[name] = reader(value[wire], f"{where}.{wire}")
        return kind(**arguments)

    return read


def file(value: Any, where: str) -> File:
    if type(value) is not dict:
        raise BadMessage(f"{where} must be an object")
    if ("content" in value) == ("content_base64" in value):
        raise BadMessage(f"{where} must have either content or content_base64")
    path = value.get("path")
    if type(path) is not str:
        raise BadMessage(f"{where}.path must be a text")
    if "content" in value:
        if type(value["content"]) is not str:
            raise BadMessage(f"{where}.content must be a text")
        return File(path, value["content"].encode())
    try:
        return File(path, binascii.a2b_base64(value["content_base64"], strict_mode=True))
    except (TypeError, ValueError):
        raise BadMessage(f"{where}.content_base64 must be base64 with its padding") from None
