"""Authentication, allowed hosts and origins, and client addresses of requests."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import re
import socket
from urllib.parse import urlsplit

from aiohttp import web

from coderunner.config import Settings
from coderunner.core.networks import customer
from coderunner.errors import Unauthenticated
from coderunner.fleet.registry import Caller

PROTOCOL = "coderunner.v1"
BEARER = "coderunner.bearer."
ADMIN = "admin"


def host_name(header: str) -> str:
    """The name in a Host header, without its port and the dot that may end it, in small letters."""
    header = header.strip().lower()
    if header.startswith("["):
        name, bracket, _ = header[1:].partition("]")
        return name if bracket else header
    return (header.rpartition(":")[0] if ":" in header else header).removesuffix(".")


def host_allowed(settings: Settings, header: str) -> bool:
    """Whether requests for this host are answered. Prevents DNS rebinding: a page of another name must not
    reach a server on loopback."""
    name = host_name(header)
    if not settings.production and _is_loopback(name):
        return True
    return name in {host_name(one) for one in settings.allowed_hosts}


def _is_loopback(name: str) -> bool:
    """Whether no name server can resolve this name to another machine: `localhost`, or a loopback address."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


_FORWARDED = ("X-Forwarded-For", "X-Real-IP", "X-Forwarded-Proto", "Forwarded", "X-Original-URI", "Via")


def from_here(request: web.BaseRequest, header: str) -> bool:
    """Whether the request was made on this machine, and not passed on by a proxy."""
    if not _is_loopback(host_name(header)) or any(name in request.headers for name in _FORWARDED):
        return False
    return _is_loopback(_peer(request))


_REQUEST_ID = re.compile(r"[0-9a-f]{32}")


def request_id(settings: Settings, request: web.BaseRequest) -> dict[str, str]:
    """The request id that a trusted proxy gave, as a field of the log; empty without one."""
    found = request.headers.get("X-Request-ID", "")
    known = _REQUEST_ID.fullmatch(found) is not None and trusted(settings, _peer(request))
    return {"request": found} if known else {}


def about(settings: Settings, request: web.BaseRequest) -> dict[str, str]:
    """Fields of a log line about a request: the client's address, and a trusted proxy's request id."""
    return {"address": address_of(settings, request), **request_id(settings, request)}


def origin_allowed(settings: Settings, origin: str | None, host: str) -> bool:
    """No Origin: no browser.  One that is there must be this host's own, or on the list."""
    if origin is None:
        return True
    if origin in settings.allowed_origins:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.strip().lower()


def address_of(settings: Settings, request: web.BaseRequest) -> str:
    """The client's address.  X-Forwarded-For counts only where a trusted proxy wrote it: the last entry
    that is not itself one.  IPv6 clients are named by their /64."""
    address = peer = _peer(request)
    if trusted(settings, address):
        # All lines of it: some proxies append to the client's, others add one of their own.
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", []))
        for hop in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
            address = hop
            if not trusted(settings, hop):
                break
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return peer
    return customer(address)


def _peer(request: web.BaseRequest) -> str:
    """The peer's address. The peer of a Unix socket is on this machine."""
    transport = request.transport
    if transport is None:
        return "unknown"
    listener = transport.get_extra_info("socket")
    if listener is not None and listener.family == socket.AF_UNIX:
        return "127.0.0.1"
    return str((transport.get_extra_info("peername") or ("unknown",))[0])


def trusted(settings: Settings, address: str) -> bool:
    """Whether this is the address of a trusted proxy."""
    try:
        parsed = ipaddress.ip_address(address)
        return any(parsed in ipaddress.ip_network(one, strict=False) for one in settings.trusted_proxies)
    except ValueError:
        return False


_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


def place(settings: Settings, request: web.BaseRequest, path: str) -> str:
    """Where a client sees ``path`` of ours, as a source of a content security policy: name, port, and the
    path below which a proxy has mounted us.  Empty where that cannot be said without a doubt."""
    host = request.headers.get("Host", "")
    if not _HOST.fullmatch(host):
        return ""
    prefix = ""
    if trusted(settings, _peer(request)):
        prefix = request.headers.get("X-Original-URI", "").partition(path)[0]
        prefix = prefix if _PREFIX.fullmatch(prefix) else ""
    return host + prefix + path


def offered(request: web.BaseRequest) -> list[str]:
    """The subprotocols that the client offers."""
    values = request.headers.getall("Sec-WebSocket-Protocol", [])
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def caller(settings: Settings, request: web.BaseRequest, protocols: list[str]) -> Caller:
    """Raises Unauthenticated for a credential that is not one of ours."""
    address = address_of(settings, request)
    about = request_id(settings, request)
    credential = _credential(request, protocols)
    if credential is None:
        return Caller(address, about=about)
    if settings.admin_key and hmac.compare_digest(credential, settings.admin_key.encode()):
        return Caller(address, ADMIN, about=about)
    raise Unauthenticated("the credential is not known here; leave it out, or ask for a new one")


def require_operator(settings: Settings, request: web.BaseRequest) -> None:
    """Raises Unauthenticated unless the request bears ADMIN_KEY; where none is set (development), unless it
    is made on this machine."""
    if settings.admin_key:
        if hmac.compare_digest(bearer(request).encode(), settings.admin_key.encode()):
            return
        raise Unauthenticated("this is the operator's: send `Authorization: Bearer` with ADMIN_KEY")
    if not from_here(request, request.headers.get("Host", "")):
        raise Unauthenticated("this is the operator's: set ADMIN_KEY, and send it as `Authorization: Bearer`")


def bearer(request: web.BaseRequest) -> str:
    """The token of an Authorization header; the empty text where there is none."""
    # Bytes that are not UTF-8 become a token that no session has.
    raw = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    header = raw.decode("utf-8", "replace")
    return header[7:].strip() if header.lower().startswith("bearer ") else ""


def _credential(request: web.BaseRequest, protocols: list[str]) -> bytes | None:
    if bearer(request):
        return bearer(request).encode()
    for protocol in protocols:
        if protocol.startswith(BEARER):
            encoded = protocol[len(BEARER) :]
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            except (binascii.Error, ValueError):
                return b""
    return None
