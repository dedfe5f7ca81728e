"""Guests of a session over HTTP, for its owner: `/api/sessions/{session}/tokens`."""

from __future__ import annotations

import msgspec
from aiohttp import web

from coderunner.identity.guest import Guest
from coderunner.schema.answers import GuestsView, GuestView, Invited, Uninvited
from coderunner.schema.rest import Invite
from coderunner.web.files import body_of, session_of
from coderunner.web.keys import PARTS
from coderunner.web.replies import json_reply


async def invite(request: web.Request) -> web.Response:
    """Makes a further token of a session, for a guest. It is returned only here."""
    session = session_of(request)
    wanted = await body_of(request, Invite)
    guests = request.app[PARTS].guests
    guest, token = await guests.add(
        session, wanted.name, wanted.role, take=wanted.take, lasts_ms=wanted.lasts_ms
    )
    return json_reply(Invited(token=token, **msgspec.structs.asdict(_view(guest))), 201)


async def listing(request: web.Request) -> web.Response:
    """Lists a session's tokens for guests, without the tokens themselves, and the attached clients."""
    session = session_of(request)
    every = await request.app[PARTS].guests.every(session)
    return json_reply(GuestsView(tuple(_view(one) for one in every), session.company.people()))


async def uninvite(request: web.Request) -> web.Response:
    """Revokes a guest's token, and closes the guest's connections."""
    session = session_of(request)
    closed = await request.app[PARTS].guests.revoke(session, request.match_info["serial"])
    return json_reply(Uninvited(closed))


def _view(guest: Guest) -> GuestView:
    return GuestView(
        serial=guest.serial,
        name=guest.name,
        role=guest.role,
        take=guest.take,
        created=guest.created,
        expires=guest.expires,
        revoked=guest.revoked,
    )
