"""Authentication of requests, allowed hosts and origins, and the addresses of clients behind proxies."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import secrets
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from coderunner.config import Settings
from coderunner.core.networks import customer
from coderunner.errors import NotAllowed, Unauthenticated
from coderunner.fleet.registry import Caller
from coderunner.identity.chain import Shown
from coderunner.identity.principal import HERE, Principal
from coderunner.sessions.quotas import Account

if TYPE_CHECKING:
    from coderunner.web.keys import Parts

PROTOCOL = "coderunner.v1"
TICKET = "X-CodeRunner-Ticket"  # header with a ticket of `web/tickets.py`
BEARER = "coderunner.bearer."  # prefix of a subprotocol that carries the credential, in base64url


def host_name(header: str) -> str:
    """The name in a Host header in lower case, without the port and a trailing dot."""
    header = header.strip().lower()
    if header.startswith("["):
        # IPv6 addresses have colons of their own, and stand in brackets.
        name, bracket, _ = header[1:].partition("]")
        return name if bracket else header
    return (header.rpartition(":")[0] if ":" in header else header).removesuffix(".")


def host_allowed(settings: Settings, header: str) -> bool:
    """Whether requests for this host are answered.

    This prevents DNS rebinding: a page whose name resolves to 127.0.0.1 must not reach a server there.
    """
    name = host_name(header)
    # In production the proxy's names are listed; on a developer's machine loopback is enough.
    if not settings.production and _is_loopback(name):
        return True
    return name in {host_name(one) for one in settings.allowed_hosts}


def _is_loopback(name: str) -> bool:
    """Whether a name is `localhost` or a loopback address. No name server can resolve these differently."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


# Headers of common proxies. Any one of them shows that a request from loopback came from elsewhere.
_FORWARDED = ("X-Forwarded-For", "X-Real-IP", "X-Forwarded-Proto", "Forwarded", "X-Original-URI", "Via")


def from_here(request: web.BaseRequest, header: str) -> bool:
    """Whether a request was made on this machine, and not forwarded by a proxy on it."""
    # Either sign: many proxies set only one of these headers.
    if not _is_loopback(host_name(header)) or any(name in request.headers for name in _FORWARDED):
        return False
    return _is_loopback(_peer(request))


_ID: web.RequestKey[str] = web.RequestKey("id", str)
ENDED = "the credential of this connection was revoked or has expired"
_CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
_WHO: web.RequestKey[Principal] = web.RequestKey("who", Principal)
_ADDRESS: web.RequestKey[str] = web.RequestKey("address", str)
ACCOUNT: web.RequestKey[Account] = web.RequestKey("account", Account)
"""Key of the account of a request's caller, once that is known."""
_REQUEST_ID = re.compile(r"[0-9a-f]{32}")  # nginx's $request_id; anything else could forge lines of the log


def request_id(settings: Settings, request: web.BaseRequest) -> dict[str, str]:
    """The request's id as a field for the log: that of a trusted proxy, otherwise one that is made here."""
    known = request.get(_ID)
    if known is None:
        found = request.headers.get("X-Request-ID", "")
        # From others the field could be chosen to hide in somebody else's log lines.
        ours = _REQUEST_ID.fullmatch(found) is not None and trusted(settings, _peer(request))
        known = request[_ID] = found if ours else secrets.token_hex(16)
    return {"request": known}


def about(settings: Settings, request: web.BaseRequest) -> dict[str, str]:
    """Fields for log lines about a request: the client's address, and the request's id."""
    return {"address": address_of(settings, request), **request_id(settings, request)}


def origin_allowed(settings: Settings, origin: str | None, host: str) -> bool:
    """Whether a WebSocket request with this Origin is accepted: the own host, or one of ALLOWED_ORIGINS.

    `host`: the Host header. A request without Origin is accepted: browsers always send it for a WebSocket,
    so it is another client, which could send any value.
    """
    if origin is None:
        return True
    if origin in settings.allowed_origins:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    # Compared with the Host header, which the middleware has checked.
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.strip().lower()


def address_of(settings: Settings, request: web.BaseRequest) -> str:
    """The client's address; of IPv6 its /64 network.

    X-Forwarded-For is used only from trusted proxies: its last entry that is not a trusted proxy itself.
    Entries before that come from the client, who may write anything. Of a request that a process of this
    server makes for a caller it is the caller's.
    """
    if (known := request.get(_ADDRESS)) is not None:
        return str(known)
    address = peer = _peer(request)
    if trusted(settings, address):
        # All lines of the header: some proxies append to the client's line, others add one of their own.
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", []))
        # From the end: each proxy appends the address that it has seen itself.
        for hop in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
            address = hop
            if not trusted(settings, hop):
                break
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return peer  # a trusted proxy sent something else, such as `unknown`
    return customer(address)


