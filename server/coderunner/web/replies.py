"""JSON responses from the models of `schema.answers`, and queries read by the models of `schema.rest`."""

from __future__ import annotations

import logging
import math
import re

from aiohttp import web
from msgspec import Struct, convert
from msgspec.structs import fields as fields_of

from coderunner import audit
from coderunner.core.codec import encode_answer
from coderunner.errors import AccessError, BadMessage, CodeRunnerError, Superseded
from coderunner.identity.principal import Principal
from coderunner.logs import fields
from coderunner.schema.answers import ArchiveUnpacked
from coderunner.schema.api import Problem
from coderunner.schema.check import S, problems
from coderunner.web import guard
from coderunner.web.keys import PARTS

log = logging.getLogger(__name__)

# An error's HTTP status: by its code if it is listed, otherwise by its WebSocket close code, otherwise 400.
STATUS_BY_CLOSE = {4401: 401, 4403: 403, 4404: 404, 4429: 429, 4503: 503}
STATUS_BY_CODE = {
    "agent_lost": 503, "already_running": 409, "container_gone": 503, "file_exists": 409,
    "file_too_large": 413, "files_busy": 429,
    "files_failed": 409, "no_file": 404, "too_many_files": 413, "too_slow": 408,
    "bad_media": 415, "bad_method": 405, "body_too_large": 413, "key_reused": 422, "no_address": 404,
    "channel_limit": 429, "channel_used": 409, "channels_busy": 429, "input_gap": 409, "input_overflow": 429,
    "no_channel": 404, "not_control": 409, "quota_exceeded": 429, "workspace_full": 507, "wrong_host": 421,
}  # fmt: skip
CORS: web.RequestKey[dict[str, str]] = web.RequestKey("cors", dict)
"""Headers of every answer to a page of another origin, also of one that a handler begins by itself."""
# Paths whose next segment is a secret.
_VIEW = re.compile(r"^(/view/[^/]*/|/api/runs/|/api/batches/|/submissions/)[^/]*")


def json_reply(document: Struct, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON response with a model of `schema.answers`, which caches must not store."""
    return web.Response(
        body=encode_answer(document),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def status_of(error: CodeRunnerError) -> int:
    """The HTTP status that belongs to an error."""
    # An error with a close code that is not listed is a fault of the server.
    usual = 400 if error.close is None else STATUS_BY_CLOSE.get(error.close, 500)
    return STATUS_BY_CODE.get(error.code, usual)


def problem(error: CodeRunnerError) -> Problem:
    """The problem details document of an error."""
    return Problem.of(error, status_of(error))


def error_reply(
    request: web.Request, error: CodeRunnerError, unpacked: ArchiveUnpacked | None = None
) -> web.Response:
    """The problem document (RFC 9457) for an error, with the error's HTTP status. Logs the error.

    `unpacked`: what was written to the workspace before an archive failed.
    """
    about = guard.about(request.app[PARTS].settings, request)
    # Refusals are logged with the address, so that an attack can be seen and blocked.
    log.info("request refused", extra=fields(path=shown(request), code=error.code, **about))
    if isinstance(error, AccessError):
        note_refusal(error, about["address"], guard.identified(request), path=shown(request))
    status = status_of(error)
    response = json_reply(Problem.of(error, status, unpacked), status)
    response.content_type = "application/problem+json"
    # In whole seconds, and rounded up: earlier would be refused again.
    if error.retry_after_ms:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_ms / 1000))
    return response


def note_refusal(
    error: AccessError, address: str, who: Principal | None = None, **details: str | None
) -> None:
    """Writes a refusal and its caller to the audit log. `who`: None if it was not identified. Raises
    nothing."""
    if not isinstance(error, Superseded):  # which is a client's own new connection
        # By its principal: of many behind one address, none must be able to hide the refusals of another.
        principal = who.subject if who is not None else None
        audit.note("refused", principal=principal, address=address, code=error.code, **details)


def query_of(request: web.Request, kind: type[S]) -> S:
    """Reads the query's parameters as a model of `schema.rest`. Unknown parameters are ignored.

    If a parameter is repeated, the first value is used. Raises BadMessage with all problems.
    """
    names = [field.encode_name for field in fields_of(kind)]
    given = {name: request.query[name] for name in names if name in request.query}
    wrong = [problem.sentence("") for problem in problems(kind, given)]
    if wrong:
        raise BadMessage("; ".join(wrong))
    return convert(given, kind)


def shown(request: web.BaseRequest) -> str:
    """The request's path for the log. Masks capabilities and ids of runs, as knowing them grants access."""
    return _VIEW.sub(r"\1***", request.path)
