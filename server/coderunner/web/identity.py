"""The caller's identity, signing in and out of the page with OpenID Connect, and launches with LTI."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl

from aiohttp import web

from coderunner.errors import BadMedia, CodeRunnerError, NoAddress, NotAllowed, Unauthenticated
from coderunner.identity.principal import Principal
from coderunner.identity.target import local_target
from coderunner.logs import fields
from coderunner.schema.answers import SignedOut, WhoAmI
from coderunner.web import guard
from coderunner.web.api import runs
from coderunner.web.keys import PARTS, TCP_CONNECTIONS
from coderunner.web.middleware import REFUSED
from coderunner.web.replies import json_reply

if TYPE_CHECKING:
    from coderunner.identity.login import Login
    from coderunner.identity.lti import Lti

log = logging.getLogger(__name__)

T = TypeVar("T")

BEGUN = "coderunner-sign-in"  # the cookie of a sign-in under way; in production with the prefix `__Secure-`
PATH = "/auth"  # the only paths to which browsers send it
MAX_QUERY = 8192  # characters of the way back
LEFT = "coderunner-signed-out"  # the cookie of a browser whose user has signed out, with the same prefix
LEFT_SECONDS = 30 * 86400  # for which providers remember a browser, at least by then
LAUNCHED = "coderunner-launch"  # the cookie of a launch under way, with the same prefix
MAX_FORM = 64 * 1024  # bytes of what a learning platform posts
MAX_FIELDS = 100  # of that form


async def who(request: web.Request) -> web.Response:
    """Returns the caller's principal, and the ways to sign in. A sign-in that has ended counts as no
    credential; another unknown credential is refused."""
    parts = request.app[PARTS]
    ended = False
    try:
        principal = await parts.identity.principal(guard.shown(parts.settings, request))
    except Unauthenticated:
        if guard.bearer(request):
            raise
        principal, ended = parts.identity.nobody, True
    response = json_reply(_told(request, principal))
    if ended:
        _delete_cookie(request, response)
    return response


def _told(request: web.Request, principal: Principal) -> WhoAmI:
    parts = request.app[PARTS]
    return WhoAmI(
        principal=principal.subject,
        name=principal.name,
        roles=tuple(sorted(principal.roles)),
        rooms=tuple(sorted(principal.rooms)),
        how=principal.how,
        required=not parts.identity.nobody.may("session"),
        may_open=principal.may("session"),
        ways=("key", *(("oidc",) if parts.identity.login is not None else ())),
        audit_days=parts.settings.audit_retention_days,
        audit_programs=parts.settings.audit_programs == "on",
    )


def _login(request: web.Request) -> Login:
    return _configured(
        request.app[PARTS].identity.login, "this server has no provider to sign in with (OIDC_ISSUER)"
    )


def _configured(way: T | None, missing: str) -> T:
    if way is None:
        raise NoAddress(missing)
    return way


async def login(request: web.Request) -> web.StreamResponse:
    """Sends the browser to the provider. `next` in the query: the path to which the browser returns."""
    target = local_target(request.query.get("next", "/"))
    try:
        address, cookie = await _login(request).begin(_redirect(request), target, again=_again(request))
    except CodeRunnerError as error:
        return _failed(request, error, target)
    response = web.Response(status=302, headers={"Location": address, "Cache-Control": "no-store"})
    _set_cookie(request, response, _begun(request), cookie, path=_path(request, PATH), seconds=600)
    return response


def _again(request: web.Request) -> bool:
    """Whether the provider is to ask who it is: of somebody who has signed out, or is signed in and wants
    another account. By itself it would name the one of before, also to the next at a shared machine."""
    parts = request.app[PARTS]
    cookie = request.cookies.get(guard.sign_in_cookie(parts.settings), "")
    sign_ins = parts.identity.sign_ins
    return _left(request) in request.cookies or (
        sign_ins is not None and sign_ins.principal(cookie) is not None
    )


async def callback(request: web.Request) -> web.StreamResponse:
    """The way back from the provider: sets the cookie of the sign-in, and sends the browser to the page where
    it began, also if it has failed."""
    target, cookie = "/", request.cookies.get(_begun(request), "")
    try:
        way = _login(request)
        target = way.target(cookie)
        if len(request.query_string) > MAX_QUERY:
            raise Unauthenticated("the answer of the provider is too long")
        sealed, target = await way.finish(cookie, dict(request.query))
    except CodeRunnerError as error:
        return _failed(request, error, target)
    # 303, and no longer the address with the code.
    response = web.Response(status=303, headers={"Location": target, "Cache-Control": "no-store"})
    settings = request.app[PARTS].settings
    seconds = settings.sign_in_lifetime // 1000
    _set_cookie(request, response, guard.sign_in_cookie(settings), sealed, path="/", seconds=seconds)
    _delete_begun(request, response)
    path = _path(request, PATH)
    response.del_cookie(_left(request), path=path, httponly=True, samesite="Lax", secure=_secure(request))
    log.info("signed in", extra=fields(**guard.about(settings, request)))
    return response


def _lti(request: web.Request) -> Lti:
    return _configured(
        request.app[PARTS].identity.lti, "this server is launched from no learning platform (LTI_ISSUER)"
    )


async def lti_login(request: web.Request) -> web.StreamResponse:
    """Handles a login that a learning platform (LTI 1.3) initiates: redirects to its authentication."""
    try:
        asked = dict(request.query) if request.method == "GET" else await _form(request)
        address, cookie = _lti(request).begin(asked, _redirect(request, "lti/launch"))
    except CodeRunnerError as error:
        return _failed(request, error)
    response = web.Response(status=302, headers={"Location": address, "Cache-Control": "no-store"})
    # The platform's page posts to this server, and browsers send no Lax cookie with that. Without HTTPS they
    # would not keep one with None.
    secure = _secure(request)
    response.set_cookie(
        _launched(request), cookie, path=_path(request, PATH), max_age=600, httponly=True,
        samesite="None" if secure else "Lax", secure=secure,
    )  # fmt: skip
    return response


async def lti_launch(request: web.Request) -> web.StreamResponse:
    """Handles a launch from a learning platform (LTI 1.3): sets the cookie of the sign-in, and sends the
    browser to the page."""
    settings = request.app[PARTS].settings
    try:
        cookie = request.cookies.get(_launched(request), "")
        posted = await _form(request)
        sealed, target = await _lti(request).finish(cookie, posted, guard.own_origin(settings, request))
    except CodeRunnerError as error:
        response = _failed(request, error)
    else:
        if target == "/":
            target = _prefix(request) + "/"
        response = web.Response(status=303, headers={"Location": target, "Cache-Control": "no-store"})
        seconds = settings.sign_in_lifetime // 1000
        _set_cookie(request, response, guard.sign_in_cookie(settings), sealed, path="/", seconds=seconds)
        log.info("signed in", extra=fields(how="lti", **guard.about(settings, request)))
    secure = _secure(request)
    response.del_cookie(
        _launched(request), path=_path(request, PATH), httponly=True,
        samesite="None" if secure else "Lax", secure=secure,
    )  # fmt: skip
    return response


async def lti_keys(_request: web.Request) -> web.Response:
    """Returns this server's key set, which learning platforms request at registration. It is empty, as the
    server signs nothing for a platform."""
    return web.json_response({"keys": []})


async def _form(request: web.Request) -> dict[str, str]:
    """The fields of a posted form; of fields with the same name the last one. Raises CodeRunnerError."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise BadMedia("send a form: Content-Type: application/x-www-form-urlencoded")
    address = guard.address_of(request.app[PARTS].settings, request)
    body = await request.app[runs.BODIES].read_bytes(request, address, MAX_FORM)
    try:
        return dict(parse_qsl(body.decode("ascii"), max_num_fields=MAX_FIELDS))
    except ValueError:  # also for bytes that are not ASCII
        raise Unauthenticated("what the platform sent is no form") from None


