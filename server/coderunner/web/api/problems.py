"""Errors as problem details (RFC 9457), with the protocol's stable codes."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from coderunner.errors import CodeRunnerError
from coderunner.logs import fields
from coderunner.schema.api import Problem
from coderunner.web import guard
from coderunner.web.keys import PARTS
from coderunner.web.middleware import BEGUN
from coderunner.web.replies import STATUS_BY_CLOSE, STATUS_BY_CODE, shown

log = logging.getLogger(__name__)

TOLD: web.RequestKey[dict[str, str]] = web.RequestKey("cors", dict)
"""Headers of every answer to a page of another origin, also of one that a handler begins by itself."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def status_of(error: CodeRunnerError) -> int:
    """The HTTP status that belongs to an error."""
    usual = 400 if error.close is None else STATUS_BY_CLOSE.get(error.close, 500)
    return STATUS_BY_CODE.get(error.code, usual)


def problem(error: CodeRunnerError) -> Problem:
    """The problem details document of an error."""
    return Problem.of(error, status_of(error))


def answers_problems(handler: Handler) -> Handler:
    """Decorates a handler, so that its errors are answered with problem details."""

    @functools.wraps(handler)
    async def wrapped(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except CodeRunnerError as error:
            if BEGUN in request:
                raise
            about = guard.about(request.app[PARTS].settings, request)
            log.info("request refused", extra=fields(path=shown(request), code=error.code, **about))
            response = web.Response(
                body=msgspec.json.encode(problem(error)),
                status=status_of(error),
                content_type="application/problem+json",
                headers={"Cache-Control": "no-store"},
            )
            if error.retry_after_ms:
                response.headers["Retry-After"] = str(math.ceil(error.retry_after_ms / 1000))
            response.headers.update(request.get(TOLD, {}))
            return response

    return wrapped
