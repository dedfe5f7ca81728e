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
    """The handler, for operators alone: it is not called for anybody else, whatever the request.

    Requests that a browser sends for another site's page are refused too: it would add the operator's
    cookie, and without ADMIN_KEY this machine is the operator, with every page that its browser shows.
    What changes something is noted in the audit log.
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