async def logout(request: web.Request) -> web.Response:
    """Ends the sign-in of the page, also for copies of its cookie."""
    settings = request.app[PARTS].settings
    if "Origin" not in request.headers or not guard.from_own_page(settings, request):
        raise NotAllowed("only a page of this server may sign its user out")
    cookie = request.cookies.get(guard.sign_in_cookie(settings))
    sign_ins = request.app[PARTS].identity.sign_ins
    if cookie is not None and sign_ins is not None:
        sign_ins.sign_out(cookie)
    response = json_reply(SignedOut(True))
    _delete_cookie(request, response)
    if cookie is not None and request.app[PARTS].identity.login is not None:
        _set_cookie(request, response, _left(request), "1", path=_path(request, PATH), seconds=LEFT_SECONDS)
    return response


def _begun(request: web.Request) -> str:
    return f"__Secure-{BEGUN}" if request.app[PARTS].settings.production else BEGUN


def _left(request: web.Request) -> str:
    return f"__Secure-{LEFT}" if request.app[PARTS].settings.production else LEFT


def _launched(request: web.Request) -> str:
    return f"__Secure-{LAUNCHED}" if request.app[PARTS].settings.production else LAUNCHED


def _secure(request: web.Request) -> bool:
    """Whether browsers are to send a cookie over HTTPS only: except in development, on this machine."""
    return request.app[PARTS].settings.production or request.secure


