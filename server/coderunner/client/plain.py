"""Requests as JSON has them: bytes in base64, and only what can be sent."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from coderunner.client.refused import Refused, checked, is_text

K = TypeVar("K")
V = TypeVar("V")
Bytes = bytes | bytearray | memoryview
BASE64 = "_base64"
TWO_FORMS = {"stdin", "expected", "content"}  # fields that have a form for bytes, with BASE64 behind the name


def plain(value: Any, name: str = "the request") -> Any:
    """The value as JSON has it. `name`: the field whose value it is. Bytes become base64, and text where a
    field has no form for bytes. Raises Refused for what cannot be sent."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        if not is_text(value):
            raise Refused(f"{name} cannot be sent: {value[:80]!r} is not UTF-8")
        return str(value)
    if isinstance(value, Bytes):
        return bytes(value).decode() if name == "source" and is_utf8(bytes(value)) else _base64(value, name)
    if isinstance(value, Mapping):
        return dict(_field(key, one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return [plain(one, name) for one in value]
    try:
        return plain(msgspec.to_builtins(value), name)
    except (TypeError, RecursionError):
        raise Refused(f"{name} cannot be sent: {type(value).__name__} is nothing that JSON has") from None


def _field(key: object, value: Any) -> tuple[str, Any]:
    """A field of an object: its name as it is sent, and its value. Raises Refused."""
    name = str(key)
    if not is_text(name):
        raise Refused(f"the name {name[:80]!r} cannot be sent: it is not UTF-8")
    if isinstance(value, Bytes) and name in TWO_FORMS:
        name += BASE64
    return name, plain(value, name)


def _base64(data: Bytes, name: str) -> str:
    """Bytes as the field's value. Raises Refused for a field that has no form for bytes."""
    if not name.endswith(BASE64):
        raise Refused(f"{name} is to be text: it has no form for bytes")
    return base64.b64encode(data).decode()


def raw(value: str | Bytes, what: str) -> bytes:
    """The bytes of text, as UTF-8, or of bytes. `what`: what it is. Raises Refused for anything else: `bytes`
    would make a number that many zeros."""
    if isinstance(value, str):
        return checked(value, what).encode()
    if not isinstance(value, Bytes):
        raise Refused(f"{what} is to be text or bytes, not {type(value).__name__}")
    return bytes(value)


def mapping(value: Mapping[K, V] | None, what: str) -> dict[K, V]:
    """A copy of a mapping; empty for None. `what`: what it is. Raises Refused for anything else."""
    if not isinstance(value, Mapping | None):
        raise Refused(f"{what} are to be a mapping, not {type(value).__name__}")
    return dict(value or {})


def is_utf8(data: bytes) -> bool:
    """Whether the bytes are text in UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
