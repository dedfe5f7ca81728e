"""Parsers for the text of settings (sizes, durations, hosts, networks),
with error messages that say what to write.

A form turns the text into a value. The bounds are part of the models, and checked by msgspec.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args, get_origin
from urllib.parse import urlsplit

import msgspec

from coderunner.schema.check import bare_of, choices_of, meta_of, words_of

_BYTES = re.compile(r"([0-9]+)\s*([kmg]?)i?b?", re.IGNORECASE)
# RFC 1918 and RFC 6598 (carrier-grade NAT); for IPv6 unique local and link-local addresses.
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
_PRIVATE_IPV6 = (ipaddress.IPv6Network("fc00::/7"), ipaddress.IPv6Network("fe80::/10"))
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")  # all of IPv4, as IPv6 addresses
# RFC 1123's names, with the underscores that are used in practice.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}")
_MILLISECONDS = {
    "ms": 1, "s": 1000, "sec": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Form:
    """How a setting's text is parsed.

    `parse`: takes the stripped, non-empty text; raises ValueError. `words`: takes the field's type and the
    text, and returns what to write instead, for forms whose message depends on the type's bounds; None: the
    message of the ValueError is used.
    """

    parse: Callable[[str], Any]
    words: Callable[[Any, str], str] | None = None


def read(kind: Any, text: str) -> Any:
    """Parses a setting's text as a field's value. Raises ValueError, whose text completes "write ..."."""
    bare = bare_of(kind)
    # A list's items have a form of their own.
    if is_list(bare):
        return items(get_args(bare)[0], text)
    own = (one for one in getattr(kind, "__metadata__", ()) if isinstance(one, Form))
    form = next(own, None) or _PLAIN[bare]
    try:
        return msgspec.convert(form.parse(text), kind)
    except ValueError as problem:
        raise ValueError(form.words(kind, text) if form.words is not None else str(problem)) from None


def is_list(bare: Any) -> bool:
    """Whether a setting of this type is a comma-separated list."""
    return get_origin(bare) is tuple and get_args(bare)[-1] is ...


def items(kind: Any, text: str) -> tuple[Any, ...]:
    """Parses a comma-separated list; duplicates are dropped. Raises ValueError."""
    found = tuple(dict.fromkeys(read(kind, part.strip()) for part in text.split(",") if part.strip()))
    if not found:
        raise ValueError("what belongs between the commas, or nothing at all")
    return found


def _integer(text: str) -> int:
    """A whole number without a sign, of at most 15 digits. Raises ValueError."""
    # Not int() alone, which takes "1_000", " 7" and digits of other scripts, and is slow for very long texts.
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise ValueError
    return int(text)


def _number(text: str) -> float:
    """A decimal number without a sign. Raises ValueError."""
    if not _NUMBER.fullmatch(text):  # float() alone takes "nan" and "inf"
        raise ValueError
    return float(text)


def size(text: str) -> int:
    """Parses a number of bytes: plain, or with the suffix k, m or g (powers of 1024). Raises ValueError."""
    match = _BYTES.fullmatch(text)
    if match is None or len(match[1]) > 15:
        raise ValueError
    # The suffix's index is its power of 1024.
    return int(match[1]) << 10 * " kmg".index(match[2].lower() or " ")


def _size_words(kind: Any, _: str) -> str:
    """What to write for a wrong size: its bounds."""
    low, high = (show_size(int(bound or 0)) for bound in (meta_of(kind).ge, meta_of(kind).le))
    return f"a size from {low} to {high}, in bytes or with k, m or g"


def _duration_words(kind: Any, text: str) -> str:
    """The message for a wrong duration; for one with a unit (`5s`) it says the number of milliseconds."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([a-z]+)", text.lower())
    unit = match and _MILLISECONDS.get(match[2])
    hint = f" ({text} is {round(float(match[1]) * unit)})" if match and unit else ""
    return f"milliseconds, {words_of(kind)}{hint}"


def _disk_rate(text: str) -> tuple[str, int]:
    """Parses a text such as `/dev/sda:50m` into (device, bytes per second). Raises ValueError."""
    device, colon, amount = text.rpartition(":")
    if not colon or re.fullmatch(r"/dev/[A-Za-z0-9_/-]{1,60}", device) is None:
        raise ValueError
    return device, size(amount)


def _disk_words(kind: Any, text: str) -> str:
    """What to write for a wrong disk rate: its form, or its bounds if only these are wrong."""
    try:
        _disk_rate(text)
    except ValueError:
        return "a disk and bytes a second, for example /dev/sda:50m"
    return _size_words(get_args(bare_of(kind))[1], text)


def _choice_words(kind: Any, _: str) -> str:
    """What to write for a wrong word: the choices."""
    choices = choices_of(kind)
    return f"one of: {', '.join(choices)}" if choices else words_of(kind)