def _prefix(request: web.Request) -> str:
    """The path below which a trusted proxy has mounted this server, without a slash at its end."""
    settings = request.app[PARTS].settings
    found = guard.place(settings, request, request.path)
    host = request.headers.get("Host", "")
    return found.removeprefix(host).removesuffix(request.path) if found else ""


def _path(request: web.Request, path: str) -> str:
    return _prefix(request) + path


def _redirect(request: web.Request, name: str = "callback") -> str:
    """The redirect URI, as it is registered at the provider."""
    origin = guard.own_origin(request.app[PARTS].settings, request)
    return origin + _path(request, f"{PATH}/{name}")


def _set_cookie(
    request: web.Request, response: web.Response, name: str, value: str, *, path: str, seconds: int
) -> None:
    response.set_cookie(
        name, value, path=path, max_age=seconds, httponly=True, samesite="Lax", secure=_secure(request)
    )


def _delete_cookie(request: web.Request, response: web.Response) -> None:
    settings = request.app[PARTS].settings
    response.del_cookie(
        guard.sign_in_cookie(settings), path="/", httponly=True, samesite="Lax", secure=_secure(request)
    )


def _delete_begun(request: web.Request, response: web.Response) -> None:
    # With Secure: browsers ignore a cookie with the prefix `__Secure-` without it, also its removal.
    path = _path(request, PATH)
    response.del_cookie(_begun(request), path=path, httponly=True, samesite="Lax", secure=_secure(request))


def _failed(request: web.Request, error: CodeRunnerError, target: str = "/") -> web.Response:
    """A sign-in that failed: back to the page, which says why. Nothing that the caller wrote is repeated but
    `target`, a path of this server."""
    about = guard.about(request.app[PARTS].settings, request)
    log.info("sign-in failed", extra=fields(code=error.code, why=error.message, **about))
    # As other refusals, which this is none of by its status: each may have asked the provider.
    request.app[TCP_CONNECTIONS].charge(about["address"], REFUSED)
    if target == "/":
        target = local_target(_prefix(request) + "/")
    path = target.partition("#")[0]
    address = f"{path}{'&' if '?' in path else '?'}sign-in={error.code}"
    response = web.Response(status=303, headers={"Location": address, "Cache-Control": "no-store"})
    _delete_begun(request, response)
    return response
