"""The operator's view of API keys and quotas."""

from __future__ import annotations

import contextlib
import importlib
import logging
import time
from typing import Any

from aiohttp import web
from msgspec.structs import asdict

from coderunner.errors import DatabaseUnavailable, NoAddress, NotAllowed
from coderunner.identity import keys
from coderunner.identity.keys import Key
from coderunner.logs import fields
from coderunner.schema.admin import (
    CallerUse,
    Keys,
    KeyView,
    MadeKey,
    MakeKey,
    QuotasInForce,
    RevokedKey,
    RoleQuota,
)
from coderunner.schema.quotas import ROLES
from coderunner.schema.types import SCOPES
from coderunner.web import guard
from coderunner.web.files import body_of
from coderunner.web.keys import PARTS
from coderunner.web.replies import json_reply

log = logging.getLogger(__name__)

MAX_USED = 200  # callers in an answer


def _stored() -> Any:
    """`identity.stored`, which imports SQLAlchemy: to be called in the thread of the database alone."""
    return importlib.import_module("coderunner.identity.stored")


async def listing(request: web.Request) -> web.Response:
    """Lists the API keys."""
    now = time.time()
    found = await request.app[PARTS].store.read(lambda connection: _stored().every(connection))
    return json_reply(Keys(tuple(_view(key, now) for key in found)))


async def make(request: web.Request) -> web.Response:
    """Makes an API key. Its text is returned only here. Its scopes must be among those of the caller's
    credential."""
    parts = request.app[PARTS]
    wanted = await body_of(request, MakeKey)
    who = await guard.require(parts, request, "operate")
    now = time.time()
    text, key = keys.made(wanted.name, wanted.roles, wanted.rooms, wanted.scopes, wanted.days, now)
    beyond = [scope for scope in SCOPES if key.principal().may(scope) and not who.may(scope)]
    if beyond:
        raise NotAllowed(
            f"a key can allow no more than the one by which it is made: leave out the scope {beyond[0]}"
        )
    await parts.store.write(lambda connection: _stored().add(connection, key=key))
    await _reload_keys(request)
    log.info("key made", extra=_log_fields(request, key.id, roles=sorted(key.roles), rooms=sorted(key.rooms)))
    return json_reply(MadeKey(key=text, **asdict(_view(key, now))), 201)


async def revoke(request: web.Request) -> web.Response:
    """Revokes an API key. It is refused from now on, and its WebSockets are closed within five seconds."""
    which, now = request.match_info["key"], time.time()
    if not await request.app[PARTS].store.write(
        lambda connection: _stored().revoke(connection, which=which, now=now, by_name=False)
    ):
        raise NoAddress("there is no such key that is not revoked")
    await _reload_keys(request)
    log.info("key revoked", extra=_log_fields(request, which))
    return json_reply(RevokedKey(which))


def _log_fields(request: web.Request, ident: str, **more: object) -> dict[str, object]:
    address = guard.address_of(request.app[PARTS].settings, request)
    return fields(id=ident, operator_address=address, **more)


async def _reload_keys(request: web.Request) -> None:
    """Reloads the API keys from the database now, instead of at the next periodic reload."""
    parts = request.app[PARTS]
    # What was changed is stored: an error here would lose a new key's text, and nobody could tell the key.
    with contextlib.suppress(DatabaseUnavailable):
        parts.identity.keys.replace(await parts.store.read(lambda connection: _stored().every(connection)))


def _view(key: Key, now: float) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        state=key.state(now),
        roles=tuple(sorted(key.roles)),
        rooms=tuple(sorted(key.rooms)),
        scopes=tuple(sorted(key.scopes)) if key.scopes is not None else None,
        created=key.created,
        expires=key.expires,
        last_used=key.last_used,
    )


async def quotas(request: web.Request) -> web.Response:
    """Returns the quotas of each role, and what callers have used of them."""
    held = request.app[PARTS].registry.quotas
    used = [
        CallerUse(
            caller=subject,
            runs=amounts.get("runs", 0),
            cpu_ms=amounts.get("cpu_ms", 0),
            output_bytes=amounts.get("output_bytes", 0),
        )
        for subject, amounts in held.used().items()
    ]
    used.sort(key=lambda one: (-one.cpu_ms, -one.output_bytes, -one.runs, one.caller))
    roles = [RoleQuota(role=role, **asdict(held.of_role(role))) for role in ROLES]
    return json_reply(QuotasInForce(tuple(roles), tuple(used[:MAX_USED])))