def _number_words(kind: Any, _: str) -> str:
    """What to write for a wrong number: its bounds."""
    return f"a number from {meta_of(kind).ge:g} to {meta_of(kind).le:g}"


def show_size(value: int) -> str:
    """Writes bytes in the shortest exact form: 268435456 becomes `256m`."""
    for suffix, unit in (("g", 1024**3), ("m", 1024**2), ("k", 1024)):
        if value and value % unit == 0:
            return f"{value // unit}{suffix}"
    return str(value)


def folder(text: str) -> str:
    """A path, taken literally. `~` and `$` are refused, as people would expect them to be expanded."""
    if not text.isprintable() or not text.strip() or text.startswith("~") or "$" in text:
        raise ValueError("a path in printable characters; ~ and $NAME stay as they are")
    return text


def secret(text: str) -> str:
    """A secret that can be sent in an HTTP header.

    Shell syntax is refused: in a `.env` file it is not executed,
    and would become a secret that others can guess.
    """
    # A header's value takes no line breaks, and clients encode other characters differently.
    if not re.fullmatch(r"[!-~]+", text) or re.search(r"\$[({]|`|^\$\w+$", text):
        raise ValueError("ASCII letters, digits and signs without spaces; $(command) stays as it is")
    return text


def name(text: str) -> str:
    """A name that is valid as part of the names of containers, networks and labels."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", text):
        raise ValueError("up to 32 of the characters a-z, 0-9, _ and -, beginning with a letter or digit")
    return text


def language(text: str) -> str:
    """A language's name. Which there are, is checked elsewhere."""
    try:
        return name(text.lower())
    except ValueError:
        raise ValueError("names separated by commas, for example python,cpp, or nothing for all") from None


UNIX = "unix:"
MAX_SOCKET_PATH = 90  # bytes; the kernel takes 107, and the server binds it under a longer name first


def listener(text: str) -> str:
    """An address to listen on: as `host`, or `unix:` followed by a socket's absolute path."""
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if path.startswith("/") and not path.endswith("/") and len(path.encode()) <= MAX_SOCKET_PATH:
            return text
        raise ValueError(
            f"the socket's absolute path of at most {MAX_SOCKET_PATH} bytes, for example"
            " unix:/run/coderunner/http.sock"
        )
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
        # Digits and dots alone are a mistyped address, although they would be a valid host name.
        # 253: a name has 255 bytes (RFC 1035, section 2.3.4), two of which its text does not have: the first
        # label's length and the root.
        if _HOST.fullmatch(text) and len(text) <= 253 and not re.fullmatch(r"[0-9.]+", text):
            return text.lower()
    raise ValueError("a host name or an IP address, without a port, for example 127.0.0.1")


def host_port(text: str) -> str:
    """A value of the Host header: a host name or address with an optional port."""
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
    """A value of the Origin header: scheme, host and optional port."""
    try:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or text != f"{parts.scheme}://{parts.netloc}":
            raise ValueError
        host_port(parts.netloc)
    except ValueError:
        raise ValueError(
            "whole origins like https://example.com, without a path, a slash at the end, or *"
        ) from None
    return text.lower()


def proxy(text: str) -> str:
    """A trusted proxy: an IP address or a network in CIDR form.

    Networks that contain a large part of the internet are refused: with them,
    any client could claim any address in X-Forwarded-For.
    """
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        hint = f" ({error})" if "host bits" in str(error) else ""
        raise ValueError(f"IP addresses or networks, for example 127.0.0.1,10.0.0.0/8{hint}") from None
    if _too_wide(found):
        raise ValueError(f"the addresses of your own proxies: {found} lets anybody claim any address")
    return str(found)


