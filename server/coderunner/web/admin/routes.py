"""Who may use the operator's routes."""

from __future__ import annotations

import functools

from aiohttp import web
from aiohttp.typedefs import Handler

from coderunner import audit
from coderunner.errors import NotAllowed
from coderunner.web import guard
from coderunner.web.keys import PARTS

PREFIX = "/api/admin/"


def for_operators(handler: Handler) -> Handler:
    """Decorates a handler, so that only operators can call it.

    Requests of other sites' pages are refused, too: the browser would add the operator's cookie, and in
    development without ADMIN_KEY every request from this machine counts as the operator's. Requests that
    may change something are written to the audit log.
    """

    @functools.wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        who = await guard.require(request.app[PARTS], request, "operate")
        if not guard.from_own_page(request.app[PARTS].settings, request):
            raise NotAllowed("the operator's requests come from this server's own page, or from no page")
        response: web.StreamResponse = await handler(request)
        if request.method not in ("GET", "HEAD"):
            address = guard.address_of(request.app[PARTS].settings, request)
            audit.note(
                "operated", principal=who.subject, address=address,
                session=request.match_info.get("session"), method=request.method, path=request.path,
            )  # fmt: skip
        return response

    return guarded