def note_ticket(parts: Parts, request: web.BaseRequest) -> None:
    """From now on the request's address is that of the caller for whom it is made, if it has a ticket: what
    one agent has refused must not slow down all others."""
    ticket = request.headers.get(TICKET)
    if ticket is not None and (known := parts.tickets.caller(ticket)) is not None:
        request[_ADDRESS] = known.address


def _peer(request: web.BaseRequest) -> str:
    """The address of the TCP peer; 127.0.0.1 for a Unix socket, whose peer is on this machine."""
    transport = request.transport
    if transport is None:
        return "unknown"
    listener = transport.get_extra_info("socket")
    # Its peer name is empty, and nobody else can reach it.
    if listener is not None and listener.family == socket.AF_UNIX:
        return "127.0.0.1"
    return str((transport.get_extra_info("peername") or ("unknown",))[0])


def trusted(settings: Settings, address: str) -> bool:
    """Whether an address is in TRUSTED_PROXIES."""
    try:
        parsed = ipaddress.ip_address(address)
        return any(parsed in ipaddress.ip_network(one, strict=False) for one in settings.trusted_proxies)
    except ValueError:
        return False


# What may be written into a content security policy: no spaces, semicolons or quotes, which would end the
# source.
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


def place(settings: Settings, request: web.BaseRequest, path: str) -> str:
    """The source expression that names `path` of this server in a content security policy.

    It has the host, the port, and the prefix under which a proxy has mounted the server.
    "" if these cannot be determined safely.
    """
    host = request.headers.get("Host", "")
    # Not in a form that could end the source: the policy then does without it.
    if not _HOST.fullmatch(host):
        return ""
    prefix = ""
    if trusted(settings, _peer(request)):
        # What the proxy has put before our path; nginx is configured to send it.
        prefix = request.headers.get("X-Original-URI", "").partition(path)[0]
        prefix = prefix if _PREFIX.fullmatch(prefix) else ""
    return host + prefix + path


def offered(request: web.BaseRequest) -> list[str]:
    """The WebSocket subprotocols that the client offers."""
    values = request.headers.getall("Sec-WebSocket-Protocol", [])
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def own_origin(settings: Settings, request: web.BaseRequest) -> str:
    """The origin of this server's own pages, as the client of this request sees it, in lower case."""
    scheme = request.scheme
    if trusted(settings, _peer(request)):
        scheme = request.headers.get("X-Forwarded-Proto", scheme).strip().lower()
    return f"{scheme}://{request.headers.get('Host', '').strip().lower()}"


def from_own_page(settings: Settings, request: web.BaseRequest, *, links: bool = True) -> bool:
    """Whether a credential that browsers send by themselves (a cookie, a proxy's sign-in, being on this
    machine) may count: not if a page of another origin has made the request. `links`: whether somebody may
    be led here by a link of another site; not to what is told to others when it is read.

    Browsers send Origin with every WebSocket and every request that may change something.
    """
    origin = request.headers.get("Origin")
    if origin is not None:
        # As texts: neither is a secret, and what is not UTF-8 could not be encoded.
        return origin.lower() == own_origin(settings, request)
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        # A link from elsewhere may lead to a page here, but not to anything that is done or read here.
        return links and request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
    return True


def sign_in_cookie(settings: Settings) -> str:
    """The name of the cookie of a sign-in. With the prefix, browsers take it only over HTTPS, for this very
    host, and with Secure."""
    return "__Host-coderunner" if settings.production else "coderunner"


def shown(settings: Settings, request: web.BaseRequest, protocols: Sequence[str] = ()) -> Shown:
    """What a request shows of its caller. `protocols`: the offered subprotocols.

    Raises NotAllowed if the request brings a sign-in, and was made by a page of another origin, and
    Unauthenticated for a header of a proxy that comes twice.
    """
    credential = _credential(request, protocols)
    if credential is not None:
        return Shown(credential)
    user = _of_proxy(settings, request, settings.proxy_user_header)
    signs_in = settings.oidc_issuer is not None or settings.lti_issuer is not None
    cookie = request.cookies.get(sign_in_cookie(settings)) if signs_in else None
    if not user and not cookie:
        return Shown()
    own = from_own_page(settings, request)
    # A cookie needs an Origin with WebSockets and with requests that may change something: browsers always
    # send it with these.
    exact = "Origin" in request.headers or not (offered(request) or request.method not in ("GET", "HEAD"))
    if not own or (cookie and not user and not exact):
        raise NotAllowed("a sign-in counts only for pages of this server: the Origin must be its own")
    if not user:
        return Shown(cookie=cookie)
    roles = _of_proxy(settings, request, settings.proxy_roles_header)
    return Shown(user=user, roles=roles, rooms=_of_proxy(settings, request, settings.proxy_rooms_header))


