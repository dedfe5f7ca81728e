"""The kinds of values that a setting may have: from text to a value, or to words about what to write."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

Parser = Callable[[str], Any]
"""Takes the stripped, non-empty text of a setting. Raises ValueError, whose text completes "write …"."""

_BYTES = re.compile(r"([0-9]+)\s*([kmg]?)i?b?", re.IGNORECASE)
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def text(text: str) -> str:
    if not text.isprintable():
        raise ValueError("printable characters only")
    return text


def name(text: str) -> str:
    """A part of container, network and label names."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", text):
        raise ValueError("up to 32 of the characters a-z, 0-9, _ and -, beginning with a letter or digit")
    return text


def integer(low: int, high: int) -> Parser:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def number(low: float, high: float) -> Parser:
    def parse(text: str) -> float:
        problem = ValueError(f"a number from {low:g} to {high:g}")
        try:
            value = float(text)
        except ValueError:
            raise problem from None
        if not math.isfinite(value) or not low <= value <= high:
            raise problem
        return value

    return parse


def size(low: int, high: int) -> Parser:
    """Bytes: a plain number, or with k, m or g (powers of 1024)."""

    def parse(text: str) -> int:
        problem = ValueError(f"a size from {show_size(low)} to {show_size(high)}, in bytes or with k, m or g")
        match = _BYTES.fullmatch(text)
        if match is None or len(match[1]) > 15:
            raise problem
        value = int(match[1]) << 10 * " kmg".index(match[2].lower() or " ")
        if not low <= value <= high:
            raise problem
        return value

    return parse


def show_size(value: int) -> str:
    """The shortest exact form: 268435456 -> `256m`."""
    for suffix, unit in (("g", 1024**3), ("m", 1024**2), ("k", 1024)):
        if value and value % unit == 0:
            return f"{value // unit}{suffix}"
    return str(value)


def choice(*allowed: str) -> Parser:
    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError("one of: " + ", ".join(allowed))
        return text.lower()

    return parse


def items(parse_one: Parser) -> Parser:
    """A list, separated by commas."""

    def parse(text: str) -> tuple[Any, ...]:
        return tuple(parse_one(part.strip()) for part in text.split(",") if part.strip())

    return parse


def host(text: str) -> str:
    """A host name or an IP address, without a port."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        if _HOST.fullmatch(text):
            return text.lower()
    raise ValueError("a host name or an IP address, without a port, for example 127.0.0.1")


def host_port(text: str) -> str:
    """What a Host header may say: a host name or address, and maybe a port."""
    head, colon, port = text.rpartition(":")
    bare = head if colon and port.isdigit() and (head.endswith("]") or ":" not in head) else text
    try:
        host(bare)
    except ValueError:
        raise ValueError("host names as in the address bar, for example coderunner.example.com") from None
    return text.lower()


def origin(text: str) -> str:
    """What an Origin header may say: scheme, host, maybe port, nothing else."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or text != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("origins like https://example.com, without a path or a slash at the end")
    host_port(parts.netloc)
    return text.lower()


def network(text: str) -> str:
    """An IP address or a network in CIDR form."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError("IP addresses or networks, for example 127.0.0.1,10.0.0.0/8") from None


def address_pool(text: str) -> str:
    """A range of private IPv4 addresses in CIDR form."""
    problem = ValueError("a private IPv4 network of 16 addresses or more, for example 10.213.0.0/16")
    try:
        pool = ipaddress.IPv4Network(text)
    except ValueError:
        raise problem from None
    if not any(pool.subnet_of(ipaddress.IPv4Network(one)) for one in _PRIVATE) or pool.prefixlen > 28:
        raise problem
    return str(pool)


def engine(text: str) -> str:
    """Where the container engine listens."""
    if not re.fullmatch(r"(unix:///|tcp://|https?://)\S+", text):
        raise ValueError("an address like unix:///var/run/docker.sock or tcp://127.0.0.1:2375")
    return text