def _too_wide(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    """Whether a network is too large to be that of one's own proxies."""
    # 10.0.0.0/8 is the largest network that one organisation has for itself.
    if isinstance(network, ipaddress.IPv4Network):
        return network.prefixlen < 8
    private = any(network.subnet_of(one) for one in _PRIVATE_IPV6)
    mapped = network.overlaps(_MAPPED) and network.prefixlen < 96 + 8
    return mapped or (network.prefixlen < 16 and not private)


def cgroup(text: str) -> str:
    """A control group's path, or the name of a systemd slice."""
    parts = text.strip("/").split("/")
    if text != "/" and (text != text.rstrip("/") or not all(_GROUP.fullmatch(part) for part in parts)):
        raise ValueError("a path like /coderunner or /, or a slice like coderunner.slice")
    return text


def address_pool(text: str) -> str:
    """A range of private IPv4 addresses in CIDR form, large enough for one group's subnet (/28)."""
    problem = ValueError("a private IPv4 network of 16 addresses or more, for example 10.213.0.0/16")
    try:
        pool = ipaddress.IPv4Network(text)
    except ValueError:
        raise problem from None
    if not any(pool.subnet_of(ipaddress.IPv4Network(one)) for one in _PRIVATE) or pool.prefixlen > 28:
        raise problem
    return str(pool)


def engine(text: str) -> str:
    """The container engine's address: a Unix socket, or a host with a port."""
    if re.fullmatch(r"unix:///\S+", text):
        return text
    problem = ValueError("an address like unix:///var/run/docker.sock or tcp://127.0.0.1:2375, with the port")
    match = re.fullmatch(r"(?:tcp|https?)://([^\s/@?#]+):([0-9]{1,5})/?", text)
    # With credentials, a path or a query the address would not be what the engine's client uses.
    if match is None or not 0 < int(match[2]) < 65536:
        raise problem
    try:
        host(match[1])
    except ValueError:
        raise problem from None
    return text


def web_address(text: str, *, query: bool = False) -> str:
    """The address of an issuer or of its keys: https, or http on this machine, without a password.

    `query`: whether it may have one, as endpoints of OAuth may (RFC 6749, sections 3.1 and 3.2)."""
    problem = ValueError("an address like https://id.example.com/realm (http only for this machine)")
    try:
        parts = urlsplit(text)
        host_port(parts.netloc)
    except ValueError:
        raise problem from None
    # Without TLS, whoever is on the way could give the server keys of its own.
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    plain = parts.scheme == "https" or (parts.scheme == "http" and local)
    refused = set(' #"<>\\') | (set() if query else {"?"})
    if not plain or not text.isascii() or not text.isprintable() or set(text) & refused:
        raise problem
    return text


def header(text: str) -> str:
    """The name of an HTTP header."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", text):
        raise ValueError("a header's name, for example X-Remote-User")
    # A header that clients or proxies set for another reason would name anybody as the user.
    if text.lower() in _OWN_HEADERS:
        raise ValueError("a header that nothing else uses, for example X-Remote-User")
    return text


_OWN_HEADERS = frozenset((
    "authorization", "connection", "content-length", "content-type", "cookie", "host", "origin", "upgrade",
    "x-forwarded-for", "x-forwarded-proto", "x-original-uri", "x-request-id",
))  # fmt: skip


def claim_name(text: str) -> str:
    """The name of a claim, or names joined by dots; or a scope."""
    if not re.fullmatch(r"[A-Za-z0-9_:/.-]{1,200}", text):
        raise ValueError("names of letters, digits and _ : / . -, for example roles or realm_access.roles")
    return text


def claim_value(text: str) -> str:
    """An issuer, an audience or a client's id, which are compared as they are written."""
    if not re.fullmatch(r"[!-~]{1,255}", text):
        raise ValueError("1 to 255 ASCII letters, digits and signs, exactly as the issuer writes it")
    return text


def subject(text: str) -> str:
    """A principal: the way of its sign-in, a colon, and its identifier there."""
    if not re.fullmatch(r"(?:oidc|lti|jwt|proxy|key):[^\s,]{1,248}", text) or not text.isprintable():
        raise ValueError(
            "principals like oidc:248289761001, lti:42, jwt:alice, proxy:bob or key:0123456789ab"
        )
    return text


def database(text: str) -> str:
    """A database: PostgreSQL's address with the database's name, or SQLite's file by its absolute path."""
    problem = ValueError(
        "an address like postgresql://coderunner:PASSWORD@db.example.com/coderunner, or"
        " sqlite:////var/lib/coderunner/coderunner.sqlite3 with an absolute path"
    )
    if text.startswith("sqlite:"):
        path = text.removeprefix("sqlite:///")
        if path == text or not path.startswith("/") or path.endswith("/") or re.search(r"[?#\s]", path):
            raise problem
        return text
    try:
        parts = urlsplit(text)
        wrong = parts.scheme not in ("postgresql", "postgres") or parts.fragment or (parts.port or 1) < 1
    except ValueError:
        raise problem from None
    # The host may be missing: then it is a socket of this machine, as the query may name it.
    if wrong or not re.fullmatch(r"/[^/\s]+", parts.path) or re.search(r"\s", text) or "://" not in text:
        raise problem
    return text


_PLAIN = {
    int: Form(_integer, lambda kind, _: words_of(kind)),
    float: Form(_number, _number_words),
    str: Form(str.lower, _choice_words),
}
SIZE = Form(size, _size_words)
DURATION = Form(_integer, _duration_words)
DISK_RATE = Form(_disk_rate, _disk_words)
CGROUP = Form(cgroup)
NAME = Form(name)
LANGUAGE = Form(language)
FOLDER = Form(folder)
SECRET = Form(secret)
LISTENER = Form(listener)
HOST = Form(host)
HOST_PORT = Form(host_port)
ORIGIN = Form(origin)
PROXY = Form(proxy)
ADDRESS_POOL = Form(address_pool)
ENGINE = Form(engine)
WEB_ADDRESS = Form(web_address)
HEADER = Form(header)
CLAIM_NAME = Form(claim_name)
CLAIM_VALUE = Form(claim_value)
SUBJECT = Form(subject)
DATABASE = Form(database)
