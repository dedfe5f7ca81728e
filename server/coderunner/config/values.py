"""The kinds of values that a setting may have: from text to a value, or to words about what to write."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

Parser = Callable[[str], Any]
"""Takes the stripped, non-empty text of a setting. Raises ValueError, whose text completes "write …"."""

_BYTES = re.compile(r"([0-9]+)\s*([kmg]?)i?b?", re.IGNORECASE)
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
_PRIVATE_IPV6 = (ipaddress.IPv6Network("fc00::/7"), ipaddress.IPv6Network("fe80::/10"))
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")  # all of IPv4
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}")
_MILLISECONDS = {
    "ms": 1, "s": 1000, "sec": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000,
}  # fmt: skip


def folder(text: str) -> str:
    """A path as it is: nothing in it is expanded."""
    if not text.isprintable() or not text.strip() or text.startswith("~") or "$" in text:
        raise ValueError("a path in printable characters; ~ and $NAME stay as they are")
    return text


def secret(text: str) -> str:
    """What an HTTP header can carry."""
    if not re.fullmatch(r"[!-~]+", text) or re.search(r"\$[({]|`|^\$\w+$", text):
        raise ValueError("ASCII letters, digits and signs without spaces; $(command) stays as it is")
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


def milliseconds(low: int, high: int) -> Parser:
    """A duration.  One with a unit is refused with its number of milliseconds."""

    def parse(text: str) -> int:
        try:
            return int(integer(low, high)(text))
        except ValueError as problem:
            match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([a-z]+)", text.lower())
            unit = match and _MILLISECONDS.get(match[2])
            hint = f" ({text} is {round(float(match[1]) * unit)})" if match and unit else ""
            raise ValueError(f"milliseconds, {problem}{hint}") from None

    return parse


def number(low: float, high: float) -> Parser:
    def parse(text: str) -> float:
        if not _NUMBER.fullmatch(text) or not low <= float(text) <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return float(text)

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


def disk_rate(low: int, high: int) -> Parser:
    """(device, bytes a second) from a text such as `/dev/sda:50m`."""
    rate = size(low, high)

    def parse(text: str) -> tuple[str, int]:
        device, colon, amount = text.rpartition(":")
        if not colon or re.fullmatch(r"/dev/[A-Za-z0-9_/-]{1,60}", device) is None:
            raise ValueError("a disk and bytes a second, for example /dev/sda:50m")
        return device, rate(amount)

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
    """A list, separated by commas; what stands in it twice is in it once."""

    def parse(text: str) -> tuple[Any, ...]:
        found = tuple(dict.fromkeys(parse_one(part.strip()) for part in text.split(",") if part.strip()))
        if not found:
            raise ValueError("what belongs between the commas, or nothing at all")
        return found

    return parse


UNIX = "unix:"


def listener(text: str) -> str:
    """As `host`, or `unix:` and the absolute path of a socket."""
    if text.startswith(UNIX):
        if text.startswith(f"{UNIX}/") and not text.endswith("/"):
            return text
        raise ValueError("the socket's absolute path, for example unix:/run/coderunner/http.sock")
    try:
        return host(text)
    except ValueError as problem:
        raise ValueError(f"{problem}; or a socket's path like unix:/run/coderunner/http.sock") from None


def host(text: str) -> str:
    """A host name or an IP address, without a port."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        # Digits and dots alone are an address with a slip in it, and no name.
        if _HOST.fullmatch(text) and len(text) <= 253 and not re.fullmatch(r"[0-9.]+", text):
            return text.lower()
    raise ValueError("a host name or an IP address, without a port, for example 127.0.0.1")


def host_port(text: str) -> str:
    """What a Host header may say: a host name or address, and maybe a port."""
    match = re.fullmatch(r"(\[[^]]*\]|[^]:[]+)(?::([0-9]{1,5}))?", text)
    try:
        host(match[1] if match else "")
        if match and int(match[2] or 1) > 65535:
            raise ValueError
    except ValueError:
        raise ValueError(
            "host names as in the address bar, for example coderunner.example.com or [2001:db8::1]"
        ) from None
    return text.lower()


def origin(text: str) -> str:
    """What an Origin header may say: scheme, host, maybe port, nothing else."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or text != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("origins like https://example.com, without a path or a slash at the end")
    host_port(parts.netloc)
    return text.lower()


def proxy(text: str) -> str:
    """An IP address or a network in CIDR form, and not one that lets anybody say who he is."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        hint = f" ({error})" if "host bits" in str(error) else ""
        raise ValueError(f"IP addresses or networks, for example 127.0.0.1,10.0.0.0/8{hint}") from None
    if _too_wide(found):
        raise ValueError(f"the addresses of your own proxies: {found} lets anybody claim any address")
    return str(found)


def _too_wide(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    if network.version == 4:
        return network.prefixlen < 8
    private = any(network.subnet_of(one) for one in _PRIVATE_IPV6)
    mapped = network.overlaps(_MAPPED) and network.prefixlen < 96 + 8
    return mapped or (network.prefixlen < 16 and not private)


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
    if re.fullmatch(r"unix:///\S+", text):
        return text
    problem = ValueError("an address like unix:///var/run/docker.sock or tcp://127.0.0.1:2375, with the port")
    match = re.fullmatch(r"(?:tcp|https?)://([^\s/@?#]+):([0-9]{1,5})/?", text)
    if match is None or not 0 < int(match[2]) < 65536:
        raise problem
    try:
        host(match[1])
    except ValueError:
        raise problem from None
    return text
