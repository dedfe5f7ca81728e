"""JSON by the part of Python's `json` that is written in C.

The modules around it import `re` and `enum`, and took a seventh of the agent's start."""

from __future__ import annotations

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from typing import Any

_SPACE = " \t\n\r"


def _unknown(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not JSON")


class _Settings:
    """What the scanner reads: the settings of `json.JSONDecoder()`."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(name: str) -> float:
        """NaN and the infinities, as `json` reads them."""
        return float(name.replace("Infinity", "inf"))


def _parts() -> tuple[Any, Any]:
    """(encoder, scanner): functions of `_json`; those of `json` where a Python has others."""
    try:
        import _json

        # No look for cycles, no default, ASCII, no indentation, compact, not sorted, NaN as `json` writes it.
        words = (None, _unknown, _json.encode_basestring_ascii, None, ":", ",", False, False, True)
        return _json.make_encoder(*words), _json.make_scanner(_Settings)  # type: ignore[arg-type]  # of any class
    except (ImportError, AttributeError, TypeError):
        import json

        encoder = json.JSONEncoder(separators=(",", ":"), check_circular=False)
        return lambda value, _: encoder.iterencode(value), json.JSONDecoder().scan_once  # type: ignore[attr-defined]


_encode, _scan = _parts()


def dumps(value: object) -> bytes:
    """A value as compact JSON in ASCII.  Raises TypeError for what is no JSON, RecursionError for a cycle."""
    return "".join(_encode(value, 0)).encode("ascii")


def loads(data: bytes | bytearray | str) -> Any:
    """The value of a JSON text, in UTF-8.  Raises ValueError, RecursionError."""
    text = data if isinstance(data, str) else data.decode("utf-8", "surrogatepass")
    text = text.strip(_SPACE)
    try:
        value, end = _scan(text, 0)
    except StopIteration as stop:
        raise ValueError(f"no JSON at {stop.value}") from None
    if end != len(text):
        raise ValueError(f"more than one value: the first ends at {end}")
    return value