def _of_proxy(settings: Settings, request: web.BaseRequest, name: str | None) -> str:
    """The value of a header of a trusted proxy; "" from anybody else. Raises Unauthenticated."""
    if name is None or not trusted(settings, _peer(request)):
        return ""
    values = request.headers.getall(name, [])
    if len(values) > 1:
        raise Unauthenticated(f"the header {name} came twice: the proxy must remove a client's own")
    return values[0].strip() if values else ""


async def caller(parts: Parts, request: web.BaseRequest, protocols: Sequence[str] = ()) -> Caller:
    """Identifies the caller of a request. `protocols`: the offered subprotocols.

    Raises Unauthenticated for an unknown credential: treating it as none would hide the mistake from its
    owner. Raises NotAllowed for a sign-in that a page of another origin uses, and IdentityUnavailable.
    """
    known = request.get(_CALLER) or parts.tickets.caller(bearer(request))
    if known is not None and _CALLER not in request:  # by a ticket: identified already
        request[_CALLER] = known
        request[ACCOUNT] = parts.registry.quotas.account(known.principal, known.address, known.roles)
    if known is None:
        settings = parts.settings
        who = request[_WHO] = await parts.identity.principal(shown(settings, request, protocols))
        address = address_of(settings, request)
        known = Caller(address, who.subject, about=request_id(settings, request), who=who)
        request[_CALLER] = known  # a WebSocket asks twice
        request[ACCOUNT] = parts.registry.quotas.account(known.principal, address, known.roles)
    return known


def check_still(parts: Parts, request: web.BaseRequest) -> None:
    """Raises Unauthenticated if the key of an identified caller has ended since, as for its sockets."""
    who = request.get(_WHO)
    if who is not None and parts.identity.ended(who, time.time(), oversees=False):
        raise Unauthenticated(ENDED)


def identified_as(request: web.BaseRequest, who: Principal) -> None:
    """Notes the principal of a request that another interface has identified in its own way."""
    request[_WHO] = who


def identified(request: web.BaseRequest) -> Principal | None:
    """The request's principal, even if it lacks a permission; None if it has not been determined yet."""
    return request.get(_WHO)


async def require(parts: Parts, request: web.BaseRequest, scope: str) -> Principal:
    """The principal of a request that needs `scope`, one of `schema.types.SCOPES`.

    In development without ADMIN_KEY, whoever is on this machine is an operator. Raises Unauthenticated if
    the caller is unknown, NotAllowed if the principal may not do this, and as `caller`.
    """
    settings = parts.settings
    who = request[_WHO] = await parts.identity.principal(shown(settings, request, offered(request)))
    if not who.known and not settings.production and settings.admin_key is None and not who.may(scope):
        here = from_here(request, request.headers.get("Host", ""))
        if here and from_own_page(settings, request):
            return HERE
    if not who.known and not who.may(scope):
        raise Unauthenticated(
            "this is the operator's: sign in, or send `Authorization: Bearer` with ADMIN_KEY or an operator's"
            " key"
        )
    who.require(scope)
    return who


def bearer(request: web.BaseRequest) -> str:
    """The token of the Authorization header; "" if there is none."""
    # aiohttp decodes headers with surrogates. They are replaced, so that later encoding cannot fail; the
    # result is no session's token.
    raw = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    header = raw.decode("utf-8", "replace")
    return header[7:].strip() if header.lower().startswith("bearer ") else ""


def _credential(request: web.BaseRequest, protocols: Sequence[str]) -> bytes | None:
    """The credential from the header or from a subprotocol; None if there is none; b"" if it is malformed."""
    if bearer(request):
        return bearer(request).encode()
    for protocol in protocols:
        if protocol.startswith(BEARER):
            encoded = protocol[len(BEARER) :]
            try:
                # The padding is left out, as `=` is not allowed in a subprotocol's name.
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            except (binascii.Error, ValueError):
                # Malformed is not the same as none: the caller gets an error.
                return b""
    return None
